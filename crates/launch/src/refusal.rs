//! Owns the refusal to run as a world of one where somebody meant more.

use crate::environment::Reader;
use crate::error::LaunchError;
use crate::launcher::pmix;
use crate::{AskPmix, Explicit};

/// Places that a process would not have been told of if it were to be alone.
const PLACES: [&str; 2] = ["CROSSTIE_ID", "CROSSTIE_ROOT"];

/// Counts that speak of ranks: the variable, what is missing beside it, and what to do.
const COUNTS: [(&str, &str, &str); 7] = [
    ("OMPI_COMM_WORLD_SIZE", "no OMPI_COMM_WORLD_RANK", PASS_ON),
    ("PMI_SIZE", "no PMI_RANK", PASS_ON),
    ("MPI_LOCALNRANKS", "no PMI_RANK", PASS_ON),
    ("WORLD_SIZE", "no RANK", "set RANK too, or unset WORLD_SIZE"),
    ("SLURM_STEP_NUM_TASKS", NO_STEP, WITH_SRUN),
    ("SLURM_NTASKS", NO_STEP, WITH_SRUN),
    ("FLUX_JOB_SIZE", "FLUX_TASK_RANK is not read", GIVE),
];

const NO_STEP: &str = "it is no task of an srun step, but a batch script or shell of the job";
const WITH_SRUN: &str = "start it with srun, or give rank and size (CROSSTIE_RANK=0 CROSSTIE_SIZE=1 for one rank alone)";
const PASS_ON: &str = "let all of the launcher's variables reach the process, or give rank and size \
                       (CROSSTIE_RANK, CROSSTIE_SIZE)";
const GIVE: &str =
    "give rank and size (CROSSTIE_RANK, CROSSTIE_SIZE), and CROSSTIE_ROOT and CROSSTIE_SECRET";

/// An error where a process that nobody gave a rank is yet not meant to be alone.
pub(crate) fn unless_alone(
    explicit: &Explicit,
    env: &Reader<'_>,
    ask: AskPmix<'_>,
) -> Result<(), LaunchError> {
    if explicit.id.is_some() {
        return Err(LaunchError::Nobody { place: "the unique id" });
    }
    if explicit.root.is_some() {
        return Err(LaunchError::Nobody { place: "the root" });
    }
    if let Some((place, _)) = env.first(&PLACES) {
        return Err(LaunchError::Nobody { place });
    }
    for (variable, why, remedy) in COUNTS {
        let value = env.text(variable).unwrap_or_default();
        if value.parse::<u64>().is_ok_and(|count| count > 1) {
            let why = why.to_owned();
            return Err(LaunchError::OneOfMore { variable, value, why, remedy });
        }
    }
    started_unnumbered(env, ask)
}

/// Launchers that are known by a variable, but whose rank and size are not in the environment.
fn started_unnumbered(env: &Reader<'_>, ask: AskPmix<'_>) -> Result<(), LaunchError> {
    let of_pmix = || {
        let said = match pmix::speaks(env).then(ask) {
            Some(Err(error)) => format!(", and does not answer: {error}"),
            _ => " in the environment, and PMIX_NAMESPACE is missing".to_owned(),
        };
        format!("the launcher speaks PMIx, leaves no size{said}")
    };
    let of_pmi = || "mpiexec -pmi-port leaves no rank in the environment".to_owned();
    let spoken: [(_, &dyn Fn() -> String); 2] = [("PMIX_RANK", &of_pmix), ("PMI_ID", &of_pmi)];
    for (variable, why) in spoken {
        if let Some(value) = env.text(variable) {
            return Err(LaunchError::OneOfMore { variable, value, why: why(), remedy: GIVE });
        }
    }
    Ok(())
}
