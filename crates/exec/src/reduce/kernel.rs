//! Owns the loops, and their compilation once per instruction set.
//!
//! The loops are plain; the compiler vectorises them for the features of the function that they
//! are inlined into. None of them names an instruction, so none can differ in a bit. Vectorising
//! needs to know that what is written does not overlap what is read, so in place is a loop of its
//! own: one loop for both would fall back to scalar code exactly when an operation is in place.

use std::marker::PhantomData;

use super::element::{Op, Scale, Step};
use super::isa::Isa;
use super::word::{StepWord, Word};

/// The loops for one type and operation, of one instruction set.
///
/// Slices are of equal length, in bytes. Unsafe to call where the CPU lacks the instruction set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    /// `dst = received ∘ src`.
    pub(super) disjoint: unsafe fn(&Scale, received: &[u8], src: &[u8], dst: &mut [u8]),
    /// `dst = received ∘ dst`.
    pub(super) onto_src: unsafe fn(&Scale, received: &[u8], dst: &mut [u8]),
    /// `dst = dst ∘ src`: the same where the operation commutes in its bits, NaNs included.
    pub(super) onto_received: unsafe fn(&Scale, src: &[u8], dst: &mut [u8]),
}

/// The loops that take the elements of one type through one step, of one instruction set.
///
/// As for [`Kernel`].
#[derive(Debug, Clone, Copy)]
pub(super) struct StepKernel {
    /// `dst = step(src)`.
    pub(super) disjoint: unsafe fn(&Scale, src: &[u8], dst: &mut [u8]),
    /// `dst = step(dst)`.
    pub(super) in_place: unsafe fn(&Scale, dst: &mut [u8]),
}

/// What a [`Kernel`] is made of: inlined into a function for an instruction set.
///
/// # Safety
/// Callers of its functions see to it that the CPU has the instruction set that it is for.
pub(super) trait Loops {
    const COMMUTES: bool;
    unsafe fn disjoint(scale: &Scale, received: &[u8], src: &[u8], dst: &mut [u8]);
    unsafe fn onto_src(scale: &Scale, received: &[u8], dst: &mut [u8]);
    unsafe fn onto_received(scale: &Scale, src: &[u8], dst: &mut [u8]);
}

/// What a [`StepKernel`] is made of: inlined into a function for an instruction set.
///
/// # Safety
/// Callers of its functions see to it that the CPU has the instruction set that it is for.
pub(super) trait StepLoops {
    unsafe fn disjoint(scale: &Scale, src: &[u8], dst: &mut [u8]);
    unsafe fn in_place(scale: &Scale, dst: &mut [u8]);
}

/// Loops over words, on any instruction set.
pub(super) struct Plain<const N: usize, W, O>(PhantomData<(W, O)>);

impl<const N: usize, W: Word<N>, O: Op> Loops for Plain<N, W, O> {
    const COMMUTES: bool = O::COMMUTES;

    #[inline(always)]
    unsafe fn disjoint(scale: &Scale, received: &[u8], src: &[u8], dst: &mut [u8]) {
        let op = O::new(scale);
        let (received, received_tail) = received.as_chunks::<N>();
        let (src, src_tail) = src.as_chunks::<N>();
        let (dst, dst_tail) = dst.as_chunks_mut::<N>();
        for ((dst, &received), &src) in dst.iter_mut().zip(received).zip(src) {
            *dst = W::combine(op, received, src);
        }
        if !dst_tail.is_empty() {
            let word = W::combine(op, padded(received_tail), padded(src_tail));
            dst_tail.copy_from_slice(&word[..dst_tail.len()]);
        }
    }

    #[inline(always)]
    unsafe fn onto_src(scale: &Scale, received: &[u8], dst: &mut [u8]) {
        let op = O::new(scale);
        let (received, received_tail) = received.as_chunks::<N>();
        let (dst, dst_tail) = dst.as_chunks_mut::<N>();
        for (dst, &received) in dst.iter_mut().zip(received) {
            *dst = W::combine(op, received, *dst);
        }
        if !dst_tail.is_empty() {
            let word = W::combine(op, padded(received_tail), padded(dst_tail));
            dst_tail.copy_from_slice(&word[..dst_tail.len()]);
        }
    }

    #[inline(always)]
    unsafe fn onto_received(scale: &Scale, src: &[u8], dst: &mut [u8]) {
        let op = O::new(scale);
        let (src, src_tail) = src.as_chunks::<N>();
        let (dst, dst_tail) = dst.as_chunks_mut::<N>();
        for (dst, &src) in dst.iter_mut().zip(src) {
            *dst = W::combine(op, *dst, src);
        }
        if !dst_tail.is_empty() {
            let word = W::combine(op, padded(dst_tail), padded(src_tail));
            dst_tail.copy_from_slice(&word[..dst_tail.len()]);
        }
    }
}

