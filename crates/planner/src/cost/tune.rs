//! Owns tune tables: times that were measured, by the shape of the world, the collective and the algorithm.
//!
//! What a table says of a world:
//! 1. Of the shapes with the world's reach that it has for the collective, the nearest counts: the one whose
//!    nodes and ranks per node differ by the least factors, multiplied; of equals the one with fewer ranks.
//! 2. Between two points lies a line. Below the smallest size its time stands; beyond the largest, time grows as
//!    the model says that it does.
//! 3. Where the shape is another than the world's, times are scaled by what the model makes of the difference.
//! 4. Algorithms that were not measured do not compete with those that were.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crosstie_ir::Collective;

use super::{HopClass, Links, Work, predict};
use crate::{Algorithm, Nodes, Reach};

/// The form of a world, as far as it decides times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// Nodes.
    pub nodes: u32,
    /// Ranks of the largest node.
    pub ranks_per_node: u32,
}

impl Shape {
    /// Of a world.
    pub fn of(nodes: &Nodes) -> Self {
        let largest = || {
            let mut sizes = alloc::collections::BTreeMap::new();
            nodes.assignment().iter().for_each(|node| *sizes.entry(node).or_insert(0) += 1);
            sizes.into_values().max().unwrap_or(1)
        };
        let ranks_per_node = nodes.per_node().unwrap_or_else(largest);
        Self { nodes: nodes.count(), ranks_per_node }
    }

    /// Ranks of a world whose nodes are all of that size.
    pub fn ranks(&self) -> u64 {
        u64::from(self.nodes) * u64::from(self.ranks_per_node)
    }

    /// By which factor it differs, in 1/256.
    fn distance(&self, other: &Self) -> u64 {
        let factor = |a: u32, b: u32| {
            let (a, b) = (u64::from(a.max(1)), u64::from(b.max(1)));
            (a.max(b) << 8) / a.min(b)
        };
        factor(self.nodes, other.nodes) * factor(self.ranks_per_node, other.ranks_per_node)
    }
}

/// A measured time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point {
    /// Of the larger of what a rank sends and receives.
    pub bytes: u64,
    /// Nanoseconds of a call on the slowest rank; above 0.
    pub time_ns: u64,
}

/// The times of one algorithm in one world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How far messages had to go.
    pub reach: Reach,
    /// The world.
    pub shape: Shape,
    /// What was computed; around rank 0 where there is a root.
    pub collective: Collective,
    /// How.
    pub algorithm: Algorithm,
    /// Times by size, ascending; at least one.
    pub points: Vec<Point>,
}

/// How a table came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// The model of the processors.
    pub cpu: String,
    /// How many of them the ranks shared.
    pub cores: u32,
    /// When, as told by whoever ran it.
    pub date: String,
    /// The version of this library.
    pub version: String,
    /// The command.
    pub command: String,
}

/// A table of measured times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tune {
    /// How it came to be.
    pub provenance: Provenance,
    /// The times; no two of one algorithm, collective, shape and reach.
    pub entries: Vec<Entry>,
}

impl Tune {
    /// What this library was measured to take, as `crosstie tune` wrote it; to be read once and kept.
    pub fn built_in() -> Self {
        Self::from_json(include_bytes!("built_in.json")).expect("a test reads it")
    }

    /// The links that its times were measured over.
    pub fn hops(&self) -> BTreeSet<HopClass> {
        self.entries.iter().flat_map(|entry| entry.reach.hops()).copied().collect()
    }

    /// The entries of the shape that counts in such a world, of algorithms that `suits` takes; none where the
    /// table says nothing of it.
    pub fn nearest(
        &self,
        reach: Reach,
        shape: Shape,
        collective: Collective,
        suits: impl Fn(Algorithm) -> bool,
    ) -> Vec<&Entry> {
        let fits = |entry: &&Entry| {
            entry.reach == reach
                && entry.collective.code() == collective.code()
                && suits(entry.algorithm)
        };
        let all: Vec<&Entry> = self.entries.iter().filter(fits).collect();
        let order =
            |entry: &&&Entry| (entry.shape.distance(&shape), entry.shape.ranks(), entry.shape);
        let Some(nearest) = all.iter().min_by_key(order).map(|entry| entry.shape) else {
            return all;
        };
        all.into_iter().filter(|entry| entry.shape == nearest).collect()
    }
}

impl Entry {
    /// The time of a buffer of `whole` bytes in a world of `shape`, for whose links the model speaks.
    pub fn time_ns(&self, shape: Shape, links: &Links, whole: u64) -> u64 {
        let model = |shape: Shape, bytes: u64| {
            let work = Work::of(self.collective, self.algorithm, shape);
            predict(&work, links, bytes).time_ns
        };
        let last = self.points[self.points.len() - 1];
        let measured = match whole > last.bytes {
            true => scaled(last.time_ns, model(self.shape, whole), model(self.shape, last.bytes)),
            false => self.between(whole),
        };
        match shape == self.shape {
            true => measured,
            false => scaled(measured, model(shape, whole), model(self.shape, whole)),
        }
    }

    /// On the line between the points around a size that none is beyond.
    fn between(&self, whole: u64) -> u64 {
        let above = self.points.partition_point(|point| point.bytes < whole);
        let high = self.points[above.min(self.points.len() - 1)];
        let Some(low) = above.checked_sub(1).map(|below| self.points[below]) else {
            return high.time_ns;
        };
        let (part, span) = (u128::from(whole - low.bytes), u128::from(high.bytes - low.bytes));
        let [from, to] = [low, high].map(|point| u128::from(point.time_ns));
        let time = (from * (span - part) + to * part) / span;
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

fn scaled(time_ns: u64, by: u64, of: u64) -> u64 {
    let scaled = u128::from(time_ns) * u128::from(by.max(1)) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX).max(1)
}
