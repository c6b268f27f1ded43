//! Owns `ncclConfig_t`: which fields a program's version of it has, and what they say.

use std::ffi::c_int;

use crate::errors::{Answer, Refusal};
use crate::pointer::{In, text};

/// What a communicator was asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether calls return when they are complete, and not before.
    pub blocking: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { blocking: true }
    }
}

/// `ncclConfig_t`, as long as it says itself.
pub type Given = In<u8>;

/// What every version of it begins with.
const HEAD_BYTES: usize = 16;
const SMALLEST_BYTES: usize = 24;
const MAGIC: u32 = 0xcafe_beef;

/// A field of 4 bytes.
struct Field {
    name: &'static str,
    offset: usize,
    /// The version of NCCL whose programs have it; older ones have padding there, or nothing.
    since: u32,
    least: c_int,
    greatest: c_int,
}

const fn field(
    name: &'static str,
    offset: usize,
    since: u32,
    (least, greatest): (c_int, c_int),
) -> Field {
    Field { name, offset, since, least, greatest }
}

const BLOCKING: Field = field("blocking", 16, 21400, (0, 1));
const NET_NAME: (usize, u32) = (32, 21700);

/// Fields that tell what GPUs and networks do, which changes no result: looked at, and not needed here.
const HINTS: [Field; 15] = [
    field("cgaClusterSize", 20, 21700, (0, 8)),
    field("minCTAs", 24, 21700, (1, c_int::MAX)),
    field("maxCTAs", 28, 21700, (1, c_int::MAX)),
    field("splitShare", 40, 21800, (0, 1)),
    field("trafficClass", 44, 22600, (0, c_int::MAX)),
    field("collnetEnable", 56, 22700, (0, 1)),
    field("CTAPolicy", 60, 22700, (0, 3)),
    field("shrinkShare", 64, 22700, (0, 1)),
    field("nvlsCTAs", 68, 22700, (1, c_int::MAX)),
    field("nChannelsPerNetPeer", 72, 22800, (1, c_int::MAX)),
    field("nvlinkCentricSched", 76, 22800, (0, 1)),
    field("graphUsageMode", 80, 22900, (0, 2)),
    field("numRmaCtx", 84, 22900, (1, c_int::MAX)),
    field("maxP2pPeers", 88, 23000, (1, c_int::MAX)),
    field("graphStreamOrdering", 92, 23007, (0, 1)),
];

/// A version of the struct: its length, and whose program it is.
#[derive(Clone, Copy)]
struct Version {
    bytes: usize,
    number: u32,
}

impl Config {
    /// What `given` says; `inherited` where there is none, or where it leaves a field unset.
    pub fn read(given: &Given, inherited: Self) -> Answer<Self> {
        let Some(version) = version(given)? else { return Ok(inherited) };
        let mut ctas = [None; 2];
        for hint in &HINTS {
            let value = hint.read(given, version)?;
            match hint.name {
                "minCTAs" => ctas[0] = value,
                "maxCTAs" => ctas[1] = value,
                _ => {}
            }
        }
        if let [Some(least), Some(most)] = ctas
            && least > most
        {
            return Err(Refusal::argument(format!(
                "config.minCTAs is {least}, and config.maxCTAs is {most}"
            )));
        }
        check_network(given, version)?;
        let blocking = BLOCKING.read(given, version)?;
        Ok(Self { blocking: blocking.map_or(inherited.blocking, |number| number == 1) })
    }
}

impl Field {
    /// Its value, if the program's version has it and it was set.
    fn read(&self, given: &Given, version: Version) -> Answer<Option<c_int>> {
        let Self { name, offset, since, least, greatest } = *self;
        if version.number < since {
            return Ok(None);
        }
        let bytes = given.field(offset, version.bytes);
        let Some(value) = bytes.map(c_int::from_ne_bytes).filter(|&value| value != UNSET) else {
            return Ok(None);
        };
        match (least..=greatest).contains(&value) {
            true => Ok(Some(value)),
            false if greatest == c_int::MAX => {
                Err(Refusal::argument(format!("config.{name} is {value}; {least} is the least")))
            }
            false => {
                let what = format!("config.{name} is {value}; it can be {least} to {greatest}");
                Err(Refusal::argument(what))
            }
        }
    }
}

