//! Owns the settings of rails: PXN, the NICs, the machine that has them, and how messages share a wire.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crosstie_bootstrap::World;
use crosstie_ir::{MOST_OPEN, Rank};
use crosstie_planner::cost::{Links, RelayPays};
use crosstie_planner::{Nodes, NodesError, Relayed};

use super::Value;
use super::registry::{AGGREGATE, FLUSH, NICS, OPEN_AHEAD, PXN, RAILS, RELAY_BELOW, TOPO_FILE};
use crate::topology::placement;
use crate::topology::seats::Seats;
use crate::{Error, Machine, NoPlan, Settings};

/// What the program itself says of all this.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharing {
    pxn: Option<Pxn>,
    rails: Option<u32>,
    aggregate: Option<u8>,
    open_ahead: Option<u8>,
    flush: Option<Flush>,
    relay_below: Option<u64>,
    topo_file: Option<PathBuf>,
}

/// All of it, decided.
#[derive(Debug, Clone)]
pub(crate) struct Rails {
    pub pxn: Pxn,
    /// How many there are, where somebody said it.
    pub count: Option<NonZero<u32>>,
    /// The addresses of this node's NICs, by rail; none where nobody said them.
    pub nics: Vec<IpAddr>,
    pub most: u8,
    /// Receives of a connection over a network that are opened early.
    pub open_ahead: usize,
    pub flush: Flush,
    /// From which length on messages go past relays, where somebody said it.
    pub relay_said: Option<u64>,
    /// The same, decided: nothing does before the world is known.
    pub relay_below: u64,
    /// The machine that each node is.
    pub machine: Option<Arc<Machine>>,
    /// What the ranks play: devices of that machine, or of those that were found.
    seats: Option<Placed>,
}

/// What ranks play, and the rails that puts them on.
#[derive(Debug, Clone)]
struct Placed {
    seats: Seats,
    rails: Option<crosstie_planner::Rails>,
}

impl Rails {
    /// The rails of a world: as many as somebody said, else those of the machines, if they have any.
    pub fn of(&self, nodes: &Nodes) -> crosstie_planner::Rails {
        let placed = self.seats.as_ref().and_then(|placed| placed.rails.clone());
        placed.unwrap_or_else(|| {
            let rails = crosstie_planner::Rails::new(nodes, self.count);
            if self.nics.is_empty() { rails } else { rails.of_named_nics() }
        })
    }

