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

use super::fault::{ARRIVAL, Case, Fault, SILENCE, Wires};
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
        command.args(["--exact", "faults::a_rank_of_a_faulty_world", "--ignored", "--nocapture"]);
        let (transport, node) = match case.wires {
            Wires::SharedMemory => ("shm", 0),
            Wires::Tcp => ("tcp", 0),
            Wires::Mixed | Wires::Relayed => ("auto", rank % 2),
        };
        command.env("CROSSTIE_ID", id).env("CROSSTIE_TRANSPORT", transport);
        command.env("CROSSTIE_RANK", rank.to_string());
        command.env("CROSSTIE_SIZE", case.ranks.to_string());
        command.env("CROSSTIE_NODE", format!("fault-{node}-{id}"));
        command.env("CROSSTIE_PXN", if case.wires == Wires::Relayed { "on" } else { "off" });
        if case.fault == Fault::Swallow {
            command.env("CROSSTIE_TIMEOUT", ARRIVAL.as_secs_f64().to_string());
        }
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

/// How a world ended that did as its fault demands.
#[derive(Default)]
pub struct Ends {
    /// How many ranks judged alone, with a provisional verdict.
    pub alone: u64,
    /// In what each rank was that failed.
    pub during: Vec<String>,
    /// How long after the fault the last rank to which it did not happen had ended.
    pub took: Duration,
}

/// A world with its fault: how it ended, or what was wrong.
pub fn run(case: &Case) -> Result<Ends, String> {
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

fn play(case: &Case, ranks: &mut [Process]) -> Result<Ends, String> {
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
    let began = Instant::now();
    let deadline = began + patience;
    let (mut ends, mut verdicts) = (Ends::default(), BTreeMap::new());
    for (rank, process) in (0..).zip(ranks.iter()) {
        if case.spares(rank) {
            let end = process.end(deadline).map_err(|what| format!("rank {rank} {what}"))?;
            let end = judge(case, end.as_deref())
                .map_err(|what| format!("rank {rank} {what}: {end:?}"))?;
            let last = process.says(deadline);
            let last = last.map_err(|_| format!("the process of rank {rank} does not end"))?;
            if last.is_some() {
                return Err(format!("rank {rank} goes on: {last:?}"));
            }
            match end {
                End::Alone => ends.alone += 1,
                End::Shared { verdict, during } => {
                    verdicts.insert(rank, verdict);
                    ends.during.push(during);
                }
                End::Good | End::Early => {}
            }
        }
    }
    ends.took = began.elapsed();
    let victim = victim_ends(case, &ranks[case.victim as usize])?;
    verdicts.extend(victim.map(|verdict| (case.victim, verdict)));
    let first = verdicts.values().next();
    if verdicts.values().any(|verdict| Some(verdict) != first) {
        return Err(format!("several verdicts: {verdicts:?}"));
    }
    Ok(ends)
}

/// The rank to which it happened has an end of its own: the verdict, if it was told.
fn victim_ends(case: &Case, victim: &Process) -> Result<Option<(String, String)>, String> {
    if case.spares(case.victim) {
        return Ok(None);
    }
    if case.fault == Fault::Stop {
        victim.signal(Signal::CONT);
    }
    let end = victim.end(Instant::now() + PROMPT);
    let end = end.map_err(|what| format!("the victim {what}"))?;
    let starts = |with: &str| end.as_deref().is_some_and(|end| end.starts_with(with));
    if matches!(case.fault, Fault::Stop | Fault::Swallow) {
        // It has learnt what became of it.
        let judged = judge(case, end.as_deref());
        return match judged.map_err(|what| format!("the victim {what}: {end:?}"))? {
            End::Shared { verdict, .. } => Ok(Some(verdict)),
            _ => Ok(None),
        };
    }
    let right = match case.fault {
        Fault::Kill | Fault::KillEarly | Fault::KillTwo { .. } | Fault::Panic => end.is_none(),
        Fault::Leave => starts("done"),
        _ => true,
    };
    if right { Ok(None) } else { Err(format!("the victim ended so: {end:?}")) }
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
        Fault::Swallow => ranks[at].order("swallow"),
        Fault::Cut { peer } => cut(case, &ranks[at], &ranks[peer as usize]),
        Fault::CutMonitor => cut(case, &ranks[at], &ranks[0]),
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
        Fault::Swallow => ARRIVAL + PROMPT,
        _ => PROMPT,
    }
}

/// Shuts down a connection between two ranks; all of them where they are of data and of the monitors, for which is
/// which cannot be told.
fn cut(case: &Case, one: &Process, other: &Process) {
    let theirs: Vec<(u16, u16)> = other.sockets().iter().filter_map(ends).collect();
    let is_between =
        |socket: &OwnedFd| ends(socket).is_some_and(|(own, peer)| theirs.contains(&(peer, own)));
    let between: Vec<OwnedFd> = one.sockets().into_iter().filter(is_between).collect();
    let with_hub = matches!(case.fault, Fault::Cut { peer } if peer == 0 || case.victim == 0);
    assert_eq!(between.len(), if with_hub { 2 } else { 1 }, "sockets between two ranks");
    between.iter().for_each(|socket| shutdown(socket, Shutdown::Both).unwrap());
}

/// How a rank ended that did as the fault demands.
enum End {
    /// As if nothing had happened.
    Good,
    /// With an error of its own, while setting up, whose text names the rank.
    Early,
    /// With a verdict of its own, for none reached it.
    Alone,
    /// With the verdict that all share, its code and culprit, in that operation.
    Shared { verdict: (String, String), during: String },
}

fn judge(case: &Case, end: Option<&str>) -> Result<End, String> {
    let mut words = end.ok_or("ended without a word")?.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (how, code, culprit, kind, during) = (word(), word(), word(), word(), word());
    if case.is_harmless() {
        return if how == "done" { Ok(End::Good) } else { Err("failed for nothing".to_owned()) };
    }
    if how != "failed" {
        return Err("did not fail".to_owned());
    }
    if !case.codes().contains(&code) {
        return Err(format!("has none of the codes {:?}", case.codes()));
    }
    match kind {
        "single" if end.is_some_and(|end| end.contains(&format!("rank {}", case.victim))) => {
            Ok(End::Early)
        }
        "single" => Err("names no culprit".to_owned()),
        "provisional" if case.is_of_the_hub() => Ok(End::Alone),
        "provisional" => Err("judged alone, though the hub lived".to_owned()),
        _ if case.may_blame(culprit) => {
            let verdict = (code.to_owned(), culprit.to_owned());
            Ok(End::Shared { verdict, during: during.to_owned() })
        }
        _ => Err("blames the wrong rank".to_owned()),
    }
}
