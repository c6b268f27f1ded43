//! Owns one rank's part of a benchmark: it measures and checks row after row, and rank 0 reports.

use std::io::{self, IsTerminal, Write};

use crosstie::{Communicator, Error, Look, Over, ReduceOp};
use crosstie_ir::Rank;
use serde_json::{Value, json};

use super::buffer::Buffer;
use super::ceiling::Ceiling;
use super::report::{Header, Measured, Report};
use super::sent;
use super::sizes::{self, Row};
use super::speeds;
use super::task::{Place, Task};
use super::timing::{self, Effort, Times};
use super::wires::{self, Wires};
use crate::args::{BenchArgs, TransportArg};
use crate::exit::{Exit, Failure};
use crate::plan::needs_object;

/// Runs the whole benchmark on this rank, one of `ranks_here` on this host; `report` is where rank 0
/// tells.
pub fn run(
    args: &BenchArgs,
    mut comm: Communicator,
    ranks_here: u32,
    report: Option<&mut dyn Report>,
) -> Result<Exit, Failure> {
    let rows = sizes::rows(args, comm.size())?;
    let mut report = report.filter(|_| comm.rank() == 0);
    let mut bench = Bench::new(args, &comm, &rows)?;
    bench.predict(&mut comm, args, &rows)?;
    // All ranks tell theirs.
    let wires = args.show_plan.then(|| wires::of_world(&mut comm)).transpose()?;
    if let Some(report) = &mut report {
        if let Some(wires) = wires.as_ref().filter(|_| !args.json) {
            show_plan(&comm, wires, args)?;
        }
        let mut header = Header::new(args, &comm, &rows, ranks_here);
        let ceiling = bench.ceiling.as_ref().filter(|ceiling| !ceiling.is_unknown());
        header.speeds = ceiling.map(|ceiling| ceiling.speeds().clone());
        header.ceiling = ceiling.map(|ceiling| ceiling.in_words(largest(&rows)));
        header.plan = wires.as_ref().filter(|_| args.json).map(|wires| plan_object(&comm, wires));
        report.begin(&header)?;
    }
    bench.settle(&mut comm, &rows)?;
    let mut wrong = 0;
    let mut below = Vec::new();
    for row in &rows {
        let out_of_place = bench.measure(&mut comm, row, Place::Out)?;
        let in_place = match row.operation.in_place() && !args.out_of_place {
            true => Some(bench.measure(&mut comm, row, Place::In)?),
            false => None,
        };
        wrong += out_of_place.wrong + in_place.as_ref().map_or(0, |in_place| in_place.wrong);
        below.extend(shortfalls(args, row, &out_of_place, in_place.as_ref()));
        if let Some(report) = &mut report {
            report.row(row, &out_of_place, in_place.as_ref())?;
        }
    }
    let sent = sent::by_all(&mut comm)?;
    comm.leave()?; // before the end is told: what is told then is the only story
    if let Some(report) = &mut report {
        report.end(&sent)?;
    }
    tell_of_shortfalls(args, &below);
    Ok(if wrong == 0 && below.is_empty() { Exit::Good } else { Exit::WrongResult })
}

/// The plan of the world's rings and routes, or why there is none.
fn show_plan(comm: &Communicator, wires: &Wires, args: &BenchArgs) -> Result<(), Failure> {
    let color = crate::args::color(args.color, io::stdout().is_terminal());
    let shown = match comm.plan() {
        Ok(plan) => plan.text(Look { color, full: args.full }),
        Err(why) => format!("No plan of rings and routes: {why}.\n"),
    };
    let past = comm.relay_below().map_or_else(String::new, |bytes| {
        format!(
            "Messages of {bytes} bytes or more go past relays, wherever that crosses no rail.\n"
        )
    });
    let metrics = comm.metrics();
    let needs = metrics.verbs.map_or_else(String::new, |needs| {
        let over_tcp = metrics.over.iter().any(|wire| wire.transport != "verbs");
        let (whose, most) = match metrics.ports.len() {
            2.. => ("each of its RDMA devices", "at most "),
            _ => ("its RDMA device", if over_tcp { "at most " } else { "" }),
        };
        format!("Of {whose} rank 0 takes {most}{needs}, besides its buffers.\n")
    });
    let over = wires.text() + &needs;
    writeln!(io::stdout(), "{shown}{past}{over}").map_err(|e| Failure::host("write the plan", e))
}

