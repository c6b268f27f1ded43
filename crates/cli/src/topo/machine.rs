//! Owns where a machine comes from: this one, a captured one, or files that describe it.

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crosstie_probe::{Captured, Facts, Note, Tree, assemble};
use crosstie_topo::Topology;
use crosstie_topo::xml::{Document, merge};

use crate::args::MachineArgs;
use crate::exit::Failure;

/// A machine, and what should be known about how it came to be.
pub struct Machine {
    /// It.
    pub topology: Topology,
    /// What was not found, or is contradicted.
    pub notes: Vec<Note>,
}

/// More than any topology has: the reader refuses longer ones by their length.
const MOST_BYTES: u64 = 65 << 20;

impl Machine {
    /// The one that is asked for.
    pub fn of(args: &MachineArgs) -> Result<Self, Failure> {
        match &args.captured {
            Some(file) => Self::captured(file),
            None if args.files.is_empty() => Self::here(),
            None => Self::of_files(&args.files),
        }
    }

    /// This machine.
    pub fn here() -> Result<Self, Failure> {
        Self::detected(&Facts::of_this_host())
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
    pub fn of_files(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut documents = Vec::new();
        for file in files {
            let read = Document::read_bytes(&read_file(file)?);
            documents.push(read.map_err(|error| bad_file(file, error))?);
        }
        let none = || Failure::usage("no file is given", "give one with --file");
        let merged = merge(documents).ok_or_else(none)?;
        let note = |conflict: crosstie_topo::xml::Conflict| Note {
            found: format!("the files differ in {} of {}", conflict.attribute, conflict.element),
            means: format!("{:?} is kept, {:?} is dropped", conflict.kept, conflict.dropped),
        };
        let notes = merged.conflicts.into_iter().map(note).collect();
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        let topology = Topology::from_document(merged.document);
        Ok(Self { topology: topology.map_err(|error| bad_file(first, error))?, notes })
    }

    /// One that was captured, read from files of its own that go again.
    fn captured(file: &Path) -> Result<Self, Failure> {
        let text = read_file(file)?;
        let captured = String::from_utf8_lossy(&text).parse::<Captured>();
        let captured = captured.map_err(|error| bad_file(file, error))?;
        let folder = Folder::new()?;
        captured.write_below(&folder.0).map_err(|e| bad_file(file, e))?;
        let tree =
            Tree::at(&folder.0).map_err(|e| Failure::host("read the captured machine", e))?;
        Self::detected(&Facts::of_capture(&tree))
    }
}

/// A directory of this process alone, which goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("crosstie-topo-{}", std::process::id()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| Failure::host(format!("make the folder {}", path.display()), e))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is some kilobytes among temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file's bytes.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    let failed = |error| {
        let remedy = "`crosstie topo --help` tells what it reads";
        Failure::usage(format!("cannot read {}: {error}", path.display()), remedy)
    };
    read.map_err(failed).map(|_| bytes)
}

/// A file that does not hold what it should.
pub fn bad_file(path: &Path, error: impl std::fmt::Display) -> Failure {
    let remedy = "`crosstie topo --help` tells what it reads";
    Failure::usage(format!("{}: {error}", path.display()), remedy)
}
