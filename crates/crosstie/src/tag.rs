//! Owns the tag of a call: a hash of all that must be alike on every rank, which travels with every
//! message, so that ranks whose calls differ find out whatever the lengths of their messages.

use crosstie_bootstrap::{CallMark, Signature};
use crosstie_ir::{Collective, DataType, ReduceOp};
use crosstie_planner::Algorithm;

use crate::c_names;
use crate::operation::Operation;

/// Operation, algorithm, type and reduction of a call, as the bytes of one word.
///
/// `op` counts only where the collective reduces, and its factor never: that is each rank's own.
pub(crate) const fn kind(operation: &Operation<'_>, algorithm: Algorithm) -> u64 {
    let Operation { collective, data_type, op, .. } = *operation;
    let op = match op {
        Some(op) if collective.reduces() => op.code() as u64 + 1,
        _ => 0,
    };
    let root = match collective.root() {
        Some(root) => root.0 as u64 + 1,
        None => 0,
    };
    collective.code() as u64
        | (algorithm as u64) << 8
        | (data_type.code() as u64) << 16
        | op << 24
        | root << 32
        | if operation.is_ragged() { RAGGED } else { 0 }
}

/// Set for operations whose blocks differ in length; roots end below.
const RAGGED: u64 = 1 << 60;
const ROOTS: u32 = 0x0fff_ffff;

/// What a call of messages is, as [`kind`]: a group counts messages, the others the elements of one message.
pub(crate) fn kind_of_messages(name: &str, peers: [Option<u32>; 2], data_type: DataType) -> u64 {
    let which = MESSAGES.iter().position(|one| *one == name).unwrap_or(0);
    let rank = peers.into_iter().flatten().next().map_or(0, |rank| u64::from(rank) + 1);
    Collective::SendRecv.code() as u64
        | (which as u64) << 8
        | u64::from(data_type.code()) << 16
        | rank << 32
}

/// The calls of messages; the first has several.
const MESSAGES: [&str; 4] = ["group", "send", "recv", "send_recv"];

fn describe_messages(mark: &CallMark) -> Signature {
    let name = MESSAGES[(mark.kind >> 8) as usize % MESSAGES.len()];
    let data_type = DataType::ALL.into_iter().find(|t| t.code() == (mark.kind >> 16) as u8);
    let peer = ((mark.kind >> 32) as u32 & ROOTS).saturating_sub(1);
    let (operation, data_type) = match (name, data_type) {
        ("group", _) | (_, None) => (name.to_owned(), "messages".to_owned()),
        ("recv", Some(data_type)) => (format!("recv from rank {peer}"), data_type.to_string()),
        (_, Some(data_type)) => (format!("{name} to rank {peer}"), data_type.to_string()),
    };
    let (reduction, count, root) = (None, Some(mark.count), None);
    let (sequence, tag, site) = (0, 0, c_names::site(mark, name));
    Signature { sequence, operation, data_type, reduction, count, root, tag, site }
}

/// A call in words, for messages.
pub(crate) fn describe(mark: &CallMark) -> Signature {
    if mark.kind as u8 == Collective::SendRecv.code() as u8 {
        return describe_messages(mark);
    }
    let byte = |at: u32| (mark.kind >> (8 * at)) as u8;
    let mut operations = Collective::ALL.into_iter();
    let operation = operations.find(|collective| collective.code() == usize::from(byte(0)));
    let data_type = DataType::ALL.into_iter().find(|t| t.code() == byte(2));
    let ops = [ReduceOp::Average, ReduceOp::pre_mul_sum(1)];
    let op = ReduceOp::ALL.into_iter().chain(ops).find(|op| op.code() + 1 == byte(3));
    let root = ((mark.kind >> 32) as u32 & ROOTS).checked_sub(1);
    let is_ragged = mark.kind & RAGGED != 0;
    // Of all_to_all_v each pair of ranks has counts of its own, which no mark holds.
    let count = (!is_ragged || operation != Some(Collective::AllToAll)).then_some(mark.count);
    let suffix = if is_ragged { "_v" } else { "" };
    let name = operation.map_or("an operation", Collective::name);
    Signature {
        sequence: mark.sequence,
        operation: name.to_owned() + suffix,
        data_type: data_type.map_or_else(String::new, |data_type| data_type.to_string()),
        reduction: op.map(|op| op.to_string()),
        count,
        root,
        tag: mark.tag,
        site: c_names::site(mark, name),
    }
}

/// The tag of call number `sequence`: 24 bits, equal on ranks whose calls are alike and, but for one
/// pair in 16 million, different where they differ.
///
/// Whether a call is in place is each rank's own affair, and is no part of it.
pub(crate) const fn of_call(sequence: u64, kind: u64, count: u64) -> u32 {
    (mix(mix(mix(sequence) ^ count) ^ kind) >> 40) as u32
}

/// The tag of a message of a group, of `bytes` bytes: ranks agree on the message, but on no number of it.
/// No collective has the number 0.
pub(crate) const fn of_message(data_type: DataType, bytes: u64) -> u32 {
    let message = Operation::new(Collective::SendRecv, data_type);
    of_call(0, kind(&message, Algorithm::Direct), bytes)
}

/// A permutation of 64 bits in which each bit of the argument changes about half of the result
/// (the finalizer of SplitMix64).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What a call's tag is made of.
    type Parts = (u64, Collective, Algorithm, DataType, Option<ReduceOp>, u64);

    fn calls() -> Vec<Parts> {
        let mut calls = Vec::new();
        for sequence in 1..=4 {
            for collective in Collective::ALL {
                let ops: &[ReduceOp] = if collective.reduces() { &ReduceOp::ALL } else { &[] };
                let ops =
                    ops.iter().map(|&op| Some(op)).chain((!collective.reduces()).then_some(None));
                for op in ops {
                    // Few enough calls that 24 bits are not expected to meet by chance.
                    for data_type in DataType::ALL.into_iter().step_by(5) {
                        for count in [0, 1, 2, 3, 1 << 16, 1 << 17] {
                            calls.push((
                                sequence,
                                collective,
                                Algorithm::Ring,
                                data_type,
                                op,
                                count,
                            ));
                        }
                    }
                }
            }
        }
        calls
    }

    #[test]
    fn calls_that_differ_in_one_respect_have_different_tags() {
        let mut seen = BTreeMap::new();
        for call in calls() {
            let (sequence, collective, algorithm, data_type, op, count) = call;
            let operation = Operation { op, ..Operation::new(collective, data_type) };
            let tag = of_call(sequence, kind(&operation, algorithm), count);
            assert!(tag < 1 << 24);
            let before = seen.insert(tag, call);
            assert_eq!(before, None, "{call:?}");
        }
        let sum = Operation::new(Collective::AllReduce, DataType::F32);
        let of = |algorithm| of_call(1, kind(&sum, algorithm), 1);
        assert_ne!(of(Algorithm::Ring), of(Algorithm::Direct));
    }

    #[test]
    fn a_reduce_operation_that_is_ignored_makes_no_difference() {
        let gather = Operation::new(Collective::AllGather, DataType::U8);
        let of = |op| kind(&Operation { op, ..gather }, Algorithm::Ring);
        assert_eq!(of(None), of(Some(ReduceOp::Max)));
    }
}
