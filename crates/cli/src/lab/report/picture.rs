//! Owns a report's pictures: of each operation one, with a curve for each way, and the limits.

use std::path::{Path, PathBuf};

use crosstie_lab::Description;

use super::Line;
use super::variant::VARIANTS;
use crate::args::ReportedOperation;
use crate::exit::Failure;
use crate::lab_facts::LabFacts;
use crate::operation::Operation;
use crate::picture::{self, Picture, Point};

/// Draws each operation into a file of its own: `path` for one alone, else with its name at the end.
pub fn save(
    path: &Path,
    lab: &Description,
    operations: &[ReportedOperation],
    lines: &[Line],
) -> Result<(), Failure> {
    for &operation in operations {
        let own: Vec<&Line> = lines.iter().filter(|it| it.task.operation == operation).collect();
        let Some(first) = own.first() else { continue };
        let name = first.task.operation_name();
        let file = if operations.len() == 1 { path.to_owned() } else { named(path, &name) };
        drawn(lab, &name, &own).save(&file)?;
    }
    Ok(())
}

/// `report.svg` as `report-all_reduce.svg`.
fn named(path: &Path, operation: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{operation}.svg"))
}

/// A curve for each way, and each limit once, dashed, in the colour of the first way that has it.
fn drawn(lab: &Description, operation: &str, lines: &[&Line]) -> Picture {
    let (mut curves, mut limits) = (Vec::new(), Vec::<picture::Line>::new());
    for (color, variant) in VARIANTS.iter().enumerate() {
        let own = || lines.iter().filter(|line| line.task.variant.name == variant.name);
        let points: Vec<Point> =
            own().map(|line| point(line, line.measured.time_us, lab)).collect();
        if points.is_empty() {
            continue;
        }
        curves.push(picture::Line { points, label: variant.title.to_owned(), color, solid: true });
        let limit = own().filter_map(|line| Some(point(line, line.limit_us?, lab)));
        let limit: Vec<Point> = limit.collect();
        if limit.is_empty() || limits.iter().any(|known| known.points == limit) {
            continue;
        }
        let label =
            format!("limit, {}", variant.name.trim_end_matches("-alone").replace("pxn", "PXN"));
        limits.push(picture::Line { points: limit, label, color, solid: false });
    }
    if let [limit] = &mut limits[..] {
        "limit".clone_into(&mut limit.label); // of every way
    }
    curves.append(&mut limits);
    let sizes = match lines.first().map(|line| line.task.operation) {
        Some(ReportedOperation::AllReduce) => {
            format!("bytes per peer (1/{} of a buffer)", lab.ranks())
        }
        _ => "bytes from each rank to each other".to_owned(),
    };
    let title = format!("{operation} on {}", LabFacts::of(lab));
    Picture { title, sizes, timed: "median", lines: curves }
}

/// What is drawn of a call that takes so long.
fn point(line: &Line, time_us: f64, lab: &Description) -> Point {
    let bytes = line.measured.bytes as f64;
    let operation = Operation::named(&line.task.operation_name());
    let factor = operation.map_or(1.0, |operation| operation.bus_factor(lab.ranks()));
    let busbw_gb_s = bytes * factor / (time_us * 1e3);
    Point { bytes: line.task.bytes_per_peer as f64, time_us, busbw_gb_s }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::named;

    #[test]
    fn a_file_of_several_has_the_operations_name() {
        assert_eq!(
            named(Path::new("a/report.svg"), "all_reduce"),
            Path::new("a/report-all_reduce.svg")
        );
    }
}
