//! Owns where a machine, or a fabric, comes from: this machine, or files, each taken for what it holds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crosstie_probe::{Captured, Facts, Note, assemble};
use crosstie_topo::fabric::{Fabric, Wiring};
use crosstie_topo::xml::{Conflict, Document, merge};
use crosstie_topo::{Topology, shown};

use crate::args::MachineArgs;
use crate::exit::Failure;
use crate::file;
use crate::kind::Kind;

/// For the driver of this machine's GPUs to answer. Where nothing keeps it loaded, it first starts all of them.
pub const DRIVER: Duration = Duration::from_secs(30);

/// What is asked for.
pub enum Subject {
    /// A machine, or a rack.
    Machine(Box<Machine>),
    /// A fabric between machines.
    Fabric(Box<(Fabric, Wiring)>),
}

/// A machine, and what should be known about how it came to be.
pub struct Machine {
    /// It.
    pub topology: Topology,
    /// What was not found, or is contradicted.
    pub notes: Vec<Note>,
}

impl Subject {
    /// The one that is asked for.
    pub fn of(args: &MachineArgs) -> Result<Self, Failure> {
        if let Some(file) = &args.captured {
            let bytes = read_file(file)?;
            // A capture that was cut may begin with anything.
            if Kind::of(&bytes) == Kind::Topology && !is_xml(&bytes) {
                return Machine::captured(file, &bytes).map(Self::machine);
            }
        }
        Self::of_files(&args.all())
    }

    fn machine(machine: Machine) -> Self {
        Self::Machine(Box::new(machine))
    }

    fn of_bytes(file: &Path, bytes: Vec<u8>) -> Result<Self, Failure> {
        match Kind::of(&bytes) {
            Kind::Topology => Machine::described(&[(file, bytes)]).map(Self::machine),
            Kind::Capture => Machine::captured(file, &bytes).map(Self::machine),
            Kind::Fabric => {
                let fabric = crate::fabric::read(file, &bytes);
                Ok(Self::Fabric(Box::new(fabric.map_err(|e| bad_file(file, e))?)))
            }
            other => Err(other.refusal("", file, "a machine or a fabric")),
        }
    }

    fn of_files(files: &[PathBuf]) -> Result<Self, Failure> {
        match files {
            [] => Machine::here().map(Self::machine),
            [file] => Self::of_bytes(file, read_file(file)?),
            files => {
                let mut parts = Vec::new();
                for file in files {
                    let bytes = read_file(file)?;
                    if Kind::of(&bytes) != Kind::Topology {
                        let message =
                            format!("{} is no NCCL topology file", crate::file::shown(file));
                        let remedy = "only those are merged: give a captured machine, or a fabric, by itself";
                        return Err(Failure::usage(message, remedy));
                    }
                    parts.push((file.as_path(), bytes));
                }
                Machine::described(&parts).map(Self::machine)
            }
        }
    }
}

/// Whether a file's first character says so.
fn is_xml(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

impl Machine {
    /// The one that a file holds, where a fabric makes no sense.
    pub fn of_file(file: &Path) -> Result<Self, Failure> {
        Self::only(Subject::of_files(&[file.to_owned()])?)
    }

    /// The same for an option of another command.
    pub fn of_option(option: &str, file: &Path, remedy: &str) -> Result<Self, Failure> {
        let unread = |error| {
            Failure::usage(
                format!("{option}: cannot read {}: {error}", crate::file::shown(file)),
                remedy,
            )
        };
        let bytes = file::read(file).map_err(unread)?;
        match Kind::of(&bytes) {
            Kind::Topology | Kind::Capture | Kind::Fabric => {
                Self::only(Subject::of_bytes(file, bytes)?)
            }
            other => Err(other.refusal(option, file, "a machine")),
        }
    }

    fn only(subject: Subject) -> Result<Self, Failure> {
        match subject {
            Subject::Machine(machine) => Ok(*machine),
            Subject::Fabric(fabric) => {
                let fabric = fabric.0;
                let message = format!("{:?} is a fabric, not a machine", fabric.name);
                let files: Vec<&str> =
                    fabric.nodes.iter().filter_map(|group| group.topology.as_deref()).collect();
                let remedy = match files[..] {
                    [] => "`crosstie topo FILE` shows a fabric".to_owned(),
                    _ => format!(
                        "`crosstie topo FILE` shows a fabric; its nodes are described by {}",
                        files.join(", ")
                    ),
                };
                Err(Failure::usage(message, remedy))
            }
        }
    }

    /// This machine.
    pub fn here() -> Result<Self, Failure> {
        Self::detected(&Facts::of_this_host(DRIVER))
    }

    fn detected(facts: &Facts) -> Result<Self, Failure> {
        let crosstie_probe::Machine { document, notes } = assemble(facts);
        let topology = Topology::from_document(document).map_err(|error| {
            let remedy = "please report it, with the file of `crosstie topo --capture FILE`";
            Failure::usage(format!("what was detected makes no topology: {error}"), remedy)
        })?;
        Ok(Self { topology, notes })
    }

    /// What files describe, each a part of one machine.
    fn described(files: &[(&Path, Vec<u8>)]) -> Result<Self, Failure> {
        let mut documents = Vec::new();
        for (file, bytes) in files {
            documents.push(Document::read_bytes(bytes).map_err(|error| bad_file(file, error))?);
        }
        let none = || Failure::usage("no file is given", "give one");
        let merged = merge(documents).ok_or_else(none)?;
        if let Some(why) = merged.contradiction().filter(|_| files.len() > 1) {
            let message = format!("the files are of different machines: {why}");
            let remedy = "give files of one machine; `crosstie topo diff A B` tells how two differ";
            return Err(Failure::usage(message, remedy));
        }
        let note = |conflict: Conflict| Note {
            found: format!(
                "the files differ in {} of {}",
                shown(&conflict.attribute),
                conflict.element
            ),
            means: format!("{:?} is kept, {:?} is dropped", conflict.kept, conflict.dropped),
        };
        let notes = merged.conflicts.into_iter().map(note).collect();
        let first = files.first().map_or(Path::new(""), |(file, _)| *file);
        let topology = Topology::from_document(merged.document);
        Ok(Self { topology: topology.map_err(|error| bad_file(first, error))?, notes })
    }

    /// One that was captured.
    fn captured(file: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        let captured = String::from_utf8_lossy(bytes).parse::<Captured>();
        let captured = captured.map_err(|error| bad_file(file, error))?;
        let facts = captured.facts();
        Self::detected(&facts.map_err(|e| Failure::host("read the captured machine", e))?)
    }
}

/// A file's bytes.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| {
        let text = path.to_string_lossy();
        // What is no file was perhaps to be a command.
        let remedy = match text.contains(['/', '.']) {
            true => "`crosstie topo --help` tells what it reads",
            false => {
                "its commands are show, lint, diff and remap; `crosstie topo --help` tells what it reads"
            }
        };
        Failure::usage(format!("cannot read {}: {error}", crate::file::shown(path)), remedy)
    };
    file::read(path).map_err(failed)
}

/// A file that does not hold what it should.
pub fn bad_file(path: &Path, error: impl std::fmt::Display) -> Failure {
    let remedy = "`crosstie topo --help` tells what it reads";
    Failure::usage(format!("{}: {error}", crate::file::shown(path)), remedy)
}
