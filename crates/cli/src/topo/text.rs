//! Owns the text that people read of a machine: its tree, its matrix with colours, its notes.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use crosstie_probe::Note;
use crosstie_topo::render::{self, Cell, Matrix};
use crosstie_topo::{Finding, PathKind, Paths, Severity, Topology, lint_with_paths};

/// How the text is to look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether paths have colours.
    pub color: bool,
    /// Columns that a line may have.
    pub width: usize,
    /// Whether all is shown, however long and wide.
    pub full: bool,
}

/// As many GPUs and ports have a matrix wider than any terminal.
const MOST_ENDS: usize = 256;

/// All of it.
pub fn text(topology: &Topology, notes: &[Note], look: Look) -> String {
    let mut text = format!("{}\n\n", render::headline(topology));
    text += &if look.full { render::tree(topology) } else { render::tree_by_kind(topology) };
    let paths = Paths::of(topology);
    match &paths {
        Ok(paths) => text += &matrix(topology, paths, look),
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
    let findings = lint_with_paths(topology, paths.as_ref());
    if !findings.is_empty() {
        let _ = writeln!(text, "\n`crosstie topo lint` has {}", counted(&findings));
    }
    text
}

/// The matrix, or what it comes to where it is too wide.
fn matrix(topology: &Topology, paths: &Paths, look: Look) -> String {
    let ends = topology.gpus().len() + topology.ports().len();
    if ends < 2 {
        return String::new();
    }
    if look.full || ends <= MOST_ENDS {
        let matrix = Matrix::of(topology, paths);
        let plain = matrix.to_string();
        let width = plain.lines().next().map_or(0, |line| line.chars().count());
        if look.full || width <= look.width {
            let legend = render::legend(&matrix.kinds());
            return format!("\n{}\n{legend}", colored(&matrix, plain, look.color));
        }
    }
    format!(
        "\n{}(the matrix of {ends} GPUs and ports is too wide here: --full, or --json, has it)\n",
        render::brief(topology, paths)
    )
}

/// The matrix, each path in the colour of what it costs.
fn colored(matrix: &Matrix, plain: String, color: bool) -> String {
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

/// `1 error, 2 warnings`.
pub fn counted(findings: &[Finding]) -> String {
    let count = |severity, name: &str| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
    };
    let told =
        [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let told: Vec<String> =
        told.into_iter().filter_map(|(severity, name)| count(severity, name)).collect();
    told.join(", ")
}

/// Findings, each with its remedy on a line of its own, and how many there are.
pub fn findings(findings: &[Finding], file: Option<&str>, color: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let style = match finding.severity {
            _ if !color => Style::new(),
            Severity::Error => AnsiColor::Red.on_default().bold(),
            Severity::Warning => AnsiColor::Yellow.on_default().bold(),
            Severity::Note => AnsiColor::Cyan.on_default().bold(),
        };
        let Finding { severity, rule, evidence, remedy, at, .. } = finding;
        let place = match (file, at.line) {
            (_, 0) => String::new(),
            (Some(file), line) => format!(", {file}:{line}"),
            (None, line) => format!(", line {line}"),
        };
        let _ = writeln!(
            text,
            "{style}{severity}:{style:#} {evidence} [{}{place}]\n    {remedy}",
            rule.name()
        );
    }
    let _ = writeln!(text, "{}", counted(findings));
    text
}
