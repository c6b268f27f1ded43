//! Owns the search of one node: how many rings, at what speed, by which NICs, in which order of GPUs.
//!
//! Rings all have one speed, for a collective's data are dealt out to channels evenly. Where a link is full,
//! the speed is its capacity divided by the rings that load it; so only the capacities divided by 1, 2, 3, …
//! are speeds worth trying. Pairs of a count and such a speed are tried in the order of their product, from
//! the bound ([`super::bound`]) downwards, of nearly equal ones fewer rings first; what cannot be by counting places is passed
//! over, the rest is packed ([`super::pack`]). The first that is found is the best, unless packings before it
//! ran out of steps; these are shared out over a ladder of totals, so that one that cannot be reached takes
//! none from those below it.
//!
//! For each pair the kinds of ends are tried, those that cost least first:
//!
//! - inside one node a ring closes: `g0 → g1 → … → g0`, together with its reverse or alone;
//! - *closed* rings leave by the NIC that they came in by: `nic0 → g0 → … → g1 → nic0`, where two GPUs are near
//!   the NIC;
//! - *paired* rings leave by another NIC, and with each comes its reverse: `nic0 → g0 → … → g1 → nic1` and
//!   `nic1 → g1 → … → g0 → nic0`. The two swap their roles on every other node, so both rails stay rails;
//! - closed rings with a *relay*: the last GPU hands the data over NVLink to one that is near the NIC (PXN).

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cell::Cell;
use core::cmp::Reverse;

use crosstie_topo::PathKind;

use super::bound::{Scope, bound};
use super::model::{Leg, Model};
use super::pack::{Board, End, Packing, Ring};

/// Channels that a plan has at most: each costs every GPU a thread block. NCCL's search stops there too.
pub(super) const MOST_CHANNELS: u32 = 32;
/// Steps that a packing takes at most, but on large machines, and that all packings on one rung of the ladder do.
const STEPS_OF_ONE: u64 = 1_500;
const STEPS_OF_RUNG: u64 = 6_000;

/// The steps of one packing: a ring takes one for each of its GPUs, however many there are.
fn steps_of_one(model: &Model) -> u64 {
    STEPS_OF_ONE.max(2 * model.seats.len() as u64)
}

/// The ladder of totals, in thousandths of the bound. On each rung fewer rings come first.
const RUNGS: [u64; 15] = [999, 980, 950, 910, 860, 800, 740, 670, 600, 520, 440, 350, 250, 120, 0];

/// The worst paths between GPU and NIC that are taken, in the order in which they are tried. A farther one is
/// tried where the nearer leave more than a twentieth of what it might bring.
const REACHES: [PathKind; 3] = [PathKind::P2c, PathKind::Phb, PathKind::Sys];

/// A ring's way through a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// Seats in order.
    pub seats: Vec<u32>,
    /// Ports in and out, and the relay out.
    pub nics: Option<(u32, u32, Option<u32>)>,
}

/// What was found for a node.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// MB/s of each ring.
    pub speed: u64,
    /// In `paired` rings 2k and 2k + 1 are each other's reverse.
    pub ways: Vec<Way>,
    pub paired: bool,
    /// Whether some packing of faster ones was given up for it ran out of steps.
    pub gave_up: bool,
}

impl Found {
    pub fn total(&self) -> u64 {
        self.speed * self.ways.len() as u64
    }

    /// The same rings, each so many times at a part of its speed; `None` where that makes too many channels.
    pub fn in_parts(&self, parts: u32) -> Option<Self> {
        let count = self.ways.len() as u32 * parts;
        let ways = || self.ways.iter().cloned().cycle().take(count as usize).collect();
        let speed = self.speed / u64::from(parts);
        (parts == 1 || count <= MOST_CHANNELS).then(|| Self { speed, ways: ways(), ..*self })
    }
}

/// What a search of one node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Rings that close inside the node.
    Inside,
    /// Rings between nodes, closed or paired.
    Between,
    /// Rings between nodes, closed only.
    Closed,
}

