//! Owns `crosstie topo`: a machine, detected or described, shown, judged, compared, rewritten.

mod machine;
mod text;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crosstie_probe::{Captured, Gpus, Note, Tree};
use crosstie_topo::xml::Document;
use crosstie_topo::{BusMap, Severity, Topology, diff, lint, remap, render};
use serde_json::{Value, json};

use crate::args::{DiffArgs, Format, LintArgs, RemapArgs, ShowArgs, TopoArgs, TopoCommand};
use crate::exit::{Exit, Failure};
use machine::{Machine, bad_file, read_file};

/// Runs the command.
pub fn run(args: &TopoArgs) -> Result<Exit, Failure> {
    match &args.command {
        None => show(&args.show),
        Some(TopoCommand::Show(args)) => show(args),
        Some(TopoCommand::Lint(args)) => judge(args),
        Some(TopoCommand::Diff(args)) => compare(args),
        Some(TopoCommand::Remap(args)) => rewrite(args),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| Failure::host("write the topology", e))
}

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    if let Some(path) = &args.capture {
        return capture(path);
    }
    let Machine { topology, notes } = Machine::of(&args.machine)?;
    let shown = match args.format {
        Format::Text => {
            text::text(&topology, &notes, crate::color(args.color, io::stdout().is_terminal()))
        }
        Format::Json => {
            let mut object = object(&topology)?;
            object["notes"] = notes.iter().map(note).collect();
            format!("{object}\n")
        }
        Format::Xml => topology.document().to_string(),
        Format::Svg => render::svg(&topology),
        Format::Dot => render::dot(&topology),
    };
    if args.format != Format::Text {
        tell(&notes);
    }
    print(&shown).map(|()| Exit::Good)
}

/// The topology as an object.
fn object(topology: &Topology) -> Result<Value, Failure> {
    serde_json::from_str(&render::json(topology))
        .map_err(|e| Failure::host("read our own JSON", e.into()))
}

fn note(note: &Note) -> Value {
    json!({ "found": note.found, "means": note.means })
}

/// Says beside the output what is not in it.
fn tell(notes: &[Note]) {
    for note in notes {
        // Nobody reads it: the output itself is whole.
        let _ = writeln!(io::stderr(), "crosstie: {note}");
    }
}

fn capture(path: &Path) -> Result<Exit, Failure> {
    let tree = Tree::at("/").map_err(|e| Failure::host("look at this machine", e))?;
    let text = Captured::of(tree, &Gpus::of_this_host()).to_string();
    let written = fs::write(path, text);
    written.map_err(|e| Failure::host(format!("write {}", path.display()), e))?;
    print(&format!(
        "{0} has what detection reads here; `crosstie topo --captured {0}` shows it anywhere.\n",
        path.display()
    ))?;
    Ok(Exit::Good)
}

fn judge(args: &LintArgs) -> Result<Exit, Failure> {
    let Machine { topology, .. } = Machine::of(&args.machine)?;
    let findings = lint(&topology);
    if args.json {
        let findings = object(&topology)?["findings"].take();
        print(&format!("{}\n", json!({ "schema": 1, "findings": findings })))?;
    } else if findings.is_empty() {
        print("nothing is wrong\n")?;
    } else {
        let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
        print(&lines.concat())?;
    }
    let bad = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if bad { Exit::WrongResult } else { Exit::Good })
}

fn compare(args: &DiffArgs) -> Result<Exit, Failure> {
    let first = Machine::of_files(std::slice::from_ref(&args.first))?;
    let second = match &args.second {
        Some(file) => Machine::of_files(std::slice::from_ref(file))?,
        None => Machine::here()?,
    };
    let found = diff(&first.topology, &second.topology)
        .map_err(|e| Failure::usage(e, "give one machine or rack"))?;
    if args.json {
        print(&format!("{}\n", json!({ "schema": 1, "differences": found })))?;
    } else {
        let lines: Vec<String> = found.iter().map(|difference| format!("{difference}\n")).collect();
        print(&lines.concat())?;
    }
    Ok(if found.is_empty() { Exit::Good } else { Exit::WrongResult })
}

fn rewrite(args: &RemapArgs) -> Result<Exit, Failure> {
    let document = Document::read_bytes(&read_file(&args.file)?);
    let document = document.map_err(|e| bad_file(&args.file, e))?;
    let map = read_file(&args.bdf_map)?;
    let map = BusMap::read(&String::from_utf8_lossy(&map));
    let map = map.map_err(|e| bad_file(&args.bdf_map, e))?;
    let remapped = remap(&document, &map).map_err(|e| bad_file(&args.bdf_map, e))?;
    for (element, at) in &remapped.dropped {
        let _ = writeln!(
            io::stderr(),
            "crosstie: line {}: {element}: not in the map, left out",
            at.line
        );
    }
    print(&remapped.document.to_string()).map(|()| Exit::Good)
}
