//! Owns the cost model: the time that an algorithm is predicted to take, from what its plan does ([`Work`])
//! and how fast the links of a world are ([`Links`]).
//!
//! ```text
//! time = latency + bytes / bandwidth
//! latency = what the messages of the longest chain wait for each other
//!         + what the busiest rank does for its messages, inside its node and between nodes
//! bytes / bandwidth = the longest of: the bytes of the busiest resource,
//!                                     those of that chain, one message after the other,
//!                                     what a rank does for the further pieces of long messages while bytes move
//! ```
//!
//! A resource is what a rank sends and receives inside its node, to relays too, the fullest of the links that ranks of a
//! node share, what its NIC does, or the memory of a node.
//! Everything is an integer (ns, bytes, MB/s of 10⁶ bytes), and saturates: the same value on every rank.

mod links;
mod relay;
mod tune;
mod tune_json;
mod work;

use core::fmt;

pub use links::{
    Carriage, EAGER_BYTES, Exchange, Hop, HopClass, LENT_BYTES, Links, Network, Shared, Source,
    TOGETHER,
};
pub use relay::{RelayPays, Sharing};
pub use tune::{Entry, Point, Provenance, Shape, Tune};
pub use tune_json::TuneError;
pub use work::{Pair, Pattern, Work};

/// What limits a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bottleneck {
    /// That messages of a chain wait for each other, over hops of this class the most.
    Latency(HopClass),
    /// That a rank's messages go one after the other, over hops of this class the most.
    Messages(HopClass),
    /// The bytes of the busiest rank on its link.
    Link(HopClass),
    /// The bytes of the busiest NIC.
    Nic(HopClass),
    /// The bytes on the rings or trees that were found for the machine.
    Searched,
    /// The bytes that a node's ranks move through its memory.
    Memory,
    /// Nothing: a lone rank has nobody to send to.
    Nobody,
}

/// As part of a sentence: `latency of tcp`, `the memory of a node`.
impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(class) => write!(f, "the latency of {}", class.name()),
            Self::Messages(class) => write!(f, "the number of messages over {}", class.name()),
            Self::Link(class) => write!(f, "the bandwidth of {}", class.name()),
            Self::Nic(class) => write!(f, "the bandwidth of NICs ({})", class.name()),
            Self::Searched => f.write_str("what the machine's rings or trees carry"),
            Self::Memory => f.write_str("the memory of a node"),
            Self::Nobody => f.write_str("nothing: a lone rank has nobody to send to"),
        }
    }
}

/// A time that the model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predicted {
    /// Nanoseconds.
    pub time_ns: u64,
    /// What takes the most of it.
    pub bottleneck: Bottleneck,
}

/// The time of work on a buffer of `whole` bytes: of the larger of what a rank sends and receives.
pub fn predict(work: &Work, links: &Links, whole: u64) -> Predicted {
    if work.steps == Pair::default() {
        return Predicted { time_ns: 0, bottleneck: Bottleneck::Nobody };
    }
    let chunk = u128::from(whole).div_ceil(u128::from(work.parts.max(1)));
    let message = chunk.min(u128::from(links.message_bytes));
    let relays = work.exchange(links).is_some_and(|exchange| exchange.together > 1);
    // What a relay sends has come to it.
    let inside = work.steps.inside + if relays { work.exchanges } else { 0 };
    let hops = [(&links.inside, inside), (&links.between, work.steps.between)];
    let [inside, between] = hops.map(|(hop, steps)| hop_ns(hop, message) * u128::from(steps));
    let chain = hops.map(|(hop, steps)| transfer_ns(message * u128::from(steps), hop.mb_s));
    let (waits, chain) = (inside + between, chain[0] + chain[1]);
    let sends = messages(work, links, chunk.min(1));
    let (busy, resource) = busiest(work, links, chunk);
    let slower = if between > inside { links.between.class } else { links.inside.class };
    let mut parts = [
        (busy, resource),
        (sends[0], Bottleneck::Messages(links.inside.class)),
        (sends[1], Bottleneck::Messages(links.between.class)),
        (waits + chain.saturating_sub(busy), Bottleneck::Latency(slower)),
    ];
    parts.sort_by_key(|(ns, _)| *ns);
    let [.., (_, bottleneck)] = parts;
    let latency = waits.saturating_add(sends[0]).saturating_add(sends[1]);
    let total = latency.saturating_add(chain.max(busy));
    Predicted { time_ns: u64::try_from(total).unwrap_or(u64::MAX), bottleneck }
}

