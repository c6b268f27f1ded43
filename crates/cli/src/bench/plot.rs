//! Owns what a benchmark's picture shows: a line for each operation, type, reduction, root and place.

use std::path::PathBuf;

use super::report::{Header, Measured, Report, Sent};
use super::sizes::Row;
use crate::exit::Failure;
use crate::picture::{Line, Picture, Point};

/// Tells another report what it is told, and draws it at the end.
pub struct Plotted {
    inner: Box<dyn Report + Send>,
    path: PathBuf,
    header: Option<Header>,
    series: Vec<Series>,
}

/// The points of one line.
struct Series {
    key: Key,
    points: Vec<Point>,
}

/// What tells one line from another.
#[derive(Clone, PartialEq)]
struct Key {
    operation: &'static str,
    dtype: &'static str,
    op: Option<&'static str>,
    root: Option<u32>,
    place: &'static str,
}

const OUT_OF_PLACE: &str = "out of place";
const IN_PLACE: &str = "in place";

impl Plotted {
    /// Draws into `path` what goes to `inner` too.
    pub fn new(inner: Box<dyn Report + Send>, path: PathBuf) -> Self {
        Self { inner, path, header: None, series: Vec::new() }
    }

    fn add(&mut self, row: &Row, place: &'static str, measured: &Measured) {
        let op = row.op.map(crosstie::ReduceOp::name);
        let key = Key {
            operation: row.operation.name,
            dtype: row.type_name(),
            op,
            root: row.root,
            place,
        };
        let index = self.series.iter().position(|series| series.key == key);
        let index = index.unwrap_or_else(|| {
            self.series.push(Series { key, points: Vec::new() });
            self.series.len() - 1
        });
        let (bytes, time_us) = (row.bytes as f64, measured.time_us);
        self.series[index].points.push(Point { bytes, time_us, busbw_gb_s: measured.busbw_gb_s });
    }
}

impl Report for Plotted {
    fn begin(&mut self, header: &Header) -> Result<(), Failure> {
        self.header = Some(header.clone());
        self.inner.begin(header)
    }

    fn row(
        &mut self,
        row: &Row,
        out: &Measured,
        in_place: Option<&Measured>,
    ) -> Result<(), Failure> {
        self.add(row, OUT_OF_PLACE, out);
        if let Some(in_place) = in_place {
            self.add(row, IN_PLACE, in_place);
        }
        self.inner.row(row, out, in_place)
    }

    fn end(&mut self, sent: &Sent) -> Result<(), Failure> {
        self.inner.end(sent)?;
        match self.header.take() {
            Some(header) => picture(&header, std::mem::take(&mut self.series)).save(&self.path),
            None => Ok(()),
        }
    }
}

fn picture(header: &Header, series: Vec<Series>) -> Picture {
    let title = title(header, &series);
    let labels: Vec<String> = series.iter().map(|it| label(&it.key, &series)).collect();
    let mut known = Vec::new();
    let line = |(Series { key, points }, label)| {
        let kind = (key.operation, key.dtype, key.op, key.root);
        let color = known.iter().position(|it| *it == kind).unwrap_or_else(|| {
            known.push(kind);
            known.len() - 1
        });
        Line { label, color, solid: key.place == OUT_OF_PLACE, points }
    };
    let sizes = "size: bytes of one rank's buffer".to_owned();
    Picture {
        title,
        sizes,
        timed: "mean",
        lines: series.into_iter().zip(labels).map(line).collect(),
    }
}

/// What is the same for all lines.
fn title(header: &Header, series: &[Series]) -> String {
    let same = |part: fn(&Key) -> Option<&'static str>| {
        let mut parts = series.iter().map(|series| part(&series.key));
        let first = parts.next().flatten()?;
        parts.all(|part| part == Some(first)).then_some(first)
    };
    let operation = same(|key| Some(key.operation)).unwrap_or("collectives");
    let dtype = same(|key| Some(key.dtype)).map(|it| format!(" of {it}")).unwrap_or_default();
    let op = same(|key| key.op).map(|it| format!(" ({it})")).unwrap_or_default();
    let plural = |n: u32, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "crosstie bench: {operation}{dtype}{op}, {} on {}, over {}",
        plural(header.ranks, "rank"),
        plural(header.nodes, "node"),
        header.transport
    )
}

/// What tells this line from the others, in words.
fn label(key: &Key, series: &[Series]) -> String {
    let differs = |same: fn(&Key, &Key) -> bool| series.iter().any(|it| !same(&it.key, key));
    let mut words = Vec::new();
    if differs(|a, b| a.operation == b.operation) {
        words.push(key.operation.to_owned());
    }
    if differs(|a, b| a.dtype == b.dtype) {
        words.push(key.dtype.to_owned());
    }
    if differs(|a, b| a.op == b.op) {
        words.extend(key.op.map(str::to_owned));
    }
    if differs(|a, b| a.root == b.root) {
        words.extend(key.root.map(|root| format!("root {root}")));
    }
    words.push(key.place.to_owned());
    words.join(" ")
}
