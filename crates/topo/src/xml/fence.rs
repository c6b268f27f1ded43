//! Owns the guard before the XML library: bounds on size, depth, elements and attributes, checked in one
//! pass, so that no file costs more than a small multiple of its length.
//!
//! The library compares each attribute of an element with all others, copies the namespaces of an element
//! to the ones inside, and takes any depth: all three are quadratic, or worse, for a file that means harm.

use crate::error::{Fault, ReadError};
use crate::xml::Position;

/// The longest file. A rack of 576 GPUs takes about 1 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// The deepest nesting; PCI trees of today's servers have up to 12 levels.
pub const MAX_DEPTH: usize = 128;
/// The most elements.
pub const MAX_ELEMENTS: usize = 1 << 20;
/// The most attributes of one element; NCCL takes 16.
pub const MAX_ATTRIBUTES: usize = 128;

/// Passes a text that is safe to give to the XML library; whether it is XML is for that to say.
pub fn check(text: &str) -> Result<(), ReadError> {
    if text.len() > MAX_BYTES {
        let fault = Fault::Size { bytes: text.len(), limit: MAX_BYTES };
        return Err(ReadError { at: Position { line: 1, column: 1 }, fault });
    }
    let (mut at, mut depth, mut elements) = (0, 0_usize, 0);
    while let Some(found) = text[at..].find('<') {
        let open = at + found;
        let refuse = |fault| Err(ReadError { at: position(text, open), fault });
        let rest = &text[open..];
        at = if rest.starts_with("<!--") {
            after(text, open + 4, "-->")
        } else if rest.starts_with("<![CDATA[") {
            after(text, open + 9, "]]>")
        } else if rest.starts_with("<!") {
            return refuse(Fault::Foreign { part: "a document type (<!DOCTYPE>)" });
        } else if rest.starts_with("<?xml") && !rest[5..].starts_with(follows_xml) {
            return refuse(Fault::Foreign { part: "an instruction with the name xml" });
        } else if rest.starts_with("<?") {
            after(text, open + 2, "?>")
        } else if rest.starts_with("</") {
            depth = depth.saturating_sub(1);
            after(text, open, ">")
        } else {
            let tag = Tag::scan(rest.as_bytes());
            elements += 1;
            depth += usize::from(!tag.closed);
            if depth > MAX_DEPTH {
                return refuse(Fault::Depth { limit: MAX_DEPTH });
            }
            if elements > MAX_ELEMENTS {
                return refuse(Fault::Elements { limit: MAX_ELEMENTS });
            }
            if tag.attributes > MAX_ATTRIBUTES {
                return refuse(Fault::Attributes { limit: MAX_ATTRIBUTES });
            }
            if tag.namespace {
                return refuse(Fault::Foreign { part: "a namespace (xmlns)" });
            }
            open + tag.bytes
        };
    }
    Ok(())
}

/// The place after the next `mark`, or the end.
fn after(text: &str, from: usize, mark: &str) -> usize {
    text[from..].find(mark).map_or(text.len(), |found| from + found + mark.len())
}

/// What a start tag shows without being understood.
struct Tag {
    bytes: usize,
    attributes: usize,
    closed: bool,
    namespace: bool,
}

impl Tag {
    fn scan(text: &[u8]) -> Self {
        let mut tag = Self { bytes: text.len(), attributes: 0, closed: false, namespace: false };
        let (mut quote, mut before) = (None, b'<');
        for (place, &byte) in text.iter().enumerate().skip(1) {
            match (quote, byte) {
                (Some(open), _) if byte == open => quote = None,
                (Some(_), _) => {}
                (None, b'"' | b'\'') => quote = Some(byte),
                (None, b'=') => tag.attributes += 1,
                (None, b'>') => {
                    tag.closed = before == b'/';
                    tag.bytes = place + 1;
                    return tag;
                }
                (None, _) => {
                    tag.namespace |= !is_name(before) && text[place..].starts_with(b"xmlns");
                }
            }
            before = byte;
        }
        tag
    }
}

/// What may stand after `<?xml`: the declaration's blank, or the rest of a longer name. The library takes
/// more, which would read back as another thing.
fn follows_xml(c: char) -> bool {
    c.is_ascii_whitespace() || c.is_alphanumeric() || matches!(c, ':' | '_' | '-' | '.')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'<' | b':' | b'_' | b'-' | b'.') || byte >= 0x80
}

/// Line and column of a byte: one pass over the text, so for errors only.
pub fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Position { line: line as u32, column: column as u32 }
}
