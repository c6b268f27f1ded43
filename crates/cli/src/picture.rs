//! Owns pictures of measurements: time and bus bandwidth against size in two panels, all axes
//! logarithmic, as SVG.

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use plotters::coord::Shift;
use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;

use crate::exit::Failure;

/// Lines to draw, and what is said above them.
pub struct Picture {
    /// What is the same for all lines.
    pub title: String,
    /// What [`Point::bytes`] are, in words.
    pub sizes: String,
    /// Which of the slowest rank's times: mean or median.
    pub timed: &'static str,
    /// In the order of the legend.
    pub lines: Vec<Line>,
}

/// One line in either panel.
pub struct Line {
    /// What tells it from the others, in words.
    pub label: String,
    /// Its colour's number: lines that belong together share one.
    pub color: usize,
    /// Whether it is whole and its marks are filled, or dashed and hollow.
    pub solid: bool,
    /// In the order of sizes.
    pub points: Vec<Point>,
}

/// What was measured at one size.
#[derive(Debug, PartialEq)]
pub struct Point {
    /// The size of a call, as [`Picture::sizes`] says.
    pub bytes: f64,
    /// Of one call, in microseconds.
    pub time_us: f64,
    /// GB/s.
    pub busbw_gb_s: f64,
}

impl Picture {
    /// Draws it into a file.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let drawn = self.draw().map_err(|e| io::Error::other(e.to_string()));
        drawn
            .and_then(|svg| fs::write(path, svg))
            .map_err(|e| Failure::host(format!("draw {}", crate::file::shown(path)), e))
    }

    /// The picture, as the text of an SVG.
    fn draw(&self) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        let width = PANELS_WIDTH + legend_width(&self.lines);
        {
            let area = SVGBackend::with_string(&mut text, (width, HEIGHT)).into_drawing_area();
            area.fill(&WHITE)?;
            let area = area.margin(14, 0, 0, 0);
            let area = area.titled(&self.title, (FONT, TITLE))?;
            let (panels, legend) = area.split_horizontally(PANELS_WIDTH);
            for (panel, part) in PANELS.iter().zip(panels.split_evenly((1, 2))) {
                panel.draw(&part, self)?;
            }
            draw_legend(&legend, &self.lines)?;
            area.present()?;
        }
        Ok(text)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const PANELS_WIDTH: u32 = 1280;
const HEIGHT: u32 = 660;
/// The first line's place under the title, and the height of a line.
const LEGEND_TOP: i32 = 56;
const LEGEND_LINE: i32 = 24;
const TITLE: i32 = 22;
const LABEL: i32 = 17;
const TICK: i32 = 16;
const FONT: &str = "sans-serif";

/// Okabe and Ito's colours, which people tell apart who see colours differently.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
];

/// One of the two panels.
struct Panel {
    title: &'static str,
    unit: fn(timed: &str) -> String,
    value: fn(&Point) -> f64,
    tick: fn(f64) -> String,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "Time of one call",
        unit: |timed| format!("time ({timed}, slowest rank)"),
        value: |point| point.time_us,
        tick: time,
    },
    Panel {
        title: "Bus bandwidth",
        unit: |_| "bus bandwidth (GB/s)".to_owned(),
        value: |point| point.busbw_gb_s,
        tick: plain,
    },
];

impl Panel {
    fn draw(&self, area: &Area<'_>, picture: &Picture) -> Drawn {
        let lines = &picture.lines;
        let points = || lines.iter().flat_map(|line| &line.points);
        let sizes = range(points().map(|point| point.bytes));
        let values = range(points().map(self.value));
        let (size_ticks, value_ticks) = (powers_of_two(&sizes), decades(&values));
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, TITLE))
            .margin(14)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(84)
            .build_cartesian_2d(
                sizes.log_scale().with_key_points(size_ticks),
                values.log_scale().with_key_points(value_ticks),
            )?;
        chart
            .configure_mesh()
            .x_desc(picture.sizes.as_str())
            .y_desc((self.unit)(picture.timed))
            .x_label_formatter(&|bytes| bytes_in_words(*bytes))
            .y_label_formatter(&|value| (self.tick)(*value))
            .axis_desc_style((FONT, LABEL))
            .label_style((FONT, TICK))
            .bold_line_style(BLACK.mix(0.15))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for line in lines {
            let drawable = line.points.iter().map(|point| (point.bytes, (self.value)(point)));
            let at: Vec<(f64, f64)> =
                drawable.filter(|(bytes, value)| *bytes > 0.0 && *value > 0.0).collect();
            if line.solid {
                chart.draw_series(LineSeries::new(at.iter().copied(), line.stroke()))?;
            } else {
                let (dash, gap) = (6, 4);
                chart.draw_series(DashedLineSeries::new(
                    at.iter().copied(),
                    dash,
                    gap,
                    line.stroke(),
                ))?;
            }
            chart.draw_series(at.into_iter().map(|at| line.mark(at)))?;
        }
        Ok(())
    }
}