impl Want {
    fn scope(self, reach: PathKind) -> Scope {
        match self {
            Self::Inside => Scope::Inside,
            Self::Between => Scope::Between { reach },
            Self::Closed => Scope::Closed { reach },
        }
    }
}

/// The best rings of a node; `None` where it has none of this kind.
pub(super) fn search(model: &Model, want: Want) -> Option<Found> {
    let around = around(model);
    let (mut best, mut gave_up): (Option<Found>, bool) = (None, false);
    let reaches: &[PathKind] = if want == Want::Inside { &[PathKind::Sys] } else { &REACHES };
    for &reach in reaches {
        let limit = bound(model, want.scope(reach)).map_or(model.channel_limit, |it| it.mb_s);
        let least = best.as_ref().map_or(0, Found::total);
        if limit > least + least / 20 {
            let boards = Boards::new(model, want, reach);
            let failed = Vec::new();
            let mut search = Search { model, around: &around, boards, failed, gave_up: false };
            let found = search.run(limit, least);
            gave_up |= search.gave_up;
            best = found.or(best);
        }
    }
    best.map(|best| Found { gave_up, ..best })
}

/// Ways through a node by given ports: for each ring those that it may come in by and go out by. The fastest,
/// at no more than `speed`.
pub(super) fn through(model: &Model, rings: &[[Vec<u32>; 2]], speed: u64) -> Option<Found> {
    let around = around(model);
    let (mut best, gave_up): (Option<Found>, _) = (None, Cell::new(false));
    for reach in REACHES {
        if best.as_ref().is_some_and(|best| best.speed + best.speed / 20 >= speed) {
            break;
        }
        let ends = rings.iter().map(|[ins, outs]| given(model, reach, ins, outs)).collect();
        let board = Board { model, ends, mirrored: false };
        if (0..rings.len()).any(|ring| board.ends(ring).is_empty()) {
            continue;
        }
        let pack = |at: u64| {
            let mut steps = steps_of_one(model);
            let packed = Packing::new(&board, rings.len(), at, &around).run(&mut steps);
            gave_up.set(gave_up.get() || steps == 0);
            packed.map(|rings| finish(&board, &rings, speed))
        };
        // Nothing limits the first but what is nearest; the others must be faster than the one before.
        let Some(mut found) = pack(1) else { continue };
        let speeds = speeds(model, speed);
        let (mut low, mut high) = (speeds.partition_point(|&at| at <= found.speed), speeds.len());
        while low < high {
            let middle = low.midpoint(high);
            match pack(speeds[middle]) {
                Some(faster) => (found, low) = (faster, middle + 1),
                None => high = middle,
            }
        }
        if best.as_ref().is_none_or(|best| best.speed < found.speed) {
            best = Some(found);
        }
    }
    best.map(|best| Found { gave_up: gave_up.get(), ..best })
}

/// What ends rings may have, and whether each comes with its reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Cycles { mirrored: bool },
    Closed { relays: bool },
    Paired,
}

impl Ends {
    /// Those to try, in order.
    fn of(want: Want) -> &'static [Self] {
        match want {
            Want::Inside => &[Self::Cycles { mirrored: true }, Self::Cycles { mirrored: false }],
            Want::Between => {
                &[Self::Closed { relays: false }, Self::Paired, Self::Closed { relays: true }]
            }
            Want::Closed => &[Self::Closed { relays: false }, Self::Closed { relays: true }],
        }
    }

    fn board(self, model: &Model, reach: PathKind) -> Board<'_> {
        let (ends, mirrored) = match self {
            Self::Cycles { mirrored } => (cycles(model, mirrored), mirrored),
            Self::Closed { relays } => (closed(model, reach, relays), false),
            Self::Paired => (paired(model, reach), true),
        };
        Board { model, ends: alloc::vec![ends], mirrored }
    }
}

