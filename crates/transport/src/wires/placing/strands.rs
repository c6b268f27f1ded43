//! Owns [`Strands`]: which lanes of a wire are on which of its devices, and by what each of these knows memory.
//!
//! A strand is the lanes of a wire on one device. Whatever is above the lanes names memory by the keys of the first
//! strand's device. Each end keeps what the other devices have in place of them: for its own memory, and for that of the
//! peer, which tells it before it names a place. Who does not know another device's key of some memory sends on the
//! first strand: that is always right, so what was told need not be kept for ever.

use std::collections::VecDeque;

use crate::wires::Keys;

/// Devices that a wire can be on, at most.
pub const MOST_STRANDS: usize = 4;
/// Pieces of memory whose keys an end keeps besides those that last: buffers of callers come and go.
const KEPT: usize = 512;
/// Bytes of a record that tells keys: the first device's, the others', and whether they last.
pub(super) const TOLD_BYTES: usize = 4 * (MOST_STRANDS + 1);

/// The keys of the devices behind the first.
pub(super) type Others = [u32; MOST_STRANDS - 1];

/// What a peer is told: the first device's remote key, the others', and whether they last as long as the wire.
pub(super) type Told = (u32, Others, bool);

/// The devices of a wire that is on several.
pub(super) struct Strands {
    /// By lane: which of the wire's devices it is on.
    of_lane: Vec<u8>,
    /// By what the others know memory of this end, by the first's local keys; and by its remote keys.
    local: Table,
    remote: Table,
    /// By what the peer's others know its memory, by its first's remote keys.
    theirs: Table,
    untold: VecDeque<Told>,
}

/// The other devices' keys, by the first's.
#[derive(Default)]
struct Table {
    lasting: Vec<(u32, Others)>,
    /// Those known first are forgotten first.
    passing: VecDeque<(u32, Others)>,
}

impl Table {
    fn find(&self, key: u32) -> Option<&Others> {
        let found = |(known, others)| if known == key { Some(others) } else { None };
        let passing = self.passing.iter().rev().map(|(known, others)| (*known, others));
        let mut all = self.lasting.iter().map(|(known, others)| (*known, others)).chain(passing);
        all.find_map(found)
    }

    /// Whether that is new.
    fn learn(&mut self, (key, others, lasts): Told) -> bool {
        if self.find(key) == Some(&others) {
            return false;
        }
        self.lasting.retain(|(known, _)| *known != key);
        self.passing.retain(|(known, _)| *known != key);
        if lasts {
            self.lasting.push((key, others));
            return true;
        }
        if self.passing.len() == KEPT {
            self.passing.pop_front();
        }
        self.passing.push_back((key, others));
        true
    }
}

impl Strands {
    /// Of lanes that are on the wire's devices `of_lane`, counted from 0; the first lane is on the first.
    pub fn new(of_lane: Vec<u8>) -> Self {
        let (local, remote, theirs) = Default::default();
        Self { of_lane, local, remote, theirs, untold: VecDeque::new() }
    }

    /// Whether a lane is on the first device.
    pub fn is_first(&self, lane: usize) -> bool {
        self.of_lane(lane) == 0
    }

    /// Which of the wire's devices a lane is on.
    pub fn of_lane(&self, lane: usize) -> usize {
        self.of_lane.get(lane).copied().unwrap_or(0).into()
    }

    /// By what the wire's devices know some memory of this end, the first of them first; if that is new, the peer is to
    /// be told.
    pub fn learn(&mut self, first: Keys, others: impl Iterator<Item = Keys>, lasts: bool) {
        let (mut local, mut remote) = (Others::default(), Others::default());
        for ((local, remote), keys) in local.iter_mut().zip(&mut remote).zip(others) {
            (*local, *remote) = (keys.local, keys.remote);
        }
        self.local.learn((first.local, local, lasts));
        if self.remote.learn((first.remote, remote, lasts)) {
            self.untold.push_back((first.remote, remote, lasts));
        }
    }

    /// What the peer says of its memory.
    pub fn hear(&mut self, told: Told) {
        self.theirs.learn(told);
    }

    /// What the peer does not know yet. Taken: the caller tells it.
    pub fn take_untold(&mut self) -> Option<Told> {
        self.untold.pop_front()
    }

    /// Whether there is anything to tell.
    pub fn owes(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The keys with which a lane writes from memory of this end to the peer's; `None` if they are not known.
    pub fn keys_on(&self, lane: usize, (from, to): (u32, u32)) -> Option<(u32, u32)> {
        match self.of_lane(lane).checked_sub(1) {
            None => Some((from, to)),
            Some(other) => {
                Some((*self.local.find(from)?.get(other)?, *self.theirs.find(to)?.get(other)?))
            }
        }
    }
}

/// A record that tells keys.
pub(super) fn encode((first, others, lasts): Told) -> [u8; TOLD_BYTES] {
    let mut out = [0; TOLD_BYTES];
    let words = [first].into_iter().chain(others).chain([u32::from(lasts)]);
    for (bytes, word) in out.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// The same, read.
pub(super) fn decode(bytes: &[u8]) -> Option<Told> {
    let mut words = [0; MOST_STRANDS + 1];
    for (word, bytes) in words.iter_mut().zip(bytes.get(..TOLD_BYTES)?.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().ok()?);
    }
    let [first, others @ .., lasts] = words;
    Some((first, others, lasts != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(local: u32, remote: u32) -> Keys {
        Keys { local, remote }
    }

    fn two() -> Strands {
        Strands::new(vec![0, 1])
    }

    #[test]
    fn a_lane_writes_with_its_own_devices_keys_and_not_before_both_ends_are_known() {
        let mut strands = two();
        strands.learn(keys(1, 11), [keys(2, 12)].into_iter(), true);
        assert_eq!(strands.keys_on(0, (1, 51)), Some((1, 51)));
        assert_eq!(strands.keys_on(1, (1, 51)), None, "the peer has not told its own");
        strands.hear((51, [52, 0, 0], true));
        assert_eq!(strands.keys_on(1, (1, 51)), Some((2, 52)));
        assert_eq!(strands.keys_on(1, (7, 51)), None);
        let told = strands.take_untold().unwrap();
        assert_eq!(decode(&encode(told)), Some((11, [12, 0, 0], true)));
        assert!(!strands.owes());
    }

    #[test]
    fn a_key_that_a_device_gives_anew_is_told_anew() {
        let mut strands = two();
        let mut told = |other| {
            strands.learn(keys(1, 11), [keys(2, other)].into_iter(), false);
            strands.take_untold()
        };
        assert_eq!(told(12), Some((11, [12, 0, 0], false)));
        assert_eq!(told(12), None);
        assert_eq!(told(13), Some((11, [13, 0, 0], false)));
    }

    #[test]
    fn what_lasts_is_kept_and_of_the_rest_the_last() {
        let mut strands = two();
        strands.hear((1, [2, 0, 0], true));
        strands.learn(keys(1, 1), [keys(2, 2)].into_iter(), true);
        for key in 10..10 + 2 * KEPT as u32 {
            strands.hear((key, [key + 1, 0, 0], false));
        }
        let known = |key| strands.keys_on(1, (1, key)).is_some();
        assert!(known(1) && known(9 + 2 * KEPT as u32) && !known(10));
        assert_eq!(strands.theirs.passing.len(), KEPT);
    }
}
