//! Owns the checks of what the kernel allows a process: descriptors, threads, locked memory.

use super::finding::{Finding, Group};
use super::state::State;

/// Descriptors of rank 0 without peers. This and the two that follow: the least `ulimit -n` with which worlds of 4, 8 and
/// 12 ranks ran, on shared memory (30, 54, 78) and over TCP (34 and 46 for the last two).
const OWN: u64 = 13;
/// For each peer of its node, while they meet.
const OF_A_NEIGHBOUR: u64 = 6;
/// For each peer elsewhere.
const OF_ANOTHER: u64 = 3;
/// What a program has open beside.
const PROGRAM: u64 = 32;
/// Threads of a rank, those included that pass by, and of a launcher for it.
const THREADS: u64 = 11;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    found.push(files(state));
    found.push(threads(state));
    found.push(locked(state));
}

/// Least and good numbers of descriptors of one rank: rank 0, at which all ranks meet.
fn descriptors(ranks: u64, here: u64) -> (u64, u64) {
    let (near, far) = (here.saturating_sub(1), ranks.saturating_sub(here));
    let least = OWN + OF_A_NEIGHBOUR * near + OF_ANOTHER * far;
    (least, least + PROGRAM)
}

fn files(state: &State) -> Finding {
    let (ranks, here) = (u64::from(state.world.ranks), u64::from(state.world.here()));
    let (least, good) = descriptors(ranks, here);
    let told = amount(state.limits.files);
    let finding = Finding::good(Group::Limits, "open files", format!("{told} a process"))
        .wanted(format!("{good} for a rank of {ranks}, {here} of them here"));
    let Some(soft) = state.limits.files.filter(|&soft| soft < good) else { return finding };
    let remedy = match state.limits.files_hard {
        Some(hard) if hard < good => format!(
            "`* hard nofile {good}` and `* soft nofile {good}` in /etc/security/limits.d/crosstie.conf, then log in again; for a container `--ulimit nofile={good}`"
        ),
        _ => format!("`ulimit -n {good}` in the shell that starts ranks"),
    };
    if soft < least { finding.would_fail(remedy) } else { finding.warning(remedy) }
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
    match limits.locked {
        None => finding,
        Some(_) => finding.wanted("unlimited: RDMA and GPUs write only into memory that is locked").warning(
            "`* soft memlock unlimited` and `* hard memlock unlimited` in /etc/security/limits.d/crosstie.conf, then log in again; `LimitMEMLOCK=infinity` for a service (slurmd), `--ulimit memlock=-1` for a container",
        ),
    }
}

fn amount(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}