/// The head of the struct; none where there is no struct.
fn version(given: &Given) -> Answer<Option<Version>> {
    let Some(size) = given.field(0, HEAD_BYTES).map(usize::from_ne_bytes) else { return Ok(None) };
    let number = |offset| given.field(offset, HEAD_BYTES).map_or(0, u32::from_ne_bytes);
    let (magic, number) = (number(8), number(12));
    if magic != MAGIC {
        let what = "the config does not begin as NCCL_CONFIG_INITIALIZER has it begin";
        return Err(Refusal::argument(what));
    }
    if size < SMALLEST_BYTES {
        let what = format!("the config says that it has {size} bytes; the smallest has 24");
        return Err(Refusal::argument(what));
    }
    Ok(Some(Version { bytes: size, number }))
}

/// Only the network that this library has can be asked for.
fn check_network(given: &Given, version: Version) -> Answer {
    let (offset, since) = NET_NAME;
    let field = given.field(offset, version.bytes).filter(|_| version.number >= since);
    let name = field.map(usize::from_ne_bytes).and_then(text);
    match name {
        Some(name) if !name.eq_ignore_ascii_case("socket") => Err(Refusal::usage(format!(
            "config.netName asks for the network {name}; this library has Socket (TCP)"
        ))),
        _ => Ok(()),
    }
}

/// What a field holds that was not set.
const UNSET: c_int = c_int::MIN;

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use cudarc::nccl::sys::ncclConfig_t;

    use super::*;

    macro_rules! offsets {
        ($($field:ident)*) => {
            [$((stringify!($field), offset_of!(ncclConfig_t, $field))),*]
        };
    }

    #[test]
    fn fields_lie_where_programs_have_them() {
        let offsets = offsets! {
            cgaClusterSize minCTAs maxCTAs splitShare trafficClass collnetEnable CTAPolicy shrinkShare
            nvlsCTAs nChannelsPerNetPeer nvlinkCentricSched graphUsageMode numRmaCtx maxP2pPeers
        };
        let known = HINTS.iter().map(|hint| (hint.name, hint.offset));
        // The last one came within the padding of the version that they know.
        let ours: Vec<_> = known.filter(|(name, _)| *name != "graphStreamOrdering").collect();
        assert_eq!(ours, offsets);
        assert_eq!(BLOCKING.offset, offset_of!(ncclConfig_t, blocking));
        assert_eq!(NET_NAME.0, offset_of!(ncclConfig_t, netName));
    }

    /// A config of so many bytes and of that version, all of whose fields hold `value`.
    fn filled(bytes: usize, version: u32, value: c_int) -> Vec<u8> {
        let mut config = bytes.to_ne_bytes().to_vec();
        config.extend(MAGIC.to_ne_bytes());
        config.extend(version.to_ne_bytes());
        while config.len() < bytes {
            config.extend(value.to_ne_bytes());
        }
        config
    }

    fn read(config: &[u8]) -> Answer<Config> {
        Config::read(&In::of(config), Config::default())
    }

    #[test]
    fn nothing_is_read_that_a_version_does_not_have() {
        // Of the 24 bytes of the first version, the last four are padding: an 8 would be a fine
        // cgaClusterSize, a 9 none.
        let mut first = filled(24, 21400, 9);
        first[16..20].copy_from_slice(&0_i32.to_ne_bytes());
        assert_eq!(read(&first).map(|config| config.blocking).ok(), Some(false));
        let mut later = filled(24, 21700, 9);
        later[16..20].copy_from_slice(&0_i32.to_ne_bytes());
        assert!(read(&later).is_err_and(|refusal| refusal.text.contains("cgaClusterSize is 9")));
        // The same 96 bytes end with padding before 2.30.7.
        for (version, is_read) in [(23003, false), (23007, true)] {
            let mut whole = filled(96, version, UNSET);
            whole[32..40].fill(0);
            whole[92..96].copy_from_slice(&7_i32.to_ne_bytes());
            assert_eq!(read(&whole).is_err(), is_read, "{version}");
        }
    }

    #[test]
    fn a_least_above_the_most_is_refused() {
        for (least, most, is_refused) in [(4, 3, true), (3, 4, false), (4, UNSET, false)] {
            let mut whole = filled(96, 23007, UNSET);
            whole[32..40].fill(0);
            whole[24..28].copy_from_slice(&c_int::to_ne_bytes(least));
            whole[28..32].copy_from_slice(&c_int::to_ne_bytes(most));
            assert_eq!(read(&whole).is_err(), is_refused, "{least} {most}");
        }
    }

    #[test]
    fn what_was_not_set_is_inherited() {
        let mut unset = filled(96, 23007, UNSET);
        unset[32..40].fill(0);
        for blocking in [true, false] {
            let inherited = Config { blocking };
            assert_eq!(Config::read(&In::of(&unset), inherited).ok(), Some(inherited));
            assert_eq!(Config::read(&In::NONE, inherited).ok(), Some(inherited));
        }
    }
}
