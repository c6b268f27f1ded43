//! Networks that cut the connection of two ranks, or swallow what it carries, and what the ranks make of it.

use std::sync::Barrier;

use crosstie_bootstrap::{Wait, WaitOn};
use crosstie_testkit::proxy::Proxy;

use super::*;
use crate::ReduceOp;

const RANKS: u32 = 3;
/// Rank 1 dials rank 2 for their data.
const ENDS: [u32; 2] = [1, 2];
const STALL: Duration = Duration::from_millis(500);

/// Connects as the public way does, but for rank 1, which reaches rank 2 by way of `proxy`.
fn connect_through(settings: Settings, proxy: &OnceLock<Proxy>) -> Communicator {
    let settings = settings.resolve(BTreeMap::new()).unwrap();
    let deadline = Instant::now() + settings.init_timeout;
    let identity = crosstie_launch::identify(&settings.explicit, &settings.environment).unwrap();
    let listener = Arc::new(Listener::open(&ListenOptions::default()).unwrap());
    let record = own_record(&settings, &identity, &listener).unwrap();
    let mut world = crosstie_bootstrap::meet(&identity, &listener, record, deadline).unwrap();
    if world.rank == ENDS[0] {
        let addresses = &mut world.records[ENDS[1] as usize].addresses;
        let proxy = proxy.get_or_init(|| Proxy::before(*addresses.last().unwrap()));
        *addresses = vec![proxy.address()];
    }
    join(settings, world, listener, deadline).unwrap()
}

/// All ranks' errors of sums of `count` numbers before which `trouble` has come over the network.
fn errors_of(count: usize, trouble: impl Fn(&Proxy) + Sync) -> Vec<Error> {
    let (_meeting, id) = Meeting::open().unwrap();
    let (proxy, troubled) = (OnceLock::new(), Barrier::new(RANKS as usize));
    thread::scope(|scope| {
        let ranks: Vec<_> = (0..RANKS)
            .map(|rank| {
                let settings = Settings::default().rank(rank).size(RANKS).id(id.clone());
                let settings = settings.transport(Transport::Tcp).stall(STALL);
                let (proxy, troubled, trouble) = (&proxy, &troubled, &trouble);
                scope.spawn(move || {
                    let mut comm = connect_through(settings, proxy);
                    let sum = |comm: &mut Communicator| {
                        let mut buffer = vec![1_u32; count];
                        comm.all_reduce_in_place(&mut buffer, ReduceOp::Sum)
                    };
                    sum(&mut comm).unwrap();
                    troubled.wait();
                    if rank == 0 {
                        trouble(proxy.get().unwrap());
                    }
                    troubled.wait();
                    // A rank that needs nothing over that connection is stopped in its next call.
                    sum(&mut comm).and_then(|()| sum(&mut comm)).unwrap_err()
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// The one failure that all ranks share.
fn shared(errors: Vec<Error>, code: &str) -> Box<Failure> {
    let texts: Vec<String> = errors.iter().map(Error::report).collect();
    let failures = errors.into_iter().map(|error| match error {
        Error::Failed(failure) => failure,
        other => panic!("{}", other.report()),
    });
    let failures: Vec<_> = failures.collect();
    for (failure, text) in failures.iter().zip(&texts) {
        assert!(text.starts_with(code) && !failure.provisional, "{text}");
        assert_eq!(failure.dump_json(), failures[0].dump_json(), "{text}");
    }
    failures.into_iter().next().unwrap()
}

#[test]
fn a_connection_that_swallows_is_found_by_the_first_missing_step() {
    for count in [1000, 3_000_000] {
        let began = Instant::now();
        let failure = shared(errors_of(count, |proxy| proxy.swallow(true)), "CT-068");
        assert!(began.elapsed() > STALL && began.elapsed() < 20 * STALL, "{:?}", began.elapsed());
        assert_eq!(failure.statements.len(), RANKS as usize, "{}", failure.dump());
        // Who waits, at which step of which block, for which message on which connection.
        let (waiter, first) = missing_step(&failure);
        let (WaitOn::Message { peer, channel, slot } | WaitOn::Room { peer, channel, slot }) =
            first.on
        else {
            panic!("{first}")
        };
        assert!(ENDS.contains(&waiter) && ENDS.contains(&peer) && waiter != peer, "{first}");
        assert_eq!(failure.culprit, Some(peer));
        let Wait { block, step, window, .. } = first;
        let named = [
            format!("rank {waiter}, block {block} step {step} window {window} waits for "),
            format!("(channel {channel}, slot {slot})"),
        ];
        assert!(named.iter().all(|part| failure.detail.contains(part)), "{}", failure.detail);
        assert!(failure.dump().contains(&first.to_string()), "{}", failure.dump());
    }
}

/// The wait that the verdict names as the first.
fn missing_step(failure: &Failure) -> (u32, Wait) {
    let named = failure.detail.split_once("the first missing step: ").unwrap().1;
    let waits = failure.statements.iter();
    let mut waits =
        waits.flat_map(|(rank, said)| said.waits.iter().map(move |wait| (*rank, *wait)));
    waits.find(|(rank, wait)| named == format!("rank {rank}, {wait}")).unwrap()
}

#[test]
fn a_connection_that_is_cut_is_blamed_on_the_network_between_its_ends() {
    for count in [1000, 3_000_000] {
        let began = Instant::now();
        let failure = shared(errors_of(count, |proxy| assert_eq!(proxy.cut(), 1)), "CT-071");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let ends = failure.ends.as_ref().unwrap();
        assert_eq!([ends[0].rank, ends[1].rank], ENDS, "{failure}");
        assert_eq!(failure.culprit, None, "{failure}");
        let host = crosstie_net::host_name();
        let named =
            format!("the link between rank 1 on host {host} and rank 2 on host {host} was cut");
        assert!(failure.to_string().starts_with(&named), "{failure}");
    }
}
