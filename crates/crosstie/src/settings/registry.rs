//! Owns the table of settings: each one's name in the environment, scope, default and meaning, and how
//! its value is found there. What reads settings, documents them or warns of them reads this table.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crosstie_net::UniqueId;
use crosstie_planner::ReductionOrder;
use crosstie_probe::PortNames;

use super::nccl::{self, Heard, Meant, Nccl, Says};
use super::said;
use super::{
    Ahead, Bound, Detect, Flush, Forced, Most, Nics, OnOff, Protocol, Pull, Pxn, QueuePairs,
    RailCount, ServiceLevel, SlotBytes, Transport, Value,
};
use crate::Error;

/// Variables by name.
type Environment = BTreeMap<String, String>;

/// Who must agree on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Equal on all ranks, which is checked when they meet.
    World,
    /// Each rank may have its own.
    Rank,
}

impl Scope {
    /// `world` or `rank`.
    ///
    /// ```
    /// use crosstie::SettingScope;
    ///
    /// assert_eq!(SettingScope::World.name(), "world");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Rank => "rank",
        }
    }
}

/// Where a setting's value comes from, where no flag and no builder gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The variable of its own name.
    Environment,
    /// NCCL's variable that means the same.
    Nccl(&'static str),
    /// The default.
    Default,
    /// There is no value.
    Unset,
}

/// What an environment says of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The value as text, if there is one.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it cannot be used, if it cannot.
    pub problem: Option<String>,
    /// What NCCL's variables say that is not heeded, with the reason.
    pub ignored: Option<String>,
}

/// One setting, as people read of it.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the environment.
    pub name: &'static str,
    /// Who must agree on it.
    pub scope: Scope,
    /// Its value where nobody gives one, as the environment would write it.
    pub default: Option<&'static str>,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Those of NCCL's that it answers for.
    nccl: [Option<Nccl>; MOST_OF_NCCL],
    check: fn(&str) -> Result<(), String>,
}

/// More than one setting answers for.
const MOST_OF_NCCL: usize = 2;

