//! Owns the ways of travelling that a report compares: how ranks are told to take each, and which rails it
//! then uses.

use crosstie_lab::Description;

/// A way in which messages between nodes can travel.
pub struct Variant {
    /// Its name in tables, pictures and JSON.
    pub name: &'static str,
    /// The same in a picture's legend.
    pub title: &'static str,
    /// Flags for `bench`.
    pub flags: &'static [&'static str],
    /// By which NIC messages leave; `None` where the ranks choose.
    leaves: Option<Leaves>,
}

/// By which NIC a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// By the sender's own, over the spine where the receiver's is on another rail.
    OwnRail,
    /// By that of the rank whose NIC is on the receiver's rail, which sends for all of its node: nothing
    /// crosses the spine.
    ReceiversRail,
}

/// Every way there is. What is added here is measured, judged, drawn and written like the others.
pub const VARIANTS: [Variant; 4] = [
    Variant {
        name: "direct",
        title: "direct",
        flags: &["--pxn", "off"],
        leaves: Some(Leaves::OwnRail),
    },
    Variant {
        name: "pxn-alone",
        title: "PXN, each message alone",
        flags: &["--pxn", "on", "--aggregate", "1"],
        leaves: Some(Leaves::ReceiversRail),
    },
    Variant {
        name: "pxn",
        title: "PXN, messages together",
        flags: &["--pxn", "on"],
        leaves: Some(Leaves::ReceiversRail),
    },
    Variant { name: "auto", title: "auto", flags: &["--pxn", "auto"], leaves: None },
];

impl Variant {
    /// By which NIC messages leave, where a call that goes by this way sends so many bytes from rail to rail.
    pub fn leaves(&self, crossing_bytes: f64) -> Leaves {
        let chosen = if crossing_bytes > 0.0 { Leaves::OwnRail } else { Leaves::ReceiversRail };
        self.leaves.unwrap_or(chosen)
    }

    /// Whether it works in a cluster: without a spine there is no way from rail to rail.
    pub fn is_possible(&self, lab: &Description) -> bool {
        let one_rail = lab.rails == 1 || lab.ranks_per_node == 1;
        lab.oversubscription.is_some() || one_rail || self.leaves != Some(Leaves::OwnRail)
    }
}

impl Leaves {
    /// The rails of the sending and of the receiving NIC, for two ranks on different nodes.
    pub fn rails(self, lab: &Description, from: u32, to: u32) -> (u32, u32) {
        let sending = if self == Self::OwnRail { from } else { to };
        (lab.rail_of(sending), lab.rail_of(to))
    }
}
