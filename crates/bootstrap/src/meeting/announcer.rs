//! Owns the Unix socket by which the ranks of one job on one host learn the unique id of their meeting.
//!
//! Its name is abstract, so it leaves no file, and made of the user and the launcher's job, so two jobs stay apart.
//! Anybody may bind or connect to such a name; so each side asks the kernel for the other's user, and talks to its own
//! alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crosstie_net::{UniqueId, poll_until};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, connect, listen, recv, send, socket_with, sockopt,
};
use rustix::process::geteuid;

use crate::error::BootstrapError;

/// Between two attempts to accept where the host refuses.
const OUT_OF_BREATH: Duration = Duration::from_millis(20);
/// Longest abstract name in bytes (`sun_path` of `unix(7)`, less the leading zero).
const NAME_MAX: usize = 107;
/// How many ranks of a host may ask at once; more try again.
const BACKLOG: i32 = 4096;
/// How long rank 0 waits for a name in use: a meeting before this one may just be closing.
const NAME_IN_USE: Duration = Duration::from_secs(2);
/// The first and the longest pause between two tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Hands the id to every process of our user that asks.
pub(crate) struct Announcer {
    socket: OwnedFd,
    id: [u8; UniqueId::BYTES],
}

/// The socket's name for `job` of our user.
pub(crate) fn socket_name(job: &str) -> String {
    let name = format!("crosstie/{}/{job}", geteuid().as_raw());
    if name.len() <= NAME_MAX && name.is_ascii() {
        return name;
    }
    // FNV-1a in 128 bits: it keeps long names of one user apart; who may connect is the kernel's word, not the name's.
    let hash = job.bytes().fold(0x6c62272e07bb014262b821756295c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000000001000000000000000000013b)
    });
    format!("crosstie/{}/{hash:032x}", geteuid().as_raw())
}

impl Announcer {
    /// Binds the name; an error when another process holds it.
    pub(crate) fn open(
        name: &str,
        id: &UniqueId,
        deadline: Instant,
    ) -> Result<Announcer, BootstrapError> {
        let system = |errno| failure(name, io::Error::from(errno).to_string());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(system)?;
        let socket = unix_socket().map_err(system)?;
        let deadline = deadline.min(Instant::now() + NAME_IN_USE);
        let mut pause = Pause::new(deadline);
        loop {
            match bind(&socket, &address) {
                Ok(()) => break,
                Err(Errno::ADDRINUSE) if pause.sleep() => {}
                Err(Errno::ADDRINUSE) => {
                    let reason = "another process holds it: two processes of this job say that they are rank 0, or \
                                  another user took the name; set CROSSTIE_ROOT and CROSSTIE_SECRET instead";
                    return Err(failure(name, reason.to_owned()));
                }
                Err(errno) => return Err(system(errno)),
            }
        }
        listen(&socket, BACKLOG).map_err(system)?;
        Ok(Announcer { socket, id: id.encode() })
    }

    /// Answers all who have connected; never waits.
    pub(crate) fn answer(&self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match accept_with(&self.socket, flags) {
                // 128 bytes fit the buffer of a new socket; one who left meanwhile needs no answer.
                Ok(peer) if is_our_user(&peer) == Ok(true) => {
                    let _ = send(&peer, &self.id, SendFlags::NOSIGNAL);
                }
                Ok(_) => tracing::debug!("another user asked for this job's meeting"),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return,
                // Without a descriptor to answer by, the socket stays readable: no haste then.
                Err(_) => return std::thread::sleep(OUT_OF_BREATH),
            }
        }
    }
}

impl AsFd for Announcer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks the socket of that name for the id, again and again until it is there. `None`: nobody was there at the
/// deadline.
pub(crate) fn ask(name: &str, deadline: Instant) -> Result<Option<UniqueId>, BootstrapError> {
    let system = |errno| failure(name, io::Error::from(errno).to_string());
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).map_err(system)?;
    let mut pause = Pause::new(deadline);
    loop {
        let socket = unix_socket().map_err(system)?;
        match connect(&socket, &address) {
            Ok(()) => {
                if !is_our_user(&socket).map_err(system)? {
                    let reason =
                        "another user took the name: set CROSSTIE_ROOT and CROSSTIE_SECRET instead";
                    return Err(failure(name, reason.to_owned()));
                }
                if let Some(id) = read_id(&socket, name, deadline)? {
                    return Ok(Some(id));
                }
            }
            // Nobody has bound it yet, or too many ask at once.
            Err(Errno::CONNREFUSED | Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(system(errno)),
        }
        if !pause.sleep() {
            return Ok(None);
        }
    }
}