impl Setting {
    /// Every setting, in the order of their names.
    ///
    /// ```
    /// use crosstie::Setting;
    ///
    /// for setting in Setting::all() {
    ///     println!("{} ({}): {}", setting.name, setting.scope.name(), setting.meaning);
    /// }
    /// ```
    pub fn all() -> &'static [&'static Self] {
        ALL
    }

    /// The setting of that name.
    ///
    /// ```
    /// use crosstie::Setting;
    ///
    /// let timeout = Setting::named("CROSSTIE_TIMEOUT").unwrap();
    /// assert_eq!(timeout.default, Some("30m"));
    /// ```
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|setting| setting.name == name)
    }

    /// The setting whose name is most like `name`, if one is like enough to be meant.
    ///
    /// ```
    /// use crosstie::Setting;
    ///
    /// let meant = Setting::like("CROSSTIE_TIMOUT").unwrap();
    /// assert_eq!(meant.name, "CROSSTIE_TIMEOUT");
    /// ```
    pub fn like(name: &str) -> Option<&'static Self> {
        let likeness = |setting: &&Self| {
            let (known, told) = (own_part(setting.name), own_part(name));
            // Of short names one slip changes most of what that measure looks at.
            let is_a_slip = strsim::osa_distance(known, told) <= 1;
            if is_a_slip { 1.0 } else { strsim::jaro_winkler(known, told) }
        };
        let by_likeness = |a: &&Self, b: &&Self| likeness(a).total_cmp(&likeness(b));
        ALL.iter().copied().max_by(by_likeness).filter(|found| likeness(found) > LIKE_ENOUGH)
    }

    /// The names in an environment that begin as settings do and are none.
    ///
    /// ```
    /// use crosstie::Setting;
    ///
    /// let variables = [("CROSSTIE_FRUIT", "1"), ("HOME", "/")];
    /// let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    /// assert!(Setting::unknown(&variables).eq(["CROSSTIE_FRUIT"]));
    /// ```
    pub fn unknown(environment: &Environment) -> impl Iterator<Item = &str> {
        let names = environment.keys().map(String::as_str);
        names.filter(|name| name.starts_with(PREFIX) && Self::named(name).is_none())
    }

    /// What `environment` says of this setting: its own variable first, then NCCL's that means the
    /// same, then the default.
    ///
    /// ```
    /// use crosstie::{Origin, Setting};
    ///
    /// let variables = [("NCCL_SHM_DISABLE".to_owned(), "1".to_owned())].into();
    /// let told = Setting::named("CROSSTIE_TRANSPORT").unwrap().told(&variables);
    /// assert_eq!(told.value.as_deref(), Some("tcp"));
    /// assert_eq!(told.origin, Origin::Nccl("NCCL_SHM_DISABLE"));
    /// ```
    pub fn told(&self, environment: &Environment) -> Told {
        if let Some(value) = environment.get(self.name) {
            let problem = (self.check)(value).err();
            let (value, origin) = (Some(value.clone()), Origin::Environment);
            return Told { value, origin, problem, ignored: None };
        }
        let Heard { value, ignored } = self.heard(environment);
        let ignored = (!ignored.is_empty()).then(|| ignored.join("; "));
        if let Some((name, value)) = value {
            let problem = (self.check)(&value).err();
            return Told { value: Some(value), origin: Origin::Nccl(name), problem, ignored };
        }
        let origin = if self.default.is_some() { Origin::Default } else { Origin::Unset };
        Told { value: self.default.map(str::to_owned), origin, problem: None, ignored }
    }

    /// The names of NCCL's variables that mean the same.
    ///
    /// ```
    /// use crosstie::Setting;
    ///
    /// let transport = Setting::named("CROSSTIE_TRANSPORT").unwrap();
    /// assert!(transport.nccl_names().eq(["NCCL_SHM_DISABLE", "NCCL_NET"]));
    /// ```
    pub fn nccl_names(&self) -> impl Iterator<Item = &'static str> {
        let same = self.nccl.iter().flatten().filter(|nccl| matches!(nccl.says, Says::Same(_)));
        same.map(|nccl| nccl.name)
    }

    /// Whether it answers for this variable of NCCL's.
    pub(super) fn answers_for(&self, name: &str) -> bool {
        self.nccl.iter().flatten().any(|nccl| nccl.name == name)
    }

    /// What NCCL's variables that it answers for say.
    fn heard(&self, environment: &Environment) -> Heard {
        let mut heard = Heard::default();
        for nccl in self.nccl.iter().flatten() {
            if let Some(value) = environment.get(nccl.name) {
                heard.hear(self.name, nccl, value);
            }
        }
        heard
    }
}

/// Puts what NCCL's variables say in the place of ours that are not set, and says so.
pub(crate) fn honour_nccl(environment: &mut Environment) {
    for setting in ALL {
        if environment.contains_key(setting.name) {
            continue;
        }
        let Heard { value, ignored } = setting.heard(environment);
        ignored.iter().filter(|what| said::first(what)).for_each(|what| tracing::warn!("{what}"));
        if let Some((name, value)) = value {
            let what = format!("{name} is honoured as {}={value}", setting.name);
            if said::first(&what) {
                tracing::info!("{what}");
            }
            environment.insert(setting.name.to_owned(), value);
        }
    }
}

/// A setting with the type of its value.
pub(crate) struct Knob<T> {
    pub setting: Setting,
    value: PhantomData<fn() -> T>,
}

impl<T: Value> Knob<T> {
    const fn new(name: &'static str, scope: Scope, meaning: &'static str) -> Self {
        let check = |text: &str| T::from_text(text).map(drop);
        let (default, secret, nccl) = (None, false, [const { None }; MOST_OF_NCCL]);
        let setting = Setting { name, scope, default, meaning, secret, nccl, check };
        Self { setting, value: PhantomData }
    }

    const fn default(mut self, text: &'static str) -> Self {
        self.setting.default = Some(text);
        self
    }

    const fn secret(mut self) -> Self {
        self.setting.secret = true;
        self
    }

    const fn nccl(self, name: &'static str, translate: fn(&str) -> Meant) -> Self {
        self.answers(Nccl { name, says: Says::Same(translate) })
    }

    /// For a variable that is not needed, for this reason.
    const fn unneeded(self, name: &'static str, why: &'static str) -> Self {
        self.answers(Nccl { name, says: Says::Nothing(why) })
    }

