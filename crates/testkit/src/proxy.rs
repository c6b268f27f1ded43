//! Owns [`Proxy`]: a network between two processes that can be told to cut connections, to swallow what they carry, or
//! to answer nobody any more.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Whoever connects to it is connected with its target.
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
    thread: Option<JoinHandle<()>>,
}

/// What the proxy's threads share.
#[derive(Default)]
struct Network {
    connections: Mutex<Vec<[TcpStream; 2]>>,
    swallows: AtomicBool,
    is_down: AtomicBool,
    over: AtomicBool,
}

impl Network {
    fn connections(&self) -> MutexGuard<'_, Vec<[TcpStream; 2]>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.connections());
        for stream in connections.iter().flatten() {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        connections.len()
    }

    /// Carries bytes one way until either end has no more, or there is no network any more.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(some @ 1..) = from.read(&mut bytes) {
            let swallowed = self.swallows.load(Ordering::Acquire);
            if !swallowed && to.write_all(&bytes[..some]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    /// Connects whoever comes with `target`; without an answer, those who come while the network is down.
    fn serve(self: &Arc<Self>, listener: &TcpListener, target: SocketAddr) {
        let mut unanswered = Vec::new();
        while let Ok((near, _)) = listener.accept() {
            if self.over.load(Ordering::Acquire) {
                break;
            }
            if self.is_down.load(Ordering::Acquire) {
                unanswered.push(near);
                continue;
            }
            let Ok(far) = TcpStream::connect(target) else { continue };
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("a connection takes this option");
            }
            let copy = |stream: &TcpStream| stream.try_clone().expect("descriptors are left");
            self.connections().push([copy(&near), copy(&far)]);
            for (from, to) in [(copy(&near), copy(&far)), (far, near)] {
                let network = Arc::clone(self);
                std::thread::spawn(move || network.carry(from, to));
            }
        }
    }
}

impl Proxy {
    /// A proxy before `target`, on this host.
    pub fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("this host has a free port");
        let address = listener.local_addr().expect("it listens");
        let network = Arc::<Network>::default();
        let served = Arc::clone(&network);
        let thread = std::thread::spawn(move || served.serve(&listener, target));
        Self { address, network, thread: Some(thread) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has carried since the last cut.
    pub fn connections(&self) -> usize {
        self.network.connections().len()
    }

    /// Ends all connections, as a device does that is restarted; how many.
    pub fn cut(&self) -> usize {
        self.network.cut()
    }

    /// From now on connections stand, and what is sent is lost, or arrives again.
    pub fn swallow(&self, swallows: bool) {
        self.network.swallows.store(swallows, Ordering::Release);
    }

    /// Ends all connections, and from now on whoever connects gets no answer.
    pub fn go_down(&self) {
        self.network.is_down.store(true, Ordering::Release);
        self.network.cut();
    }

    /// From now on whoever connects is carried again.
    pub fn come_up(&self) {
        self.network.is_down.store(false, Ordering::Release);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.over.store(true, Ordering::Release);
        self.network.cut();
        // Its thread sees that it is over when somebody comes.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}
