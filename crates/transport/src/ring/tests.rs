use super::*;

const LIMITS: Limits = Limits { slots: 2, slot_bytes: 100 };
const TAG: u32 = 0x00ab_cdef;

fn pair(limits: Limits) -> (SendEnd, ReceiveEnd) {
    let layout = Layout::new(limits).unwrap();
    let memory = Arc::new(Mapping::anonymous(layout.ring_bytes()).unwrap());
    (SendEnd::new(&memory, 0, layout, 4, 5), ReceiveEnd::new(&memory, 0, layout, 4))
}

fn bytes(region: Region) -> Vec<u8> {
    // SAFETY: the region is a slot that this test owns at the moment.
    unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()).to_vec() }
}

fn fill(region: Region, value: &[u8]) {
    assert_eq!(region.len(), value.len());
    // SAFETY: as above.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), region.as_ptr(), value.len()) };
}

fn send(end: &mut SendEnd, value: &[u8]) {
    fill(end.begin(value.len(), TAG).unwrap().expect("room"), value);
    assert_eq!(end.commit(), Some(value.len()));
}

fn arrived(end: &mut ReceiveEnd) -> Option<Arrival> {
    match end.poll().unwrap()? {
        Found::Here(arrival) => Some(arrival),
        Found::Away(_) => panic!("nobody lends here"),
    }
}

fn receive(end: &mut ReceiveEnd, limit: usize) -> Vec<u8> {
    end.post(limit, None);
    let arrival = arrived(end).expect("a message");
    assert_eq!(arrival.tag, TAG);
    let value = bytes(arrival.bytes);
    assert_eq!(end.release(), Some(value.len()));
    value
}

#[test]
fn messages_of_every_length_arrive_in_order() {
    let limits = Limits { slots: 3, slot_bytes: 5000 };
    let (mut sender, mut receiver) = pair(limits);
    for len in (0..200).chain([4095, 4096, 4097, 5000]) {
        let value: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        send(&mut sender, &value);
        assert_eq!(receive(&mut receiver, limits.slot_bytes), value);
    }
}

#[test]
fn slots_are_aligned_for_every_element_type() {
    let (mut sender, _) = pair(LIMITS);
    for len in [0, 8, INLINE_BYTES, INLINE_BYTES + 1, 100] {
        let slot = sender.begin(len, TAG).unwrap().unwrap();
        assert_eq!(slot.as_ptr() as usize % 16, 0);
        assert_eq!(sender.commit(), Some(len));
        (sender, _) = pair(LIMITS);
    }
}

#[test]
fn the_ring_holds_exactly_its_slots() {
    let (mut sender, mut receiver) = pair(LIMITS);
    send(&mut sender, b"one");
    send(&mut sender, b"two");
    assert!(sender.begin(5, TAG).unwrap().is_none());
    assert_eq!(receive(&mut receiver, 10), b"one");
    send(&mut sender, b"three");
    assert!(sender.begin(4, TAG).unwrap().is_none());
    assert_eq!(receive(&mut receiver, 10), b"two");
    assert_eq!(receive(&mut receiver, 10), b"three");
    receiver.post(10, None);
    assert!(receiver.poll().unwrap().is_none());
}

#[test]
fn a_message_longer_than_its_receive_is_an_error_on_both_ends() {
    let (mut sender, mut receiver) = pair(LIMITS);
    send(&mut sender, &[1; 60]);
    receiver.post(59, None);
    let error = receiver.poll().unwrap_err();
    let want = |peer, e: &TransportError| matches!(e, TransportError::Truncated { peer: p, sequence: 0, len: 60, limit: 59 } if *p == peer);
    assert!(want(4, &error), "{error}");
    let error = sender.begin(1, TAG).unwrap_err();
    assert!(want(4, &error), "{error}");
    // Leaving afterwards hides nothing.
    receiver.leave();
    let error = sender.begin(1, TAG).unwrap_err();
    assert!(want(4, &error), "{error}");
}