    const fn answers(mut self, nccl: Nccl) -> Self {
        let mut place = 0;
        while self.setting.nccl[place].is_some() {
            place += 1;
        }
        self.setting.nccl[place] = Some(nccl);
        self
    }

    /// The value that was set, else what the environment or the default says; `None` where nobody
    /// says anything.
    pub fn optional(&self, set: Option<T>, environment: &Environment) -> Result<Option<T>, Error> {
        if set.is_some() {
            return Ok(set);
        }
        let Some(text) = self.setting.told(environment).value else { return Ok(None) };
        T::from_text(&text).map(Some).map_err(|what| self.wrong(text, what))
    }

    /// As [`optional`](Self::optional), for a setting that always has a value.
    pub fn value(&self, set: Option<T>, environment: &Environment) -> Result<T, Error> {
        let value = self.optional(set, environment)?;
        value.ok_or_else(|| self.wrong(String::new(), "has no value".to_owned()))
    }

    /// Its name in the environment.
    pub fn name(&self) -> &'static str {
        self.setting.name
    }

    /// The refusal of a value.
    pub fn wrong(&self, value: String, what: String) -> Error {
        Error::Setting { name: self.setting.name, value, what }
    }
}

const PREFIX: &str = "CROSSTIE_";

/// Between 0 and 1; a letter lost, doubled or exchanged leaves 0.9 and more of a name's likeness.
const LIKE_ENOUGH: f64 = 0.8;

