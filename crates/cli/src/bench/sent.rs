//! Owns what all ranks of a benchmark have sent, added up, and by what algorithm and how much a row would send
//! ideally.

use std::collections::BTreeMap;

use crosstie::{Communicator, Error, Flushes, ReduceOp, TransportCounters};

use super::report::{Counters, Nic, PerCall, Sent};
use super::sizes::{Counts, Row};
use crate::operation::Kind;

/// Every transport there is: what the ranks add up their counters by.
const TRANSPORTS: [&str; 4] = ["loopback", "shm", "tcp", "verbs"];

/// Whether a transport of that name goes from node to node.
pub fn is_network(transport: &str) -> bool {
    matches!(transport, "tcp" | "verbs")
}

/// Larger worlds would take as long to count as to measure.
const MOST_RANKS_COUNTED: u32 = 128;

/// What all ranks have sent; every rank gets it.
pub fn by_all(comm: &mut Communicator) -> Result<Sent, Error> {
    Ok(Sent {
        transports: transports(comm)?,
        nics: nics(comm)?,
        ideal_wires: if comm.size() > MOST_RANKS_COUNTED { 0 } else { comm.ideal_wires() },
    })
}

/// What one call of a row would put on the network, if messages left with as many others as can be.
pub fn ideal(comm: &Communicator, row: &Row) -> Option<PerCall> {
    if comm.size() > MOST_RANKS_COUNTED {
        return None;
    }
    let (ranks, element) = (comm.size(), row.dtype.size() as u64);
    let ideal = match row.counts.as_deref() {
        None if row.operation.kind == Kind::SendRecv => {
            let bytes = row.bytes as u64;
            comm.ideal_exchange((0..ranks).map(|rank| (rank, (rank + 1) % ranks, bytes)))
        }
        None => comm.ideal(row.collective(), row.dtype, row.count() as u64),
        Some(Counts::Pairs(matrix)) => {
            let of = |from: u32| {
                let sent = (0..).zip(matrix.sent(from));
                sent.map(move |(to, count)| (from, to, count as u64 * element))
            };
            comm.ideal_exchange((0..ranks).flat_map(of))
        }
        Some(Counts::Blocks(_)) => return None,
    };
    Some(ideal.into())
}

/// The algorithm that the calls of a row take; none where blocks differ or go between pairs.
pub fn algorithm(comm: &Communicator, row: &Row) -> Option<&'static str> {
    let is_plan = row.counts.is_none() && row.operation.kind != Kind::SendRecv;
    let taken = || comm.algorithm(row.collective(), row.dtype, row.count() as u64);
    is_plan.then(|| taken().name())
}

fn transports(comm: &mut Communicator) -> Result<BTreeMap<&'static str, Counters>, Error> {
    let own = comm.counters();
    let mut sums = [0i64; TRANSPORTS.len() * NUMBERS];
    for (sums, name) in sums.chunks_mut(NUMBERS).zip(TRANSPORTS) {
        for counters in own.iter().filter(|counters| counters.transport == name) {
            let numbers = numbers(counters);
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number as i64);
        }
    }
    comm.all_reduce_in_place(&mut sums, ReduceOp::Sum)?;
    let present = sums.chunks(NUMBERS).zip(TRANSPORTS).filter(|(sums, _)| sums[0] > 0);
    Ok(present.map(|(sums, name)| (name, summed(sums))).collect())
}

/// Numbers of one transport: 1 where the rank has it, then what it counts.
const NUMBERS: usize = 11;

fn numbers(counters: &TransportCounters) -> impl Iterator<Item = u64> {
    let TransportCounters { messages, wire_messages, bytes, carried, carried_bytes, .. } =
        *counters;
    let sent = [1, messages, wire_messages, bytes, carried, carried_bytes];
    sent.into_iter().chain(counters.flushes.by_name().map(|(_, count)| count))
}

fn summed(sums: &[i64]) -> Counters {
    let number = |place: usize| sums[place] as u64;
    let (messages, wire_messages) = (number(1), number(2));
    let names = Flushes::default().by_name().into_iter();
    Counters {
        messages,
        wire_messages,
        mean_group: (wire_messages > 0).then(|| messages as f64 / wire_messages as f64),
        bytes: number(3),
        relayed: number(4),
        relayed_bytes: number(5),
        flushes: names.zip(6..).map(|((name, _), place)| (name, number(place))).collect(),
    }
}

fn nics(comm: &mut Communicator) -> Result<Vec<Nic>, Error> {
    let metrics = comm.metrics();
    let network = metrics.transports.iter().filter(|counters| is_network(counters.transport));
    let carried = network.map(|counters| counters.carried_bytes).sum();
    let nic = metrics.nic;
    let wires = nic.wires.len() as u64;
    let own = [u64::from(nic.rail), wires, nic.bytes, carried, metrics.ports.len() as u64];
    let mut all = vec![0; own.len() * comm.size() as usize];
    comm.all_gather(&own, &mut all)?;
    let all = (0..).zip(all.chunks(own.len())).filter(|(_, numbers)| numbers[1] > 0);
    let nic = |(rank, numbers): (u32, &[u64])| Nic {
        rank,
        rail: numbers[0],
        wires: numbers[1],
        bytes: numbers[2],
        relayed_bytes: numbers[3],
        nics: numbers[4],
    };
    Ok(all.map(nic).collect())
}
