//! Owns what Slurm's srun leaves in the environment.

use super::{Claim, Started, local, pmix};
use crate::Launcher;
use crate::environment::Reader;
use crate::error::LaunchError;

/// Step ids from here on name no step of srun's own tasks: batch script, interactive shell, external step
/// (`slurm.h`: `SLURM_BATCH_SCRIPT`, `SLURM_INTERACTIVE_STEP`, `SLURM_EXTERN_CONT`).
const FIRST_SPECIAL_STEP: u32 = 0xffff_fff0;

pub(super) fn started(env: &Reader<'_>) -> Result<Option<Started>, LaunchError> {
    if !in_step(env)? {
        return Ok(None);
    }
    let size = match env.number("SLURM_STEP_NUM_TASKS")? {
        Some(size) => Some(size),
        None => env.number("SLURM_NTASKS")?,
    };
    let (Some(rank), Some(size)) = (env.number("SLURM_PROCID")?, size) else { return Ok(None) };
    let local = local(env.number("SLURM_LOCALID")?, local_size(env, size)?);
    let claim = Claim { rank, size, local, launcher: Launcher::Slurm };
    let pmi_fd = env.parse("PMI_FD", "the number of an open file descriptor")?;
    Ok(Some(Started { claim, pmi_fd, job: job(env), pmix: pmix::speaks(env) }))
}

/// Whether srun started this process as a task of a step. A batch script has `SLURM_PROCID=0` as well.
fn in_step(env: &Reader<'_>) -> Result<bool, LaunchError> {
    Ok(env.number("SLURM_STEP_ID")?.is_some_and(|step| step < FIRST_SPECIAL_STEP))
}

fn job(env: &Reader<'_>) -> Option<String> {
    let (job, step) = (env.text("SLURM_JOB_ID")?, env.text("SLURM_STEP_ID")?);
    Some(format!("slurm {job}.{step}"))
}

fn local_size(env: &Reader<'_>, size: u32) -> Result<Option<u32>, LaunchError> {
    let nodes = match env.number("SLURM_STEP_NUM_NODES")? {
        Some(nodes) => Some(nodes),
        None => env.number("SLURM_NNODES")?,
    };
    if nodes == Some(1) {
        return Ok(Some(size));
    }
    let Some(node) = env.number("SLURM_NODEID")? else { return Ok(None) };
    let Some((_, text)) = env.first(&["SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"]) else {
        return Ok(None);
    };
    Ok(tasks_on(&text, node))
}

/// Tasks on node number `node` by a list such as `4(x2),3`: two nodes of four, then one of three. `None` where
/// the list is not of that form or has no such node.
fn tasks_on(list: &str, node: u32) -> Option<u32> {
    let mut left = node;
    for entry in list.split(',') {
        let (tasks, times) = match entry.split_once("(x") {
            Some((tasks, times)) => (tasks, times.strip_suffix(')')?.parse().ok()?),
            None => (entry, 1),
        };
        let tasks = tasks.trim().parse().ok()?;
        match left.checked_sub(times) {
            Some(further) => left = further,
            None => return Some(tasks),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::tasks_on;

    #[test]
    fn a_task_list_tells_each_nodes_share() {
        let list = "4(x2),3,1(x2)";
        let shares: Vec<_> = (0..6).map(|node| tasks_on(list, node)).collect();
        assert_eq!(shares, [Some(4), Some(4), Some(3), Some(1), Some(1), None]);
    }

    #[test]
    fn a_malformed_task_list_tells_nothing() {
        for list in ["", "x", "4(x", "4(x2", "4(y2)", "4(x-1)", ",", "99999999999"] {
            assert_eq!(tasks_on(list, 0), None, "{list}");
        }
    }
}
