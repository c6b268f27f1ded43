//! Whole worlds of state machines under random orders of delivery, deaths, stops, leaves and reports, in simulated
//! time: what a real network may do within the rules of [`super`], and more often.

use proptest::prelude::*;

use super::super::clock::Suspicion;
use super::super::statement::WaitOn;
use super::*;

const HEARTBEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);

const TIMES: Times = Times {
    heartbeat: HEARTBEAT,
    silence: SILENCE,
    links_due: SILENCE,
    patience: Patience { arrival: ARRIVAL, stall: STALL, warning: STALL },
};
const ARRIVAL: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(15);

/// What travels from one rank to another, in order.
enum Parcel {
    Link,
    Message(Message),
    End,
}

/// A rank, as long as its process lives.
struct Seat {
    state: State,
    calls: Calls,
    moves: u64,
    /// What its application says when it is asked.
    testimony: Testimony,
    ailment: Option<String>,
    frozen: bool,
    left_at: Option<Duration>,
    fails: Vec<Report>,
    verdicts: Vec<Verdict>,
    seen_leaving: BTreeMap<u32, u64>,
}

struct Sim {
    now: Duration,
    seats: BTreeMap<u32, Seat>,
    /// Ranks whose leave was done, with how long it took.
    done: BTreeMap<u32, Duration>,
    /// The first verdict of each rank, of those that have gone, too.
    decided: BTreeMap<u32, Verdict>,
    parcels: BTreeMap<(u32, u32), VecDeque<Parcel>>,
    /// Both directions of each link that neither end has closed.
    links: BTreeSet<(u32, u32)>,
    /// Pairs of ranks whose links cannot be made any more.
    broken: BTreeSet<(u32, u32)>,
    /// Ranks that take no link for now, for want of time.
    deaf: BTreeSet<u32>,
    /// Pairs of ranks whose link swallows what is sent on it: from the first to the second.
    swallowing: BTreeSet<(u32, u32)>,
    /// Who was warned of whom.
    warned: Vec<(u32, Vec<(u32, u64)>)>,
    seed: u64,
}

impl Sim {
    /// A world of `size` ranks of which each but 0 has dialled rank 0.
    fn new(size: u32, seed: u64) -> Sim {
        Sim::with(size, seed, &(0..size).collect::<Vec<_>>())
    }

    /// The same, in these processes.
    fn with(size: u32, seed: u64, processes: &[u32]) -> Sim {
        let hosts: Vec<String> = (0..size).map(|rank| format!("host{rank}")).collect();
        let seat = |rank| Seat {
            state: State::new(rank, hosts.clone(), processes.to_vec(), TIMES),
            calls: Calls::default(),
            moves: 0,
            testimony: Testimony::default(),
            ailment: None,
            frozen: false,
            left_at: None,
            fails: Vec::new(),
            verdicts: Vec::new(),
            seen_leaving: BTreeMap::new(),
        };
        let mut sim = Sim {
            now: Duration::ZERO,
            seats: (0..size).map(|rank| (rank, seat(rank))).collect(),
            done: BTreeMap::new(),
            decided: BTreeMap::new(),
            parcels: BTreeMap::new(),
            links: BTreeSet::new(),
            broken: BTreeSet::new(),
            deaf: BTreeSet::new(),
            swallowing: BTreeSet::new(),
            warned: Vec::new(),
            seed,
        };
        (1..size).for_each(|rank| sim.dial(rank, 0));
        sim
    }