/// The boards that are tried for each pair of count and speed, made when they are needed.
struct Boards<'a> {
    model: &'a Model,
    want: Want,
    reach: PathKind,
    made: Vec<Board<'a>>,
}

impl<'a> Boards<'a> {
    fn new(model: &'a Model, want: Want, reach: PathKind) -> Self {
        Self { model, want, reach, made: Vec::new() }
    }

    fn count(&self) -> usize {
        Ends::of(self.want).len()
    }

    fn board(&mut self, number: usize) -> &Board<'a> {
        while self.made.len() <= number {
            self.made.push(Ends::of(self.want)[self.made.len()].board(self.model, self.reach));
        }
        &self.made[number]
    }
}

struct Search<'a> {
    model: &'a Model,
    around: &'a [[Vec<u32>; 2]],
    boards: Boards<'a>,
    /// By board, count and speed what was tried in vain: more rings, or faster ones, will not fit either.
    failed: Vec<(usize, u32, u64)>,
    /// Whether some of it was tried with too few steps.
    gave_up: bool,
}

impl Search<'_> {
    /// The best packing of more than `least` in total.
    fn run(&mut self, limit: u64, least: u64) -> Option<Found> {
        let inside = self.model.inside();
        let mut candidates = candidates(self.model, limit).peekable();
        for rung in RUNGS {
            let (lowest, mut steps) = ((limit * rung).div_ceil(1000).max(least + 1), STEPS_OF_RUNG);
            let here = core::iter::from_fn(|| candidates.next_if(|&(total, ..)| total >= lowest));
            let mut here: Vec<_> =
                here.filter(|&(_, count, speed)| self.can_be(&inside, count, speed)).collect();
            here.sort_by_key(|&(total, count, _)| (count, Reverse(total)));
            for (_, count, speed) in here {
                let mut boards = 0..self.boards.count();
                if let Some(found) =
                    boards.find_map(|board| self.pack(board, count, speed, &mut steps))
                {
                    return Some(found);
                }
            }
        }
        // Whatever the ladder: one ring, as fast as it happens to be.
        let any = (0..self.boards.count()).find_map(|board| {
            let count = 1 + u32::from(self.boards.board(board).mirrored);
            let mut steps = STEPS_OF_RUNG;
            self.pack(board, count, 1, &mut steps)
        });
        any.filter(|found| found.total() > least)
    }

    fn pack(&mut self, number: usize, count: u32, speed: u64, steps: &mut u64) -> Option<Found> {
        if *steps == 0 {
            self.gave_up = true;
            return None;
        }
        let board = self.boards.board(number);
        let each = 1 + u32::from(board.mirrored);
        let hopeless = |&(other, rings, at): &(usize, u32, u64)| {
            other == number && rings <= count && at <= speed
        };
        if board.ends(0).is_empty()
            || !count.is_multiple_of(each)
            || self.failed.iter().any(hopeless)
        {
            return None;
        }
        let mut few = steps_of_one(self.model).min(*steps);
        let before = few;
        let packing = Packing::new(board, (count / each) as usize, speed, self.around);
        let packed = packing.run(&mut few);
        *steps -= before - few;
        match packed {
            Some(rings) => Some(finish(board, &rings, self.model.channel_limit)),
            None => {
                self.gave_up |= few == 0;
                self.failed.push((number, count, speed));
                None
            }
        }
    }

    /// Whether the seats' links have places enough, by counting alone: each ring comes to each seat from
    /// another one, but, between nodes, for the one that it enters at; likewise it leaves.
    fn can_be(&self, inside: &[bool], count: u32, speed: u64) -> bool {
        let spare = if self.boards.want == Want::Inside { 0 } else { u64::from(count) };
        [0, 1].iter().all(|&side| {
            let missing = self.around.iter().map(|around| {
                let links = around[side].iter().filter(|&&link| inside[link as usize]);
                let places: u64 =
                    links.map(|&link| self.model.links[link as usize].capacity / speed).sum();
                if around[side].is_empty() { 0 } else { u64::from(count).saturating_sub(places) }
            });
            self.around.len() < 2 || missing.sum::<u64>() <= spare
        })
    }
}

