//! Owns the ways of travelling that a report compares: how ranks are told to take each, and which rails it
//! then uses.

use crosstie_lab::Description;

/// A way in which messages between nodes can travel.
pub struct Variant {
    /// Its name in tables, pictures and JSON.
    pub name: &'static str,
    /// Flags for `bench`.
    pub flags: &'static [&'static str],
    /// Settings in the ranks' environment.
    pub settings: &'static [(&'static str, &'static str)],
    /// The rails of the sending and of the receiving NIC, for two ranks on different nodes.
    pub rails: fn(&Description, from: u32, to: u32) -> (u32, u32),
}

/// Every way there is. What is added here is measured, judged, drawn and written like the others.
pub const VARIANTS: [Variant; 3] = [
    Variant { name: "direct", flags: &["--pxn", "off"], settings: &[], rails: by_own_rail },
    Variant {
        name: "pxn-alone",
        flags: &["--pxn", "on", "--aggregate", "1"],
        settings: &[],
        rails: by_receivers_rail,
    },
    Variant { name: "pxn", flags: &["--pxn", "on"], settings: &[], rails: by_receivers_rail },
];

/// Each rank sends by its own NIC, over the spine where the receiver's is on another rail.
fn by_own_rail(lab: &Description, from: u32, to: u32) -> (u32, u32) {
    (lab.rail_of(from), lab.rail_of(to))
}

/// The rank whose NIC is on the receiver's rail sends, for all of its node: nothing crosses the spine.
fn by_receivers_rail(lab: &Description, _from: u32, to: u32) -> (u32, u32) {
    (lab.rail_of(to), lab.rail_of(to))
}
