//! Owns the choice between the two ways of a pair: direct, or by the relay that enters the network on the receiver's
//! rail, as a function of the pair and of the length of its messages.
//!
//! G ranks that share the relay's wire send G wire messages direct, one after the other, and by the relay as few as its
//! groups allow; the price is a copy, which all make side by side. So a relay pays up to the largest b with
//!
//! ```text
//! (G − groups(b)) · wire message ≥ b / copy        groups(b) = ⌈G / min(8, ⌊longest group / b⌋)⌉
//! ```
//!
//! Where the direct way would cross rails the relay is taken at any length: what joins rails is shared by all of them.

use super::{Hop, Links, TOGETHER};

/// What the two ways of a pair differ by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sharing {
    /// Ranks of the sender's node whose messages to the receiver leave by the same relay, the sender among them.
    pub together: u64,
    /// Whether the direct way leaves on another rail than it arrives on.
    pub crosses: bool,
}

/// Up to which length a relay pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayPays {
    /// In messages shorter than so many bytes; 0 where it never does.
    Below(u64),
    /// At any length: the direct way crosses rails.
    Always,
}

impl RelayPays {
    /// The name that JSON has.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Below(0) => "never",
            Self::Below(_) => "below",
            Self::Always => "always",
        }
    }

    /// Of a pair whose messages go over such links.
    pub fn of(sharing: Sharing, links: &Links) -> Self {
        if sharing.crosses {
            return Self::Always;
        }
        let sizes = (2..=sharing.together.min(TOGETHER.into()))
            .map(|members| even(sharing.together, members, links));
        Self::Below(sizes.max().unwrap_or(0))
    }
}

/// The longest messages that pay while so many of them fit into a group: fewer members save less.
fn even(together: u64, members: u64, links: &Links) -> u64 {
    let Hop { wire_message_ns, group_bytes, .. } = links.between;
    let saved = u128::from(together - together.div_ceil(members)) * u128::from(wire_message_ns);
    let copy_mb_s = links.inside.relay_mb_s.unwrap_or(links.inside.mb_s);
    let copied = saved * u128::from(copy_mb_s) / 1000;
    u64::try_from(copied).unwrap_or(u64::MAX).min(group_bytes / members)
}

#[cfg(test)]
mod tests {
    use super::super::HopClass;
    use super::*;

    fn below(together: u64, links: &Links) -> u64 {
        match RelayPays::of(Sharing { together, crosses: false }, links) {
            RelayPays::Below(bytes) => bytes,
            RelayPays::Always => u64::MAX,
        }
    }

    #[test]
    fn a_relay_pays_as_long_as_what_it_saves_is_more_than_the_copy() {
        let host = [1, 2, 3, 4, 8].map(|together| below(together, &Links::HOST));
        assert_eq!(host, [0, 8_225, 16_450, 24_675, 41_125]);
        let rdma = Links { inside: HopClass::NvLinkHopper.hop(), ..Links::HOST };
        let rdma = Links { between: HopClass::Rdma.hop(), ..rdma };
        // 4 of 8 wire messages of 1 us are more than a copy of 64 KiB at 370.8 GB/s; of longer ones no two go together.
        assert_eq!([below(1, &rdma), below(8, &rdma)], [0, 65_536]);
    }

    #[test]
    fn more_ranks_on_a_wire_and_faster_copies_never_make_a_relay_pay_less_than_for_two() {
        let two = below(2, &Links::HOST);
        assert!((2..200).all(|together| below(together, &Links::HOST) >= two));
        let fast = Hop { relay_mb_s: None, ..Links::HOST.inside };
        let fast = Links { inside: fast, ..Links::HOST };
        assert!((2..200).all(|it| below(it, &fast) >= below(it, &Links::HOST)));
        assert!(below(u64::MAX, &Links::HOST) > 0);
    }

    #[test]
    fn what_would_cross_rails_goes_by_the_relay_at_any_length() {
        let alone = Sharing { together: 1, crosses: true };
        assert_eq!(RelayPays::of(alone, &Links::HOST), RelayPays::Always);
    }
}
