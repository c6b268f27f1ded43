//! Owns what a measurement is held against: the cables' limit, and what the devices should have carried.

use crosstie_lab::{Counters, Description, Traffic};

use super::measure::{Measurement, Task};
use super::variant::Leaves;
use crate::args::ReportedOperation;
use crate::bench::Nic;

/// From this many bytes a peer on headers weigh so little that amounts can be compared.
const AMOUNTS_FROM: u64 = 256 << 10;
/// What headers, acknowledgements and the ranks' meeting may add, and what counts as none.
const TOLERANCE: f64 = 0.05;
/// What a NIC sends again, because the queue of an uplink was full, it counts twice.
const SENT_AGAIN: f64 = 0.15;
/// Control traffic of a run, on any one device: the ranks' meeting and their signs of life.
const CONTROL_BYTES: f64 = 256e3;

/// Calls that show nothing more are not worth their time.
const MOST_ROUNDS: u32 = 1000;

/// Timed calls, `least` or more: so many that short messages which took the spine where they should not would
/// show on an uplink beside the control traffic. Those of one size are the same for all ways.
pub fn rounds(operation: ReportedOperation, lab: &Description, bytes: u64, least: u32) -> u32 {
    if operation != ReportedOperation::AllToAll {
        return least;
    }
    let rails = |from, to| Leaves::OwnRail.rails(lab, from, to);
    let direct = Counters::of_traffic(lab, |_, _| bytes, rails);
    let crossing = direct.uplinks.iter().map(|uplink| uplink.sent_bytes).max().unwrap_or(0);
    if crossing == 0 {
        return least;
    }
    // Each is timed twice: in a loop, and alone.
    let shown = (1.5 * CONTROL_BYTES / (2 * crossing) as f64).ceil();
    least.max((shown as u32).min(MOST_ROUNDS))
}

/// The least time that a call can take on these cables, in microseconds; `None` where they have no limit.
pub fn limit_us(task: &Task, lab: &Description, measured: &Measurement) -> Option<f64> {
    let seconds = match task.operation {
        ReportedOperation::AllToAll => said(task, lab, measured).least_seconds(lab)?,
        ReportedOperation::AllReduce => {
            // A node must send its part of the sum to the others, and get theirs.
            let bytes = (task.bytes_per_peer * u64::from(lab.ranks())) as f64;
            let nodes = f64::from(lab.nodes);
            let of_a_node = 2.0 * (nodes - 1.0) / nodes * bytes;
            of_a_node / f64::from(lab.rails) * 8.0 / lab.rate.0? as f64
        }
    };
    (seconds > 0.0).then_some(seconds * 1e6)
}

/// What the devices are to carry in one call of all_to_all.
fn said(task: &Task, lab: &Description, measured: &Measurement) -> Counters {
    let leaves = task.variant.leaves(measured.network.crossing_bytes);
    let rails = |from, to| leaves.rails(lab, from, to);
    Counters::of_traffic(lab, |_, _| task.bytes_per_peer, rails)
}

/// Where the devices contradict what the ranks say they sent, in words; empty where they agree.
pub fn contradictions(task: &Task, lab: &Description, measured: &Measurement) -> Vec<String> {
    let amounts = task.bytes_per_peer >= AMOUNTS_FROM;
    let engine = measured.engine.bytes as f64;
    let mean = engine / f64::from(lab.nodes * lab.rails);
    let mut found = Vec::new();
    let mut hold = |what: &str, said: f64, counted: f64, of: f64, more: f64| {
        let too_little = counted < said - TOLERANCE * of;
        let too_much = amounts && counted > said + more * of;
        let some_for_none = said == 0.0 && counted > CONTROL_BYTES + TOLERANCE * of;
        if too_little || too_much || some_for_none {
            let [counted, said] = [counted, said].map(|bytes| bytes / 1e6);
            found.push(format!("{what} {counted:.3} MB, and the ranks say {said:.3} MB"));
        }
    };
    let arrived = measured.counted.nics.iter().flatten().map(|nic| nic.received_bytes).sum::<u64>();
    hold("all NICs together received", engine, arrived as f64, engine, TOLERANCE);
    for (said, counted) in by_nic(lab, measured) {
        let bytes = said.bytes as f64;
        hold(&said.what, bytes, counted as f64, bytes.max(mean), said.more);
    }
    if task.operation == ReportedOperation::AllToAll {
        let said = said(task, lab, measured);
        let times = engine / (said.sent_bytes().max(1) as f64);
        let each = devices(lab, &said).into_iter().zip(devices(lab, &measured.counted));
        for (said, counted) in each {
            let bytes = said.bytes as f64 * times;
            hold(&said.what, bytes, counted.bytes as f64, bytes.max(mean), said.more);
        }
    }
    found
}

