//! Owns what a communicator tells of its work in numbers.

use crosstie_ir::{ChannelId, Rank};
pub use crosstie_transport::seam::{Flushes, WireCounters};
pub use crosstie_verbs::Needs as VerbsNeeds;
pub use crosstie_verbs::wires::Over;

use crate::Communicator;

/// What has travelled over one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportCounters {
    /// `shm`, `tcp`, `verbs` or `loopback`.
    pub transport: &'static str,
    /// Messages sent by this rank; by way of a relay, too, of which it does not know over what it sends on.
    pub messages: u64,
    /// What they travelled as, on the wire.
    pub wire_messages: u64,
    /// Payload bytes sent by this rank.
    pub bytes: u64,
    /// Messages of other ranks of the node that this one sent on, as their relay.
    pub carried: u64,
    /// Their payload bytes.
    pub carried_bytes: u64,
    /// Why wire messages left when they did, of wires that several ranks share.
    pub flushes: Flushes,
}

/// What has left from this rank's NIC, or from all of its NICs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicCounters {
    /// The rail that it is on, or the first of them is.
    pub rail: u32,
    /// The wires that it sends on: one for each receiver, shared by all ranks of the node that send by it.
    pub wires: Vec<WireCounters>,
    /// Payload bytes that left on them; those that others' messages have of it are
    /// [`TransportCounters::carried_bytes`].
    pub bytes: u64,
    /// Of those, the bytes that went to a NIC on another rail: over the spine.
    pub crossing_bytes: u64,
}

/// What a communicator has done, and the memory that it takes; from [`Communicator::metrics`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls that this rank has completed.
    pub operations: u64,
    /// What has travelled, by transport.
    pub transports: Vec<TransportCounters>,
    /// What has left from this rank's NIC.
    pub nic: NicCounters,
    /// Over what the wires of this rank lead, and where not over verbs, why not.
    pub over: Vec<Over>,
    /// The RDMA devices that this rank sends over, each with its port, where some of its wires lead over ibverbs.
    pub ports: Vec<(String, u8)>,
    /// What the wires of this rank take of an RDMA device, where some of them lead over ibverbs: if all are on it. What is
    /// registered of buffers comes on top.
    pub verbs: Option<VerbsNeeds>,
    /// Bytes that messages pass through on their way: this rank's share of the slots of all connections,
    /// as far as they can grow. A slot takes up memory once it was used.
    pub slot_bytes: u64,
    /// Bytes in which algorithms keep values between their steps, as much as any call needed so far.
    pub scratch_bytes: u64,
    /// All that [`Settings::memory_limit`](crate::Settings::memory_limit) is about: the sum of slots, scratch
    /// memory and buffers from [`Communicator::alloc`].
    pub memory_bytes: u64,
    /// What it must not exceed, where there is a limit.
    pub memory_limit: Option<u64>,
    /// Bytes of the buffers from [`Communicator::alloc`] that are alive, in whole pages.
    pub allocated_bytes: u64,
    /// Bytes of buffers that failed calls keep for ever, because a peer or a transport may still reach
    /// them.
    pub leaked_bytes: u64,
}

impl Communicator {
    /// What this rank has sent, by transport.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// comm.all_to_all(&[1, 2], &mut [0, 0])?;
    /// assert_eq!(comm.counters()[0].messages, 1);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn counters(&self) -> Vec<TransportCounters> {
        let counters = self.engine.counters().into_iter();
        counters
            .map(|(transport, c)| TransportCounters {
                transport,
                messages: c.messages,
                wire_messages: c.wire_messages,
                bytes: c.bytes,
                carried: c.carried,
                carried_bytes: c.carried_bytes,
                flushes: c.flushes,
            })
            .collect()
    }

    /// What this rank has done on this communicator, and the memory that it takes.
    ///
    /// ```
    /// # use crosstie::Threads;
    /// # Threads::new(2).run(|mut comm| {
    /// comm.all_to_all(&[1, 2], &mut [0, 0])?;
    /// let metrics = comm.metrics();
    /// assert_eq!((metrics.operations, metrics.leaked_bytes), (1, 0));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    pub fn metrics(&self) -> Metrics {
        Metrics {
            operations: self.standing.completed(),
            transports: self.counters(),
            nic: self.nic(),
            over: self.over.clone(),
            ports: self.ports.clone(),
            verbs: self.verbs_needs,
            slot_bytes: self.slot_memory,
            scratch_bytes: self.engine.scratch_bytes(),
            memory_bytes: self.memory_bytes(),
            memory_limit: self.settings.memory_limit,
            allocated_bytes: self.heap.in_use() as u64,
            leaked_bytes: self.engine.leaked_bytes(),
        }
    }

    fn nic(&self) -> NicCounters {
        let rails = self.settings.rails.of(&self.nodes);
        let rail = |rank| rails.rail_of(Rank(rank)).unwrap_or(0);
        let node = |rank| self.nodes.node_of(Rank(rank));
        let (own, wires) = (self.rank(), self.engine.wires());
        // Another rail's NIC is this rank's too where it carries to there.
        let carries = |peer| {
            let (own, peer) = (Rank(own), Rank(peer));
            self.settings.has_relays()
                && rails.carrier(own, peer) == Some(own)
                && rails.crossing(own, peer, ChannelId(0)).is_none()
        };
        let own_nics = rails.nics_of(Rank(own));
        let meets = |peer| rails.nics_of(Rank(peer)).iter().any(|rail| own_nics.contains(rail));
        let crosses = |wire: &&WireCounters| {
            let peer = wire.peer;
            !meets(peer) && node(peer) != node(own) && !carries(peer)
        };
        NicCounters {
            rail: rail(own),
            bytes: wires.iter().map(|wire| wire.bytes).sum(),
            crossing_bytes: wires.iter().filter(crosses).map(|wire| wire.bytes).sum(),
            wires,
        }
    }
}
