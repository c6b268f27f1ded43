//! Random faults at random moments in worlds of processes: whatever happens to one rank, the others end soon, with a
//! typed error, and all name the same culprit; what is no fault harms nobody.
//!
//! `CROSSTIE_FAULTS=1000 cargo test --release -p crosstie --test suite -- --ignored faults::two_hundred` runs as many;
//! `CROSSTIE_FAULT_SEED` repeats what a failed run printed.

mod call;
mod fault;
mod rank;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crosstie_testkit::random::{Random, mix};
use fault::{Case, Wires};

/// Worlds at a time: they mostly sleep, and what runs of them shares two cores.
const AT_A_TIME: usize = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

type Counts = BTreeMap<String, u32>;

fn count_in(counts: &Mutex<Counts>, name: &str) {
    *counts.lock().unwrap().entry(name.to_owned()).or_insert(0) += 1;
}

/// Runs `count` random faults, unless the environment asks for another number, over `wires` or any.
fn run(count: u64, wires: Option<Wires>) {
    let count = number("CROSSTIE_FAULTS").unwrap_or(count);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("CROSSTIE_FAULT_SEED").unwrap_or_else(now);
    println!("CROSSTIE_FAULT_SEED={seed} CROSSTIE_FAULTS={count}");
    let (next, provisional, broken) =
        (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    let (kinds, during) = (Mutex::new(Counts::new()), Mutex::new(Counts::new()));
    let slowest = Mutex::new(BTreeMap::<&str, Duration>::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let case = Case::of(&mut Random::new(mix(seed).wrapping_add(number)), wires);
                    match world::run(&case) {
                        Ok(ends) => {
                            provisional.fetch_add(ends.alone, Ordering::Relaxed);
                            count_in(&kinds, case.fault.name());
                            let mut slowest = slowest.lock().unwrap();
                            let most = slowest.entry(case.fault.name()).or_default();
                            *most = ends.took.max(*most);
                            ends.during.iter().for_each(|operation| count_in(&during, operation));
                        }
                        Err(what) => {
                            println!("fault {number}: {case:?}\n{what}");
                            broken.lock().unwrap().push(number);
                        }
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    let alone = provisional.into_inner();
    let kinds = kinds.into_inner().unwrap();
    let during = during.into_inner().unwrap();
    println!("{count} faults in {:.1?}, {alone} provisional verdicts: {kinds:?}", began.elapsed());
    println!("from a fault to the end of the last rank, at most: {:.2?}", slowest.lock().unwrap());
    println!("calls that ended in an error, by rank: {during:?}");
    assert!(broken.is_empty(), "faults {broken:?} of CROSSTIE_FAULT_SEED={seed}");
}

#[test]
fn a_dozen_random_faults_end_with_one_verdict_each() {
    run(12, None);
}

#[test]
fn a_relay_or_one_of_its_ranks_that_fails_ends_all_calls_with_one_verdict() {
    run(6, Some(Wires::Relayed));
}

#[test]
#[ignore = "slow: two hundred worlds of processes"]
fn two_hundred_random_faults_end_with_one_verdict_each() {
    run(200, None);
}

/// What the worlds above run, as processes.
#[test]
#[ignore = "a part of other tests, which start it"]
fn a_rank_of_a_faulty_world() {
    rank::run();
}
