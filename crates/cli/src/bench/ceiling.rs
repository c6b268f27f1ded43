//! Owns the predicted ceiling of an operation: the time that it takes at least, at the speeds measured
//! here. An estimate, by these rules:
//!
//! - *Memory*: with S the size and n the ranks, an operation reads + writes at least
//!
//!   | operation | all ranks together | the busiest rank |
//!   |---|---|---|
//!   | all_reduce: reduce one part each, then copy the others' | (2n − 1) S + n S | (2 − 1/n) S + S |
//!   | reduce_scatter: read all of a part, write it | n S + S | S + S/n |
//!   | all_gather, all_to_all: read and write all | n S + n S | S + S |
//!   | broadcast | (n − 1) S + (n − 1) S | S + S |
//!   | reduce: every rank a part | n S + S | S + S/n |
//!   | gather: the root copies | S + S | S + S |
//!   | scatter | S + S | S/n + S/n |
//!   | send_recv: each to the next | n S + n S | S + S |
//!   | all_to_all_v | twice the sum of the matrix | twice its fullest column |
//!
//!   in place less what lies there already: (n − 1) / n of it for all_gather, all_to_all, gather and
//!   scatter. So nothing is copied twice, as when ranks lend each other their memory. It takes that at
//!   the speeds of all ranks at once, or of one rank alone, whichever takes longer. They were measured
//!   at buffers of several sizes; between those lies a line. A core reads its own cache faster than
//!   another core's, so that ceilings of sizes that fit a cache are too high.
//! - *Network*: bytes that must pass from node to node (from rank to rank where TCP is all there is),
//!   with N nodes: 2 (N − 1) S for all_reduce, (N − 1) S for all_gather, reduce_scatter, broadcast and
//!   reduce, (N − 1) n S / N for all_to_all, N S for send_recv, (N − 1) S / N for gather and scatter; at the speed of TCP
//!   over loopback. Where ranks are on several hosts the link between them is not measured, and there
//!   is no ceiling.
//! - The longer of the two, and one *hop*: what a core takes to see another core's store, or half a
//!   round trip of TCP; where ranks share cores, a turn for each rank.
//!
//! Calls in a loop may overlap where not everyone waits for everyone (broadcast, reduce, gather,
//! scatter), and estimates are wrong: where the fastest call that was seen beats the prediction, it is the
//! ceiling, so that nothing exceeds 100 %.

use std::collections::BTreeSet;
use std::io;

use crosstie::{Collective, Communicator};
use crosstie_launch::emulated_node;

use super::sizes::{Counts, Row};
use super::speeds::{Curve, Memory, Speeds};
use crate::exit::Failure;
use crate::matrix::Matrix;

/// What ceilings are predicted from.
#[derive(Debug, Clone)]
pub struct Ceiling {
    speeds: Speeds,
    ranks: f64,
    /// What is joined by the network: nodes, or ranks where it joins all.
    networked: f64,
    hosts: usize,
}

/// Bytes that must be moved.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Traffic {
    /// Read and written by all ranks together.
    all: [f64; 2],
    /// Read and written by the rank with the most to do.
    busiest: [f64; 2],
    /// Sent over the network by all together.
    network: f64,
}

impl Ceiling {
    /// Of operations on this communicator; `tcp_only`: no rank shares memory with another.
    pub fn new(speeds: Speeds, comm: &Communicator, tcp_only: bool) -> Self {
        let hosts: BTreeSet<&str> = (0..comm.size()).map(|rank| comm.host(rank)).collect();
        let networked = if tcp_only { comm.size() } else { comm.nodes() };
        Self { speeds, ranks: comm.size().into(), networked: networked.into(), hosts: hosts.len() }
    }

    /// Whether nothing can be predicted, because a link that was not measured is part of it.
    pub fn is_unknown(&self) -> bool {
        self.hosts > 1
    }

    /// What it is predicted from.
    pub fn speeds(&self) -> &Speeds {
        &self.speeds
    }

    /// Refuses to have calls judged by ceilings that are not known, or only by accident.
    pub fn refuse_to_judge(&self) -> Result<(), Failure> {
        if self.is_unknown() {
            return Err(Failure::usage(
                "--fail-below, but the ranks are on several hosts, whose links are not measured",
                "leave it out, or run on one host",
            ));
        }
        match &self.speeds.unsteady {
            None => Ok(()),
            Some(what) => Err(Failure::host(
                "judge by --fail-below where speeds swing",
                io::Error::other(format!(
                    "{what}\n  leave it out, or run where nothing else takes the cores"
                )),
            )),
        }
    }

    /// The least time of a call, in microseconds; `None` where it cannot be told.
    pub fn time_us(&self, row: &Row, in_place: bool) -> Option<f64> {
        if self.is_unknown() {
            return None;
        }
        let Traffic { all, busiest, network } = self.traffic(row, in_place);
        let seconds = |[read, written]: [f64; 2], speeds: &Memory| {
            read / speeds.read.at(row.bytes) + written / speeds.written.at(row.bytes)
        };
        let memory = seconds(all, &self.speeds.all).max(seconds(busiest, &self.speeds.one));
        let (network, network_hop) = match self.speeds.tcp {
            Some(tcp) if self.networked > 1.0 => (network / tcp.bytes_per_s, tcp.hop_us),
            _ => (0.0, 0.0),
        };
        Some(memory.max(network) * 1e6 + self.speeds.hop_us.max(network_hop))
    }