/// What a device did, and what it may do beyond what the ranks say, as a share of that.
struct Did {
    what: String,
    bytes: u64,
    more: f64,
}

/// What the ranks say that they sent from each NIC, and what it counted.
fn by_nic(lab: &Description, measured: &Measurement) -> Vec<(Did, u64)> {
    let mut all = Vec::new();
    for (node, nics) in (0..).zip(&measured.counted.nics) {
        for (rail, counted) in (0..).zip(nics) {
            let own = |nic: &&Nic| lab.node_of(nic.rank) == node && nic.rail == u64::from(rail);
            let bytes = measured.nics.iter().filter(own).map(|nic| nic.bytes).sum();
            let what = format!("{} of {} sent", lab.nic_name(rail), lab.node_name(node));
            all.push((Did { what, bytes, more: SENT_AGAIN }, counted.sent_bytes));
        }
    }
    all
}

/// What each NIC received, and each uplink carried up.
fn devices(lab: &Description, counters: &Counters) -> Vec<Did> {
    let mut all = Vec::new();
    for (node, nics) in (0..).zip(&counters.nics) {
        for (rail, Traffic { received_bytes, .. }) in (0..).zip(nics) {
            let what = format!("{} of {} received", lab.nic_name(rail), lab.node_name(node));
            all.push(Did { what, bytes: *received_bytes, more: TOLERANCE });
        }
    }
    for (rail, Traffic { sent_bytes, .. }) in counters.uplinks.iter().enumerate() {
        let what = format!("the uplink of rail {rail} sent");
        all.push(Did { what, bytes: *sent_bytes, more: TOLERANCE });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::measure::Sent;
    use super::super::variant::VARIANTS;
    use super::*;
    use crate::bench::PerCall;
    use crosstie_lab::Rate;

    fn lab() -> Description {
        Description {
            nodes: 2,
            ranks_per_node: 4,
            rails: 4,
            rate: Rate(Some(200_000_000)),
            oversubscription: Some(4),
            mtu: 1500,
        }
    }

    fn task(operation: ReportedOperation, bytes_per_peer: u64) -> Task {
        Task { operation, variant: &VARIANTS[2], bytes_per_peer, rounds: 5 }
    }

    /// A measurement in which every NIC carried what it should, and 0.3 % of headers.
    fn fair(task: &Task) -> Measurement {
        let crossing = task.variant.name == "direct";
        let network =
            PerCall { crossing_bytes: if crossing { 1.0 } else { 0.0 }, ..Default::default() };
        let leaves = task.variant.leaves(network.crossing_bytes);
        let said = Counters::of_traffic(
            &lab(),
            |_, _| task.bytes_per_peer,
            |from, to| leaves.rails(&lab(), from, to),
        );
        let mut counted = said.clone();
        for nic in counted.nics.iter_mut().flatten() {
            nic.sent_bytes += nic.sent_bytes / 10;
            nic.received_bytes += nic.received_bytes / 300;
        }
        let bytes = said.sent_bytes();
        let engine = Sent { messages: 32, wire_messages: 32, bytes };
        let nic = |(node, rail): (u32, u32)| Nic {
            rank: node * 4 + rail,
            rail: rail.into(),
            nics: 0,
            wires: 4,
            bytes: bytes / 8,
            relayed_bytes: bytes / 8 / 4 * 3,
        };
        let nics = (0..2).flat_map(|node| (0..4).map(move |rail| nic((node, rail)))).collect();
        Measurement {
            bytes: 1,
            time_us: 1.0,
            busbw_gb_s: 1.0,
            wrong: 0,
            network,
            ideal: None,
            engine,
            nics,
            counted,
        }
    }

    #[test]
    fn limits_are_what_the_fullest_cable_takes() {
        // 4 MiB from each of 4 ranks to a rank, by its NIC of 200 Mbit/s.
        let exchange = task(ReportedOperation::AllToAll, 4 << 20);
        assert_eq!(
            limit_us(&exchange, &lab(), &fair(&exchange)),
            Some(4.0 * f64::from(4 << 20) * 8.0 / 200.0)
        );
        // Without PXN three of each node's four messages on a rail cross the spine, at 100 Mbit/s.
        let direct = Task { variant: &VARIANTS[0], ..exchange };
        assert_eq!(
            limit_us(&direct, &lab(), &fair(&direct)),
            Some(6.0 * f64::from(4 << 20) * 8.0 / 100.0)
        );
        // A node sends a whole buffer of 8 MiB, over 4 NICs.
        let sum = task(ReportedOperation::AllReduce, 1 << 20);
        assert_eq!(limit_us(&sum, &lab(), &fair(&sum)), Some(f64::from(2 << 20) * 8.0 / 200.0));
        assert_eq!(limit_us(&sum, &Description { rate: Rate(None), ..lab() }, &fair(&sum)), None);
    }

    #[test]
    fn traffic_that_went_where_it_was_said_to_go_is_no_contradiction() {
        for (bytes, variant) in
            [1 << 20, 4 << 20].into_iter().flat_map(|it| [(it, 0), (it, 2), (it, 3)])
        {
            let variant = &VARIANTS[variant];
            let task = Task { variant, ..task(ReportedOperation::AllToAll, bytes) };
            assert_eq!(contradictions(&task, &lab(), &fair(&task)), Vec::<String>::new());
        }
    }

    #[test]
    fn traffic_that_took_another_nic_or_an_uplink_is_named() {
        let task = task(ReportedOperation::AllToAll, 1 << 20);
        let mut moved = fair(&task);
        let nics = &mut moved.counted.nics[1];
        let part = nics[2].sent_bytes / 5;
        nics[2].sent_bytes -= part;
        nics[3].sent_bytes += part;
        let found = contradictions(&task, &lab(), &moved).join("; ");
        assert!(
            found.contains("eth2 of node1 sent") && found.contains("eth3 of node1 sent"),
            "{found}"
        );

        let mut crossed = fair(&task);
        crossed.counted.uplinks[1].sent_bytes = 1 << 20;
        let found = contradictions(&task, &lab(), &crossed).join("; ");
        assert!(found.contains("uplink of rail 1"), "{found}");
    }

    #[test]
    fn short_messages_that_crossed_the_spine_show_beside_the_control_traffic() {
        for bytes in [64, 1 << 10, 8 << 10, 64 << 10] {
            let rounds = rounds(ReportedOperation::AllToAll, &lab(), bytes, 5);
            let task = Task { rounds, ..task(ReportedOperation::AllToAll, bytes) };
            let calls = 2 * u64::from(rounds) + 1;
            let mut run = fair(&task);
            run.engine.bytes *= calls;
            run.nics.iter_mut().for_each(|nic| nic.bytes *= calls);
            for nic in run.counted.nics.iter_mut().flatten() {
                nic.sent_bytes *= calls;
                nic.received_bytes *= calls;
            }
            run.counted.uplinks.iter_mut().for_each(|it| it.sent_bytes = 100_000);
            assert_eq!(contradictions(&task, &lab(), &run), Vec::<String>::new());
            let direct = fair(&Task { variant: &VARIANTS[0], ..task });
            run.counted.uplinks = direct.counted.uplinks;
            run.counted.uplinks.iter_mut().for_each(|it| it.sent_bytes *= calls);
            assert_eq!(contradictions(&task, &lab(), &run).len(), 4, "{bytes} bytes");
        }
    }
}
