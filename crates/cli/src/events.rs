//! Owns what a rank tells its launcher beside its output: JSON texts among the lines of standard
//! error, each marked by a record separator (as in RFC 7464), which no program writes by accident.

use std::io::Write;

use crosstie_topo::shown;
use serde::{Deserialize, Serialize};

use crate::exit::Summary;

const MARK: u8 = 0x1e;

/// Something the launcher acts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// So many rows of the benchmark are done.
    Progress {
        /// Rows done.
        done: usize,
        /// Rows in all.
        of: usize,
        /// The last of them.
        text: String,
    },
    /// The rank ends, for this reason.
    Failure {
        /// The reason and what to do, of several lines.
        text: String,
        /// The same for machines.
        summary: Summary,
    },
}

/// Tells the launcher. When it has gone there is nobody left to tell.
pub fn send(event: &Event) {
    if let Ok(text) = serde_json::to_string(event) {
        write(&format!("{}{text}\n", char::from(MARK)));
    }
}

/// Tells people: lines in which nothing is left that a terminal would obey, whoever wrote what they quote.
pub fn tell(text: &str) {
    write(&printable(text));
}

/// The same lines without what a terminal would obey.
pub fn printable(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// In one piece: a rank that is ended meanwhile leaves all of it, or nothing.
fn write(text: &str) {
    // Whoever read it may be gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The event that a line carries, if it carries one.
pub fn parse(line: &[u8]) -> Option<Event> {
    let (&MARK, text) = line.split_first()? else { return None };
    serde_json::from_slice(text).ok()
}
