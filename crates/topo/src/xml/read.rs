//! Owns reading: from text to a tree, or to an error with its place.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use roxmltree::{Document as Parsed, Error, Node, NodeType, ParsingOptions, TextPos};

use crate::error::{Fault, ReadError};
use crate::xml::fence::{self, MAX_ELEMENTS, position};
use crate::xml::mend::mend;
use crate::xml::write::visible;
use crate::xml::{Attribute, Document, Element, Item, Position};

impl Document {
    /// Reads a file's bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and where the bytes are not UTF-8.
    pub fn read_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        match core::str::from_utf8(bytes) {
            Ok(text) => Self::read(text),
            Err(e) => {
                let good = core::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default();
                Err(ReadError { at: position(good, good.len()), fault: Fault::Encoding })
            }
        }
    }

    /// Reads a text, whatever its elements mean. What NCCL's own reader takes and XML does not (dashes in
    /// comments, a bare `&`) is mended; positions are then those of the mended text.
    ///
    /// # Errors
    ///
    /// Where it is not XML, or has a size, depth or part that no topology file has. Time and memory stay
    /// within a small multiple of the text's length.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        fence::check(text)?;
        strict(text).or_else(|error| {
            let mended = mend(text);
            let read = fence::check(&mended).and_then(|()| strict(&mended));
            read.map_err(|_| error)
        })
    }
}

fn strict(text: &str) -> Result<Document, ReadError> {
    // Every element may have a comment and a text beside it.
    let nodes_limit = 4 * MAX_ELEMENTS as u32;
    let options = ParsingOptions { allow_dtd: false, nodes_limit, ..Default::default() };
    let parsed = Parsed::parse_with_options(text, options).map_err(|e| syntax(text, &e))?;
    let mut cursor = Cursor::new(text);
    let (mut before, mut after, mut root) = (Vec::new(), Vec::new(), None);
    for node in parsed.root().children() {
        match (item(node, &mut cursor), &root) {
            (Some(Item::Element(element)), _) => root = Some(element),
            (Some(item), None) => before.push(item),
            (Some(item), Some(_)) => after.push(item),
            (None, _) => {}
        }
    }
    let root = root.ok_or_else(|| syntax(text, &Error::NoRootNode))?;
    Ok(Document { declaration: declaration(text), before, root, after })
}

/// The library keeps no declaration.
fn declaration(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}');
    let rest = text.strip_prefix("<?xml")?;
    rest.starts_with(char::is_whitespace).then_some(())?;
    Some(text[..text.find("?>")? + 2].to_string())
}

/// Recursive, within the depth that the fence lets pass.
fn item(node: Node<'_, '_>, cursor: &mut Cursor<'_>) -> Option<Item> {
    match node.node_type() {
        NodeType::Element => Some(Item::Element(element(node, cursor))),
        NodeType::Comment => Some(Item::Comment(visible(node.text().unwrap_or_default()))),
        NodeType::Text => {
            let text = node.text().unwrap_or_default().trim();
            (!text.is_empty()).then(|| Item::Text(text.to_string()))
        }
        NodeType::PI => {
            // A declaration with a tab in it is taken for an instruction; `declaration` has it.
            let pi = node.pi().filter(|pi| pi.target != "xml")?;
            let value = visible(pi.value.unwrap_or_default().trim());
            Some(Item::Instruction(pi.target.to_string(), value))
        }
        NodeType::Root => None,
    }
}

fn element(node: Node<'_, '_>, cursor: &mut Cursor<'_>) -> Element {
    let at = cursor.position(node.range().start);
    let attribute = |attribute: roxmltree::Attribute<'_, '_>| {
        let name = &cursor.text[attribute.range_qname()];
        let at = cursor.position(attribute.range().start);
        Attribute { name: name.to_string(), value: attribute.value().to_string(), at }
    };
    let attributes = node.attributes().map(attribute).collect();
    let name = node.tag_name().name().to_string();
    let items = node.children().filter_map(|child| item(child, cursor)).collect();
    Element { name, attributes, items, at }
}

/// Tells positions in the order of the text, in one pass over it.
struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    at: Position,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, offset: 0, at: Position { line: 1, column: 1 } }
    }

    fn position(&mut self, offset: usize) -> Position {
        for c in self.text.get(self.offset..offset).unwrap_or_default().chars() {
            match c {
                '\n' => self.at = Position { line: self.at.line + 1, column: 1 },
                _ => self.at.column += 1,
            }
        }
        self.offset = self.offset.max(offset);
        self.at
    }
}

/// The library's words, with its position taken out of them: ours stands before every message.
fn syntax(text: &str, error: &Error) -> ReadError {
    let TextPos { row, col } = error.pos();
    let placed = error.to_string();
    let at = match error {
        Error::NoRootNode | Error::UnclosedRootNode | Error::UnexpectedEndOfStream => {
            position(text, text.len())
        }
        _ => Position { line: row, column: col },
    };
    let mut what = placed.replace(&alloc::format!(" at {row}:{col}"), "");
    if what.len() > 200 {
        what = what.chars().take(200).collect();
    }
    let fault = match error {
        Error::NodesLimitReached => Fault::Elements { limit: MAX_ELEMENTS },
        _ => Fault::Syntax { what },
    };
    ReadError { at, fault }
}
