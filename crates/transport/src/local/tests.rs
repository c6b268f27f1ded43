use super::*;
use crate::loopback::Fabric;

const LIMITS: Limits = Limits { slots: 4, slot_bytes: 4096 };
const HEAP_BYTES: usize = 1 << 20;

/// Two ranks, the second with a receive of 2000 bytes posted.
fn pair() -> (LocalEndpoint, LocalEndpoint, Receiver) {
    let fabric = Fabric::with_heaps(2, 1, LIMITS, HEAP_BYTES).unwrap();
    let [sender, mut receiver] = [0, 1].map(|rank| {
        let doorbell = Arc::new(Doorbell::new().unwrap());
        fabric.endpoint(rank, doorbell).unwrap()
    });
    let port = receiver.receiver(0, 0).unwrap();
    receiver.post(&[Grant { receiver: port, limit: 2000, place: None }]).unwrap();
    (sender, receiver, port)
}

#[test]
fn a_peer_that_lends_what_it_has_not_is_an_error_that_says_what() {
    let lies = [(HEAP_BYTES as u64, 8), (HEAP_BYTES as u64 - 1999, 2000), (u64::MAX, 2000)];
    for (offset, len) in lies {
        let (mut sender, mut receiver, port) = pair();
        let _mapped = sender.heap.alloc(1).unwrap();
        assert!(sender.senders[0].begin_lend(From::Heap(offset), len, 0).unwrap());
        sender.commit(Sender(0)).unwrap();
        let error = receiver.poll(port).unwrap_err();
        assert!(matches!(error, TransportError::PeerMisbehaved { peer: 0, .. }), "{error}");
        assert!(error.to_string().contains(&format!("{len} bytes at {offset}")), "{error}");
    }
}

#[test]
fn a_length_that_was_lied_about_is_an_error() {
    let (mut sender, mut receiver, port) = pair();
    assert!(sender.senders[0].begin_lend(From::Heap(0), usize::MAX, 0).unwrap());
    sender.commit(Sender(0)).unwrap();
    let error = receiver.poll(port).unwrap_err();
    assert!(matches!(error, TransportError::Truncated { len: u64::MAX, .. }), "{error}");
}

#[test]
fn from_how_many_bytes_on_values_are_lent_can_be_said() {
    let (mut sender, _receiver, _) = pair();
    let heap = sender.heap.alloc(SHORTEST_LENT).unwrap().leak();
    let short = heap.part(1, 1).unwrap();
    sender.lend_from(1);
    let lent = sender.begin_lend(Sender(0), short).unwrap();
    assert!(matches!(lent, Some(SendSpace::Lent)));
    sender.lend_from(usize::MAX);
    let copied = sender.begin_lend(Sender(0), heap).unwrap();
    assert!(matches!(copied, Some(SendSpace::Slot(_))));
}

#[test]
fn what_is_short_or_elsewhere_is_copied() {
    let (mut sender, _receiver, _) = pair();
    let heap = sender.heap.alloc(SHORTEST_LENT).unwrap().leak();
    let lent = sender.begin_lend(Sender(0), heap).unwrap();
    assert!(matches!(lent, Some(SendSpace::Lent)));
    let short = heap.part(1, SHORTEST_LENT - 1).unwrap();
    let elsewhere = Region::leak(vec![0; SHORTEST_LENT].into());
    for value in [short, elsewhere] {
        let copied = sender.begin_lend(Sender(0), value).unwrap();
        assert!(matches!(copied, Some(SendSpace::Slot(slot)) if slot.len() == value.len()));
    }
}
