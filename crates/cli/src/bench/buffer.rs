//! Owns the memory that is sent and received: page-aligned, and refused in words when there is not
//! enough of it.

use std::{fs, io};

use crosstie::Communicator;

use super::sizes::Row;
use crate::args::BuffersArg;
use crate::exit::Failure;

/// As peers' benchmarks align theirs; it also keeps slots of one row off another's cache lines.
const ALIGNMENT: usize = 4096;

/// Refuses what this host cannot hold for so many ranks, before the kernel ends some process or
/// other for it.
pub fn refuse_more_than_there_is(ranks: u32, rows: &[Row]) -> Result<(), Failure> {
    let largest = rows.iter().map(|row| row.bytes as u64).max().unwrap_or(0);
    refuse_bytes(ranks, largest, "give a smaller -e, or start fewer ranks on this host")
}

/// The same, for buffers of so many bytes, with what to do about it.
pub fn refuse_bytes(ranks: u32, largest: u64, remedy: &str) -> Result<(), Failure> {
    let needed = largest.saturating_mul(2 * u64::from(ranks));
    match available_bytes() {
        Some(available) if needed > available => Err(Failure::usage(
            format!(
                "two buffers of {largest} bytes for each rank here ({ranks}) need {} MiB, and this \
                 host has {} MiB left",
                needed >> 20,
                available >> 20
            ),
            remedy,
        )),
        _ => Ok(()),
    }
}

/// What the kernel says it could give without swapping; `None` where it does not say.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes that begin at a page.
pub enum Buffer {
    /// Of this process alone; from `start` on.
    Private { bytes: Vec<u8>, start: usize },
    /// Of the library's heap.
    Shared(crosstie::Buffer<u8>),
    /// Of this process, registered with the library.
    Registered { buffer: crosstie::Registered<u8>, start: usize },
}

impl Buffer {
    /// Zeroed memory, all of it touched.
    pub fn new(kind: BuffersArg, comm: &Communicator, length: usize) -> Result<Self, Failure> {
        match kind {
            BuffersArg::Private => {
                let (bytes, start) = Self::aligned(length)?;
                Ok(Self::Private { bytes, start })
            }
            BuffersArg::Shared => {
                let mut buffer = comm.alloc(length)?;
                buffer.fill(0);
                Ok(Self::Shared(buffer))
            }
            BuffersArg::Registered => {
                let (bytes, start) = Self::aligned(length)?;
                let buffer = comm.register(bytes).map_err(crosstie::Error::from)?;
                Ok(Self::Registered { buffer, start })
            }
        }
    }

    /// Memory for `length` bytes, and where in it they begin.
    fn aligned(length: usize) -> Result<(Vec<u8>, usize), Failure> {
        let mut bytes = Vec::new();
        let room = length.checked_add(ALIGNMENT);
        let reserved = room.map(|room| bytes.try_reserve_exact(room).map(|()| room));
        let Some(Ok(room)) = reserved else {
            let reason = io::Error::from(io::ErrorKind::OutOfMemory);
            return Err(Failure::host(
                format!("allocate {length} bytes; try a smaller -e"),
                reason,
            ));
        };
        bytes.resize(room, 0);
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Ok((bytes, start))
    }

    /// The first `length` bytes.
    pub fn first(&mut self, length: usize) -> &mut [u8] {
        match self {
            Self::Private { bytes, start } => &mut bytes[*start..*start + length],
            Self::Shared(buffer) => &mut buffer[..length],
            Self::Registered { buffer, start } => &mut buffer[*start..*start + length],
        }
    }
}
