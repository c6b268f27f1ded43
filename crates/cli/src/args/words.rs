//! Owns values that are words of a list: read by a function of their own, and known to a shell's completion.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

/// Reads a value with `parse`; a shell may complete it with one of `words`.
#[derive(Clone)]
pub struct Words<T> {
    parse: fn(&str) -> Result<T, String>,
    words: fn() -> Vec<&'static str>,
}

impl<T> Words<T> {
    /// Of these words; what `parse` takes beyond them is not completed.
    pub const fn new(
        parse: fn(&str) -> Result<T, String>,
        words: fn() -> Vec<&'static str>,
    ) -> Self {
        Self { parse, words }
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Words<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        TypedValueParser::parse_ref(&self.parse, command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.words)().into_iter().map(PossibleValue::new)))
    }
}

/// These names, and `more`.
pub fn with<const N: usize>(names: [&'static str; N], more: &'static str) -> Vec<&'static str> {
    names.into_iter().chain([more]).collect()
}

/// `script` without the words of hidden arguments, which the generator for bash lists as well.
pub fn without_hidden(script: &str, command: &Command) -> String {
    let mut hidden = Vec::new();
    hidden_words(command, &mut hidden);
    let line = |line: &str| match line.trim_start().starts_with("opts=\"") {
        false => line.to_owned(),
        true => {
            let words =
                line.split(' ').filter(|word| !hidden.contains(&word.trim_matches('"').to_owned()));
            let line = words.collect::<Vec<_>>().join(" ");
            if line.matches('"').count() == 1 { line + "\"" } else { line }
        }
    };
    script.lines().map(|text| line(text) + "\n").collect()
}

fn hidden_words(command: &Command, words: &mut Vec<String>) {
    for arg in command.get_arguments().filter(|arg| arg.is_hide_set()) {
        words.extend(arg.get_long().map(|long| format!("--{long}")));
        words.extend(arg.get_short().map(|short| format!("-{short}")));
    }
    for command in command.get_subcommands() {
        if command.is_hide_set() {
            words.push(command.get_name().to_owned());
        }
        hidden_words(command, words);
    }
}
