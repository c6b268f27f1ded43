//! Owns the text that people read of a machine: its tree, its matrix with colours, its notes.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use crosstie_probe::Note;
use crosstie_topo::render::{self, Cell, Matrix};
use crosstie_topo::{PathKind, Paths, Severity, Topology, lint};

/// All of it.
pub fn text(topology: &Topology, notes: &[Note], color: bool) -> String {
    let mut text = render::tree(topology);
    match Paths::of(topology) {
        Ok(paths) => {
            let matrix = Matrix::of(topology, &paths);
            if matrix.heads().len() > 1 {
                let kinds = matrix.kinds();
                let _ = write!(text, "\n{}\n{}", colored(&matrix, color), render::legend(&kinds));
            }
        }
        Err(error) => {
            let _ = writeln!(text, "\nno matrix: {error}");
        }
    }
    if !notes.is_empty() {
        text.push_str("\nWhat is not shown, or not sure:\n");
        for note in notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text.push_str(&judged(topology));
    text
}

/// The matrix, each path in the colour of what it costs.
fn colored(matrix: &Matrix, color: bool) -> String {
    let plain = matrix.to_string();
    if !color {
        return plain;
    }
    let mut lines = plain.lines();
    let mut text = lines.next().map(|head| format!("{head}\n")).unwrap_or_default();
    for ((line, row), head) in lines.zip(matrix.rows()).zip(matrix.heads()) {
        let (head, mut rest) = line.split_at(head.len());
        text.push_str(head);
        for cell in row {
            let blanks = rest.len() - rest.trim_start().len();
            let (before, after) = rest.split_at(blanks);
            let (shown, after) = after.split_at(cell.text.len().min(after.len()));
            let style = style(cell);
            let _ = write!(text, "{before}{style}{shown}{style:#}");
            rest = after;
        }
        let _ = writeln!(text, "{rest}");
    }
    text
}

fn style(cell: &Cell) -> Style {
    let color = |color: AnsiColor| color.on_default();
    match cell.path.map(|path| path.kind) {
        Some(PathKind::Loc) => Style::new().dimmed(),
        Some(PathKind::Nvl | PathKind::Nvb | PathKind::C2c) => color(AnsiColor::Green),
        Some(PathKind::Pix | PathKind::Pxb | PathKind::P2c | PathKind::Pxn) => {
            color(AnsiColor::Cyan)
        }
        Some(PathKind::Phb) => color(AnsiColor::Yellow),
        _ => color(AnsiColor::Red),
    }
}

/// How many findings lint has.
fn judged(topology: &Topology) -> String {
    let findings = lint(topology);
    let count = |severity, name: &str| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
    };
    let told: Vec<String> = [
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("\n`crosstie topo lint` has {}\n", told.join(", ")),
    }
}
