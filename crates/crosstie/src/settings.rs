//! Owns the builder of settings and how they are decided: what was set, then what the environment says,
//! then the default. The only reader of the environment.

mod detect;
mod names;
mod nccl;
mod ports;
mod protocol;
mod rails;
pub(crate) mod registry;
mod said;
pub(crate) mod tune;
mod verbs;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crosstie_ir::SLOTS;
use crosstie_launch::{Explicit, Launcher};
use crosstie_net::{Secret, UniqueId};
use crosstie_planner::cost::Tune;
use crosstie_planner::{Algorithm, ReductionOrder, UnknownOrder};
use crosstie_transport::Heap;
use crosstie_transport::loopback::Fabric;
use crosstie_transport::seam::Limits;

use crate::{Error, cancel::Terms};
pub use detect::Detect;
pub use names::nccl_debug_file;
pub(crate) use names::warn_of_names_in_vain;
pub use ports::parse_ports;
pub use protocol::Protocol;
pub(crate) use rails::{Ahead, Bound, Most, Nics, RailCount, Rails, Sharing};
pub use rails::{Flush, Pxn};
use registry::{
    ALGORITHM, DETECT, HEAP_BYTES, HEARTBEAT, INIT_TIMEOUT, INTERFACE, MEMORY_LIMIT, PORTS,
    PROTOCOL, PULL, REDUCTION_ORDER, SILENCE, SLOT_BYTES, STALL, TIMEOUT, TRANSPORT, TUNE_FILE,
};
pub(crate) use verbs::{OnOff, QueuePairs, ServiceLevel, Verbs};

/// Over what ranks exchange their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// Shared memory inside a node; between two nodes ibverbs, where both have it and a probe passes, else TCP.
    #[default]
    Auto,
    /// Shared memory only; ranks on several nodes are refused.
    SharedMemory,
    /// TCP only, inside a node too.
    Tcp,
    /// Shared memory inside a node, ibverbs between nodes; ranks that do not reach each other so are refused.
    Verbs,
    /// Memory of this process inside a node, TCP between nodes; for [`crate::Threads`].
    Loopback,
}

impl Transport {
    const NAMES: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("shm", Self::SharedMemory),
        ("tcp", Self::Tcp),
        ("verbs", Self::Verbs),
        ("loopback", Self::Loopback),
    ];

    /// The name that settings and the command line use.
    ///
    /// ```
    /// use crosstie::Transport;
    ///
    /// assert_eq!(Transport::SharedMemory.name(), "shm");
    /// assert_eq!("shm".parse(), Ok(Transport::SharedMemory));
    /// ```
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
            .ok_or_else(|| "expected auto, shm, tcp, verbs or loopback".to_owned())
    }
}

/// How a communicator is set up; a builder that ends in [`connect`](Self::connect).
///
/// What is not set here comes from the environment (`CROSSTIE_*`, then the launcher's own
/// variables), then from the default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(crate) explicit: Explicit,
    pub(crate) from_c: bool,
    pub(crate) transport: Option<Transport>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stall: Option<Duration>,
    pub(crate) init_timeout: Option<Duration>,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) silence: Option<Duration>,
    pub(crate) slot_bytes: Option<usize>,
    pub(crate) heap_bytes: Option<usize>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) reduction_order: Option<ReductionOrder>,
    pub(crate) sharing: Sharing,
    pub(crate) detect: Option<Detect>,
    pub(crate) tune_file: Option<PathBuf>,
    pub(crate) fabric: Option<SharedFabric>,
    pub(crate) terms: Terms,
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

/// The settings of one communicator, all of them decided.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub explicit: Explicit,
    pub from_c: bool,
    pub environment: BTreeMap<String, String>,
    pub transport: Transport,
    pub timeout: Duration,
    pub stall: Duration,
    pub init_timeout: Duration,
    pub heartbeat: Duration,
    pub silence: Duration,
    pub limits: Limits,
    /// Whether somebody chose the length of slots.
    pub slots_told: bool,
    pub heap_bytes: usize,
    pub memory_limit: Option<u64>,
    pub protocol: Protocol,
    pub pull: bool,
    pub algorithm: Option<Algorithm>,
    pub reduction_order: ReductionOrder,
    pub rails: Rails,
    pub detect: Detect,
    pub tune_file: Option<PathBuf>,
    /// What rank 0 read in its file.
    pub tune: Option<Arc<Tune>>,
    pub ports: RangeInclusive<u16>,
    pub interface: Option<String>,
    pub verbs: Verbs,
    pub fabric: Option<SharedFabric>,
    pub terms: Terms,
}