fn own_part(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

pub(crate) static AGGREGATE: Knob<Most> = Knob::new(
    "CROSSTIE_AGGREGATE",
    Scope::Rank,
    "messages of a node's ranks that may leave as one wire message, where they share a wire: 1 (each alone) to 8",
)
.default("8");
pub(crate) static ALGORITHM: Knob<Forced> = Knob::new(
    "CROSSTIE_ALGORITHM",
    Scope::World,
    "algorithm to take wherever it suits: `ring`, `direct`, `flat`, `tree`, `hierarchical`, \
     `canonical`, `pat`; `auto`: the fastest for each call",
)
.default("auto")
.nccl("NCCL_ALGO", algorithm_of_nccl);
pub(crate) static DETECT: Knob<Detect> = Knob::new(
    "CROSSTIE_DETECT",
    Scope::Rank,
    "whether a rank finds out what its node's machine is: `on`, `off`, or the directory where another machine's files lie",
)
.default("on");
pub(crate) static FLUSH: Knob<Flush> = Knob::new(
    "CROSSTIE_FLUSH",
    Scope::Rank,
    "how long a message waits for others that may leave with it: `full` (for all that are expected), \
     a time as `5us` (a bare number is nanoseconds), 10 ms at most; `auto`: 1 ms for those that were named, 20 µs (over verbs 3 µs) for those that are likely",
)
.default("auto");
pub(crate) static HEAP_BYTES: Knob<usize> = Knob::new(
    "CROSSTIE_HEAP_BYTES",
    Scope::Rank,
    "bytes that buffers of `alloc` may have together; unset: as many as the host has memory",
);
pub(crate) static HEARTBEAT: Knob<Duration> =
    Knob::new("CROSSTIE_HEARTBEAT", Scope::Rank, "how often monitors say that they live")
        .default("1s");
static ID: Knob<UniqueId> =
    Knob::new("CROSSTIE_ID", Scope::World, "the unique id of the meeting, as rank 0 made it")
        .secret();
pub(crate) static INIT_TIMEOUT: Knob<Duration> = Knob::new(
    "CROSSTIE_INIT_TIMEOUT",
    Scope::Rank,
    "how long the ranks may take to meet and connect",
)
.default("2m");
pub(crate) static INTERFACE: Knob<String> = Knob::new(
    "CROSSTIE_INTERFACE",
    Scope::Rank,
    "interfaces whose addresses are offered to others, by the beginnings of their names, as `eth,ib`; with `=` in front \
     by their whole names, with `^` all but these; unset: all",
)
.nccl("NCCL_SOCKET_IFNAME", |list| match list.trim() {
    "" => Meant::Default,
    list => Meant::Ours(list.to_owned()),
});
static LOG: Knob<String> = Knob::new(
    "CROSSTIE_LOG",
    Scope::Rank,
    "what the `crosstie` command and the C library log to standard error: a level, or several (`crosstie_net=debug,warn`)",
)
.default("warn")
.nccl("NCCL_DEBUG", level_of_nccl);
pub(crate) static MEMORY_LIMIT: Knob<u64> = Knob::new(
    "CROSSTIE_MEMORY_LIMIT",
    Scope::Rank,
    "bytes that a communicator may allocate: slots, scratch memory and buffers of `alloc`; unset: no limit",
);
pub(crate) static NICS: Knob<Nics> = Knob::new(
    "CROSSTIE_NICS",
    Scope::Rank,
    "addresses of this node's NICs, in the order of the rails, one for each (`10.0.0.1,10.1.0.1`); unset: all rails share \
     what the host has",
);
static NODE: Knob<String> = Knob::new(
    "CROSSTIE_NODE",
    Scope::Rank,
    "name of this rank's node; ranks of equal names share memory; unset: told by the host",
)
.nccl("NCCL_HOSTID", |host| Meant::Ours(host.to_owned()));
pub(crate) static OPEN_AHEAD: Knob<Ahead> = Knob::new(
    "CROSSTIE_OPEN_AHEAD",
    Scope::Rank,
    "receives of a connection over a network that a rank opens before it needs them, 0 to 7: a sender far away \
     waits less, messages behind a full queue wait longer",
)
.default("0");
static PORT: Knob<u16> = Knob::new(
    "CROSSTIE_PORT",
    Scope::World,
    "port of the meeting on MASTER_ADDR; unset: MASTER_PORT + 1",
);
pub(crate) static PORTS: Knob<RangeInclusive<u16>> =
    Knob::new("CROSSTIE_PORTS", Scope::Rank, "ports to listen at, as `40000-40100`; 0: any")
        .default("0");
pub(crate) static PROTOCOL: Knob<Protocol> = Knob::new(
    "CROSSTIE_PROTOCOL",
    Scope::Rank,
    "how messages pass inside a node: `copy` by way of slots, `lend` wherever a value lies in a buffer of \
     `alloc`, however short; `auto`: lent where that is faster",
)
.default("auto");
pub(crate) static PULL: Knob<Pull> = Knob::new(
    "CROSSTIE_PULL",
    Scope::Rank,
    "whether ranks of a host read long messages out of each other's memory, where the kernel lets them: \
     `on`, `off`; `auto`: off, for slots are faster",
)
.default("auto");
pub(crate) static PXN: Knob<Pxn> = Knob::new(
    "CROSSTIE_PXN",
    Scope::World,
    "`on`: messages between nodes go by way of the rank whose NIC is on the receiver's rail; `off`: each rank \
     sends from its own; `auto`: `on` below CROSSTIE_RELAY_BELOW, where all ranks of a node send to the same, and where \
     messages would cross rails",
)
.default("off");
pub(crate) static RAILS: Knob<RailCount> = Knob::new(
    "CROSSTIE_RAILS",
    Scope::World,
    "rails, or NICs, of each node, 1 to 4096; unset: one for each address of CROSSTIE_NICS, without those for \
     each NIC that the nodes have, if that is several, else for each rank of the largest node",
);
static RANK: Knob<u32> = Knob::new(
    "CROSSTIE_RANK",
    Scope::Rank,
    "this rank's number, from 0; unset: the launcher's word",
);
pub(crate) static REDUCTION_ORDER: Knob<ReductionOrder> = Knob::new(
    "CROSSTIE_REDUCTION_ORDER",
    Scope::World,
    "`fast`, or `canonical`: the same bits on any nodes, transports and algorithms",
)
.default("fast");
pub(crate) static RELAY_BELOW: Knob<Bound> = Knob::new(
    "CROSSTIE_RELAY_BELOW",
    Scope::World,
    "with `CROSSTIE_PXN=auto`, bytes of a block from which on it goes past relays; `unlimited`: none does; unset: \
     as many as relays pay for by the cost model, and all blocks that would cross rails go by relays",
);
static ROOT: Knob<String> = Knob::new(
    "CROSSTIE_ROOT",
    Scope::World,
    "`host:port` where rank 0 waits for the others; with a secret; unset: the launcher's help",
);
static SECRET: Knob<String> = Knob::new(
    "CROSSTIE_SECRET",
    Scope::World,
    "what all ranks know and strangers do not; better in a file",
)
.secret();
static SECRET_FILE: Knob<String> =
    Knob::new("CROSSTIE_SECRET_FILE", Scope::Rank, "file that holds the secret");
pub(crate) static SILENCE: Knob<Duration> =
    Knob::new("CROSSTIE_SILENCE", Scope::Rank, "after how much silence a rank is given up")
        .default("10s");
static SIZE: Knob<u32> = Knob::new(
    "CROSSTIE_SIZE",
    Scope::World,
    "how many ranks there are; unset: the launcher's word",
);
pub(crate) static SLOT_BYTES: Knob<SlotBytes> = Knob::new(
    "CROSSTIE_SLOT_BYTES",
    Scope::World,
    "bytes of the longest message; unset: 512K where all go over the network",
)
.default("128K");
pub(crate) static STALL: Knob<Duration> = Knob::new(
    "CROSSTIE_STALL",
    Scope::Rank,
    "how long a call that all ranks have made may move nothing, on any of them; half as long, and a path between two \
     that gives no answer is taken for cut",
)
.default("30s")
.unneeded("NCCL_IB_TIMEOUT", nccl::BY_STALL)
.unneeded("NCCL_IB_RETRY_CNT", nccl::BY_STALL);
pub(crate) static TIMEOUT: Knob<Duration> = Knob::new(
    "CROSSTIE_TIMEOUT",
    Scope::Rank,
    "how long a call waits for ranks that have not made it (`30`, `500ms`, `2m`; a bare number is seconds)",
)
.default("30m");
pub(crate) static TOPO_FILE: Knob<PathBuf> = Knob::new(
    "CROSSTIE_TOPO_FILE",
    Scope::World,
    "NCCL topology file, or captured machine, that each node is; unset: what each finds itself to be (CROSSTIE_DETECT)",
)
.nccl("NCCL_TOPO_FILE", |file| match file {
    "" => Meant::Default,
    file => Meant::Ours(file.to_owned()),
});
pub(crate) static TRANSPORT: Knob<Transport> = Knob::new(
    "CROSSTIE_TRANSPORT",
    Scope::World,
    "`auto` (shared memory inside a node; between two nodes ibverbs, where both have it and a probe passes, else TCP), \
     `shm`, `tcp`, or `verbs` (as `auto`, but without ibverbs between two nodes it fails)",
)
.default("auto")
.nccl("NCCL_SHM_DISABLE", transport_of_nccl)
.nccl("NCCL_NET", nccl::transport_of_net);
pub(crate) static TUNE_FILE: Knob<PathBuf> = Knob::new(
    "CROSSTIE_TUNE_FILE",
    Scope::World,
    "measured times by which algorithms are chosen, as `crosstie tune` writes them; rank 0 reads it for all; unset: \
     what is built in",
);
pub(crate) static VERBS: Knob<OnOff> = Knob::new(
    "CROSSTIE_VERBS",
    Scope::Rank,
    "whether `CROSSTIE_TRANSPORT=auto` may take ibverbs at this rank: `on` or `off`",
)
.default("on")
.nccl("NCCL_IB_DISABLE", |value| match value.trim() {
    "" | "0" => Meant::Default,
    "1" => Meant::Ours("off".to_owned()),
    _ => Meant::NoEqual("0 and 1"),
})
.nccl("NCCL_NET", nccl::verbs_of_net);
pub(crate) static DEVICES: Knob<PortNames> = Knob::new(
    "CROSSTIE_VERBS_DEVICES",
    Scope::Rank,
    "ports of RDMA devices that this node uses, by the beginnings of their names (`mlx5_0,mlx5_1:1`); after `=` whole \
     names, after `^` all but these; unset: all",
)
.nccl("NCCL_IB_HCA", nccl::ports_of_nccl);
pub(crate) static GID_INDEX: Knob<u8> = Knob::new(
    "CROSSTIE_VERBS_GID_INDEX",
    Scope::Rank,
    "place, in its port's table, of the GID by which a rank is reached over verbs; unset: both ends choose",
)
.nccl("NCCL_IB_GID_INDEX", |value| number_of_nccl(value, 255, "0 to 255, and -1,"));
pub(crate) static QUEUE_PAIRS: Knob<QueuePairs> = Knob::new(
    "CROSSTIE_VERBS_QUEUE_PAIRS",
    Scope::Rank,
    "queue pairs over which a wire's payloads are spread, 1 to 8, for networks that choose between equal ways by them; \
     the ends of a wire take the smaller number",
)
.default("1")
.nccl("NCCL_IB_QPS_PER_CONNECTION", |value| number_of_nccl(value, 8, "1 to 8"));
pub(crate) static SERVICE_LEVEL: Knob<ServiceLevel> = Knob::new(
    "CROSSTIE_VERBS_SERVICE_LEVEL",
    Scope::Rank,
    "service level of packets over verbs, 0 to 15; over Ethernet it becomes their priority",
)
.default("0")
.nccl("NCCL_IB_SL", |value| number_of_nccl(value, 15, "0 to 15, and -1,"));
pub(crate) static TRAFFIC_CLASS: Knob<u8> = Knob::new(
    "CROSSTIE_VERBS_TRAFFIC_CLASS",
    Scope::Rank,
    "traffic class of packets over verbs, 0 to 255: over Ethernet four times their DSCP",
)
.default("0")
.nccl("NCCL_IB_TC", |value| number_of_nccl(value, 255, "0 to 255, and -1,"));

static ALL: &[&Setting] = &[
    &AGGREGATE.setting,
    &ALGORITHM.setting,
    &DETECT.setting,
    &FLUSH.setting,
    &HEAP_BYTES.setting,
    &HEARTBEAT.setting,
    &ID.setting,
    &INIT_TIMEOUT.setting,
    &INTERFACE.setting,
    &LOG.setting,
    &MEMORY_LIMIT.setting,
    &NICS.setting,
    &NODE.setting,
    &OPEN_AHEAD.setting,
    &PORT.setting,
    &PORTS.setting,
    &PROTOCOL.setting,
    &PULL.setting,
    &PXN.setting,
    &RAILS.setting,
    &RANK.setting,
    &REDUCTION_ORDER.setting,
    &RELAY_BELOW.setting,
    &ROOT.setting,
    &SECRET.setting,
    &SECRET_FILE.setting,
    &SILENCE.setting,
    &SIZE.setting,
    &SLOT_BYTES.setting,
    &STALL.setting,
    &TIMEOUT.setting,
    &TOPO_FILE.setting,
    &TRANSPORT.setting,
    &TUNE_FILE.setting,
    &VERBS.setting,
    &DEVICES.setting,
    &GID_INDEX.setting,
    &QUEUE_PAIRS.setting,
    &SERVICE_LEVEL.setting,
    &TRAFFIC_CLASS.setting,
];

/// Of NCCL's lists, and of `^` (not these), what leaves one of the algorithms that both have, or all of them.
fn algorithm_of_nccl(value: &str) -> Meant {
    const COMMON: [&str; 3] = ["ring", "tree", "pat"];
    let told = value.trim().to_ascii_lowercase();
    let (is_excluded, list) = match told.strip_prefix('^') {
        Some(list) => (true, list),
        None => (false, told.as_str()),
    };
    let named: Vec<&str> = list.split(',').map(str::trim).collect();
    let is_left = |name: &&str| named.contains(name) != is_excluded;
    match COMMON.into_iter().filter(is_left).collect::<Vec<_>>()[..] {
        _ if told.is_empty() => Meant::Default,
        _ if told.contains([':', ';']) => Meant::NoEqual("what holds for all operations"),
        [one] => Meant::Ours(one.to_owned()),
        [_, _, _] => Meant::Default,
        _ => Meant::NoEqual("what leaves one of Ring, Tree and PAT, or all,"),
    }
}

fn level_of_nccl(value: &str) -> Meant {
    let level = match value.to_ascii_uppercase().as_str() {
        "" => return Meant::Default,
        "NONE" => "off",
        "VERSION" | "WARN" | "ABORT" => "warn",
        "INFO" => "info",
        "TRACE" => "trace",
        _ => return Meant::NoEqual("NONE, VERSION, WARN, ABORT, INFO and TRACE"),
    };
    Meant::Ours(level.to_owned())
}

/// NCCL also writes numbers in base 16, and -1 for those that it chooses itself.
fn number_of_nccl(value: &str, most: u8, known: &'static str) -> Meant {
    let text = value.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        _ if matches!(text, "" | "-1") => Meant::Default,
        Ok(number) if number <= most => Meant::Ours(number.to_string()),
        _ => Meant::NoEqual(known),
    }
}

