//! Prints, for each case of a reference, what NCCL's search found, what Crosstie's finds, and what it could at
//! most.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::{Table, presets};
use crosstie_benches::loads;
use crosstie_planner::search::{Node, Rings, rings};
use crosstie_topo::Topology;
use serde_json::Value;

/// Holds the planner's rings against NCCL's.
#[derive(Parser)]
struct Arguments {
    /// What NCCL's search found: `cases`, each with `file`, `mode` (`single`, or `multi`: two nodes), `gpus`
    /// and `ring.total_mb_s`.
    #[arg(long)]
    reference: PathBuf,
    /// The folder of the files that it names.
    #[arg(long)]
    topologies: PathBuf,
    /// Times that each search runs; the median is told.
    #[arg(long, default_value_t = 5)]
    times: usize,
}

/// One case, judged.
struct Judged {
    row: Vec<String>,
    good: bool,
    faults: Vec<String>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let reference: Value = serde_json::from_slice(&read(&arguments.reference)?)?;
    let cases = reference["cases"].as_array().filter(|cases| !cases.is_empty());
    let cases = cases.ok_or("the reference has no cases")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "file",
        "mode",
        "GPUs",
        "NCCL MB/s",
        "ours MB/s",
        "rings",
        "bound",
        "share",
        "ms",
        "",
    ]);
    let mut bad = 0;
    for case in cases {
        let judged = judge(case, &arguments)?;
        bad += usize::from(!judged.good);
        table.add_row(judged.row);
        judged.faults.iter().for_each(|fault| println!("{}: {fault}", case["file"]));
    }
    println!("{table}");
    println!("{} of {} cases at least NCCL's", cases.len() - bad, cases.len());
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn judge(case: &Value, arguments: &Arguments) -> Result<Judged, Box<dyn Error>> {
    let file = case["file"].as_str().ok_or("a case names no file")?;
    let mode = case["mode"].as_str().ok_or("a case names no mode")?;
    let gpus = case["gpus"].as_array().ok_or("a case names no GPUs")?;
    let gpus: Vec<u32> = gpus.iter().filter_map(|gpu| Some(gpu.as_u64()? as u32)).collect();
    let theirs = case["ring"]["total_mb_s"].as_u64().ok_or("a case has no total")?;
    let topology = Topology::read_bytes(&read(&arguments.topologies.join(file))?)?;
    let node = Node::whole(&topology).with_gpus(&gpus);
    let nodes: &[u32] = if mode == "multi" { &[0, 0] } else { &[0] };
    let (found, took) = timed(&node, nodes, arguments.times)?;
    let machines: Vec<_> = nodes.iter().map(|_| (&topology, gpus.clone())).collect();
    let faults = loads::faults(&serde_json::to_value(&found)?, &machines);
    let ours = found.total_mb_s();
    let share = found.bound_mb_s.map(|bound| 100.0 * ours as f64 / bound as f64);
    let good = ours >= theirs && faults.is_empty();
    let row = vec![
        file.to_owned(),
        mode.to_owned(),
        gpus.len().to_string(),
        theirs.to_string(),
        ours.to_string(),
        format!("{}×{}", found.rings.len(), ours / found.rings.len().max(1) as u64),
        found.bound_mb_s.map_or("none".to_owned(), |bound| bound.to_string()),
        share.map_or(String::new(), |share| format!("{share:.1} %")),
        format!("{:.2}", took.as_secs_f64() * 1e3),
        if good { String::new() } else { "WORSE".to_owned() },
    ];
    Ok(Judged { row, good, faults })
}

/// The rings, and the median time that finding them took.
fn timed(
    node: &Node<'_>,
    nodes: &[u32],
    times: usize,
) -> Result<(Rings, Duration), Box<dyn Error>> {
    let kinds = [node.clone()];
    let mut took = Vec::new();
    let found = rings(&kinds, nodes)?;
    for _ in 0..times.max(1) {
        let start = Instant::now();
        std::hint::black_box(rings(std::hint::black_box(&kinds), nodes)?);
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok((found, took[took.len() / 2]))
}
