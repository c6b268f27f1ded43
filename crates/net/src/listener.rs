//! Owns the process's listening port, and who in this process serves what behind it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::error::NetError;
use crate::hello::{Outcome, Target};
use crate::inbox::{Inbox, Queue};
use crate::interfaces;
use crate::reception::Reception;
use crate::secret::{Secret, WorldId};
use crate::strangers::{Fault, Strangers};
use crate::wait::Bell;

/// How many connections the kernel keeps for us to accept: a world's ranks may all dial at once.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenOptions {
    /// The ports to choose from; `0..=0` leaves the choice to the kernel. Unused when `bind` is given.
    pub ports: RangeInclusive<u16>,
    /// Listen at exactly this address and port. Such a listener serves one world: who dials it with another secret is
    /// refused for good, rather than told to try again.
    pub bind: Option<SocketAddr>,
    /// Tell others only the addresses of interfaces whose name begins so.
    pub interface: Option<String>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { ports: 0..=0, bind: None, interface: None }
    }
}

/// One listening port and the thread that answers it. Nobody who dials can delay anybody else.
pub struct Listener {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    options: ListenOptions,
    port: u16,
    addresses: Vec<SocketAddr>,
    /// The process that started the thread: a forked child has the descriptors, but not the thread.
    pid: u32,
}

/// What the listener, its thread and its inboxes share.
pub(crate) struct Shared {
    served: Mutex<BTreeMap<(WorldId, Target), Served>>,
    strangers: Mutex<Strangers>,
    /// Ends the thread's sleep when `stop` was set.
    pub(crate) bell: Bell,
    pub(crate) stop: AtomicBool,
    /// Whether this listener serves one world only ([`ListenOptions::bind`]).
    pub(crate) one_world: bool,
    pub(crate) host: String,
}

/// One part that this process plays.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) secret: Secret,
    pub(crate) queue: Arc<Queue>,
}

static PROCESS_LISTENER: OnceLock<Mutex<Weak<Listener>>> = OnceLock::new();

impl Listener {
    /// The process's listener if it is open and suits `options`, else a new one.
    pub fn shared(options: &ListenOptions) -> Result<Arc<Listener>, NetError> {
        let mut open = lock(PROCESS_LISTENER.get_or_init(Mutex::default));
        if let Some(listener) = open.upgrade().filter(|listener| listener.suits(options)) {
            return Ok(listener);
        }
        let listener = Arc::new(Listener::open(options)?);
        if options.bind.is_none() {
            *open = Arc::downgrade(&listener);
        }
        Ok(listener)
    }

    /// A listener of its own, whatever else this process has open.
    pub fn open(options: &ListenOptions) -> Result<Listener, NetError> {
        let (socket, port) = match options.bind {
            Some(address) => {
                listen_at(address).map_err(NetError::system(format!("listening at {address}")))?
            }
            None => listen_within(&options.ports)?,
        };
        let addresses = match options.bind {
            Some(address) if !address.ip().is_unspecified() => {
                vec![SocketAddr::new(address.ip(), port)]
            }
            _ => (interfaces::addresses(options.interface.as_deref())?.into_iter())
                .map(|ip| SocketAddr::new(ip, port))
                .collect(),
        };
        let shared = Arc::new(Shared {
            served: Mutex::default(),
            strangers: Mutex::default(),
            bell: Bell::new()?,
            stop: AtomicBool::new(false),
            one_world: options.bind.is_some(),
            host: interfaces::host_name(),
        });
        let reception = Reception::new(socket, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("crosstie-listen".to_owned())
            .spawn(move || reception.run())
            .map_err(|source| NetError::System { call: "starting a thread".to_owned(), source })?;
        let (options, pid) = (options.clone(), std::process::id());
        Ok(Listener { shared, thread: Some(thread), options, port, addresses, pid })
    }

    fn suits(&self, options: &ListenOptions) -> bool {
        let port_suits = options.ports == (0..=0) || options.ports.contains(&self.port);
        self.pid == std::process::id()
            && options.bind.is_none()
            && options.interface == self.options.interface
            && port_suits
    }

    /// The addresses at which others may reach this listener, best first, the loopback addresses last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Serves `target` of the world of `secret` until the inbox is dropped.
    pub fn subscribe(self: &Arc<Self>, secret: &Secret, target: Target) -> Result<Inbox, NetError> {
        let key = (secret.world_id(), target);
        let queue = Arc::<Queue>::default();
        let mut served = lock(&self.shared.served);
        if served.contains_key(&key) {
            return Err(NetError::AlreadyServed { target: target.to_string(), world: key.0.0 });
        }
        served.insert(key, Served { secret: secret.clone(), queue: Arc::clone(&queue) });
        Ok(Inbox { queue, subscription: Subscription { listener: Arc::clone(self), key } })
    }

    /// How many were turned away so far, and why.
    pub fn strangers(&self) -> Strangers {
        lock(&self.shared.strangers).clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        self.shared.stop.store(true, Ordering::Release);
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listener on port {}", self.port)
    }
}

impl Shared {
    /// Who serves `target` of `world` here, or the answer for one who dials it in vain.
    pub(crate) fn find(&self, world: WorldId, target: Target) -> Result<Served, Outcome> {
        let served = lock(&self.served);
        if let Some(part) = served.get(&(world, target)) {
            return Ok(part.clone());
        }
        let mut of_world = served.range((world, Target::Meeting)..=(world, Target::Rank(u32::MAX)));
        Err(match of_world.next() {
            Some(_) => Outcome::NoSuchTarget,
            None if self.one_world && !served.is_empty() => Outcome::WrongSecret,
            None => Outcome::NoSuchWorld,
        })
    }

    pub(crate) fn count(&self, address: SocketAddr, fault: Fault) {
        tracing::debug!(%address, ?fault, "turned a stranger away");
        lock(&self.strangers).count(address, fault);
    }
}

/// Keeps the listener open, and one part served.
pub(crate) struct Subscription {
    listener: Arc<Listener>,
    key: (WorldId, Target),
}

impl Subscription {
    pub(crate) fn strangers(&self) -> Strangers {
        self.listener.strangers()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.listener.shared.served).remove(&self.key);
    }
}

/// Nothing that holds one of these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens on the first free port of `ports`, over IPv6 and IPv4 where the host has both.
fn listen_within(ports: &RangeInclusive<u16>) -> Result<(TcpListener, u16), NetError> {
    for port in ports.clone() {
        let both = listen_at(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        let listening = match both {
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                listen_at(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            other => other,
        };
        match listening {
            Err(Errno::ADDRINUSE) => {}
            Err(errno) => return Err(NetError::system(format!("listening on port {port}"))(errno)),
            Ok(listening) => return Ok(listening),
        }
    }
    Err(NetError::NoPort { first: *ports.start(), last: *ports.end() })
}

fn listen_at(address: SocketAddr) -> rustix::io::Result<(TcpListener, u16)> {
    let socket = stream_socket(address.ip())?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    let port = listener
        .local_addr()
        .map_err(|error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    Ok((listener, port.port()))
}

/// A non-blocking TCP socket of the family of `ip` that no child inherits.
pub(crate) fn stream_socket(ip: IpAddr) -> rustix::io::Result<OwnedFd> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}
