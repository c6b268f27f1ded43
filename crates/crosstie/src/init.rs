//! Owns setting up: a pipeline of stages, each of which takes values and returns one.
//!
//! Who am I -> meet the others -> agree -> monitor -> connect -> ready.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crosstie_bootstrap::{
    Application, BootstrapError, Cause, GivenUp, Machine, Monitor, MonitorOptions, REMARK, Record,
    Report, World,
};
use crosstie_exec::{Engine, WaitPolicy};
use crosstie_ir::{InputsFingerprint, Rank};
use crosstie_launch::{Environment, Explicit, Identity};
use crosstie_net::{
    Descriptors, Inbox, ListenOptions, Listener, NetError, Reserved, Secret, Target,
};
use crosstie_planner::Nodes;
use crosstie_transport::tcp::Path;
use crosstie_transport::{Doorbell, TransportError};

use crate::error::Failure;
use crate::programs::Programs;
use crate::settings::{Detect, Resolved, tune, warn_of_names_in_vain};
use crate::standing::{Standing, VERDICT_LIMIT};
use crate::topology::{self, WorldTopology};
use crate::ways::Ways;
use crate::{Cancel, Communicator, Error, Settings, Transport, select, tag};
use connect::{Connected, Neighbourhood};

impl Settings {
    /// Meets the other ranks and sets up all connections.
    ///
    /// ```
    /// # use crosstie::{Settings, Transport};
    /// let comm = Settings::default().transport(Transport::Tcp).rank(0).size(1).connect()?;
    /// assert_eq!(comm.size(), 1);
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any: ranks that never came are named at the deadline, ranks that fail while all connect are
    /// named to all at once ([`Error::Failed`]).
    pub fn connect(self) -> Result<Communicator, Error> {
        let environment = crosstie_launch::environment(std::env::vars_os());
        let (explicit, cancel) = (self.explicit.clone(), self.terms.cancel.clone());
        let prepared = self.resolve(environment.clone()).and_then(prepare);
        match prepared {
            Ok(prepared) => connect(prepared).map_err(|error| or_cancelled(&cancel, error)),
            Err(error) => {
                if !cancel.is_cancelled() {
                    tell_others(&explicit, &environment, &error);
                }
                Err(error)
            }
        }
    }
}

/// How long a rank that failed before it met the others tries to tell them so.
const TELLING_LIMIT: Duration = Duration::from_secs(10);

/// Tells those who wait at the meeting that this rank does not come, and why, if it knows who it is.
fn tell_others(explicit: &Explicit, environment: &Environment, error: &Error) {
    let Ok(identity) = crosstie_launch::identify(explicit, environment) else { return };
    if identity.size == 1 {
        return;
    }
    let (rank, why) = (identity.rank, format!("{}: {error}", error.code()));
    tracing::error!("rank {rank} gives up, and tells the others: {why}");
    let Ok(listener) = Listener::shared(&ListenOptions::default()) else { return };
    let deadline = Instant::now() + TELLING_LIMIT;
    if let Err(error) = crosstie_bootstrap::give_up(&identity, &listener, why, deadline) {
        tracing::debug!(%error, "the others were not told");
    }
}

/// `error`, unless it is what giving up has led to.
pub(crate) fn or_cancelled(cancel: &Cancel, error: Error) -> Error {
    match (cancel.why(), &error) {
        (
            Some(why),
            Error::Meeting(
                BootstrapError::Withdrawn { .. }
                | BootstrapError::Net { source: NetError::Interrupted { .. }, .. },
            )
            | Error::Transport(TransportError::Interrupted { .. }),
        ) => Error::Cancelled { why },
        _ => error,
    }
}

/// `error`, unless it is want of open files.
fn or_descriptors(ranks: u32, error: Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        let is_want = cause.downcast_ref::<std::io::Error>().is_some_and(|system| {
            matches!(system.raw_os_error(), Some(TOO_MANY_HERE | TOO_MANY_ON_THE_HOST))
        });
        if is_want {
            let size = u64::from(ranks);
            let needed = Descriptors::of_rank(size, size).least;
            let limit = Reserved::limit().unwrap_or(u64::MAX);
            return Error::Descriptors { ranks, needed, limit, what: error.to_string() };
        }
        source = cause.source();
    }
    error
}

/// `EMFILE` and `ENFILE`.
const TOO_MANY_HERE: i32 = 24;
const TOO_MANY_ON_THE_HOST: i32 = 23;

/// A rank that is ready to meet the others.
struct Prepared {
    settings: Resolved,
    identity: Identity,
    deadline: Instant,
    descriptors: Reserved,
    listener: Arc<Listener>,
    record: Record,
}