    /// How it is known on which rails ranks are, in words.
    pub fn origin(&self) -> &'static str {
        let placed = self.seats.as_ref().is_some_and(|placed| placed.rails.is_some());
        match (self.count, &self.machine) {
            (Some(_), _) if !self.nics.is_empty() => "by the NICs that were named",
            (Some(_), _) => "as told",
            (None, None) if placed => "by the nodes' NICs",
            (None, Some(_)) if placed => "by the NICs of the file",
            (None, _) => "one for each rank of a node",
        }
    }

    /// Puts the ranks of a world on the devices of the machine that a file describes, or on the NICs that their nodes
    /// were found to have, and lets them be reached there first. Where somebody said how many rails there are, nothing
    /// of that holds.
    pub fn place(&mut self, world: &mut World, nodes: &Nodes) {
        if self.count.is_some() {
            return;
        }
        let seats = match &self.machine {
            Some(machine) => Some(machine.seats(nodes)),
            None => placement::by_detection(world, nodes).map(|placement| {
                placement.prefer_nics(&mut world.records);
                placement.seats
            }),
        };
        self.seats = seats.map(|seats| Placed { rails: seats.rails(nodes), seats });
    }

    /// Lets these ranks of a world keep their devices in a communicator that is made of them.
    pub fn keep(&mut self, nodes: &Nodes, ranks: &[u32]) -> Result<(), NodesError> {
        let Some(placed) = &self.seats else { return Ok(()) };
        let node_of = ranks.iter().filter_map(|&rank| nodes.node_of(Rank(rank)));
        let (nodes, seats) = (Nodes::new(node_of.collect())?, placed.seats.of(ranks));
        self.seats = Some(Placed { rails: seats.rails(&nodes), seats });
        Ok(())
    }

    /// What the ranks play; why that is not known.
    pub fn seats(&self) -> Result<&Seats, NoPlan> {
        let why = if self.count.is_some() { NoPlan::RailsTold } else { NoPlan::NoDevices };
        self.seats.as_ref().map(|placed| &placed.seats).ok_or(why)
    }

    /// The nodes with the rings that the search finds on their machines, if it does.
    pub fn in_order(&self, nodes: Nodes) -> Result<Nodes, NodesError> {
        match self.seats().and_then(|seats| seats.rings(&nodes)) {
            Ok(orders) => nodes.with_rings(&orders),
            Err(why) => {
                tracing::debug!("rings go by the order of ranks: {why}");
                Ok(nodes)
            }
        }
    }

    /// Decides from which length on messages go past relays, where nobody said it: of the pairs that relays pay for up
    /// to some length, the shortest decides for all, since the messages of a call all go one way.
    pub fn weigh_relays(&mut self, nodes: &Nodes, links: &Links) {
        self.weigh_relays_of(&self.of(nodes), links);
    }

    /// The same on these rails.
    pub fn weigh_relays_of(&mut self, rails: &crosstie_planner::Rails, links: &Links) {
        let by_cost = || {
            let sharings = rails.sharings().into_iter();
            let lengths = sharings.filter_map(|sharing| match RelayPays::of(sharing, links) {
                RelayPays::Below(bytes) => Some(bytes),
                RelayPays::Always => None,
            });
            lengths.min().unwrap_or(Bound::UNLIMITED.0)
        };
        self.relay_below = match self.pxn {
            Pxn::Auto => self.relay_said.unwrap_or_else(by_cost),
            _ => Bound::UNLIMITED.0,
        };
    }

    /// From which length on messages were told to go past relays, in words.
    pub fn relay_told(&self) -> String {
        self.relay_said.map_or("auto".to_owned(), |bytes| Bound(bytes).to_string())
    }

    /// Whether there is a way past the relay between two ranks: where the length of messages is to decide alone, always;
    /// else not where it would cross rails.
    pub fn has_way_past(&self, rails: &crosstie_planner::Rails, from: u32, to: u32) -> bool {
        let sharing = || rails.sharing(Rank(from), Rank(to));
        self.has_ways_past()
            && (self.relay_said.is_some() || !sharing().is_some_and(|sharing| sharing.crosses))
    }

    /// Which messages relays carry, of those that go past these wherever there is a way past.
    pub fn relayed_past(&self) -> Relayed {
        if self.relay_said.is_some() { Relayed::Never } else { Relayed::Crossing }
    }

    /// Whether blocks of so many bytes go past relays.
    pub fn goes_past(&self, bytes: u64) -> bool {
        self.has_ways_past() && bytes >= self.relay_below
    }

    /// Whether some blocks go past relays and others do not.
    pub fn has_ways_past(&self) -> bool {
        self.pxn == Pxn::Auto && self.relay_below != Bound::UNLIMITED.0
    }
}

impl Sharing {
    pub fn resolve(self, environment: &BTreeMap<String, String>) -> Result<Rails, Error> {
        let count = self.rails.map(RailCount::new).transpose();
        let count = count.map_err(|what| RAILS.wrong(self.rails.unwrap_or(0).to_string(), what))?;
        let count = RAILS.optional(count, environment)?.map(|RailCount(count)| count);
        let nics = NICS.optional(None, environment)?.map_or_else(Vec::new, |Nics(nics)| nics);
        let most = self.aggregate.map(Most::new).transpose();
        let most =
            most.map_err(|what| AGGREGATE.wrong(self.aggregate.unwrap_or(0).to_string(), what))?;
        let ahead = self.open_ahead.map(Ahead::new).transpose();
        let ahead = ahead
            .map_err(|what| OPEN_AHEAD.wrong(self.open_ahead.unwrap_or(0).to_string(), what))?;
        let file = TOPO_FILE.optional(self.topo_file, environment)?;
        let read = |file: PathBuf| {
            let wrong = |error| TOPO_FILE.wrong(file.display().to_string(), format!("{error}"));
            Machine::read(&file).map_err(wrong)
        };
        let machine = file.map(read).transpose()?;
        let relay_said = RELAY_BELOW.optional(self.relay_below.map(Bound), environment)?;
        Ok(Rails {
            pxn: PXN.value(self.pxn, environment)?,
            count: rails_of(count, machine.as_ref(), &nics)?,
            nics,
            most: AGGREGATE.value(most, environment)?.0,
            open_ahead: OPEN_AHEAD.value(ahead, environment)?.0.into(),
            flush: waits(self.flush, environment)?,
            relay_said: relay_said.map(|Bound(bytes)| bytes),
            relay_below: Bound::UNLIMITED.0,
            machine: machine.map(Arc::new),
            seats: None,
        })
    }
}