impl Line {
    /// Darker once the colours are used up.
    fn rgb(&self) -> RGBColor {
        let RGBColor(red, green, blue) = COLORS[self.color % COLORS.len()];
        match self.color / COLORS.len() {
            0 => RGBColor(red, green, blue),
            _ => RGBColor(red / 2, green / 2, blue / 2),
        }
    }

    fn stroke(&self) -> ShapeStyle {
        self.rgb().stroke_width(2)
    }

    fn mark<C>(&self, at: C) -> Circle<C, i32> {
        Circle::new(at, 4, if self.solid { self.rgb().filled() } else { self.stroke() })
    }
}

/// A line of the legend for each line of the panels, as far as there is room.
fn draw_legend(area: &Area<'_>, lines: &[Line]) -> Drawn {
    let room = (area.dim_in_pixel().1 as i32 - LEGEND_TOP) / LEGEND_LINE - 1;
    let shown = lines.len().min(room.max(1) as usize);
    let text = |text: String, y: i32| Text::new(text, (50, y - TICK / 2), (FONT, TICK));
    let mut y = LEGEND_TOP;
    for line in lines.iter().take(shown) {
        let ends: &[(i32, i32)] = if line.solid { &[(4, 40)] } else { &[(4, 14), (30, 40)] };
        for &(from, to) in ends {
            area.draw(&PathElement::new([(from, y), (to, y)], line.stroke()))?;
        }
        area.draw(&line.mark((22, y)))?;
        area.draw(&text(line.label.clone(), y))?;
        y += LEGEND_LINE;
    }
    if shown < lines.len() {
        area.draw(&text(format!("and {} more", lines.len() - shown), y))?;
    }
    Ok(())
}

/// The width that the legend needs: without fonts at hand an estimate, on the safe side.
fn legend_width(lines: &[Line]) -> u32 {
    let longest = lines.iter().map(|line| line.label.len()).max().unwrap_or(0);
    60 + longest as u32 * 9
}

/// What a logarithmic axis shows of these values, with some room beside them.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| *value > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return 1.0..10.0; // nothing to show
    }
    // A decade at least: what differs little shall look so.
    let room = (high / low).powf(0.06).max(10f64.sqrt() / (high / low).sqrt()).max(1.3);
    low / room..high * room
}

/// At most this many sizes are written at an axis.
const MOST_TICKS: usize = 9;

fn powers_of_two(range: &Range<f64>) -> Vec<f64> {
    let (first, last) = (range.start.log2().ceil() as i32, range.end.log2().floor() as i32);
    let step = (last - first).max(0) as usize / MOST_TICKS + 1;
    (first..=last).step_by(step).map(|power| 2f64.powi(power)).collect()
}

/// Powers of ten, and where these are few, 2 and 5 times these.
fn decades(range: &Range<f64>) -> Vec<f64> {
    let (first, last) = (range.start.log10().floor() as i32, range.end.log10().ceil() as i32);
    let few = range.end / range.start < 1000.0;
    let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all =
        (first..=last).flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
    all.filter(|value| range.contains(value)).collect()
}

fn bytes_in_words(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = (bytes.log2() / 10.0).floor().clamp(0.0, 4.0);
    format!("{} {}", bytes / 1024f64.powf(power), units[power as usize])
}

fn time(us: f64) -> String {
    match us {
        us if us < 0.99 => format!("{} ns", plain(us * 1e3)),
        us if us < 999.0 => format!("{} µs", plain(us)),
        us if us < 999e3 => format!("{} ms", plain(us / 1e3)),
        us => format!("{} s", plain(us / 1e6)),
    }
}

/// A number of one digit that counts, without those that do not.
fn plain(value: f64) -> String {
    let decimals = (-value.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_written_in_round_numbers() {
        assert_eq!(powers_of_two(&(7.0..70.0)), [8.0, 16.0, 32.0, 64.0]);
        assert!(powers_of_two(&(7.0..1e12)).len() <= MOST_TICKS + 1);
        assert_eq!(decades(&(0.5..2e5)), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!(decades(&(1.5..25.0)), [2.0, 5.0, 10.0, 20.0]);
        let written = [0.2, 20.0, 5e3, 2e6].map(time);
        assert_eq!(written, ["200 ns", "20 µs", "5 ms", "2 s"]);
        assert_eq!([0.002, 0.5, 10.0].map(plain), ["0.002", "0.5", "10"]);
        assert_eq!([8.0, 65536.0, 1048576.0].map(bytes_in_words), ["8 B", "64 KiB", "1 MiB"]);
    }

    #[test]
    fn an_axis_has_room_even_for_one_value_and_for_none() {
        for values in [vec![], vec![0.0], vec![5.0], vec![1.0, 1e6]] {
            let range = range(values.into_iter());
            assert!(range.start > 0.0 && range.start < range.end, "{range:?}");
        }
    }
}
