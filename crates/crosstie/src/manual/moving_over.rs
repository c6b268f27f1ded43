//! For programs that were written for NCCL or MPI.
//!
//! # From NCCL, without a change
//!
//! `ci/install PREFIX` installs `libnccl.so.2` and `nccl.h`: programs in C and C++ compile and link as before, on host
//! memory. Streams are not looked at; a call returns when it is complete. What is not there returns `ncclInvalidUsage`,
//! and `ncclGetLastError` says so: device memory, one-sided messages, growing and suspending communicators.
//!
//! # From NCCL, in Rust
//!
//! | NCCL | here |
//! |---|---|
//! | `ncclGetUniqueId`, `ncclCommInitRank` | [`Communicator::from_env`](crate::Communicator::from_env) under a launcher; else [`Meeting::open`](crate::Meeting::open) and [`Settings::id`](crate::Settings::id) |
//! | `ncclCommInitAll` | [`Threads`](crate::Threads) |
//! | `ncclAllReduce` on a stream | [`owned`](crate::Communicator::owned) or [`scope`](crate::Communicator::scope), then `wait` |
//! | `ncclGroupStart`, `ncclSend`, `ncclRecv`, `ncclGroupEnd` | [`group`](crate::Communicator::group) |
//! | `ncclCommSplit`, `ncclCommShrink` | [`split`](crate::Communicator::split), [`shrink`](crate::Communicator::shrink) |
//! | `ncclMemAlloc`, `ncclCommRegister` | [`alloc`](crate::Communicator::alloc), [`register`](crate::Communicator::register) |
//! | `ncclCommAbort`, `ncclCommGetAsyncError` | [`abort_handle`](crate::Communicator::abort_handle); errors are returned by the call |
//! | `ncclRedOpCreatePreMulSum` | [`ReduceOp::PreMulSum`](crate::ReduceOp) |
//! | `NCCL_*` variables | those that mean the same as a `CROSSTIE_*` one are honoured (`NCCL_IB_HCA`, `NCCL_NET`, …); `crosstie config` says which, and `crosstie config --markdown` lists all |
//!
//! # From MPI
//!
//! | MPI | here |
//! |---|---|
//! | `MPI_Init`, `MPI_COMM_WORLD` | [`Communicator::from_env`](crate::Communicator::from_env), under the same `mpirun` |
//! | `MPI_Allreduce(MPI_IN_PLACE, …)` | [`all_reduce_in_place`](crate::Communicator::all_reduce_in_place) |
//! | `MPI_Iallreduce`, `MPI_Wait` | [`owned`](crate::Communicator::owned) or [`scope`](crate::Communicator::scope), then `wait` |
//! | `MPI_Alltoallv`, `MPI_Allgatherv` | [`all_to_all_v`](crate::Communicator::all_to_all_v), [`all_gather_v`](crate::Communicator::all_gather_v), with counts |
//! | `MPI_Sendrecv`, several `MPI_Isend` | [`send_recv`](crate::Communicator::send_recv), [`group`](crate::Communicator::group) |
//! | `MPI_Comm_split` | [`split`](crate::Communicator::split) |
//! | `MPI_Finalize` | [`leave`](crate::Communicator::leave) |
//!
//! Messages have no tags and there is no `MPI_ANY_SOURCE`: what one rank sends another arrives in the order of sending.
//! A program can keep MPI and use both: with the feature `mpi`, `Communicator::from_mpi(&world)` makes a communicator of an
//! MPI communicator's ranks, and `examples/mpi_shared.rs` checks one library's sums by the other's.
//!
//! # What differs from both
//!
//! Calls take slices, so lengths and types are the compiler's business; ranks whose calls differ are told so by name
//! rather than left waiting. Nothing ends the process: errors are returned.
//!
//! ```
//! use crosstie::{ReduceOp, Threads};
//!
//! // MPI_Comm_split(world, rank % 2, rank, &half); MPI_Allreduce(MPI_IN_PLACE, &x, 1, MPI_INT, MPI_SUM, half);
//! let sums = Threads::new(4).run(|mut world| {
//!     let mut x = [world.rank() as i32];
//!     if let Some(mut half) = world.split(Some(world.rank() % 2), world.rank().into())? {
//!         half.all_reduce_in_place(&mut x, ReduceOp::Sum)?;
//!     }
//!     Ok(x[0])
//! })?;
//! assert_eq!(sums, [2, 4, 2, 4]);
//! # Ok::<(), crosstie::Error>(())
//! ```