fn waits(set: Option<Flush>, environment: &BTreeMap<String, String>) -> Result<Flush, Error> {
    let flush = FLUSH.value(set, environment)?;
    flush.checked().map_err(|what| {
        let bound = if let Flush::After(bound) = flush { bound } else { Duration::ZERO };
        FLUSH.wrong(bound.as_nanos().to_string(), what)
    })
}

/// As many rails as were told; else those of the machine, which are not counted here; else as many as there are
/// addresses of NICs. Where addresses are named, there must be one for each.
fn rails_of(
    told: Option<NonZero<u32>>,
    machine: Option<&Machine>,
    nics: &[IpAddr],
) -> Result<Option<NonZero<u32>>, Error> {
    let of_machine = machine.and_then(|it| NonZero::new(it.rails()));
    let named = u32::try_from(nics.len()).ok().and_then(NonZero::new);
    let said = told.map(|count| (count, RAILS.name()));
    let said = said.or_else(|| of_machine.map(|count| (count, TOPO_FILE.name())));
    match (said, named) {
        (Some((count, name)), Some(named)) if count > named => {
            let value = nics.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
            let what = format!(
                "{named} of {count} addresses: {name} says {count} rails; name one for each"
            );
            Err(NICS.wrong(value, what))
        }
        (Some(_), _) => Ok(told),
        (None, _) => Ok(named),
    }
}

impl Rails {
    /// Refuses a NIC that this host does not have: only it can be sent from.
    pub fn check_nics(&self) -> Result<(), Error> {
        for nic in &self.nics {
            UdpSocket::bind((*nic, 0)).map_err(|error| {
                let what =
                    format!("this host cannot listen at it: {error}; name its own addresses");
                NICS.wrong(nic.to_string(), what)
            })?;
        }
        Ok(())
    }
}

