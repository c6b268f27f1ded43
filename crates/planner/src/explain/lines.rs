//! Owns how numbers, speeds and sentences are written where people read a plan.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use crosstie_topo::Bandwidth;

/// How the text is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether it has colours.
    pub color: bool,
    /// Whether each hop, node, tree and route is told.
    pub full: bool,
}

impl Look {
    pub(super) fn style(self, style: Style) -> Style {
        if self.color { style } else { Style::new() }
    }

    pub(super) fn head(self) -> Style {
        self.style(Style::new().bold())
    }

    pub(super) fn good(self) -> Style {
        self.style(AnsiColor::Green.on_default())
    }

    pub(super) fn bad(self) -> Style {
        self.style(AnsiColor::Red.on_default().bold())
    }
}

/// Numbers with runs put together: `0-3 6`.
pub fn numbers(all: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in all {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |(first, last): (u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first} {last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(" ")
}

/// Bytes as sizes are written on a command line: `64K`.
pub fn bytes(number: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units.iter().find(|(power, _)| number > 0 && number.trailing_zeros() >= *power);
    unit.map_or_else(|| number.to_string(), |(power, unit)| format!("{}{unit}", number >> power))
}

/// So many MB/s (10⁶ bytes) in words.
pub fn speed(mb_s: u64) -> String {
    Bandwidth::mb_per_s(mb_s).to_string()
}

/// A sentence in lines of at most so many columns, the first after its name.
pub(super) fn wrapped(name: &str, sentence: &str, text: &mut String) {
    const WIDTH: usize = 96;
    let (mut line, indent) = (name.to_owned(), " ".repeat(name.len()));
    for word in sentence.split(' ') {
        if line.len() + word.len() > WIDTH && line.len() > indent.len() {
            let _ = writeln!(text, "{}", line.trim_end());
            line.clone_from(&indent);
        }
        line += word;
        line.push(' ');
    }
    let _ = writeln!(text, "{}", line.trim_end());
}