impl Resolved {
    /// Makes slots as long as suits a world in which all messages go over the network, or some do not,
    /// unless somebody chose their length. The same on all ranks, who know the nodes by now.
    pub fn fit_slots(&mut self, networked: bool) {
        if networked && !self.slots_told {
            self.limits.slot_bytes = NETWORK_SLOT_BYTES;
        }
    }

    /// Whether messages between nodes may go by way of relays: they need memory that the ranks of a node
    /// share.
    pub fn has_relays(&self) -> bool {
        let shares = matches!(self.transport, Transport::Auto | Transport::Verbs);
        self.rails.pxn != Pxn::Off && shares
    }

    /// Whether this rank can tell what its machine is, and where it looks. Threads of one process do not look at their
    /// host: their nodes are played.
    pub fn looks(&self) -> bool {
        match &self.detect {
            Detect::Off => false,
            Detect::Host => self.fabric.is_none() && self.rails.machine.is_none(),
            Detect::Captured(_) => self.rails.machine.is_none(),
        }
    }

    /// The settings that must agree on all ranks, by name.
    pub fn world_scope(&self) -> Vec<(&'static str, String)> {
        vec![
            ("transport", self.transport.name().to_owned()),
            ("slot_bytes", self.limits.slot_bytes.to_string()),
            ("slots", self.limits.slots.to_string()),
            ("algorithm", self.algorithm.map_or("auto", Algorithm::name).to_owned()),
            ("reduction_order", self.reduction_order.name().to_owned()),
            ("pxn", self.rails.pxn.name().to_owned()),
            ("rails", self.rails.count.map_or("auto".to_owned(), |count| count.to_string())),
            ("relay_below", self.rails.relay_told()),
            (
                "topology",
                self.rails
                    .machine
                    .as_ref()
                    .map_or_else(|| "unset".to_owned(), |it| it.fingerprint()),
            ),
            ("nics", if self.rails.nics.is_empty() { "unset" } else { "set" }.to_owned()),
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
        ///
        /// ```
        /// # use crosstie::{Settings, Threads, Transport};
        /// let settings = Settings::default().transport(Transport::Tcp);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        transport: Transport,
        /// How long a call waits for ranks that have not made it, the arrival clock
        /// (`CROSSTIE_TIMEOUT`, seconds); default 30 minutes. After 30 seconds they are named in a
        /// warning. A call that all have made may take as long as it moves.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// # use std::time::Duration;
        /// let settings = Settings::default().timeout(Duration::from_secs(60));
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        timeout: Duration,
        /// How long a call that all have made may move nothing, on any rank: the stall clock
        /// (`CROSSTIE_STALL`, seconds); default 30.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// # use std::time::Duration;
        /// let settings = Settings::default().stall(Duration::from_secs(60));
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        stall: Duration,
        /// How long setting up may take (`CROSSTIE_INIT_TIMEOUT`, seconds); default 2 minutes.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// # use std::time::Duration;
        /// let settings = Settings::default().init_timeout(Duration::from_secs(60));
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        init_timeout: Duration,
        /// How often monitors say that they live (`CROSSTIE_HEARTBEAT`, seconds); default 1.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// # use std::time::Duration;
        /// let settings = Settings::default().heartbeat(Duration::from_millis(500));
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        heartbeat: Duration,
        /// Silence after which a rank is given up (`CROSSTIE_SILENCE`, seconds); default 10.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// # use std::time::Duration;
        /// let settings = Settings::default().silence(Duration::from_secs(5));
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        silence: Duration,
        /// The algorithm to take wherever it suits (`CROSSTIE_ALGORITHM`); equal on all ranks;
        /// default: the fastest for each call.
        ///
        /// ```
        /// # use crosstie::{Algorithm, Settings, Threads};
        /// let settings = Settings::default().algorithm(Algorithm::Ring);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        algorithm: Algorithm,
        /// In which order contributions are reduced (`CROSSTIE_REDUCTION_ORDER`); equal on all
        /// ranks; default [`ReductionOrder::Fast`].
        ///
        /// ```
        /// # use crosstie::{ReductionOrder, Settings, Threads};
        /// let settings = Settings::default().reduction_order(ReductionOrder::Canonical);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        reduction_order: ReductionOrder,
        /// Bytes of the longest message (`CROSSTIE_SLOT_BYTES`); equal on all ranks; default 512 KiB
        /// where all messages go over the network, else 128 KiB.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// let settings = Settings::default().slot_bytes(64 << 10);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        slot_bytes: usize,
        /// Bytes that buffers of [`Communicator::alloc`](crate::Communicator::alloc) may have together
        /// (`CROSSTIE_HEAP_BYTES`); default as many as the host has memory. Only what is allocated and
        /// touched takes up memory.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// let settings = Settings::default().heap_bytes(1 << 30);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        heap_bytes: usize,
        /// Bytes that one communicator may allocate, at most (`CROSSTIE_MEMORY_LIMIT`): slots as far as
        /// they can grow, scratch memory of calls, buffers of
        /// [`Communicator::alloc`](crate::Communicator::alloc). What is beyond is refused, with the
        /// numbers, before it is allocated ([`Error::Memory`]); default no limit.
        ///
        /// ```
        /// # use crosstie::{Settings, Threads};
        /// let settings = Settings::default().memory_limit(256 << 20);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        memory_limit: u64,
        /// How messages pass between ranks that share memory (`CROSSTIE_PROTOCOL`); default
        /// [`Protocol::Auto`].
        ///
        /// ```
        /// # use crosstie::{Protocol, Settings, Threads};
        /// let settings = Settings::default().protocol(Protocol::Copy);
        /// Threads::new(2).settings(settings).run(|mut comm| comm.barrier())?;
        /// # Ok::<(), crosstie::Error>(())
        /// ```
        protocol: Protocol,
    }

    /// This rank's number, from 0.
    ///
    /// ```
    /// # use crosstie::Settings;
    /// let comm = Settings::default().rank(0).size(1).connect()?;
    /// assert_eq!(comm.rank(), 0);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn rank(mut self, rank: u32) -> Self {
        self.explicit.rank = Some(rank);
        self
    }

