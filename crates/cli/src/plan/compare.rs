//! Owns `crosstie plan diff`: which plans are compared, and how the command ends.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::difference::{Change, changes, text};
use crate::args::PlanDiffArgs;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::kind::Kind;

/// The longest plan that is read from a pipe: 512 ranks' takes some MB.
const LONGEST: u64 = 256 << 20;
const WANTED: &str = "a plan of `crosstie plan --json`";

/// Runs the command.
pub fn run(args: &PlanDiffArgs) -> Result<Exit, Failure> {
    let files = [&args.first, &args.second];
    if files.iter().all(|file| is_stdin(file)) {
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
        let names = files.map(|file| file.display().to_string());
        let color = crate::color(args.color, io::stdout().is_terminal());
        text(&found, [&names[0], &names[1]], same_inputs, [color, args.full])
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Failure::host("write the difference", e))?;
    Ok(if found.is_empty() { Exit::Good } else { Exit::WrongResult })
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(file: &Path) -> Result<Value, Failure> {
    let failed = |error: io::Error| {
        let remedy = "give two files that `crosstie plan --json` printed, or - for standard input";
        Failure::usage(format!("cannot read {}: {error}", file.display()), remedy)
    };
    let bytes = match is_stdin(file) {
        false => file::read(file).map_err(failed)?,
        true => {
            let mut bytes = Vec::new();
            io::stdin().lock().take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
            bytes
        }
    };
    let kind = Kind::of(&bytes);
    if kind != Kind::Explained {
        return Err(match kind {
            Kind::Topology | Kind::Json => Failure::usage(
                format!("{} is not {WANTED}", file.display()),
                "`crosstie plan --topo FILE --json > plan.json` writes one",
            ),
            other => other.refusal("", file, WANTED),
        });
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?;
    if value["schema"] != 1 {
        let found = format!("{}: schema {}, expected 1", file.display(), value["schema"]);
        return Err(Failure::usage(found, "write it anew with this `crosstie plan --json`"));
    }
    Ok(value)
}
