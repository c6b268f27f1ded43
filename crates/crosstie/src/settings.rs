//! Owns every setting: its name in the environment, its meaning and its default. The only reader
//! of the environment.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crosstie_launch::{Explicit, Launcher};
use crosstie_net::{Secret, UniqueId};
use crosstie_transport::Heap;
use crosstie_transport::loopback::Fabric;
use crosstie_transport::seam::Limits;

use crate::Error;

/// Over what ranks exchange their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Shared memory inside a node, TCP between nodes.
    #[default]
    Auto,
    /// Shared memory only; ranks on several nodes are refused.
    SharedMemory,
    /// TCP only, inside a node too.
    Tcp,
    /// Memory of this process inside a node, TCP between nodes; for [`crate::Threads`].
    Loopback,
}

impl Transport {
    const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("shm", Self::SharedMemory),
        ("tcp", Self::Tcp),
        ("loopback", Self::Loopback),
    ];

    /// The name that settings and the command line use.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, t)| *t == self).map_or("auto", |(name, _)| name)
    }
}

impl FromStr for Transport {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, t)| *t)
            .ok_or_else(|| "expected auto, shm, tcp or loopback".to_owned())
    }
}

/// How a communicator is set up; a builder that ends in [`connect`](Self::connect).
///
/// What is not set here comes from the environment (`CROSSTIE_*`, then the launcher's own
/// variables), then from the default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(crate) explicit: Explicit,
    pub(crate) transport: Option<Transport>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) init_timeout: Option<Duration>,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) silence: Option<Duration>,
    pub(crate) slot_bytes: Option<usize>,
    pub(crate) heap_bytes: Option<usize>,
    pub(crate) fabric: Option<SharedFabric>,
}

/// The fabric of a world of threads; a plain handle, so that settings stay printable.
#[derive(Clone)]
pub(crate) struct SharedFabric(pub Arc<Fabric>);

impl std::fmt::Debug for SharedFabric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fabric")
    }
}

/// Times beyond this mean "for ever", and leave room to add them to a clock's reading.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Messages that may be under way on one connection.
const SLOTS: u32 = 8;

/// The settings of one communicator, all of them decided.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub explicit: Explicit,
    pub environment: BTreeMap<String, String>,
    pub transport: Transport,
    pub timeout: Duration,
    pub init_timeout: Duration,
    pub heartbeat: Duration,
    pub silence: Duration,
    pub limits: Limits,
    pub heap_bytes: usize,
    pub ports: RangeInclusive<u16>,
    pub interface: Option<String>,
    pub fabric: Option<SharedFabric>,
}

impl Resolved {
    /// The settings that must agree on all ranks, by name.
    pub fn world_scope(&self) -> Vec<(&'static str, String)> {
        vec![
            ("transport", self.transport.name().to_owned()),
            ("slot_bytes", self.limits.slot_bytes.to_string()),
            ("slots", self.limits.slots.to_string()),
        ]
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = Some($name);
            self
        }
    )*};
}

impl Settings {
    setters! {
        /// Over what ranks exchange data (`CROSSTIE_TRANSPORT`); default [`Transport::Auto`].
        transport: Transport,
        /// How long a call may take (`CROSSTIE_TIMEOUT`, seconds); default 30 minutes.
        timeout: Duration,
        /// How long setting up may take (`CROSSTIE_INIT_TIMEOUT`, seconds); default 2 minutes.
        init_timeout: Duration,
        /// How often monitors say that they live (`CROSSTIE_HEARTBEAT`, seconds); default 1.
        heartbeat: Duration,
        /// Silence after which a rank is given up (`CROSSTIE_SILENCE`, seconds); default 10.
        silence: Duration,
        /// Bytes of the longest message (`CROSSTIE_SLOT_BYTES`); equal on all ranks; default
        /// 128 KiB.
        slot_bytes: usize,
        /// Bytes that buffers of [`Communicator::alloc`](crate::Communicator::alloc) may have together
        /// (`CROSSTIE_HEAP_BYTES`); default as many as the host has memory. Only what is allocated and
        /// touched takes up memory.
        heap_bytes: usize,
    }

    /// This rank's number, from 0.
    #[must_use]
    pub fn rank(mut self, rank: u32) -> Self {
        self.explicit.rank = Some(rank);
        self
    }

