//! What decides how fast a call is, and how to look at it.
//!
//! # Look first
//!
//! - `crosstie doctor`, on each host: limits, memory, network and devices that cost speed, each with what to do.
//! - `crosstie bench all_reduce -n 20`, under your launcher: time, bandwidth and the share of what the machine allows.
//! - `crosstie config`: every setting, its value and where that comes from. `CROSSTIE_LOG=info` tells what was chosen.
//! - `crosstie plan`: for a described machine, rings, trees and routes, which algorithm is taken at which size, and why.
//!
//! From the program, a communicator tells what it has done and what it would do:
//!
//! ```
//! use crosstie::{Collective, DataType, Threads};
//!
//! Threads::new(2).run(|mut comm| {
//!     comm.all_to_all(&[1_u8, 2], &mut [0; 2])?;
//!     assert_eq!(comm.metrics().operations, 1);
//!     println!("{:?}", comm.algorithm(Collective::AllReduce, DataType::F32, 1 << 20));
//!     Ok(())
//! })?;
//! # Ok::<(), crosstie::Error>(())
//! ```
//!
//! # What matters most
//!
//! - **Cores.** Ranks that share a core wait for each other to be scheduled, which small messages feel a hundredfold.
//!   `bench` says so above its table. Let the launcher give each rank cores of its own.
//! - **Buffers that ranks share.** Inside a node, a value in memory from [`alloc`](crate::Communicator::alloc) is read by
//!   its receiver where it lies; other memory is copied through slots.
//! - **The interface.** All that are up are offered and the first pair that reaches is taken; `CROSSTIE_INTERFACE` or
//!   `CROSSTIE_NICS` name the right ones.
//! - **RDMA.** Between nodes ibverbs is taken by itself where both ends have it: `bench --show-plan` tells which pairs of
//!   ranks it joins, by which ports, and why not the others. Start a rank for each NIC, and let the launcher bind ranks to
//!   sockets (`mpirun --map-by ppr:4:socket --bind-to socket`, `srun --cpu-bind=sockets`): they then send by NICs near
//!   them. `CROSSTIE_VERBS_DEVICES` (`NCCL_IB_HCA`) names the ports to use.
//! - **Rails and relays.** With several NICs a node, `CROSSTIE_NICS` or a topology file (`CROSSTIE_TOPO_FILE`) puts ranks
//!   on rails; `CROSSTIE_PXN=on` keeps messages on them. Relays pay for small blocks: `crosstie plan` tells up to which
//!   length.
//!
//! # Which algorithm
//!
//! The least predicted time decides, by a table of measured times (a built-in one, or your own) and beyond it by a model.
//! `crosstie tune` measures a table for this host; `CROSSTIE_TUNE_FILE` names it, on rank 0. `CROSSTIE_ALGORITHM` forces
//! one wherever it suits. Settings of world scope must be the same on all ranks; if not, all are told who differs.
//!
//! # Memory
//!
//! Slots are the memory of a communicator that grows with the number of ranks: `CROSSTIE_SLOT_BYTES` sets their length,
//! `CROSSTIE_MEMORY_LIMIT` refuses what would take more, and
//! [`Metrics::slot_bytes`](crate::Metrics::slot_bytes) tells what was taken.
