//! Ranks that fail between meeting and being connected.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crosstie_net::Secret;

use super::*;
use crate::{Meeting, Settings};

#[test]
fn a_process_that_joins_a_world_twice_is_told_so() {
    let (_meeting, id) = Meeting::open().unwrap();
    let join = |rank| Settings::default().rank(rank).size(2).id(id.clone()).connect();
    let [again, other] = thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| join(0)), scope.spawn(|| join(1)));
        let both = [one, two].map(|rank| rank.join().unwrap().unwrap());
        assert_eq!(both.map(|comm| comm.size()), [2; 2]);
        [0, 1].map(|rank| join(rank).unwrap_err())
    });
    for error in [again, other] {
        let text = error.report();
        assert!(matches!(error, Error::JoinedBefore { size: 2, .. }), "{text}");
        assert!(text.contains("CT-021") && text.contains("split"), "{text}");
    }
}

#[test]
fn a_process_that_joins_a_world_twice_at_a_root_is_told_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let (root, secret) = (free.unwrap().to_string(), Secret::generate().unwrap());
    let join = |rank| {
        let settings = Settings::default().rank(rank).size(2).root(root.clone());
        settings.secret(secret.clone()).connect()
    };
    let both = || {
        thread::scope(|scope| {
            let join = &join;
            [0, 1].map(|rank| scope.spawn(move || join(rank))).map(|rank| rank.join().unwrap())
        })
    };
    let first = both().map(Result::unwrap);
    for again in both() {
        let text = again.map(|_| ()).unwrap_err().report();
        assert!(text.contains("CT-021") && text.contains("split"), "{text}");
    }
    drop(first);
}

/// A rank that has met the others and started its monitor, and then ends without a word.
fn die_while_connecting(settings: Resolved, after: Duration) {
    let deadline = Instant::now() + settings.init_timeout;
    let identity = crosstie_launch::identify(&settings.explicit, &settings.environment).unwrap();
    let listener = Listener::open(&ListenOptions::default()).unwrap();
    let listener = Arc::new(listener);
    let record = own_record(&settings, &identity, &listener).unwrap();
    let world = crosstie_bootstrap::meet(&identity, &listener, record, deadline).unwrap();
    let inbox = listener.subscribe(&world.secret, Target::Rank(world.rank)).unwrap();
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let nodes = Nodes::new(world.nodes()).unwrap();
    let ways = Arc::new(Neighbourhood::new(&settings, &world, &nodes).ways());
    let watched = (&doorbell, &ways);
    let monitor = start_monitor(&settings, &world, &Arc::new(inbox), watched, deadline).unwrap();
    thread::sleep(after);
    drop(monitor);
}

/// What the others of three ranks get when `victim` dies, and how long after its death at most.
fn errors_of_a_death(victim: u32, transport: Transport) -> Vec<(Error, Duration)> {
    const ALIVE: Duration = Duration::from_millis(300);
    let (_meeting, id) = Meeting::open().unwrap();
    let settings =
        |rank| Settings::default().rank(rank).size(3).id(id.clone()).transport(transport);
    thread::scope(|scope| {
        let began = Instant::now();
        let resolved = settings(victim).resolve(BTreeMap::new()).unwrap();
        scope.spawn(|| die_while_connecting(resolved, ALIVE));
        let others = (0..3).filter(|&rank| rank != victim);
        let others: Vec<_> = others
            .map(|rank| {
                let settings = settings(rank);
                scope.spawn(move || (settings.connect().err(), began.elapsed()))
            })
            .collect();
        let ends = others.into_iter().map(|other| other.join().unwrap());
        ends.map(|(error, took)| (error.unwrap(), took.saturating_sub(ALIVE))).collect()
    })
}

#[test]
fn a_rank_that_dies_while_all_connect_is_named_by_all_others_within_a_second() {
    let cases = [(0, Transport::Tcp), (0, Transport::SharedMemory), (2, Transport::SharedMemory)];
    for (victim, transport) in cases {
        for (error, took) in errors_of_a_death(victim, transport) {
            let text = error.report();
            let Error::Failed(failure) = error else { panic!("{text}") };
            assert_eq!((failure.culprit, failure.cause), (Some(victim), Cause::Died), "{text}");
            assert_eq!(failure.host, crosstie_net::host_name());
            assert!(text.contains("CT-060") && text.contains("while connecting"), "{text}");
            assert!(took < Duration::from_secs(1), "{transport:?}: {took:?}\n{text}");
        }
    }
}

mod network;