impl Settings {
    /// Whether messages between nodes go by way of the rank whose NIC is on the receiver's rail
    /// (`CROSSTIE_PXN`); equal on all ranks; default [`Pxn::Off`].
    ///
    /// ```
    /// # use crosstie::{Pxn, Settings, Threads, Transport};
    /// let settings = Settings::default().transport(Transport::Auto).pxn(Pxn::On);
    /// Threads::new(4).nodes(2).settings(settings).run(|mut comm| {
    ///     let mut from_all = [0; 4];
    ///     comm.all_to_all(&[comm.rank(); 4], &mut from_all)?;
    ///     assert_eq!(from_all, [0, 1, 2, 3]);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn pxn(mut self, pxn: Pxn) -> Self {
        self.sharing.pxn = Some(pxn);
        self
    }

    /// How many rails, or NICs, each node has (`CROSSTIE_RAILS`): 1 to 4096; equal on all ranks; default
    /// one for each address of `CROSSTIE_NICS`, without those for each NIC that the nodes have, if that is several, else
    /// for each rank of the largest node. Rank `i` of a node owns NIC `i`.
    ///
    /// ```
    /// let settings = crosstie::Settings::default().rails(4);
    /// ```
    #[must_use]
    pub fn rails(mut self, rails: u32) -> Self {
        self.sharing.rails = Some(rails);
        self
    }

    /// Messages of a node's ranks that may leave as one wire message, where they share a wire
    /// (`CROSSTIE_AGGREGATE`): 1 to 8, 1 to put none together; default 8.
    ///
    /// ```
    /// let settings = crosstie::Settings::default().aggregate(1);
    /// ```
    #[must_use]
    pub fn aggregate(mut self, most: u8) -> Self {
        self.sharing.aggregate = Some(most);
        self
    }

    /// Receives of a connection over a network that this rank opens before it needs them
    /// (`CROSSTIE_OPEN_AHEAD`), 0 to 7; default 0. A message longer than 4 KiB waits until its receiver has opened
    /// its place, so a way there and back passes between two messages of a connection, unless places are opened
    /// ahead; but the word of an opening waits behind what is queued before it. Where neither is known to weigh
    /// more, leave it: what gains at one size loses at another.
    ///
    /// Measured by turns with 0 and with 1, medians of 5 to 7 runs, µs per call, out of place. `crosstie bench
    /// all_reduce --transport tcp --ranks 2`: 64 KiB 32 and 24, 256 KiB 79 and 124, 1 MiB 169 and 165, 4 MiB 838
    /// and 733, 16 MiB 4668 and 6106, then 5595 and 4965; `--ranks 4`: 1 MiB 984 and 834, 16 MiB 12513 and 12627.
    /// `all_gather --ranks 4`: 64 KiB 132 and 181, then 132 and 175; 4 MiB 1454 and 1306, 16 MiB 6465 and 5697.
    /// `all_to_all --nodes 2 --ranks 8`, 1 MiB a peer: `--pxn on` 8570 and 10424, `--pxn off` 8395 and 7758. In a
    /// lab (`crosstie lab report --operations all_to_all --sizes 1M`), ms: PXN 188 and 194 to 205, direct 596 to
    /// 610 and 560 to 563.
    ///
    /// ```
    /// let settings = crosstie::Settings::default().open_ahead(2);
    /// ```
    #[must_use]
    pub fn open_ahead(mut self, receives: u8) -> Self {
        self.sharing.open_ahead = Some(receives);
        self
    }

    /// With [`Pxn::Auto`], bytes of a block from which on it goes past relays (`CROSSTIE_RELAY_BELOW`); equal
    /// on all ranks; `u64::MAX` (`unlimited`): none does. By default as many as relays pay for by the planner's cost
    /// model; and where rails have NICs of their own, nothing goes past a relay that would cross rails.
    ///
    /// ```
    /// # use crosstie::{Pxn, Settings};
    /// let settings = Settings::default().pxn(Pxn::Auto).relay_below(1 << 20);
    /// ```
    #[must_use]
    pub fn relay_below(mut self, bytes: u64) -> Self {
        self.sharing.relay_below = Some(bytes);
        self
    }

    /// The machine that every node is, as an NCCL topology file describes it (`CROSSTIE_TOPO_FILE`); equal on
    /// all ranks, and taken instead of what detection finds. Of a file of several hosts node `i` plays host `i`. The local rank `i` of a node plays its GPU `i` (its NIC `i` where it has no GPUs), and is
    /// on the rail of that GPU's nearest NIC; [`rails`](Self::rails) overrules it.
    ///
    /// ```
    /// # use crosstie::{Settings, Threads};
    /// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/hgx-h100-4nic.xml");
    /// let settings = Settings::default().topo_file(file);
    /// let rails = Threads::new(16).nodes(2).settings(settings).run(|comm| Ok(comm.metrics().nic.rail))?;
    /// assert_eq!(rails[..8], [0, 0, 1, 1, 2, 2, 3, 3], "two GPUs share a NIC");
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn topo_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.sharing.topo_file = Some(file.into());
        self
    }

    /// How long a message waits for others that may leave with it (`CROSSTIE_FLUSH`); default
    /// [`Flush::Auto`].
    ///
    /// ```
    /// # use crosstie::{Flush, Settings};
    /// let settings = Settings::default().flush(Flush::Full);
    /// ```
    #[must_use]
    pub fn flush(mut self, flush: Flush) -> Self {
        self.sharing.flush = Some(flush);
        self
    }
}

