//! Owns captured machines: what detection reads, as one text that another machine can detect from.
//!
//! # Format
//!
//! ```text
//! # anything
//! /sys/class/net
//!   eth0 -> ../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0
//! /sys/devices/pci0000:00/0000:00:03.0/virtio2/net/eth0
//!   mtu = 1500
//!   speed !
//!   uevent |
//!     INTERFACE=eth0
//!     IFINDEX=2
//!   device -> ../../../virtio2
//! end
//! ```
//!
//! A line that begins with `/` is a directory; lines with two blanks before them are what it holds: a file
//! of one line (`=`) or of several (`|`, each with four blanks before it), a link (`->`), or a file that the
//! kernel refuses to read (`!`). Empty lines and those that begin with `#` say nothing. Directories above
//! others need no line of their own. `end` is the last line that says anything: a capture that was cut short
//! would be another machine.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::entry::Entry;
use crate::gpu::Gpus;
use crate::tree::Tree;
use crate::{Facts, rdma};

/// The files of a machine that detection reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    entries: BTreeMap<String, Entry>,
}

/// Why a text is no captured machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub what: &'static str,
}

impl Captured {
    /// What detection reads of `tree`, and what its GPUs' driver tells. Numbers that name one card among
    /// all of the world (GUIDs, addresses of ports) keep their vendor's part; the rest is counted up from 1, so
    /// that equal ones stay equal; so it is with names that hold a hardware address (`enx…`, or a virtual
    /// machine's devices). Serial numbers, hardware addresses and host names are not read at all.
    pub fn of(tree: Tree, gpus: &Gpus) -> Self {
        let tree = tree.remembering();
        // What it gives is not wanted here, only what it looked at.
        drop(Facts::read(&tree, Gpus::default()));
        let mut entries = tree.into_seen();
        entries.extend(gpus.entries());
        let mut masked = Masked::default();
        for (path, entry) in &mut entries {
            if let Entry::Text(text) = entry {
                masked.hide(path, text);
            }
        }
        let entries = entries.into_iter().map(|(path, entry)| {
            let entry = match entry {
                Entry::Text(text) => Entry::Text(masked.names(&text)),
                Entry::Link(target) => Entry::Link(masked.names(&target)),
                other => other,
            };
            (masked.names(&path), entry)
        });
        Self { entries: entries.filter(|(path, entry)| can_be_written(path, entry)).collect() }
    }

    /// Whether a text means to be one: its first line that says anything names a directory.
    pub fn is_begun(text: &str) -> bool {
        let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        first.is_some_and(|line| line.starts_with('/'))
    }

    /// What detection finds in it, from files of its own that go again.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn facts(&self) -> io::Result<Facts> {
        let folder = Folder::new()?;
        self.write_below(&folder.0)?;
        Ok(Facts::of_capture(&Tree::at(&folder.0)?))
    }

    /// Makes the files below `root`, which a [`Tree`] can then read. What the kernel refuses to read becomes a
    /// directory, which cannot be read either.
    ///
    /// # Errors
    ///
    /// The file system's.
    pub fn write_below(&self, root: &Path) -> io::Result<()> {
        fs::create_dir_all(root)?;
        for (path, entry) in &self.entries {
            let path = root.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            match entry {
                Entry::Directory | Entry::Unreadable => fs::create_dir_all(path)?,
                Entry::Text(text) => fs::write(path, format!("{text}\n"))?,
                Entry::Link(_) => {}
            }
        }
        // Last, so that nothing is written through one, out of `root`.
        for (path, entry) in &self.entries {
            if let Entry::Link(target) = entry {
                symlink(target, root.join(path))?;
            }
        }
        Ok(())
    }
}

/// Whether the text form can hold it.
fn can_be_written(path: &str, entry: &Entry) -> bool {
    let plain = |text: &str| !text.chars().any(char::is_control);
    let name = path.rsplit('/').next().unwrap_or_default();
    let fits = match entry {
        Entry::Directory | Entry::Unreadable => true,
        Entry::Text(text) => text.lines().all(|line| plain(&line.replace('\t', " "))),
        Entry::Link(target) => plain(target),
    };
    fits && plain(path) && !name.contains(' ')
}

