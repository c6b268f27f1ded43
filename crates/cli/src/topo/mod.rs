//! Owns `crosstie topo`: a machine, detected or described, shown, judged, compared, rewritten.

mod difference;
pub mod machine;
mod text;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crosstie_probe::{Captured, Gpus, Note, Tree};
use crosstie_topo::fabric::{self, Fabric, Wiring};
use crosstie_topo::xml::Document;
use crosstie_topo::{BusMap, Severity, Topology, diff, lint, remap, render, shown};
use rustix::fs::OFlags;
use serde_json::{Value, json};

use crate::args::{DiffArgs, Format, LintArgs, RemapArgs, ShowArgs, TopoArgs, TopoCommand, When};
use crate::exit::{Exit, Failure};
use machine::{DRIVER, Machine, Subject, bad_file, read_file};

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
    let format = if args.json { Format::Json } else { args.format };
    if args.machine.all().is_empty() {
        tell_of_file();
    }
    let Machine { topology, notes } = match Subject::of(&args.machine)? {
        Subject::Machine(machine) => *machine,
        Subject::Fabric(fabric) => return show_fabric(&fabric.0, &fabric.1, format),
    };
    let shown = match format {
        Format::Text => text::text(&topology, &notes, look(args)),
        Format::Json => {
            let mut object = object(&topology)?;
            object["notes"] = notes.iter().map(note).collect();
            format!("{object}\n")
        }
        Format::Xml => topology.document().to_string(),
        Format::Svg => render::svg(&topology),
        Format::Dot => render::dot(&topology),
    };
    if format != Format::Text {
        tell(&notes);
    }
    print(&shown).map(|()| Exit::Good)
}

/// A line in a file, or in a pipe, may be longer than one on a terminal.
const WIDTH_OF_A_FILE: usize = 200;

fn look(args: &ShowArgs) -> text::Look {
    let terminal = io::stdout().is_terminal();
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map(|size| size.ws_col.into());
    let width = columns.ok().filter(|&columns| terminal && columns > 0).unwrap_or(WIDTH_OF_A_FILE);
    text::Look { color: crate::args::color(args.color, terminal), width, full: args.full }
}

/// A file that ranks would play is not what is shown where none is named.
fn tell_of_file() {
    for name in ["CROSSTIE_TOPO_FILE", "NCCL_TOPO_FILE"] {
        if let Some(file) = std::env::var_os(name).filter(|file| !file.is_empty()) {
            let file = shown(&file.to_string_lossy());
            // Nobody reads it: the output itself is whole.
            let _ = writeln!(
                io::stderr(),
                "crosstie: this is the machine itself, not {name}={file}: `crosstie topo FILE` shows a file"
            );
        }
    }
}

fn show_fabric(fabric: &Fabric, wiring: &Wiring, format: Format) -> Result<Exit, Failure> {
    let shown = match format {
        Format::Text => fabric::text(fabric, wiring),
        Format::Json => {
            let ways = fabric::ways(wiring);
            let told = json!({ "schema": 1, "fabric": fabric, "wiring": wiring, "ways": ways });
            format!("{told}\n")
        }
        Format::Svg => fabric::svg(fabric, wiring),
        Format::Xml | Format::Dot => {
            let remedy = "give --format text, json or svg; xml and dot are forms of one machine";
            return Err(Failure::usage(format!("{:?} is a fabric", fabric.name), remedy));
        }
    };
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
    let text = Captured::of(tree, &Gpus::of_this_host(DRIVER)).to_string();
    let written = is_read(path).and_then(|()| fs::write(path, text));
    written.map_err(|e| Failure::host(format!("write {}", crate::file::shown(path)), e))?;
    print(&format!(
        "{0} has what detection reads here; `crosstie topo --captured {0}` shows it anywhere.\n",
        crate::file::shown(path)
    ))?;
    Ok(Exit::Good)
}

/// Or opening a pipe would wait for somebody who reads it.
fn is_read(path: &Path) -> io::Result<()> {
    if !fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo()) {
        return Ok(());
    }
    let flags = OFlags::NONBLOCK.bits().try_into().unwrap_or_default();
    fs::OpenOptions::new().write(true).custom_flags(flags).open(path).map(drop)
}

fn judge(args: &LintArgs) -> Result<Exit, Failure> {
    let (findings, forms, notes) = match Subject::of(&args.machine)? {
        Subject::Machine(machine) => {
            tell(&machine.notes);
            let findings = lint(&machine.topology);
            let forms = render::json_findings(&machine.topology, findings.iter().cloned());
            (findings, forms, machine.notes)
        }
        Subject::Fabric(fabric) => {
            let findings = fabric::lint(&fabric.0, &fabric.1);
            let forms = json!(findings).to_string();
            (findings, forms, Vec::new())
        }
    };
    let bad = findings.iter().any(|finding| finding.severity == Severity::Error);
    if args.json {
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        print(&format!("{{\"schema\":1,\"findings\":{forms},\"notes\":{}}}\n", json!(notes)))?;
    } else if findings.is_empty() && notes.is_empty() {
        print("nothing is wrong\n")?;
    } else if findings.is_empty() {
        print("nothing is wrong with how it is described; see the notes on what was found\n")?;
    } else {
        let files = args.machine.all();
        let file = match &files[..] {
            [file] => Some(crate::file::shown(file)),
            _ => None,
        };
        let color = crate::args::color(When::Auto, io::stdout().is_terminal());
        print(&text::findings(&findings, file.as_deref(), color))?;
    }
    Ok(if bad { Exit::WrongResult } else { Exit::Good })
}

fn compare(args: &DiffArgs) -> Result<Exit, Failure> {
    let first = Machine::of_file(&args.first)?;
    let (second, name) = match &args.second {
        Some(file) => (Machine::of_file(file)?, crate::file::shown(file)),
        None => (Machine::here()?, "this machine".to_owned()),
    };
    let found = diff(&first.topology, &second.topology)
        .map_err(|e| Failure::usage(e, "give one machine or rack"))?;
    if args.json {
        print(&format!("{}\n", json!({ "schema": 1, "differences": found })))?;
    } else {
        let names = [&crate::file::shown(&args.first), &*name];
        let machines = [&first.topology, &second.topology];
        print(&difference::text(&found, machines, names, args.full))?;
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
