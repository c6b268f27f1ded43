//! Owns which ranks share which wires, and what the wires of a rank take of an RDMA device.

use crosstie_ir::Rank;
use crosstie_planner::cost::Links;
use crosstie_planner::{Nodes, Rails};
use crosstie_transport::BoxShape;
use crosstie_verbs::wires::Load;

use crate::select::{self, CHANNELS};
use crate::settings::Resolved;
use crate::{Error, Settings, Transport, VerbsNeeds};

/// The wires of a world.
pub(super) struct Wires<'a> {
    pub settings: &'a Resolved,
    pub nodes: &'a Nodes,
    pub rails: &'a Rails,
    /// Whether messages enter the network on their receiver's rail.
    pub pxn: bool,
}

impl Wires<'_> {
    /// Who sends on the wire between `own` and `peer`, there and back; `None` where nobody does.
    pub fn between(&self, own: u32, peer: u32) -> Option<(Vec<u32>, Vec<u32>)> {
        if !self.pxn {
            return Some((vec![own], vec![peer]));
        }
        let carried = |from, to| self.rails.carried(Rank(from), Rank(to)).into_iter();
        let mut outgoing: Vec<u32> = carried(own, peer).map(|Rank(rank)| rank).collect();
        let mut incoming: Vec<u32> = carried(peer, own).map(|Rank(rank)| rank).collect();
        // A wire past relays, where there is none yet.
        for (ranks, from, to) in [(&mut outgoing, own, peer), (&mut incoming, peer, own)] {
            if ranks.is_empty() && self.has_way_past(from, to) {
                ranks.push(from);
            }
        }
        (!outgoing.is_empty() || !incoming.is_empty()).then_some((outgoing, incoming))
    }

    pub fn has_way_past(&self, from: u32, to: u32) -> bool {
        self.settings.rails.has_way_past(self.rails, from, to)
    }

    /// What the wires of `own` carry to ranks of other nodes.
    pub fn load(&self, own: u32) -> Load {
        let node = |rank| self.nodes.node_of(Rank(rank));
        let size = self.nodes.ranks();
        let others = (0..size).filter(|&rank| rank != own && node(rank) == node(own)).count();
        let shape = BoxShape { ranks: size, channels: CHANNELS };
        let boxes = if self.pxn { (others, shape.box_bytes()) } else { (0, 0) };
        let none = Load::none(CHANNELS, self.settings.limits);
        (0..size).filter(|&peer| node(peer) != node(own)).fold(none, |load, peer| {
            match self.between(own, peer) {
                Some((outgoing, incoming)) => load.and(own, (&outgoing, &incoming), boxes),
                None => load,
            }
        })
    }
}

impl Settings {
    /// What the wires of `rank` take of an RDMA device if all of them go over ibverbs, by these settings and the
    /// environment, in a world of such nodes and rails: known before any is made. Device and host are held against the
    /// same numbers when ranks connect. What is registered of callers' buffers comes on top.
    ///
    /// ```
    /// # use crosstie::Settings;
    /// use crosstie_planner::{Nodes, Rails};
    ///
    /// let nodes = Nodes::new(vec![0, 0, 1, 1])?;
    /// let needs = Settings::default().verbs_needs(&nodes, &Rails::new(&nodes, None), 0)?;
    /// assert_eq!(needs.queue_pairs, 2, "one for each rank of the other node");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] where a value cannot be used.
    pub fn verbs_needs(
        &self,
        nodes: &Nodes,
        rails: &Rails,
        rank: u32,
    ) -> Result<VerbsNeeds, Error> {
        let environment = crosstie_launch::environment(std::env::vars_os());
        let mut settings = self.clone().resolve(environment)?;
        settings.transport = Transport::Verbs;
        let links: Links = select::links(&settings);
        settings.rails.weigh_relays_of(rails, &links);
        settings.fit_slots(nodes.count() == nodes.ranks());
        let pxn = settings.has_relays();
        let wires = Wires { settings: &settings, nodes, rails, pxn };
        Ok(wires.load(rank).needs(settings.verbs.queue_pairs))
    }
}
