//! Owns the processes of a world: starting them so that they die with us, their output line by
//! line, and their end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crosstie_lab::Node;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group,
    set_parent_process_death_signal, waitid,
};
use signal_hook::iterator::{Handle, Signals};

use super::job::Place;
use crate::args::BecomeRankArgs;
use crate::exit::Failure;

/// Events that may wait for the launcher; then the ranks' writes wait.
const EVENTS: usize = 1024;
/// A line longer than this is passed on in pieces, so that memory stays bounded.
const LONGEST_LINE: usize = 64 << 10;

/// Which of a rank's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(number) => {
                let name = signal_hook::low_level::signal_name(i32::from(number));
                write!(f, "was killed by signal {number} ({})", name.unwrap_or("unknown"))
            }
        }
    }
}

/// What happens to a world.
#[derive(Debug)]
pub enum Event {
    /// A rank wrote a line.
    Line {
        /// Who.
        rank: u32,
        /// Where to.
        stream: Stream,
        /// The line, without its end.
        line: Vec<u8>,
    },
    /// One of a rank's outputs has ended.
    Closed {
        /// Whose.
        rank: u32,
    },
    /// A rank has ended and waits to be reaped.
    Exited {
        /// Who.
        rank: u32,
    },
    /// Somebody sent us a signal.
    Signal(i32),
}

/// The processes of a world. Dropping it kills whoever is left.
pub struct Children {
    running: BTreeMap<u32, Child>,
    events: SyncSender<Event>,
    open_streams: BTreeMap<u32, usize>,
    signals: Handle,
}

impl Children {
    /// No processes yet; from now on the given signals are events.
    pub fn new(signals: [i32; 2]) -> Result<(Self, Receiver<Event>), Failure> {
        let (events, receiver) = sync_channel(EVENTS);
        let mut signals =
            Signals::new(signals).map_err(|e| Failure::host("watch for signals", e))?;
        let handle = signals.handle();
        let sender = events.clone();
        in_background("signals", move || {
            for number in signals.forever() {
                if sender.send(Event::Signal(number)).is_err() {
                    return;
                }
            }
        })?;
        let (running, open_streams) = (BTreeMap::new(), BTreeMap::new());
        Ok((Self { running, events, open_streams, signals: handle }, receiver))
    }

    /// Starts a rank in a process group of its own, so that what it starts can be ended with it.
    ///
    /// It goes through [`become_rank`], for only the new process itself can ask the kernel to die
    /// with its parent. The kernel means the parent's thread: call this from one that stays.
    pub fn start(&mut self, rank: u32, program: &[OsString], place: &Place) -> Result<(), Failure> {
        let this = std::env::current_exe().map_err(|e| Failure::host("find this program", e))?;
        let mut command = Command::new(this);
        command.arg("become-rank").arg(getpid().as_raw_nonzero().to_string());
        if let Some(Node { namespace, name }) = &place.node {
            command.arg("--namespace").arg(namespace).arg("--name").arg(name);
        }
        for name in place.withheld {
            command.env_remove(name);
        }
        let mut child = command
            .arg("--")
            .args(program)
            .envs(place.told.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| Failure::host(format!("start rank {rank}"), e))?;
        let (output, error) = (child.stdout.take(), child.stderr.take());
        let id = Pid::from_child(&child);
        self.running.insert(rank, child);
        if let Some(output) = output {
            self.pass_on(rank, Stream::Output, output)?;
        }
        if let Some(error) = error {
            self.pass_on(rank, Stream::Error, error)?;
        }
        self.watch(rank, id)
    }

    fn pass_on(
        &mut self,
        rank: u32,
        stream: Stream,
        source: impl Read + Send + 'static,
    ) -> Result<(), Failure> {
        *self.open_streams.entry(rank).or_default() += 1;
        let events = self.events.clone();
        in_background("output", move || {
            let send = |line| events.send(Event::Line { rank, stream, line }).is_ok();
            lines(source, send);
            let _ = events.send(Event::Closed { rank });
        })
    }

