//! Owns what NCCL's own reader puts up with and XML does not: dashes inside comments, `&` and `<` that
//! stand for themselves, attributes without a blank between, zero bytes.

use alloc::string::String;

/// The text as XML; the same, where nothing of this kind is wrong with it.
pub fn mend(text: &str) -> String {
    let mut mended = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(place) = rest.find('<') {
        add_text(&mut mended, &rest[..place]);
        rest = &rest[place..];
        let length = if let Some(comment) = rest.strip_prefix("<!--") {
            let end = comment.find("-->").unwrap_or(comment.len());
            add_comment(&mut mended, &comment[..end]);
            (4 + end + 3).min(rest.len())
        } else if rest.starts_with("<?") {
            copy(&mut mended, rest, "?>")
        } else if rest.starts_with("<![CDATA[") {
            copy(&mut mended, rest, "]]>")
        } else if rest[1..].starts_with(|c: char| c == '/' || c == '_' || c.is_alphabetic()) {
            add_tag(&mut mended, rest)
        } else {
            mended.push_str("&lt;");
            1
        };
        rest = &rest[length..];
    }
    add_text(&mut mended, rest);
    mended
}

fn add_text(to: &mut String, text: &str) {
    for (place, c) in text.char_indices() {
        match c {
            '\0' => {}
            '&' if !is_reference(&text[place..]) => to.push_str("&amp;"),
            c => to.push(c),
        }
    }
}

/// No two dashes side by side, none at the end.
fn add_comment(to: &mut String, comment: &str) {
    to.push_str("<!--");
    let mut dash = false;
    for c in comment.chars() {
        if dash && c == '-' {
            to.push(' ');
        }
        dash = c == '-';
        to.push(c);
    }
    to.push_str(if dash { " -->" } else { "-->" });
}

/// Copies up to and with `end`; says how much.
fn copy(to: &mut String, text: &str, end: &str) -> usize {
    let length = text.find(end).map_or(text.len(), |place| place + end.len());
    to.push_str(&text[..length]);
    length
}

/// Adds a tag; says how long it was.
fn add_tag(to: &mut String, text: &str) -> usize {
    let (mut quote, mut closed) = (None, false);
    for (place, c) in text.char_indices() {
        if core::mem::take(&mut closed) && !c.is_whitespace() && !matches!(c, '/' | '>' | '?') {
            to.push(' ');
        }
        match (quote, c) {
            (Some(open), _) if c == open => {
                (quote, closed) = (None, true);
                to.push(c);
            }
            (Some(_), '<') => to.push_str("&lt;"),
            (Some(_), '&') if !is_reference(&text[place..]) => to.push_str("&amp;"),
            (None, '"' | '\'') => {
                quote = Some(c);
                to.push(c);
            }
            (None, '>') => {
                to.push(c);
                return place + 1;
            }
            _ => to.push(c),
        }
    }
    text.len()
}

/// `&lt;`, `&#10;`: what XML would take for a character, or refuse.
fn is_reference(text: &str) -> bool {
    let name: &str = text[1..].split(';').next().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || c == '#';
    name.len() < text.len() - 1 && (1..=10).contains(&name.len()) && name.chars().all(good)
}
