//! Owns how these tests lay out a captured machine as files and read it back.
#![allow(dead_code, reason = "each test binary uses its part of this module")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crosstie_probe::{Captured, Facts, Machine, Tree, assemble};

/// A directory that goes when the test ends.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("crosstie-probe-{}-{number}", std::process::id());
        // Thousands of small files: memory takes them sooner than a disk.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        let path = place.join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All machines of `tests/trees`, by name.
pub fn all() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = files
        .map(|name| name.into_string().unwrap().trim_end_matches(".tree").to_owned())
        .collect();
    names.sort();
    names
}

pub fn captured(name: &str) -> Captured {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trees");
    let text = fs::read_to_string(folder.join(format!("{name}.tree"))).unwrap();
    text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub fn facts(name: &str) -> Facts {
    let folder = Folder::new();
    captured(name).write_below(folder.path()).unwrap();
    Facts::of_capture(&Tree::at(folder.path()).unwrap())
}

pub fn machine(name: &str) -> Machine {
    assemble(&facts(name))
}
