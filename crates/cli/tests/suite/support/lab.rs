//! Owns what tests of labs share: whether there can be one here, and what processes belong to one.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use rustix::process::{Pid, geteuid};

use super::{Done, Running, crosstie, rank_of, run};

/// Says why there can be no lab here, if there can be none.
pub fn no_lab() -> bool {
    let found = |tool: &str| {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
            .iter()
            .any(|folder| fs::exists(format!("{folder}/{tool}")).unwrap_or(false))
    };
    let why = if !geteuid().is_root() {
        "not root".to_owned()
    } else if !found("ip") || !found("tc") {
        "iproute2 is not installed".to_owned()
    } else {
        let tried = run("lab --nodes 1 --ranks-per-node 1 -- run -- true");
        let refused = ["CAP_SYS_ADMIN", "this kernel has no"];
        match tried.code == Some(4) && refused.iter().any(|why| tried.err.contains(why)) {
            true => tried.err,
            false => return false,
        }
    };
    println!("SKIPPED: no lab here: {why}");
    true
}

pub fn shell(flags: &str, script: &str) -> Command {
    let mut command = crosstie(&format!("lab {flags} -- run -- sh -c"));
    command.arg(script);
    command
}

pub fn finish(command: Command) -> Done {
    Running::start(command).finish()
}

pub const NOBODY: [u32; 0] = [];

/// A variable that all processes of a lab inherit, to find them by.
pub struct Mark(pub String);

impl Mark {
    pub fn new(name: &str) -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        Self(format!("{name}-{}", id.trim()))
    }

    pub fn on(&self, mut command: Command) -> Command {
        command.env("MARK_OF_A_TEST", &self.0);
        command
    }

    /// Processes that carry it: zombies have no environment.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("MARK_OF_A_TEST={}", self.0);
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let carries = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
        };
        pids.filter(carries).collect()
    }

    /// Those of them that are ranks.
    pub fn ranks(&self) -> BTreeMap<u32, Pid> {
        let pids = self.processes().into_iter().filter_map(|pid| i32::try_from(pid).ok());
        pids.filter_map(|pid| Some((rank_of(pid)?, Pid::from_raw(pid)?))).collect()
    }
}
