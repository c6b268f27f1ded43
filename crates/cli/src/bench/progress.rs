//! Owns how far a benchmark has come, for someone who watches: a bar on a terminal, an event for
//! the launcher that draws it, or nothing.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::sizes::Row;
use crate::events::{self, Event};

/// Where progress goes.
pub enum Progress {
    /// To nobody.
    Silent,
    /// To the launcher of this rank.
    Events {
        /// Rows done.
        done: usize,
        /// Rows in all.
        of: usize,
    },
    /// To a person at standard error.
    Bar(ProgressBar),
}

impl Progress {
    /// A bar that is not there yet.
    pub fn bar() -> Self {
        Self::Bar(bar())
    }

    /// So many rows are to come.
    pub fn begin(&mut self, rows: usize) {
        match self {
            Self::Silent => {}
            Self::Events { of, .. } => {
                *of = rows;
                events::send(&Event::Progress { done: 0, of: rows, text: String::new() });
            }
            Self::Bar(bar) => draw(bar, 0, rows, ""),
        }
    }

    /// One more is done.
    pub fn advance(&mut self, row: &Row) {
        let text = format!("{} bytes of {}", row.bytes, row.dtype);
        match self {
            Self::Silent => {}
            Self::Events { done, of } => {
                *done += 1;
                events::send(&Event::Progress { done: *done, of: *of, text });
            }
            Self::Bar(bar) => {
                let (done, of) = (bar.position() as usize + 1, bar.length().unwrap_or(0) as usize);
                draw(bar, done, of, &text);
            }
        }
    }

    /// All are done.
    pub fn end(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }

    /// Prints something to standard output beside the bar.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => beside(bar, print),
            _ => print(),
        }
    }
}

/// A bar on standard error, not drawn before its first position.
pub fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Prints something to standard output, which may be the terminal that the bar is on.
pub fn beside<T>(bar: &ProgressBar, print: impl FnOnce() -> T) -> T {
    match io::stdout().is_terminal() {
        true => bar.suspend(print),
        false => print(),
    }
}

/// Moves a bar.
pub fn draw(bar: &ProgressBar, done: usize, of: usize, text: &str) {
    if bar.is_hidden() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar.set_length(of as u64);
    bar.set_position(done as u64);
    bar.set_message(text.to_owned());
}
