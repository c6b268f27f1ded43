//! Prints how long plans take at scale, and how much memory, beside what they may take.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]

use std::error::Error;
use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::{Table, presets};
use crosstie_ir::{ChannelId, Collective, Options, Rank, verify};
use crosstie_planner::search::{Node, rings};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, Rails, Route, plan, plan_world, route};
use crosstie_topo::Topology;
use serde_json::{Value, json};

/// Nodes of the jobs, of eight GPUs each; a plan may grow no faster than they do.
const JOBS: [u32; 4] = [1024, 2048, 4096, 8192];
const GPUS: u32 = 8;
const JOB_LIMIT: Duration = Duration::from_secs(1);
const JOB_KIB: u64 = 500 << 10;
const SAMPLES: u32 = 1000;
/// The exchange that is proved.
const PROVED_RANKS: u32 = 512;
const PROOF_LIMIT: Duration = Duration::from_secs(3);
const TIMES: usize = 5;

/// Measures how plans scale.
#[derive(Parser)]
struct Arguments {
    /// Times as much time as is allowed on a quiet machine.
    #[arg(long, default_value_t = 1)]
    slack: u32,
    /// The folder of machines.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../topology"))]
    topologies: PathBuf,
    /// Plans one rank's part in a job of so many nodes and prints what it took: for a process of its own.
    #[arg(long, hide = true)]
    job: Option<u32>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The lines of the table, and whether all kept to their limits.
struct Judged {
    table: Table,
    good: bool,
    slack: u32,
}

impl Judged {
    fn time(&mut self, what: &str, took: Duration, limit: Duration) {
        let good = took <= limit * self.slack;
        self.row(what, format!("{:.2} ms", ms(took)), format!("{:.0} ms", ms(limit)), good);
    }

