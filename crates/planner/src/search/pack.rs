//! Owns the packing of rings: so many of one speed that no link carries more of them than fit.
//!
//! A link of capacity C has ⌊C / speed⌋ *places*. A ring is a choice of its ends (which GPU it enters at and
//! which it leaves from, and by what) and then of the GPUs between, one after the other; each choice takes a
//! place of every link that its leg loads. The choice that comes first is the nearest kind of path, of these
//! the one that leaves most places free, of these the next GPU by number: on PCI trees that visits switch by
//! switch, behind NVSwitches it goes round, on a mesh it spares the links that are nearly full. Where none
//! fits the last choice is taken back. A budget of steps ends what takes too long, so what is found depends on
//! nothing but the input.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::model::{Leg, Model};

/// How a ring enters and leaves, or, inside one node, closes.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub first: u32,
    pub last: u32,
    /// Of ways between nodes: the ports in and out, and the relay out.
    pub nics: Option<(u32, u32, Option<u32>)>,
    /// Of what it loads; the kind is the worse of its two.
    pub leg: Leg,
}

/// A ring that was placed: by number its end, and its seats in order.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    pub end: u32,
    pub seats: Vec<u32>,
}

/// What rings are made of.
pub(super) struct Board<'a> {
    pub model: &'a Model,
    /// Ends that a ring may have; one list for each ring, or one for all.
    pub ends: Vec<Vec<End>>,
    /// Whether each ring comes with its reverse.
    pub mirrored: bool,
}

impl Board<'_> {
    pub fn ends(&self, ring: usize) -> &[End] {
        match self.ends.len() {
            1 => &self.ends[0],
            _ => &self.ends[ring],
        }
    }

    /// The legs from one seat to another, and back again where rings are mirrored.
    fn legs(&self, from: u32, to: u32) -> Option<[&[u32]; 2]> {
        let back: &[u32] = if self.mirrored { &self.model.hop(to, from)?.links } else { &[] };
        Some([&self.model.hop(from, to)?.links, back])
    }

    /// How often each link is loaded by these rings.
    pub fn uses(&self, rings: &[Ring]) -> Vec<u32> {
        let mut uses = alloc::vec![0; self.model.links.len()];
        for (ring, number) in rings.iter().zip(0..) {
            let end = &self.ends(number)[ring.end as usize].leg.links;
            let hops = ring.seats.windows(2).filter_map(|pair| self.legs(pair[0], pair[1]));
            for &link in hops.flatten().flatten().chain(end) {
                uses[link as usize] += 1;
            }
        }
        uses
    }
}

/// A choice on the way to a packing, and what of it is still untried.
struct Choice {
    options: Vec<u32>,
    tried: usize,
    taken: Option<u32>,
}

/// A search for one packing.
pub(super) struct Packing<'a> {
    board: &'a Board<'a>,
    wanted: usize,
    places: Vec<u32>,
    /// By seat: the links that end there, and those that begin there, where no other seat shares them.
    around: &'a [[Vec<u32>; 2]],
    rings: Vec<Ring>,
    seen: Vec<bool>,
    choices: Vec<Choice>,
}

impl<'a> Packing<'a> {
    pub fn new(
        board: &'a Board<'a>,
        wanted: usize,
        speed: u64,
        around: &'a [[Vec<u32>; 2]],
    ) -> Self {
        let links = board.model.links.iter();
        let places = links.map(|link| u32::try_from(link.capacity / speed).unwrap_or(u32::MAX));
        let places = places.collect();
        let seen = alloc::vec![false; board.model.seats.len()];
        let (rings, choices) = (Vec::new(), Vec::new());
        Self { board, wanted, places, around, rings, seen, choices }
    }

    /// Places all rings, if it can within `budget` steps, which it counts down.
    pub fn run(mut self, budget: &mut u64) -> Option<Vec<Ring>> {
        let seats = self.board.model.seats.len();
        self.choose();
        while let Some(mut choice) = self.choices.pop() {
            if let Some(taken) = choice.taken.take() {
                self.take_back(taken);
            }
            let fits = loop {
                let Some(&option) = choice.options.get(choice.tried) else { break None };
                *budget = budget.checked_sub(1)?;
                choice.tried += 1;
                if self.take(option) {
                    break Some(option);
                }
            };
            let Some(option) = fits else { continue };
            choice.taken = Some(option);
            self.choices.push(choice);
            if self.choices.len().is_multiple_of(seats) {
                if self.rings.len() == self.wanted {
                    return Some(self.rings);
                }
                if !self.can_go_on() {
                    continue;
                }
            }
            self.choose();
        }
        None
    }

    /// Whether this choice is the one of a ring's end.
    fn is_end(&self) -> bool {
        self.choices.len().is_multiple_of(self.board.model.seats.len())
    }

