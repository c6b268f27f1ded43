//! Loopback against the suite of all transports.
#![cfg(not(loom))]

use std::sync::Arc;

use crosstie_testkit::conformance;
use crosstie_testkit::conformance::Subject;
use crosstie_transport::Doorbell;
use crosstie_transport::loopback::Fabric;
use crosstie_transport::seam::{Endpoint, Limits};

const BARE: Subject = Subject { connect, faults: None };

conformance!(bare, BARE);
conformance!(with_numbers_that_wrap, Subject { connect: where_numbers_wrap, ..BARE });
conformance!(behind_delays, Subject { faults: Some(2), ..BARE });

fn connect(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    connect_after(0, ranks, channels, limits)
}

/// Every number passes its end soon after the start.
fn where_numbers_wrap(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    connect_after(u32::MAX - 2, ranks, channels, limits)
}

fn connect_after(passed: u32, ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
    let fabric = Fabric::new(ranks, channels, limits).expect("memory");
    let end = |rank| -> Box<dyn Endpoint> {
        let doorbell = Arc::new(Doorbell::new().expect("an eventfd"));
        let mut end = fabric.endpoint(rank, doorbell).expect("each rank once");
        end.number_from(passed);
        Box::new(end)
    };
    (0..ranks).map(end).collect()
}