fn prepare(settings: Resolved) -> Result<Prepared, Error> {
    let deadline = Instant::now() + settings.init_timeout;
    let identity = crosstie_launch::identify(&settings.explicit, &settings.environment)?;
    if identity.rank == 0 {
        warn_of_names_in_vain(&settings.environment);
    }
    if let Some(why) = settings.terms.cancel.why() {
        return Err(Error::Cancelled { why });
    }
    settings.rails.check_nics()?;
    let descriptors = Reserved::for_rank_of(identity.size);
    let listener = Listener::shared(&ListenOptions {
        ports: settings.ports.clone(),
        bind: None,
        interface: settings.interface.clone(),
    })?;
    let record = own_record(&settings, &identity, &listener)?;
    Ok(Prepared { settings, identity, deadline, descriptors, listener, record })
}

fn connect(prepared: Prepared) -> Result<Communicator, Error> {
    let Prepared { mut settings, identity, deadline, descriptors, listener, record } = prepared;
    let _span = tracing::info_span!("init", rank = identity.rank, size = identity.size).entered();
    let world = {
        let _span = tracing::info_span!("meeting").entered();
        let ports = settings.verbs.ports.as_ref();
        let describe = || topology::describe(&settings.detect, ports, deadline);
        let given_up = || settings.terms.cancel.why();
        let asks = (&describe as &dyn Fn() -> _, &given_up as GivenUp<'_>);
        crosstie_bootstrap::meet_describing(&identity, &listener, record, deadline, asks)
    };
    let mut world =
        world.map_err(|error| or_descriptors(identity.size, joined_before(&identity, error)))?;
    lock(&JOINED).push(identity);
    settings.heed_rank_0(&mut world)?;
    let nodes = Nodes::new(world.nodes())?;
    check_hosts(&settings, &nodes)?;
    settings.rails.place(&mut world, &nodes);
    drop(descriptors); // In its place come those of the connections.
    join(settings, world, listener, deadline)
}

/// As whom this process has come to a meeting.
static JOINED: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds it can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The meeting is over: it is one that this process has been at, if it has been this rank.
fn joined_before(identity: &Identity, error: BootstrapError) -> Error {
    let (rank, size) = (identity.rank, identity.size);
    match error {
        BootstrapError::Complete { .. } if lock(&JOINED).contains(identity) => {
            Error::JoinedBefore { rank, size }
        }
        error => error.into(),
    }
}

/// This process is that rank of a world with the same secret, and has not left it yet.
fn joined_at_once(world: &World, error: NetError) -> Error {
    match error {
        NetError::AlreadyServed { .. } => {
            Error::JoinedBefore { rank: world.rank, size: world.size }
        }
        error => error.into(),
    }
}

/// Connects the ranks of a world that have met.
pub(crate) fn join(
    mut settings: Resolved,
    mut world: World,
    listener: Arc<Listener>,
    deadline: Instant,
) -> Result<Communicator, Error> {
    let nodes = settings.rails.in_order(Nodes::new(world.nodes())?)?;
    let (rank, size) = (world.rank, world.size);
    let _span = tracing::info_span!("connecting", rank, size, nodes = nodes.count()).entered();
    check_reach(&settings, &nodes)?;
    settings.rails.weigh_relays(&nodes, &select::links(&settings));
    settings.fit_slots(settings.transport == Transport::Tcp || nodes.count() == world.size);

    let descriptors = Reserved::for_rank_of(size);
    let started = Instant::now();
    let doorbell = Arc::new(Doorbell::new()?);
    let place = Neighbourhood::new(&settings, &world, &nodes);
    let ways = Arc::new(place.ways());
    let mut connected = Connected::alone(&settings);
    let monitor = if world.size == 1 {
        None
    } else {
        let inbox = listener.subscribe(&world.secret, Target::Rank(world.rank));
        let inbox = Arc::new(inbox.map_err(|error| joined_at_once(&world, error))?);
        let monitor = start_monitor(&settings, &world, &inbox, (&doorbell, &ways), deadline)?;
        let cancel = &settings.terms.cancel;
        let failed = || monitor.failed() || cancel.why().is_some();
        let connects = place
            .check_memory()
            .and_then(|()| place.connect(&mut connected, &inbox, &doorbell, deadline, &failed));
        if let Err(error) = connects {
            let error = or_cancelled(cancel, or_descriptors(size, error));
            return Err(blame(monitor, &place, error));
        }
        ways.sends_over(connected.ports.clone());
        let paths = std::mem::take(&mut connected.paths);
        tracing::debug!(over = ?connected.over, "wires");
        watch_paths(&monitor, paths, Arc::clone(&ways), settings.stall);
        Some(monitor)
    };
    let verbs_needs = connected.is_over_verbs().then(|| place.verbs_needs());
    world.phases.push(("connect", started.elapsed()));
    tracing::debug!(phases = ?world.phases, "connected");

    let wait = wait_policy(&world);
    let Connected { endpoints, heap, over, ports, .. } = connected;
    let slot_memory = endpoints.iter().map(|endpoint| endpoint.slot_memory()).sum();
    let engine = Engine::new(Rank(world.rank), world.size, endpoints, Arc::clone(&doorbell), wait)?;
    if let Some(bytes) = settings.protocol.lend_from() {
        engine.lend_from(bytes);
    }
    let topology = WorldTopology::of(&settings.rails, &world, &nodes);
    let inputs = inputs(&settings, &nodes, topology.as_ref());
    let standing = Arc::new(Standing::new(world.rank, monitor, doorbell, ways));
    Ok(Communicator {
        world,
        engine,
        heap,
        standing,
        timeout: settings.timeout,
        slot_bytes: settings.limits.slot_bytes,
        selection: select::selection(&settings, &nodes),
        programs: Programs::default(),
        sequence: 0,
        shrinks: 0,
        slot_memory,
        _descriptors: descriptors,
        over,
        ports: ports.into_iter().map(|it| (it.device, it.port)).collect(),
        verbs_needs,
        has_left: false,
        unshared: PhantomData,
        topology,
        inputs,
        nodes,
        settings,
        listener,
    })
}

/// Has paths that give no answer reported well within the stall clock, which would name the rank, but not the path.
fn watch_paths(monitor: &Monitor, mut paths: Vec<Path>, ways: Arc<Ways>, stall: Duration) {
    if paths.is_empty() {
        return;
    }
    let limit = stall / 2;
    let every = (limit / 4).clamp(PATH_LOOKS.0, PATH_LOOKS.1);
    let look = move |now| {
        let looks = paths.iter_mut().map(|path| (path.unanswered(now), &*path));
        let (unanswered, path) = looks.max_by_key(|(unanswered, _)| *unanswered)?;
        (unanswered >= limit).then(|| ways.dead(path.from, path.peer, path.to, unanswered))
    };
    monitor.watch(every, Box::new(look));
}

const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(50);

/// How often paths are looked at, at most and at least.
const PATH_LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The verdict that all ranks share where ranks that connect have failed; `error` where it says
/// more, or stays the only thing known. The others learn of it.
fn blame(monitor: Monitor, place: &Neighbourhood<'_>, error: Error) -> Error {
    let rank = place.rank().0;
    let known = monitor.failed();
    let report = match &error {
        Error::Transport(error) => of_connecting(error),
        _ => Some((None, Cause::Aborted)),
    };
    let (culprit, cause) = report.unwrap_or((None, Cause::Unknown));
    if report.is_some() {
        let (culprit, (detail, guess)) = (culprit.or(Some(rank)), place.describe(&error));
        monitor.report(Report { culprit, cause, detail, guess, ..Report::default() });
    }
    // Of a deadline and of a fault of its own this rank knows the most itself.
    let is_own = cause == Cause::Aborted && culprit.is_none_or(|culprit| culprit == rank);
    let says_more = is_own || (cause == Cause::Deadline && !known);
    let error = if says_more {
        error
    } else {
        let verdict = monitor.verdict(VERDICT_LIMIT);
        Error::Failed(Box::new(Failure::new(verdict, &place.ways(), None, error.to_string())))
    };
    monitor.leave(0);
    error
}

/// Whom to blame for a failure to connect, this rank itself if nobody else; nothing where another
/// failure caused it.
fn of_connecting(error: &TransportError) -> Option<(Option<u32>, Cause)> {
    let cause = match error {
        TransportError::Interrupted { .. } => return None,
        TransportError::PeerGone { .. } => Cause::Died,
        TransportError::PeerMisbehaved { .. } => Cause::Protocol,
        TransportError::Connecting { source, .. } if matches!(**source, NetError::NoWay { .. }) => {
            Cause::NoWay
        }
        TransportError::ConnectDeadline { .. } | TransportError::Connecting { .. } => {
            Cause::Deadline
        }
        // Its own fault, or that of the peer that has told so.
        _ => Cause::Aborted,
    };
    Some((error.peer(), cause))
}

fn own_record(
    settings: &Resolved,
    identity: &Identity,
    listener: &Listener,
) -> Result<Record, Error> {
    let world_scope = settings.world_scope();
    // Who is on which node, and on what machine, follows from the records, so it is the same for all by construction.
    let pairs = world_scope.iter().map(|(name, value)| (*name, value.as_str()));
    let fingerprint = InputsFingerprint::new(&[], pairs, crosstie_planner::VERSION);
    let file = settings.rails.machine.as_ref().map(|machine| machine.file().display());
    let line = |(name, value): &(&str, String)| match (*name, &file) {
        ("topology", Some(file)) => format!("{name} = {value}{REMARK}{file}"),
        _ => format!("{name} = {value}"),
    };
    let lines: Vec<String> = world_scope.iter().map(line).collect();
    let mut record =
        Record::of_this_process(identity.rank, connect::offered(settings, listener.addresses()));
    record.fingerprint = fingerprint.0;
    record.settings = lines.join("\n");
    let reads = settings.tune_file.as_ref().filter(|_| identity.rank == 0);
    record.read = reads.map(|file| tune::read_for_all(file));
    // By the host, not by the node: a host that plays several nodes is one machine.
    let host = record.node_key.clone();
    if let Some(node) = &identity.node {
        record.node_key.clone_from(node);
    }
    record.machine = settings.looks().then(|| match &settings.detect {
        Detect::Captured(_) => {
            Machine { name: format!("captured, of {}", record.node_key), is_host: false }
        }
        _ => Machine { name: host, is_host: true },
    });
    if settings.terms.often && identity.rank == 0 {
        record.world = Some(Secret::generate()?.world_id().0);
    }
    Ok(record)
}

/// Names everything that plans are made from: what all ranks were asked to agree on, and what they were told alike.
fn inputs(
    settings: &Resolved,
    nodes: &Nodes,
    topology: Option<&WorldTopology>,
) -> InputsFingerprint {
    let mut scope = settings.world_scope();
    let cluster = topology.map(|topology| topology.cluster().fingerprint().to_string());
    scope.push(("cluster", cluster.unwrap_or_else(|| "not known".to_owned())));
    scope.push(("relays_pay_below", settings.rails.relay_below.to_string()));
    let tune = settings.tune.as_ref().map(|table| table.to_json());
    scope.push(("tune", tune.unwrap_or_else(|| "built in".to_owned())));
    let pairs = scope.iter().map(|(name, value)| (*name, value.as_str()));
    crosstie_planner::inputs_fingerprint(nodes, pairs)
}

/// Every rank knows the nodes by now, so all are refused alike.
fn check_hosts(settings: &Resolved, nodes: &Nodes) -> Result<(), Error> {
    let Some(machine) = settings.rails.machine.as_ref().filter(|it| !it.suits(nodes.count()))
    else {
        return Ok(());
    };
    let (hosts, nodes) = (machine.hosts(), nodes.count());
    let what = format!(
        "it describes {hosts} hosts, and the ranks are on {nodes} nodes; give the file of one host, or start as many nodes, a part that divides {hosts}, or several times as many"
    );
    let value = machine.file().display().to_string();
    Err(Error::Setting { name: "CROSSTIE_TOPO_FILE", value, what })
}

fn start_monitor(
    settings: &Resolved,
    world: &World,
    inbox: &Arc<Inbox>,
    (doorbell, ways): (&Arc<Doorbell>, &Arc<Ways>),
    deadline: Instant,
) -> Result<Monitor, Error> {
    // Often enough that a link of the monitors on a dead path is replaced before paths of the data are reported.
    let heartbeat = settings.heartbeat.min((settings.stall / 12).max(SHORTEST_HEARTBEAT));
    let options = MonitorOptions {
        heartbeat,
        silence: settings.silence,
        arrival: settings.timeout,
        stall: settings.stall,
        ..MonitorOptions::default()
    };
    let (doorbell, ways) = (Arc::clone(doorbell), Arc::clone(ways));
    let wake = Box::new(move || doorbell.ring());
    let ailment = Box::new(move || ways.ailment());
    let application = Application { wake, describe: tag::describe, ailment };
    Ok(Monitor::start(world, Arc::clone(inbox), options, application, deadline)?)
}

/// Every rank knows by now whether the transport reaches all, so all are refused alike.
fn check_reach(settings: &Resolved, nodes: &Nodes) -> Result<(), Error> {
    if settings.transport != Transport::SharedMemory || nodes.count() == 1 {
        return Ok(());
    }
    Err(Error::Setting {
        name: "CROSSTIE_TRANSPORT",
        value: settings.transport.name().to_owned(),
        what: format!("the ranks are on {} nodes; use auto, tcp or verbs", nodes.count()),
    })
}

/// Ranks that share this rank's host compete for its processors, emulated nodes or not.
fn wait_policy(world: &World) -> WaitPolicy {
    let host = world.host(world.rank);
    let here: Vec<&Record> = world.records.iter().filter(|r| r.host == host).collect();
    let words = here.iter().map(|r| r.cpus.len()).max().unwrap_or(0);
    let cores: u32 = (0..words)
        .map(|w| here.iter().fold(0, |all, r| all | r.cpus.get(w).copied().unwrap_or(0)))
        .map(u64::count_ones)
        .sum();
    WaitPolicy::for_load(here.len(), cores as usize)
}

mod connect;
#[cfg(test)]
mod tests;
mod wires;