    /// A number below `limit` (SplitMix64).
    fn random(&mut self, limit: usize) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn feed(&mut self, rank: u32, event: Event) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(&rank) else { return };
        seat.state.note_pace(now, Pace { calls: seat.calls, moves: seat.moves, ..Pace::default() });
        seat.state.handle(now, event);
        while let Some(action) = self.seats.get_mut(&rank).and_then(|s| s.state.action(now)) {
            self.act(rank, action);
        }
    }

    fn act(&mut self, rank: u32, action: Action) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(&rank) else { return };
        match action {
            Action::Send(to, message) => {
                if self.links.contains(&(rank, to)) && !self.swallowing.contains(&(rank, to)) {
                    self.post(rank, to, Parcel::Message(message));
                }
            }
            Action::Dial(peer) => self.dial(rank, peer),
            Action::Alert(peer) => self.alert(rank, peer),
            Action::Close(peer) => self.cut(rank, peer),
            Action::Fail(report) => seat.fails.push(report),
            Action::Decide(verdict) => {
                self.decided.entry(rank).or_insert_with(|| verdict.clone());
                seat.verdicts.push(verdict);
            }
            Action::Propose(_) | Action::SpareNone => {}
            Action::Recall => {
                let calls = tags(&seat.testimony.recent);
                self.feed_during(rank, Event::Recalled(calls));
            }
            Action::Testify => {
                let testimony = seat.testimony.clone();
                self.feed_during(rank, Event::Testified(testimony));
            }
            Action::Examine(asker) => {
                let ailment = seat.ailment.clone();
                self.feed_during(rank, Event::Examined(asker, ailment));
            }
            Action::Probe(peers) => {
                for peer in peers {
                    if !self.seats.contains_key(&peer) {
                        self.feed_during(rank, Event::Dead(peer));
                    }
                }
            }
            Action::Warn { late, .. } => self.warned.push((rank, late)),
            Action::Left(peer, sequence) => {
                assert_eq!(seat.seen_leaving.insert(peer, sequence), None, "told twice");
            }
            Action::Done => {
                let took = now - seat.left_at.unwrap();
                self.done.insert(rank, took);
                self.kill(rank);
            }
        }
    }

    fn post(&mut self, from: u32, to: u32, parcel: Parcel) {
        self.parcels.entry((from, to)).or_default().push_back(parcel);
    }

    fn alert(&mut self, rank: u32, peer: u32) {
        if self.seats.get(&peer).is_some_and(|seat| !seat.frozen) {
            self.dial(rank, peer);
        }
    }

    fn dial(&mut self, rank: u32, peer: u32) {
        let is_deaf = self.deaf.contains(&peer);
        let answers = self.seats.get(&peer).is_some_and(|seat| !seat.frozen && !is_deaf);
        if answers && !self.broken.contains(&(rank.min(peer), rank.max(peer))) {
            let both = [(rank, peer), (peer, rank)];
            self.links.extend(both);
            self.swallowing.retain(|pair| !both.contains(pair));
            self.post(rank, peer, Parcel::Link);
            self.feed_during(rank, Event::Linked(peer));
        } else {
            let why = match self.seats.get(&peer) {
                None => Unreached::Gone,
                Some(seat) if seat.frozen || self.deaf.contains(&peer) => Unreached::Late,
                Some(_) => Unreached::TurnedAway,
            };
            self.feed_during(rank, Event::Unreachable { peer, why });
        }
    }

    /// An event amid the actions of an earlier one.
    fn feed_during(&mut self, rank: u32, event: Event) {
        let now = self.now;
        self.seats.get_mut(&rank).unwrap().state.handle(now, event);
    }

    /// Ends `rank`'s link to `peer`, who notices after all that was sent.
    fn cut(&mut self, rank: u32, peer: u32) {
        if self.links.remove(&(rank, peer)) {
            self.post(rank, peer, Parcel::End);
            self.parcels.remove(&(peer, rank));
            self.links.remove(&(peer, rank));
        }
    }

    /// Ends the link between two ranks, and what is under way on it may be lost.
    fn sever(&mut self, pair: (u32, u32)) {
        let lossy = self.random(2) == 0;
        for (from, to) in [pair, (pair.1, pair.0)] {
            if self.links.remove(&(from, to)) {
                if lossy {
                    // A link that was just made may never be heard of; else its end would be of another.
                    let queue = self.parcels.entry((from, to)).or_default();
                    queue.retain(|parcel| !matches!(parcel, Parcel::Message(_)));
                }
                self.post(from, to, Parcel::End);
            }
        }
    }

    /// Severs one of the links, if there is any.
    fn sever_any(&mut self) {
        let links: Vec<(u32, u32)> = self.links.iter().copied().collect();
        if !links.is_empty() {
            let at = self.random(links.len());
            self.sever(links[at]);
        }
    }

    fn kill(&mut self, rank: u32) {
        self.seats.remove(&rank);
        let peers: Vec<u32> =
            self.links.iter().filter(|link| link.0 == rank).map(|link| link.1).collect();
        peers.into_iter().for_each(|peer| self.cut(rank, peer));
    }

    fn leave(&mut self, rank: u32) {
        self.leave_after(rank, 100 + u64::from(rank));
    }

    fn leave_after(&mut self, rank: u32, last: u64) {
        let now = self.now;
        let Some(seat) = self.seats.get_mut(&rank).filter(|seat| seat.left_at.is_none()) else {
            return;
        };
        seat.left_at = Some(now);
        let calls = tags(&seat.testimony.recent);
        self.feed(rank, Event::Leaving(last, calls));
    }

    /// The program of `rank` leaves after its call 100, and the rank works on for others.
    fn retire(&mut self, rank: u32) {
        let calls = Calls { started: 100, finished: 100 };
        self.seats.get_mut(&rank).unwrap().calls = calls;
        self.feed(rank, Event::Retiring(100));
    }

    /// Delivers the next parcel of a random pair of ranks; false when there is none to deliver.
    fn deliver(&mut self) -> bool {
        let seats = &self.seats;
        let awake = |rank: &u32| seats.get(rank).is_some_and(|seat| !seat.frozen);
        let ready: Vec<(u32, u32)> = (self.parcels.iter())
            .filter(|((_, to), queue)| awake(to) && !queue.is_empty())
            .map(|(pair, _)| *pair)
            .collect();
        if ready.is_empty() {
            return false;
        }
        let pair = ready[self.random(ready.len())];
        self.deliver_from(pair);
        true
    }

    fn deliver_from(&mut self, (from, to): (u32, u32)) {
        let Some(parcel) = self.parcels.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return;
        };
        let event = match parcel {
            Parcel::Link => Event::Linked(from),
            Parcel::Message(message) => Event::Heard(from, message),
            Parcel::End => Event::Ended(from),
        };
        self.feed(to, event);
    }

    /// Time passes: every rank that runs hears what was sent to it, then ticks.
    fn pass_time(&mut self) {
        self.now += STEP;
        for rank in self.seats.keys().copied().collect::<Vec<u32>>() {
            if self.seats.get(&rank).is_some_and(|seat| !seat.frozen) {
                let pairs: Vec<(u32, u32)> =
                    self.parcels.keys().copied().filter(|(_, to)| *to == rank).collect();
                for pair in pairs {
                    while self.parcels.get(&pair).is_some_and(|queue| !queue.is_empty()) {
                        self.deliver_from(pair);
                    }
                }
                self.feed(rank, Event::Tick);
            }
        }
    }

    /// Some deliveries in random order.
    fn shuffle(&mut self) {
        for _ in 0..self.random(12) {
            self.deliver();
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.shuffle();
            self.pass_time();
        }
    }

    /// The culprit and cause on which all living ranks agree; each has failed and decided just once.
    fn agreed(&self) -> (Option<u32>, Cause) {
        let verdicts: Vec<&Verdict> = (self.seats.values())
            .map(|seat| {
                assert!(seat.fails.len() <= 1, "{:?}", seat.fails);
                assert_eq!(seat.verdicts.len(), 1, "one verdict a rank: {:?}", seat.verdicts);
                &seat.verdicts[0]
            })
            .collect();
        let first = (verdicts[0].culprit, verdicts[0].cause);
        assert!(verdicts.iter().all(|v| (v.culprit, v.cause) == first), "{verdicts:#?}");
        assert!(verdicts.iter().all(|v| !v.provisional));
        first
    }

    fn assert_no_failure(&self) {
        for (rank, seat) in &self.seats {
            assert!(seat.fails.is_empty(), "rank {rank}: {:?}", seat.fails);
            assert!(seat.verdicts.is_empty(), "rank {rank}: {:?}", seat.verdicts);
        }
    }
}

