//! Owns the reading of files that a command line names.

use std::io;
use std::path::Path;
use std::time::Duration;

use crosstie_probe::{Pipes, read_file};

/// For whoever writes a pipe, `<(...)` of a shell for one, to come to an end.
const PIPE: Duration = Duration::from_secs(10);

/// A file's bytes, as far as anybody wants them.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_file(path, Pipes::Within(PIPE))
}

/// The same, of a file that holds text.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(io::Error::other)
}
