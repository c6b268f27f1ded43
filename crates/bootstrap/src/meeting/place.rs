//! Owns finding the meeting that an identity names, and serving it where that is this rank's part.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crosstie_launch::{Identity, Meeting, pmix};
use crosstie_net::{ListenOptions, Listener, NetError, Secret, UniqueId};

use crate::error::BootstrapError;
use crate::meeting::announcer::{self, Announcer, socket_name};
use crate::meeting::host::{Door, MeetingHost};
use crate::pmi1::Pmi1;

/// The key under which rank 0 leaves the unique id.
const PMI_KEY: &str = "crosstie-id";
const READING: &str = "reading what rank 0 left in the launcher's key-value space";
/// Pause between two tries to resolve a name, and for how long it is tried: it may come to exist while ranks start.
const RESOLVE_AGAIN: Duration = Duration::from_millis(250);
const RESOLVE_FOR: Duration = Duration::from_secs(10);

/// A meeting that has been found.
pub(crate) struct Place {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) secret: Secret,
    /// Who serves it.
    pub(crate) server: Server,
    /// Serves it, where that is this process's part; kept until this rank has met the others.
    _host: Option<MeetingHost>,
}

/// Who serves a meeting, for messages.
pub(crate) enum Server {
    /// Whoever made the unique id.
    IdMaker,
    /// Rank 0, found in this way.
    Rank0(String),
    /// Rank 0, at an address that was given.
    Root(Root),
}

/// An address that was given for rank 0 to serve the meeting at, which another job may use too.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) named_by: &'static str,
    pub(crate) address: String,
}

impl Root {
    fn unusable(&self, reason: String) -> BootstrapError {
        let Root { named_by, address } = self.clone();
        BootstrapError::Root { named_by: named_by.to_owned(), address, reason }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Root { named_by, address } = self;
        write!(f, "{named_by} {address}")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::IdMaker => {
                f.write_str("the meeting's host (the process that made the unique id)")
            }
            Server::Rank0(how) => write!(f, "rank 0 as the meeting's host ({how})"),
            Server::Root(root) => write!(f, "rank 0 as the meeting's host ({root})"),
        }
    }
}

impl Place {
    /// A place that rank 0 serves, found in this way.
    pub(crate) fn of_rank0(
        (addresses, secret): (Vec<SocketAddr>, Secret),
        how: String,
        host: Option<MeetingHost>,
    ) -> Place {
        Place { addresses, secret, server: Server::Rank0(how), _host: host }
    }

    /// The place of the identity's meeting; none where it is alone.
    pub(crate) fn find(
        identity: &Identity,
        listener: &Arc<Listener>,
        deadline: Instant,
    ) -> Result<Option<Place>, BootstrapError> {
        let place = match &identity.meeting {
            Meeting::Alone => return Ok(None),
            Meeting::UniqueId(id) => by_id(id.clone(), Server::IdMaker, None),
            Meeting::Root { address, secret, named_by } => {
                by_root(identity, listener, (named_by, address), secret, deadline)?
            }
            Meeting::Master { address, port, job } => {
                by_master(identity, listener, (address, *port, job), deadline)?
            }
            Meeting::Pmi1 { fd } => by_pmi(identity, listener, *fd, deadline)?,
            Meeting::Pmix { .. } => by_pmix(identity, listener, deadline)?,
            Meeting::HostSocket { job } => by_host_socket(identity, listener, job, deadline)?,
            other => {
                let reason = format!("this release cannot meet by {other:?}");
                return Err(BootstrapError::CalledOff { reason });
            }
        };
        Ok(Some(place))
    }
}

fn by_id(id: UniqueId, server: Server, host: Option<MeetingHost>) -> Place {
    Place { addresses: id.addresses, secret: id.secret, server, _host: host }
}

