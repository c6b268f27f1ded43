//! Owns what is said of the ways between ranks: over which rails they lead, and who relays for whom.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use crosstie_bootstrap::DeadPath;
use crosstie_ir::Rank;
use crosstie_net::{Interface, interface_at};
use crosstie_planner::Rails;

use crate::Pxn;

/// Where the ranks of a world stand in its network.
#[derive(Debug)]
pub(crate) struct Ways {
    rank: u32,
    rails: Rails,
    /// Whether there are several nodes, so that rails mean anything.
    has_network: bool,
    pxn: Pxn,
    /// The address of this rank's own NIC, where somebody named it.
    nic: Option<IpAddr>,
    /// The ports of RDMA devices that it sends by, where it does.
    rdma: OnceLock<Vec<RdmaPort>>,
}

/// A port that a rank sends by over ibverbs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RdmaPort {
    pub device: String,
    pub port: u8,
    /// The address that was named for it.
    pub nic: Option<IpAddr>,
}

impl Ways {
    /// As `rank` sees them; with relays unless `pxn` says off.
    pub fn new(rank: u32, rails: Rails, nodes: usize, pxn: Pxn, nic: Option<IpAddr>) -> Self {
        Self { rank, rails, has_network: nodes > 1, pxn, nic, rdma: OnceLock::new() }
    }

    /// The rank that sees them so.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// The rail that `rank` relays to, for the others of its node.
    pub fn relay_rail(&self, rank: u32) -> Option<u32> {
        let relays = self.has_network && self.pxn != Pxn::Off;
        let others = self.rails.node_of(Rank(rank)).len() > 1;
        self.rails.owned_by(Rank(rank)).filter(|_| relays && others)
    }

    /// ` (rail 1)` or ` (relay of rail 1)`; nothing where there are no rails.
    fn rail(&self, rank: u32) -> String {
        let relays = if self.relay_rail(rank).is_some() { "relay of " } else { "" };
        let rail = self.rails.rail_of(Rank(rank)).filter(|_| self.has_network);
        rail.map_or_else(String::new, |rail| format!(" ({relays}rail {rail})"))
    }

    /// By whom what one rank sends to another goes, if by a third.
    pub fn relay_between(&self, from: u32, to: u32) -> Option<u32> {
        let relayed = self.has_network && self.pxn != Pxn::Off;
        let inside = self.rails.node_of(Rank(from)).contains(&Rank(to));
        let Rank(relay) =
            self.rails.carrier(Rank(from), Rank(to)).filter(|_| relayed && !inside)?;
        (relay != from).then_some(relay)
    }

    /// By whom what this rank sends to `peer` goes, if by another: a clause of a sentence about it.
    pub fn relay_to(&self, peer: u32) -> Option<String> {
        let relay = self.relay_between(self.rank, peer)?;
        let rail = self.rails.rail_of(Rank(peer))?;
        Some(format!("what goes there goes by way of rank {relay}, the relay of rail {rail}"))
    }

    /// The same of what `peer` sends to this rank.
    pub fn relay_from(&self, peer: u32) -> Option<String> {
        let relay = self.relay_between(peer, self.rank)?;
        let rail = self.rails.rail_of(Rank(self.rank))?;
        Some(format!(
            "what rank {peer} sends comes by way of rank {relay}, the relay of rail {rail}"
        ))
    }

    /// The way from this rank, at `from` where that is known, to `peer`.
    pub fn between(&self, from: Option<SocketAddr>, peer: u32, to: &[SocketAddr]) -> String {
        let mut text = format!("rank {}", self.rank);
        if let Some(from) = from {
            let _ = write!(text, " at {}", from.ip().to_canonical());
        }
        let _ = write!(text, "{} to rank {peer}", self.rail(self.rank));
        let at: Vec<String> = to.iter().map(|to| to.ip().to_canonical().to_string()).collect();
        if !at.is_empty() {
            let _ = write!(text, " at {}", at.join(", "));
        }
        text + &self.rail(peer)
    }

