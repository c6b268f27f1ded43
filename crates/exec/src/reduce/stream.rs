//! Owns reductions whose stores pass by the cache: for destinations too large for it, whose lines would first be
//! read from memory for nothing, and drive out what is still needed.
//!
//! Reductions are made a piece at a time in the first-level cache and stored from there, so that
//! they need no loops of their own.
//!
//! It pays where operands and destination do not fit into the last-level cache together, and costs
//! where the result is read again from it. Three arrays of f32 on an EPYC with 32 MiB of such cache,
//! GiB/s of all streams (`cargo bench -p crosstie-benches --bench reduce streaming`): of 4 MiB 56
//! either way, of 16 MiB 30 and 36 past the cache, of 64 MiB 23 and 30.
//!
//! The interpreter does not reduce so: in whole operations, whose results other ranks read, nothing
//! came of it (`crosstie bench all_reduce --ranks 2 --transport shm --buffers shared -b 64M -e 64M`,
//! out of place, three times each in turn: 13.0, 13.2 and 14.5 ms; past the cache 13.9, 16.8 and 14.9).

use super::element::Scale;
use super::kernel::{Kernel, StepKernel};

/// Bytes made at a time: whole elements of any type, and few enough that reading the next piece
/// overlaps with storing this one (of arrays of 64 MiB: 27–31 GiB/s up to 1 KiB, 21 at 4 KiB).
const PIECE: usize = 1024;
/// A cache line: streams fill whole ones, for parts of lines go to memory one by one.
const LINE: usize = 64;

#[repr(align(64))]
struct Piece([u8; PIECE]);

/// `dst = received ∘ src`, of elements of so many bytes.
///
/// # Safety
/// The CPU has the instruction set of the kernel.
pub(super) unsafe fn reduce(
    kernel: &Kernel,
    scale: &Scale,
    element_bytes: usize,
    received: &[u8],
    src: &[u8],
    dst: &mut [u8],
) {
    let head = to_line(dst, element_bytes);
    let ((received_head, received), (src_head, src), (dst_head, dst)) =
        (received.split_at(head), src.split_at(head), dst.split_at_mut(head));
    // SAFETY: the caller's.
    unsafe { (kernel.disjoint)(scale, received_head, src_head, dst_head) };
    let mut piece = Piece([0; PIECE]);
    let operands = received.chunks(PIECE).zip(src.chunks(PIECE));
    for (dst, (received, src)) in dst.chunks_mut(PIECE).zip(operands) {
        let piece = &mut piece.0[..dst.len()];
        // SAFETY: the caller's.
        unsafe { (kernel.disjoint)(scale, received, src, piece) };
        store(piece, dst);
    }
    fence();
}

/// `dst = step(src)`, of elements of so many bytes.
///
/// # Safety
/// The CPU has the instruction set of the kernel.
pub(super) unsafe fn step(
    kernel: &StepKernel,
    scale: &Scale,
    element_bytes: usize,
    src: &[u8],
    dst: &mut [u8],
) {
    let head = to_line(dst, element_bytes);
    let ((src_head, src), (dst_head, dst)) = (src.split_at(head), dst.split_at_mut(head));
    // SAFETY: the caller's.
    unsafe { (kernel.disjoint)(scale, src_head, dst_head) };
    let mut piece = Piece([0; PIECE]);
    for (dst, src) in dst.chunks_mut(PIECE).zip(src.chunks(PIECE)) {
        let piece = &mut piece.0[..dst.len()];
        // SAFETY: the caller's.
        unsafe { (kernel.disjoint)(scale, src, piece) };
        store(piece, dst);
    }
    fence();
}

/// Bytes to the first beginning of a line. Where an element would straddle it, elements lie across
/// lines throughout: then `dst` is left to plain stores, all of it.
fn to_line(dst: &[u8], element_bytes: usize) -> usize {
    let to_line = dst.as_ptr().align_offset(LINE);
    if to_line.is_multiple_of(element_bytes) { to_line.min(dst.len()) } else { dst.len() }
}

/// Stores `from` to `to`, equally long and at the beginning of a line, and what is less than a line
/// at the end by a plain store.
#[cfg(target_arch = "x86_64")]
fn store(from: &[u8], to: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    let (from, from_tail) = from.as_chunks::<LINE>();
    let (to, to_tail) = to.as_chunks_mut::<LINE>();
    debug_assert!(to.is_empty() || to.as_ptr().addr().is_multiple_of(LINE));
    for (to, from) in to.iter_mut().zip(from) {
        let (to, from) = (to.as_mut_ptr().cast::<__m128i>(), from.as_ptr().cast::<__m128i>());
        for part in 0..LINE / 16 {
            // SAFETY: four parts make a line; `to` is aligned to its length, as `to_line` saw to.
            unsafe { _mm_stream_si128(to.add(part), _mm_loadu_si128(from.add(part))) };
        }
    }
    to_tail.copy_from_slice(from_tail);
}

#[cfg(not(target_arch = "x86_64"))]
fn store(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}

/// Such stores are ordered with others only by a fence: a flag set after it, not before, tells
/// another core that they are there.
fn fence() {
    // SAFETY: every x86-64 has SSE.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_sfence();
    };
}