    /// The last seat of the ring that is being placed.
    fn goal(&self) -> Option<u32> {
        let ring = self.rings.last()?;
        Some(self.board.ends(self.rings.len() - 1)[ring.end as usize].last)
    }

    /// Lists the options of the next choice, the best first.
    fn choose(&mut self) {
        let options = if self.is_end() { self.end_options() } else { self.hop_options() };
        self.choices.push(Choice { options, tried: 0, taken: None });
    }

    fn end_options(&self) -> Vec<u32> {
        let ends = self.board.ends(self.rings.len());
        let mut options: Vec<_> = ends
            .iter()
            .zip(0u32..)
            .filter_map(|(end, number)| {
                let free = self.free(&end.leg.links)?;
                let sum: u64 =
                    end.leg.links.iter().map(|&link| u64::from(self.places[link as usize])).sum();
                Some(((end.leg.kind, Reverse(free), Reverse(sum)), number))
            })
            .collect();
        options.sort_unstable();
        options.into_iter().map(|(_, number)| number).collect()
    }

    fn hop_options(&self) -> Vec<u32> {
        let seats = self.board.model.seats.len() as u32;
        let (Some(&at), Some(goal)) =
            (self.rings.last().and_then(|ring| ring.seats.last()), self.goal())
        else {
            return Vec::new();
        };
        if (self.choices.len() + 1).is_multiple_of(seats as usize) {
            return alloc::vec![goal];
        }
        let open = (0..seats).filter(|&seat| seat != goal && !self.seen[seat as usize]);
        let mut options: Vec<_> = open
            .filter_map(|seat| {
                let kind = self.board.model.hop(at, seat)?.kind;
                let [there, back] = self.board.legs(at, seat)?;
                let free = self.free(there)?.min(self.free(back)?);
                Some(((kind, Reverse(free), (seat + seats - at) % seats), seat))
            })
            .collect();
        options.sort_unstable();
        options.into_iter().map(|(_, seat)| seat).collect()
    }

    /// The places that are free on all of these links; `None` where there is none.
    fn free(&self, links: &[u32]) -> Option<u32> {
        let free = links.iter().map(|&link| self.places[link as usize]).min().unwrap_or(u32::MAX);
        (free > 0).then_some(free)
    }

    /// Takes the option that the choice on top would be; says whether it fits. That choice is not in the list.
    fn take(&mut self, option: u32) -> bool {
        if !self.is_end() {
            let Some(&at) = self.rings.last().and_then(|ring| ring.seats.last()) else {
                return false;
            };
            let Some([there, back]) = self.board.legs(at, option) else { return false };
            if !load(&mut self.places, there) {
                return false;
            }
            if !load(&mut self.places, back) {
                unload(&mut self.places, there);
                return false;
            }
            self.seen[option as usize] = true;
            if let Some(ring) = self.rings.last_mut() {
                ring.seats.push(option);
            }
            return true;
        }
        let end = &self.board.ends(self.rings.len())[option as usize];
        if !load(&mut self.places, &end.leg.links) {
            return false;
        }
        self.seen.fill(false);
        self.seen[end.first as usize] = true;
        self.rings.push(Ring { end: option, seats: alloc::vec![end.first] });
        true
    }

    /// Undoes what the choice just removed from the list had taken.
    fn take_back(&mut self, option: u32) {
        if self.is_end() {
            self.rings.pop();
            let end = &self.board.ends(self.rings.len())[option as usize];
            unload(&mut self.places, &end.leg.links);
            return;
        }
        let Some(ring) = self.rings.last_mut() else { return };
        ring.seats.pop();
        let at = ring.seats.last().copied().unwrap_or(option);
        if let Some([there, back]) = self.board.legs(at, option) {
            unload(&mut self.places, there);
            unload(&mut self.places, back);
        }
        // The ring may have been whole, and another begun since.
        self.seen.fill(false);
        for &seat in self.rings.last().map_or(&[][..], |ring| &ring.seats) {
            self.seen[seat as usize] = true;
        }
    }

    /// Whether each seat can still be entered and left by each ring to come.
    fn can_go_on(&self) -> bool {
        let missing =
            (self.wanted - self.rings.len()) as u64 * if self.board.mirrored { 2 } else { 1 };
        self.around.iter().flatten().all(|links| {
            let free: u64 = links.iter().map(|&link| u64::from(self.places[link as usize])).sum();
            links.is_empty() || free >= missing
        })
    }
}

fn load(places: &mut [u32], links: &[u32]) -> bool {
    for (at, &link) in links.iter().enumerate() {
        match places[link as usize].checked_sub(1) {
            Some(left) => places[link as usize] = left,
            None => {
                unload(places, &links[..at]);
                return false;
            }
        }
    }
    true
}

fn unload(places: &mut [u32], links: &[u32]) {
    links.iter().for_each(|&link| places[link as usize] += 1);
}