/// Whether messages between nodes enter the network by way of the rank whose NIC is on the receiver's rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pxn {
    /// Each rank sends from its own NIC.
    #[default]
    Off,
    /// Through shared memory to that rank, which sends for all of its node. Where no memory is shared, off.
    On,
    /// As on in calls in which all ranks of a node send to the same ranks, where blocks are shorter than
    /// [`Settings::relay_below`] or their length is not known to all (groups, and the calls whose blocks
    /// differ); else as if off. Without a bound, as on.
    Auto,
}

impl Pxn {
    /// Every value, in the order of help texts.
    pub const ALL: [Self; 3] = [Self::Off, Self::On, Self::Auto];

    /// The name that settings and the command line use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Auto => "auto",
        }
    }
}

impl FromStr for Pxn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|pxn| pxn.name() == text);
        named.ok_or_else(|| "expected off, on or auto".to_owned())
    }
}

impl Value for Pxn {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// How long a message waits for others that may leave on the same wire with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flush {
    /// For those that senders have named 1 ms at most, for those that are likely 20 µs over TCP, 3 µs over verbs.
    #[default]
    Auto,
    /// For all of them, 10 ms at most.
    Full,
    /// So long, named or not: 10 ms at most.
    After(Duration),
}

impl Flush {
    /// As long as `full` waits. Beyond it calls come to stand: after 40 s the stall clock takes them for hung.
    const LONGEST: Duration = Duration::from_millis(10);

    fn checked(self) -> Result<Self, String> {
        match self {
            Self::After(bound) if bound > Self::LONGEST => {
                Err(format!("expected at most {} nanoseconds (10 ms)", Self::LONGEST.as_nanos()))
            }
            fits => Ok(fits),
        }
    }
}

impl FromStr for Flush {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "full" => Ok(Self::Full),
            time => bound(time)
                .ok_or_else(|| {
                    "expected auto, full, or a time: 5us, 1ms, or a number of nanoseconds"
                        .to_owned()
                })
                .and_then(|bound| Self::After(bound).checked()),
        }
    }
}

/// A time with a unit; without one of nanoseconds.
fn bound(text: &str) -> Option<Duration> {
    let units = [("ns", 1), ("us", 1000), ("µs", 1000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let unit = units.iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, *ns)));
    let (number, ns) = unit.unwrap_or((text, 1));
    let number: u64 = number.trim_end().parse().ok()?;
    number.checked_mul(ns).map(Duration::from_nanos)
}

impl Value for Flush {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// Bytes from which on something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound(pub u64);

impl Bound {
    /// Nothing ever changes.
    const UNLIMITED: Self = Self(u64::MAX);
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNLIMITED => f.write_str("unlimited"),
            Self(bytes) => write!(f, "{bytes}"),
        }
    }
}

impl Value for Bound {
    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "unlimited" => Ok(Self::UNLIMITED),
            bytes => {
                u64::from_text(bytes).map(Self).map_err(|what| format!("{what}, or unlimited"))
            }
        }
    }
}

/// Rails of each node: as many as ranks that a command starts, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RailCount(pub NonZero<u32>);

impl RailCount {
    const MOST: u32 = 4096;

    pub fn new(count: u32) -> Result<Self, String> {
        let fits = NonZero::new(count).filter(|count| count.get() <= Self::MOST);
        fits.map(Self).ok_or_else(|| format!("expected 1 to {}", Self::MOST))
    }
}

impl Value for RailCount {
    fn from_text(text: &str) -> Result<Self, String> {
        u32::from_text(text).and_then(Self::new)
    }
}

/// Messages in one wire message, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Most(pub u8);

impl Most {
    pub fn new(most: u8) -> Result<Self, String> {
        if (1..=8).contains(&most) { Ok(Self(most)) } else { Err("expected 1 to 8".to_owned()) }
    }
}

impl Value for Most {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected 1 to 8".to_owned()).and_then(Self::new)
    }
}

