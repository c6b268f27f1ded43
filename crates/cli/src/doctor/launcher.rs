//! Owns the checks of who starts ranks, of how many cores they have, and of settings.

use super::finding::{Finding, Group};
use super::state::State;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    found.push(cores(state));
    let launcher = &state.launcher;
    found.push(match launcher.world {
        Some((name, rank, size)) => {
            add("launcher", format!("{name}: this would be rank {rank} of {size}"))
        }
        None => add(
            "launcher",
            "none here: `crosstie run` and `bench` start ranks of this host themselves",
        ),
    });
    if launcher.world.is_none() && state.world.nodes > 1 && state.told("CROSSTIE_ROOT").is_none() {
        let found_nothing = "neither a launcher nor CROSSTIE_ROOT in this environment";
        found.push(add("meeting", found_nothing).wanted(
            "for ranks of several hosts: mpirun or srun, or CROSSTIE_ROOT=HOST:PORT and CROSSTIE_SECRET_FILE",
        ));
    }
    found.extend(launcher.unusable.iter().map(|what| {
        add("settings", what).would_fail("correct it, or unset it; `crosstie config` shows all")
    }));
    found.extend(launcher.in_vain.iter().map(|what| {
        add("settings", what).warning("correct it, or unset it; `crosstie config` shows all")
    }));
}

fn add(check: &'static str, found: impl Into<String>) -> Finding {
    Finding::good(Group::Launcher, check, found)
}

fn cores(state: &State) -> Finding {
    let here = state.world.here();
    let finding = add("cores", format!("{} for this process", state.cores))
        .wanted(format!("{here}, one for each rank here"));
    match state.cores < u64::from(here) {
        true => finding.warning(
            "start fewer ranks on this host, or give the job more cores (mpirun `--bind-to none`, srun `--cpus-per-task`, docker `--cpus`): ranks that share cores sleep to wait, and are slower",
        ),
        false => finding,
    }
}