fn tags(calls: &[Signature]) -> Tags {
    calls.iter().map(|call| (call.sequence, call.tag)).collect()
}

fn report(cause: Cause, culprit: Option<u32>, sequence: u64) -> Report {
    Report { culprit, cause, detail: String::new(), sequence, in_group: false, ..Report::default() }
}

fn cause() -> impl Strategy<Value = Cause> {
    let causes = [Cause::Died, Cause::Deadline, Cause::Protocol, Cause::Aborted, Cause::Unknown];
    prop::sample::select(causes.to_vec())
}

fn message() -> impl Strategy<Value = Message> {
    let report = (any::<Option<u8>>(), cause(), any::<u64>())
        .prop_map(|(culprit, cause, sequence)| report(cause, culprit.map(u32::from), sequence));
    let calls = (any::<u64>(), any::<u64>());
    let calls = calls.prop_map(|(started, finished)| Calls { started, finished });
    let left = prop::collection::vec((0..9u32, any::<u64>()), 0..4);
    prop_oneof![
        calls.clone().prop_map(Message::Beat),
        Just(Message::Query),
        Just(Message::Ask),
        any::<bool>().prop_map(|ill| Message::Here { ailment: ill.then(|| "ill".to_owned()) }),
        statement(calls.clone()).prop_map(|statement| Message::Answer(Box::new(statement))),
        (report, calls).prop_map(|(report, calls)| Message::Report { report, by: 1, calls }),
        any::<(u64, bool, bool, bool)>().prop_map(
            |(sequence, arrival_over, stall_over, doubts)| {
                let (age_ms, quiet_ms, stall_ms) = (9, 9, 9);
                let suspicion = Suspicion {
                    sequence,
                    age_ms,
                    quiet_ms,
                    arrival_over,
                    stall_over,
                    stall_ms,
                    doubts,
                    in_messages: arrival_over != doubts,
                };
                Message::Suspect(suspicion)
            }
        ),
        any::<u64>().prop_map(|sequence| Message::Patience { sequence, late: vec![(0, 1)] }),
        any::<u32>().prop_map(|ballot| Message::Accepted { ballot }),
        any::<u64>().prop_map(|sequence| Message::Leave { sequence, calls: Vec::new() }),
        Just(Message::Released),
        (left.clone(), left).prop_map(|(left, retired)| Message::News {
            left,
            retired,
            verdict: None
        }),
    ]
}

