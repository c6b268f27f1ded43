//! Owns how a call is timed: the mean over a loop, as nccl-tests has it, but in the median of several
//! loops, and the spread of single calls, always on the slowest rank.

use std::time::{Duration, Instant};

use crosstie::{Communicator, Error, ReduceOp};

use super::report::PerCall;
use super::sent;

/// Calls from which the number of timed calls is estimated.
const TRIAL_CALLS: u32 = 3;
/// Fewer make no median, more make no better one.
const CALLS: std::ops::RangeInclusive<f64> = 5.0..=4000.0;

/// Loops that the timed calls are shared out among: one call that takes a thousand times as long, as when the
/// system takes a core away, spoils one of them.
const LOOPS: u32 = 5;

/// How much to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Calls before the clock starts.
    pub warmup: u32,
    /// Timed calls, in loops and singly; `None`: as many as fill the budget.
    pub calls: Option<u32>,
    /// Time for the loops, and as much again for the single calls.
    pub budget: Duration,
}

/// What one call takes, in microseconds.
#[derive(Debug, Clone)]
pub struct Times {
    /// Mean over a loop of calls, on the slowest rank; the median of some loops.
    pub loop_us: f64,
    /// Median of single calls, each after an 8-byte all_reduce, each the slowest rank's.
    pub p50_us: f64,
    /// 99th percentile of the same.
    pub p99_us: f64,
    /// What all ranks sent over the network in one call of the loop, by the rails' numbers.
    pub network: PerCall,
    /// The fastest loop's or single call's.
    pub least_us: f64,
}

/// One call, the same on every rank.
pub type Call<'a> = dyn FnMut(&mut Communicator) -> Result<(), Error> + 'a;

/// Times a call; every rank gets the same figures.
pub fn measure(
    comm: &mut Communicator,
    effort: &Effort,
    call: &mut Call<'_>,
) -> Result<Times, Error> {
    for _ in 0..effort.warmup {
        call(comm)?;
    }
    let calls = calls(comm, effort, call)?;
    let (mut loops_us, sent) = loops(comm, calls, call)?;
    comm.all_reduce_in_place(&mut loops_us, ReduceOp::Max)?;
    loops_us.sort_by(f64::total_cmp);
    let mut sent: Vec<f64> = sent.iter().map(|sent| *sent as f64 / f64::from(calls)).collect();
    comm.all_reduce_in_place(&mut sent, ReduceOp::Sum)?;

    let mut single_us = single_calls(comm, calls, call)?;
    comm.all_reduce_in_place(&mut single_us, ReduceOp::Max)?;
    single_us.sort_by(f64::total_cmp);
    Ok(Times {
        loop_us: percentile(&loops_us, 50),
        p50_us: percentile(&single_us, 50),
        p99_us: percentile(&single_us, 99),
        least_us: percentile(&loops_us, 0).min(percentile(&single_us, 0)),
        network: PerCall::of(&sent),
    })
}

/// What a call took on this rank, in the mean over each of some loops of that many calls together, and what
/// this rank sent over the network in all of them.
fn loops(
    comm: &mut Communicator,
    calls: u32,
    call: &mut Call<'_>,
) -> Result<(Vec<f64>, Vec<i64>), Error> {
    let loops = LOOPS.min(calls);
    let mut times_us = Vec::with_capacity(loops as usize);
    let mut before = counted(comm)?;
    let mut now = counted(comm)?;
    // What counting itself sends, for it is part of every difference.
    let counting: Vec<i64> = difference(&now, &before).collect();
    let mut sent = vec![0; now.len()];
    for index in 0..loops {
        let calls = calls / loops + u32::from(index < calls % loops);
        before = now;
        let began = Instant::now();
        for _ in 0..calls {
            call(comm)?;
        }
        times_us.push(microseconds(began) / f64::from(calls));
        now = counted(comm)?;
        let moved = difference(&now, &before).zip(&counting).map(|(moved, own)| moved - own);
        sent.iter_mut().zip(moved).for_each(|(sum, moved)| *sum += moved);
    }
    Ok((times_us, sent))
}

/// What this rank has sent over the network, in the order of [`PerCall::of`], while nothing is under way:
/// relays have sent on all that came before, and do not yet send what comes after. The calls that see to it
/// need no relay themselves where nodes are of equal size. All ranks return from it at about the same time.
fn counted(comm: &mut Communicator) -> Result<Vec<i64>, Error> {
    align(comm)?;
    let metrics = comm.metrics();
    align(comm)?;
    let network = metrics.transports.iter().filter(|counters| sent::is_network(counters.transport));
    let mut sent = [0; 3];
    for it in network {
        let also = [it.messages, it.wire_messages, it.bytes];
        sent.iter_mut().zip(also).for_each(|(sum, number)| *sum += number);
    }
    let rails =
        (0..comm.rails()).map(|rail| if rail == metrics.nic.rail { metrics.nic.bytes } else { 0 });
    let all = sent.into_iter().chain([metrics.nic.crossing_bytes]).chain(rails);
    Ok(all.map(|number| number as i64).collect())
}

fn difference<'a>(now: &'a [i64], before: &'a [i64]) -> impl Iterator<Item = i64> + 'a {
    now.iter().zip(before).map(|(now, before)| now - before)
}

/// As many calls as a measurement makes, untimed.
pub fn settle(comm: &mut Communicator, effort: &Effort, call: &mut Call<'_>) -> Result<(), Error> {
    for _ in 0..calls(comm, effort, call)? {
        call(comm)?;
    }
    Ok(())
}

/// What each of so many calls took on this rank.
fn single_calls(
    comm: &mut Communicator,
    calls: u32,
    call: &mut Call<'_>,
) -> Result<Vec<f64>, Error> {
    let mut times_us = Vec::with_capacity(calls as usize);
    for _ in 0..calls {
        align(comm)?;
        let began = Instant::now();
        call(comm)?;
        times_us.push(microseconds(began));
    }
    Ok(times_us)
}

/// How many calls to time: as asked, or as fill the budget by the slowest rank's estimate, so that
/// all ranks agree.
fn calls(comm: &mut Communicator, effort: &Effort, call: &mut Call<'_>) -> Result<u32, Error> {
    if let Some(calls) = effort.calls {
        return Ok(calls);
    }
    align(comm)?;
    let began = Instant::now();
    for _ in 0..TRIAL_CALLS {
        call(comm)?;
        align(comm)?;
    }
    let mut trial_us = [microseconds(began) / f64::from(TRIAL_CALLS)];
    comm.all_reduce_in_place(&mut trial_us, ReduceOp::Max)?;
    let calls = effort.budget.as_secs_f64() * 1e6 / trial_us[0];
    Ok(calls.clamp(*CALLS.start(), *CALLS.end()) as u32)
}

/// Lets all ranks begin at about the same time.
fn align(comm: &mut Communicator) -> Result<(), Error> {
    comm.all_reduce_in_place(&mut [0i64], ReduceOp::Sum)
}

fn microseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or(0.0)
}
