//! Owns the flags of nccl-tests that have no meaning here: taken where they ask for what happens anyway, refused
//! in words where they ask for something else.

use clap::Args;

/// What nccl-tests' command lines carry and this benchmark has no use for.
#[derive(Debug, Clone, Args)]
pub struct ForeignFlags {
    /// GPUs of a thread.
    #[arg(short = 'g', long = "ngpus", hide = true, num_args = 0..=1, default_missing_value = "")]
    gpus: Option<String>,
    /// Threads of a process.
    #[arg(short = 't', long = "nthreads", hide = true, num_args = 0..=1)]
    #[arg(default_missing_value = "")]
    threads: Option<String>,
    /// Checked iterations.
    #[arg(short = 'c', long = "check", hide = true, num_args = 0..=1, default_missing_value = "")]
    check: Option<String>,
    /// Operations in one group.
    #[arg(short = 'm', long = "agg_iters", hide = true, num_args = 0..=1)]
    #[arg(default_missing_value = "")]
    grouped: Option<String>,
    /// Calls in one CUDA graph.
    #[arg(short = 'G', long = "cudagraph", hide = true, num_args = 0..=1)]
    #[arg(default_missing_value = "")]
    graphs: Option<String>,
    /// Whose time is reported: rank 0's, or the average, minimum or maximum.
    #[arg(short = 'a', long = "average", hide = true, num_args = 0..=1)]
    #[arg(default_missing_value = "")]
    average: Option<String>,
    /// Whether calls block.
    #[arg(short = 'z', long = "blocking", hide = true, num_args = 0..=1)]
    #[arg(default_missing_value = "")]
    blocking: Option<String>,
}

impl ForeignFlags {
    /// Those that ask for something else than what happens, each with what does.
    pub fn refused(&self) -> Vec<(&'static str, &'static str)> {
        let flags = [
            ("-g", &self.gpus, "1", "one process is one rank"),
            ("-t", &self.threads, "1", "one process is one rank"),
            ("-c", &self.check, "1", "every result is checked"),
            ("-m", &self.grouped, "1", "each call is one operation"),
            ("-G", &self.graphs, "0", "there are no graphs"),
            ("-a", &self.average, "3", "times are those of the slowest rank"),
            ("-z", &self.blocking, "1", "every call blocks"),
        ];
        let other =
            |(flag, told, same, why): (&'static str, &Option<String>, &str, &'static str)| {
                let differs = told.as_deref().is_some_and(|told| told != same);
                differs.then_some((flag, why))
            };
        flags.into_iter().filter_map(other).collect()
    }
}