fn transport_of_nccl(shm_disabled: &str) -> Meant {
    match shm_disabled.trim() {
        "1" => Meant::Ours(Transport::Tcp.name().to_owned()),
        "" | "0" => Meant::Default,
        _ => Meant::NoEqual("0 and 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_table_is_in_order_and_its_defaults_can_be_read() {
        assert!(ALL.is_sorted_by(|a, b| a.name < b.name));
        for setting in ALL {
            assert!(setting.name.starts_with(PREFIX), "{}", setting.name);
            assert!(!setting.meaning.is_empty() && !setting.meaning.ends_with('.'));
            if let Some(default) = setting.default {
                assert_eq!((setting.check)(default), Ok(()), "{}={default}", setting.name);
            }
        }
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_one_that_was_meant() {
        let like = |name| Setting::like(name).map(|setting| setting.name);
        assert_eq!(like("CROSSTIE_TIMOUT"), Some("CROSSTIE_TIMEOUT"));
        assert_eq!(like("CROSSTIE_PNX"), Some("CROSSTIE_PXN"));
        assert_eq!(like("CROSSTIE_TRANSPROT"), Some("CROSSTIE_TRANSPORT"));
        assert_eq!(like("CROSSTIE_SLOTBYTES"), Some("CROSSTIE_SLOT_BYTES"));
        assert_eq!(like("CROSSTIE_FRUIT"), None);
        let told = environment(&[("CROSSTIE_FRUIT", "1"), ("CROSSTIE_RANK", "1"), ("HOME", "/")]);
        assert_eq!(Setting::unknown(&told).collect::<Vec<_>>(), ["CROSSTIE_FRUIT"]);
    }

    #[test]
    fn a_value_comes_from_its_own_name_then_from_nccls_then_from_the_default() {
        let both = environment(&[("CROSSTIE_TRANSPORT", "shm"), ("NCCL_SHM_DISABLE", "1")]);
        let nccl = environment(&[("NCCL_SHM_DISABLE", "1")]);
        let other = environment(&[("NCCL_SHM_DISABLE", "0")]);
        for (told, value, origin) in [
            (both, "shm", Origin::Environment),
            (nccl, "tcp", Origin::Nccl("NCCL_SHM_DISABLE")),
            (other, "auto", Origin::Default),
        ] {
            let told = TRANSPORT.setting.told(&told);
            assert_eq!((told.value.as_deref(), told.origin), (Some(value), origin));
        }
    }

    #[test]
    fn of_nccls_values_only_those_with_an_equal_are_honoured() {
        let honoured = |name: &str, value: &str| {
            let mut told = environment(&[(name, value)]);
            honour_nccl(&mut told);
            told.remove(name);
            told.into_iter().next().map(|(name, value)| format!("{name}={value}"))
        };
        for (name, value, expected) in [
            ("NCCL_SOCKET_IFNAME", "eth", Some("CROSSTIE_INTERFACE=eth")),
            ("NCCL_SOCKET_IFNAME", "^docker,lo", Some("CROSSTIE_INTERFACE=^docker,lo")),
            ("NCCL_SOCKET_IFNAME", "", None),
            ("NCCL_ALGO", "Tree", Some("CROSSTIE_ALGORITHM=tree")),
            ("NCCL_ALGO", "NVLS,Ring", Some("CROSSTIE_ALGORITHM=ring")),
            ("NCCL_ALGO", "^tree,pat", Some("CROSSTIE_ALGORITHM=ring")),
            ("NCCL_ALGO", "^NVLS", None),
            ("NCCL_ALGO", "allreduce:ring", None),
            ("NCCL_DEBUG", "INFO", Some("CROSSTIE_LOG=info")),
            ("NCCL_DEBUG", "loud", None),
            ("NCCL_HOSTID", "west", Some("CROSSTIE_NODE=west")),
            ("NCCL_TOPO_FILE", "a.xml", Some("CROSSTIE_TOPO_FILE=a.xml")),
            ("NCCL_TOPO_FILE", "", None),
            ("NCCL_IB_DISABLE", "1", Some("CROSSTIE_VERBS=off")),
            ("NCCL_IB_DISABLE", "0", None),
            ("NCCL_IB_GID_INDEX", "3", Some("CROSSTIE_VERBS_GID_INDEX=3")),
            ("NCCL_IB_GID_INDEX", "-1", None),
            ("NCCL_IB_HCA", "=mlx5_0:1,mlx5_1", Some("CROSSTIE_VERBS_DEVICES==mlx5_0:1,mlx5_1")),
            ("NCCL_IB_HCA", "", None),
            ("NCCL_IB_HCA", "mlx5_0:1:2", None),
            ("NCCL_IB_RETRY_CNT", "7", None),
            ("NCCL_NET", "Socket", Some("CROSSTIE_VERBS=off")),
            ("NCCL_NET", "IB", Some("CROSSTIE_TRANSPORT=verbs")),
            ("NCCL_NET", "AWS Libfabric", None),
            ("NCCL_IB_QPS_PER_CONNECTION", "4", Some("CROSSTIE_VERBS_QUEUE_PAIRS=4")),
            ("NCCL_IB_TC", "0x6a", Some("CROSSTIE_VERBS_TRAFFIC_CLASS=106")),
            ("NCCL_IB_SL", "15", Some("CROSSTIE_VERBS_SERVICE_LEVEL=15")),
            ("NCCL_IB_SL", "16", None),
            ("NCCL_BUFFSIZE", "1", None),
        ] {
            assert_eq!(honoured(name, value).as_deref(), expected, "{name}={value}");
        }
    }

    #[test]
    fn what_nccls_variables_say_in_vain_is_told() {
        let ignored = |setting: &Setting, name: &str, value: &str| {
            setting.told(&environment(&[(name, value)])).ignored
        };
        let what = ignored(&ALGORITHM.setting, "NCCL_ALGO", "NVLS").unwrap();
        assert!(
            what.starts_with("NCCL_ALGO=NVLS is ignored") && what.contains("CROSSTIE_ALGORITHM")
        );
        let what = ignored(&ALGORITHM.setting, "NCCL_ALGO", "ring,tree").unwrap();
        assert!(what.contains("what leaves one of"), "{what}");
        for (setting, name, value) in [
            (&ALGORITHM.setting, "NCCL_ALGO", "Ring"),
            (&ALGORITHM.setting, "NCCL_ALGO", "^NVLS,NVLSTree"),
            (&TRANSPORT.setting, "NCCL_SHM_DISABLE", "0"),
            (&TRANSPORT.setting, "NCCL_SHM_DISABLE", "1"),
        ] {
            assert_eq!(ignored(setting, name, value), None, "{name}={value}");
        }
        for (setting, name, value, why) in [
            (&STALL.setting, "NCCL_IB_TIMEOUT", "22", "CROSSTIE_STALL"),
            (&STALL.setting, "NCCL_IB_RETRY_CNT", "7", "CROSSTIE_STALL"),
            (&TRANSPORT.setting, "NCCL_NET", "AWS Libfabric", "IB and Socket"),
            (&DEVICES.setting, "NCCL_IB_HCA", "mlx5_0:1:2", "`device:port`"),
        ] {
            let what = ignored(setting, name, value).unwrap();
            assert!(what.starts_with(&format!("{name}={value} is ignored")), "{what}");
            assert!(what.contains(why), "{what}");
        }
        let two = environment(&[("NCCL_NET", "IB"), ("NCCL_SHM_DISABLE", "1")]);
        let told = TRANSPORT.setting.told(&two);
        assert_eq!(told.value.as_deref(), Some("tcp"));
        let what = told.ignored.unwrap();
        assert!(what.contains("NCCL_SHM_DISABLE is honoured as CROSSTIE_TRANSPORT=tcp"), "{what}");
        let both = environment(&[("NCCL_ALGO", "NVLS"), ("CROSSTIE_ALGORITHM", "ring")]);
        assert_eq!(ALGORITHM.setting.told(&both).ignored, None, "ours was said");
    }
}