fn by_pmi(
    identity: &Identity,
    listener: &Arc<Listener>,
    fd: RawFd,
    deadline: Instant,
) -> Result<Place, BootstrapError> {
    if identity.local.is_some_and(|(_, local_size)| local_size == identity.size) {
        return by_host_socket(identity, listener, &pmi_job(fd, deadline)?, deadline);
    }
    let server = Server::Rank0("found by the launcher's key-value space".to_owned());
    let mut pmi = Pmi1::open(fd, deadline)?;
    if identity.rank == 0 {
        let (host, id) = MeetingHost::open(listener)?;
        pmi.put(PMI_KEY, &id.to_string())?;
        pmi.barrier()?;
        pmi.finalize()?;
        return Ok(by_id(id, server, Some(host)));
    }
    pmi.barrier()?;
    let id = pmi.get(PMI_KEY)?;
    pmi.finalize()?;
    let id = id.parse().map_err(BootstrapError::net(READING))?;
    Ok(by_id(id, server, None))
}

fn by_pmix(
    identity: &Identity,
    listener: &Arc<Listener>,
    deadline: Instant,
) -> Result<Place, BootstrapError> {
    let server = Server::Rank0("found by PMIx".to_owned());
    let (host, own) = match identity.rank {
        0 => {
            let (host, id) = MeetingHost::open(listener)?;
            (Some(host), Some(id.to_string()))
        }
        _ => (None, None),
    };
    // PMIx knows no deadline, so it is asked on a thread that is left behind when it is late.
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new()
        .name("crosstie-pmix".to_owned())
        // Nobody waits any more where the deadline has passed.
        .spawn(move || drop(tell.send(pmix::exchange(own.as_deref()))))
        .map_err(BootstrapError::system("starting a thread"))?;
    let reason = match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(id)) => {
            let id = id.parse().map_err(BootstrapError::net(READING))?;
            return Ok(by_id(id, server, host));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            "the deadline passed; the launcher does not tell which rank is late: look whether all \
             ranks of the job come to the meeting"
                .to_owned()
        }
    };
    Err(BootstrapError::Pmix { reason })
}

/// What names this job where all its ranks are on one host. There the socket serves better than the key-value space:
/// the launcher's barrier does not tell who is late, and it can be asked once only, so its answer is kept.
fn pmi_job(fd: RawFd, deadline: Instant) -> Result<String, BootstrapError> {
    static JOB: Mutex<Option<String>> = Mutex::new(None);
    // A holder that panicked left the answer whole, or none.
    let mut job = JOB.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(job) = job.as_ref() {
        return Ok(job.clone());
    }
    let pmi = Pmi1::open(fd, deadline)?;
    let name = format!("pmi {}", pmi.space());
    pmi.finalize()?;
    Ok(job.insert(name).clone())
}

fn by_host_socket(
    identity: &Identity,
    listener: &Arc<Listener>,
    job: &str,
    deadline: Instant,
) -> Result<Place, BootstrapError> {
    let started = Instant::now();
    let name = socket_name(job);
    let server = Server::Rank0(format!("found by the socket @{name}"));
    if identity.rank == 0 {
        let secret = Secret::generate().map_err(BootstrapError::net("making a secret"))?;
        let id = UniqueId { addresses: listener.addresses(), secret };
        let announcer = Announcer::open(&name, &id, deadline)?;
        let host = MeetingHost::serve(listener, &id.secret, Door::Announced(announcer))?;
        return Ok(by_id(id, server, Some(host)));
    }
    match announcer::ask(&name, deadline)? {
        Some(id) => Ok(by_id(id, server, None)),
        None => Err(BootstrapError::Missing {
            ranks: vec![0],
            size: identity.size,
            waited: started.elapsed(),
            strangers: format!("rank 0 serves the meeting, and nobody answered at @{name}"),
        }),
    }
}

fn by_master(
    identity: &Identity,
    listener: &Arc<Listener>,
    (host, port, job): (&str, u16, &str),
    deadline: Instant,
) -> Result<Place, BootstrapError> {
    let address = match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    tracing::warn!(
        "meeting at {address} by MASTER_ADDR without a secret: whoever reaches that port and knows the job's name \
         may join or listen; set CROSSTIE_ROOT and CROSSTIE_SECRET to prevent it"
    );
    let secret = Secret::from_passphrase(&format!("crosstie master {address} {job}"));
    by_root(identity, listener, ("MASTER_ADDR", &address), &secret, deadline)
}