/// Of an interface's name that is a hardware address (`enx` and its twelve digits): what goes before it, and that with
/// the vendor's part.
pub(crate) fn hardware_address(name: &str) -> Option<(&str, &str)> {
    let [b'e' | b'w', _, b'x', ..] = name.as_bytes() else { return None };
    let digits = name.get(3..).filter(|digits| digits.len() == 12)?;
    let is_address = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_address.then_some((name.get(..3)?, name.get(..9)?))
}

/// Hides what tells one card from all others.
#[derive(Default)]
struct Masked {
    numbers: BTreeMap<String, usize>,
}

impl Masked {
    fn hide(&mut self, path: &str, text: &mut String) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let of_rdma = path.contains("/infiniband/") || path.starts_with(rdma::DEVICES);
        if of_rdma && matches!(name, "node_guid" | "sys_image_guid") {
            // `a088:c203:0012:3456`: the vendor has the first 24 bits.
            *text = self.masked(text, 2);
        } else if of_rdma && path.contains("/gids/") && text.chars().any(|c| !"0:".contains(c)) {
            *text = self.masked(text, 6);
        } else if path == "proc/cpuinfo" {
            *text = processor(text);
        }
    }

    /// Names in a text that are made of a hardware address: `enx` and its twelve digits, or a GUID.
    fn names(&mut self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let name = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let rest = part.get(name.len()..).unwrap_or_default();
            let is_hexadecimal = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
            let lengths: Vec<usize> = name.split('-').map(str::len).collect();
            if lengths == [8, 4, 4, 4, 12] && name.split('-').all(is_hexadecimal) {
                masked.push_str(&format!("00000000-0000-0000-0000-{:012x}", self.number(name)));
            } else if let Some((_, vendors)) = hardware_address(name) {
                masked.push_str(&format!("{vendors}{:06x}", self.number(name)));
            } else {
                masked.push_str(name);
            }
            masked.push_str(rest);
        }
        masked
    }

    /// Which of all names and numbers that were hidden it is, from 1.
    fn number(&mut self, hidden: &str) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(hidden.to_owned()).or_insert(next)
    }

    /// The first `kept` words, then which of all such numbers it is.
    fn masked(&mut self, text: &str, kept: usize) -> String {
        let number = self.number(text);
        let words: Vec<&str> = text.split(':').take(kept).collect();
        // Of a GUID's second word the upper half is the vendor's; of an address all that names a host goes, but not
        // that it is one of IPv4.
        let words = match words.as_slice() {
            ["0000", "0000", "0000", "0000", "0000", "ffff"] => words.join(":"),
            [first, second] => format!("{first}:{}00", second.get(..2).unwrap_or("00")),
            [first, ..] => format!("{first}:0000:0000:0000:0000:0000"),
            [] => String::new(),
        };
        format!("{words}:{:04x}:{:04x}", number >> 16, number & 0xffff)
    }
}

/// Of the first processor, what says which kind it is.
fn processor(text: &str) -> String {
    const KEPT: [&str; 9] = [
        "processor",
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "CPU implementer",
        "CPU architecture",
        "CPU part",
        "cpu",
    ];
    let first = text.split("\n\n").next().unwrap_or_default();
    let kept = first
        .lines()
        .filter(|line| line.split_once(':').is_some_and(|(key, _)| KEPT.contains(&key.trim())));
    kept.collect::<Vec<_>>().join("\n")
}

/// A directory of this value alone, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("crosstie-captured-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is some kilobytes among temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# A machine as `crosstie topo --capture` read it.")?;
        let mut folders: BTreeMap<&str, Vec<(&str, &Entry)>> = BTreeMap::new();
        for (path, entry) in &self.entries {
            if *entry == Entry::Directory {
                folders.entry(path).or_default();
            } else {
                let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
                folders.entry(folder).or_default().push((name, entry));
            }
        }
        for (folder, held) in folders {
            writeln!(f, "/{folder}")?;
            held.into_iter().try_for_each(|(name, entry)| write_entry(f, name, entry))?;
        }
        writeln!(f, "{END}")
    }
}