/// Receives of a connection that are opened early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ahead(pub u8);

impl Ahead {
    /// One less than may be open: the last is that which is waited for.
    const MOST: u8 = MOST_OPEN as u8 - 1;

    pub fn new(receives: u8) -> Result<Self, String> {
        if receives <= Self::MOST { Ok(Self(receives)) } else { Err(Self::expected()) }
    }

    fn expected() -> String {
        format!("expected 0 to {}", Self::MOST)
    }
}

impl Value for Ahead {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| Self::expected()).and_then(Self::new)
    }
}

/// The addresses of a node's NICs, in the order of the rails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nics(pub Vec<IpAddr>);

impl Value for Nics {
    fn from_text(text: &str) -> Result<Self, String> {
        let address = |part: &str| {
            let wrong = |error| format!("`{part}` is no address: {error}");
            part.trim().parse::<IpAddr>().map_err(wrong)
        };
        text.split(',').map(address).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nics_are_addresses_in_the_order_of_the_rails() {
        let nics = Nics::from_text("10.0.0.1, 10.1.0.1").unwrap();
        assert_eq!(nics.0, [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 1, 0, 1])]);
        assert!(Nics::from_text("10.0.0.1,eth1").unwrap_err().contains("eth1"));
        assert!(Nics::from_text("").is_err());
    }

    #[test]
    fn without_a_bound_no_block_goes_past_relays() {
        assert_eq!(Bound::from_text("64K"), Ok(Bound(64 << 10)));
        assert_eq!(Bound::from_text("unlimited"), Ok(Bound(u64::MAX)));
        assert_eq!(
            [Bound(65_536), Bound(u64::MAX)].map(|it| it.to_string()),
            ["65536", "unlimited"]
        );
        assert!(Bound::from_text("much").unwrap_err().contains("unlimited"));
        let rails = |relay_below| {
            let sharing = Sharing { pxn: Some(Pxn::Auto), relay_below, ..Sharing::default() };
            let mut rails = sharing.resolve(&BTreeMap::new()).unwrap();
            rails.weigh_relays(&nodes(2, 4), &Links::HOST);
            rails
        };
        let (told, unlimited) = (rails(Some(64 << 10)), rails(Some(u64::MAX)));
        assert!(told.goes_past(64 << 10) && !told.goes_past((64 << 10) - 1));
        assert!(!unlimited.goes_past(u64::MAX) && !unlimited.has_ways_past());
    }

    fn nodes(nodes: u32, each: u32) -> Nodes {
        Nodes::new((0..nodes * each).map(|rank| rank / each).collect()).unwrap()
    }

    #[test]
    fn where_nobody_says_it_the_cost_of_a_copy_decides_and_no_rail_is_crossed() {
        let rails = |nics: Option<&str>, nodes: &Nodes| {
            let nics = nics.map(|nics| ("CROSSTIE_NICS".to_owned(), nics.to_owned()));
            let environment = nics.into_iter().collect();
            let sharing = Sharing { pxn: Some(Pxn::Auto), ..Sharing::default() };
            let mut rails = sharing.resolve(&environment).unwrap();
            rails.weigh_relays(nodes, &Links::HOST);
            (rails.of(nodes), rails)
        };
        let two = nodes(2, 4);
        let (of, numbers) = rails(None, &two);
        assert!(numbers.goes_past(64 << 10) && !numbers.goes_past(16 << 10));
        assert!(numbers.has_way_past(&of, 0, 5), "rails that only number ranks");
        // A NIC for each rank: what is not on its receiver's rail goes by a relay, however long it is.
        let (of, four) = rails(Some("10.0.0.1,10.1.0.1,10.2.0.1,10.3.0.1"), &two);
        assert!(!four.goes_past(u64::MAX - 1) && !four.has_way_past(&of, 0, 5));
        // A NIC for two ranks: on their own rail one goes by the other, while that pays.
        let (of, shared) = rails(Some("10.0.0.1,10.1.0.1"), &two);
        assert!(shared.goes_past(64 << 10) && shared.has_way_past(&of, 2, 4));
        assert!(!shared.has_way_past(&of, 2, 5));
    }

    #[test]
    fn there_are_as_many_rails_as_addresses_unless_fewer_are_told() {
        let rails = |rails, nics: &str| {
            let environment = [("CROSSTIE_NICS".to_owned(), nics.to_owned())].into();
            let sharing = Sharing { rails, ..Sharing::default() };
            sharing.resolve(&environment).map(|rails| rails.count.map(NonZero::get))
        };
        assert_eq!(rails(None, "10.0.0.1,10.1.0.1").unwrap(), Some(2));
        assert_eq!(rails(Some(1), "10.0.0.1,10.1.0.1").unwrap(), Some(1));
        let error = rails(Some(3), "10.0.0.1,10.1.0.1").unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Setting { name: "CROSSTIE_NICS", .. }), "{text}");
        assert!(text.contains("2 of 3 addresses: CROSSTIE_RAILS says 3 rails"), "{text}");
    }

    #[test]
    fn a_machines_nics_need_an_address_each() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/hgx-h100-4nic.xml");
        let rails = |nics: &str| {
            let environment = [("CROSSTIE_NICS".to_owned(), nics.to_owned())].into();
            let sharing = Sharing { topo_file: Some(file.into()), ..Sharing::default() };
            sharing.resolve(&environment).map(|rails| rails.count.map(NonZero::get))
        };
        assert_eq!(
            rails("10.0.0.1,10.1.0.1,10.2.0.1,10.3.0.1").unwrap(),
            None,
            "the machine says it"
        );
        let text = rails("10.0.0.1").unwrap_err().to_string();
        assert!(text.contains("CROSSTIE_TOPO_FILE says 4 rails"), "{text}");
    }

    #[test]
    fn addresses_that_the_host_lacks_are_named() {
        let nics = |text| Sharing::default().resolve(&[("CROSSTIE_NICS".to_owned(), text)].into());
        nics("127.0.0.1".to_owned()).unwrap().check_nics().unwrap();
        // Of a range kept for documents (RFC 5737).
        let lacking = nics("127.0.0.1,192.0.2.1".to_owned()).unwrap();
        let text = lacking.check_nics().unwrap_err().to_string();
        assert!(text.starts_with("CROSSTIE_NICS=192.0.2.1: "), "{text}");
    }

    #[test]
    fn more_rails_than_anyone_has_are_refused() {
        assert_eq!(RailCount::from_text("4096"), RailCount::new(4096));
        for wrong in ["0", "4097", "100000000"] {
            assert_eq!(
                RailCount::from_text(wrong),
                Err("expected 1 to 4096".to_owned()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_a_wire_message_holds_and_waits_for_is_checked() {
        assert_eq!(Most::from_text("8"), Ok(Most(8)));
        assert!(Most::from_text("0").is_err() && Most::from_text("9").is_err());
        assert_eq!(Flush::from_text("20000"), Ok(Flush::After(Duration::from_micros(20))));
        assert_eq!(
            (Flush::from_text("auto"), Flush::from_text("full")),
            (Ok(Flush::Auto), Ok(Flush::Full))
        );
        for (text, us) in [("5us", 5), ("5µs", 5), ("2000ns", 2), ("1ms", 1000), ("3 us", 3)] {
            assert_eq!(
                Flush::from_text(text),
                Ok(Flush::After(Duration::from_micros(us))),
                "{text}"
            );
        }
        for text in ["soon", "", "us", "-5us", "5m", "99999999999999s"] {
            assert!(Flush::from_text(text).is_err(), "{text}");
        }
        assert_eq!(Flush::from_text("10000000"), Ok(Flush::After(Duration::from_millis(10))));
        assert!(Flush::from_text("10000001").unwrap_err().contains("10 ms"));
        let builder =
            Sharing { flush: Some(Flush::After(Duration::from_secs(40))), ..Sharing::default() };
        assert!(builder.resolve(&BTreeMap::new()).unwrap_err().to_string().contains("10 ms"));
    }
}