    /// How many ranks there are.
    #[must_use]
    pub fn size(mut self, size: u32) -> Self {
        self.explicit.size = Some(size);
        self
    }

    /// The id of the meeting that all ranks were told.
    #[must_use]
    pub fn id(mut self, id: UniqueId) -> Self {
        self.explicit.id = Some(id);
        self
    }

    /// `host:port` where rank 0 listens for the others; with [`secret`](Self::secret).
    #[must_use]
    pub fn root(mut self, address: impl Into<String>) -> Self {
        self.explicit.root = Some(address.into());
        self
    }

    /// What all ranks know and strangers do not.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.explicit.secret = Some(secret);
        self
    }

    /// The name of this rank's node; ranks of equal names share memory.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.explicit.node = Some(name.into());
        self
    }

    pub(crate) fn fabric(mut self, fabric: Arc<Fabric>) -> Self {
        self.fabric = Some(SharedFabric(fabric));
        self
    }

    /// Who started this process as one of several ranks, as far as its environment tells: `None`
    /// for a process that nobody started so.
    ///
    /// # Errors
    /// [`Error::Launch`] when the environment contradicts itself.
    pub fn launcher(&self) -> Result<Option<&'static str>, Error> {
        let environment = crosstie_launch::environment(std::env::vars_os());
        let identity = crosstie_launch::identify(&self.explicit, &environment)?;
        let alone = identity.launcher == Launcher::Alone;
        Ok(if alone { None } else { Some(identity.launcher.name()) })
    }

    /// Fills in what was not set, from `environment` and the defaults.
    pub(crate) fn resolve(self, environment: BTreeMap<String, String>) -> Result<Resolved, Error> {
        warn_of_unknown_names(&environment);
        warn_of_a_weak_secret(&environment);
        let seconds = |set: Option<Duration>, name, default| -> Result<Duration, Error> {
            let time = match set {
                Some(set) => set,
                None => parsed(&environment, name, parse_duration)?.unwrap_or(default),
            };
            Ok(time.min(LONGEST_TIME))
        };
        let limits = self.limits(&environment)?;
        let heap_bytes = self.heap_limit(&environment)?;
        Ok(Resolved {
            transport: match self.transport {
                Some(transport) => transport,
                None => parsed(&environment, "CROSSTIE_TRANSPORT", str::parse)?.unwrap_or_default(),
            },
            timeout: seconds(self.timeout, "CROSSTIE_TIMEOUT", Duration::from_secs(1800))?,
            init_timeout: seconds(
                self.init_timeout,
                "CROSSTIE_INIT_TIMEOUT",
                Duration::from_secs(120),
            )?,
            heartbeat: seconds(self.heartbeat, "CROSSTIE_HEARTBEAT", Duration::from_secs(1))?,
            silence: seconds(self.silence, "CROSSTIE_SILENCE", Duration::from_secs(10))?,
            limits,
            heap_bytes,
            ports: parsed(&environment, "CROSSTIE_PORTS", parse_ports)?.unwrap_or(0..=0),
            interface: environment.get("CROSSTIE_INTERFACE").cloned(),
            fabric: self.fabric,
            explicit: self.explicit,
            environment,
        })
    }

    /// Bytes of the heap that buffers are allocated from.
    pub(crate) fn heap_limit(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<usize, Error> {
        let told = parsed(environment, "CROSSTIE_HEAP_BYTES", parse_number)?;
        Ok(self.heap_bytes.or(told).unwrap_or_else(Heap::default_bytes))
    }

    /// The limits of every connection.
    pub(crate) fn limits(&self, environment: &BTreeMap<String, String>) -> Result<Limits, Error> {
        let told = parsed(environment, "CROSSTIE_SLOT_BYTES", parse_number)?;
        limits(self.slot_bytes.or(told).unwrap_or(DEFAULT_SLOT_BYTES))
    }
}

fn limits(slot_bytes: usize) -> Result<Limits, Error> {
    if !(SMALLEST_SLOT_BYTES..=LARGEST_SLOT_BYTES).contains(&slot_bytes)
        || !slot_bytes.is_multiple_of(64)
    {
        return Err(Error::Setting {
            name: "CROSSTIE_SLOT_BYTES",
            value: slot_bytes.to_string(),
            what: format!(
                "expected a multiple of 64 from {SMALLEST_SLOT_BYTES} to {LARGEST_SLOT_BYTES}"
            ),
        });
    }
    Ok(Limits { slots: SLOTS, slot_bytes })
}