impl<const N: usize, W: StepWord<N>, S: Step> StepLoops for Plain<N, W, S> {
    #[inline(always)]
    unsafe fn disjoint(scale: &Scale, src: &[u8], dst: &mut [u8]) {
        let step = S::new(scale);
        let (src, src_tail) = src.as_chunks::<N>();
        let (dst, dst_tail) = dst.as_chunks_mut::<N>();
        for (dst, &src) in dst.iter_mut().zip(src) {
            *dst = W::take(step, src);
        }
        if !dst_tail.is_empty() {
            let word = W::take(step, padded(src_tail));
            dst_tail.copy_from_slice(&word[..dst_tail.len()]);
        }
    }

    #[inline(always)]
    unsafe fn in_place(scale: &Scale, dst: &mut [u8]) {
        let step = S::new(scale);
        let (dst, dst_tail) = dst.as_chunks_mut::<N>();
        for dst in dst {
            *dst = W::take(step, *dst);
        }
        if !dst_tail.is_empty() {
            let word = W::take(step, padded(dst_tail));
            dst_tail.copy_from_slice(&word[..dst_tail.len()]);
        }
    }
}

/// The elements left over when a word holds several, as a word of their own.
#[inline(always)]
fn padded<const N: usize>(tail: &[u8]) -> [u8; N] {
    let mut word = [0; N];
    word[..tail.len()].copy_from_slice(tail);
    word
}

impl Kernel {
    /// The loops for an instruction set: the same, or written for each.
    pub(super) fn of<Baseline: Loops, Avx2: Loops, Avx512: Loops>(isa: Isa) -> &'static Self {
        match isa {
            Isa::Baseline => const { &baseline::kernel::<Baseline>() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => const { &avx2::kernel::<Avx2>() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => const { &avx512::kernel::<Avx512>() },
        }
    }
}

impl StepKernel {
    /// As [`Kernel::of`].
    pub(super) fn of<Baseline: StepLoops, Avx2: StepLoops, Avx512: StepLoops>(
        isa: Isa,
    ) -> &'static Self {
        match isa {
            Isa::Baseline => const { &baseline::step_kernel::<Baseline>() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => const { &avx2::step_kernel::<Avx2>() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => const { &avx512::step_kernel::<Avx512>() },
        }
    }
}

macro_rules! compiled_for {
    ($isa:ident $(, $features:literal)?) => {
        mod $isa {
            use super::{Kernel, Loops, Scale, StepKernel, StepLoops};

            pub(super) const fn kernel<L: Loops>() -> Kernel {
                Kernel {
                    disjoint: disjoint::<L>,
                    onto_src: onto_src::<L>,
                    onto_received: if L::COMMUTES { onto_src::<L> } else { onto_received::<L> },
                }
            }

            pub(super) const fn step_kernel<L: StepLoops>() -> StepKernel {
                StepKernel { disjoint: step::<L>, in_place: step_in_place::<L> }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn disjoint<L: Loops>(scale: &Scale, received: &[u8], src: &[u8], dst: &mut [u8]) {
                // SAFETY: the caller has seen to the instruction set.
                unsafe { L::disjoint(scale, received, src, dst) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn onto_src<L: Loops>(scale: &Scale, received: &[u8], dst: &mut [u8]) {
                // SAFETY: the caller has seen to the instruction set.
                unsafe { L::onto_src(scale, received, dst) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn onto_received<L: Loops>(scale: &Scale, src: &[u8], dst: &mut [u8]) {
                // SAFETY: the caller has seen to the instruction set.
                unsafe { L::onto_received(scale, src, dst) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn step<L: StepLoops>(scale: &Scale, src: &[u8], dst: &mut [u8]) {
                // SAFETY: the caller has seen to the instruction set.
                unsafe { L::disjoint(scale, src, dst) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn step_in_place<L: StepLoops>(scale: &Scale, dst: &mut [u8]) {
                // SAFETY: the caller has seen to the instruction set.
                unsafe { L::in_place(scale, dst) }
            }
        }
    };
}

// The feature lists are those that `Isa::is_available` asks the CPU for.
compiled_for!(baseline);
#[cfg(target_arch = "x86_64")]
compiled_for!(avx2, "avx2,f16c");
#[cfg(target_arch = "x86_64")]
compiled_for!(avx512, "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl");
