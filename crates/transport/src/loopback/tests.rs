use std::time::Duration;

use super::*;
use crate::doorbell::Doorbell;
use crate::owner::Driver;
use crate::seam::{Endpoint, Grant, SendSpace};

const LIMITS: Limits = Limits { slots: 2, slot_bytes: 1000 };

fn world(ranks: u32, channels: u16) -> Vec<(Arc<Doorbell>, LocalEndpoint)> {
    let fabric = Fabric::new(ranks, channels, LIMITS).unwrap();
    let with_bell = |rank| {
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let endpoint = fabric.endpoint(rank, Arc::clone(&doorbell)).unwrap();
        (doorbell, endpoint)
    };
    (0..ranks).map(with_bell).collect()
}

fn send(endpoint: &mut LocalEndpoint, peer: u32, channel: u16, byte: u8) {
    let sender = endpoint.sender(peer, channel).unwrap();
    let Some(SendSpace::Slot(slot)) = endpoint.begin_send(sender, 1).unwrap() else {
        panic!("no room")
    };
    // SAFETY: the slot has one byte, and is ours until committed.
    unsafe { slot.as_ptr().write(byte) };
    endpoint.commit(sender).unwrap();
}

fn poll(endpoint: &mut LocalEndpoint, peer: u32, channel: u16) -> Option<u8> {
    let receiver = endpoint.receiver(peer, channel).unwrap();
    let arrival = endpoint.poll(receiver).unwrap()?;
    assert!(!arrival.placed);
    // SAFETY: the message has one byte, and is ours until released.
    let byte = unsafe { arrival.bytes.as_ptr().read() };
    endpoint.release(receiver);
    Some(byte)
}

fn post(endpoint: &mut LocalEndpoint, peer: u32, channel: u16) {
    let receiver = endpoint.receiver(peer, channel).unwrap();
    endpoint.post(&[Grant { receiver, limit: 1, place: None }]).unwrap();
}

#[test]
fn every_pair_and_channel_has_a_connection_of_its_own() {
    let mut world = world(3, 2);
    let name = |from: u32, to: u32, channel: u16| (from * 16 + to * 4 + u32::from(channel)) as u8;
    let all = || (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).filter(|(a, b)| a != b);
    for (from, to) in all() {
        for channel in 0..2 {
            send(&mut world[from as usize].1, to, channel, name(from, to, channel));
        }
    }
    for (from, to) in all() {
        for channel in 0..2 {
            post(&mut world[to as usize].1, from, channel);
            let got = poll(&mut world[to as usize].1, from, channel);
            assert_eq!(got, Some(name(from, to, channel)));
        }
    }
}

#[test]
fn connections_that_do_not_exist_are_not_found() {
    let world = world(2, 1);
    let endpoint = &world[0].1;
    assert!(endpoint.sender(1, 0).is_some());
    assert!(endpoint.sender(0, 0).is_none());
    assert!(endpoint.sender(2, 0).is_none());
    assert!(endpoint.receiver(1, 1).is_none());
}

#[test]
fn an_endpoint_is_given_once_and_only_to_ranks_that_exist() {
    let fabric = Fabric::new(2, 1, LIMITS).unwrap();
    let doorbell = Arc::new(Doorbell::new().unwrap());
    assert!(fabric.endpoint(2, Arc::clone(&doorbell)).is_err());
    let first = fabric.endpoint(0, Arc::clone(&doorbell));
    assert!(first.is_ok());
    assert!(fabric.endpoint(0, doorbell).is_err());
}

#[test]
fn a_message_and_a_credit_wake_their_sleepers() {
    let mut world = world(2, 1);
    let (b_bell, mut b) = world.pop().unwrap();
    let (a_bell, mut a) = world.pop().unwrap();
    let asleep = |bell: &Doorbell,
                  endpoint: &mut LocalEndpoint,
                  ready: &dyn Fn(&mut LocalEndpoint) -> bool| {
        endpoint.progress().unwrap();
        while !ready(endpoint) {
            bell.fall_asleep();
            if !ready(endpoint) {
                let start = std::time::Instant::now();
                bell.wait(&[], Duration::from_secs(20)).unwrap();
                assert!(start.elapsed() < Duration::from_secs(20), "a wake-up was lost");
            }
            assert!(bell.take(Driver::Application));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            assert!(a_bell.take(Driver::Application));
            let sender = a.sender(1, 0).unwrap();
            for i in 0..5000u32 {
                asleep(&a_bell, &mut a, &|a| a.begin_send(sender, 1).unwrap().is_some());
                send(&mut a, 1, 0, i as u8);
            }
            a.progress().unwrap();
        });
        assert!(b_bell.take(Driver::Application));
        let receiver = b.receiver(0, 0).unwrap();
        for i in 0..5000u32 {
            post(&mut b, 0, 0);
            asleep(&b_bell, &mut b, &|b| b.poll(receiver).unwrap().is_some());
            assert_eq!(poll(&mut b, 0, 0), Some(i as u8));
        }
        b.progress().unwrap();
    });
}

#[test]
fn a_peer_that_leaves_wakes_who_waits_for_it() {
    let mut world = world(2, 1);
    let (bell, mut b) = world.pop().unwrap();
    assert!(bell.take(Driver::Application));
    post(&mut b, 0, 0);
    bell.fall_asleep();
    drop(world);
    bell.wait(&[], Duration::from_secs(20)).unwrap();
    let receiver = b.receiver(0, 0).unwrap();
    assert!(matches!(b.poll(receiver), Err(TransportError::PeerGone { peer: 0, .. })));
}
