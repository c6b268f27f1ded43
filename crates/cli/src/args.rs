//! Owns the command line: every flag, its meaning, and how its value is read.

mod doctor;
mod foreign;
mod lab;
mod plan;
mod settings;
mod topo;
mod tune;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use crosstie::{Code, DataType, ReduceOp, Setting};

use crate::lab_facts::LabFacts;
use crate::matrix::{Lengths, Skew};
use crate::operation::{self, Operation};
pub use doctor::DoctorArgs;
use foreign::ForeignFlags;
pub use lab::{Change, LabArgs, LabCommand, LabInsideArgs, ReportArgs, ReportedOperation};
pub use plan::{
    Loss, Part, PlanArgs, PlanCommand, PlanDiffArgs, PlanFormat, PlanPxn, SearchArgs, VerifyArgs,
};
pub use settings::SettingFlags;
pub use topo::{
    DiffArgs, Format, LintArgs, MachineArgs, RemapArgs, ShowArgs, TopoArgs, TopoCommand,
};
pub use tune::{TuneArgs, TunedTransport};
use words::Words;
pub use words::without_hidden;

const HELP: &str = "\
Try `crosstie bench all_to_all`: it needs nothing else.
With CROSSTIE_LOG=info (or debug, or trace) commands tell more on standard error.";

/// Collective communication: benchmark it, or start the ranks of a program.
#[derive(Debug, Parser)]
#[command(name = "crosstie", version, arg_required_else_help = true)]
#[command(after_help = HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure a collective operation, and check every byte of its result
    Bench(Box<BenchArgs>),
    /// Start local ranks of any program
    Run(RunArgs),
    /// Run bench, or any program's ranks, in an emulated cluster with rails
    Lab(Box<LabArgs>),
    /// Show a machine, this one or one described in a file: devices, links, paths, what is wrong
    Topo(Box<TopoArgs>),
    /// Plan for a described machine: rings, trees, routes, and why; or prove that a plan is right
    Plan(PlanArgs),
    /// Check this host: limits, memory, network, RDMA devices, GPUs; each finding with what to do
    Doctor(DoctorArgs),
    /// Measure which algorithms are the fastest here, and write the table by which ranks choose
    Tune(TuneArgs),
    /// Show every setting: its value, where that comes from, and what it means
    Config(ConfigArgs),
    /// Tell what the code of an error means, what causes it and what to do
    Explain(ExplainArgs),
    /// Print a script that completes this command's arguments in a shell
    Completions(CompletionsArgs),
    /// Be the first process of a lab
    #[command(name = "lab-inside", hide = true)]
    LabInside(LabInsideArgs),
    /// Become one rank: die with the launcher, then turn into the program
    #[command(name = "become-rank", hide = true)]
    BecomeRank(BecomeRankArgs),
}

const BENCH_SUMMARY: &str = "\
Examples:
  crosstie bench all_to_all                     8 ranks as 2 emulated nodes of 4
  crosstie bench all_reduce -b 8 -e 128M -f 2   the usual sweep of nccl-tests
  mpirun -n 16 crosstie bench all_to_all        one world of 16 ranks

`--help` says what the columns mean, with more examples, and the exit codes.";

const BENCH_HELP: &str = "\
Started by mpirun, srun, torchrun, `crosstie run`, or with CROSSTIE_RANK, it is
one rank of that world; started alone, it starts local ranks itself.

Short flags and columns are those of nccl-tests. Its -g, -t, -c, -m, -G, -a and -z
are taken where they ask for what happens anyway: one process is one rank, every
result is checked, every call blocks and is one operation, and times are those of
the slowest rank (-g 1 -t 1 -c 1 -m 1 -G 0 -a 3 -z 1).
  size    bytes of one rank's buffer: the larger of what it sends and receives
  count   elements of that buffer (all_reduce), or of one rank's part of it
  time    microseconds of one call on the slowest rank: the mean over a loop, in
          the median of five loops (time_us in --json)
  algbw   size / time
  busbw   algbw times the bytes that the best algorithm moves per byte of size
  #wrong  elements with a wrong value, on all ranks
  ceil%   the least time predicted for this call, in percent of time: out of
          place, in place. An estimate, where there is nothing else to compare
          with: from how fast the ranks here read and write memory, hear of each
          other and send over TCP, measured before the first row, and from the
          bytes that the operation must move if none is copied twice. Caches make
          it too high for middle sizes. Not on several hosts, nor in a lab, whose
          links are not measured. Where no two probes agree, --fail-below refuses
          to judge.
  algo    the algorithm that was taken (--algo)