fn statement(calls: impl Strategy<Value = Calls>) -> impl Strategy<Value = Statement> {
    (calls, any::<u64>()).prop_map(|(Calls { started, finished }, quiet_ms)| Statement {
        started,
        finished,
        quiet_ms,
        ..Statement::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_happens_while_nothing_fails(size in 1..7u32, seed: u64) {
        let mut sim = Sim::new(size, seed);
        sim.run(3 * SILENCE);
        sim.assert_no_failure();
    }

    #[test]
    fn a_world_that_was_held_up_blames_nobody(size in 1..7u32, seed: u64) {
        let mut sim = Sim::new(size, seed);
        // Between two heartbeats, when none is under way.
        sim.run(2 * HEARTBEAT + HEARTBEAT / 2);
        sim.now += 2 * SILENCE;
        sim.run(2 * SILENCE);
        sim.assert_no_failure();
    }

    #[test]
    fn leaving_in_any_order_is_no_failure_and_ends_in_time(
        size in 1..7u32, seed: u64, pauses in prop::collection::vec(0..30u32, 7),
    ) {
        let mut sim = Sim::new(size, seed);
        let mut order: Vec<u32> = (0..size).collect();
        while !order.is_empty() {
            let rank = order.swap_remove(sim.random(order.len()));
            sim.leave(rank);
            sim.shuffle();
            sim.run(STEP * pauses[rank as usize].saturating_sub(10));
            sim.assert_no_failure();
        }
        sim.run(2 * LEAVE_LIMIT);
        sim.assert_no_failure();
        prop_assert_eq!(sim.done.len(), size as usize);
        for took in sim.done.values() {
            prop_assert!(*took <= LEAVE_LIMIT + 2 * STEP, "{:?}", sim.done);
        }
    }

    #[test]
    fn one_death_is_named_by_all_at_once(size in 2..7u32, seed: u64, victim: u32) {
        let (mut sim, victim) = (Sim::new(size, seed), victim % size);
        let before = STEP * sim.random(60) as u32;
        sim.run(before);
        sim.kill(victim);
        sim.run(8 * STEP);
        prop_assert_eq!(sim.agreed(), (Some(victim), Cause::Died));
    }

    #[test]
    fn after_a_death_each_rank_goes_as_soon_as_it_has_the_verdict(
        size in 2..9u32, seed: u64, victim: u32,
    ) {
        let (mut sim, victim) = (Sim::new(size, seed), victim % size);
        let before = STEP * sim.random(60) as u32;
        sim.run(before);
        sim.kill(victim);
        let start = sim.now;
        while !sim.seats.is_empty() && sim.now < start + SILENCE / 2 {
            let knows: Vec<u32> = (sim.seats.iter())
                .filter(|(_, seat)| !seat.verdicts.is_empty() && seat.left_at.is_none())
                .map(|(rank, _)| *rank)
                .collect();
            // An application takes a while to hear of it.
            for rank in knows {
                if sim.random(2) == 0 {
                    sim.leave(rank);
                }
            }
            if !sim.deliver() {
                sim.pass_time();
            }
        }
        sim.decided.remove(&victim);
        prop_assert_eq!(sim.decided.len() + 1, size as usize);
        let verdicts: Vec<&Verdict> = sim.decided.values().collect();
        prop_assert_eq!((verdicts[0].culprit, verdicts[0].cause), (Some(victim), Cause::Died));
        prop_assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{:#?}", verdicts);
        prop_assert_eq!(sim.done.len() + 1, size as usize);
        for took in sim.done.values() {
            prop_assert!(*took <= 2 * STEP, "{:?}", sim.done);
        }
    }

    #[test]
    fn several_deaths_leave_one_verdict(
        size in 3..7u32, seed: u64, first: u32, second: u32, steps in 0..4u32,
    ) {
        let mut sim = Sim::new(size, seed);
        sim.run(STEP);
        let victims = [first % size, second % size];
        sim.kill(victims[0]);
        sim.shuffle();
        sim.run(STEP * steps);
        sim.kill(victims[1]);
        sim.run(20 * STEP);
        let (culprit, cause) = sim.agreed();
        let verdicts: BTreeSet<String> =
            sim.seats.values().map(|seat| seat.verdicts[0].to_json()).collect();
        prop_assert_eq!(verdicts.len(), 1, "{:#?}", verdicts);
        prop_assert!(culprit.is_some_and(|culprit| victims.contains(&culprit)));
        prop_assert_eq!(cause, Cause::Died);
    }

    /// Hubs die halfway through telling, one after the other: who has decided, and died since, counts, too.
    #[test]
    fn whoever_decides_decides_the_same(
        size in 3..8u32, seed: u64, deaths in 1..4usize, reporter: u32, leaves: bool,
    ) {
        let mut sim = Sim::new(size, seed);
        sim.run(STEP);
        let blamed = report(Cause::Unknown, Some(reporter % size), 1);
        sim.feed(reporter % size, Event::Reported(blamed));
        for _ in 0..deaths {
            for _ in 0..sim.random(3 * size as usize) {
                sim.deliver();
            }
            let hub = *sim.seats.keys().next().unwrap();
            let any = sim.random(size as usize) as u32;
            let victim = if sim.random(3) > 0 { hub } else { any };
            if sim.seats.len() > 1 {
                sim.kill(victim);
            }
            let decided: Vec<u32> = sim.decided.keys().copied().collect();
            for rank in decided {
                if leaves && sim.seats.len() > 1 {
                    sim.leave(rank);
                }
            }
        }
        sim.run(SEAL_LIMIT + 20 * STEP);
        let living: Vec<u32> = sim.seats.keys().copied().collect();
        for rank in living {
            prop_assert!(sim.decided.contains_key(&rank), "rank {} has no verdict", rank);
        }
        let verdicts: Vec<&Verdict> = sim.decided.values().collect();
        prop_assert!(verdicts.iter().all(|v| *v == verdicts[0]), "{:#?}", sim.decided);
    }

    #[test]
    fn a_late_rank_is_warned_of_then_blamed(size in 2..7u32, seed: u64, late: u32) {
        let (mut sim, late) = (Sim::new(size, seed), late % size);
        for (rank, seat) in &mut sim.seats {
            seat.calls = Calls { started: 7 + u64::from(*rank != late), finished: 7 };
        }
        sim.run(ARRIVAL - HEARTBEAT);
        sim.assert_no_failure();
        let expected: Vec<(u32, u64)> = vec![(late, 7)];
        let warned: BTreeSet<u32> = sim.warned.iter().map(|(rank, _)| *rank).collect();
        prop_assert_eq!(warned.len(), sim.warned.len(), "once a call: {:?}", &sim.warned);
        prop_assert_eq!(warned.len() as u32, size - 1);
        prop_assert!(sim.warned.iter().all(|(_, late)| *late == expected), "{:?}", &sim.warned);
        sim.run(STALL);
        prop_assert_eq!(sim.agreed(), (Some(late), Cause::Deadline));
    }

    #[test]
    fn only_a_call_that_moves_nowhere_is_stalled(
        size in 2..7u32, seed: u64, slow: u32, still: u32,
    ) {
        let (mut sim, slow, still) = (Sim::new(size, seed), slow % size, still % size);
        let wait = |peer| {
            let on = WaitOn::Message { peer, channel: 0, slot: 0 };
            Wait { block: 0, step: peer, window: 0, on }
        };
        for (rank, seat) in &mut sim.seats {
            seat.calls = Calls { started: 7, finished: 6 };
            // All say that they wait for one.
            seat.testimony.waits = vec![wait(still)];
            seat.testimony.testified = true;
            prop_assert!(*rank < size);
        }
        // One message each few seconds, on one rank, then none.
        for _ in 0..20 {
            sim.seats.get_mut(&slow).unwrap().moves += 1;
            sim.run(STALL / 2);
            sim.assert_no_failure();
        }
        sim.run(2 * STALL);
        prop_assert_eq!(sim.agreed(), (Some(still), Cause::Stalled));
        prop_assert!(sim.warned.is_empty(), "all had come");
    }

    #[test]
    fn reports_at_once_become_one_verdict(
        size in 1..7u32, seed: u64, causes in prop::collection::vec(cause(), 1..6),
    ) {
        let mut sim = Sim::new(size, seed);
        for cause in &causes {
            let rank = sim.random(size as usize) as u32;
            sim.feed(rank, Event::Reported(report(*cause, Some(rank), 0)));
            sim.shuffle();
        }
        sim.run(QUERY_LIMIT + 8 * STEP);
        prop_assert!(causes.contains(&sim.agreed().1));
    }

    #[test]
    fn a_report_reaches_those_who_stay_while_others_leave(
        size in 2..7u32, seed: u64, leavers in prop::collection::vec(0..6u32, 0..5),
    ) {
        let mut sim = Sim::new(size, seed);
        for leaver in leavers.iter().filter(|leaver| **leaver + 1 < size) {
            sim.leave(*leaver);
            sim.shuffle();
        }
        let reporter = size - 1;
        sim.feed(reporter, Event::Reported(report(Cause::Protocol, Some(reporter), 1)));
        sim.run(3 * LEAVE_LIMIT);
        prop_assert_eq!(sim.agreed(), (Some(reporter), Cause::Protocol));
    }

    #[test]
    fn a_stopped_rank_is_named_after_its_silence(size in 2..7u32, seed: u64, victim: u32) {
        let (mut sim, victim) = (Sim::new(size, seed), victim % size);
        let before = STEP * sim.random(60) as u32;
        sim.run(before);
        sim.seats.get_mut(&victim).unwrap().frozen = true;
        sim.run(SILENCE - HEARTBEAT - STEP);
        sim.assert_no_failure();
        sim.run(2 * HEARTBEAT + 20 * STEP);
        let stopped = sim.seats.remove(&victim).unwrap();
        prop_assert_eq!(sim.agreed(), (Some(victim), Cause::Silent));
        // When it goes on, it learns the verdict on itself, and blames nobody.
        sim.seats.insert(victim, Seat { frozen: false, ..stopped });
        sim.run(2 * HEARTBEAT);
        prop_assert_eq!(sim.agreed(), (Some(victim), Cause::Silent));
    }

    #[test]
    fn a_missed_deadline_is_blamed_on_the_rank_behind(
        size in 2..7u32, seed: u64, late: u32, reporter: u32,
    ) {
        let mut sim = Sim::new(size, seed);
        let (late, reporter) = (late % size, reporter % size);
        prop_assume!(late != reporter);
        for (rank, seat) in &mut sim.seats {
            seat.calls = Calls { started: 7 + u64::from(*rank != late), finished: 7 };
        }
        sim.feed(reporter, Event::Reported(report(Cause::Deadline, Some(reporter), 8)));
        sim.run(QUERY_LIMIT + 8 * STEP);
        prop_assert_eq!(sim.agreed(), (Some(late), Cause::Deadline));
    }

    #[test]
    fn arbitrary_messages_never_panic_nor_change_a_verdict(
        size in 2..7u32, seed: u64, messages in prop::collection::vec((0..6u32, message()), 0..40),
    ) {
        let mut sim = Sim::new(size, seed);
        for (to, message) in messages {
            let to = to % size;
            let from = if to == 0 { 1 } else { 0 };
            sim.feed(to, Event::Heard(from, message));
            sim.shuffle();
        }
        sim.run(SILENCE);
        for seat in sim.seats.values() {
            prop_assert!(seat.verdicts.len() <= 1 && seat.fails.len() <= 1);
        }
    }
}

/// One rank of three, fed by hand.
struct Single(State);

impl Single {
    fn new(rank: u32) -> Single {
        let hosts = vec![String::new(); 3];
        Single(State::new(rank, hosts, vec![0, 1, 2], TIMES))
    }

    /// What the rank does about these events.
    fn actions(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Action> {
        let now = Duration::from_millis(1);
        events.into_iter().for_each(|event| self.0.handle(now, event));
        std::iter::from_fn(|| self.0.action(now)).collect()
    }

    /// Rank 2 after the hub, rank 0, has left in order: it dials rank 1.
    fn of_an_orphan() -> Single {
        let mut single = Single::new(2);
        let leave = Event::Heard(0, Message::Leave { sequence: 1, calls: Vec::new() });
        let actions = single.actions([Event::Linked(0), leave]);
        assert!(actions.contains(&Action::Dial(1)), "{actions:?}");
        single
    }
}

fn fails(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Fail(_) | Action::Decide(_)))
}

#[test]
fn a_report_is_told_again_to_the_next_hub() {
    let mut orphan = Single::of_an_orphan();
    let report = report(Cause::Protocol, Some(1), 4);
    let early = orphan.actions([Event::Reported(report.clone())]);
    assert_eq!(early, [Action::Fail(report.clone())]);
    let later = orphan.actions([Event::Linked(1)]);
    assert!(
        later
            .contains(&Action::Send(1, Message::Report { report, by: 2, calls: Calls::default() })),
        "{later:?}"
    );
}

#[test]
fn a_rank_that_never_makes_its_link_is_silent() {
    let times = Times { links_due: 2 * SILENCE, ..TIMES };
    let mut hub = State::new(0, vec![String::new(); 2], vec![0, 1], times);
    let mut decided = None;
    for now in (0..=2 * SILENCE.as_secs()).map(Duration::from_secs) {
        assert_eq!(decided, None, "before all had their time");
        hub.handle(now, Event::Tick);
        let actions: Vec<Action> = std::iter::from_fn(|| hub.action(now)).collect();
        decided = actions.into_iter().find_map(|action| match action {
            Action::Decide(verdict) => Some((verdict.culprit, verdict.cause)),
            _ => None,
        });
    }
    assert_eq!(decided, Some((Some(1), Cause::Silent)));
}

#[test]
fn who_goes_after_a_failure_still_says_so() {
    let mut spoke = Single::new(1);
    let verdict = Verdict {
        culprit: None,
        culprit_host: String::new(),
        cause: Cause::Aborted,
        reporter: 0,
        detail: String::new(),
        sequence: 1,
        in_group: false,
        left_after: None,
        first_failed: 0,
        ends: None,
        conflict: None,
        statements: BTreeMap::new(),
        provisional: false,
    };
    let news = Message::sealed(&verdict);
    let actions =
        spoke.actions([Event::Linked(0), Event::Heard(0, news), Event::Leaving(9, Vec::new())]);
    let leave = Action::Send(0, Message::Leave { sequence: 9, calls: Vec::new() });
    assert!(actions.ends_with(&[leave, Action::Done]), "{actions:?}");
}

/// The verdict of rank 0 when rank 1, which left after its call 3, is blamed for the reporter's call `sequence`.
fn blamed_after_its_leave(sequence: u64) -> (Cause, Option<u64>) {
    let leave = Event::Heard(1, Message::Leave { sequence: 3, calls: Vec::new() });
    let report = report(Cause::Died, Some(1), sequence);
    let blame = Event::Heard(2, Message::Report { report, by: 2, calls: Calls::default() });
    // What it left after is inquired into: the calls may have differed.
    let [its, answer] = [1, 2].map(|rank| Event::Heard(rank, Message::Answer(Box::default())));
    let own = Event::Testified(Testimony::default());
    let known = Event::Heard(2, Message::Accepted { ballot: 0 });
    let actions = Single::new(0).actions([
        Event::Linked(1),
        Event::Linked(2),
        leave,
        blame,
        its,
        answer,
        own,
        known,
    ]);
    let mut verdicts = actions.into_iter().filter_map(|action| match action {
        Action::Decide(verdict) => Some((verdict.cause, verdict.left_after)),
        _ => None,
    });
    verdicts.next().unwrap()
}

#[test]
fn a_rank_that_left_in_order_is_to_blame_only_for_calls_after_its_last() {
    assert_eq!(blamed_after_its_leave(4), (Cause::Left, Some(3)));
    assert_eq!(blamed_after_its_leave(3), (Cause::Died, None));
}

mod leaving;
mod links;
mod retired;
