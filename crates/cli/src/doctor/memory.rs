//! Owns the checks of what ranks of one node share: that memory can be shared, how much, and with whom.

use super::finding::{Finding, Group};
use super::state::State;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    let add = |name, told: String| Finding::good(Group::SharedMemory, name, told);
    found.push(match &state.memory.refused {
        None => add("memory files", "memfd_create works".to_owned()),
        Some(why) => add("memory files", format!("memfd_create: {why}"))
            .wanted("memory that processes share without a file's name")
            .would_fail("let the container's seccomp profile pass memfd_create (Docker: `--security-opt seccomp=PROFILE.json`), or set CROSSTIE_TRANSPORT=tcp"),
    });
    found.extend(slots(state));
    found.push(node(state));
    found.push(match state.memory.shm {
        Some(bytes) => add("/dev/shm", format!("{}: its size limits nothing, for messages pass through memory without a file; by its device ranks know their neighbours", size(bytes))),
        None => add("/dev/shm", "absent".to_owned())
            .wanted("a tmpfs, by whose device ranks of one node know each other")
            .warning("`mount -t tmpfs tmpfs /dev/shm`, or set CROSSTIE_NODE to the host's name"),
    });
    found.extend(tracing(state));
}

/// What the slots of all connections here may grow to.
fn slots(state: &State) -> Option<Finding> {
    let here = u64::from(state.world.here());
    let wanted = state.memory.slots_of_a_rank?.saturating_mul(here);
    let memory = &state.memory;
    let (all, left) =
        memory.container.map_or((memory.total, memory.available), |(limit, taken)| {
            let left = limit.saturating_sub(taken);
            (limit.min(memory.total), left.min(memory.available))
        });
    let whose = if memory.container.is_some() { "this container" } else { "this host" };
    let finding = Finding::good(
        Group::SharedMemory,
        "memory",
        format!("{} free of {}'s {}", size(left), whose, size(all)),
    )
    .wanted(format!("up to {} for the slots of {here} ranks, beside what they hold", size(wanted)));
    let remedy = "give each host fewer ranks, set CROSSTIE_SLOT_BYTES lower (`crosstie config slot_bytes`), or raise the container's limit (`--memory`)";
    Some(match () {
        () if wanted > all => finding.would_fail(remedy),
        () if wanted > left => finding.warning(remedy),
        () => finding,
    })
}

/// By what ranks tell that they share a node.
fn node(state: &State) -> Finding {
    let key = &state.node_key;
    if let Some(name) = state.told("CROSSTIE_NODE") {
        return Finding::good(Group::SharedMemory, "node", format!("CROSSTIE_NODE={name}"));
    }
    let finding = Finding::good(Group::SharedMemory, "node", key.clone());
    if !key.starts_with("alone") {
        return finding.wanted("the same in every container of a job on this host (`--network=host --ipc=host`), or one CROSSTIE_NODE");
    }
    finding
        .wanted("boot id, network namespace and /dev/shm, by which ranks know their neighbours")
        .warning("make /proc and /dev/shm readable, or set CROSSTIE_NODE to the host's name: else each rank is a node of its own, over TCP")
}

/// Only where ranks are told to read each other's memory.
fn tracing(state: &State) -> Option<Finding> {
    let scope = state.ptrace_scope.unwrap_or(0);
    (state.told("CROSSTIE_PULL").as_deref() == Some("on")).then(|| {
        let told = format!("Yama's ptrace_scope is {scope}");
        let finding = Finding::good(Group::SharedMemory, "process_vm_readv", told);
        match scope {
            0 => finding,
            _ if state.limits.may_trace && scope < 3 => finding,
            _ => finding.wanted("0, for CROSSTIE_PULL=on").warning(
                "`sysctl kernel.yama.ptrace_scope=0` as root, or unset CROSSTIE_PULL: messages go through slots meanwhile",
            ),
        }
    })
}

/// Bytes as people write them.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}
