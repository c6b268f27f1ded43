//! Owns the memory that is sent and received: page-aligned, and refused in words when there is not
//! enough of it.

use std::io;

use crate::exit::Failure;

/// As peers' benchmarks align theirs; it also keeps slots of one row off another's cache lines.
const ALIGNMENT: usize = 4096;

/// Bytes that begin at a page.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Zeroed memory, all of it touched.
    pub fn new(length: usize) -> Result<Self, Failure> {
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
        Ok(Self { bytes, start, length })
    }

    /// The first `length` bytes.
    pub fn first(&mut self, length: usize) -> &mut [u8] {
        debug_assert!(length <= self.length);
        &mut self.bytes[self.start..self.start + length]
    }
}