    fn row(&mut self, what: &str, measured: String, limit: String, good: bool) {
        self.good &= good;
        let verdict = if good { "" } else { "MISSED" };
        self.table.add_row([what, &measured, &limit, verdict]);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() -> Outcome<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(nodes) = arguments.job {
        println!("{}", job(nodes, &arguments)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["what", "measured", "limit", ""]);
    let mut judged = Judged { table, good: true, slack: arguments.slack };
    searches(&arguments, &mut judged)?;
    jobs(&mut judged)?;
    proof(&mut judged)?;
    println!("{}", judged.table);
    Ok(if judged.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The median time of finding the rings of each machine alone.
fn searches(arguments: &Arguments, judged: &mut Judged) -> Outcome<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(&arguments.topologies)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<_>>()?;
    files.retain(|path| path.extension().is_some_and(|it| it == "xml"));
    files.sort();
    for path in files {
        let topology = Topology::read_bytes(&fs::read(&path)?)?;
        let kinds = [Node::whole(&topology)];
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let start = Instant::now();
            std::hint::black_box(rings(std::hint::black_box(&kinds), &[0])?);
            took.push(start.elapsed());
        }
        took.sort_unstable();
        let members = kinds[0].members.len();
        let limit = Duration::from_millis(if members <= 8 { 5 } else { 50 });
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        judged.time(&format!("search, {name}, {members} members"), took[TIMES / 2], limit);
    }
    Ok(())
}

/// One rank's plan in jobs of more and more nodes, each in a process of its own.
fn jobs(judged: &mut Judged) -> Outcome<()> {
    let mut first = None;
    for nodes in JOBS {
        let mut least: Option<Value> = None;
        for _ in 0..TIMES {
            let run = Command::new(std::env::current_exe()?)
                .args(["--job", &nodes.to_string()])
                .output()?;
            if !run.status.success() {
                return Err(String::from_utf8_lossy(&run.stderr).into());
            }
            let took: Value = serde_json::from_slice(&run.stdout)?;
            let micros = |took: &Value| took["micros"].as_u64();
            if least.as_ref().is_none_or(|least| micros(&took) < micros(least)) {
                least = Some(took);
            }
        }
        let took = least.ok_or("no run")?;
        let figure = |name: &str| took[name].as_u64().ok_or("a run told nothing");
        let (micros, kib) = (figure("micros")?, figure("peak_kib")?);
        let what = format!("one rank's plan, {} GPUs", nodes * GPUS);
        judged.time(&what, Duration::from_micros(micros), JOB_LIMIT);
        judged.row(
            &format!("{what}, peak memory"),
            format!("{} MiB", kib >> 10),
            format!("{} MiB", JOB_KIB >> 10),
            kib <= JOB_KIB,
        );
        let agreed = figure("agreed")?;
        let all = agreed == u64::from(SAMPLES);
        judged.row(
            &format!("{what}, both ends agree"),
            agreed.to_string(),
            SAMPLES.to_string(),
            all,
        );
        let (base_nodes, base) = *first.get_or_insert((nodes, micros));
        // Caches tell on larger worlds: half as much again is still a line.
        let linear = base * u64::from(nodes / base_nodes) * 3 / 2;
        let growth = format!("{:.1} times", micros as f64 / base as f64);
        let limit = format!("{} times", f64::from(nodes / base_nodes) * 1.5);
        judged.row(
            &format!("{what}, growth"),
            growth,
            limit,
            micros <= linear * u64::from(judged.slack),
        );
    }
    Ok(())
}

/// Plans the part of one rank of a job: routes to all and from its ring neighbours, its wires, its exchange.
fn job(count: u32, arguments: &Arguments) -> Outcome<Value> {
    let path = arguments.topologies.join("dgx-h100.xml");
    let topology = Topology::read_bytes(&fs::read(path)?)?;
    let kinds = [Node::whole(&topology)];
    let ranks = count * GPUS;
    let own = Rank(ranks / 3);
    let start = Instant::now();
    let world = World::new(count, &kinds)?;
    let mut relayed = 0;
    for peer in (0..ranks).map(Rank).filter(|&peer| peer != own) {
        relayed += u64::from(matches!(world.way(own, peer), Some(Route::Relayed(_))));
    }
    let wires = (0..ranks).filter(|&dst| !world.rails.carried(own, Rank(dst)).is_empty()).count();
    let part = |collective, algorithm| {
        let (nodes, channels) = (&world.nodes, NonZero::<u16>::MIN);
        let request = PlanRequest { collective, algorithm, nodes, channels, in_place: false };
        plan(&request, own)
    };
    let ring = part(Collective::AllGather, Algorithm::Ring);
    let neighbours = ring.connections.iter().filter_map(|c| world.way(c.src, c.dst)).count();
    let exchange = part(Collective::AllToAll, Algorithm::Direct);
    let took = start.elapsed();
    // To each rank of its rail on the other nodes; two directions; a block for each peer and direction, and one
    // for what it keeps.
    let expected = (count as usize - 1, 2, 2 * ranks as usize - 1);
    let found = (wires, neighbours, exchange.blocks.len());
    if found != expected {
        return Err(format!("{found:?} wires, neighbours and blocks, not {expected:?}").into());
    }
    Ok(json!({
        "micros": took.as_micros() as u64,
        "peak_kib": peak_kib()?,
        "agreed": agreed(&world, &World::new(count, &kinds)?, ranks),
        "relayed": relayed,
    }))
}

struct World {
    nodes: Nodes,
    rails: Rails,
}

impl World {
    fn new(count: u32, kinds: &[Node<'_>]) -> Outcome<Self> {
        let nodes = Nodes::new((0..count * GPUS).map(|rank| rank / GPUS).collect())?;
        let rails = Rails::of_machines(&nodes, kinds, &vec![0; count as usize])?;
        Ok(Self { nodes, rails })
    }

    fn way(&self, src: Rank, dst: Rank) -> Option<Route> {
        route(src, dst, ChannelId(0), &self.nodes, Some(&self.rails))
    }

    /// The relay, and the rails at both ends, as the sender of a connection finds them.
    fn at_sender(&self, src: Rank, dst: Rank) -> (Rank, Option<u32>, Option<u32>) {
        let sends = match self.way(src, dst) {
            Some(Route::Relayed(relay)) => relay,
            _ => src,
        };
        (sends, self.rails.rail_of(sends), self.rails.rail_of(dst))
    }

    /// The same as its receiver finds them: by whom the wire is owned that carries this sender's messages.
    fn at_receiver(&self, src: Rank, dst: Rank) -> Option<(Rank, Option<u32>, Option<u32>)> {
        let carries = |carrier: &&Rank| self.rails.carried(**carrier, dst).contains(&src);
        let mut carriers = self.rails.node_of(src).iter().filter(carries);
        let carrier = *carriers.next().filter(|_| carriers.next().is_none())?;
        Some((carrier, self.rails.owned_by(carrier), self.rails.rail_of(dst)))
    }
}

/// Of sampled connections between nodes, on how many two ranks agree that made the world each for itself.
fn agreed(sender: &World, receiver: &World, ranks: u32) -> u32 {
    // A step that is prime to any number of ranks here visits them all.
    const STEP: u32 = 7919;
    let pairs = (0..).map(|k: u32| (k * STEP % ranks, (k * k + 3 * STEP) % ranks));
    let apart = |(a, b): &(u32, u32)| a / GPUS != b / GPUS;
    let pairs = pairs.filter(apart).take(SAMPLES as usize);
    let agree = |(src, dst)| {
        let (src, dst) = (Rank(src), Rank(dst));
        receiver.at_receiver(src, dst) == Some(sender.at_sender(src, dst))
    };
    pairs.map(agree).filter(|&agree| agree).count() as u32
}

/// The most memory that this process had.
fn peak_kib() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The proof of a large exchange, out of place, with all that comes with it.
fn proof(judged: &mut Judged) -> Outcome<()> {
    let nodes = Nodes::new((0..PROVED_RANKS).map(|rank| rank / GPUS).collect())?;
    let (collective, algorithm) = (Collective::AllToAll, Algorithm::Direct);
    let channels = NonZero::<u16>::MIN;
    let request = PlanRequest { collective, algorithm, nodes: &nodes, channels, in_place: false };
    let plan = plan_world(&request);
    for (class, options) in [("copy", Options::copy(8)), ("lend", Options::copy(8).lending())] {
        let start = Instant::now();
        verify(&plan, &options)?;
        let what = format!("proof of all_to_all, {PROVED_RANKS} ranks, class {class}");
        judged.time(&what, start.elapsed(), PROOF_LIMIT);
    }
    Ok(())
}
