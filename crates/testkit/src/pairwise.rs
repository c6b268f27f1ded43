//! Owns samples of a space of combinations: few of them, in which every pair of values meets that can
//! meet.

use std::collections::BTreeSet;

use crate::random::Random;

/// One value of one axis, both by number.
type Value = (usize, usize);

/// How many beginnings are tried for each combination, of which the one with most new pairs is taken.
const BEGINNINGS: usize = 20;
/// Random completions of a pair that are tried before it counts as one that no combination has.
const COMPLETIONS: usize = 10_000;

/// Combinations of one value for each axis.
///
/// An axis is given by how many values it has; they are numbers from 0.
pub struct Combinations<'a> {
    axes: &'a [usize],
    exists: &'a dyn Fn(&[usize]) -> bool,
}

impl<'a> Combinations<'a> {
    /// The combinations of `axes` that exist.
    pub const fn new(axes: &'a [usize], exists: &'a dyn Fn(&[usize]) -> bool) -> Self {
        Self { axes, exists }
    }

    /// All of them, in lexical order.
    pub fn all(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let count: usize = self.axes.iter().product();
        (0..count).map(|number| self.nth(number)).filter(|values| (self.exists)(values))
    }

    /// Some of them, so that each pair of values that one of all contains is in one of these.
    ///
    /// The seed decides which. A pair counts as impossible when 10,000 random completions of it do
    /// not exist, so `exists` must not be very rare among those.
    pub fn pairwise(&self, seed: u64) -> Vec<Vec<usize>> {
        let mut random = Random::new(seed);
        let mut missing = self.pairs_of_axes();
        let mut chosen = Vec::new();
        // From a random place on, so that the pairs of the first axes are not all taken first.
        while let Some(pair) = nth_or_first(&missing, random.below(missing.len() as u64)) {
            let beginnings = (0..BEGINNINGS).map_while(|_| self.complete(pair, &mut random));
            let grown = beginnings.map(|values| self.grow(values, pair, &missing)).collect();
            match most_new(grown, &missing) {
                Some(values) => {
                    for pair in pairs(&values) {
                        missing.remove(&pair);
                    }
                    chosen.push(values);
                }
                None => drop(missing.remove(&pair)),
            }
        }
        chosen
    }

    fn nth(&self, mut number: usize) -> Vec<usize> {
        let mut values = vec![0; self.axes.len()];
        for (value, &count) in values.iter_mut().zip(self.axes).rev() {
            *value = number % count;
            number /= count;
        }
        values
    }

    fn pairs_of_axes(&self) -> BTreeSet<[Value; 2]> {
        let values = |axis: usize| (0..self.axes[axis]).map(move |value| (axis, value));
        let axes = 0..self.axes.len();
        let of_axis = |first| (first + 1..self.axes.len()).map(move |second| (first, second));
        axes.flat_map(of_axis)
            .flat_map(|(first, second)| {
                values(first).flat_map(move |a| values(second).map(move |b| [a, b]))
            })
            .collect()
    }

    /// A random combination that exists and has this pair.
    fn complete(&self, pair: [Value; 2], random: &mut Random) -> Option<Vec<usize>> {
        (0..COMPLETIONS).find_map(|_| {
            let mut values: Vec<usize> =
                self.axes.iter().map(|&count| random.below(count as u64) as usize).collect();
            for (axis, value) in pair {
                values[axis] = value;
            }
            (self.exists)(&values).then_some(values)
        })
    }

    /// Gives each axis outside the pair the value that adds most new pairs, one after the other.
    fn grow(
        &self,
        mut values: Vec<usize>,
        pair: [Value; 2],
        missing: &BTreeSet<[Value; 2]>,
    ) -> Vec<usize> {
        for axis in
            (0..self.axes.len()).filter(|&axis| pair.iter().all(|&(fixed, _)| fixed != axis))
        {
            let mut best = (new_pairs(&values, missing), values[axis]);
            for value in 0..self.axes[axis] {
                values[axis] = value;
                let gain = new_pairs(&values, missing);
                if gain > best.0 && (self.exists)(&values) {
                    best = (gain, value);
                }
            }
            values[axis] = best.1;
        }
        values
    }
}

/// Every pair of values in a combination.
pub fn pairs(values: &[usize]) -> impl Iterator<Item = [Value; 2]> + '_ {
    let value = |axis: usize| (axis, values[axis]);
    (0..values.len()).flat_map(move |a| (a + 1..values.len()).map(move |b| [value(a), value(b)]))
}

fn new_pairs(values: &[usize], missing: &BTreeSet<[Value; 2]>) -> usize {
    pairs(values).filter(|pair| missing.contains(pair)).count()
}

fn most_new(grown: Vec<Vec<usize>>, missing: &BTreeSet<[Value; 2]>) -> Option<Vec<usize>> {
    grown.into_iter().max_by_key(|values| new_pairs(values, missing))
}

fn nth_or_first(set: &BTreeSet<[Value; 2]>, n: u64) -> Option<[Value; 2]> {
    set.iter().nth(n as usize).or_else(|| set.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(sample: &[Vec<usize>]) -> BTreeSet<[Value; 2]> {
        sample.iter().flat_map(|values| pairs(values).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_sample_has_every_pair_that_can_be_and_only_what_exists() {
        let never_alone = |values: &[usize]| (values[0] == 0) == (values[3] > 1);
        for seed in 0..20 {
            let axes = [3, 4, 2, 5];
            let space = Combinations::new(&axes, &never_alone);
            let all: Vec<_> = space.all().collect();
            let sample = space.pairwise(seed);
            assert!(sample.iter().all(|values| all.contains(values)), "seed {seed}");
            assert_eq!(covered(&sample), covered(&all), "seed {seed}");
        }
    }

    #[test]
    fn a_sample_is_far_smaller_than_all_and_near_what_two_axes_need() {
        let axes = [4, 5, 13, 14, 4, 2, 2];
        let all = axes.iter().product::<usize>();
        let sample = Combinations::new(&axes, &|_| true).pairwise(1);
        assert!((13 * 14..13 * 14 * 5 / 4).contains(&sample.len()), "{} of {all}", sample.len());
    }

    #[test]
    fn the_seed_decides_the_sample() {
        let axes = [3, 3, 3, 3];
        let sample = |seed| Combinations::new(&axes, &|_| true).pairwise(seed);
        assert_eq!(sample(7), sample(7));
        assert_ne!(sample(7), sample(8));
    }

    #[test]
    fn all_are_all_once() {
        let axes = [2, 3, 2];
        let odd = |values: &[usize]| values.iter().sum::<usize>() % 2 == 1;
        let all: Vec<_> = Combinations::new(&axes, &odd).all().collect();
        assert_eq!(all.len(), 6);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 6);
        assert!(all.iter().all(|values| odd(values)));
    }
}
