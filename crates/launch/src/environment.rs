//! Owns reading typed values out of an environment: a variable that is set must be readable, whoever set it.

use std::ffi::OsString;
use std::str::FromStr;

use crate::Environment;
use crate::error::LaunchError;

/// The variables of a process as text, whatever bytes they are: the names read here are ASCII, and a value that
/// is no text is refused where it is read, with the rest of it shown.
pub fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Environment {
    let text = |bytes: OsString| bytes.to_string_lossy().into_owned();
    variables.map(|(name, value)| (text(name), text(value))).collect()
}

/// An environment, read with types. A variable that is set but empty counts as not set, as in a shell script that
/// passes on what it does not have.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a Environment);

impl<'a> Reader<'a> {
    pub(crate) fn new(env: &'a Environment) -> Reader<'a> {
        Reader(env)
    }

    /// The variable's text without blanks around it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    /// The first of `names` that is set, with its text.
    pub(crate) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, String)> {
        names.iter().find_map(|&name| Some((name, self.text(name)?)))
    }

    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        self.0.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// A count or a rank.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, LaunchError> {
        self.parse(name, "a whole number of at most 32 bits")
    }

    pub(crate) fn port(&self, name: &str) -> Result<Option<u16>, LaunchError> {
        match self.parse(name, PORT)? {
            Some(0) => Err(bad(name, "0", PORT)),
            port => Ok(port),
        }
    }

    pub(crate) fn parse<T: FromStr>(
        &self,
        name: &str,
        expected: &'static str,
    ) -> Result<Option<T>, LaunchError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad(name, &text, expected))
    }
}

pub(crate) const PORT: &str = "a port from 1 to 65535";

pub(crate) fn bad(variable: &str, value: &str, expected: &'static str) -> LaunchError {
    LaunchError::Value { variable: variable.to_owned(), value: value.to_owned(), expected }
}