    /// Says when the process has ended, and leaves it to be reaped: until then its number, and its
    /// group's, cannot mean anyone else.
    fn watch(&self, rank: u32, id: Pid) -> Result<(), Failure> {
        let events = self.events.clone();
        in_background("watch", move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(id), options), Err(rustix::io::Errno::INTR)) {}
            let _ = events.send(Event::Exited { rank });
        })
    }

    /// Takes note that one of a rank's outputs has ended.
    pub fn stream_closed(&mut self, rank: u32) {
        if let Some(open) = self.open_streams.get_mut(&rank) {
            *open -= 1;
        }
    }

    /// Whether a rank may still have something to say.
    pub fn has_open_streams(&self, rank: u32) -> bool {
        self.open_streams.get(&rank).is_some_and(|&open| open > 0)
    }

    /// Ends what a rank that has ended may have left in its group, and tells how it ended.
    pub fn reap(&mut self, rank: u32) -> Result<Ended, Failure> {
        let Some(mut child) = self.running.remove(&rank) else { return Ok(Ended::Code(0)) };
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let status = child.wait().map_err(|e| Failure::host(format!("wait for rank {rank}"), e))?;
        let small = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(small(code)),
            (None, signal) => Ended::Signal(small(signal.unwrap_or(0))),
        })
    }

    /// Sends a signal to these ranks and to what they have started.
    pub fn signal(&self, ranks: &BTreeSet<u32>, signal: Signal) {
        for child in ranks.iter().filter_map(|rank| self.running.get(rank)) {
            // Gone already: its end is on its way to us.
            let _ = kill_process_group(Pid::from_child(child), signal);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.signals.close(); // which ends the thread that waits for them
        for child in self.running.values_mut() {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// The step between the launcher and the rank's program: dies with the launcher, goes to its node,
/// then turns into the program. Returns only when it cannot.
pub fn become_rank(args: BecomeRankArgs) -> Failure {
    let BecomeRankArgs { launcher, namespace, name, program } = args;
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Failure::host("ask to die with the launcher", error.into());
    }
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(launcher) {
        return Failure::usage(
            "the launcher of this rank has ended",
            "start ranks with `crosstie run`, not with this hidden command",
        );
    }
    let node = namespace.zip(name).map(|(namespace, name)| Node { namespace, name });
    if let Some(Err(error)) = node.map(|node| node.enter()) {
        return error.into();
    }
    let Some((name, arguments)) = program.split_first() else {
        return Failure::usage("no program to turn into", "name one after `--`");
    };
    let error = Command::new(name).args(arguments).exec();
    Failure::host(format!("start {}", crate::file::shown(name)), error)
}

fn in_background(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().name(name.to_owned()).stack_size(128 << 10).spawn(work);
    started.map(drop).map_err(|e| Failure::host("start a thread", e))
}

/// Calls `send` with each line, until that or the source ends; a last line may lack its end.
fn lines(mut source: impl Read, mut send: impl FnMut(Vec<u8>) -> bool) {
    let mut pending = Vec::new();
    let mut chunk = [0; 8 << 10];
    loop {
        match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => pending.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let mut line = std::mem::replace(&mut pending, rest);
            line.pop();
            if !send(line) {
                return;
            }
        }
        if pending.len() > LONGEST_LINE && !send(std::mem::take(&mut pending)) {
            return;
        }
    }
    if !pending.is_empty() {
        send(pending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        lines(text, |line| {
            found.push(line);
            true
        });
        found
    }

    #[test]
    fn lines_are_passed_on_whole_and_the_last_may_lack_its_end() {
        assert_eq!(split(b"one\n\ntwo"), [b"one".to_vec(), vec![], b"two".to_vec()]);
        assert_eq!(split(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn an_endless_line_takes_bounded_memory_and_loses_nothing() {
        let pieces = split(&vec![b'x'; 300 << 10]);
        assert!(pieces.iter().all(|piece| piece.len() <= LONGEST_LINE + (8 << 10)));
        assert_eq!(pieces.concat().len(), 300 << 10);
    }
}