    /// What to do about a peer that no way leads to, where another way may.
    fn detour(&self, peer: u32) -> Option<&'static str> {
        let rail = |rank| self.rails.rail_of(Rank(rank));
        let crosses = self.has_network && rail(self.rank) != rail(peer);
        (crosses && self.pxn != Pxn::On).then_some(
            "the two are on different rails, and what joins these (a spine, an uplink) may be missing or down: with \
             --pxn on (CROSSTIE_PXN=on) messages go by way of the rank whose NIC is on the receiver's rail, and do \
             without",
        )
    }

    /// What this rank's side knows and guesses of why nothing passes between the NIC at `from` and `peer`: of the NIC
    /// itself, beginning with a semicolon; and where that works, of another way.
    pub fn clues(&self, from: Option<IpAddr>, peer: u32) -> (String, String) {
        let nic = from.map(|ip| (ip, interface_at(ip)));
        let known = match &nic {
            Some((ip, interface)) => format!("; {}", self.state(*ip, interface.as_ref())),
            None => String::new(),
        };
        let works = nic.is_none_or(|(_, nic)| nic.is_some_and(|nic| nic.has_carrier));
        let guess = self.detour(peer).filter(|_| works).unwrap_or_default();
        (known, guess.to_owned())
    }

    /// What is said of a path on which nothing has come back for so long.
    pub fn dead(
        &self,
        from: SocketAddr,
        peer: u32,
        to: SocketAddr,
        unanswered: Duration,
    ) -> DeadPath {
        let (between, seconds) = (self.between(Some(from), peer, &[to]), unanswered.as_secs_f64());
        let (clues, guess) = self.clues(Some(from.ip()), peer);
        let detail = format!(
            "the path from {between} is dead: nothing has come back for {seconds:.1} s of what was sent on it{clues}"
        );
        DeadPath { peer, detail, guess }
    }

    /// This rank sends by those ports of RDMA devices.
    pub fn sends_over(&self, ports: Vec<RdmaPort>) {
        self.rdma.get_or_init(|| ports);
    }

    /// What ails the first of the ports of RDMA devices that this rank sends by which is not up.
    fn port_ailment(&self) -> Option<String> {
        self.rdma.get()?.iter().find_map(|port| self.ailment_of(port))
    }

    fn ailment_of(&self, RdmaPort { device, port, nic }: &RdmaPort) -> Option<String> {
        let file = format!("/sys/class/infiniband/{device}/ports/{port}/state");
        // A number, a colon, and a word.
        let told = fs::read_to_string(file).ok()?;
        let state = told.rsplit(':').next().unwrap_or_default().trim();
        let ip = nic.map_or_else(String::new, |ip| format!(" ({})", ip.to_canonical()));
        let rank = self.rank;
        (state != "ACTIVE").then(|| {
            format!(
                "port {port} of {device} of rank {rank}{ip} is {state}: its cable is cut, or the switch's port is down"
            )
        })
    }

    /// What ails this rank's own NIC, if anything does.
    pub fn ailment(&self) -> Option<String> {
        if let Some(ailment) = self.port_ailment() {
            return Some(ailment);
        }
        let ip = self.nic.filter(|_| self.has_network)?;
        let interface = interface_at(ip);
        let is_ill = interface.as_ref().is_none_or(|nic| !nic.has_carrier);
        is_ill.then(|| self.state(ip, interface.as_ref()))
    }

    /// The same, where `peer` is reached over it.
    pub fn ailment_towards(&self, peer: u32) -> Option<String> {
        let inside = self.rails.node_of(Rank(self.rank)).contains(&Rank(peer));
        if inside { None } else { self.ailment() }
    }

    /// What the system says of this rank's NIC at an address.
    fn state(&self, ip: IpAddr, interface: Option<&Interface>) -> String {
        let (ip, rank) = (ip.to_canonical(), self.rank);
        let Some(Interface { name, is_up, has_carrier }) = interface else {
            return format!("no interface of rank {rank}'s host has the address {ip} any more");
        };
        let what = match (is_up, has_carrier) {
            (false, _) => "is down",
            (true, false) => "has no carrier: its cable is cut, or the switch's port is down",
            (true, true) => "is up and has a carrier",
        };
        format!("{name} of rank {rank} ({ip}) {what}")
    }
}

