//! Owns the checks of what the kernel allows a process: descriptors, threads, locked memory.

use crosstie_net::Descriptors;

use super::finding::{Finding, Group};
use super::state::State;

/// Threads of a rank, those included that pass by, and of a launcher for it.
const THREADS: u64 = 11;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    found.push(files(state));
    found.push(threads(state));
    found.push(locked(state));
}

/// The library raises the soft limit by itself, so the hard one decides.
fn files(state: &State) -> Finding {
    let (ranks, here) = (u64::from(state.world.ranks), u64::from(state.world.here()));
    let Descriptors { least, good } = Descriptors::of_rank(ranks, here);
    let told = format!(
        "{} a process, at most {}",
        amount(state.limits.files),
        amount(state.limits.files_hard)
    );
    let finding = Finding::good(Group::Limits, "open files", told)
        .wanted(format!("{good} for a rank of {ranks}, {here} of them here"));
    let Some(hard) = state.limits.files_hard.filter(|&hard| hard < good) else { return finding };
    let remedy = format!(
        "`* hard nofile {good}` in /etc/security/limits.d/crosstie.conf, then log in again; for a container `--ulimit nofile={good}`"
    );
    if hard < least { finding.would_fail(remedy) } else { finding.warning(remedy) }
}

fn threads(state: &State) -> Finding {
    let here = u64::from(state.world.here());
    let wanted = THREADS * here;
    let told = format!("{} of this user or container", amount(state.limits.threads));
    let finding = Finding::good(Group::Limits, "threads", told)
        .wanted(format!("{wanted} for {here} ranks, beside what else runs"));
    match state.limits.threads {
        Some(limit) if limit < wanted => finding.would_fail(format!(
            "`ulimit -u {}`, or for a container `--pids-limit {}`",
            2 * wanted,
            2 * wanted
        )),
        _ => finding,
    }
}

/// Memory is only locked for devices that write into it.
fn locked(state: &State) -> Finding {
    let devices = state.facts.rdma.iter().flatten().count();
    let gpus = state.facts.gpus.gpus.len();
    let limits = &state.limits;
    let finding = |found: String| Finding::good(Group::Limits, "locked memory", found);
    if devices == 0 && gpus == 0 {
        let told = amount(limits.locked);
        return finding(format!("{told} bytes, and nothing locks any: no RDMA device and no GPU"));
    }
    if limits.may_lock {
        return finding("as much as it likes, for this user has CAP_IPC_LOCK".to_owned());
    }
    let finding = finding(format!("{} bytes a process", amount(limits.locked)));
    let Some(limit) = limits.locked else { return finding };
    let remedy = "`* soft memlock unlimited` and `* hard memlock unlimited` in /etc/security/limits.d/crosstie.conf, then log in again; `LimitMEMLOCK=infinity` for a service (slurmd), `--ulimit memlock=-1` for a container";
    match state.memory.pinned_by_a_rank {
        Some(pinned) if limit < pinned => finding
            .wanted(format!("{pinned}, which ibverbs pins before any buffer"))
            .would_fail(remedy),
        _ => finding
            .wanted("unlimited: RDMA and GPUs write only into memory that is locked")
            .warning(remedy),
    }
}

fn amount(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}
