//! Ranks that leave one after the other in one thread, and whose last calls differ.

use super::*;

fn rooted(sequence: u64, root: u32) -> Signature {
    Signature {
        sequence,
        operation: "broadcast".to_owned(),
        data_type: "f32".to_owned(),
        reduction: None,
        count: Some(1),
        root: Some(root),
        tag: root,
        site: String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// As one thread has them do that drives all.
    #[test]
    fn ranks_of_one_process_that_leave_one_after_the_other_wait_for_none_that_is_still_to_leave(
        size in 1..9u32, seed: u64,
    ) {
        let mut sim = Sim::with(size, seed, &vec![0; size as usize]);
        let mut order: Vec<u32> = (0..size).collect();
        while !order.is_empty() {
            let rank = order.swap_remove(sim.random(order.len()));
            sim.leave(rank);
            while sim.seats.contains_key(&rank) {
                sim.pass_time();
            }
            prop_assert!(sim.done[&rank] <= 2 * STEP, "{:?}", sim.done);
        }
        sim.assert_no_failure();
    }

    /// Two roots of a broadcast send to each other alike, and neither waits for anybody.
    #[test]
    fn last_calls_that_differ_are_found_as_all_leave_and_told_to_all(
        size in 2..7u32, seed: u64, odd: u32,
    ) {
        let (mut sim, odd) = (Sim::new(size, seed), odd % size);
        for (rank, seat) in &mut sim.seats {
            let root = u32::from(*rank == odd);
            seat.calls = Calls { started: 8, finished: 8 };
            seat.testimony.recent = vec![rooted(7, 0), rooted(8, root)];
        }
        for rank in 0..size {
            sim.leave_after(rank, 8);
        }
        sim.run(2 * LEAVE_LIMIT);
        prop_assert_eq!(sim.done.len(), size as usize);
        prop_assert_eq!(sim.decided.len(), size as usize, "{:?}", sim.decided);
        // Of two groups of one the lowest rank counts as usual.
        let blamed = if size == 2 { 1 } else { odd };
        for verdict in sim.decided.values() {
            prop_assert_eq!((verdict.culprit, verdict.cause), (Some(blamed), Cause::Protocol));
            let conflict = verdict.conflict.as_ref().unwrap();
            prop_assert_eq!((conflict.odd.1.sequence, conflict.usual.1.sequence), (8, 8));
        }
    }

    /// Who leaves first is let go before the others have made its last call; who is left finds out.
    #[test]
    fn calls_that_differ_from_those_of_a_rank_that_has_left_are_found_later(
        size in 2..7u32, seed: u64, first: u32,
    ) {
        let (mut sim, first) = (Sim::new(size, seed), first % size);
        let make = |seat: &mut Seat, root: u32| {
            seat.calls = Calls { started: 8, finished: 8 };
            seat.testimony.recent = vec![rooted(8, root)];
        };
        make(sim.seats.get_mut(&first).unwrap(), 1);
        sim.leave_after(first, 8);
        sim.run(2 * LEAVE_LIMIT);
        sim.assert_no_failure();
        prop_assert_eq!(sim.done.len(), 1);
        sim.seats.values_mut().for_each(|seat| make(seat, 0));
        for rank in (0..size).filter(|rank| *rank != first) {
            sim.leave_after(rank, 8);
        }
        sim.run(2 * LEAVE_LIMIT);
        let verdicts: Vec<&Verdict> = sim.decided.values().collect();
        prop_assert!(!verdicts.is_empty());
        prop_assert!(verdicts.iter().all(|v| (v.culprit, v.cause) == (Some(first), Cause::Protocol)));
    }
}
