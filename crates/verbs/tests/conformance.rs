//! Wires over queue pairs against the suite of all transports, on the devices of the verbs machine (`ci/rxe`).

#![cfg(test)]

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

use crosstie_testkit::conformance;
use crosstie_testkit::conformance::{LIMITS, Subject};
use crosstie_transport::seam::{Endpoint, Grant, Limits, SendSpace};
use crosstie_transport::tcp::Stream;
use crosstie_transport::{Heap, HeapBlock, Region};
use crosstie_verbs::wires::{Load, Nic, Nics, VerbsEndpoint, from_streams};
use crosstie_verbs::{Library, Service};

const BARE: Subject = Subject { connect: on_two_nodes, faults: None };

conformance!(bare, BARE, "needs the verbs machine (ci/rxe)");
conformance!(
    behind_delays,
    Subject { faults: Some(1), ..BARE },
    "needs the verbs machine (ci/rxe)"
);
conformance!(
    on_four_lanes,
    Subject { connect: on_four_lanes, ..BARE },
    "needs the verbs machine (ci/rxe)"
);
conformance!(
    on_two_nics,
    Subject { connect: on_two_nics, ..BARE },
    "needs the verbs machine (ci/rxe)"
);
conformance!(
    with_numbers_that_wrap,
    Subject { connect: where_numbers_wrap, ..BARE },
    "needs the verbs machine (ci/rxe)"
);

fn on_two_nodes(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    endpoints(ranks, channels, limits).into_iter().map(|end| Box::new(end) as _).collect()
}

fn where_numbers_wrap(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    let mut ends = endpoints(ranks, channels, limits);
    ends.iter_mut().for_each(|end| end.number_from(u32::MAX - 2));
    ends.into_iter().map(|end| Box::new(end) as _).collect()
}

/// Even ranks are on one node, odd ones on the other; all on rail 0.
fn nic(rank: u32) -> Nic {
    Nic {
        device: format!("rxe_n{}r0", rank % 2),
        port: 1,
        rail: Some(0),
        gid: None,
        service: Service::default(),
        queue_pairs: 1,
        stall: Duration::from_secs(10),
    }
}

fn on_four_lanes(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    let nics = (0..ranks).map(|rank| Nic { queue_pairs: 4, ..nic(rank) }.into()).collect();
    boxed(by_nics(nics, no_heaps(ranks), channels, limits))
}

/// Every wire is on both rails, of which one rank in two takes the other first: its peers are told so.
fn on_two_nics(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    let nics = |rank: u32| {
        let on_rail = |rail| Nic {
            device: format!("rxe_n{}r{rail}", rank % 2),
            rail: Some(rail),
            ..nic(rank)
        };
        let of_wire = |peer: u32| match (rank + peer) % 2 {
            0 => (peer, vec![Ok(0), Ok(1)]),
            _ => (peer, vec![Ok(1), Ok(0)]),
        };
        Nics { all: vec![on_rail(0), on_rail(1)], of_wire: (0..ranks).map(of_wire).collect() }
    };
    boxed(by_nics((0..ranks).map(nics).collect(), no_heaps(ranks), channels, limits))
}

fn boxed(ends: Vec<VerbsEndpoint>) -> Vec<Box<dyn Endpoint>> {
    ends.into_iter().map(|end| Box::new(end) as _).collect()
}

fn no_heaps(ranks: u32) -> Vec<Option<Heap>> {
    (0..ranks).map(|_| None).collect()
}

fn endpoints(ranks: u32, channels: u16, limits: Limits) -> Vec<VerbsEndpoint> {
    with_heaps(no_heaps(ranks), channels, limits)
}

/// One for each heap.
fn with_heaps(heaps: Vec<Option<Heap>>, channels: u16, limits: Limits) -> Vec<VerbsEndpoint> {
    by_nics((0..heaps.len() as u32).map(|rank| nic(rank).into()).collect(), heaps, channels, limits)
}