fn write_entry(f: &mut fmt::Formatter<'_>, name: &str, entry: &Entry) -> fmt::Result {
    match entry {
        Entry::Directory => Ok(()),
        Entry::Unreadable => writeln!(f, "  {name} !"),
        Entry::Link(target) => writeln!(f, "  {name} -> {target}"),
        Entry::Text(text) if text.is_empty() => writeln!(f, "  {name} ="),
        Entry::Text(text) if !text.contains('\n') => writeln!(f, "  {name} = {text}"),
        Entry::Text(text) => {
            writeln!(f, "  {name} |")?;
            text.lines().try_for_each(|line| writeln!(f, "    {line}"))
        }
    }
}

impl FromStr for Captured {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.take(line).map_err(|what| Malformed { line: index + 1, what })?;
        }
        if !reader.ended {
            return Err(Malformed { line: text.lines().count(), what: CUT });
        }
        Ok(Self { entries: reader.entries })
    }
}

#[derive(Default)]
struct Reader {
    entries: BTreeMap<String, Entry>,
    within: Option<String>,
    /// The file of several lines that is being read.
    open: Option<String>,
    ended: bool,
}

impl Reader {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        if let (Some(path), Some(more)) = (&self.open, line.strip_prefix("    ")) {
            if let Some(Entry::Text(text)) = self.entries.get_mut(path) {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(more);
            }
            return Ok(());
        }
        self.open = None;
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if self.ended {
            return Err("something stands after the end; capture one machine to a file");
        }
        if line.trim_end() == END {
            self.ended = true;
            return Ok(());
        }
        if let Some(directory) = line.strip_prefix('/') {
            let directory = directory.trim_end();
            check(directory)?;
            self.entries.entry(directory.to_owned()).or_insert(Entry::Directory);
            self.within = Some(directory.to_owned());
            return Ok(());
        }
        let held = line.strip_prefix("  ").filter(|held| !held.starts_with(' '));
        self.entry(held.ok_or("expected a directory (/...), or two blanks and what it holds")?)
    }

    fn entry(&mut self, held: &str) -> Result<(), &'static str> {
        let within =
            self.within.as_ref().ok_or("expected a directory (/...) before what it holds")?;
        let (name, rest) = held.split_once(' ').ok_or(FORM)?;
        check(name)?;
        let path = format!("{within}/{name}");
        let entry = match rest.split_once(' ').unwrap_or((rest, "")) {
            ("!", "") => Entry::Unreadable,
            ("|", "") => {
                self.open = Some(path.clone());
                Entry::Text(String::new())
            }
            ("=", text) => Entry::Text(text.trim_end().to_owned()),
            ("->", target) if !target.is_empty() => {
                let up = target.split('/').filter(|&part| part == "..").count();
                if target.starts_with('/') || up > within.split('/').count() {
                    return Err("expected a link that stays inside");
                }
                Entry::Link(target.to_owned())
            }
            _ => return Err(FORM),
        };
        match self.entries.insert(path, entry) {
            None | Some(Entry::Directory) => Ok(()),
            Some(_) => Err("this stands here twice"),
        }
    }
}

/// The last line.
const END: &str = "end";
const CUT: &str = "the capture has no `end` line: it was cut short, or is none, or an older release made it; copy \
                   the whole file, or capture again with `crosstie topo --capture FILE`";
const FORM: &str = "expected NAME = TEXT, NAME |, NAME -> TARGET or NAME !";

fn check(path: &str) -> Result<(), &'static str> {
    let good = path.split('/').all(|part| !["", ".", ".."].contains(&part));
    good.then_some(()).ok_or("expected names without . and ..")
}
