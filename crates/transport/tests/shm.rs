//! Shared memory against the suite of all transports: endpoints that met as processes do.
#![cfg(not(loom))]

use std::thread;
use std::time::{Duration, Instant};

use crosstie_net::Secret;
use crosstie_testkit::conformance;
use crosstie_testkit::conformance::Subject;
use crosstie_transport::Doorbell;
use crosstie_transport::seam::{Endpoint, Limits};
use crosstie_transport::shm::{self, ShmOptions};

const BARE: Subject = Subject { connect, faults: None };

conformance!(bare, BARE);
conformance!(behind_delays, Subject { faults: Some(3), ..BARE });
conformance!(with_numbers_that_wrap, Subject { connect: where_numbers_wrap, ..BARE });
conformance!(pulling, Subject { connect: connect_pulling, ..BARE });
conformance!(pulling_behind_delays, Subject { connect: connect_pulling, faults: Some(4) });

fn connect(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    connect_with(ranks, channels, limits, false, 0)
}

/// Messages that no heap has are read out of their senders' memory.
fn connect_pulling(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    connect_with(ranks, channels, limits, true, 0)
}

/// Every number passes its end soon after the start.
fn where_numbers_wrap(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    connect_with(ranks, channels, limits, true, u32::MAX - 2)
}

fn connect_with(
    ranks: u32,
    channels: u16,
    limits: Limits,
    pull: bool,
    passed: u32,
) -> Vec<Box<dyn Endpoint>> {
    let secret = Secret::generate().expect("random bytes");
    let deadline = Instant::now() + Duration::from_secs(10);
    let end = |rank| -> Box<dyn Endpoint> {
        let (secret, local_ranks) = (secret.clone(), (0..ranks).collect());
        let heap_bytes = 1 << 30;
        let options = ShmOptions {
            secret,
            rank,
            local_ranks,
            channels,
            limits,
            heap_bytes,
            pull,
            boxes: None,
            deadline,
        };
        let doorbell = Doorbell::new().expect("an eventfd");
        let mut end = shm::connect(&options, &doorbell, &|| false).expect("all are there");
        end.number_from(passed);
        Box::new(end)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..ranks).map(|rank| scope.spawn(move || end(rank))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}
