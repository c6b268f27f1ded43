//! Ranks that work on for others when their programs have left.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever the others' calls: by its death they miss what it should have sent on, not a call of its own.
    #[test]
    fn a_rank_that_works_on_when_its_program_has_left_is_watched_as_any_other(
        size in 2..7u32, seed: u64, victim: u32, stops: bool, others: bool,
    ) {
        let (mut sim, victim) = (Sim::new(size, seed), victim % size);
        sim.run(STEP);
        sim.retire(victim);
        if others {
            (0..size).filter(|rank| *rank != victim).for_each(|rank| sim.retire(rank));
        }
        sim.run(3 * SILENCE);
        sim.assert_no_failure();
        for (rank, seat) in &mut sim.seats {
            seat.calls.started += u64::from(*rank != victim && !others);
        }
        if stops {
            sim.seats.get_mut(&victim).unwrap().frozen = true;
            sim.run(SILENCE + HEARTBEAT + 20 * STEP);
            sim.seats.remove(&victim);
        } else {
            sim.kill(victim);
            sim.run(8 * STEP);
        }
        let cause = if stops { Cause::Silent } else { Cause::Died };
        prop_assert_eq!(sim.agreed(), (Some(victim), cause));
    }

    #[test]
    fn a_call_after_the_last_one_of_a_rank_that_works_on_ends_as_if_it_had_left(
        size in 2..7u32, seed: u64, early: u32,
    ) {
        let (mut sim, early) = (Sim::new(size, seed), early % size);
        sim.run(STEP);
        sim.retire(early);
        for (rank, seat) in &mut sim.seats {
            let started = if *rank == early { 100 } else { 101 };
            seat.calls = Calls { started, finished: 100 };
        }
        sim.run(Duration::from_secs(3));
        prop_assert_eq!(sim.agreed(), (Some(early), Cause::Left));
        let verdict = &sim.seats[&early].verdicts[0];
        prop_assert_eq!((verdict.left_after, verdict.first_failed), (Some(100), 101));
    }

    #[test]
    fn those_who_work_on_leave_in_any_order_at_last(size in 1..7u32, seed: u64) {
        let mut sim = Sim::new(size, seed);
        let mut order: Vec<u32> = (0..size).collect();
        (0..size).filter(|_| sim.random(3) > 0).collect::<Vec<_>>().into_iter().for_each(|rank| {
            sim.retire(rank);
            sim.shuffle();
        });
        while !order.is_empty() {
            let rank = order.swap_remove(sim.random(order.len()));
            sim.leave(rank);
            let pause = STEP * sim.random(30) as u32;
            sim.run(pause);
            sim.assert_no_failure();
        }
        sim.run(2 * LEAVE_LIMIT);
        prop_assert_eq!(sim.done.len(), size as usize);
    }

    #[test]
    fn a_relay_that_left_is_not_blamed_for_a_message_that_it_was_never_given(
        size in 4..8u32, seed: u64, numbered: bool, works_on: bool,
    ) {
        let (mut sim, waits) = (Sim::new(size, seed), size - 1);
        let (innocent, sender, relay) = (0, 1, 2);
        sim.run(STEP);
        for (rank, last) in [(innocent, 5), (sender, 4), (relay, 5)] {
            if works_on {
                sim.feed(rank, Event::Retiring(last));
            } else {
                sim.leave_after(rank, last);
            }
        }
        sim.run(2 * LEAVE_LIMIT);
        if works_on {
            sim.leave_after(relay, 5);
            sim.run(2 * LEAVE_LIMIT);
        }
        let lacks = if numbered { vec![innocent, sender] } else { vec![sender, innocent] };
        let lost = Report { lacks, in_group: !numbered, ..report(Cause::Died, Some(relay), 5) };
        sim.feed(waits, Event::Reported(lost));
        sim.run(20 * STEP);
        prop_assert_eq!(sim.agreed(), (Some(sender), Cause::Left));
        prop_assert_eq!(sim.seats[&waits].verdicts[0].left_after, Some(4));
    }
}
