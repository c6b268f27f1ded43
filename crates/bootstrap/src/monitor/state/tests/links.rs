//! Links of monitors and of data that end while both their ranks live, and deaths that look alike.

use super::super::exit::LEAVE_ON_ITS_WAY;
use super::super::link::{ANSWER_LIMIT, MEND_LIMIT};
use super::*;

fn ends(verdict: &Verdict) -> Option<[u32; 2]> {
    verdict.ends.as_ref().map(|ends| [ends[0].rank, ends[1].rank])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn links_of_monitors_that_end_are_made_anew_and_nobody_is_blamed(
        size in 2..7u32, seed: u64, cuts in 1..12usize, victim: u32,
    ) {
        let mut sim = Sim::new(size, seed);
        sim.run(STEP);
        for _ in 0..cuts {
            sim.sever_any();
            sim.shuffle();
            let pause = STEP * sim.random(8) as u32;
            sim.run(pause);
        }
        sim.run(MEND_LIMIT + 2 * SILENCE);
        sim.assert_no_failure();
        sim.kill(victim % size);
        sim.run(8 * STEP);
        prop_assert_eq!(sim.agreed(), (Some(victim % size), Cause::Died));
    }

    #[test]
    fn links_of_monitors_that_end_amid_a_verdict_change_nothing(
        size in 2..7u32, seed: u64, cuts in 1..6usize, victim: u32,
    ) {
        let (mut sim, victim) = (Sim::new(size, seed), victim % size);
        sim.run(STEP);
        sim.kill(victim);
        for _ in 0..cuts {
            for _ in 0..sim.random(2 * size as usize) {
                sim.deliver();
            }
            sim.sever_any();
        }
        sim.run(2 * MEND_LIMIT);
        prop_assert_eq!(sim.agreed(), (Some(victim), Cause::Died));
    }

    #[test]
    fn ranks_that_take_links_late_for_want_of_time_are_blamed_for_nothing(
        size in 2..7u32, seed: u64, late in 0..160u32, slow: u32,
    ) {
        let (mut sim, slow) = (Sim::new(size, seed), slow % (size - 1));
        sim.run(STEP);
        let dialled: Vec<(u32, u32)> =
            sim.links.iter().copied().filter(|(from, to)| from < to && *from == slow).collect();
        sim.deaf.insert(slow);
        dialled.into_iter().for_each(|link| sim.sever(link));
        sim.run(late * STEP);
        sim.deaf.clear();
        sim.run(2 * SILENCE);
        sim.assert_no_failure();
    }

    #[test]
    fn a_link_of_monitors_that_stays_cut_is_named_with_both_ends(
        size in 2..7u32, seed: u64, cut: u32,
    ) {
        let (mut sim, cut) = (Sim::new(size, seed), 1 + cut % (size - 1));
        sim.run(STEP);
        sim.broken.insert((0, cut));
        sim.sever((0, cut));
        // Who would be the next hub has nobody to tell that it is turned away.
        sim.run(if cut == 1 { SILENCE } else { MEND_LIMIT } + SEAL_LIMIT + 8 * STEP);
        prop_assert_eq!(sim.agreed(), (None, Cause::Cut));
        for seat in sim.seats.values() {
            prop_assert_eq!(ends(&seat.verdicts[0]), Some([0, cut]));
        }
    }

    #[test]
    fn a_link_of_monitors_that_swallows_all_is_replaced_and_a_cut_of_data_agreed_on(
        size in 3..7u32, seed: u64, of: u32, both_ways: bool, reported: bool,
    ) {
        let (mut sim, of) = (Sim::new(size, seed), 1 + of % (size - 1));
        sim.run(STEP);
        sim.swallowing.insert((0, of));
        if both_ways {
            sim.swallowing.insert((of, 0));
        }
        sim.run(3 * HEARTBEAT);
        prop_assert!(sim.swallowing.is_empty(), "{:?}", sim.swallowing);
        sim.assert_no_failure();
        let (by, of) = if reported { (0, of) } else { (of, 0) };
        sim.feed(by, Event::Reported(report(Cause::Silent, Some(of), 1)));
        sim.run(8 * STEP);
        prop_assert_eq!(sim.agreed(), (None, Cause::Cut));
        for seat in sim.seats.values() {
            prop_assert_eq!(ends(&seat.verdicts[0]), Some([by.min(of), by.max(of)]));
        }
    }

    #[test]
    fn a_link_of_data_that_is_cut_is_named_with_both_ends(
        size in 2..7u32, seed: u64, one: u32, other: u32, monitors: bool,
    ) {
        let mut sim = Sim::new(size, seed);
        let one = one % size;
        let other = (one + 1 + other % (size - 1)) % size;
        sim.run(STEP);
        if monitors {
            sim.sever((one, other));
        }
        for (by, of) in [(one, other), (other, one)] {
            sim.feed(by, Event::Reported(report(Cause::Died, Some(of), 1)));
            sim.shuffle();
        }
        sim.run(8 * STEP);
        prop_assert_eq!(sim.agreed(), (None, Cause::Cut));
        for seat in sim.seats.values() {
            prop_assert_eq!(ends(&seat.verdicts[0]), Some([one.min(other), one.max(other)]));
        }
    }

    #[test]
    fn a_link_that_ends_because_its_other_rank_could_not_connect_is_a_consequence(
        size in 3..7u32, seed: u64, of: u32, witness: u32, late: bool,
    ) {
        let (mut sim, of) = (Sim::new(size, seed), of % size);
        let witness = (of + 1 + witness % (size - 2)) % size;
        let beyond = (of + size - 1) % size;
        sim.run(STEP);
        sim.feed(witness, Event::Reported(report(Cause::Died, Some(of), 1)));
        if late {
            sim.run(2 * STEP);
        } else {
            sim.shuffle();
        }
        sim.feed(of, Event::Reported(report(Cause::NoWay, Some(beyond), 0)));
        sim.run(20 * STEP);
        prop_assert_eq!(sim.agreed(), (None, Cause::NoWay));
        for seat in sim.seats.values() {
            prop_assert_eq!(ends(&seat.verdicts[0]), Some([of.min(beyond), of.max(beyond)]));
        }
    }

    #[test]
    fn the_verdict_on_a_dead_path_says_what_the_other_end_knows_and_else_guesses(
        size in 2..7u32, seed: u64, by: u32, of: u32, ill: bool, at_connect: bool,
    ) {
        let (mut sim, by) = (Sim::new(size, seed), by % size);
        let of = (by + 1 + of % (size - 1)) % size;
        sim.run(STEP);
        sim.seats.get_mut(&of).unwrap().ailment = ill.then(|| "no carrier".to_owned());
        let cause = if at_connect { Cause::NoWay } else { Cause::Silent };
        let (detail, guess) = ("nothing comes".to_owned(), "a spine".to_owned());
        let dead = Report { detail, guess, ..report(cause, Some(of), 1) };
        sim.feed(by, Event::Reported(dead));
        sim.run(20 * STEP);
        let cause = if at_connect { Cause::NoWay } else { Cause::Cut };
        prop_assert_eq!(sim.agreed(), (None, cause));
        let detail = &sim.seats[&by].verdicts[0].detail;
        prop_assert!(detail.starts_with("nothing comes; "), "{}", detail);
        prop_assert_eq!(detail.contains("; no carrier"), ill, "{}", detail);
        prop_assert_eq!(detail.contains("; a spine"), !ill, "{}", detail);
    }

    #[test]
    fn a_death_whose_links_stand_is_a_death_soon_for_its_process_has_ended(
        size in 2..7u32, seed: u64, victim: u32, watcher: u32,
    ) {
        let (mut sim, victim) = (Sim::new(size, seed), victim % size);
        let watcher = (victim + 1 + watcher % (size - 1)) % size;
        sim.run(STEP);
        sim.seats.get_mut(&victim).unwrap().frozen = true;
        sim.feed(watcher, Event::Exited(victim));
        sim.run(LEAVE_ON_ITS_WAY + ANSWER_LIMIT + 2 * SEAL_LIMIT + 8 * STEP);
        sim.seats.remove(&victim);
        prop_assert_eq!(sim.agreed(), (Some(victim), Cause::Died));
    }

    #[test]
    fn a_process_that_ends_after_its_rank_has_left_is_no_death(
        size in 2..7u32, seed: u64, leaver: u32, watcher: u32,
    ) {
        let (mut sim, leaver) = (Sim::new(size, seed), leaver % size);
        let watcher = (leaver + 1 + watcher % (size - 1)) % size;
        sim.run(STEP);
        sim.leave(leaver);
        for _ in 0..100 {
            if sim.done.contains_key(&leaver) || !sim.deliver() {
                sim.pass_time();
            }
            if sim.done.contains_key(&leaver) {
                sim.feed(watcher, Event::Exited(leaver));
                break;
            }
        }
        sim.run(2 * LEAVE_ON_ITS_WAY);
        sim.assert_no_failure();
    }

    #[test]
    fn a_death_that_is_first_seen_by_its_links_of_data_is_a_death(
        size in 2..7u32, seed: u64, victim: u32, witness: u32, frozen: bool,
    ) {
        let mut sim = Sim::new(size, seed);
        let victim = victim % size;
        let witness = (victim + 1 + witness % (size - 1)) % size;
        sim.run(STEP);
        if frozen && victim != 0 {
            sim.seats.get_mut(&victim).unwrap().frozen = true;
        } else {
            sim.kill(victim);
        }
        sim.feed(witness, Event::Reported(report(Cause::Died, Some(victim), 1)));
        sim.run(ANSWER_LIMIT + SEAL_LIMIT + 4 * STEP);
        sim.kill(victim);
        prop_assert_eq!(sim.agreed(), (Some(victim), Cause::Died));
    }
}

#[test]
fn a_successor_that_has_left_unseen_is_no_failure() {
    let unreachable =
        Single::of_an_orphan().actions([Event::Unreachable { peer: 1, why: Unreached::Gone }]);
    assert!(!fails(&unreachable), "{unreachable:?}");
    let without_a_word = Single::of_an_orphan().actions([Event::Linked(1), Event::Ended(1)]);
    assert!(!fails(&without_a_word), "{without_a_word:?}");
    let beat = Event::Heard(1, Message::Beat(Calls::default()));
    let gone = Event::Unreachable { peer: 1, why: Unreached::Gone };
    let died = Single::of_an_orphan().actions([Event::Linked(1), beat, Event::Ended(1), gone]);
    assert!(fails(&died), "{died:?}");
}