    /// How many ranks there are.
    ///
    /// ```
    /// # use crosstie::Settings;
    /// let comm = Settings::default().rank(0).size(1).connect()?;
    /// assert_eq!(comm.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn size(mut self, size: u32) -> Self {
        self.explicit.size = Some(size);
        self
    }

    /// The id of the meeting that all ranks were told.
    ///
    /// ```
    /// # use crosstie::{Meeting, Settings};
    /// let (_meeting, id) = Meeting::open()?;
    /// let comm = Settings::default().rank(0).size(1).id(id).connect()?;
    /// assert_eq!(comm.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn id(mut self, id: UniqueId) -> Self {
        self.explicit.id = Some(id);
        self
    }

    /// `host:port` where rank 0 listens for the others; with [`secret`](Self::secret).
    ///
    /// ```
    /// # use crosstie::{Secret, Settings};
    /// let secret = Secret::from_passphrase("what all ranks know, and nobody else");
    /// let settings = Settings::default().root("node0:40000").secret(secret);
    /// ```
    #[must_use]
    pub fn root(mut self, address: impl Into<String>) -> Self {
        self.explicit.root = Some(address.into());
        self
    }

    /// What all ranks know and strangers do not.
    ///
    /// ```
    /// # use crosstie::{Secret, Settings};
    /// let secret = Secret::from_passphrase("what all ranks know, and nobody else");
    /// let settings = Settings::default().root("node0:40000").secret(secret);
    /// ```
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.explicit.secret = Some(secret);
        self
    }

    /// The name of this rank's node; ranks of equal names share memory.
    ///
    /// ```
    /// # use crosstie::Settings;
    /// let comm = Settings::default().node("west").rank(0).size(1).connect()?;
    /// assert_eq!(comm.nodes(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.explicit.node = Some(name.into());
        self
    }

    /// Whether it says itself where the ranks meet.
    pub(crate) fn names_a_meeting(&self) -> bool {
        self.explicit.id.is_some() || self.explicit.root.is_some()
    }

    pub(crate) fn fabric(mut self, fabric: Arc<Fabric>) -> Self {
        self.fabric = Some(SharedFabric(fabric));
        self
    }

    /// Who started this process as one of several ranks, as far as its environment tells: `None`
    /// for a process that nobody started so.
    ///
    /// ```
    /// # use crosstie::Settings;
    /// assert_eq!(Settings::default().launcher()?, None, "nobody has started this process as a rank");
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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
    pub(crate) fn resolve(
        self,
        mut environment: BTreeMap<String, String>,
    ) -> Result<Resolved, Error> {
        registry::honour_nccl(&mut environment);
        warn_of_a_weak_secret(&environment);
        let limits = self.limits(&environment)?;
        let slots_told = self.slot_bytes.is_some() || environment.contains_key(SLOT_BYTES.name());
        let time = |set, knob: &registry::Knob<Duration>| -> Result<Duration, Error> {
            Ok(knob.value(set, &environment)?.min(LONGEST_TIME))
        };
        let heap_bytes = self.heap_limit(&environment)?;
        Ok(Resolved {
            transport: TRANSPORT.value(self.transport, &environment)?,
            timeout: time(self.timeout, &TIMEOUT)?,
            stall: time(self.stall, &STALL)?,
            init_timeout: time(self.init_timeout, &INIT_TIMEOUT)?,
            heartbeat: time(self.heartbeat, &HEARTBEAT)?,
            silence: time(self.silence, &SILENCE)?,
            limits,
            slots_told,
            heap_bytes,
            memory_limit: MEMORY_LIMIT.optional(self.memory_limit, &environment)?,
            protocol: PROTOCOL.value(self.protocol, &environment)?,
            pull: PULL.value(None, &environment)?.0.unwrap_or(PULLS),
            algorithm: ALGORITHM
                .value(self.algorithm.map(|one| Forced(Some(one))), &environment)?
                .0,
            reduction_order: REDUCTION_ORDER.value(self.reduction_order, &environment)?,
            rails: self.sharing.resolve(&environment)?,
            detect: DETECT.value(self.detect, &environment)?,
            tune_file: TUNE_FILE.optional(self.tune_file, &environment)?,
            tune: None,
            ports: PORTS.value(None, &environment)?,
            interface: INTERFACE.optional(None, &environment)?,
            verbs: Verbs::resolve(&environment)?,
            fabric: self.fabric,
            terms: self.terms,
            explicit: self.explicit,
            from_c: self.from_c,
            environment,
        })
    }

    /// Bytes of the heap that buffers are allocated from.
    pub(crate) fn heap_limit(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<usize, Error> {
        let told = HEAP_BYTES.optional(self.heap_bytes, environment)?;
        Ok(told.unwrap_or_else(Heap::default_bytes))
    }

    /// The limits of every connection.
    pub(crate) fn limits(&self, environment: &BTreeMap<String, String>) -> Result<Limits, Error> {
        let set = self.slot_bytes.map(SlotBytes::new).transpose();
        let set = set.map_err(|what| {
            SLOT_BYTES.wrong(self.slot_bytes.unwrap_or_default().to_string(), what)
        })?;
        let SlotBytes(slot_bytes) = SLOT_BYTES.value(set, environment)?;
        Ok(Limits { slots: SLOTS, slot_bytes })
    }
}

