//! Owns the counting of what wires take, and its comparison with what device and host have, before anything
//! is made.

use std::fmt;

use crate::{Attributes, VerbsError};

/// What the wires of one device take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Queue pairs.
    pub queue_pairs: u64,
    /// Work requests in the larger queue of each.
    pub work_requests: u64,
    /// Completion queues.
    pub completion_queues: u64,
    /// Entries of each.
    pub completions: u64,
    /// Registered pieces of memory.
    pub regions: u64,
    /// Their bytes.
    pub pinned_bytes: u64,
}

/// What one wire takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// Queue pairs that share its traffic.
    pub queue_pairs: u32,
    /// Writes that wait in each.
    pub send: u32,
    /// Receives that wait in each.
    pub receive: u32,
    /// Registered bytes of its own.
    pub bytes: u64,
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue_pairs, completion_queues, completions, regions, pinned_bytes, .. } = self;
        let s = |count: u64| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{queue_pairs} queue pair{}, {completion_queues} completion queue{} of {completions} entries, {pinned_bytes} \
             bytes pinned in {regions} region{}",
            s(*queue_pairs),
            s(*completion_queues),
            s(*regions)
        )
    }
}

impl Needs {
    /// Those of so many wires with one completion queue, and `regions` of `bytes` in all that they share.
    pub fn of_wires(count: u64, wire: &Wire, regions: u64, bytes: u64) -> Self {
        let queue_pairs = count.saturating_mul(wire.queue_pairs.into());
        // Each write can end alone when a queue pair fails. And one more of each, as the markers of its end.
        let in_one = u64::from(wire.send) + u64::from(wire.receive) + 2;
        Self {
            queue_pairs,
            work_requests: u64::from(wire.send.max(wire.receive)) + 1,
            completion_queues: 1,
            completions: queue_pairs.saturating_mul(in_one),
            regions: count.saturating_add(regions),
            pinned_bytes: count.saturating_mul(wire.bytes).saturating_add(bytes),
        }
    }

    /// Whether device and host have all that.
    ///
    /// # Errors
    /// [`VerbsError::Limit`] for the first of which they have too little; [`VerbsError::Memlock`].
    pub fn check(
        &self,
        device: &str,
        has: &Attributes,
        pinnable: &Pinnable,
    ) -> Result<(), VerbsError> {
        let counts = [
            ("queue pairs", self.queue_pairs, has.queue_pairs, FEWER_PAIRS),
            ("work requests in a queue", self.work_requests, has.work_requests, SHORTER_QUEUES),
            ("completion queues", self.completion_queues, has.completion_queues, FEWER_PROCESSES),
            ("entries in a completion queue", self.completions, has.completions, FEWER_PAIRS),
            ("memory regions", self.regions, has.regions, FEWER_PAIRS),
        ];
        for (what, needed, available, remedy) in counts {
            let available = available.into();
            if needed > available {
                let device = device.to_owned();
                return Err(VerbsError::Limit { device, what, needed, available, remedy });
            }
        }
        pinnable.check(self.pinned_bytes)
    }
}

const FEWER_PAIRS: &str = "use fewer channels, fewer queue pairs for each wire, or relays";
const SHORTER_QUEUES: &str = "let fewer messages be under way on a wire";
const FEWER_PROCESSES: &str = "end other programs that use the device";

/// How much memory this process may pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinnable {
    /// Bytes in all; `None` where there is no limit.
    pub limit: Option<u64>,
    /// Bytes that are pinned already.
    pub in_use: u64,
}

/// The capability that lifts the limit (CAP_IPC_LOCK).
const CAPABILITY: u32 = 14;

