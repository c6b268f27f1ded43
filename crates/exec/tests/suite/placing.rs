//! Calls over wires that place payloads: when the caller's memory is its own again.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crosstie_exec::{Buffers, Call, Engine, ExecError, Program, WaitPolicy};
use crosstie_ir::{ChunkMap, Collective, Layout, Rank};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};
use crosstie_testkit::direct::Network;
use crosstie_transport::Doorbell;
use crosstie_transport::seam::Limits;
use crosstie_transport::tcp::Relays;
use crosstie_transport::wires::Joint;
use crosstie_transport::wires::placing::PlacingEndpoint;

/// So long that its receiver grants it, and names its place.
const BYTES: usize = 64 << 10;
const CHANNELS: u16 = 2;
const BROADCAST: Collective = Collective::Broadcast { root: Rank(0) };

fn engines(network: &Network) -> Vec<Engine> {
    let mut devices = [network.device(), network.device()];
    let [one, other] = &mut devices;
    let links = network.wire(one, other);
    let engine = |(rank, (device, link))| {
        let joint = Joint { peer: 1 - rank, link, outgoing: vec![rank], incoming: vec![1 - rank] };
        let limits = Limits { slots: 2, slot_bytes: BYTES };
        let (joints, relays) = (vec![joint], Relays::default());
        let endpoint = PlacingEndpoint::new(vec![device], rank, joints, relays, CHANNELS, limits);
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let wait = WaitPolicy { spins: 0, yields: 4 };
        Engine::new(Rank(rank), 2, vec![Box::new(endpoint.unwrap())], doorbell, wait).unwrap()
    };
    (0..).zip(devices.into_iter().zip(links)).map(engine).collect()
}

fn program(engine: &Engine, rank: u32) -> Program {
    let channels = NonZero::<u16>::MIN;
    let (collective, algorithm) = (BROADCAST, Algorithm::Ring);
    let nodes = Nodes::new(vec![0, 1]).unwrap();
    let request = PlanRequest { collective, algorithm, nodes: &nodes, channels, in_place: true };
    engine.resolve(plan_world(&request).slice(Rank(rank))).unwrap()
}

fn call<'a>(program: &'a Program, buffer: &'a mut [u8]) -> Call<'a> {
    let chunks = Algorithm::Ring.parts(BROADCAST, 2);
    let map = ChunkMap::new(Layout::Split { chunks }, 1, BYTES as u64, BYTES as u64);
    let (buffers, limit) = (Buffers::InPlace(buffer), Duration::from_millis(500));
    Call { program, map, reducer: None, buffers, limit, tag: 5 }
}

/// Its caller gets the memory back while the peer, which has learnt of nothing, still holds the grant.
#[test]
fn memory_of_a_call_that_panicked_is_written_by_nobody() {
    for panics in [true, false] {
        let mut engines = engines(&Network::new(None, true));
        let programs = [0, 1].map(|rank| program(&engines[rank as usize], rank));
        let (mut buffer, mut sent) = (vec![7; BYTES], vec![1; BYTES]);
        let receives = || {
            let interrupted = || {
                assert!(!panics, "as the test has it");
                true
            };
            engines[1].run(call(&programs[1], &mut buffer), &interrupted)
        };
        let ended = catch_unwind(AssertUnwindSafe(receives));
        assert_eq!(ended.is_err(), panics, "{ended:?}");
        let result = engines[0].run(call(&programs[0], &mut sent), &|| false);
        assert!(matches!(result, Err(ExecError::Deadline { .. })), "{result:?}");
        assert!(buffer.iter().all(|&byte| byte == 7), "the memory is the caller's again");
        let next = engines[1].run(call(&programs[1], &mut buffer), &|| false);
        assert!(matches!(next, Err(ExecError::Poisoned)), "{next:?}");
    }
}

/// Its last message is lent until the network has told of its end, which is looked for though no block has more to do.
#[test]
fn a_call_ends_when_what_it_lent_is_back() {
    for seed in 0..20 {
        let engines = engines(&Network::new(Some(seed), true));
        let run = |(rank, mut engine): (u32, Engine)| {
            let program = program(&engine, rank);
            let mut buffer = vec![rank as u8; BYTES];
            let ended = engine.run(call(&program, &mut buffer), &|| false);
            assert!(ended.is_ok(), "{ended:?} with seed {seed}");
            assert!(buffer.iter().all(|&byte| byte == 0), "the root's, with seed {seed}");
        };
        thread::scope(|scope| {
            for rank in (0..).zip(engines) {
                scope.spawn(move || run(rank));
            }
        });
    }
}
