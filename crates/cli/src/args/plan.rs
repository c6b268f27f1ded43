//! Owns the arguments of `crosstie plan`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use crosstie_planner::explain::OPERATIONS;

use super::When;

const VERIFY_HELP: &str = "\
The file is a plan (JSON, schema crosstie.plan) or a program for MSCCL (XML, <algo>).
Such a plan is written by the libraries: crosstie_ir::to_json of what
crosstie_planner::plan_world made. What `crosstie plan --json` prints is not one: it
tells rings, trees and routes, without the steps of a collective.

What holds is proved for every order in which its blocks can run: that none waits for
ever, that no two touch the same memory unordered, that each rank ends with what the
collective demands, in every kind of call that it is for (inplace, outofplace). A
program's chunks divide the count, and hasdep and nop mean what MSCCL's runtime makes of
them.

Examples:
  crosstie plan verify examples/ring_all_reduce.xml
  crosstie plan verify examples/ring_all_reduce.xml --json | jq .steps

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
Numbers are the file's (dev); of a rack, places among all its GPUs or NICs. A rack of
several hosts is one node here: --nodes N is N whole racks. To `bench` and `run` each
host is a node: their --nodes N takes N hosts of such a file. Links are of the kinds of
`crosstie topo`: NVL, NVB, C2C, PIX, PXB, P2C, PXN, PHB, SYS.

Rails and relays: NICs of one number are on one rail, a network of its own. With
--pxn on a GPU whose peer is on another rail passes its data to the GPU of its own
node that has the peer's rail (its relay), so nothing crosses rails. With --pxn off
each GPU sends by its own NIC, and a switch above the rails has to pass the rest on.
--pxn auto shows the routes of on: with it, a running world sends messages that are
longer than relays pay for past them, wherever that crosses no rail.

The bound is what no set of rings exceeds: the least cut between any two GPUs, or a
GPU and the network. Where the rings reach it, there are no better ones.

Times (--full, json) are predicted: over shared memory and TCP by measured tables
(--tune, else one that is built in), over links of GPUs by a model, with the latencies
that NCCL has published: --tune has no say there, and they are as if all rings and all
NICs of a GPU carried data, where ranks go by one channel yet. A protocol is told where this library
carries data: copy and lend (of buffers in shared memory; others are copied) inside a
node, eager and rendezvous over TCP.

Formats: text; json (schema 1); svg, a picture: each NIC in the colour of its rail on a
row of its own, so that what crosses rails is aslant, dashed and red; graph, rings and
trees of a node as NCCL reads them (NCCL_GRAPH_FILE).

--graph FILE shows what such a file, NCCL's own (NCCL_GRAPH_DUMP_FILE) for one, makes of
the machine: its rings carry what the most loaded link leaves each, not what it says.

Examples:
  crosstie plan --topo topology/dgx-h100.xml --nodes 2
  crosstie plan --topo topology/dgx-h100.xml --nodes 2 --gpus 0,2,4,6 --pxn off
  crosstie plan --topo topology/dgx-h100.xml --gpus 0-3,6
  crosstie plan --topo topology/dgx1-v100.xml --nodes 3 --full   each hop of each ring
  ssh host crosstie topo --format xml | crosstie plan --topo -   for another host
  crosstie plan --topo dgx.xml --nodes 4 --json | jq .bound_mb_s
  crosstie plan --topo dgx.xml --op all_reduce --size 64K,1M   by which algorithm, and why
  crosstie plan --topo dgx.xml --format graph > rings.graph.xml
  crosstie plan --topo dgx.xml --graph nccl.graph.xml   NCCL's rings beside ours
  crosstie plan --topo dgx.xml --lost nic2 --json | crosstie plan diff whole.json -
  crosstie plan verify examples/ring_all_reduce.xml   prove a plan or program

Exit code: 0 good; 1 verify found a plan wrong, or diff two that differ; 2 usage, a file
that is no machine, or a machine that cannot be planned for.";

const DIFF_HELP: &str = "\
Both are what `crosstie plan --json` printed; one may be - for standard input. Told are
bandwidth, bound, rings, trees, NICs, relays, crossings, wires, messages and choices that
changed: of many of a kind the first.

Examples:
  crosstie plan --topo dgx.xml --json > whole.json
  crosstie plan --topo dgx.xml --lost nic2 --json | crosstie plan diff whole.json -
  crosstie plan diff whole.json other.json --json | jq .changes

