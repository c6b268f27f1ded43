//! Owns what may reach a terminal of a text that somebody else wrote.

use alloc::string::String;
use core::fmt::Write;

/// The text with what a terminal would obey, or reorder, written as Rust writes it (`\u{1b}`): control
/// characters, C0 and C1, line ends among them, and those that set the direction of text. The rest stays.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            // Writing into a String never fails.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters; marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm, and the
/// two separators that end lines.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_a_terminal_obeys_is_written_out_and_words_stay() {
        let hostile = "\u{1b}[31mx\u{1b}]0;p\u{7}\n\u{9b}2J\u{202e}y\u{2066}";
        assert_eq!(shown(hostile), r"\u{1b}[31mx\u{1b}]0;p\u{7}\n\u{9b}2J\u{202e}y\u{2066}");
        assert_eq!(shown("mlx5_0 \\ größe 网卡 🚂"), "mlx5_0 \\ größe 网卡 🚂");
    }
}