/// One for each heap, with these NICs.
fn by_nics(
    nics: Vec<Nics>,
    heaps: Vec<Option<Heap>>,
    channels: u16,
    limits: Limits,
) -> Vec<VerbsEndpoint> {
    let library = Library::open().unwrap();
    let ranks = heaps.len() as u32;
    let mut streams: Vec<Vec<Stream>> = (0..ranks).map(|_| Vec::new()).collect();
    for low in 0..ranks {
        for high in low + 1..ranks {
            let (a, b) = pair();
            streams[low as usize].push(Stream::direct(low, high, a));
            streams[high as usize].push(Stream::direct(high, low, b));
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    thread::scope(|scope| {
        let connect = |(rank, ((streams, heap), nics))| {
            let library = &library;
            scope.spawn(move || {
                let shape = (channels, limits);
                from_streams(library, (&nics, heap), rank, streams, shape, deadline)
            })
        };
        let threads: Vec<_> =
            (0..).zip(streams.into_iter().zip(heaps).zip(nics)).map(connect).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    })
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (a, listener.accept().unwrap().0)
}

fn region(block: &mut HeapBlock) -> Region {
    let bytes = block.as_mut_slice();
    // SAFETY: the block outlives what is done with the region in these tests, and is not touched meanwhile.
    unsafe { Region::from_raw_parts(NonNull::from(&mut *bytes).cast(), bytes.len()) }
}

/// Sends a message from rank 0 to rank 1; whether it arrived in the place that was given for it.
fn send(ends: &mut [VerbsEndpoint], value: Region, place: Region) -> bool {
    let [from, to] = ends else { panic!("two ends") };
    let (sender, receiver) = (from.sender(1, 0).unwrap(), to.receiver(0, 0).unwrap());
    to.post(&[Grant { receiver, limit: place.len(), place: Some(place) }]).unwrap();
    let began = Instant::now();
    let mut sent = false;
    loop {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing arrives");
        from.progress().unwrap();
        to.progress().unwrap();
        if !sent && let Some(space) = from.begin_send(sender, value.len()).unwrap() {
            assert!(matches!(space, SendSpace::Direct), "{space:?}");
            from.send_from(sender, value).unwrap();
            sent = true;
        }
        if let Some(arrival) = to.poll(receiver).unwrap() {
            to.release(receiver);
            while !from.sent(sender) {
                from.progress().unwrap();
            }
            return arrival.placed;
        }
    }
}

/// Pages that this process has pinned, and of the device `rxe_n0r0`: queue pairs, completion queues, memory regions.
fn taken() -> [u64; 4] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let pinned = status.lines().find_map(|line| line.strip_prefix("VmPin:")).unwrap();
    let pinned = pinned.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    let told = Command::new("rdma").args(["resource", "show", "rxe_n0r0"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let words: Vec<&str> = told.split_whitespace().collect();
    let count = |what: &str| {
        let at = words.iter().position(|word| *word == what).unwrap();
        words[at + 1].parse::<u64>().unwrap()
    };
    [pinned * 1024, count("qp"), count("cq"), count("mr")]
}

/// The kernel counts what was made.
#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn wires_take_what_was_told_before_they_were_made() {
    let told = Load::none(3, LIMITS).and(0, (&[0], &[1]), (0, 0)).needs(2);
    let before = taken();
    let nics = (0..2).map(|rank| Nic { queue_pairs: 2, ..nic(rank) }.into()).collect();
    let ends = by_nics(nics, no_heaps(2), 3, LIMITS);
    let after = taken();
    drop(ends);
    let [pinned, pairs, queues, regions] = [0, 1, 2, 3].map(|at| after[at] - before[at]);
    // Rank 1 is on another device.
    assert_eq!(pinned, 2 * told.pinned_bytes, "bytes pinned");
    assert_eq!((pairs, queues, regions), (told.queue_pairs, told.completion_queues, told.regions));
    assert_eq!(taken(), before, "nothing is left");
}

/// A device that still knew the pages of the block before would write there, and the bytes be lost.
#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn buffers_of_a_heap_are_sent_from_and_written_where_they_lie_also_where_others_were() {
    const LEN: usize = 200_000;
    let heaps = [0, 1].map(|_| Heap::shared(16 << 20).unwrap());
    let mut ends = with_heaps(heaps.iter().cloned().map(Some).collect(), 1, LIMITS);
    let mut places = Vec::new();
    for round in 0..4u8 {
        let [mut value, mut place] = [0, 1].map(|rank: usize| heaps[rank].alloc(LEN).unwrap());
        value.as_mut_slice().iter_mut().zip(0u32..).for_each(|(b, i)| *b = i as u8 ^ round);
        assert!(send(&mut ends, region(&mut value), region(&mut place)));
        assert!(place.as_slice() == value.as_slice(), "round {round}");
        places.push(place.as_slice().as_ptr());
    }
    assert!(places.iter().all(|place| *place == places[0]), "the same place each time");
}