Exit code: 0 the plans are equal; 1 they differ; 2 usage, or a file that is no plan.";

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
    /// The machine that each node is: an NCCL topology file, or a captured machine; - is standard input [default: this
    /// machine]
    #[arg(long, value_name = "FILE")]
    pub topo: Option<PathBuf>,

    /// How many such nodes there are
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub nodes: u32,

    /// The GPUs of each node that have a rank, in this order: 0,2,4,6 or 0-3,6 [default: all]
    #[arg(long, value_name = "LIST")]
    pub gpus: Option<Numbers>,

    /// NICs and GPUs to plan without: nic2, gpu3; nic2@1 on node 1 alone
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub lost: Vec<Loss>,

    /// Show these rings and trees, of NCCL's graph file, in place of the search's
    #[arg(long, value_name = "FILE")]
    pub graph: Option<PathBuf>,

    /// Whether data enter the network on their receiver's rail, by a relay; auto: where relays pay (the routes of on,
    /// which long messages go past)
    #[arg(long, value_enum, default_value_t = PlanPxn::On, value_name = "WHICH")]
    pub pxn: PlanPxn,

    /// Measured times by which algorithms are chosen, as `crosstie tune` writes them [default: what is built in, and
    /// over links of GPUs a model]
    #[arg(long, value_name = "FILE")]
    pub tune: Option<PathBuf>,

    /// Tell the algorithm, protocol, predicted time and reason of these operations alone [default with --size: all]
    #[arg(long = "op", value_delimiter = ',', value_name = "LIST")]
    #[arg(value_parser = PossibleValuesParser::new(OPERATIONS.map(|operation| operation.name())))]
    pub operations: Vec<String>,

    /// At these sizes, 64K for one, of the buffer or of a block [default with --op: eight from 8 to 256M]
    #[arg(long = "size", value_delimiter = ',', value_name = "LIST", value_parser = size)]
    pub sizes: Vec<u64>,

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

impl SearchArgs {
    /// The GPUs that are asked for; none where all are.
    pub fn gpus(&self) -> &[u32] {
        self.gpus.as_ref().map_or(&[], |numbers| &numbers.0)
    }
}

fn size(text: &str) -> Result<u64, String> {
    match crosstie::parse_bytes(text)? {
        0 => Err("nothing is sent of 0 bytes: give 1 or more".to_owned()),
        bytes => Ok(bytes),
    }
}

/// Numbers of devices, in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(pub Vec<u32>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        /// More than any rack has.
        const MOST: usize = 1 << 16;
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let bounds = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (bounds.0.trim().parse(), bounds.1.trim().parse::<u32>())
            else {
                return Err(format!("{part:?} is no number and no range: write 0,2,4,6 or 0-3,6"));
            };
            if first > last {
                return Err(format!("{part} ends before it begins: write {last}-{first}"));
            }
            numbers.extend((first..=last).take(MOST + 1 - numbers.len()));
            if numbers.len() > MOST {
                return Err(format!("more than {MOST} numbers"));
            }
        }
        Ok(Self(numbers))
    }
}

/// Whether relays carry what connections send between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanPxn {
    /// As far as they pay
    Auto,
    /// They do
    On,
    /// They do not
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
    /// NCCL's graph file: rings and trees of a node
    Graph,
}

/// A device that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// What it is.
    pub part: Part,
    /// Its number.
    pub number: u32,
    /// The node that lacks it; all, where none is named.
    pub node: Option<u32>,
}

/// What a node can lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A NIC.
    Nic,
    /// A GPU.
    Gpu,
}

impl FromStr for Loss {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected nic or gpu with its number, and @node or nothing: nic2, gpu0@1";
        let (device, node) = match text.split_once('@') {
            Some((device, node)) => (device, Some(node.parse().map_err(|_| EXPECTED)?)),
            None => (text, None),
        };
        let (part, number) = match (device.strip_prefix("nic"), device.strip_prefix("gpu")) {
            (Some(number), _) => (Part::Nic, number),
            (_, Some(number)) => (Part::Gpu, number),
            _ => return Err(EXPECTED),
        };
        Ok(Self { part, number: number.parse().map_err(|_| EXPECTED)?, node })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Nic => "nic",
            Part::Gpu => "gpu",
        };
        write!(f, "{part}{}", self.number)?;
        self.node.map_or(Ok(()), |node| write!(f, "@{node}"))
    }
}

/// What can be done with a plan.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Prove that a plan, or a program for MSCCL, computes its collective, or tell what is wrong in it
    Verify(VerifyArgs),
    /// Tell what changed from one plan to another
    Diff(PlanDiffArgs),
}

/// Arguments of `crosstie plan diff`.
#[derive(Debug, Args)]
#[command(after_help = DIFF_HELP)]
pub struct PlanDiffArgs {
    /// A plan, as `crosstie plan --json` prints it; - is standard input
    #[arg(value_name = "A")]
    pub first: PathBuf,

    /// Another
    #[arg(value_name = "B")]
    pub second: PathBuf,

    /// Tell each change, however many
    #[arg(long)]
    pub full: bool,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Whether to colour the text
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
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

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn lists_of_devices_hold_numbers_and_ranges_in_their_order() {
        for (text, numbers) in [
            ("0,2,4,6", vec![0, 2, 4, 6]),
            ("0-3,6", vec![0, 1, 2, 3, 6]),
            ("7,0-1", vec![7, 0, 1]),
            ("5-5", vec![5]),
        ] {
            assert_eq!(text.parse(), Ok(Numbers(numbers)), "{text}");
        }
        for text in ["", "a", "1-", "-1", "3-0", "1,,2", "0-4294967295"] {
            assert!(text.parse::<Numbers>().is_err(), "{text}");
        }
    }
}