In --json and --csv, of other calls than time's, which are timed one by one after
all ranks have met, on the slowest rank each; the table warns where time is far
above p50:
  p50_us  half of the calls took no longer
  p99_us  99 of 100 calls took no longer
The last lines say what all ranks sent over each transport in the whole run:
messages of the operation, the wire messages that they went as (several short ones
go as one, a long one goes in pieces), and bytes. In a lab, and with --pxn or
--rails, they also say of each size what one call of the timed loop sent between
nodes (with --transport tcp, inside nodes too; network in --json), in brackets the
ideal: what the plan has to send, with as many messages in each wire message as can
be. Fewer, marked with *, are those that held what came after the call too. Where
ranks share wires, a wire message leaves because
  full      it held as many messages as may go together (--aggregate), or 128 KiB
  complete  all that was expected was there
  alone     nothing else was expected
  aged      what was expected did not come in time (--flush)
  pressed   a sender had no room left
--show-plan prints the plan first, or with --json adds it to the object as plan: that of
`crosstie plan --json`, or an object with error where there is none.
With --json a benchmark that fails prints {\"schema\": 1, \"error\": {...}}.

Examples:
  crosstie bench all_to_all                     8 ranks as 2 emulated nodes of 4
  crosstie bench all_reduce -b 8 -e 128M -f 2   the usual sweep of nccl-tests
  crosstie bench reduce_scatter -d bf16 -o all --ranks 5       every reduction
  crosstie bench all_gather --transport tcp --json             for scripts
  crosstie bench all_to_all --topo topology/dgx-h100.xml --pxn on   16 ranks, 8 rails
  crosstie bench all_to_all_v --matrix zipf --buffers shared    unequal parts
  crosstie bench all_reduce,all_to_all --plot sweep.svg        both in a picture
  mpirun -n 16 crosstie bench all_to_all        one world of 16 ranks

Exit code: 0 good, 1 wrong result or less than --fail-below, 2 usage, 3 a peer or a deadline,
4 the environment, 130 Ctrl-C.";

/// Arguments of `crosstie bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = BENCH_SUMMARY, after_long_help = BENCH_HELP)]
pub struct BenchArgs {
    /// all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, reduce, gather, scatter,
    /// send_recv (to the next rank), all_gather_v, reduce_scatter_v, all_to_all_v or barrier (also
    /// without underscores); several as all_reduce,all_to_all; or all
    #[arg(value_name = "OPERATION", value_parser = OPERATIONS, hide_possible_values = true)]
    pub operations: Choice<&'static Operation>,

    /// The smallest size: 8, 64K, 4M, 1G [default: 8]
    #[arg(short = 'b', long, alias = "minbytes", value_name = "SIZE", value_parser = crosstie::parse_bytes, help_heading = "Sizes")]
    pub min_bytes: Option<u64>,

    /// The largest size [default: 8M, or -b if that is larger]
    #[arg(short = 'e', long, alias = "maxbytes", value_name = "SIZE", value_parser = crosstie::parse_bytes, help_heading = "Sizes")]
    pub max_bytes: Option<u64>,

    /// Each size is the one before times this [default: 2]
    #[arg(short = 'f', long, alias = "stepfactor", value_name = "FACTOR", value_parser = factor)]
    #[arg(conflicts_with = "step_bytes", help_heading = "Sizes")]
    pub step_factor: Option<u64>,

    /// Each size is the one before plus this
    #[arg(short = 'i', long, alias = "stepbytes", value_name = "SIZE")]
    #[arg(value_parser = positive_size, help_heading = "Sizes")]
    pub step_bytes: Option<u64>,

    /// float, double, half, bfloat16, f8e4m3, f8e5m2, int8, uint8 to int64, uint64 (or f32, f64,
    /// f16, bf16, i8, u8 …), or all
    #[arg(short = 'd', long, value_name = "TYPE", default_value = "float", value_parser = TYPES)]
    #[arg(help_heading = "Data", hide_possible_values = true)]
    pub datatype: Choice<DataType>,

    /// sum, prod, max, min, avg, premulsum (each input times 2), or all; for operations that reduce
    #[arg(short = 'o', long, value_name = "OP", default_value = "sum", value_parser = OPS)]
    #[arg(help_heading = "Data", hide_possible_values = true)]
    pub op: Choice<ReduceOp>,

    /// The root of broadcast, reduce, gather and scatter: a rank's number, or all in turn
    #[arg(short = 'r', long, value_name = "N|all", default_value = "0", value_parser = root)]
    #[arg(help_heading = "Data")]
    pub root: Root,

    /// private: memory as any program has it; shared: from the library's heap (comm.alloc), which
    /// ranks of the same host read where it lies; registered: memory as any program has it, which
    /// the library then makes shared (comm.register)
    #[arg(long, value_enum, default_value_t = BuffersArg::Private, help_heading = "Data")]
    pub buffers: BuffersArg,

    /// How long the blocks of all_to_all_v, all_gather_v and reduce_scatter_v are: uniform (all
    /// alike), zipf (rank r's is 1/(r+1) of the first), one-hot (half of all goes to rank 0: a hot
    /// expert); or for all_to_all_v a file: a line for each sender, a number of elements for each
    /// receiver
    #[arg(long, value_name = "SKEW|FILE", default_value = "uniform", value_parser = LENGTHS)]
    #[arg(help_heading = "Data", hide_possible_values = true)]
    pub matrix: Lengths,

    /// Ranks to start here, where no launcher has started them [default: 8, or as many as fill the nodes of
    /// --topo]
    #[arg(long, value_name = "N", help_heading = "World")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub ranks: Option<u32>,

    /// Emulate this many nodes, each of consecutive ranks [default: 2 where it starts the ranks
    /// itself, but 1 for shm and loopback; the real ones else]
    #[arg(long, value_name = "N", help_heading = "World")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub nodes: Option<u32>,

    /// How bytes travel; auto: shared memory inside a node, between nodes ibverbs where both ends have it, else TCP
    #[arg(long, value_enum, default_value_t = TransportArg::Auto, help_heading = "World")]
    pub transport: TransportArg,

    /// What the library is told.
    #[command(flatten)]
    pub settings: SettingFlags,

    /// Measure out of place alone
    #[arg(long, help_heading = "Timing")]
    pub out_of_place: bool,

    /// Timed calls per size [default: as many as fill --budget-ms]
    #[arg(short = 'n', long, value_name = "N", help_heading = "Timing")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iters: Option<u32>,

    /// Calls before the clock starts, per size
    #[arg(short = 'w', long, alias = "warmup_iters", value_name = "N", default_value_t = 5)]
    #[arg(help_heading = "Timing")]
    #[arg(value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub warmup_iters: u32,

    /// Without -n: milliseconds for one loop of timed calls; a size takes about four of them
    #[arg(long, value_name = "MS", default_value_t = 100, help_heading = "Timing")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600_000))]
    pub budget_ms: u32,

    /// Exit with 1 where a size reaches less than this share of the predicted ceiling (ceil%)
    #[arg(long, value_name = "PCT", value_parser = percent, help_heading = "Output")]
    #[arg(allow_negative_numbers = true)]
    pub fail_below: Option<f64>,

    /// Print one JSON object in place of the table
    #[arg(long, help_heading = "Output", conflicts_with = "csv")]
    pub json: bool,

    /// Print comma-separated values in place of the table: a line for each size and place
    #[arg(long, help_heading = "Output")]
    pub csv: bool,

    /// Print the world's plan before the table, as `crosstie plan` shows it: rings, trees and routes of the
    /// machines that ranks play; with --json, as plan in the object
    #[arg(long, help_heading = "Output", conflicts_with = "csv")]
    pub show_plan: bool,

    /// Of --show-plan, show each hop, node, tree and route, however many; the object of --json has them all
    #[arg(long, help_heading = "Output", requires = "show_plan")]
    pub full: bool,

    /// Also draw time and bus bandwidth against size, both axes logarithmic
    #[arg(long, value_name = "FILE.svg", value_parser = svg, help_heading = "Output")]
    pub plot: Option<PathBuf>,

    /// Colour the table
    #[arg(long, value_enum, default_value_t = When::Auto, help_heading = "Output")]
    #[arg(overrides_with = "color")] // the launcher decides for the ranks that it starts
    pub color: When,

    /// Flip one byte of one rank's result before checking: proves that checking sees it
    #[arg(long, hide = true)]
    pub corrupt_byte: bool,

    /// The lab that the ranks are in, as JSON: the launcher says so to the ranks that it starts
    #[arg(long, hide = true, value_parser = LabFacts::from_json)]
    pub lab: Option<LabFacts>,

    /// Tell the launcher of progress and errors by events on standard error
    #[arg(long, hide = true)]
    pub events: bool,

    /// Flags of nccl-tests that have no meaning here.
    #[command(flatten)]
    pub foreign: ForeignFlags,
}

const RUN_HELP: &str = "\
Each rank finds itself by CROSSTIE_RANK, CROSSTIE_SIZE and CROSSTIE_ID, which
the library reads (`Communicator::from_env()`); it also gets the rest of this
environment, CROSSTIE_TRANSPORT or CROSSTIE_TIMEOUT for instance. Each line of
output carries the rank that wrote it. Ranks read no input. The first rank to
fail ends the rest, after a few seconds to report; Ctrl-C ends all. Programs that
go on without the dead (`Communicator::shrink`) need --keep-going. An error that
several ranks print alike, code first (CT-060: ...), is printed once for all.

Examples:
  crosstie run -n 4 -- target/release/examples/01_all_reduce
  crosstie run -n 4 --keep-going -- ./trains-on-after-a-death

Exit code: that of the first rank to fail, or 128 + the signal that killed it;
also with --keep-going, for one has failed.
Of ranks that fail within 0.2 seconds of the first it is that of the likeliest
cause: one that was killed by a signal, else one that panicked (101), else one
with a code other than 3, which ranks end with whose peer has failed.
0 good, 2 usage, 4 the environment, 130 Ctrl-C.";

/// Arguments of `crosstie run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Ranks to start; to be left out in a lab, which says itself how many
    #[arg(short = 'n', long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub ranks: Option<u32>,

    /// Emulate this many nodes, each of consecutive ranks [default: 1]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub nodes: Option<u32>,

    /// Each node is the machine that this NCCL topology file describes, or that was captured, as in `crosstie bench`;
    /// without -n as many ranks as fill the nodes
    #[arg(long, value_name = "FILE.xml")]
    pub topo: Option<PathBuf>,

    /// Let the others go on when a rank fails: they shrink, or end by themselves
    #[arg(long)]
    pub keep_going: bool,

    /// Colour the rank before each line
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub color: When,

    /// The program and its arguments
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, required = true)]
    pub program: Vec<OsString>,
}