    fn traffic(&self, row: &Row, in_place: bool) -> Traffic {
        let (n, nodes, size) = (self.ranks, self.networked, row.bytes as f64);
        let moved = if in_place { (n - 1.0) / n } else { 1.0 };
        let others = nodes - 1.0;
        if let Some(Counts::Pairs(matrix)) = row.counts.as_deref() {
            return self.pairs(matrix, row.dtype.size());
        }
        let (all, busiest, network) = match row.collective() {
            Collective::AllReduce => ([2.0 * n - 1.0, n], [2.0 - 1.0 / n, 1.0], 2.0 * others),
            Collective::ReduceScatter | Collective::Reduce { .. } => {
                ([n, 1.0], [1.0, 1.0 / n], others)
            }
            Collective::AllGather => ([n * moved; 2], [moved; 2], others),
            Collective::AllToAll => ([n * moved; 2], [moved; 2], others * n / nodes),
            Collective::Broadcast { .. } => ([n - 1.0; 2], [1.0_f64.min(n - 1.0); 2], others),
            Collective::Gather { .. } => ([moved; 2], [moved; 2], others / nodes),
            Collective::Scatter { .. } => ([moved; 2], [moved / n; 2], others / nodes),
            // Each node sends to the next, or each rank where the network joins all.
            Collective::SendRecv => ([n; 2], [1.0; 2], if others > 0.0 { nodes } else { 0.0 }),
            Collective::Barrier => ([0.0; 2], [0.0; 2], 0.0),
        };
        let bytes = |factors: [f64; 2]| factors.map(|factor| factor * size);
        Traffic { all: bytes(all), busiest: bytes(busiest), network: network * size }
    }

    /// What a matrix says: every rank reads and writes what it receives.
    fn pairs(&self, matrix: &Matrix, element: usize) -> Traffic {
        let bytes = |elements: usize| (elements * element) as f64;
        let received = |rank| matrix.received(rank).into_iter().sum();
        let busiest = (0..self.ranks as u32).map(received).max().unwrap_or(0);
        let (ranks, networked) = (self.ranks as u32, self.networked as u32);
        let node = |rank: usize| emulated_node(rank as u32, ranks, networked);
        let network = matrix.sum(|from, to| node(from) != node(to));
        let all = matrix.sum(|_, _| true);
        Traffic { all: [bytes(all); 2], busiest: [bytes(busiest); 2], network: bytes(network) }
    }

    /// What it is predicted from, for buffers of so many bytes, in words.
    pub fn in_words(&self, bytes: usize) -> String {
        if bytes == 0 {
            return self.hops_in_words();
        }
        let Speeds { one, all, .. } = &self.speeds;
        let gb_s = |curve: &Curve| curve.at(bytes) / 1e9;
        format!(
            "of {} one rank reads {:.1} and writes {:.1} GB/s, all {:.1} and {:.1}; {}",
            if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") },
            gb_s(&one.read),
            gb_s(&one.written),
            gb_s(&all.read),
            gb_s(&all.written),
            self.hops_in_words()
        )
    }

    fn hops_in_words(&self) -> String {
        let Speeds { hop_us, tcp, unsteady, .. } = &self.speeds;
        let tcp = tcp
            .map(|tcp| format!(", TCP {:.2} GB/s and {:.2} us", tcp.bytes_per_s / 1e9, tcp.hop_us));
        let unsteady = unsteady.as_ref().map(|what| format!(" (unsteady: {what})"));
        format!(
            "a hop takes {hop_us:.2} us{}{}",
            tcp.unwrap_or_default(),
            unsteady.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;

    fn traffic(name: &str, ranks: u32, nodes: u32, in_place: bool) -> Traffic {
        let (ranks, networked) = (ranks.into(), nodes.into());
        let ceiling = Ceiling { speeds: Speeds::default(), ranks, networked, hosts: 1 };
        let operation = Operation::named(name).unwrap();
        let dtype = crosstie::DataType::U8;
        let row = Row {
            operation,
            dtype,
            op: None,
            root: None,
            bytes: 1000,
            part_bytes: 250,
            counts: None,
        };
        ceiling.traffic(&row, in_place)
    }

    #[test]
    fn an_operation_moves_what_its_result_needs_and_no_more() {
        for (name, all, network) in [
            ("all_reduce", [7000.0, 4000.0], 2000.0),
            ("reduce_scatter", [4000.0, 1000.0], 1000.0),
            ("all_gather", [4000.0, 4000.0], 1000.0),
            ("all_to_all", [4000.0, 4000.0], 2000.0),
            ("broadcast", [3000.0, 3000.0], 1000.0),
            ("reduce", [4000.0, 1000.0], 1000.0),
            ("gather", [1000.0, 1000.0], 500.0),
            ("scatter", [1000.0, 1000.0], 500.0),
            ("send_recv", [4000.0, 4000.0], 2000.0),
            ("barrier", [0.0, 0.0], 0.0),
        ] {
            let found = traffic(name, 4, 2, false);
            assert_eq!((found.all, found.network), (all, network), "{name}");
        }
        assert_eq!(traffic("all_gather", 4, 1, true).all, [3000.0, 3000.0]);
        assert_eq!(traffic("all_gather", 1, 1, true).all, [0.0, 0.0]);
    }
}
