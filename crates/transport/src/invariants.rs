//! Owns the list of what must hold between sender, relay and receiver, and of what watches over each.
//!
//! *Assertion*: a `debug_assert!` that begins with the invariant's name, so every test of a debug build checks
//! it. *Violation*: a peer could break it, so it is an error in every build. *Model*: a loom test on the
//! production source (`ci/loom`), with others that leave out a fence or a rule and must fail. *Programs*:
//! `tests/programs`, random programs in random clusters against an ample world.
//!
//! | | what holds | where it is watched |
//! |---|---|---|
//! | I1 | at most 8 receives of a connection are granted and not complete | assertion in `tcp/receiving.rs` (`post`); a grant that is ahead of its sender is a violation |
//! | I2 | each slot of a relay box is free, or counted for the wire of the piece in it | assertions in `tcp/feeder.rs` and `relay/ends.rs`; models of `relay/words.rs` |
//! | I3 | no slot is taken for a message without a grant | assertion in `tcp/sending.rs` (`take`); the order of `Feeder::feed` |
//! | I4 | a piece lands where its connection expects the next byte | violations in `tcp/receiving.rs` (`accept`); assertion in `landed` |
//! | I5 | a message travels under one permission: the grant that names it, or a standing slot | violations in `tcp/receiving.rs`; assertions in `tcp/sending.rs` (`take`) |
//! | I6 | a standing slot that is offered is empty | violation and assertion in `tcp/receiving.rs` (`accept_eager`); programs fill and empty every connection at the end |
//! | I7, I8 | work requests and mask bits are of open members | not applicable: verbs |
//! | I9 | nothing is written to memory that went back | assertion in `tcp/receiving.rs` (`release`); after a failure, the models of `owner` and `sender_word` |
//! | I10 | when nothing is under way, every slot is free and every credit is back | programs: `TcpEndpoint::held` is nothing, and each connection holds as many messages as it has slots |
//! | I11 | a piece that is ready leaves within its bound and one round | `tests/relays.rs`, by what is due and the counters of flushes |
//! | I12 | who sleeps has seen all work, or is rung | models of `owner` (rules 3, 4, 6) and of `relay/words.rs` (rule 4) |
//!
//! Three rules of the protocol are models, too. S1: one word says who drives, and whether to ring (`owner`;
//! the helper thread of a relay waits at the same bell, and gives on a ring that was not for it). F5: whoever
//! waits for a credit is rung; each source has a pool of its own with each relay, so it is one source that waits
//! for several pools (`relay/words.rs`). B2: memory goes back after a failure only when its driver has said so
//! while it drove (`owner`), and what was lent is not used after it was withdrawn (`sender_word`).