const CONFIG_HELP: &str = "\
A setting comes from the first of: the program itself (Communicator::builder(),
a flag of `bench`), the CROSSTIE_ variable, NCCL's variable that means the same,
the default. SCOPE says whether all ranks must agree on it (world), which is
checked when they meet, or each may have its own (rank). Secrets are not shown.

Examples:
  crosstie config                          all settings, as this shell has them
  crosstie config timeout silence          these two
  mpirun -n 1 crosstie config rank size    what a launcher tells a rank
  crosstie config --json | jq '.settings[] | select(.origin != \"default\")'

Exit code: 0 good, 2 a value cannot be used.";

/// Arguments of `crosstie config`.
#[derive(Debug, Args)]
#[command(after_help = CONFIG_HELP)]
pub struct ConfigArgs {
    /// Settings to show: CROSSTIE_TIMEOUT, or only timeout [default: all]
    #[arg(value_name = "NAME", value_parser = SETTINGS, hide_possible_values = true)]
    pub names: Vec<String>,

    /// Print one JSON object in place of the table
    #[arg(long)]
    pub json: bool,

    /// Colour the table
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub color: When,

    /// Print the table of the README
    #[arg(long, hide = true)]
    pub markdown: bool,
}

const EXPLAIN_HELP: &str = "\
Every error of Crosstie begins with its code, as in
  crosstie: CT-060: rank 5 on host n1 died or closed its links ...