/// The id; none when the socket closed before it was sent, for its meeting had just ended.
fn read_id(
    socket: &OwnedFd,
    name: &str,
    deadline: Instant,
) -> Result<Option<UniqueId>, BootstrapError> {
    let mut bytes = [0; UniqueId::BYTES];
    let mut filled = 0;
    while let Some(place) = bytes.get_mut(filled..).filter(|place| !place.is_empty()) {
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        let ready = poll_until(&mut fds, Some(deadline));
        if ready.map_err(BootstrapError::system("poll"))? == 0 {
            return Ok(None);
        }
        match recv(socket, place, RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(None),
            Ok((_, count)) => filled += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(failure(name, io::Error::from(errno).to_string())),
        }
    }
    UniqueId::decode(&bytes).map(Some).map_err(|error| failure(name, error.to_string()))
}

fn unix_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn is_our_user(peer: &OwnedFd) -> Result<bool, Errno> {
    Ok(sockopt::socket_peercred(peer)?.uid == geteuid())
}

fn failure(name: &str, reason: String) -> BootstrapError {
    BootstrapError::HostSocket { name: name.to_owned(), reason }
}

/// Growing pauses up to a deadline.
struct Pause {
    next: Duration,
    deadline: Instant,
}

impl Pause {
    fn new(deadline: Instant) -> Pause {
        Pause { next: PAUSE.0, deadline }
    }

    /// Sleeps; false when the deadline has passed.
    fn sleep(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(self.next.min(left));
        self.next = (self.next * 2).min(PAUSE.1);
        true
    }
}

#[cfg(test)]
mod tests {
    use crosstie_net::Secret;

    use super::*;

    fn id(number: u8) -> UniqueId {
        UniqueId {
            addresses: vec!["10.0.0.1:99".parse().unwrap()],
            secret: Secret::from_bytes([number; 32]),
        }
    }

    fn in_ms(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    /// Answers until every one of `asking` has its answer.
    fn serve(
        announcer: &Announcer,
        mut asking: Vec<std::thread::JoinHandle<UniqueId>>,
    ) -> Vec<UniqueId> {
        let mut answers = Vec::new();
        while let Some(thread) = asking.pop() {
            while !thread.is_finished() {
                announcer.answer();
                std::thread::sleep(Duration::from_millis(1));
            }
            answers.push(thread.join().unwrap());
        }
        answers
    }

    #[test]
    fn two_jobs_of_one_user_learn_each_its_own_id() {
        let base = std::process::id();
        let names = [1, 2].map(|job| socket_name(&format!("apart {base} {job}")));
        let asking = names.clone().map(|name| {
            (0..4).map(move |_| {
                let name = name.clone();
                std::thread::spawn(move || ask(&name, in_ms(5000)).unwrap().unwrap())
            })
        });
        let asking = asking.map(Iterator::collect::<Vec<_>>);
        for (number, asking) in [1, 2].into_iter().zip(asking) {
            let announcer =
                Announcer::open(&names[usize::from(number) - 1], &id(number), in_ms(100));
            assert_eq!(serve(&announcer.unwrap(), asking), vec![id(number); 4]);
        }
    }

    #[test]
    fn a_second_rank_0_is_refused_and_a_closed_name_is_free_again() {
        let name = socket_name(&format!("twice {}", std::process::id()));
        let first = Announcer::open(&name, &id(1), in_ms(100)).unwrap();
        let second = Announcer::open(&name, &id(2), in_ms(100)).err().unwrap();
        assert!(second.to_string().contains("rank 0"), "{second}");
        drop(first);
        Announcer::open(&name, &id(2), in_ms(100)).unwrap();
    }

    #[test]
    fn nobody_to_ask_is_found_at_the_deadline() {
        let name = socket_name(&format!("nobody {}", std::process::id()));
        let started = Instant::now();
        assert_eq!(ask(&name, in_ms(60)).unwrap(), None);
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_rank_0_that_answers_nothing_is_left_at_the_deadline() {
        let name = socket_name(&format!("mute {}", std::process::id()));
        let _mute = Announcer::open(&name, &id(1), in_ms(100)).unwrap();
        assert_eq!(ask(&name, in_ms(60)).unwrap(), None);
    }

    #[test]
    fn names_of_long_jobs_fit_and_stay_apart() {
        let long = "x".repeat(500);
        let (a, b) = (socket_name(&format!("{long}a")), socket_name(&format!("{long}b")));
        assert!(a.len() <= NAME_MAX && a != b && a == socket_name(&format!("{long}a")));
    }
}
