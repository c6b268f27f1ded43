//! Owns what each rank does: random calls with checked results until it is told to end, or something fails.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crosstie::{Collective, Communicator, Error, ReduceOp, Settings};
use crosstie_ir::Rank;
use crosstie_testkit::random::{Random, mix};

use super::fault::{HEARTBEAT, SILENCE};

/// The variable that tells a rank its world's seed.
pub const SEED: &str = "FAULTS_SEED";

/// What the world's owner has asked for.
#[derive(Default)]
struct Orders {
    /// All are to end after the same call; told to rank 0.
    end: AtomicBool,
    leave: AtomicBool,
    panic: AtomicBool,
}

/// Follows the orders on standard input; its end is the end of the test, and of this process.
fn follow(orders: &Orders) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "end" => orders.end.store(true, Ordering::Relaxed),
            "leave" => orders.leave.store(true, Ordering::Relaxed),
            "panic" => orders.panic.store(true, Ordering::Relaxed),
            other => panic!("no order: {other}"),
        }
    }
    std::process::exit(9);
}

/// One line for the owner of the world.
fn say(line: &str) {
    // As a whole, and at once: the process may be killed next.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\nrank says: {line}\n").as_bytes()).and_then(|()| out.flush());
}

pub fn run() {
    let Ok(seed) = std::env::var(SEED) else { return };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let orders = Arc::<Orders>::default();
    let followed = Arc::clone(&orders);
    std::thread::spawn(move || follow(&followed));
    let settings = Settings::default().heartbeat(HEARTBEAT).silence(SILENCE);
    let settings = settings.init_timeout(Duration::from_secs(6));
    let ended = settings.connect().and_then(|comm| work(comm, seed.parse().unwrap(), &orders));
    say(&match ended {
        Ok(calls) => format!("done {calls}"),
        Err(Error::Failed(failure)) => {
            let error = Error::Failed(failure.clone());
            let culprit = failure.culprit.map_or("nobody".to_owned(), |rank| rank.to_string());
            let kind = if failure.provisional { "provisional" } else { "shared" };
            format!("failed {} {culprit} {kind} {}", error.code(), one_line(&error))
        }
        Err(error) => format!("failed {} nobody single {}", error.code(), one_line(&error)),
    });
}

fn one_line(error: &Error) -> String {
    error.report().replace('\n', " | ")
}

/// Calls until told to end; how many.
fn work(mut comm: Communicator, seed: u64, orders: &Orders) -> Result<u64, Error> {
    let mut random = Random::new(seed);
    let mut own = Random::new(seed ^ u64::from(comm.rank()));
    for call in 1.. {
        step(&mut comm, &mut random)?;
        if call == 1 {
            say("ready");
        }
        if orders.leave.load(Ordering::Relaxed) {
            return comm.leave().map(|()| call);
        }
        assert!(!orders.panic.load(Ordering::Relaxed), "as the test has it");
        // All end after the same call.
        let mut ends = [u64::from(orders.end.load(Ordering::Relaxed))];
        comm.all_reduce_in_place(&mut ends, ReduceOp::Max)?;
        if ends == [1] {
            return comm.leave().map(|()| call);
        }
        // A program does something beside.
        if own.chance(50) {
            std::thread::sleep(Duration::from_micros(own.below(4000)));
        }
    }
    Ok(0)
}

/// Some call, alike on all ranks, with its result checked.
fn step(comm: &mut Communicator, random: &mut Random) -> Result<(), Error> {
    let (salt, kind) = (random.bits(), random.below(6));
    // From nothing to half a MiB, small ones most often.
    let most = 1 << random.below(17);
    let count = random.below(most) as usize;
    let (size, rank) = (comm.size() as usize, comm.rank() as usize);
    let value = |rank: usize, at: usize| mix(salt ^ (rank as u64) << 40 ^ at as u64);
    let total = |at: usize| (0..size).fold(0_u64, |sum, rank| sum.wrapping_add(value(rank, at)));
    let of =
        |rank: usize, count: usize| -> Vec<u64> { (0..count).map(|at| value(rank, at)).collect() };
    let (got, expected) = match kind {
        0 | 1 => {
            let mut buffer = of(rank, count);
            comm.all_reduce_in_place(&mut buffer, ReduceOp::Sum)?;
            (buffer, (0..count).map(total).collect::<Vec<u64>>())
        }
        2 => {
            let mut all = vec![0; count * size];
            comm.all_gather(&of(rank, count), &mut all)?;
            (all, (0..size).flat_map(|from| of(from, count)).collect())
        }
        3 => {
            let mut part = vec![0; count];
            comm.reduce_scatter(&of(rank, count * size), &mut part, ReduceOp::Sum)?;
            (part, (0..count).map(|at| total(rank * count + at)).collect())
        }
        4 => {
            let mut all = vec![0; count * size];
            comm.all_to_all(&of(rank, count * size), &mut all)?;
            let from = |from: usize| (0..count).map(move |at| (from, rank * count + at));
            (all, (0..size).flat_map(from).map(|(from, at)| value(from, at)).collect())
        }
        _ => {
            let root = random.below(size as u64) as u32;
            broadcast(comm, root, of(root as usize, count))?
        }
    };
    assert!(got == expected, "rank {rank} of {size}, kind {kind}, count {count}: wrong data");
    Ok(())
}

fn broadcast(
    comm: &mut Communicator,
    root: u32,
    expected: Vec<u64>,
) -> Result<(Vec<u64>, Vec<u64>), Error> {
    let is_root = comm.rank() == root;
    let mut buffer = if is_root { expected.clone() } else { vec![0; expected.len()] };
    let collective = Collective::Broadcast { root: Rank(root) };
    let bytes = crosstie::Buffers::InPlace(bytemuck::cast_slice_mut(&mut buffer));
    comm.call(collective, crosstie::DataType::U64, None, bytes)?;
    Ok((buffer, expected))
}
