//! NCCL's C interface over Crosstie: a program that was written for `nccl.h` runs on host memory.
//!
//! `include/nccl.h` declares it; the library is `libnccl.so.2`. A call, or the outermost
//! `ncclGroupEnd`, returns when it is complete, unless the communicator was made with
//! `blocking = 0`. Streams are not looked at. What cannot work is refused, with a text that
//! `ncclGetLastError` gives.
//!
//! `pointer` is the one module that follows pointers of the program; `ffi` the one that is called
//! from C; `device` asks CUDA's driver whose memory is; all others are safe code.

mod call;
mod communicator;
mod config;
mod device;
mod errors;
mod exit;
mod ffi;
mod group;
mod handles;
mod init;
mod log;
mod memory;
mod offspring;
mod pointer;
mod turn;
mod types;
mod worker;
