//! Owns how JSON texts name what they are: a schema and its version, looked at before anything else of them.

use alloc::format;
use alloc::string::{String, ToString};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What texts of one kind are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Its name, `crosstie.plan`.
    pub name: &'static str,
    /// The version that is read and written.
    pub version: u32,
    /// What such a text is: "a plan".
    pub of: &'static str,
}

/// Why a text is not of a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is no JSON, or not of the schema's form.
    #[error("not {}: {message}, at line {line} column {column}", .expected.of)]
    Syntax {
        /// What it should be.
        expected: Schema,
        /// What is wrong.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It is of another schema or version.
    #[error(
        "a {schema} of version {version}; this library reads {} of version {}", .expected.name, .expected.version
    )]
    Version {
        /// What it should be.
        expected: Schema,
        /// The schema it names, quoted, and cut where it is long.
        schema: String,
        /// The version it names.
        version: u32,
    },
}

/// What stands in every form, whatever else does.
#[derive(Deserialize)]
struct Head {
    schema: String,
    version: u32,
}

impl Schema {
    /// What a text of this schema and version holds.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read<T: DeserializeOwned>(self, json: &[u8]) -> Result<T, SchemaError> {
        let Head { schema, version } =
            serde_json::from_slice(json).map_err(|error| self.syntax(&error))?;
        if (schema.as_str(), version) != (self.name, self.version) {
            return Err(SchemaError::Version { expected: self, schema: quoted(&schema), version });
        }
        serde_json::from_slice(json).map_err(|error| self.syntax(&error))
    }

    fn syntax(self, error: &serde_json::Error) -> SchemaError {
        let (line, column) = (error.line(), error.column());
        let full = error.to_string();
        let suffix = format!(" at line {line} column {column}");
        let message = full.strip_suffix(&suffix).unwrap_or(&full).to_string();
        SchemaError::Syntax { expected: self, message, line, column }
    }
}

/// A text from outside, as far as a message has room for it.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    format!("{:?}", text.chars().take(MOST).collect::<String>())
}
