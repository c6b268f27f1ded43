//! A collective is a value: plans of blocks of instructions over named connections, and what can
//! be proved about them.
//!
//! Nothing here does I/O, reads a clock or an environment; the planner emits these values, the
//! verifier proves them, the executor interprets them, and the command line prints them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod builder;
mod chunk_map;
mod collective;
mod dtype;
mod early;
pub mod exact;
mod few;
mod fingerprint;
mod fp8;
mod grants;
mod json;
mod lower;
mod plan;
mod reduce_op;
mod reject;
mod renumber;
mod replay;
pub mod scalar;
pub mod schema;
mod settle;
mod slice;
mod structure;
mod verify;
mod walk;

pub use builder::{BuildError, PlanBuilder};
pub use chunk_map::{ChunkMap, Layout, Repeats, Span, Table};
pub use collective::{Collective, Demand};
pub use dtype::{DataType, UnknownName};
pub use early::open_early;
pub use few::Few;
pub use fingerprint::{InputsFingerprint, PlanFingerprint, fingerprint};
pub use fp8::{F8E4M3, F8E5M2};
pub use grants::MOST_OPEN;
pub use json::{JsonError, from_json, to_json};
pub use lower::{Lowering, lower};
pub use plan::{
    After, Block, BlockId, ChannelId, Chunk, ConnId, Connection, End, Instr, MAX_RANKS, Plan, Port,
    Rank, SLOTS, Space,
};
pub use reduce_op::{Factor, FactorMisfit, ReduceOp};
pub use reject::{Access, Event, Fault, Reject, Site, Size, Wait, WaitFor};
pub use replay::replay;
pub use settle::{Settled, settle};
pub use slice::MergeError;
pub use verify::{Class, Options, Report, Traffic, verify};
