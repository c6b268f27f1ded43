//! Owns what every transport must do: one suite, run for each of them, bare and behind a faulty
//! wrapper.
//!
//! A transport's test names how a world of endpoints is made, and [`conformance!`](crate::conformance!)
//! turns each function of this module into a test of it.

mod flow;
mod lending;
mod order;
mod peers;
mod script;

pub use flow::{
    a_connection_holds_as_many_messages_as_it_has_slots,
    a_receiver_slower_than_its_sender_loses_nothing,
    a_sender_slower_than_its_receiver_loses_nothing, an_endpoint_that_drained_may_end,
    connections_of_one_wire_do_not_wait_for_one_that_is_never_received,
    receives_posted_ahead_take_their_messages_in_order,
};
pub use lending::{
    a_connection_lends_as_many_messages_as_it_has_slots,
    a_lent_message_longer_than_its_receive_is_an_error,
    a_lent_message_that_is_taken_over_is_back_unchanged,
    a_peer_that_leaves_keeps_nothing_and_lends_nothing, messages_longer_than_slots_are_lent_whole,
    what_was_lent_is_back_when_it_was_released, what_was_withdrawn_is_never_used,
};
pub use order::{
    counters_count_every_message_and_byte, every_length_around_a_limit_arrives,
    every_message_carries_the_tag_of_the_call_it_was_begun_in,
    messages_of_a_connection_arrive_in_order,
};
pub use peers::{
    a_dead_peer_is_an_error_in_every_state, a_message_longer_than_its_receive_is_an_error,
    what_a_dead_peer_had_sent_still_arrives,
};
pub use script::{any_interleaving_delivers_every_message, ranks_in_threads_exchange_everything};

use crosstie_transport::seam::{Endpoint, Limits};

use crate::faulty::{Faults, Faulty};
use crate::world::World;

/// Makes the endpoints of a world, in rank order.
pub type Connect = fn(ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>>;

/// A transport as the suite sees it.
#[derive(Clone, Copy)]
pub struct Subject {
    /// How its worlds are made.
    pub connect: Connect,
    /// Behind the faulty wrapper, and with which seed; `None` for bare.
    pub faults: Option<u64>,
}

/// Limits that are small enough to reach, and large enough for several pieces.
pub const LIMITS: Limits = Limits { slots: 4, slot_bytes: 300 * 1024 };

impl Subject {
    /// The endpoints of a world, wrapped as the subject says.
    pub fn endpoints(&self, ranks: u32, channels: u16, limits: Limits) -> Vec<Box<dyn Endpoint>> {
        let ends = (self.connect)(ranks, channels, limits);
        let Some(seed) = self.faults else { return ends };
        let wrap = |(rank, end)| -> Box<dyn Endpoint> {
            Box::new(Faulty::new(end, Faults::DELAYS, seed + rank))
        };
        (0..).zip(ends).map(wrap).collect()
    }

    /// A world driven by one thread.
    pub fn world(&self, ranks: u32, channels: u16, limits: Limits) -> World {
        World::new(self.endpoints(ranks, channels, limits))
    }
}

/// Makes a module of tests out of the suite: `conformance!(name, subject)`, where `subject` is an
/// expression of type [`Subject`]; with a third argument, tests that are ignored for that reason.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $subject:expr) => {
        $crate::conformance!(@all $name, $subject, []);
    };
    ($name:ident, $subject:expr, $ignored:literal) => {
        $crate::conformance!(@all $name, $subject, [#[ignore = $ignored]]);
    };
    (@all $name:ident, $subject:expr, $attributes:tt) => {
        $crate::conformance!($name, $subject, $attributes;
            messages_of_a_connection_arrive_in_order,
            every_length_around_a_limit_arrives,
            every_message_carries_the_tag_of_the_call_it_was_begun_in,
            counters_count_every_message_and_byte,
            a_connection_holds_as_many_messages_as_it_has_slots,
            connections_of_one_wire_do_not_wait_for_one_that_is_never_received,
            a_sender_slower_than_its_receiver_loses_nothing,
            a_receiver_slower_than_its_sender_loses_nothing,
            receives_posted_ahead_take_their_messages_in_order,
            an_endpoint_that_drained_may_end,
            a_message_longer_than_its_receive_is_an_error,
            a_dead_peer_is_an_error_in_every_state,
            what_a_dead_peer_had_sent_still_arrives,
            what_was_lent_is_back_when_it_was_released,
            a_connection_lends_as_many_messages_as_it_has_slots,
            a_lent_message_that_is_taken_over_is_back_unchanged,
            a_lent_message_longer_than_its_receive_is_an_error,
            messages_longer_than_slots_are_lent_whole,
            what_was_withdrawn_is_never_used,
            a_peer_that_leaves_keeps_nothing_and_lends_nothing,
            any_interleaving_delivers_every_message,
            ranks_in_threads_exchange_everything,
        );
    };
    ($name:ident, $subject:expr, $attributes:tt; $($test:ident,)+) => {
        mod $name {
            #[allow(unused_imports, reason = "the subject may name what is around it")]
            use super::*;
            $($crate::conformance!(@one $test, $subject, $attributes);)+
        }
    };
    (@one $test:ident, $subject:expr, [$($attribute:tt)*]) => {
        #[test]
        $($attribute)*
        fn $test() {
            $crate::conformance::$test(&$subject);
        }
    };
}
