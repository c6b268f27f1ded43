//! Owns what is known of this host: read once, here alone. Findings are functions of it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crosstie::{Machine, Setting, Settings, parse_ports};
use crosstie_bootstrap::node_key;
use crosstie_launch::{Explicit, Launcher, identify};
use crosstie_net::{Address, all_addresses, host_name};
use crosstie_planner::{Nodes, Rails};
use crosstie_probe::Facts;
use rustix::fs::{Access, MemfdFlags, access, memfd_create, statvfs};
use rustix::process::{Resource, getrlimit};

use super::library;
use crate::args::DoctorArgs;
use crate::config;
use crate::exit::Failure;
use crate::file;
use crate::launch::refuse_empty_nodes;
use crate::topo::machine::DRIVER;
use crate::tune::read_table;

/// This host.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub host: String,
    pub kernel: String,
    pub world: World,
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    pub memory: Memory,
    /// What must be equal for ranks to share memory, in words.
    pub node_key: String,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Why they are not known, if they are not.
    pub addresses_refused: Option<String>,
    pub ports: Ports,
    /// What topology detection reads.
    pub facts: Facts,
    pub verbs: Verbs,
    pub nvidia: Nvidia,
    pub clock: Clock,
    /// How many threads run at once.
    pub cores: u64,
    /// Yama's `ptrace_scope`, where the kernel has it.
    pub ptrace_scope: Option<u32>,
    pub launcher: LauncherSays,
}

/// The world that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct World {
    pub ranks: u32,
    pub nodes: u32,
    /// So many rails must be usable, if somebody says so.
    pub rails: Option<u32>,
}

impl World {
    /// Ranks on this host, at most.
    pub fn here(&self) -> u32 {
        self.ranks.div_ceil(self.nodes.max(1))
    }
}

/// What the kernel allows; `None` where there is no limit.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub files: Option<u64>,
    /// To which a process may raise `files` itself.
    pub files_hard: Option<u64>,
    pub locked: Option<u64>,
    /// Processes and threads of this user, or of this container.
    pub threads: Option<u64>,
    pub may_lock: bool,
    pub may_trace: bool,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub total: u64,
    pub available: u64,
    /// Of this container: its limit, and what is taken of it.
    pub container: Option<(u64, u64)>,
    /// For the slots of one rank, at most.
    pub slots_of_a_rank: Option<u64>,
    /// Of one rank, what RDMA devices must be allowed to pin before its buffers, where ibverbs is asked for.
    pub pinned_by_a_rank: Option<u64>,
    /// Why memory cannot be shared, if it cannot.
    pub refused: Option<String>,
    /// The size of `/dev/shm`.
    pub shm: Option<u64>,
}

/// Ports to listen at.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    /// Those of the setting; none where any will do.
    pub range: Option<RangeInclusive<u16>>,
    /// How many of them are free: counted up to the ranks here.
    pub free: u32,
    /// What the kernel chooses from.
    pub ephemeral: Option<(u16, u16)>,
}

/// What verbs needs beside devices.
#[derive(Debug, Clone, Default)]
pub struct Verbs {
    /// Of the files in `/dev/infiniband`, why this user cannot use it, if it cannot.
    pub files: BTreeMap<String, Option<String>>,
    pub library: Option<PathBuf>,
    /// Its drivers, one for each kind of device.
    pub drivers: Vec<String>,
}

/// What the driver of NVIDIA's GPUs says of itself.
#[derive(Debug, Clone, Default)]
pub struct Nvidia {
    /// `/proc/driver/nvidia/version`.
    pub version: Option<String>,
    /// Whether `nvidia_peermem` is loaded.
    pub peermem: bool,
}

/// How the kernel tells time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    pub source: Option<String>,
    pub others: Vec<String>,
}

