//! Owns the process's listening port, and who in this process serves what behind it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::error::NetError;
use crate::interfaces;
use crate::reception::Reception;
use crate::served::{Shared, lock};
use crate::strangers::Strangers;
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
    pub(crate) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    options: ListenOptions,
    port: u16,
    addresses: Vec<SocketAddr>,
    /// The process that started the thread: a forked child has the descriptors, but not the thread.
    pid: u32,
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
