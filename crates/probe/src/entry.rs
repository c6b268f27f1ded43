//! Owns [`Entry`]: what detection finds at a path.

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A directory.
    Directory,
    /// A file's text.
    Text(String),
    /// A file that the kernel refuses to read.
    Unreadable,
    /// A link.
    Link(String),
}
