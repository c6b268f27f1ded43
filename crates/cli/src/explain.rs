//! Owns `crosstie explain`: what an error's code means, what usually causes it and what to do.

use std::io::{self, Write};

use crosstie::{Code, Explanation};
use serde::Serialize;

use crate::args::ExplainArgs;
use crate::exit::{Exit, Failure};

#[derive(Serialize)]
struct Document {
    schema: u32,
    codes: Vec<JsonCode>,
}

#[derive(Serialize)]
struct JsonCode {
    code: String,
    title: &'static str,
    meaning: &'static str,
    causes: &'static [&'static str],
    blame: &'static str,
    remedy: &'static str,
}

/// Runs the command: the page of a code, or a line for each code.
pub fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let out = io::stdout().lock();
    let written = match args.code {
        None if args.json => json(out, Code::all().filter_map(Code::explanation)),
        None => list(out),
        Some(code) => {
            let page = code.explanation().ok_or_else(|| no_such(code))?;
            if args.json { json(out, [page]) } else { print(out, page) }
        }
    };
    written.map_err(|e| Failure::host("write the explanation", e))?;
    Ok(Exit::Good)
}

fn no_such(code: Code) -> Failure {
    Failure::usage(
        format!("there is no code {code}"),
        "`crosstie explain` lists all that there are",
    )
}

fn list(mut out: impl Write) -> io::Result<()> {
    for page in Code::all().filter_map(Code::explanation) {
        writeln!(out, "{}  {}", page.code(), page.title)?;
    }
    out.flush()
}

fn print(mut out: impl Write, page: &Explanation) -> io::Result<()> {
    writeln!(out, "{page}")?;
    out.flush()
}

fn json(
    mut out: impl Write,
    pages: impl IntoIterator<Item = &'static Explanation>,
) -> io::Result<()> {
    let code = |page: &'static Explanation| JsonCode {
        code: page.code().to_string(),
        title: page.title,
        meaning: page.meaning,
        causes: page.causes,
        blame: page.blame.name(),
        remedy: page.remedy,
    };
    let codes = pages.into_iter().map(code).collect();
    serde_json::to_writer_pretty(&mut out, &Document { schema: 1, codes })?;
    writeln!(out)
}