#[test]
fn what_was_sent_before_leaving_is_received_and_then_the_peer_is_gone() {
    let (mut sender, mut receiver) = pair(LIMITS);
    send(&mut sender, b"last");
    sender.leave();
    assert_eq!(receive(&mut receiver, 10), b"last");
    receiver.post(10, None);
    assert!(matches!(receiver.poll(), Err(TransportError::PeerGone { peer: 4, .. })));
}

#[test]
fn sending_to_a_receiver_that_left_is_an_error() {
    let (mut sender, receiver) = pair(LIMITS);
    receiver.leave();
    assert!(matches!(sender.begin(1, TAG), Err(TransportError::PeerGone { peer: 5, .. })));
}

#[test]
fn a_message_longer_than_a_slot_is_refused_before_it_is_sent() {
    let (mut sender, _receiver) = pair(LIMITS);
    let error = sender.begin(101, TAG).unwrap_err();
    assert!(matches!(error, TransportError::TooLong { peer: 5, len: 101, limit: 100 }), "{error}");
}

#[test]
fn words_that_a_peer_cannot_have_written_are_errors() {
    let (mut sender, mut receiver) = pair(LIMITS);
    send(&mut sender, b"x");
    receiver.ring.header(0).len.store(u64::MAX, Ordering::Relaxed);
    receiver.post(10, None);
    assert!(matches!(receiver.poll(), Err(TransportError::PeerMisbehaved { peer: 4, .. })));

    let (mut sender, _receiver) = pair(LIMITS);
    send(&mut sender, b"x");
    send(&mut sender, b"y");
    sender.ring.control().released.0.store(77, Ordering::Relaxed);
    assert!(matches!(sender.begin(1, TAG), Err(TransportError::PeerMisbehaved { peer: 5, .. })));
}

#[test]
fn memory_is_taken_up_by_use_alone() {
    let layout = Layout::new(Limits { slots: 8, slot_bytes: 128 << 10 }).unwrap();
    let (memory, fd) = Mapping::create("crosstie-test", 4 * layout.ring_bytes()).unwrap();
    let memory = Arc::new(memory);
    let pages = || rustix::fs::fstat(&fd).unwrap().st_blocks * 512 / PAGE_BYTES as i64;
    let mut sender = SendEnd::new(&memory, 2 * layout.ring_bytes(), layout, 4, 5);
    let mut receiver = ReceiveEnd::new(&memory, 2 * layout.ring_bytes(), layout, 4);
    assert_eq!(pages(), 0, "an unused connection takes nothing");
    for _ in 0..20 {
        send(&mut sender, b"tiny");
        assert_eq!(receive(&mut receiver, 4), b"tiny");
    }
    // One page; 512 where the host gives shared memory out in huge pages.
    assert!((1..=512).contains(&pages()), "tiny messages took {} pages", pages());
}

#[test]
fn limits_beyond_addresses_are_refused() {
    assert!(Layout::new(Limits { slots: 0, slot_bytes: 1 }).is_none());
    assert!(Layout::new(Limits { slots: 2, slot_bytes: usize::MAX / 2 }).is_none());
    assert!(Layout::new(Limits { slots: 1, slot_bytes: usize::MAX }).is_none());
    assert!(Layout::new(Limits { slots: 1, slot_bytes: 0 }).is_some());
}

#[test]
fn a_hurried_sender_and_receiver_agree() {
    let (mut sender, mut receiver) = pair(Limits { slots: 3, slot_bytes: 256 });
    let value = |i: u32| vec![i as u8; (i as usize * 37) % 257];
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..20_000 {
                let value = value(i);
                while sender.begin(value.len(), TAG).unwrap().is_none() {
                    std::thread::yield_now();
                }
                send(&mut sender, &value);
            }
        });
        for i in 0..20_000 {
            receiver.post(256, None);
            while receiver.poll().unwrap().is_none() {
                std::thread::yield_now();
            }
            assert_eq!(bytes(arrived(&mut receiver).unwrap().bytes), value(i));
            receiver.release();
        }
    });
}