Examples:
  crosstie explain CT-060     also: explain 60
  crosstie explain            every code, a line each

Exit code: 0 good, 2 there is no such code.";

/// Arguments of `crosstie explain`.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub struct ExplainArgs {
    /// The code of an error: CT-060, ct-60 or 60 [default: list all]
    #[arg(value_name = "CODE")]
    pub code: Option<Code>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  crosstie completions bash > ~/.local/share/bash-completion/completions/crosstie
  crosstie completions zsh  > ~/.zfunc/_crosstie      with fpath+=~/.zfunc
  crosstie completions fish > ~/.config/fish/completions/crosstie.fish";

/// Arguments of `crosstie completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct CompletionsArgs {
    /// Which shell is to read the script
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of the hidden step between the launcher and a rank's program.
#[derive(Debug, Args)]
pub struct BecomeRankArgs {
    /// The launcher's process id
    pub launcher: i32,
    /// The network namespace of the node to be on, in a lab
    #[arg(long, requires = "name")]
    pub namespace: Option<PathBuf>,
    /// That node's name
    #[arg(long)]
    pub name: Option<String>,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
    pub program: Vec<OsString>,
}

/// Which transport to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    /// Shared memory inside a node; between two nodes ibverbs, where both have it, else TCP
    Auto,
    /// Shared memory: all ranks on one node
    Shm,
    /// TCP between any two ranks
    Tcp,
    /// Shared memory inside a node, ibverbs between nodes
    Verbs,
    /// All ranks as threads of one process
    Loopback,
}

