//! Owns what a communicator tells of its work in numbers.

use crate::Communicator;

/// What has travelled over one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportCounters {
    /// `shm`, `tcp` or `loopback`.
    pub transport: &'static str,
    /// Messages sent by this rank.
    pub messages: u64,
    /// What they travelled as, on the wire.
    pub wire_messages: u64,
    /// Payload bytes sent by this rank.
    pub bytes: u64,
}

impl Communicator {
    /// What this rank has sent, by transport.
    pub fn counters(&self) -> Vec<TransportCounters> {
        let counters = self.engine.counters().into_iter();
        counters
            .map(|(transport, c)| TransportCounters {
                transport,
                messages: c.messages,
                wire_messages: c.wire_messages,
                bytes: c.bytes,
            })
            .collect()
    }
}