/// What starts ranks, and what it tells them.
#[derive(Debug, Clone, Default)]
pub struct LauncherSays {
    /// Its name, this rank and the size of its world; none where nobody started this process.
    pub world: Option<(&'static str, u32, u32)>,
    /// What cannot be used, in sentences.
    pub unusable: Vec<String>,
    /// What is not heeded, in sentences.
    pub in_vain: Vec<String>,
}

impl State {
    /// Reads this host, for a world as asked for.
    pub fn here(args: &DoctorArgs) -> Result<Self, Failure> {
        let environment = crosstie_launch::environment(std::env::vars_os());
        let facts = Facts::of_this_host(DRIVER);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let world = world(args, &environment, &facts, cores)?;
        let (addresses, addresses_refused) = match all_addresses() {
            Ok(addresses) => (addresses, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(Self {
            host: host_name(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            world,
            limits: limits(),
            memory: memory(world, asks_for_verbs(&environment)),
            node_key: node_key(),
            addresses,
            addresses_refused,
            ports: ports(&environment, world),
            verbs: verbs(),
            nvidia: Nvidia {
                version: word("/proc/driver/nvidia/version"),
                peermem: Path::new("/sys/module/nvidia_peermem").is_dir(),
            },
            clock: clock(),
            cores,
            ptrace_scope: word("/proc/sys/kernel/yama/ptrace_scope").and_then(|it| it.parse().ok()),
            launcher: launcher(&environment),
            facts,
            environment,
        })
    }

    /// Whether ranks would fail without ibverbs.
    pub fn asks_for_verbs(&self) -> bool {
        asks_for_verbs(&self.environment)
    }

    /// What a setting says in this environment.
    pub fn told(&self, name: &str) -> Option<String> {
        told(&self.environment, name)
    }
}

fn asks_for_verbs(environment: &BTreeMap<String, String>) -> bool {
    told(environment, "CROSSTIE_TRANSPORT").as_deref() == Some("verbs")
}

/// Bytes that rank 0 of a world pins before its buffers, over ibverbs alone.
fn pinned(world: World) -> Option<u64> {
    const MOST: u32 = 1 << 16;
    let here = world.here().max(1);
    let nodes = (0..world.ranks.min(MOST)).map(|rank| rank / here).collect();
    let nodes = Nodes::new(nodes).ok()?;
    let needs = Settings::default().verbs_needs(&nodes, &Rails::new(&nodes, None), 0);
    needs.ok().map(|needs| needs.pinned_bytes)
}

fn told(environment: &BTreeMap<String, String>, name: &str) -> Option<String> {
    Setting::named(name)?.told(environment).value
}

/// A file's text, without blanks at its ends.
fn word(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|it| !it.is_empty())
}

/// The launcher's world where there is one; else a rank for each GPU, or core.
fn world(
    args: &DoctorArgs,
    environment: &BTreeMap<String, String>,
    facts: &Facts,
    cores: u64,
) -> Result<World, Failure> {
    let started = identify(&Explicit::default(), environment).ok();
    let started = started.filter(|identity| identity.launcher != Launcher::Alone);
    let told_nodes = started.as_ref().and_then(|identity| {
        let (_, local) = identity.local?;
        Some(identity.size.div_ceil(local.max(1)))
    });
    let nodes = args.nodes.or(told_nodes.filter(|_| args.ranks.is_none())).unwrap_or(1);
    let on_each = match facts.gpus.gpus.len() {
        0 => u32::try_from(cores).unwrap_or(u32::MAX).clamp(2, 1024),
        gpus => u32::try_from(gpus).unwrap_or(u32::MAX),
    };
    let launched = started.map(|identity| identity.size).filter(|_| args.nodes.is_none());
    let ranks = args.ranks.or(launched).unwrap_or(on_each.saturating_mul(nodes));
    refuse_empty_nodes(nodes, ranks)?;
    Ok(World { ranks, nodes, rails: args.rails })
}

fn limits() -> Limits {
    let capable = |bit: u32| {
        let status = word("/proc/self/status").unwrap_or_default();
        let told = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = told.and_then(|told| u64::from_str_radix(told.trim(), 16).ok());
        bits.is_some_and(|bits| bits >> bit & 1 == 1)
    };
    let (files, processes) = (getrlimit(Resource::Nofile), getrlimit(Resource::Nproc));
    // CAP_SYS_RESOURCE goes past the limit of a user, not past that of a container.
    let of_user = processes.current.filter(|_| !capable(24));
    Limits {
        files: files.current,
        files_hard: files.maximum,
        locked: getrlimit(Resource::Memlock).current,
        threads: of_user.into_iter().chain(container_limit("pids.max")).min(),
        may_lock: capable(14),
        may_trace: capable(19),
    }
}

/// The folders of this process's control group and of those above it.
fn control_groups() -> Vec<PathBuf> {
    let groups = word("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(own);
    own.ancestors().take_while(|folder| folder.starts_with(root)).map(Path::to_owned).collect()
}

fn number_in(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

fn container_limit(file: &str) -> Option<u64> {
    control_groups().iter().filter_map(|folder| number_in(folder, file)).min()
}

fn memory(world: World, pins: bool) -> Memory {
    let told = word("/proc/meminfo").unwrap_or_default();
    let line = |name: &str| {
        let value = told.lines().find_map(|line| line.strip_prefix(name))?;
        let number: u64 = value.trim().split(' ').next()?.parse().ok()?;
        Some(number << 10)
    };
    let groups = control_groups().into_iter();
    let container = groups.filter_map(|folder| {
        Some((number_in(&folder, "memory.max")?, number_in(&folder, "memory.current")?))
    });
    const NAME: &CStr = c"crosstie-doctor";
    let refused = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).err();
    let shm = statvfs("/dev/shm").ok();
    Memory {
        total: line("MemTotal:").unwrap_or(0),
        available: line("MemAvailable:").unwrap_or(0),
        container: container.min_by_key(|(limit, taken)| limit.saturating_sub(*taken)),
        slots_of_a_rank: Settings::default().slot_memory(world.ranks, world.nodes).ok(),
        pinned_by_a_rank: pinned(world).filter(|_| pins),
        refused: refused.map(|error| error.to_string()),
        shm: shm.map(|shm| shm.f_blocks.saturating_mul(shm.f_frsize)),
    }
}

fn ports(environment: &BTreeMap<String, String>, world: World) -> Ports {
    let range = told(environment, "CROSSTIE_PORTS").and_then(|text| parse_ports(&text).ok());
    let range = range.filter(|range| *range != (0..=0));
    let is_free = |port: &u16| {
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)))
            .is_ok()
    };
    let needed = world.here() as usize;
    let free = range.clone().map_or(0, |range| range.filter(is_free).take(needed).count());
    let ephemeral = word("/proc/sys/net/ipv4/ip_local_port_range").and_then(|told| {
        let mut ends = told.split_whitespace().map(|end| end.parse().ok());
        Some((ends.next()??, ends.next()??))
    });
    Ports { range, free: u32::try_from(free).unwrap_or(u32::MAX), ephemeral }
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn verbs() -> Verbs {
    const FOLDER: &str = "/dev/infiniband";
    // Opening one would be a use of the device.
    let refused = |name: &String| {
        let path = Path::new(FOLDER).join(name);
        access(&path, Access::READ_OK | Access::WRITE_OK).err().map(|error| error.to_string())
    };
    let drivers = names("/etc/libibverbs.d").into_iter();
    Verbs {
        files: names(FOLDER).into_iter().map(|name| (name.clone(), refused(&name))).collect(),
        library: library::find("libibverbs.so.1"),
        drivers: drivers.filter_map(|it| Some(it.strip_suffix(".driver")?.to_owned())).collect(),
    }
}

fn clock() -> Clock {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let others = word(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    Clock {
        source: word(&format!("{FOLDER}/current_clocksource")),
        others: others.split_whitespace().map(str::to_owned).collect(),
    }
}

fn launcher(environment: &BTreeMap<String, String>) -> LauncherSays {
    let identity = identify(&Explicit::default(), environment).ok();
    let identity = identity.filter(|identity| identity.launcher != Launcher::Alone);
    let unusable = config::unusable(environment).into_iter().chain(unusable_files(environment));
    LauncherSays {
        world: identity.map(|it| (it.launcher.name(), it.rank, it.size)),
        unusable: unusable.collect(),
        in_vain: config::in_vain(environment),
    }
}

/// Which files that the environment names no rank could use, and why.
fn unusable_files(environment: &BTreeMap<String, String>) -> Vec<String> {
    let refused = |name: &str, read: &dyn Fn(&Path) -> Option<String>| {
        let file = environment.get(name).filter(|file| !file.is_empty())?;
        read(Path::new(file)).map(|why| format!("{name}={}: {why}", file::shown(file)))
    };
    let topology = |file: &Path| Machine::read(file).err().map(|error| error.to_string());
    let table = |file: &Path| match fs::metadata(file) {
        Ok(there) if !there.is_file() => Some("is no file".to_owned()),
        _ => read_table(file).err(),
    };
    let refusals =
        [refused("CROSSTIE_TOPO_FILE", &topology), refused("CROSSTIE_TUNE_FILE", &table)];
    refusals.into_iter().flatten().collect()
}
