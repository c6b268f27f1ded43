//! Owns the part of the suite on lending: what is lent arrives unread by copies, comes back when it was
//! released and not before, and is never used once it was withdrawn. Transports that lend nothing pass
//! by copying.

use crosstie_transport::seam::{Grant, Receiver, SendSpace};
use crosstie_transport::{Region, TransportError};

use super::{LIMITS, Subject};
use crate::world::{Path, World, message};

const THERE: Path = Path { src: 0, dst: 1, channel: 0 };
const LEN: usize = 20_000;

/// Memory of the heap of `rank` that holds `bytes`; `None` where nothing is lent.
fn lendable(world: &mut World, rank: u32, bytes: &[u8]) -> Option<Region> {
    let heap = world.end(rank).heap()?.clone();
    let mut block = heap.alloc(bytes.len()).expect("the heap has room");
    block.as_mut_slice().copy_from_slice(bytes);
    Some(block.leak())
}

/// Lends `value`, however long its peer takes to make room; `false` where it was copied.
fn lend(world: &mut World, path: Path, value: Region) -> bool {
    let port = world.end(path.src).sender(path.dst, path.channel).expect("the path exists");
    let space = world.until("room to lend", |world| {
        world.end(path.src).begin_lend(port, value).expect("the peer is alive")
    });
    match space {
        SendSpace::Lent => {}
        SendSpace::Slot(slot) => assert!(slot.copy_from(value), "a slot holds its message"),
        SendSpace::Direct => panic!("a transport with a heap sends nothing directly"),
    }
    world.end(path.src).commit(port).expect("the peer is alive");
    matches!(space, SendSpace::Lent)
}

fn receiver(world: &mut World, path: Path) -> Receiver {
    world.end(path.dst).receiver(path.src, path.channel).expect("the path exists")
}

fn post(world: &mut World, path: Path, limit: usize) -> Receiver {
    let receiver = receiver(world, path);
    let grant = Grant { receiver, limit, place: None };
    world.end(path.dst).post(&[grant]).expect("the peer is alive");
    receiver
}

fn settled(world: &mut World, rank: u32) -> bool {
    world.progress();
    world.end(rank).borrower().is_none()
}

/// A lent message is read where it lies, also after its sender wrote to it once more; it is back when
/// it was released, and only then, whatever was copied before and after it.
pub fn what_was_lent_is_back_when_it_was_released(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    let Some(value) = lendable(&mut world, 0, &message(THERE, 0, LEN)) else { return };
    world.send(THERE, b"before");
    assert!(settled(&mut world, 0), "nothing was lent yet");
    assert!(lend(&mut world, THERE, value), "a heap's memory is lent");
    world.send(THERE, b"after");
    assert_eq!(world.receive(THERE, 6, false), b"before");
    assert!(value.fill(b"late"), "it is longer");
    let port = post(&mut world, THERE, LEN);
    let arrival = world.until("the lent message", |world| world.end(1).poll(port).expect("alive"));
    assert!(arrival.lent && !arrival.placed);
    let mut expected = message(THERE, 0, LEN);
    expected[..4].copy_from_slice(b"late");
    assert!(arrival.bytes.to_vec() == expected, "it is read where it lies");
    world.end(1).intact(port).expect("it is still lent");
    for _ in 0..100 {
        assert_eq!(world.end(0).borrower(), Some(1), "it is not back before its release");
        world.progress();
    }
    world.end(1).release(port);
    world.until("the release", |world| settled(world, 0).then_some(()));
    assert_eq!(world.receive(THERE, 6, false), b"after");
}

/// As many messages can be lent as there are slots, several of one piece of memory too; all are back
/// when the last is released.
pub fn a_connection_lends_as_many_messages_as_it_has_slots(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    let bytes = message(THERE, 0, LEN);
    let Some(value) = lendable(&mut world, 0, &bytes) else { return };
    for round in 0..3 {
        for _ in 0..LIMITS.slots {
            lend(&mut world, THERE, value);
        }
        let port = world.end(0).sender(1, 0).expect("the path exists");
        for _ in 0..100 {
            let more = world.end(0).begin_lend(port, value).expect("the peer is alive");
            assert!(more.is_none(), "there is no slot left");
        }
        for _ in 0..LIMITS.slots {
            assert!(!settled(&mut world, 0), "one is still lent in round {round}");
            assert!(world.receive(THERE, LEN, false) == bytes);
        }
        world.until("the last release", |world| settled(world, 0).then_some(()));
    }
}

