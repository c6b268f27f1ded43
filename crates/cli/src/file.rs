//! Owns the files that a command line names: reading them, and showing their names.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crosstie_probe::{Pipes, read_file};
use crosstie_topo::shown as obeyed_by_no_terminal;

/// For whoever writes a pipe, `<(...)` of a shell for one, to come to an end.
const PIPE: Duration = Duration::from_secs(10);

/// The most that is read from standard input: a plan of 512 ranks takes some MB.
const LONGEST: u64 = 256 << 20;

/// Whether a name means standard input.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// A file's bytes, as far as anybody wants them; `-` is standard input.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    match is_stdin(path) {
        true => read_stdin(),
        false => read_file(path, Pipes::Within(PIPE)),
    }
}

fn read_stdin() -> io::Result<Vec<u8>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("standard input is named twice, and can be read once"));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("more than {LONGEST} bytes on standard input")));
    }
    Ok(bytes)
}

/// The same, of a file that holds text.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(io::Error::other)
}

/// A file's name for people: whoever chose it does not command their terminal.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    obeyed_by_no_terminal(&name.as_ref().to_string_lossy())
}