/// When to do something that only a person at a terminal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    /// Also in a pipe
    Always,
    /// Nowhere
    Never,
}

/// Whether to colour what goes to a place that is, or is no, terminal; <https://no-color.org>.
pub fn color(when: When, terminal: bool) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

/// Which ranks are the root, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// This one.
    One(u32),
    /// Each of them.
    All,
}

/// What memory is sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BuffersArg {
    /// Of the library's heap
    Shared,
    /// Of this process alone
    Private,
    /// Of this process, and registered with the library
    Registered,
}

impl BuffersArg {
    /// As the command line writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Private => "private",
            Self::Registered => "registered",
        }
    }
}

/// One value of a set, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<T>(pub Vec<T>);

/// Subcommands that are designed and to come.
const LATER_COMMANDS: [&str; 1] = ["sim"];

/// What an unknown subcommand is to be answered with, if it is one to come.
pub fn later_command(error: &clap::Error) -> Option<String> {
    let name = error.get(ContextKind::InvalidSubcommand)?.to_string();
    LATER_COMMANDS.contains(&name.as_str()).then_some(name)
}

/// Tells who names a machine where `crosstie topo` takes it how `crosstie plan` does.
pub fn with_tip_for_plans(mut error: clap::Error, line: &[OsString]) -> clap::Error {
    let unknown = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(text)) if text.contains(['/', '.']) => text,
        _ => return error,
    };
    if line.get(1).is_some_and(|first| first == "plan") {
        let tip = format!("a machine is named by an option: crosstie plan --topo {unknown}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Tells who forgot the `--` before a lab's command, or misspelt a command of its own, what was meant.
pub fn with_tip_for_labs(mut error: clap::Error, line: &[OsString]) -> clap::Error {
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) if error.kind() == ErrorKind::UnknownArgument => {
            text.as_str()
        }
        _ => return error,
    };
    if line.get(1).is_none_or(|first| first != "lab") {
        return error;
    }
    let tip = match unknown {
        "bench" | "run" => {
            let at = line.iter().position(|word| word == unknown).unwrap_or(line.len());
            let joined = |words: &[OsString]| {
                words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
            };
            format!(
                "a lab's command follows `--`: crosstie {} -- {}",
                joined(&line[1..at]),
                joined(&line[at..])
            )
        }
        word if word.starts_with('-') => return error,
        word => match strsim::jaro(word, "report") > 0.7 {
            true => "a similar command exists: `crosstie lab report`".to_owned(),
            false => {
                "a lab runs `-- bench …` or `-- run -- PROGRAM`, or makes a `report`".to_owned()
            }
        },
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

const OPERATIONS: Words<Choice<&'static Operation>> = Words::new(operations, || {
    operation::ALL.iter().map(|operation| operation.name).chain(["all"]).collect()
});
const TYPES: Words<Choice<DataType>> =
    Words::new(types, || words::with(DataType::ALL.map(DataType::name), "all"));
const OPS: Words<Choice<ReduceOp>> =
    Words::new(ops, || words::with(ReduceOp::ALL.map(ReduceOp::name), "all"));
const LENGTHS: Words<Lengths> = Words::new(lengths, || Skew::NAMES.map(|(name, _)| name).into());
/// Any text is taken: what it is not is told with what is like it.
const SETTINGS: Words<String> = Words::new(
    |text| Ok(text.to_owned()),
    || Setting::all().iter().map(|setting| setting.name).collect(),
);

fn operations(text: &str) -> Result<Choice<&'static Operation>, String> {
    if text == "all" {
        return Ok(Choice(operation::ALL.iter().collect()));
    }
    let there: Vec<&str> = operation::ALL.iter().map(|operation| operation.name).collect();
    let named = |name: &str| {
        let unknown = || format!("expected one of {}, all", there.join(", "));
        Operation::named(name).ok_or_else(unknown)
    };
    text.split(',').map(named).collect::<Result<_, _>>().map(Choice)
}

