//! Owns writing: a tree as text that reads back equal, two blanks to a level.

use alloc::string::String;
use core::fmt::{self, Write};

use crate::shown::is_obeyed;
use crate::xml::{Document, Element, Item};

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(declaration) = &self.declaration {
            writeln!(f, "{declaration}")?;
        }
        self.before.iter().try_for_each(|item| write_item(f, item, 0))?;
        write_element(f, &self.root, 0)?;
        self.after.iter().try_for_each(|item| write_item(f, item, 0))
    }
}

/// Blanks before a line: two to a level, as far as machines go. Of deeper ones a file of short elements
/// would be written many times as long.
fn blanks(depth: usize) -> usize {
    2 * depth.min(16)
}

fn write_item(f: &mut fmt::Formatter<'_>, item: &Item, depth: usize) -> fmt::Result {
    let indent = blanks(depth);
    match item {
        Item::Element(element) => write_element(f, element, depth),
        Item::Comment(comment) => writeln!(f, "{:indent$}<!--{}-->", "", in_comment(comment)),
        Item::Text(text) => {
            write!(f, "{:indent$}", "")?;
            escape(f, text)?;
            writeln!(f)
        }
        Item::Instruction(target, value) if value.is_empty() => {
            writeln!(f, "{:indent$}<?{target}?>", "")
        }
        Item::Instruction(target, value) => {
            writeln!(f, "{:indent$}<?{target} {}?>", "", visible(value))
        }
    }
}

fn write_element(f: &mut fmt::Formatter<'_>, element: &Element, depth: usize) -> fmt::Result {
    let (indent, name) = (blanks(depth), &element.name);
    write!(f, "{:indent$}<{name}", "")?;
    for attribute in &element.attributes {
        write!(f, " {}=\"", attribute.name)?;
        escape(f, &attribute.value)?;
        f.write_char('"')?;
    }
    if element.items.is_empty() {
        return writeln!(f, "/>");
    }
    writeln!(f, ">")?;
    element.items.iter().try_for_each(|item| write_item(f, item, depth + 1))?;
    writeln!(f, "{:indent$}</{name}>", "")
}

/// White space other than blanks would be read back as blanks; other control characters cannot be written.
fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '&' => f.write_str("&amp;"),
        '<' => f.write_str("&lt;"),
        '>' => f.write_str("&gt;"),
        '"' => f.write_str("&quot;"),
        '\t' | '\n' | '\r' => write!(f, "&#{};", u32::from(c)),
        '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}'),
        // A terminal would obey it.
        _ if is_obeyed(c) => write!(f, "&#{};", u32::from(c)),
        _ => f.write_char(c),
    })
}

/// The text with U+FFFD for what a terminal would obey. In comments and instructions no character can be
/// written by its number, so reading them loses it too: what is written reads back equal.
pub(super) fn visible(text: &str) -> String {
    let seen = |c: char| if is_obeyed(c) && !"\t\n\r".contains(c) { '\u{fffd}' } else { c };
    text.chars().map(seen).collect()
}

/// A comment may hold no two dashes, nor end with one; one that was read never does.
fn in_comment(comment: &str) -> String {
    let mut good = visible(comment).replace("--", "- -").replace("--", "- -");
    if good.ends_with('-') {
        good.push(' ');
    }
    good
}
