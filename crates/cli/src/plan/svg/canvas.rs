//! Owns the strokes of a picture: boxes, lines, texts, and how far they reach.

use std::fmt::Write as _;

use crosstie_topo::render::{escape, rail_colour};

/// From one row to the next.
pub const ROW: u32 = 22;
/// Width of a letter, and of the box of a NIC, GPU or node.
pub const LETTER: u32 = 7;
pub const BOX: u32 = 62;
pub const MARGIN: u32 = 20;
pub const BAD: &str = "#dc2626";
pub const GOOD: &str = "#15803d";
pub const INK: &str = "#334155";
/// The edge of what is a GPU, or several.
pub const GPU: &str = "#65a30d";

/// A place.
pub type At = (u32, u32);

/// The colour of a rail, or of what is on none.
pub fn colour(rail: Option<u32>) -> &'static str {
    rail.map_or(INK, rail_colour)
}

/// What is drawn so far. Writing to a String cannot fail.
#[derive(Default)]
pub struct Canvas {
    body: String,
    width: u32,
    height: u32,
}

impl Canvas {
    fn reach(&mut self, x: u32, y: u32) {
        self.width = self.width.max(x);
        self.height = self.height.max(y);
    }

    fn write(&mut self, (x, y): At, more: &str, text: &str) {
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\" {more}>{}</text>", escape(text));
    }

    pub fn head(&mut self, y: u32, text: &str) {
        self.write((MARGIN, y), "font-weight=\"bold\" font-size=\"13\" fill=\"#0f172a\"", text);
        self.reach(MARGIN + text.chars().count() as u32 * 8, y);
    }

    pub fn text(&mut self, (x, y): At, anchor: &str, colour: &str, text: &str) {
        let wide = text.chars().count() as u32 * LETTER;
        self.reach(if anchor == "start" { x + wide } else { x }, y);
        self.write((x, y), &format!("text-anchor=\"{anchor}\" fill=\"{colour}\""), text);
    }

    /// A few words above a line.
    pub fn note(&mut self, (x, y): At, text: &str) {
        self.reach(x + text.chars().count() as u32 * 6, y);
        self.write((x, y), &format!("font-size=\"9\" fill=\"{INK}\""), text);
    }

    /// What surrounds a node.
    pub fn frame(&mut self, (x, y): At, width: u32, height: u32) {
        let _ = writeln!(
            self.body,
            "<rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#f1f5f9\"/>"
        );
        self.reach(x + width, y + height);
    }

    /// A box in the middle of which its name stands.
    pub fn named(&mut self, (x, y): At, width: u32, colour: &str, name: &str) {
        let (top, high) = (y - ROW / 2 + 2, ROW - 4);
        let _ = writeln!(
            self.body,
            "<rect class=\"box\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{high}\" rx=\"4\" fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        self.text((x + width / 2, y + 4), "middle", INK, name);
        self.reach(x + width, y + high);
    }

    pub fn line(&mut self, from: At, to: At, colour: &str, width: &str) {
        let ((x, y), (to_x, to_y)) = (from, to);
        let _ = writeln!(
            self.body,
            "<path d=\"M{x} {y}L{to_x} {to_y}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        );
        self.reach(x.max(to_x), y.max(to_y));
    }

    /// As what crosses rails is drawn.
    pub fn dashes(&mut self, from: At, to: At) {
        self.broken(from, to, "");
    }

    fn broken(&mut self, from: At, to: At, class: &str) {
        let ((x, y), (to_x, to_y)) = (from, to);
        let _ = writeln!(
            self.body,
            "<path {class}d=\"M{x} {y}L{to_x} {to_y}\" fill=\"none\" stroke=\"{BAD}\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"/>"
        );
        self.reach(x.max(to_x), y.max(to_y));
    }

    /// A cable between two NICs, or what a switch above the rails would have to carry.
    pub fn cable(&mut self, from: At, to: At, rail: Option<u32>, is_crossing: bool) {
        match is_crossing {
            true => self.broken(from, to, "class=\"crossing\" "),
            false => self.line(from, to, colour(rail), "2.5"),
        }
    }

    pub fn finish(self) -> String {
        let (width, height) = (self.width + MARGIN, self.height + MARGIN);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}