/// A file to draw into: refused before anything is measured, where that can be told.
fn svg(text: &str) -> Result<PathBuf, String> {
    if Path::new(text).extension().is_none_or(|extension| extension != "svg") {
        return Err("only SVG is drawn: write a name that ends in .svg".to_owned());
    }
    in_a_folder(text)
}

/// A file to write: refused before anything is measured, where that can be told.
fn in_a_folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() {
        return Err("that is a folder: write the name of a file".to_owned());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(format!("there is no folder {}", crate::file::shown(folder))),
        None => Ok(path),
    }
}

fn types(text: &str) -> Result<Choice<DataType>, String> {
    if text == "all" {
        return Ok(Choice(DataType::ALL.to_vec()));
    }
    match text.parse() {
        Ok(one) => Ok(Choice(vec![one])),
        Err(_) if text.starts_with("fp8") || text.starts_with("f8") => {
            Err("expected f8e4m3 (4 bits of exponent, saturates) or f8e5m2".to_owned())
        }
        Err(_) => {
            let there = format!("{}, all", list(DataType::ALL.map(DataType::name)));
            Err(format!("expected one of {there}"))
        }
    }
}

fn ops(text: &str) -> Result<Choice<ReduceOp>, String> {
    if text == "all" {
        return Ok(Choice(ReduceOp::ALL.to_vec()));
    }
    let there = || format!("expected one of {}, all", list(ReduceOp::ALL.map(ReduceOp::name)));
    text.parse().map(|op| Choice(vec![op])).map_err(|_| there())
}

fn lengths(text: &str) -> Result<Lengths, String> {
    if let Some((_, skew)) = Skew::NAMES.into_iter().find(|(name, _)| *name == text) {
        return Ok(Lengths::Skew(skew));
    }
    let path = PathBuf::from(text);
    match path.is_file() {
        true => Ok(Lengths::File(path)),
        false => Err("expected uniform, zipf, one-hot, or a file that is there".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    // The ceiling is an estimate, so that more than 100 can be meant.
    let percent = number.filter(|percent| percent.is_finite() && *percent >= 0.0);
    percent.ok_or_else(|| "expected a number of percent, 0 or more".to_owned())
}

fn root(text: &str) -> Result<Root, String> {
    match text {
        "all" => Ok(Root::All),
        number => {
            number.parse().map(Root::One).map_err(|_| "expected a rank's number, or all".into())
        }
    }
}

fn list<const N: usize>(names: [&str; N]) -> String {
    names.join(", ")
}

fn factor(text: &str) -> Result<u64, String> {
    let factor = text.parse().ok().filter(|&factor| factor >= 2);
    factor.ok_or_else(|| "a sweep that never grows would never end: write 2 or more".to_owned())
}

fn positive_size(text: &str) -> Result<u64, String> {
    crosstie::parse_bytes(text).and_then(|bytes| match bytes {
        0 => Err("a step of 0 would never end: write 1 or more".to_owned()),
        _ => Ok(bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use crosstie::parse_bytes;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn operations_go_by_either_spelling() {
        for text in ["all_to_all", "alltoall", "all-to-all", "AllToAll"] {
            let Choice(found) = operations(text).unwrap();
            assert_eq!(found.iter().map(|it| it.name).collect::<Vec<_>>(), ["all_to_all"]);
        }
        assert!(operations("all_to_al").is_err());
        assert_eq!(operations("all_gather,allreduce").unwrap().0.len(), 2);
        assert_eq!(operations("all").unwrap().0.len(), operation::ALL.len());
    }

    #[test]
    fn sizes_have_binary_suffixes_and_a_limit() {
        assert_eq!(parse_bytes("8"), Ok(8));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("4m"), Ok(4 << 20));
        assert_eq!(parse_bytes("1GiB"), Ok(1 << 30));
        for text in ["", "K", "-8", "8Q", "1.5M", "99999999999999999999", "20000000000G"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn long_flags_go_by_nccl_tests_names_too() {
        let line = "crosstie bench all_reduce --minbytes 8 --maxbytes 64 --stepfactor 4 \
                    --warmup_iters 2 --iters 3 --datatype float --op sum";
        assert!(Cli::try_parse_from(line.split_whitespace()).is_ok());
    }
}
