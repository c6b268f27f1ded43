//! Owns worlds of threads over loopback, straight on the engine.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crosstie_exec::{Engine, WaitPolicy};
use crosstie_ir::{Collective, Plan, Rank};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};
use crosstie_transport::Doorbell;
use crosstie_transport::loopback::Fabric;
use crosstie_transport::seam::Limits;

pub const LIMIT: Duration = Duration::from_secs(20);
/// As many as any algorithm uses.
pub const CHANNELS: u16 = 2;
pub const LIMITS: Limits = Limits { slots: 8, slot_bytes: 1024 };

fn engine(fabric: &Fabric, rank: u32, ranks: u32) -> Engine {
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let endpoint = fabric.endpoint(rank, Arc::clone(&doorbell)).unwrap();
    let wait = WaitPolicy::for_load(ranks as usize, 2);
    Engine::new(Rank(rank), ranks, vec![Box::new(endpoint)], doorbell, wait).unwrap()
}

/// Nodes of two ranks, so that hierarchical forms suit even numbers of ranks. All share memory.
pub fn nodes(ranks: u32) -> Nodes {
    Nodes::new((0..ranks).map(|rank| rank / 2).collect()).unwrap()
}

pub fn whole_plan(
    collective: Collective,
    algorithm: Algorithm,
    in_place: bool,
    ranks: u32,
) -> Plan {
    let channels = NonZero::<u16>::MIN;
    plan_world(&PlanRequest { collective, algorithm, nodes: &nodes(ranks), channels, in_place })
}

/// The engines of a world, by rank.
pub fn engines(ranks: u32) -> Vec<Engine> {
    let fabric = Fabric::new(ranks, CHANNELS, LIMITS).unwrap();
    (0..ranks).map(|rank| engine(&fabric, rank, ranks)).collect()
}

/// Runs `body` for each rank in a thread of its own.
pub fn world<T: Send>(ranks: u32, body: impl Fn(u32, Engine) -> T + Sync) -> Vec<T> {
    let body = &body;
    thread::scope(|scope| {
        let spawn = |(rank, engine)| scope.spawn(move || body(rank, engine));
        let threads: Vec<_> = (0..).zip(engines(ranks)).map(spawn).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}
