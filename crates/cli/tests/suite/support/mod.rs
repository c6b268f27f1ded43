//! Owns how these tests run the real command: in a clean environment, never longer than a deadline.

pub mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing here takes longer, on two busy cores.
const LIMIT: Duration = Duration::from_secs(60);

/// The command, with nothing in its environment that speaks of a world.
pub fn crosstie(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crosstie"));
    command.args(line.split_whitespace()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_a_launcher = ["CROSSTIE_", "OMPI_", "PMI", "SLURM_", "MPI_", "TORCHELASTIC_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if of_a_launcher || ["RANK", "WORLD_SIZE", "MASTER_ADDR", "NO_COLOR"].contains(&&*name) {
            command.env_remove(name);
        }
    }
    command
}

/// What a command left: exit code, output, errors.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs to the end.
pub fn run(line: &str) -> Done {
    Running::start(crosstie(line)).finish()
}

/// A file that goes when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("crosstie-cli-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A command that has started; dropping it kills it, and so its ranks.
pub struct Running {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    seen: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out, seen: String::new() }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Reads the table up to its first row: every rank is there and at work.
    pub fn wait_for_a_row(&mut self) {
        while self.seen.lines().last().is_none_or(|line| line.starts_with('#')) {
            if self.out.as_mut().unwrap().read_line(&mut self.seen).unwrap() == 0 {
                let mut err = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
                panic!("no row:\n{}\n{err}", self.seen);
            }
        }
    }

    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// The processes of the ranks, by rank.
    pub fn ranks(&self) -> BTreeMap<u32, Pid> {
        let parent = self.pid().as_raw_nonzero().get();
        let started = processes().into_iter().filter(|(_, its_parent)| *its_parent == parent);
        started.filter_map(|(pid, _)| Some((rank_of(pid)?, Pid::from_raw(pid)?))).collect()
    }

    /// Reads the rest and waits for the end.
    pub fn finish(mut self) -> Done {
        let mut err = self.child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).map(|_| text)
        });
        let pid = self.pid();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let guard = thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let mut out = std::mem::take(&mut self.seen);
        self.out.take().unwrap().read_to_string(&mut out).unwrap();
        let err = errors.join().unwrap().unwrap();
        let code = self.child.wait().unwrap().code();
        drop(done);
        guard.join().unwrap();
        Done { code, out, err }
    }

    /// Reads one line and then closes the pipe, as `head -1` does.
    pub fn read_one_line_and_close(mut self) -> (String, Option<i32>) {
        let line = self.first_line();
        drop(self.out.take());
        (line, self.child.wait().unwrap().code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All processes, with their parents.
fn processes() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent_of(pid)?))).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn rank_of(pid: i32) -> Option<u32> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|&byte| byte == 0);
    let text = variables.find_map(|variable| variable.strip_prefix(b"CROSSTIE_RANK="))?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether all of these processes are gone within two seconds (a zombie is gone).
pub fn all_gone<'a>(pids: impl IntoIterator<Item = &'a Pid>) -> bool {
    let until = Instant::now() + Duration::from_secs(2);
    pids.into_iter().all(|pid| {
        let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
        let gone = || fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "));
        while !gone() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        gone()
    })
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