fn by_root(
    identity: &Identity,
    listener: &Arc<Listener>,
    (named_by, address): (&'static str, &str),
    secret: &Secret,
    deadline: Instant,
) -> Result<Place, BootstrapError> {
    let root = Root { named_by, address: address.to_owned() };
    let addresses = resolve(&root, deadline)?;
    let host = match identity.rank {
        0 => {
            let listener = listener_at(&root, &addresses, listener)?;
            Some(MeetingHost::serve(&listener, secret, Door::Closes)?)
        }
        _ => None,
    };
    Ok(Place { addresses, secret: secret.clone(), server: Server::Root(root), _host: host })
}

/// The listener that serves the root: `own` where it listens there already, else another one at that very address.
fn listener_at(
    root: &Root,
    addresses: &[SocketAddr],
    own: &Arc<Listener>,
) -> Result<Arc<Listener>, BootstrapError> {
    if own.addresses().iter().any(|address| addresses.contains(address)) {
        return Ok(Arc::clone(own));
    }
    let mut refusals = Vec::new();
    for &address in addresses {
        let options = ListenOptions {
            bind: Some(to_bind(&root.address, address)),
            ..ListenOptions::default()
        };
        match Listener::open(&options) {
            Ok(listener) => return Ok(Arc::new(listener)),
            Err(NetError::System { source, .. }) => refusals.push(format!("{address}: {source}")),
            Err(error) => refusals.push(format!("{address}: {error}")),
        }
    }
    let reason = format!(
        "rank 0 cannot listen there ({}): name an address of the host that runs rank 0, and a port that no other job \
         meets at and no other program has",
        refusals.join("; ")
    );
    Err(root.unusable(reason))
}

/// Many hosts file their own name under a loopback address (Debian: 127.0.1.1), where no other host could reach it; so
/// for a name that means this host, all its addresses are opened.
fn to_bind(text: &str, address: SocketAddr) -> SocketAddr {
    let by_name = text.parse::<SocketAddr>().is_err() && !text.starts_with("localhost:");
    match address {
        SocketAddr::V4(v4) if by_name && v4.ip().is_loopback() => {
            (Ipv4Addr::UNSPECIFIED, v4.port()).into()
        }
        SocketAddr::V6(v6) if by_name && v6.ip().is_loopback() => {
            (Ipv6Addr::UNSPECIFIED, v6.port()).into()
        }
        address => address,
    }
}

/// The addresses that `host:port` stands for. A name may come to exist while ranks start, so it is tried again.
fn resolve(root: &Root, deadline: Instant) -> Result<Vec<SocketAddr>, BootstrapError> {
    if let Ok(address) = root.address.parse() {
        return Ok(vec![address]);
    }
    let failure = |reason: String| root.unusable(reason);
    // The system's resolver knows no deadline, so it works on a thread that is left behind when it is late; the
    // resolver's own limits end that thread.
    let (tell, told) = mpsc::channel();
    let name = root.address.clone();
    std::thread::Builder::new()
        .name("crosstie-resolve".to_owned())
        .spawn(move || resolve_until(&name, deadline, &tell))
        .map_err(BootstrapError::system("starting a thread"))?;
    let left = deadline.saturating_duration_since(Instant::now());
    match told.recv_timeout(left) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(reason)) => {
            Err(failure(format!("its host is unknown ({reason}): correct the name")))
        }
        Err(_) => Err(failure("its host's name was not resolved by the deadline".to_owned())),
    }
}

type Resolved = Result<Vec<SocketAddr>, String>;

fn resolve_until(text: &str, deadline: Instant, tell: &mpsc::Sender<Resolved>) {
    let deadline = deadline.min(Instant::now() + RESOLVE_FOR);
    loop {
        let resolved = text.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let over = Instant::now() + 2 * RESOLVE_AGAIN >= deadline;
        match resolved {
            Ok(addresses) if !addresses.is_empty() => {
                // Nobody waits any more where the deadline has passed.
                let _ = tell.send(Ok(addresses));
                return;
            }
            Ok(_) if over => {
                let _ = tell.send(Err("the name has no address".to_owned()));
                return;
            }
            Err(error) if over => {
                let _ = tell.send(Err(error.to_string()));
                return;
            }
            _ => std::thread::sleep(RESOLVE_AGAIN),
        }
    }
}
