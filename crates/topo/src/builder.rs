//! Owns a graph that is being built: what has been met so far, and the links whose far ends have not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::bus_id::BusId;
use crate::graph::{Host, Link, LinkKind, Remark, Vertex, VertexId, VertexKind};
use crate::unit::Bandwidth;
use crate::xml::Position;

/// A link that was met before its far end was.
pub(crate) struct Pending {
    pub from: VertexId,
    pub far: Far,
    pub name: String,
    pub count: u32,
    /// For a chip-to-chip link: what all its links carry together.
    pub bandwidth: Option<Bandwidth>,
    pub at: Position,
}

/// Where a pending link leads.
pub(crate) enum Far {
    Gpu(String),
    NvSwitch(Option<BusId>),
    /// The processor that the GPU hangs below.
    Cpu(LinkKind),
    Switch(String),
}

/// What is being built.
#[derive(Default)]
pub(crate) struct Builder {
    pub vertices: Vec<Vertex>,
    pub links: Vec<Link>,
    pub remarks: Vec<Remark>,
    pub pending: Vec<Pending>,
    pub hosts: Vec<Host>,
    pub host_numbers: BTreeMap<Option<String>, u32>,
    counts: [u32; 7],
    /// The first GPU (true) and switch (false) of each bus id.
    pub by_bus: BTreeMap<(u32, BusId, bool), VertexId>,
    pub cards: BTreeMap<Card, VertexId>,
    pub above: BTreeSet<BusId>,
    pub switches_seen: BTreeSet<BusId>,
    pub nvswitch: Option<VertexId>,
}

/// What the functions of one card have in common: what they hang below, their device, and, where that is
/// no switch, vendor and device ids. On the root complex 00:14.0 and 00:14.3 may be strangers.
pub(crate) type Card = (VertexId, BusId, Option<[Option<u32>; 2]>);

/// Where an element is: its host, what it hangs below, and whether that is a switch that takes in the
/// switches below it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub host: u32,
    pub parent: VertexId,
    pub fold: Option<u32>,
}

impl Builder {
    pub fn add(
        &mut self,
        kind: VertexKind,
        host: Option<u32>,
        parent: Option<VertexId>,
        at: Position,
    ) -> VertexId {
        let class = match &kind {
            VertexKind::Cpu(_) => 0,
            VertexKind::Switch(_) => 1,
            VertexKind::Gpu(_) => 2,
            VertexKind::Nic(_) => 3,
            VertexKind::Port(_) => 4,
            VertexKind::NvSwitch(_) => 5,
            VertexKind::Device(_) => 6,
        };
        let number = self.counts[class];
        self.counts[class] += 1;
        let id = VertexId(self.vertices.len() as u32);
        self.vertices.push(Vertex { kind, number, host, parent, at });
        id
    }

    pub fn link(
        &mut self,
        from: VertexId,
        to: VertexId,
        kind: LinkKind,
        bandwidth: Bandwidth,
        count: u32,
    ) {
        self.links.push(Link { from, to, kind, bandwidth, count });
    }

    pub fn link_both(&mut self, a: VertexId, b: VertexId, kind: LinkKind, bandwidth: Bandwidth) {
        self.link(a, b, kind, bandwidth, 1);
        self.link(b, a, kind, bandwidth, 1);
    }
}