fn parsed<T>(
    environment: &BTreeMap<String, String>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    let Some(value) = environment.get(name) else { return Ok(None) };
    parse(value).map(Some).map_err(|what| Error::Setting { name, value: value.clone(), what })
}

/// A time as settings write it: `30`, `30s`, `500ms`, `1.5s` or `2m`; a bare number is seconds.
///
/// # Errors
/// What is expected, for people.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time above zero as 30s, 500ms or 2m".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(number * unit_s) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(wrong()),
    }
}

fn parse_number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number of bytes".to_owned())
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "expected FIRST-LAST, such as 40000-40100".to_owned();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first > last { Err(wrong()) } else { Ok(first..=last) }
}

/// Every name that this version reads, here or in `crosstie-launch`.
const NAMES: &[&str] = &[
    "CROSSTIE_HEAP_BYTES",
    "CROSSTIE_HEARTBEAT",
    "CROSSTIE_ID",
    "CROSSTIE_INIT_TIMEOUT",
    "CROSSTIE_INTERFACE",
    "CROSSTIE_LOG",
    "CROSSTIE_NODE",
    "CROSSTIE_PORT",
    "CROSSTIE_PORTS",
    "CROSSTIE_RANK",
    "CROSSTIE_ROOT",
    "CROSSTIE_SECRET",
    "CROSSTIE_SECRET_FILE",
    "CROSSTIE_SILENCE",
    "CROSSTIE_SIZE",
    "CROSSTIE_SLOT_BYTES",
    "CROSSTIE_TIMEOUT",
    "CROSSTIE_TRANSPORT",
];

fn warn_of_unknown_names(environment: &BTreeMap<String, String>) {
    for name in environment.keys() {
        if name.starts_with("CROSSTIE_") && !NAMES.contains(&name.as_str()) {
            tracing::warn!("{name} is no setting of this version; known are {}", NAMES.join(", "));
        }
    }
}

/// A secret is hashed, not stretched, and a name derived from it travels in clear: a short one can
/// be guessed.
fn warn_of_a_weak_secret(environment: &BTreeMap<String, String>) {
    if environment.get("CROSSTIE_SECRET").is_some_and(|secret| secret.len() < STRONG_SECRET_BYTES) {
        tracing::warn!(
            "CROSSTIE_SECRET has fewer than {STRONG_SECRET_BYTES} characters and can be guessed; \
             make one with `openssl rand -hex 32`"
        );
    }
}

const STRONG_SECRET_BYTES: usize = 16;
const DEFAULT_SLOT_BYTES: usize = 128 << 10;
const SMALLEST_SLOT_BYTES: usize = 64;
const LARGEST_SLOT_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str, value: &str) -> Result<Resolved, Error> {
        let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Settings::default().resolve(environment)
    }

    #[test]
    fn times_are_written_as_on_the_command_line() {
        let cases = [("3", 3000), ("3s", 3000), ("0.5", 500), ("500ms", 500), ("2m", 120_000)];
        for (text, ms) in cases {
            let timeout = resolved("CROSSTIE_TIMEOUT", text).unwrap().timeout;
            assert_eq!(timeout, Duration::from_millis(ms), "{text}");
        }
        for text in ["", "0", "-1", "soon", "3h", "nan", "inf"] {
            let error = resolved("CROSSTIE_TIMEOUT", text).unwrap_err();
            assert_eq!(error.code().to_string(), "CT-002", "{text}");
        }
    }

    #[test]
    fn times_without_end_can_still_be_added_to_a_clock() {
        let told = resolved("CROSSTIE_INIT_TIMEOUT", "1e19").unwrap();
        let settings = Settings::default().silence(Duration::MAX).heartbeat(Duration::MAX);
        let set = settings.resolve(BTreeMap::new()).unwrap();
        for time in [told.init_timeout, set.silence, set.heartbeat] {
            assert!(std::time::Instant::now().checked_add(time * 2).is_some());
        }
    }

    #[test]
    fn slots_that_no_ring_has_are_refused() {
        for text in ["0", "63", "100", "99999999999", "many"] {
            let error = resolved("CROSSTIE_SLOT_BYTES", text).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(resolved("CROSSTIE_SLOT_BYTES", "1048576").unwrap().limits.slot_bytes, 1 << 20);
    }
}
