//! Owns the arguments of `crosstie doctor`.

use clap::Args;

use super::When;

const DOCTOR_HELP: &str = "\
Looks at what ranks on this host will need: descriptors, threads, locked memory; memory
that processes share; interfaces, addresses and ports; RDMA devices, their ports and
addresses; GPUs and their driver; clock, cores, launcher, settings. It changes nothing,
sends nothing, and needs no rights: run it as the user of the job, in its container, on
each host. A line for each finding:
  good        as it should be
  warning     ranks run, but slower, or without something that is there
  would fail  a world such as is asked for would fail here
and below it what to do. A port of an RDMA device that is down is a warning, for ports
are left without a cable on purpose; --rails, or its address in CROSSTIE_NICS, says that
it is needed. With CROSSTIE_TRANSPORT=verbs whatever makes ibverbs impossible would fail:
no device, no port that can be used, no library, no leave to open devices or to pin memory.

Examples:
  crosstie doctor                              a rank for each GPU here, or each core
  crosstie doctor --ranks 64 --nodes 8         8 of 64 ranks on this host
  crosstie doctor --rails 8                    fails unless 8 rails are usable
  mpirun --host a,b -N 1 crosstie doctor --json     on several hosts

Exit code: 0 good, or warnings alone; 2 usage; 4 something would fail.";

/// Arguments of `crosstie doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArgs {
    /// Ranks of the whole world [default: the launcher's; else one for each GPU or core of each node]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub ranks: Option<u32>,

    /// Hosts that they are on [default: the launcher's, else 1]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub nodes: Option<u32>,

    /// Rails that must be usable here: RDMA ports, or where there are none, interfaces [default: no matter]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub rails: Option<u32>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Colour the verdicts
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub color: When,
}
