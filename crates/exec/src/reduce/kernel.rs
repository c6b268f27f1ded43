//! Owns the loops, and their compilation once per instruction set.
//!
//! The loops are plain; the compiler vectorises them for the features of the function that they
//! are inlined into. None of them names an instruction, so none can differ in a bit. Vectorising
//! needs to know that what is written does not overlap what is read, so in place is a loop of its
//! own: one loop for both would fall back to scalar code exactly when an operation is in place.

use super::element::{Op, Word};
use super::isa::Isa;

/// The loops for one type and operation, of one instruction set.
///
/// Slices are of equal length, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    /// `dst = received ∘ src`. Unsafe to call where the CPU lacks the instruction set.
    pub(super) disjoint: unsafe fn(received: &[u8], src: &[u8], dst: &mut [u8]),
    /// `dst = other ∘ dst`. Every operation commutes in its bits, NaNs included, so it does not
    /// matter which operand `dst` is. Unsafe to call where the CPU lacks the instruction set.
    pub(super) in_place: unsafe fn(other: &[u8], dst: &mut [u8]),
}

impl Kernel {
    pub(super) fn of<const N: usize, W: Word<N>, O: Op>(isa: Isa) -> Self {
        match isa {
            Isa::Baseline => Self { disjoint: disjoint::<N, W, O>, in_place: in_place::<N, W, O> },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                Self { disjoint: disjoint_avx2::<N, W, O>, in_place: in_place_avx2::<N, W, O> }
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Self { disjoint: disjoint_avx512::<N, W, O>, in_place: in_place_avx512::<N, W, O> }
            }
        }
    }
}

#[inline(always)]
fn disjoint<const N: usize, W: Word<N>, O: Op>(received: &[u8], src: &[u8], dst: &mut [u8]) {
    let (received, received_tail) = received.as_chunks::<N>();
    let (src, src_tail) = src.as_chunks::<N>();
    let (dst, dst_tail) = dst.as_chunks_mut::<N>();
    for ((dst, &received), &src) in dst.iter_mut().zip(received).zip(src) {
        *dst = W::combine::<O>(received, src);
    }
    if !dst_tail.is_empty() {
        let word = W::combine::<O>(padded(received_tail), padded(src_tail));
        dst_tail.copy_from_slice(&word[..dst_tail.len()]);
    }
}

#[inline(always)]
fn in_place<const N: usize, W: Word<N>, O: Op>(other: &[u8], dst: &mut [u8]) {
    let (other, other_tail) = other.as_chunks::<N>();
    let (dst, dst_tail) = dst.as_chunks_mut::<N>();
    for (dst, &other) in dst.iter_mut().zip(other) {
        *dst = W::combine::<O>(other, *dst);
    }
    if !dst_tail.is_empty() {
        let word = W::combine::<O>(padded(other_tail), padded(dst_tail));
        dst_tail.copy_from_slice(&word[..dst_tail.len()]);
    }
}

/// The elements left over when a word holds several, as a word of their own.
#[inline(always)]
fn padded<const N: usize>(tail: &[u8]) -> [u8; N] {
    let mut word = [0; N];
    word[..tail.len()].copy_from_slice(tail);
    word
}

macro_rules! compiled_for {
    ($features:literal, $disjoint:ident, $in_place:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $disjoint<const N: usize, W: Word<N>, O: Op>(
            received: &[u8],
            src: &[u8],
            dst: &mut [u8],
        ) {
            disjoint::<N, W, O>(received, src, dst);
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $in_place<const N: usize, W: Word<N>, O: Op>(other: &[u8], dst: &mut [u8]) {
            in_place::<N, W, O>(other, dst);
        }
    };
}

// The feature lists are those that `Isa::is_available` asks the CPU for.
compiled_for!("avx2", disjoint_avx2, in_place_avx2);
compiled_for!("avx2,avx512f,avx512bw,avx512dq,avx512vl", disjoint_avx512, in_place_avx512);
