//! Owns how a wire's path is looked at from outside the engine: whether what was sent is answered at all.
//!
//! `TCP_USER_TIMEOUT` does not tell: since Linux 5.11 it also ends a socket whose peer answers every probe but
//! reads nothing, as a rank does that is long in coming to its next call (measured on 6.18, with 2 s: ETIMEDOUT
//! after 2.5 s). Nor does a receiver learn anything from its own socket. But of two ranks one has always sent
//! what the other waits for, or waits for permission that the other has sent: that one's kernel knows.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

/// The way that a wire takes, for as long as the wire is open.
#[derive(Debug)]
pub struct Path {
    /// The rank at its other end.
    pub peer: u32,
    /// Its end here.
    pub from: SocketAddr,
    /// Its other end.
    pub to: SocketAddr,
    socket: Weak<TcpStream>,
    mute: Mute,
}

impl Path {
    pub(super) fn new(peer: u32, socket: &Arc<TcpStream>) -> io::Result<Self> {
        let (from, to) = (socket.local_addr()?, socket.peer_addr()?);
        let mute = Mute::default();
        Ok(Self { peer, from, to, socket: Arc::downgrade(socket), mute })
    }

    /// For how long now nothing has come back of what this end sent, again and again; zero where something has, or
    /// nothing was sent. It is measured from one look to the next: look often. No cost to whoever uses the wire.
    pub fn unanswered(&mut self, now: Instant) -> Duration {
        let told = self.socket.upgrade().and_then(|socket| told(&socket).ok());
        self.mute.look(now, told.unwrap_or_default())
    }
}

/// What the kernel says of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    /// Something sent is not acknowledged, and was sent again for that.
    repeats: bool,
    /// How long ago the peer last acknowledged anything, be it again.
    heard_ago: Duration,
}

/// Since when a path says nothing.
#[derive(Debug, Default)]
struct Mute {
    since: Option<Instant>,
    looked: Option<Instant>,
}

impl Mute {
    fn look(&mut self, now: Instant, told: Told) -> Duration {
        let heard = now.checked_sub(told.heard_ago);
        let heard_since = |since: &Instant| heard.is_none_or(|heard| heard > *since);
        let looked = self.looked.replace(now).unwrap_or(now);
        let was_away = now.saturating_duration_since(looked) > LONGEST_GAP;
        self.since = match self.since {
            _ if !told.repeats => None,
            _ if was_away => Some(now),
            // Before the first repetition there may have been nothing to answer for hours.
            since => since.filter(|since| !heard_since(since)).or(Some(now)),
        };
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// Between two looks: after a longer one the machine may have stood still, and the path with it.
const LONGEST_GAP: Duration = Duration::from_secs(3);

fn told(socket: &TcpStream) -> io::Result<Told> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which has as many; the descriptor is open for
    // as long as `socket` is borrowed.
    let done = unsafe {
        let (fd, to) = (socket.as_fd().as_raw_fd(), info.as_mut_ptr().cast());
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes are initialised, by zeros or the kernel, and every field is a plain number.
    let info = unsafe { info.assume_init() };
    Ok(Told {
        repeats: info.tcpi_unacked > 0 && info.tcpi_retransmits > 0,
        heard_ago: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

/// Has the kernel give up in that time what a socket that is closed now still has to send: on a dead path it
/// would try for minutes, and keep socket and network namespace.
pub(super) fn hasten_end(socket: &TcpStream) {
    let _ = sockopt::set_tcp_user_timeout(socket, LINGER_MS);
}

const LINGER_MS: u32 = 5000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_path_is_mute_from_the_first_look_that_sees_a_repetition_until_it_is_answered() {
        let (mut mute, start) = (Mute::default(), Instant::now() + ms(1_000_000));
        let told = |repeats, heard_ago| Told { repeats, heard_ago: ms(heard_ago) };
        assert_eq!(mute.look(start, told(false, 600_000)), ms(0));
        assert_eq!(mute.look(start + ms(500), told(true, 600_500)), ms(0));
        assert_eq!(mute.look(start + ms(1500), told(true, 601_500)), ms(1000));
        // It was answered since, and is again waited for.
        assert_eq!(mute.look(start + ms(2500), told(true, 300)), ms(0));
        assert_eq!(mute.look(start + ms(3500), told(true, 1300)), ms(1000));
        assert_eq!(mute.look(start + ms(4000), told(false, 1800)), ms(0));
        // The machine stood still.
        assert_eq!(mute.look(start + ms(4500), told(true, 2300)), ms(0));
        assert_eq!(mute.look(start + ms(94_500), told(true, 92_300)), ms(0));
        assert_eq!(mute.look(start + ms(95_500), told(true, 93_300)), ms(1000));
    }

    /// A receiver that reads nothing for long is no dead path.
    #[test]
    fn a_peer_that_reads_nothing_answers_all_the_same() {
        use std::io::Write;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_receiver, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65_536]).is_ok() {}
        let sender = Arc::new(sender);
        let mut path = Path::new(1, &sender).unwrap();
        let until = Instant::now() + ms(1500);
        while Instant::now() < until {
            assert!(path.unanswered(Instant::now()) < ms(1000));
            std::thread::sleep(ms(100));
        }
    }
}
