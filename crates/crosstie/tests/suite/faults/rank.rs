//! Owns what each rank does: random calls with checked results until it is told to end, or something fails.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crosstie::{Communicator, Error, ReduceOp, Settings};
use crosstie_testkit::random::Random;

use super::call;
use super::fault::{ARRIVAL, HEARTBEAT, SILENCE};

/// The variable that tells a rank its world's seed.
pub const SEED: &str = "FAULTS_SEED";

/// What the world's owner has asked for.
#[derive(Default)]
struct Orders {
    /// All are to end after the same call; told to rank 0.
    end: AtomicBool,
    leave: AtomicBool,
    panic: AtomicBool,
    swallow: AtomicBool,
}

/// Follows the orders on standard input; its end is the end of the test, and of this process.
fn follow(orders: &Orders) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "end" => orders.end.store(true, Ordering::Relaxed),
            "leave" => orders.leave.store(true, Ordering::Relaxed),
            "panic" => orders.panic.store(true, Ordering::Relaxed),
            "swallow" => orders.swallow.store(true, Ordering::Relaxed),
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
            let culprit = match (&failure.ends, failure.culprit) {
                (Some([one, other]), _) => format!("{}-{}", one.rank, other.rank),
                (None, Some(rank)) => rank.to_string(),
                (None, None) => "nobody".to_owned(),
            };
            let kind = if failure.provisional { "provisional" } else { "shared" };
            let during = failure.operation.map_or("connecting", |operation| operation.name());
            let text = one_line(&error);
            format!("failed {} {culprit} {kind} {during} {text}", error.code())
        }
        Err(error) => format!("failed {} nobody single setup {}", error.code(), one_line(&error)),
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
        call::random(&mut comm, &mut random)?;
        if call == 1 {
            say("ready");
        }
        if orders.leave.load(Ordering::Relaxed) {
            return comm.leave().map(|()| call);
        }
        assert!(!orders.panic.load(Ordering::Relaxed), "as the test has it");
        if orders.swallow.load(Ordering::Relaxed) {
            std::thread::sleep(2 * ARRIVAL); // then it hears what became of it
        }
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