/// A receiver that has to overwrite what it was lent takes it over: its sender has it back at once,
/// unchanged.
pub fn a_lent_message_that_is_taken_over_is_back_unchanged(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    let bytes = message(THERE, 0, LEN);
    let Some(value) = lendable(&mut world, 0, &bytes) else { return };
    for _ in 0..3 {
        lend(&mut world, THERE, value);
        let port = post(&mut world, THERE, LEN);
        world.until("the lent message", |world| world.end(1).poll(port).expect("alive"));
        let own = world
            .until("taking it over", |world| world.end(1).take_over(port).expect("still lent"));
        assert!(!own.lent && own.bytes.to_vec() == bytes);
        world.until("the release", |world| settled(world, 0).then_some(()));
        assert!(own.bytes.fill(&[0; LEN]), "it may be overwritten");
        assert!(value.to_vec() == bytes, "the sender's memory is its own");
        world.end(1).release(port);
        assert_eq!(world.end(1).poll(port).expect("alive").map(|a| a.tag), None);
    }
    world.send(THERE, b"next");
    assert_eq!(world.receive(THERE, 4, false), b"next");
}

/// Both ends learn that a lent message did not fit its receive, and its sender has its memory back.
pub fn a_lent_message_longer_than_its_receive_is_an_error(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    let Some(value) = lendable(&mut world, 0, &[1; LEN]) else { return };
    lend(&mut world, THERE, value);
    let port = post(&mut world, THERE, LEN - 1);
    let error = world.until("the error", |world| world.end(1).poll(port).err());
    let fits = |error: &TransportError| {
        matches!(*error, TransportError::Truncated { peer: 0, len, limit, .. }
            if (len, limit) == (LEN as u64, LEN as u64 - 1))
    };
    assert!(fits(&error), "{error}");
    world.until("its memory back", |world| settled(world, 0).then_some(()));
    let sender = world.end(0).sender(1, 0).expect("the path exists");
    let error = world.until("the error", |world| world.end(0).begin_lend(sender, value).err());
    assert!(fits(&error), "{error}");
}

/// Messages longer than any slot are lent whole, up to what the transport says.
pub fn messages_longer_than_slots_are_lent_whole(subject: &Subject) {
    let mut world = subject.world(2, 1, LIMITS);
    let Some(limits) = world.end(0).lends() else { return };
    let len = limits.at_most.min(3 * LIMITS.slot_bytes + 5);
    assert!(len > LIMITS.slot_bytes && limits.at_least <= LEN);
    let bytes = message(THERE, 0, len);
    let Some(value) = lendable(&mut world, 0, &bytes) else { return };
    assert!(lend(&mut world, THERE, value));
    assert!(world.receive(THERE, len, false) == bytes);
}

/// A sender that has given its operation up may change what it lent: whoever has not read it by then
/// learns that it must not, what was copied still arrives, and its own memory is its own.
pub fn what_was_withdrawn_is_never_used(subject: &Subject) {
    for arrived in [false, true] {
        let mut world = subject.world(2, 1, LIMITS);
        let Some(value) = lendable(&mut world, 0, &[1; LEN]) else { return };
        world.send(THERE, b"copied");
        lend(&mut world, THERE, value);
        if arrived {
            assert_eq!(world.receive(THERE, 6, false), b"copied");
            let port = post(&mut world, THERE, LEN);
            world.until("the lent message", |world| world.end(1).poll(port).expect("alive"));
        }
        world.end(0).withdraw();
        assert!(settled(&mut world, 0), "it is nobody's but its owner's");
        let error = if arrived {
            let port = receiver(&mut world, THERE);
            world.end(1).intact(port).expect_err("it was withdrawn")
        } else {
            assert_eq!(world.receive(THERE, 6, false), b"copied");
            let port = post(&mut world, THERE, LEN);
            world.until("the error", |world| world.end(1).poll(port).err())
        };
        assert!(matches!(error, TransportError::Withdrawn { peer: 0 }), "{error}");
    }
}

/// What a rank that leaves was lent is back; what a rank that leaves had lent is not used.
pub fn a_peer_that_leaves_keeps_nothing_and_lends_nothing(subject: &Subject) {
    for lender_dies in [false, true] {
        let mut world = subject.world(2, 1, LIMITS);
        let Some(value) = lendable(&mut world, 0, &[1; LEN]) else { return };
        lend(&mut world, THERE, value);
        let port = post(&mut world, THERE, LEN);
        world.until("the lent message", |world| world.end(1).poll(port).expect("alive"));
        if lender_dies {
            world.kill(0);
            let error = world.end(1).intact(port).expect_err("its sender is gone");
            assert!(matches!(error, TransportError::PeerGone { peer: 0, .. }), "{error}");
        } else {
            world.kill(1);
            world.until("its memory back", |world| settled(world, 0).then_some(()));
        }
    }
}
