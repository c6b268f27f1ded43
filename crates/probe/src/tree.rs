//! Owns reading below a root directory: bounded, never outside of it, and remembered where one captures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::entry::Entry;
use crate::text;

/// A directory that holds `sys` and `proc`: `/`, or a copy of parts of another machine's.
///
/// Paths are relative to it. What cannot be read, for whatever reason, is `None`.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    /// The directory that was asked for last, and where it is: files of one are read one after another.
    last: RefCell<Option<(String, Option<PathBuf>)>>,
    seen: Option<RefCell<BTreeMap<String, Entry>>>,
}

/// Most bytes of a file that are looked at. Attributes of sysfs have at most a page; of `/proc/cpuinfo`
/// the first processor is enough.
const MOST_BYTES: u64 = 16 << 10;

/// Most entries of a directory that are looked at.
const MOST_NAMES: usize = 1 << 16;

impl Tree {
    /// The tree below `root`.
    ///
    /// # Errors
    ///
    /// Where that is no directory that can be entered.
    pub fn at(root: impl AsRef<Path>) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        match root.is_dir() {
            true => Ok(Self { root, last: RefCell::default(), seen: None }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The same, but it remembers all that it was asked for.
    pub(crate) fn remembering(mut self) -> Self {
        self.seen = Some(RefCell::default());
        self
    }

    /// What it was asked for, by path.
    pub(crate) fn into_seen(self) -> BTreeMap<String, Entry> {
        self.seen.map(RefCell::into_inner).unwrap_or_default()
    }

    /// A file's text without white space at its end; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let read = self.read(path);
        if let Some(seen) = &self.seen {
            let entry = match &read {
                Ok(text) => Some(Entry::Text(text.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(_) => Some(Entry::Unreadable),
            };
            let mut seen = seen.borrow_mut();
            entry.and_then(|entry| seen.insert(path.to_owned(), entry));
        }
        read.ok()
    }

    /// Where a directory is, links followed; `None` where that is outside of the tree.
    fn inside(&self, directory: &str) -> Option<PathBuf> {
        let mut last = self.last.borrow_mut();
        if let Some((same, place)) = &*last
            && same == directory
        {
            return place.clone();
        }
        let real = fs::canonicalize(self.root.join(directory)).ok();
        let place = real.filter(|real| real.starts_with(&self.root));
        *last = Some((directory.to_owned(), place.clone()));
        place
    }

    /// Where a file is, but for a link that it may itself be.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some(self.inside(directory)?.join(name))
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let place = self.place(path).ok_or(io::ErrorKind::NotFound)?;
        // A pipe would never end, a link could lead out of the tree: attributes are neither.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let mut options = OpenOptions::new();
        let flags = flags.bits().try_into().unwrap_or_default();
        let file = options.read(true).custom_flags(flags).open(place)?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// A file's only word or line; `None` also where it is empty.
    pub(crate) fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// What stands in a directory, by name; nothing where there is none.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = self.inside(path).and_then(|place| fs::read_dir(place).ok());
        let Some(entries) = entries else { return Vec::new() };
        let names = entries.take(MOST_NAMES).flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        self.remember_directory(path);
        names
    }

    /// What stands in a folder of links to devices, such as `sys/class/net`: the name of each and where it really is,
    /// in the order in which people count them.
    pub(crate) fn devices(&self, folder: &str) -> Vec<(String, String)> {
        let mut names = self.names(folder);
        names.sort_by_key(|name| text::in_order(name));
        let place = |name: String| Some((name.clone(), self.real(&format!("{folder}/{name}"))?));
        names.into_iter().filter_map(place).collect()
    }

    /// Whether a directory is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        let there = self.inside(path).is_some_and(|place| place.is_dir());
        if there {
            self.remember_directory(path);
        }
        there
    }

    fn remember_directory(&self, path: &str) {
        if let Some(seen) = &self.seen {
            seen.borrow_mut().entry(path.to_owned()).or_insert(Entry::Directory);
        }
    }

    /// Where a directory really is, if a link leads to it; `None` where that is outside of the tree.
    pub(crate) fn real(&self, path: &str) -> Option<String> {
        let full = self.root.join(path);
        let real = fs::canonicalize(&full).ok()?;
        let real = real.strip_prefix(&self.root).ok()?.to_str()?.to_owned();
        if let Some(seen) = &self.seen {
            let mut seen = seen.borrow_mut();
            if let Some(target) =
                fs::read_link(&full).ok().and_then(|it| it.to_str().map(str::to_owned))
            {
                seen.insert(path.to_owned(), Entry::Link(target));
            }
            seen.entry(real.clone()).or_insert(Entry::Directory);
        }
        Some(real)
    }

    /// The name of what a link leads to, whether that is there or not.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.place(path)?).ok()?;
        if let (Some(seen), Some(target)) = (&self.seen, target.to_str()) {
            seen.borrow_mut().insert(path.to_owned(), Entry::Link(target.to_owned()));
        }
        target.file_name()?.to_str().map(str::to_owned)
    }
}
