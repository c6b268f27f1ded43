//! The ideas behind the library, and what follows from them.
//!
//! # A collective is a value
//!
//! For each operation and each algorithm the planner writes a *plan*: for every rank, blocks of instructions over named
//! connections. The executor runs that value, `crosstie plan` shows it, and a verifier proves it: that the result is the
//! operation's, that nothing waits for ever, and that no two instructions touch the same bytes at once, whatever the
//! order in which messages arrive. Ranks make their plans alike from what they all know; that they know the same is
//! compared when they meet ([`Communicator::inputs`](crate::Communicator::inputs)).
//!
//! It follows that a call's result does not depend on timing: equal calls in equal worlds give equal bits.
//!
//! ```
//! use crosstie::{ReduceOp, Threads};
//!
//! let run = || {
//!     Threads::new(3).run(|mut comm| {
//!         let mine = [0.1_f32 * (comm.rank() + 1) as f32; 100];
//!         let mut sum = [0.0; 100];
//!         comm.all_reduce(&mine, &mut sum, ReduceOp::Sum)?;
//!         Ok(sum.map(f32::to_bits))
//!     })
//! };
//! assert_eq!(run()?, run()?);
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! With [`ReductionOrder::Canonical`](crate::ReductionOrder::Canonical) they are equal in any world of as many ranks, on
//! any machines and by any algorithm.
//!
//! # How bytes travel is the connection's business
//!
//! A plan says which rank sends which part to which. Whether that goes by shared memory, TCP or verbs, directly or by
//! way of a relay on the sender's node (PXN), alone or with others in one wire message, is decided below it: the same
//! plan runs everywhere.
//!
//! # Whoever waits, drives
//!
//! A call that blocks moves its messages in the caller's own thread. Calls that return at once are carried on by a
//! thread of the communicator's, or by whoever waits for one. A third thread, the monitor, never touches data: it knows
//! which ranks live, and spreads the first report of a failure.
//!
//! # Buffers in flight cannot be freed
//!
//! A call either borrows its buffers until it returns, owns them until they are waited for
//! ([`owned`](crate::Communicator::owned)), or runs in a [`scope`](crate::Communicator::scope), which ends when all its
//! calls have. Safe code cannot read a result too early or free a buffer too soon.
//!
//! # A failure has a name
//!
//! Every call has a deadline, meeting and connecting included. When a rank dies or is late, all others return the same
//! verdict: see [`errors`](crate::manual::errors).