#[cfg(test)]
mod tests {
    use crosstie_planner::Nodes;

    use super::*;

    fn ways(pxn: Pxn) -> Ways {
        let nodes = Nodes::new(vec![0, 0, 1, 1]).unwrap();
        let nobodys = IpAddr::from([192, 0, 2, 1]); // an address of documentation
        Ways::new(0, Rails::new(&nodes, None), nodes.count() as usize, pxn, Some(nobodys))
    }

    #[test]
    fn a_way_is_told_with_its_rails_and_its_relay() {
        let (on, off) = (ways(Pxn::On), ways(Pxn::Off));
        assert_eq!((on.relay_rail(3), off.relay_rail(3)), (Some(1), None));
        let by = "what goes there goes by way of rank 1, the relay of rail 1";
        assert_eq!(
            (on.relay_to(3).as_deref(), on.relay_to(2), off.relay_to(3)),
            (Some(by), None, None)
        );
        let by = "what rank 3 sends comes by way of rank 2, the relay of rail 0";
        assert_eq!((on.relay_from(3).as_deref(), on.relay_from(1)), (Some(by), None));
        let [from, to]: [SocketAddr; 2] = ["10.0.0.1:1", "10.1.0.2:2"].map(|a| a.parse().unwrap());
        let told = off.between(Some(from), 3, &[to]);
        assert_eq!(told, "rank 0 at 10.0.0.1 (rail 0) to rank 3 at 10.1.0.2 (rail 1)");
    }

    #[test]
    fn relays_are_suggested_where_a_way_crosses_rails_and_they_are_not_used() {
        assert!(ways(Pxn::Off).detour(3).is_some_and(|text| text.contains("CROSSTIE_PXN=on")));
        assert!(ways(Pxn::Auto).detour(3).is_some());
        assert!(ways(Pxn::Off).detour(2).is_none() && ways(Pxn::On).detour(3).is_none());
    }
    #[test]
    fn a_dead_path_is_told_with_what_the_system_says_of_the_nic_and_another_way_where_that_works() {
        let [here, gone, to] =
            ["127.0.0.1:1", "192.0.2.1:1", "10.1.0.2:2"].map(|a| a.parse::<SocketAddr>().unwrap());
        let told = ways(Pxn::Off).dead(here, 3, to, Duration::from_millis(2500));
        let begin = "the path from rank 0 at 127.0.0.1 (rail 0) to rank 3 at 10.1.0.2 (rail 1) is dead: nothing \
                     has come back for 2.5 s of what was sent on it; lo of rank 0 (127.0.0.1) is up and has a carrier";
        assert!(told.detail == begin && told.guess.contains("--pxn on"), "{told:?}");
        let told = ways(Pxn::Off).dead(gone, 3, to, Duration::from_secs(3));
        let end = "; no interface of rank 0's host has the address 192.0.2.1 any more";
        assert!(told.detail.ends_with(end) && told.guess.is_empty(), "{told:?}");
        assert_eq!(ways(Pxn::Off).ailment_towards(1), None);
        assert_eq!(ways(Pxn::Off).ailment_towards(3), ways(Pxn::Off).ailment());
        assert!(ways(Pxn::Off).ailment().is_some_and(|text| text.contains("192.0.2.1")));
    }

    #[test]
    fn a_nic_that_is_down_or_without_carrier_is_named() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let of = |is_up, has_carrier| {
            ways(Pxn::Off)
                .state(ip, Some(&Interface { name: "eth1".to_owned(), is_up, has_carrier }))
        };
        assert_eq!(of(false, false), "eth1 of rank 0 (10.0.0.1) is down");
        assert!(of(true, false).starts_with("eth1 of rank 0 (10.0.0.1) has no carrier"));
    }
}