/// A value that can be read from a setting's text.
pub(crate) trait Value: Sized {
    /// The value, or what is expected, for people.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl Value for Duration {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_duration(text)
    }
}

impl Value for Transport {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// An algorithm to take wherever it suits; none for `auto`.
pub(crate) struct Forced(pub Option<Algorithm>);

impl Value for Forced {
    fn from_text(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let names = || Algorithm::ALL.map(Algorithm::name).join(", ");
        let named = Algorithm::named(text);
        named.map(|one| Self(Some(one))).ok_or_else(|| format!("expected auto, {}", names()))
    }
}

impl Value for ReductionOrder {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: UnknownOrder| error.to_string())
    }
}

impl Value for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected the path of a file".to_owned()),
            path => Ok(path.into()),
        }
    }
}

/// A number of bytes.
impl Value for u64 {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_bytes(text)
    }
}

/// The same, of this process's memory.
impl Value for usize {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::try_from(parse_bytes(text)?).map_err(|error| error.to_string())
    }
}

impl Value for u32 {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected a whole number of at most 32 bits".to_owned())
    }
}

impl Value for u16 {
    fn from_text(text: &str) -> Result<Self, String> {
        let port = text.trim().parse().ok().filter(|&port| port > 0);
        port.ok_or_else(|| "expected a port from 1 to 65535".to_owned())
    }
}

impl Value for UniqueId {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|error: crosstie_net::NetError| error.to_string())
    }
}

/// Whether ranks of a host read each other's memory; `None` leaves it to what was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pull(Option<bool>);

impl Value for Pull {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(None)),
            "on" => Ok(Self(Some(true))),
            "off" => Ok(Self(Some(false))),
            _ => Err("expected auto, on or off".to_owned()),
        }
    }
}

/// Bytes of the longest message that a ring can carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotBytes(usize);