/// By seat: the links that end there, and those that begin there; none where other seats share the vertex.
fn around(model: &Model) -> Vec<[Vec<u32>; 2]> {
    let around = |seat: &super::model::Seat| {
        let shared = model.seats.iter().filter(|other| other.vertex == seat.vertex).count() > 1;
        let links = || model.links.iter().zip(0u32..).filter(|_| !shared);
        let ending = links().filter(|(link, _)| link.to == seat.vertex).map(|(_, number)| number);
        let beginning =
            links().filter(|(link, _)| link.from == seat.vertex).map(|(_, number)| number);
        [ending.collect(), beginning.collect()]
    };
    model.seats.iter().map(around).collect()
}

/// The speeds at which some link is full, up to `most`, in rising order.
fn speeds(model: &Model, most: u64) -> Vec<u64> {
    let mut capacities: Vec<u64> = model.links.iter().map(|link| link.capacity).collect();
    capacities.sort_unstable();
    capacities.dedup();
    let parts = capacities
        .iter()
        .flat_map(|capacity| (1..=u64::from(MOST_CHANNELS)).map(move |part| capacity / part));
    let mut speeds: Vec<u64> =
        parts.chain([most]).filter(|&speed| 0 < speed && speed <= most).collect();
    speeds.sort_unstable();
    speeds.dedup();
    speeds
}

/// Products, counts and speeds, up to `limit`, the largest product first, of these the fewest rings.
fn candidates(model: &Model, limit: u64) -> impl Iterator<Item = (u64, u32, u64)> {
    let speeds = speeds(model, model.channel_limit.min(limit));
    let most = |speed: u64| u32::try_from(limit / speed).unwrap_or(u32::MAX).min(MOST_CHANNELS);
    let next = move |count: u32, speed: u64| (u64::from(count) * speed, Reverse(count), speed);
    let mut heap: BinaryHeap<_> = speeds.iter().map(|&speed| next(most(speed), speed)).collect();
    core::iter::from_fn(move || {
        let (total, Reverse(count), speed) = heap.pop()?;
        if count > 1 {
            heap.push(next(count - 1, speed));
        }
        Some((total, count, speed))
    })
}

/// The ways that a packing means, at the speed that its links allow.
fn finish(board: &Board<'_>, rings: &[Ring], most: u64) -> Found {
    let uses = board.uses(rings);
    let links = board.model.links.iter().zip(&uses).filter(|&(_, &uses)| uses > 0);
    let speed =
        links.map(|(link, &uses)| link.capacity / u64::from(uses)).min().unwrap_or(most).min(most);
    let mut ways = Vec::new();
    for (ring, number) in rings.iter().zip(0..) {
        let end = &board.ends(number)[ring.end as usize];
        ways.push(Way { seats: ring.seats.clone(), nics: end.nics });
        if board.mirrored {
            let mut seats: Vec<u32> = ring.seats.iter().rev().copied().collect();
            // A ring that closes in the node may begin anywhere: let all begin alike.
            if end.nics.is_none() {
                seats.rotate_right(1);
            }
            ways.push(Way { seats, nics: end.nics.map(|(from, to, relay)| (to, from, relay)) });
        }
    }
    let paired = ways.iter().any(|way| way.nics.is_some_and(|(from, to, _)| from != to));
    Found { speed, ways, paired, gave_up: false }
}

/// Rings that close: they begin at the first seat.
fn cycles(model: &Model, mirrored: bool) -> Vec<End> {
    let seats = model.seats.len() as u32;
    let end = |last: u32| {
        let mut leg = model.hop(last, 0)?.clone();
        if mirrored {
            leg = leg.then(model.hop(0, last)?, leg.kind);
        }
        Some(End { first: 0, last, nics: None, leg })
    };
    match seats {
        1 => alloc::vec![End {
            first: 0,
            last: 0,
            nics: None,
            leg: Leg { kind: PathKind::Loc, links: Vec::new() }
        }],
        _ => (1..seats).rev().filter_map(end).collect(),
    }
}