/// The same for scripts.
fn plan_object(comm: &Communicator, wires: &Wires) -> Value {
    let mut plan = match comm.plan() {
        Ok(plan) => plan.json(),
        Err(why) => json!({ "schema": 1, "error": { "message": why.to_string() } }),
    };
    let metrics = comm.metrics();
    plan["verbs"] = metrics.verbs.map_or(Value::Null, |needs| needs_object(0, &needs));
    let over = metrics.over.into_iter().map(|wire| {
        let Over { peer, transport, whose, why, ports } = wire;
        let ports = ports.into_iter().map(|(device, port)| json!({ "device": device, "port": port }));
        let ports: Value = ports.collect();
        json!({
            "rank": peer, "transport": transport, "rank_without_verbs": whose, "why_not_verbs": why, "ports": ports
        })
    });
    plan["over"] = over.collect();
    plan["wires"] = wires.object();
    plan
}

/// What of a row falls short of --fail-below, in words.
fn shortfalls(
    args: &BenchArgs,
    row: &Row,
    out: &Measured,
    in_place: Option<&Measured>,
) -> Vec<String> {
    let Some(least) = args.fail_below else { return Vec::new() };
    let places = [("out of place", Some(out)), ("in place", in_place)];
    let short = |(place, measured): (&str, Option<&Measured>)| {
        let percent = measured?.ceil_percent.filter(|percent| *percent < least)?;
        Some(format!(
            "{} of {} bytes of {}, {place}: {percent:.1} %",
            row.operation.name,
            row.bytes,
            row.type_name()
        ))
    };
    places.into_iter().filter_map(short).collect()
}

/// More would say no more.
const SHORTFALLS_TOLD: usize = 5;

fn tell_of_shortfalls(args: &BenchArgs, below: &[String]) {
    let (Some(least), false) = (args.fail_below, below.is_empty()) else { return };
    let mut error = io::stderr().lock();
    // Nothing stands in the way when nobody reads it.
    let _ = writeln!(error, "crosstie: below {least} % of the predicted ceiling:");
    for line in below.iter().take(SHORTFALLS_TOLD) {
        let _ = writeln!(error, "  {line}");
    }
    if below.len() > SHORTFALLS_TOLD {
        let _ = writeln!(error, "  and {} more", below.len() - SHORTFALLS_TOLD);
    }
}

struct Bench {
    rank: u32,
    ranks: u32,
    effort: Effort,
    corrupt: bool,
    /// Whether in place is not measured.
    out_of_place: bool,
    /// Calls that were checked: each gets inputs of its own.
    checks: u64,
    /// Where ceilings come from, on rank 0.
    ceiling: Option<Ceiling>,
    send: Buffer,
    receive: Buffer,
}

impl Bench {
    fn new(args: &BenchArgs, comm: &Communicator, rows: &[Row]) -> Result<Self, Failure> {
        let largest = largest(rows);
        Ok(Self {
            rank: comm.rank(),
            ranks: comm.size(),
            effort: Effort {
                warmup: args.warmup_iters,
                calls: args.iters,
                budget: std::time::Duration::from_millis(args.budget_ms.into()),
            },
            corrupt: args.corrupt_byte,
            out_of_place: args.out_of_place,
            checks: 0,
            ceiling: None,
            send: Buffer::new(args.buffers, comm, largest)?,
            receive: Buffer::new(args.buffers, comm, largest)?,
        })
    }

    /// Measures what ceilings are predicted from.
    fn predict(
        &mut self,
        comm: &mut Communicator,
        args: &BenchArgs,
        rows: &[Row],
    ) -> Result<(), Failure> {
        let speeds = speeds::measure(comm, &mut self.send, &mut self.receive, largest(rows))?;
        let ceiling = Ceiling::new(speeds, comm, args.transport == TransportArg::Tcp);
        if args.fail_below.is_some() {
            ceiling.refuse_to_judge()?;
        }
        self.ceiling = Some(ceiling).filter(|_| comm.rank() == 0);
        Ok(())
    }

