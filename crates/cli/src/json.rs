//! Owns how answers and failures are printed for scripts.

use std::io::Write;

use serde::Serialize;

use crate::exit::{Failure, Summary};

/// What there is in place of an answer.
#[derive(Serialize)]
struct Failed<'a> {
    schema: u32,
    error: &'a Summary,
}

/// Prints that there is no answer, and why.
pub fn print_failure(out: impl Write, error: &Summary) -> Result<(), Failure> {
    print(out, &Failed { schema: 1, error })
}

/// Prints an answer: one object, in lines.
pub fn print(mut out: impl Write, document: &impl Serialize) -> Result<(), Failure> {
    let written = serde_json::to_writer_pretty(&mut out, document)
        .map_err(std::io::Error::from)
        .and_then(|()| writeln!(out))
        .and_then(|()| out.flush());
    written.map_err(|e| Failure::host("write the result", e))
}
