//! Owns `crosstie plan diff`: which plans are compared, and how the command ends.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crosstie_topo::shown;
use serde_json::{Value, json};

use super::difference::{Change, changes, text};
use super::schema;
use crate::args::PlanDiffArgs;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::kind::Kind;

const WANTED: &str = "a plan of `crosstie plan --json`";

/// Runs the command.
pub fn run(args: &PlanDiffArgs) -> Result<Exit, Failure> {
    let files = [&args.first, &args.second];
    if files.iter().all(|file| file::is_stdin(file)) {
        let remedy = "give one of them as a file";
        return Err(Failure::usage("both plans are to come from standard input", remedy));
    }
    let [first, second] = [read(files[0])?, read(files[1])?];
    let found = changes([&first, &second]);
    let same_inputs = first["fingerprint"] == second["fingerprint"];
    let shown = if args.json {
        let changes: Vec<Value> = found.iter().map(Change::object).collect();
        format!("{}\n", json!({ "schema": 1, "equal": found.is_empty(), "changes": changes }))
    } else {
        let names = files.map(crate::file::shown);
        let color = crate::args::color(args.color, io::stdout().is_terminal());
        text(&found, [&names[0], &names[1]], same_inputs, [color, args.full])
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Failure::host("write the difference", e))?;
    Ok(if found.is_empty() { Exit::Good } else { Exit::WrongResult })
}

fn read(file: &Path) -> Result<Value, Failure> {
    let failed = |error: io::Error| {
        let remedy = "give two files that `crosstie plan --json` printed, or - for standard input";
        Failure::usage(format!("cannot read {}: {error}", crate::file::shown(file)), remedy)
    };
    let bytes = file::read(file).map_err(failed)?;
    let kind = Kind::of(&bytes);
    if kind != Kind::Explained {
        return Err(match kind {
            Kind::Topology | Kind::Json => Failure::usage(
                format!("{} is not {WANTED}", crate::file::shown(file)),
                "`crosstie plan --topo FILE --json > plan.json` writes one",
            ),
            other => other.refusal("", file, WANTED),
        });
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    if value["schema"] != 1 {
        let found = format!("{}: schema {}, expected 1", crate::file::shown(file), value["schema"]);
        return Err(Failure::usage(found, "write it anew with this `crosstie plan --json`"));
    }
    if let Some(fault) = schema::fault(&value) {
        let found = format!("{}: {fault}", crate::file::shown(file));
        return Err(Failure::usage(found, "write it anew with `crosstie plan --json`"));
    }
    Ok(printable(value))
}

/// The plan without what a terminal would obey: whoever wrote it may be anybody.
fn printable(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(all) => all.into_iter().map(printable).collect(),
        Value::Object(all) => {
            all.into_iter().map(|(key, it)| (shown(&key), printable(it))).collect()
        }
        other => other,
    }
}
