//! Owns the reading of files that a command line names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// More than any topology, plan or program has: their readers refuse longer ones by their length.
const MOST_BYTES: u64 = 65 << 20;

/// A file's bytes, as far as anybody wants them.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
