//! Counts are 64 bits wide: one all_reduce of 2^32 + 1 bytes, every one of them checked.
//!
//! `cargo test --release -p crosstie --test suite -- --ignored --nocapture huge` needs 8 GiB and a little.

use std::fs;

use crosstie::{Communicator, Error, ReduceOp, Settings, Threads, Transport};

const RANKS: u32 = 2;
/// One more than a 32-bit number of elements can be.
const ELEMENTS: usize = (1 << 32) + 1;
/// A prime, so that what lands 2^32 (or any power of two) from its place is wrong there.
const PERIOD: usize = 251;
/// Bytes made and compared at a time.
const PIECE: usize = PERIOD << 12;

#[test]
#[ignore = "slow: 8 GiB of buffers"]
fn a_buffer_of_more_than_4_gib_is_reduced_to_its_last_byte() {
    // In place, so that each rank has one buffer; besides, slots and pieces.
    let needed = u64::from(RANKS) * ELEMENTS as u64 + (512 << 20);
    match available_bytes() {
        Some(available) if available < needed => {
            let (needed, available) = (needed >> 20, available >> 20);
            println!("SKIPPED: {needed} MiB are needed, and {available} MiB are available");
        }
        _ => {
            let settings = Settings::default().transport(Transport::SharedMemory);
            Threads::new(RANKS).settings(settings).run(reduce).unwrap();
        }
    }
}

fn reduce(mut comm: Communicator) -> Result<(), Error> {
    let rank = comm.rank() as usize;
    let own: Vec<u8> = (0..PIECE).map(|i| contribution(rank, i)).collect();
    let mut buffer = vec![0u8; ELEMENTS];
    for piece in buffer.chunks_mut(PIECE) {
        piece.copy_from_slice(&own[..piece.len()]);
    }
    comm.all_reduce_in_place(&mut buffer, ReduceOp::Sum)?;

    let sum = |i| (0..RANKS as usize).map(|rank| contribution(rank, i)).fold(0, u8::wrapping_add);
    let right: Vec<u8> = (0..PIECE).map(sum).collect();
    for (index, piece) in buffer.chunks(PIECE).enumerate() {
        assert!(*piece == right[..piece.len()], "rank {rank}: wrong after byte {}", index * PIECE);
    }
    comm.leave()
}

/// What `rank` has at each place. The sum of two ranks is the place times 3, which no two places of
/// a period share in a byte.
fn contribution(rank: usize, i: usize) -> u8 {
    (i % PERIOD * (rank + 1)) as u8
}

/// What the kernel could give without swapping; `None` where it does not say.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
