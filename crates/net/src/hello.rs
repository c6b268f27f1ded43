//! Owns the first bytes on every link: the dialler's hello and the listener's answer, and their encoding.
//!
//! Both have a fixed size, and all fields here keep their place in every protocol version, so that two releases
//! that do not understand each other can still name each other. Integers are little-endian.
//!
//! | hello | bytes | | answer | bytes |
//! |---|---|---|---|---|
//! | magic | 0..8 | | magic | 0..8 |
//! | major, minor | 8..12 | | major, minor | 8..12 |
//! | features | 12..16 | | features | 12..16 |
//! | world id | 16..24 | | outcome | 16 |
//! | label | 24..32 | | host length | 17 |
//! | target kind, purpose, rank known, host length | 32..36 | | host | 18..82 |
//! | target rank | 36..40 | | zero | 82..88 |
//! | dialling rank | 40..44 | | | |
//! | host | 44..108 | | | |
//! | zero | 108..112 | | | |

use std::fmt;

use crate::secret::WorldId;
use crate::version::Version;

const MAGIC: [u8; 8] = *b"crosstie";
const ANSWER_MAGIC: [u8; 8] = *b"eitssorc";
const HOST_BYTES: usize = 64;

/// Size of an encoded [`Hello`].
pub(crate) const HELLO_BYTES: usize = 112;
/// Size of an encoded [`Answer`].
pub(crate) const ANSWER_BYTES: usize = 88;

/// Optional abilities that this release has, one bit each. None is defined yet.
const FEATURES: u32 = 0;

/// Whom a link is for within a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// Whoever serves the world's meeting.
    Meeting,
    /// This rank.
    Rank(u32),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Meeting => f.write_str("the meeting"),
            Target::Rank(rank) => write!(f, "rank {rank}"),
        }
    }
}

/// What a link is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Telling who one is, and learning who the others are.
    Meeting,
    /// Heartbeats, reports of failures, the verdict.
    Monitor,
    /// A transport's bytes.
    Data,
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Purpose::Meeting => "the meeting",
            Purpose::Monitor => "the monitor",
            Purpose::Data => "data",
        }
    }
}

/// What a dialler says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub version: Version,
    pub world: WorldId,
    pub target: Target,
    pub purpose: Purpose,
    pub from: Option<u32>,
    pub label: u64,
    pub host: String,
}

/// Why bytes are no hello that this release understands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BadHello {
    Garbage,
    Version { theirs: Version, host: String, world: WorldId, target: Option<Target> },
}

impl Hello {
    pub(crate) fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        put_head(&mut out, MAGIC, self.version);
        out[16..24].copy_from_slice(&self.world.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.label.to_le_bytes());
        let (kind, rank) = match self.target {
            Target::Meeting => (0, 0),
            Target::Rank(rank) => (1, rank),
        };
        out[32] = kind;
        out[33] = match self.purpose {
            Purpose::Meeting => 0,
            Purpose::Monitor => 1,
            Purpose::Data => 2,
        };
        out[34] = self.from.is_some().into();
        out[36..40].copy_from_slice(&rank.to_le_bytes());
        out[40..44].copy_from_slice(&self.from.unwrap_or(0).to_le_bytes());
        out[35] = put_host(&mut out[44..108], &self.host);
        out
    }

    pub(crate) fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, BadHello> {
        let version = head(bytes, MAGIC).ok_or(BadHello::Garbage)?;
        let world = WorldId(u64_at(bytes, 16));
        let target = match bytes[32] {
            0 => Some(Target::Meeting),
            1 => Some(Target::Rank(u32_at(bytes, 36))),
            _ => None,
        };
        let host = host(bytes[35], &bytes[44..108]);
        if !version.suits_ours() {
            return Err(BadHello::Version { theirs: version, host, world, target });
        }
        let purpose = match bytes[33] {
            0 => Purpose::Meeting,
            1 => Purpose::Monitor,
            2 => Purpose::Data,
            _ => return Err(BadHello::Garbage),
        };
        let target = target.ok_or(BadHello::Garbage)?;
        let from = (bytes[34] != 0).then(|| u32_at(bytes, 40));
        Ok(Hello { version, world, target, purpose, from, label: u64_at(bytes, 24), host })
    }
}

/// What a listener answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub version: Version,
    pub outcome: Outcome,
    pub host: String,
}

/// The listener's decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The second Noise message follows.
    Welcome,
    /// The versions do not suit each other.
    WrongVersion,
    /// The dialler cannot hold the secret.
    WrongSecret,
    /// No such world is served here; it may be later.
    NoSuchWorld,
    /// The world is served here, but not this target; it may be later.
    NoSuchTarget,
}

