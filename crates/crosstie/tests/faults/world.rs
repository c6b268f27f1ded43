//! Owns a world of processes: starts it, does the fault to it, and judges how its ranks ended.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crosstie::Meeting;
use rustix::fs::readlink;
use rustix::net::{Shutdown, shutdown, sockopt};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};

use super::fault::{Case, Fault, SILENCE, Wires};
use super::rank::SEED;

/// Within what all must be ready, and hear of a fault: fifteen busy processes share two cores, maybe with others.
const START: Duration = Duration::from_secs(20);
const PROMPT: Duration = Duration::from_secs(8);

/// One rank; its process ends with this value.
struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    fn start(case: &Case, rank: u32, id: &str) -> Process {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args(["--exact", "a_rank_of_a_faulty_world", "--ignored", "--nocapture"]);
        let (transport, node) = match case.wires {
            Wires::SharedMemory => ("shm", 0),
            Wires::Tcp => ("tcp", 0),
            Wires::Mixed => ("auto", rank % 2),
        };
        command.env("CROSSTIE_ID", id).env("CROSSTIE_TRANSPORT", transport);
        command.env("CROSSTIE_RANK", rank.to_string());
        command.env("CROSSTIE_SIZE", case.ranks.to_string());
        command.env("CROSSTIE_NODE", format!("fault-{node}-{id}"));
        command.env(SEED, case.seed.to_string());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (orders, out) = (child.stdin.take(), child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(what) = line.strip_prefix("rank says: ") {
                    let _ = said.send(what.to_owned());
                }
            }
        });
        Process { child, orders, lines }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn order(&mut self, what: &str) {
        // A rank that has failed does not read any more.
        let _ = self.orders.as_mut().map(|orders| writeln!(orders, "{what}"));
    }

    /// The next line that it says; `None` when it has ended without one.
    fn says(&self, deadline: Instant) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err("says nothing: it hangs".to_owned()),
        }
    }

    /// How it ended: the line after `ready`.
    fn end(&self, deadline: Instant) -> Result<Option<String>, String> {
        loop {
            match self.says(deadline)? {
                Some(line) if line == "ready" => {}
                line => return Ok(line),
            }
        }
    }

    /// What it printed to standard error, once it has ended.
    fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let mut words = String::new();
        let stderr = self.child.stderr.take();
        let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut words));
        words
    }

    /// Its TCP connections, as descriptors of this process.
    fn sockets(&self) -> Vec<OwnedFd> {
        let Ok(process) = pidfd_open(self.pid(), PidfdFlags::empty()) else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())) else {
            return Vec::new();
        };
        let fds = entries.flatten().filter(|entry| {
            let target = readlink(entry.path(), Vec::new());
            target.is_ok_and(|target| target.to_bytes().starts_with(b"socket:"))
        });
        let numbers = fds.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter_map(|fd| pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).ok())
            .filter(|socket| ends(socket).is_some())
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both ports of a TCP connection.
fn ends(socket: &OwnedFd) -> Option<(u16, u16)> {
    let port = |address: rustix::net::SocketAddrAny| {
        std::net::SocketAddr::try_from(address).ok().map(|address| address.port())
    };
    let own = rustix::net::getsockname(socket).ok().and_then(port)?;
    let peer = rustix::net::getpeername(socket).ok().flatten().and_then(port)?;
    Some((own, peer))
}

/// A world with its fault; the number of provisional verdicts, or what was wrong.
pub fn run(case: &Case) -> Result<u64, String> {
    let (_meeting, id) = Meeting::open().map_err(|error| error.report())?;
    let id = id.to_string();
    let mut ranks: Vec<Process> =
        (0..case.ranks).map(|rank| Process::start(case, rank, &id)).collect();
    let judged = play(case, &mut ranks);
    judged.map_err(|what| {
        let words = ranks.iter_mut().enumerate().map(|(rank, process)| {
            let words = process.last_words();
            format!("\n--- rank {rank} on standard error:\n{words}")
        });
        words.fold(what, |text, words| text + &words)
    })
}

fn play(case: &Case, ranks: &mut [Process]) -> Result<u64, String> {
    if case.fault != Fault::KillEarly {
        let deadline = Instant::now() + START;
        for (rank, process) in ranks.iter().enumerate() {
            let first = process.says(deadline).map_err(|what| format!("rank {rank} {what}"))?;
            if first.as_deref() != Some("ready") {
                return Err(format!("rank {rank} is not ready: {first:?}"));
            }
        }
    }
    std::thread::sleep(case.after);
    let patience = inflict(case, ranks);
    let deadline = Instant::now() + patience;
    let (mut provisional, mut culprits) = (0, BTreeMap::new());
    for (rank, process) in (0..).zip(ranks.iter()) {
        if case.spares(rank) {
            let end = process.end(deadline).map_err(|what| format!("rank {rank} {what}"))?;
            let end = judge(case, end.as_deref())
                .map_err(|what| format!("rank {rank} {what}: {end:?}"))?;
            match end {
                End::Alone => provisional += 1,
                End::Shared(culprit) => _ = culprits.insert(rank, culprit),
                End::Good | End::Early => {}
            }
        }
    }
    let first = culprits.values().next();
    if culprits.values().any(|culprit| Some(culprit) != first) {
        return Err(format!("several culprits: {culprits:?}"));
    }
    victim_ends(case, &ranks[case.victim as usize])?;
    Ok(provisional)
}

