//! Owns the arguments of `crosstie topo`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::When;

const TOPO_HELP: &str = "\
Without a file it looks at this machine: PCI, NUMA nodes, network interfaces and
RDMA devices in /sys, NVIDIA's GPUs and NVLinks by libnvidia-ml.so.1. It needs no
rights, and no GPU or NIC either: what is not there is told, with what that means.

The text is a tree of what hangs below what, then how each GPU and port of a
network (row) reaches each other (column), the best kinds of path first:
  X    itself, or another port of the same card
  NV#  # NVLinks          NVB  NVLinks by way of a GPU   C2C  chip to chip
  PIX  one PCI switch     PXB  several PCI switches      P2C  C2C, then the chip's NIC
  PXN  NVLink, then another GPU's NIC
  PHB  a processor        SYS  between NUMA nodes
A rail counts ports of the file: where a plugin joins NICs into one (AWS's four EFA of
a GPU in NCCL's dumps), that one is a rail; as the kernel shows them there are four.
Of a rack, or where the terminal is too narrow, rows that are alike are told
together; --full, or json, has them all.

Formats: text; json (schema 1, bandwidths in bytes/s); xml, as NCCL reads it
(NCCL_TOPO_FILE) and writes it (NCCL_TOPO_DUMP_FILE); svg, a picture; dot, for
Graphviz.

Examples:
  crosstie topo                                  this machine
  crosstie topo --format svg > machine.svg       as a picture
  crosstie topo --format xml > machine.xml       for NCCL_TOPO_FILE
  crosstie topo dgx.xml                          another machine
  crosstie topo fabric.toml                      a fabric: nodes, leaves, spines, rails
  crosstie topo lint                             what is wrong here, and what to do
  crosstie topo diff good.xml                    how this machine differs
  crosstie topo remap host.xml --bdf-map map     a host's file, for a VM in it
  crosstie topo --capture machine.tree           for somebody else to look at
  crosstie topo machine.tree                     a machine that somebody captured

Exit code: 0 good; 1 lint found errors, or diff differences; 2 usage, or a file that
is no topology; 4 the environment.";

const SHOW_HELP: &str = "\
Kinds of path, the best first (`crosstie topo --help` tells more):
  X    itself, or another port of the same card
  NV#  # NVLinks
  NVB  NVLinks by way of a GPU
  C2C  chip to chip, GPU and processor
  PIX  one PCI switch
  PXB  several PCI switches
  P2C  chip to chip, then the processor's own NIC
  PXN  NVLink, then another GPU's NIC
  PHB  a processor
  SYS  between NUMA nodes";

/// Arguments of `crosstie topo`.
#[derive(Debug, Args)]
#[command(after_help = TOPO_HELP, args_conflicts_with_subcommands = true)]
pub struct TopoArgs {
    /// What to do with a topology.
    #[command(subcommand)]
    pub command: Option<TopoCommand>,

    /// Without a command: show.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// What can be done with a topology.
#[derive(Debug, Subcommand)]
pub enum TopoCommand {
    /// Show a machine: as a tree and a matrix of paths, or in another format (the default)
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
    /// Tell what is wrong with a machine, its description, or a fabric, with evidence and remedy
    Lint(LintArgs),
    /// Tell how two machines differ: in devices, in what they tell, in paths
    Diff(DiffArgs),
    /// Rewrite a host's file for a virtual machine in it: XML on standard output
    Remap(RemapArgs),
}

/// Which machine.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// A file in place of this machine: an NCCL topology (several of one machine are merged), a captured
    /// machine, or a fabric (.toml)
    #[arg(value_name = "FILE")]
    pub paths: Vec<PathBuf>,

    /// The same, where a name could be taken for a command
    #[arg(long = "file", value_name = "FILE", conflicts_with = "paths")]
    pub files: Vec<PathBuf>,

    /// A captured machine in place of this one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "paths"])]
    pub captured: Option<PathBuf>,
}

impl MachineArgs {
    /// The files that are given in whatever way.
    pub fn all(&self) -> Vec<PathBuf> {
        self.paths.iter().chain(&self.files).chain(&self.captured).cloned().collect()
    }
}

/// Arguments of `crosstie topo show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which machine.
    #[command(flatten)]
    pub machine: MachineArgs,

    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Print one JSON object: short for --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Show every host of a rack, and the whole matrix, however wide
    #[arg(long)]
    pub full: bool,

    /// Write what detection reads of this machine into a file, in place of showing it. Names stay that tell
    /// a kind; of numbers that tell one card from all others only the vendor's part
    #[arg(long, value_name = "FILE", conflicts_with_all = ["paths", "files", "captured", "format", "json"])]
    pub capture: Option<PathBuf>,

    /// Colour the matrix
    #[arg(long, value_enum, default_value_t = When::Auto)]
    pub color: When,
}

/// How a machine is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A tree, a matrix of paths, and what was not found
    Text,
    /// One object, for scripts
    Json,
    /// An NCCL topology file
    Xml,
    /// A picture
    Svg,
    /// For Graphviz
    Dot,
}

/// Arguments of `crosstie topo lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Which machine.
    #[command(flatten)]
    pub machine: MachineArgs,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `crosstie topo diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// An NCCL topology file, or a captured machine
    #[arg(value_name = "A")]
    pub first: PathBuf,

    /// Another [default: this machine]
    #[arg(value_name = "B")]
    pub second: Option<PathBuf>,

    /// Tell each difference, however many
    #[arg(long)]
    pub full: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `crosstie topo remap`.
#[derive(Debug, Args)]
pub struct RemapArgs {
    /// The host's NCCL topology file
    #[arg(value_name = "FILE.xml")]
    pub file: PathBuf,

    /// Lines of two bus ids, the host's and the virtual machine's: 0000:1b:00.0=0001:00:00.0
    #[arg(long, value_name = "FILE")]
    pub bdf_map: PathBuf,
}