/// The worst path that is taken to a port: one by switches, or where no seat has such, the best that any has.
fn nearness(model: &Model, reach: PathKind, port: u32) -> PathKind {
    let legs = (0..model.seats.len() as u32).filter_map(|seat| model.enter(port, seat));
    let best = legs.map(|leg| leg.kind).min();
    best.map_or(reach, |best| best.max(PathKind::P2c).min(reach))
}

/// What leads into the node by a port and out by another: directly, or, where asked, also by relays. Where
/// nothing near does, one side may be farther.
fn pass(model: &Model, reach: PathKind, [from, to]: [u32; 2], relays: bool) -> Vec<End> {
    let (near_in, near_out) = (nearness(model, reach, from), nearness(model, reach, to));
    let ends = pass_within(model, [from, to], [near_in, near_out], relays);
    if !ends.is_empty() {
        return ends;
    }
    let farther = [[near_in, reach], [reach, near_out]];
    farther.into_iter().flat_map(|reach| pass_within(model, [from, to], reach, relays)).collect()
}

fn pass_within(
    model: &Model,
    [from, to]: [u32; 2],
    reach: [PathKind; 2],
    relays: bool,
) -> Vec<End> {
    let seats = model.seats.len() as u32;
    let mut ends = Vec::new();
    for first in 0..seats {
        let Some(enter) = model.enter(from, first).filter(|leg| leg.kind <= reach[0]) else {
            continue;
        };
        for last in (0..seats).filter(|&last| seats == 1 || last != first) {
            let mut end = |leave: &Leg, relay: Option<u32>| {
                let leg = enter.then(leave, enter.kind.max(leave.kind));
                ends.push(End { first, last, nics: Some((from, to, relay)), leg });
            };
            if let Some(leave) = model.leave(last, to).filter(|leg| leg.kind <= reach[1]) {
                end(leave, None);
            }
            for relayed in model.relayed(last, to).filter(|_| relays) {
                end(&relayed.leg, Some(relayed.relay));
            }
        }
    }
    ends
}

/// Rings that leave by the port that they came in by.
fn closed(model: &Model, reach: PathKind, relays: bool) -> Vec<End> {
    let ports = 0..model.ports.len() as u32;
    ports.flat_map(|port| pass(model, reach, [port, port], relays)).collect()
}

/// Rings with their reverses, which between them leave by the ports that they came in by.
fn paired(model: &Model, reach: PathKind) -> Vec<End> {
    let mut ends = Vec::new();
    for from in 0..model.ports.len() as u32 {
        for to in partners(model, from) {
            for mut end in pass(model, reach, [from, to], false) {
                let back = model.enter(to, end.last).zip(model.leave(end.first, from));
                let Some((enter, leave)) =
                    back.filter(|(enter, leave)| enter.kind.max(leave.kind) <= reach)
                else {
                    continue;
                };
                if from == to && end.first > end.last {
                    continue;
                }
                end.leg = end.leg.then(&enter.then(leave, enter.kind), end.leg.kind);
                ends.push(end);
            }
        }
    }
    ends
}

/// Pairs that are tried for a port: itself and some of those after it; of a rack's many, its neighbours do.
fn partners(model: &Model, port: u32) -> impl Iterator<Item = u32> + use<> {
    const NEIGHBOURS: u32 = 15;
    port..(model.ports.len() as u32).min(port + 1 + NEIGHBOURS)
}

/// Ends by given ports: directly where some seat is near enough to leave, else by relays too.
fn given(model: &Model, reach: PathKind, ins: &[u32], outs: &[u32]) -> Vec<End> {
    let pairs = ins.iter().flat_map(|&from| outs.iter().map(move |&to| [from, to]));
    pairs.flat_map(|pair| pass(model, reach, pair, true)).collect()
}