/// How long the busiest rank is busy with its messages inside its node and between nodes, of chunks of so many bytes.
fn messages(work: &Work, links: &Links, chunk: u128) -> [u128; 2] {
    // What exceeds a message travels as several.
    let pieces = chunk.div_ceil(u128::from(links.message_bytes.max(1))).max(1);
    let crossing = match work.exchange(links) {
        Some(exchange) => {
            exchange.messages(chunk, links.message_bytes) * u128::from(work.exchanges)
        }
        // Each gate has its share of what exceeds a message.
        None => {
            let gates = work.searched_mb_s(links).map_or(1, |_| u128::from(links.gates.max(1)));
            u128::from(work.messages.between) * pieces.div_ceil(gates)
        }
    };
    [
        u128::from(work.messages.inside) * pieces * u128::from(links.inside.message_ns),
        crossing * u128::from(links.between.message_ns),
    ]
}

/// The resource that takes the longest to move chunks of so many bytes, and how long.
fn busiest(work: &Work, links: &Links, chunk: u128) -> (u128, Bottleneck) {
    let Links { inside, between, .. } = links;
    let bytes = |chunks: u64| chunk * u128::from(chunks);
    let (first, all) = (messages(work, links, chunk.min(1)), messages(work, links, chunk));
    let mut resources = [
        (0, Bottleneck::Searched),
        (0, Bottleneck::Link(inside.class)),
        (0, Bottleneck::Nic(between.class)),
        (0, Bottleneck::Memory),
        (all[0] - first[0], Bottleneck::Messages(inside.class)),
        (all[1] - first[1], Bottleneck::Messages(between.class)),
    ];
    match work.searched_mb_s(links) {
        // The search loads every NIC, and no link with more than it bears.
        Some(mb_s) => {
            resources[0].0 = transfer_ns(bytes(work.searched), mb_s);
        }
        None => {
            let relayed = work.exchange(links).map_or(0, |it| it.relayed * work.exchanges);
            let own = transfer_ns(bytes(work.rank.inside + relayed), inside.mb_s);
            let fullest = work.fullest(links);
            resources[1].0 = own.max(transfer_ns(bytes(fullest.chunks), fullest.mb_s));
            resources[2].0 = match work.exchange(links) {
                // Relays send for others, so that a rank's own NICs say little.
                Some(exchange) => transfer_ns(bytes(work.node.between), exchange.mb_s),
                None => {
                    let rank = transfer_ns(bytes(work.rank.between), between.mb_s);
                    let node = |mb_s| transfer_ns(bytes(work.node.between), mb_s);
                    rank.max(links.node_mb_s.map_or(0, node))
                }
            };
        }
    }
    if let Some(mb_s) = links.memory_mb_s {
        resources[3].0 = transfer_ns(bytes(work.node.inside), mb_s);
    }
    resources.into_iter().max_by_key(|(ns, _)| *ns).unwrap_or((0, Bottleneck::Memory))
}

/// What a message of so many bytes waits, beside its transfer.
fn hop_ns(hop: &Hop, message: u128) -> u128 {
    let grant = if message > u128::from(hop.eager_bytes) { hop.grant_ns } else { 0 };
    u128::from(hop.latency_ns) + u128::from(grant)
}

/// 10⁶ bytes in a second are a byte in 1000 ns.
fn transfer_ns(bytes: u128, mb_s: u64) -> u128 {
    bytes.saturating_mul(1000) / u128::from(mb_s.max(1))
}
