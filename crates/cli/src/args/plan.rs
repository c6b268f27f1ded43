//! Owns the arguments of `crosstie plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::When;

const VERIFY_HELP: &str = "\
The file is a plan (JSON, schema crosstie.plan) or a program for MSCCL (XML, <algo>).
What holds is proved for every order in which its blocks can run: that none waits for
ever, that no two touch the same memory unordered, that each rank ends with what the
collective demands, in every kind of call that it is for (inplace, outofplace). A
program's chunks divide the count, and hasdep and nop mean what MSCCL's runtime makes of
them.

Examples:
  crosstie plan --topo dgx.xml --nodes 2 --format svg > plan.svg
  crosstie plan verify all_reduce.xml
  crosstie plan verify all_reduce.xml --json | jq .steps

Exit code: 0 it is right; 1 it is not, and the message says where; 2 usage, a file that is
neither, or one that cannot be judged.";

const PLAN_HELP: &str = "\
What the planner's search makes of so many nodes of one machine: for each channel a
ring through all GPUs, by links that bear all rings at once, and two trees; which NIC
each connection takes; and where rings or connections leave their rail, with the
reason. Nothing runs, and no GPU or NIC is needed. This library's algorithms do not
go by these rings yet: see the README.

A ring of channel 0 on two nodes reads:
  nic 0 > 0 7 6 5 4 3 2 1 > nic 0     in by NIC 0, GPU 0 to GPU 1, out by NIC 0
Numbers are the file's (dev); of a rack, which is one node here, places among all its
GPUs or NICs. Links are of the kinds of `crosstie topo`: NVL, NVB, PIX, PXB, PHB, SYS.

Rails and relays: NICs of one number are on one rail, a network of its own. With
--pxn on a GPU whose peer is on another rail passes its data to the GPU of its own
node that has the peer's rail (its relay), so nothing crosses rails. With --pxn off
each GPU sends by its own NIC, and a switch above the rails has to pass the rest on.

The bound is what no set of rings exceeds: the least cut between any two GPUs, or a
GPU and the network. Where the rings reach it, there are no better ones.

Formats: text; json (schema 1); svg, a picture: each NIC in the colour of its rail on a
row of its own, so that what crosses rails is aslant, dashed and red.

Examples:
  crosstie plan --topo topology/dgx-h100.xml --nodes 2
  crosstie plan --topo topology/dgx-h100.xml --nodes 2 --gpus 0,2,4,6 --pxn off
  crosstie plan --topo topology/dgx1-v100.xml --nodes 3 --full   each hop of each ring
  crosstie plan --topo dgx.xml --nodes 4 --json | jq .bound_mb_s
  crosstie plan verify all_reduce.xml                 prove a plan

Exit code: 0 good; 1 verify found a plan wrong; 2 usage, a file that is no machine, or
a machine that cannot be planned for.";

/// Arguments of `crosstie plan`.
#[derive(Debug, Args)]
#[command(after_help = PLAN_HELP, args_conflicts_with_subcommands = true)]
pub struct PlanArgs {
    /// What to do with a plan.
    #[command(subcommand)]
    pub command: Option<PlanCommand>,

    /// Without a command: search.
    #[command(flatten)]
    pub search: SearchArgs,
}

/// Arguments of `crosstie plan` without a command.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The machine that each node is: an NCCL topology file, or a captured machine [default: this machine]
    #[arg(long, value_name = "FILE")]
    pub topo: Option<PathBuf>,

    /// How many such nodes there are
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub nodes: u32,

    /// The GPUs of each node that have a rank, in this order [default: all]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub gpus: Vec<u32>,

    /// Whether data enter the network on their receiver's rail, by a relay
    #[arg(long, value_enum, default_value_t = OnOff::On, value_name = "WHICH")]
    pub pxn: OnOff,

    /// How to show it
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,

    /// Print one JSON object: short for --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,

    /// Show each hop, node, tree and route, however many
    #[arg(long)]
    pub full: bool,

    /// Whether to colour the text
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// It is
    On,
    /// It is not
    Off,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// Rings, rails and relays in a screen, for people
    Text,
    /// One object, for scripts
    Json,
    /// A picture
    Svg,
}

/// What can be done with a plan.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Prove that a plan, or a program for MSCCL, computes its collective, or tell what is wrong in it
    Verify(VerifyArgs),
}

/// Arguments of `crosstie plan verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// The plan or program
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print one object of JSON instead of text
    #[arg(long)]
    pub json: bool,

    /// Whether to colour the text
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}