    /// Lets everything find its place before the first row: the largest size touches all memory
    /// that will be used, and the smallest goes on for a row's time, so that the system spreads the
    /// ranks over its cores.
    fn settle(&mut self, comm: &mut Communicator, rows: &[Row]) -> Result<(), Error> {
        let by_size = |row: &&Row| row.bytes;
        let (smallest, largest) =
            (rows.iter().min_by_key(by_size), rows.iter().max_by_key(by_size));
        let (Some(smallest), Some(largest)) = (smallest, largest) else { return Ok(()) };
        let effort = self.effort;
        let (small, large) = (self.task(smallest), self.task(largest));
        for _ in 0..effort.warmup {
            self.call(comm, &large, Place::Out)?;
            if largest.operation.in_place() && !self.out_of_place {
                self.call(comm, &large, Place::In)?;
            }
        }
        if effort.warmup > 0 {
            let effort = Effort { calls: None, ..effort };
            timing::settle(comm, &effort, &mut |comm| self.call(comm, &small, Place::Out))?;
        }
        Ok(())
    }

    /// Checks one call, then times many.
    fn measure(
        &mut self,
        comm: &mut Communicator,
        row: &Row,
        place: Place,
    ) -> Result<Measured, Error> {
        let task = self.task(row);
        let wrong = self.check(comm, row, &task, place)?;
        let effort = self.effort;
        let times = timing::measure(comm, &effort, &mut |comm| self.call(comm, &task, place))?;
        let ceiling = self.ceiling.as_ref();
        let least_us = ceiling.and_then(|ceiling| ceiling.time_us(row, place == Place::In));
        let ideal = (self.rank == 0).then(|| sent::ideal(comm, row)).flatten();
        let algorithm = sent::algorithm(comm, row);
        Ok(Measured { ideal, algorithm, ..measured(row, self.ranks, times, least_us, wrong) })
    }

    fn task(&self, row: &Row) -> Task {
        Task::new(row, self.rank, self.ranks)
    }

    fn call(&mut self, comm: &mut Communicator, task: &Task, place: Place) -> Result<(), Error> {
        task.call(comm, place, &mut self.send, &mut self.receive)
    }

    /// One call on exact inputs: how many elements are wrong, on all ranks together.
    fn check(
        &mut self,
        comm: &mut Communicator,
        row: &Row,
        task: &Task,
        place: Place,
    ) -> Result<u64, Error> {
        self.checks += 1;
        let mut receivers = (0..self.ranks).rev();
        let last = receivers.find(|&rank| row.collective().has_output(Rank(rank)));
        let corrupt = self.corrupt && last == Some(self.rank);
        let buffers = [&mut self.send, &mut self.receive];
        let wrong = task.check(comm, place, buffers, self.checks, corrupt)?;
        let mut wrong = [wrong as i64];
        comm.all_reduce_in_place(&mut wrong, ReduceOp::Sum)?;
        Ok(wrong[0] as u64)
    }
}

fn largest(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.bytes).max().unwrap_or(0)
}

/// Bandwidths as nccl-tests defines them: algorithm bandwidth is size over time, bus bandwidth
/// scales it by what each rank's link must carry per byte of size, so that it can be held against
/// the link's speed.
fn measured(row: &Row, ranks: u32, times: Times, least_us: Option<f64>, wrong: u64) -> Measured {
    let Times { loop_us, p50_us, p99_us, least_us: seen_us, network } = times;
    let algbw_gb_s = if loop_us > 0.0 { row.bytes as f64 / (loop_us * 1e3) } else { 0.0 };
    // No ceiling is slower than what was seen: then the prediction is wrong, not the call.
    let percent = |least_us: f64| 100.0 * least_us.min(seen_us) / loop_us;
    Measured {
        time_us: rounded(loop_us),
        p50_us: rounded(p50_us),
        p99_us: rounded(p99_us),
        algbw_gb_s: rounded(algbw_gb_s),
        busbw_gb_s: rounded(algbw_gb_s * row.operation.bus_factor(ranks)),
        ceil_percent: least_us.map(|least_us| rounded(percent(least_us))),
        wrong,
        network,
        ideal: None,
        algorithm: None,
    }
}

/// To six significant digits: no clock here says more, and no reader wants more.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