impl Pinnable {
    /// What holds for this process now.
    pub fn of_this_process() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::told(limit, &status)
    }

    /// By the limit, and the text of `/proc/self/status`.
    fn told(limit: Option<u64>, status: &str) -> Self {
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().split_whitespace().next().unwrap_or_default()
        };
        let capabilities = u64::from_str_radix(value("CapEff"), 16).unwrap_or(0);
        let may_all = capabilities & (1 << CAPABILITY) != 0;
        let kibibytes: u64 = value("VmPin").parse().unwrap_or(0);
        Self { limit: limit.filter(|_| !may_all), in_use: kibibytes.saturating_mul(1024) }
    }

    /// Whether so many bytes more may be pinned.
    ///
    /// # Errors
    /// [`VerbsError::Memlock`].
    pub fn check(&self, needed: u64) -> Result<(), VerbsError> {
        let Self { limit, in_use } = *self;
        match limit {
            Some(limit) if in_use.saturating_add(needed) > limit => {
                Err(VerbsError::Memlock { needed, limit, in_use })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: Wire = Wire { queue_pairs: 2, send: 144, receive: 32, bytes: 16 << 10 };
    const ROOMY: Pinnable = Pinnable { limit: None, in_use: 0 };

    fn device() -> Attributes {
        Attributes {
            queue_pairs: 1000,
            work_requests: 1000,
            completion_queues: 10,
            completions: 1 << 22,
            regions: 1000,
            region_bytes: u64::MAX,
            reads: 16,
            ports: 1,
            is_software: false,
        }
    }

    #[test]
    fn what_wires_take_grows_with_their_number() {
        let needs = Needs::of_wires(8, &WIRE, 3, 1 << 20);
        assert_eq!(needs.queue_pairs, 16);
        assert_eq!(needs.completions, 16 * (144 + 32 + 2));
        assert_eq!(needs.regions, 11);
        assert_eq!(needs.pinned_bytes, (8 * (16 << 10)) + (1 << 20));
        assert!(needs.check("mlx5_0", &device(), &ROOMY).is_ok());
    }

    #[test]
    fn a_device_with_too_little_of_anything_is_told_by_its_name_and_number() {
        let needs = Needs::of_wires(8, &WIRE, 3, 0);
        type Shrink = fn(&mut Attributes);
        let all: [(&str, Shrink); 5] = [
            ("15 queue pairs, but 16", |has| has.queue_pairs = 15),
            ("144 work requests in a queue, but 145", |has| has.work_requests = 144),
            ("0 completion queues, but 1", |has| has.completion_queues = 0),
            ("100 entries in a completion queue, but 2848", |has| has.completions = 100),
            ("10 memory regions, but 11", |has| has.regions = 10),
        ];
        for (what, shrink) in all {
            let mut has = device();
            shrink(&mut has);
            let refusal = needs.check("mlx5_0", &has, &ROOMY).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("mlx5_0 has {what}")), "{refusal}");
        }
    }

    #[test]
    fn more_memory_than_may_be_pinned_is_refused_with_the_way_to_raise_the_limit() {
        let pinnable = Pinnable { limit: Some(8 << 20), in_use: 1 << 20 };
        assert!(pinnable.check(7 << 20).is_ok());
        let refusal = pinnable.check((7 << 20) + 1).unwrap_err().to_string();
        assert!(refusal.contains("ulimit -l"), "{refusal}");
    }

    #[test]
    fn the_kernels_words_for_limit_and_use_are_understood() {
        let status =
            "Name:\tx\nVmLck:\t       4 kB\nVmPin:\t     100 kB\nCapEff:\t0000000000000000\n";
        let plain = Pinnable::told(Some(1 << 16), status);
        assert_eq!(plain, Pinnable { limit: Some(1 << 16), in_use: 100 << 10 });
        let able = status.replace("CapEff:\t0000000000000000", "CapEff:\t00000000a80425fb");
        assert_eq!(Pinnable::told(Some(1 << 16), &able).limit, Some(1 << 16), "not that bit");
        let able = status.replace("CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff");
        assert_eq!(Pinnable::told(Some(1 << 16), &able).limit, None);
        assert_eq!(Pinnable::told(None, "").limit, None);
    }
}