/// The rank to which it happened has an end of its own.
fn victim_ends(case: &Case, victim: &Process) -> Result<(), String> {
    if case.fault == Fault::Stop {
        victim.signal(Signal::CONT);
    }
    let end = victim.end(Instant::now() + PROMPT);
    let end = end.map_err(|what| format!("the victim {what}"))?;
    let starts = |with: &str| end.as_deref().is_some_and(|end| end.starts_with(with));
    let right = match case.fault {
        Fault::Kill | Fault::KillEarly | Fault::KillTwo { .. } | Fault::Panic => end.is_none(),
        Fault::Leave => starts("done"),
        // It has learnt what became of it.
        Fault::Stop => starts("failed"),
        Fault::Cut { .. } | Fault::Delay | Fault::ShortWrites => true,
    };
    if right { Ok(()) } else { Err(format!("the victim ended so: {end:?}")) }
}

/// Does it, and says within what the ranks must have ended.
fn inflict(case: &Case, ranks: &mut [Process]) -> Duration {
    let at = case.victim as usize;
    match case.fault {
        Fault::Kill | Fault::KillEarly => ranks[at].signal(Signal::KILL),
        Fault::KillTwo { second, gap } => {
            ranks[at].signal(Signal::KILL);
            std::thread::sleep(gap);
            ranks[second as usize].signal(Signal::KILL);
        }
        Fault::Stop => ranks[at].signal(Signal::STOP),
        Fault::Leave => ranks[at].order("leave"),
        Fault::Panic => ranks[at].order("panic"),
        Fault::Cut { peer } => cut(&ranks[at], &ranks[peer as usize]),
        Fault::Delay => {
            ranks[at].signal(Signal::STOP);
            std::thread::sleep(SILENCE / 4 + case.after);
            ranks[at].signal(Signal::CONT);
        }
        Fault::ShortWrites => {
            for socket in ranks[at].sockets() {
                // The kernel makes it its minimum, some KiB.
                sockopt::set_socket_send_buffer_size(&socket, 1).unwrap();
            }
        }
    }
    if case.is_harmless() {
        std::thread::sleep(case.after);
        ranks[0].order("end");
    }
    match case.fault {
        Fault::Stop => SILENCE + PROMPT,
        _ => PROMPT,
    }
}

/// Shuts down one of the connections between two ranks.
fn cut(one: &Process, other: &Process) {
    let theirs: Vec<(u16, u16)> = other.sockets().iter().filter_map(ends).collect();
    let between = one
        .sockets()
        .into_iter()
        .find(|socket| ends(socket).is_some_and(|(own, peer)| theirs.contains(&(peer, own))));
    let socket = between.expect("ranks that exchange data over TCP have a connection");
    shutdown(&socket, Shutdown::Both).unwrap();
}

/// How a rank ended that did as the fault demands.
enum End {
    /// As if nothing had happened.
    Good,
    /// With an error of its own, while setting up: the text names whom it blames, or nobody.
    Early,
    /// With a verdict of its own, for none reached it.
    Alone,
    /// With the verdict that all share, on this rank.
    Shared(u32),
}

fn judge(case: &Case, end: Option<&str>) -> Result<End, String> {
    let mut words = end.ok_or("ended without a word")?.split(' ');
    let (how, code, culprit, kind) = (words.next(), words.next(), words.next(), words.next());
    if case.is_harmless() {
        return if how == Some("done") {
            Ok(End::Good)
        } else {
            Err("failed for nothing".to_owned())
        };
    }
    if how != Some("failed") {
        return Err("did not fail".to_owned());
    }
    if !case.codes().contains(&code.unwrap_or_default()) {
        return Err(format!("has none of the codes {:?}", case.codes()));
    }
    match kind {
        Some("single") => Ok(End::Early),
        Some("provisional") if case.is_of_the_hub() => Ok(End::Alone),
        Some("provisional") => Err("judged alone, though the hub lived".to_owned()),
        _ => {
            let culprit = culprit.and_then(|rank| rank.parse().ok());
            let culprit = culprit.filter(|rank| case.may_blame(*rank));
            culprit.map(End::Shared).ok_or_else(|| "blames the wrong rank".to_owned())
        }
    }
}