const OUTCOMES: [Outcome; 5] = [
    Outcome::Welcome,
    Outcome::WrongVersion,
    Outcome::WrongSecret,
    Outcome::NoSuchWorld,
    Outcome::NoSuchTarget,
];

impl Answer {
    pub(crate) fn encode(&self) -> [u8; ANSWER_BYTES] {
        let mut out = [0; ANSWER_BYTES];
        put_head(&mut out, ANSWER_MAGIC, self.version);
        out[16] = self.outcome as u8;
        out[17] = put_host(&mut out[18..82], &self.host);
        out
    }

    /// `None` when the bytes are no answer. An outcome unknown to this release reads as a wrong version.
    pub(crate) fn decode(bytes: &[u8; ANSWER_BYTES]) -> Option<Answer> {
        let version = head(bytes, ANSWER_MAGIC)?;
        let outcome = if version.suits_ours() {
            OUTCOMES.get(usize::from(bytes[16])).copied()?
        } else {
            Outcome::WrongVersion
        };
        Some(Answer { version, outcome, host: host(bytes[17], &bytes[18..82]) })
    }
}

fn put_head(out: &mut [u8], magic: [u8; 8], version: Version) {
    out[..8].copy_from_slice(&magic);
    out[8..10].copy_from_slice(&version.major.to_le_bytes());
    out[10..12].copy_from_slice(&version.minor.to_le_bytes());
    out[12..16].copy_from_slice(&FEATURES.to_le_bytes());
}

fn head(bytes: &[u8], magic: [u8; 8]) -> Option<Version> {
    let (found, rest) = bytes.split_at_checked(8)?;
    let &[a, b, c, d, ..] = rest else { return None };
    let version = Version { major: u16::from_le_bytes([a, b]), minor: u16::from_le_bytes([c, d]) };
    (found == magic).then_some(version)
}

/// Whether `bytes`, the beginning of a stranger's first flight, can still become a hello.
pub(crate) fn may_be_hello(bytes: &[u8]) -> bool {
    bytes.iter().zip(MAGIC).all(|(byte, expected)| *byte == expected)
}

/// Writes as much of a host's name as fits, cut between characters, and returns its length in bytes.
fn put_host(place: &mut [u8], host: &str) -> u8 {
    let fits = (0..=HOST_BYTES.min(host.len())).rev().find(|&end| host.is_char_boundary(end));
    let host = &host[..fits.unwrap_or(0)];
    place[..host.len()].copy_from_slice(host.as_bytes());
    u8::try_from(host.len()).unwrap_or(u8::MAX)
}

/// The host's name, made safe to print: a peer chose it.
fn host(len: u8, place: &[u8]) -> String {
    let name = place.get(..usize::from(len)).unwrap_or(place);
    let name: String =
        String::from_utf8_lossy(name).chars().filter(|letter| !letter.is_control()).collect();
    if name.is_empty() { "?".to_owned() } else { name }
}

fn u32_at(bytes: &[u8; HELLO_BYTES], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8; HELLO_BYTES], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> impl Strategy<Value = Hello> {
        let target = prop_oneof![Just(Target::Meeting), any::<u32>().prop_map(Target::Rank)];
        let purpose =
            prop_oneof![Just(Purpose::Meeting), Just(Purpose::Monitor), Just(Purpose::Data)];
        let who = (any::<Option<u32>>(), any::<u64>(), "[a-zé.-]{1,32}");
        (any::<u64>(), target, purpose, who).prop_map(
            |(world, target, purpose, (from, label, host))| Hello {
                version: Version::OURS,
                world: WorldId(world),
                target,
                purpose,
                from,
                label,
                host,
            },
        )
    }

    proptest! {
        #[test]
        fn hellos_round_trip(hello in hello()) {
            prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            a in any::<[u8; HELLO_BYTES]>(), b in any::<[u8; ANSWER_BYTES]>()
        ) {
            let (mut a, mut b) = (a, b);
            let _ = (Hello::decode(&a), Answer::decode(&b));
            put_head(&mut a, MAGIC, Version::OURS);
            put_head(&mut b, ANSWER_MAGIC, Version::OURS);
            let _ = (Hello::decode(&a), Answer::decode(&b));
        }
    }

    #[test]
    fn every_outcome_round_trips() {
        for outcome in OUTCOMES {
            let answer = Answer { version: Version::OURS, outcome, host: "n1".to_owned() };
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn long_host_names_are_cut_between_characters() {
        let mut place = [0; HOST_BYTES];
        let len = put_host(&mut place, &format!("{}é", "x".repeat(63)));
        assert_eq!(host(len, &place), "x".repeat(63));
    }
}
