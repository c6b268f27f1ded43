//! Receives that are opened early, over sockets: each message lands in its own place.

use std::net::{TcpListener, TcpStream};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crosstie_exec::{Buffers, Call, Engine, Known, Reducer, WaitPolicy};
use crosstie_ir::{ChunkMap, Collective, DataType, Layout, Rank, ReduceOp};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};
use crosstie_transport::Doorbell;
use crosstie_transport::seam::Limits;
use crosstie_transport::tcp::TcpEndpoint;

/// Longer than what travels without a grant.
const LIMITS: Limits = Limits { slots: 8, slot_bytes: 16 * 1024 };
const LIMIT: Duration = Duration::from_secs(20);
const COUNT: usize = 200_003;

fn engine(rank: u32, socket: TcpStream) -> Engine {
    let endpoint = TcpEndpoint::from_streams(rank, vec![(1 - rank, socket)], 2, LIMITS).unwrap();
    let doorbell = Arc::new(Doorbell::new().unwrap());
    Engine::new(Rank(rank), 2, vec![Box::new(endpoint)], doorbell, WaitPolicy::for_load(2, 2))
        .unwrap()
}

fn input(rank: u32, i: usize, round: i32) -> i32 {
    (rank as i32 + 1) * (i as i32 % 97) + round
}

/// Five calls of many windows. Gives the engine back, for its end may cut off what the peer has to read.
fn reduce(rank: u32, mut engine: Engine, known: Known) -> Engine {
    let nodes = Nodes::new(vec![0, 1]).unwrap();
    let plan = plan_world(&PlanRequest {
        collective: Collective::AllReduce,
        algorithm: Algorithm::Ring,
        nodes: &nodes,
        channels: NonZero::<u16>::MIN,
        in_place: known.in_place,
    });
    let program = engine.resolve_for(plan.slice(Rank(rank)), known).unwrap();
    let mut instrs = program.plan().blocks.iter().flat_map(|block| &block.instrs);
    assert!(
        known.ahead > 1 || instrs.any(|instr| instr.is_grant()),
        "{known:?} opens nothing early"
    );
    for round in 0..5 {
        let mut values: Vec<i32> = (0..COUNT).map(|i| input(rank, i, round)).collect();
        let mut sums = vec![0; COUNT];
        let (send, recv) =
            (bytemuck::cast_slice_mut(&mut values), bytemuck::cast_slice_mut(&mut sums));
        let buffers = match known.in_place {
            true => Buffers::InPlace(send),
            false => Buffers::OutOfPlace { send, recv },
        };
        let window = 2 * LIMITS.slot_bytes as u64 / 4;
        let call = Call {
            program: &program,
            map: ChunkMap::new(Layout::Split { chunks: 2 }, 4, COUNT as u64, window),
            reducer: Reducer::select(DataType::I32, ReduceOp::Sum, 2).ok(),
            buffers,
            limit: LIMIT,
            tag: 1,
        };
        engine.run(call, &|| false).unwrap();
        let found = if known.in_place { &values } else { &sums };
        let sum = |i| input(0, i, round) + input(1, i, round);
        assert!(found.iter().enumerate().all(|(i, &v)| v == sum(i)), "round {round} of {known:?}");
    }
    engine
}

#[test]
fn receives_that_are_opened_early_get_their_own_messages() {
    for (ahead, in_place) in [(1, true), (1, false), (3, true), (7, false)] {
        let known = Known { in_place, ahead, past_relays: None };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let other = listener.accept().unwrap().0;
        thread::scope(|scope| {
            let spawn =
                |(rank, socket)| scope.spawn(move || reduce(rank, engine(rank, socket), known));
            let threads = [(0, one), (1, other)].map(spawn);
            let engines = threads.map(|thread| thread.join().unwrap());
            assert_eq!(engines.len(), 2);
        });
    }
}