impl SlotBytes {
    fn new(bytes: usize) -> Result<Self, String> {
        let fits = (SMALLEST_SLOT_BYTES..=LARGEST_SLOT_BYTES).contains(&bytes);
        match fits && bytes.is_multiple_of(64) {
            true => Ok(Self(bytes)),
            false => Err(format!(
                "expected a multiple of 64 from {SMALLEST_SLOT_BYTES} to {LARGEST_SLOT_BYTES}"
            )),
        }
    }
}

impl Value for SlotBytes {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(usize::from_text(text)?)
    }
}

/// A number of bytes as settings and the command line write it: `8`, `64K`, `4M` or `1GiB`; a letter is a
/// power of 1024.
///
/// ```
/// assert_eq!(crosstie::parse_bytes("64K"), Ok(65_536));
/// assert!(crosstie::parse_bytes("many").is_err());
/// ```
///
/// # Errors
/// What is expected, for people; more than 256 TiB too.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || "write a number of bytes as 8, 64K, 4M or 1G".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| bytes <= 1 << 48);
    bytes.ok_or_else(|| "at most 256T".to_owned())
}

/// A time as settings write it: `30`, `30s`, `500ms`, `1.5s` or `2m`; a bare number is seconds.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(crosstie::parse_duration("500ms"), Ok(Duration::from_millis(500)));
/// assert!(crosstie::parse_duration("3h").is_err());
/// ```
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

/// A secret is hashed, not stretched, and a name derived from it travels in clear: a short one can
/// be guessed.
fn warn_of_a_weak_secret(environment: &BTreeMap<String, String>) {
    let is_weak = |secret: &String| secret.len() < STRONG_SECRET_BYTES;
    if environment.get("CROSSTIE_SECRET").is_some_and(is_weak) && said::first("a weak secret") {
        tracing::warn!(
            "CROSSTIE_SECRET has fewer than {STRONG_SECRET_BYTES} characters and can be guessed; \
             make one with `openssl rand -hex 32`"
        );
    }
}

/// Whether ranks of a host read each other's memory where the setting leaves it open. Measured with
/// `benches/buffers.rs` and `CROSSTIE_PULL`, 2 ranks on 2 cores, pulled against copied, µs: all_reduce
/// 256 KiB 43 : 26, 4 MiB 746 : 444; all_to_all 64 KiB 5.8 : 6.0, 1 MiB 65 : 50, 16 MiB 5519 : 3096. The
/// kernel pins pages and copies slower than the slots' two copies in cache.
const PULLS: bool = false;
const STRONG_SECRET_BYTES: usize = 16;
/// Where no message goes through memory: each waits for its grant, so fewer and longer ones are
/// faster; in shared memory they would leave the cache. Measured with `CROSSTIE_TRANSPORT=tcp
/// CROSSTIE_SLOT_BYTES=…` and `benches/buffers.rs`, all_reduce on 2 ranks over loopback, slots of 128,
/// 256, 512 and 1024 KiB, in µs: of 1 MiB 365, 271, 257 and 263; of 2 MiB 750, 562, 445 and 695; of
/// 4 MiB 1592, 1258, 1115 and 1593.
const NETWORK_SLOT_BYTES: usize = 512 << 10;
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
    fn slots_are_longer_where_all_messages_go_over_the_network_unless_somebody_chose() {
        let mut unset = Settings::default().resolve(BTreeMap::new()).unwrap();
        let mut told = resolved("CROSSTIE_SLOT_BYTES", "64K").unwrap();
        let mut set = Settings::default().slot_bytes(256).resolve(BTreeMap::new()).unwrap();
        for (settings, in_memory, networked) in [
            (&mut unset, 128 << 10, NETWORK_SLOT_BYTES),
            (&mut told, 64 << 10, 64 << 10),
            (&mut set, 256, 256),
        ] {
            settings.fit_slots(false);
            assert_eq!(settings.limits.slot_bytes, in_memory);
            settings.fit_slots(true);
            assert_eq!(settings.limits.slot_bytes, networked);
        }
    }

    #[test]
    fn slots_that_no_ring_has_are_refused() {
        for text in ["0", "63", "100", "99999999999", "many"] {
            let error = resolved("CROSSTIE_SLOT_BYTES", text).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        for text in ["1048576", "1M"] {
            assert_eq!(resolved("CROSSTIE_SLOT_BYTES", text).unwrap().limits.slot_bytes, 1 << 20);
        }
    }
}
