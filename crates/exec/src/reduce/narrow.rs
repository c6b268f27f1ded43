//! Owns the floats that are too narrow to compute in: blocks of them are widened to f32, computed,
//! and rounded back once.
//!
//! A block's f32 stay in the first-level cache, so widening, computing and rounding are loops of
//! their own, each of which becomes vector instructions; the conversions may be written for an
//! instruction set that has them.

use std::marker::PhantomData;

use crosstie_ir::scalar::{F16_NAN, F32_NAN};
use crosstie_ir::{F8E4M3, F8E5M2};

use super::element::{Op, Scale, Step};
use super::kernel::{Loops, StepLoops};

/// Elements of a block: 2 KiB for two operands.
const BLOCK: usize = 256;

/// The way of a type's bytes to the bits of f32, and back. Slices hold equally many elements.
pub(super) trait Convert {
    /// Bytes of an element.
    const BYTES: usize;
    /// # Safety
    /// The CPU has the instruction set that it is written for.
    unsafe fn widen(from: &[u8], to: &mut [u32]);
    /// Rounds to nearest even. A NaN is the canonical one.
    ///
    /// # Safety
    /// The CPU has the instruction set that it is written for.
    unsafe fn narrow(from: &[u32], to: &mut [u8]);
}

/// Loops over blocks.
pub(super) struct Blocks<C, O>(PhantomData<(C, O)>);

impl<C: Convert, O: Op> Loops for Blocks<C, O> {
    const COMMUTES: bool = O::COMMUTES;

    #[inline(always)]
    unsafe fn disjoint(scale: &Scale, received: &[u8], src: &[u8], dst: &mut [u8]) {
        let op = O::new(scale);
        let (mut a, mut b) = ([0; BLOCK], [0; BLOCK]);
        let bytes = BLOCK * C::BYTES;
        let operands = received.chunks(bytes).zip(src.chunks(bytes));
        for (dst, (received, src)) in dst.chunks_mut(bytes).zip(operands) {
            let elements = dst.len() / C::BYTES;
            let (a, b) = (&mut a[..elements], &mut b[..elements]);
            // SAFETY: the caller has seen to the instruction set.
            unsafe {
                C::widen(received, a);
                C::widen(src, b);
                compute(op, a, b);
                C::narrow(a, dst);
            }
        }
    }

    #[inline(always)]
    unsafe fn onto_src(scale: &Scale, received: &[u8], dst: &mut [u8]) {
        let op = O::new(scale);
        let (mut a, mut b) = ([0; BLOCK], [0; BLOCK]);
        let bytes = BLOCK * C::BYTES;
        for (dst, received) in dst.chunks_mut(bytes).zip(received.chunks(bytes)) {
            let elements = dst.len() / C::BYTES;
            let (a, b) = (&mut a[..elements], &mut b[..elements]);
            // SAFETY: the caller has seen to the instruction set.
            unsafe {
                C::widen(received, a);
                C::widen(dst, b);
                compute(op, a, b);
                C::narrow(a, dst);
            }
        }
    }

    #[inline(always)]
    unsafe fn onto_received(scale: &Scale, src: &[u8], dst: &mut [u8]) {
        let op = O::new(scale);
        let (mut a, mut b) = ([0; BLOCK], [0; BLOCK]);
        let bytes = BLOCK * C::BYTES;
        for (dst, src) in dst.chunks_mut(bytes).zip(src.chunks(bytes)) {
            let elements = dst.len() / C::BYTES;
            let (a, b) = (&mut a[..elements], &mut b[..elements]);
            // SAFETY: the caller has seen to the instruction set.
            unsafe {
                C::widen(dst, a);
                C::widen(src, b);
                compute(op, a, b);
                C::narrow(a, dst);
            }
        }
    }
}

impl<C: Convert, S: Step> StepLoops for Blocks<C, S> {
    #[inline(always)]
    unsafe fn disjoint(scale: &Scale, src: &[u8], dst: &mut [u8]) {
        let step = S::new(scale);
        let mut a = [0; BLOCK];
        let bytes = BLOCK * C::BYTES;
        for (dst, src) in dst.chunks_mut(bytes).zip(src.chunks(bytes)) {
            let a = &mut a[..dst.len() / C::BYTES];
            // SAFETY: the caller has seen to the instruction set.
            unsafe {
                C::widen(src, a);
                take(step, a);
                C::narrow(a, dst);
            }
        }
    }

    #[inline(always)]
    unsafe fn in_place(scale: &Scale, dst: &mut [u8]) {
        let step = S::new(scale);
        let mut a = [0; BLOCK];
        for dst in dst.chunks_mut(BLOCK * C::BYTES) {
            let a = &mut a[..dst.len() / C::BYTES];
            // SAFETY: the caller has seen to the instruction set.
            unsafe {
                C::widen(dst, a);
                take(step, a);
                C::narrow(a, dst);
            }
        }
    }
}

#[inline(always)]
fn compute<O: Op>(op: O, received: &mut [u32], src: &[u32]) {
    for (received, &src) in received.iter_mut().zip(src) {
        *received = op.float(f32::from_bits(*received), f32::from_bits(src));
    }
}

#[inline(always)]
fn take<S: Step>(step: S, values: &mut [u32]) {
    for value in values {
        *value = step.float(f32::from_bits(*value));
    }
}

/// A format of sign, exponent and mantissa, as IEEE 754's, or nearly.
pub(super) trait Format {
    const BYTES: usize;
    const MANTISSA_BITS: u32;
    const BIAS: u32;
    /// The bits of the canonical NaN.
    const NAN: u32;
    /// The greatest finite value as bits of f32, where all greater ones, infinity too, become it;
    /// `None` where there are infinities for them to become.
    const SATURATES_AT: Option<f32>;
}

impl Format for half::f16 {
    const BYTES: usize = 2;
    const MANTISSA_BITS: u32 = 10;
    const BIAS: u32 = 15;
    const NAN: u32 = F16_NAN as u32;
    const SATURATES_AT: Option<f32> = None;
}

impl Format for F8E5M2 {
    const BYTES: usize = 1;
    const MANTISSA_BITS: u32 = 2;
    const BIAS: u32 = 15;
    const NAN: u32 = F8E5M2::NAN.to_bits() as u32;
    const SATURATES_AT: Option<f32> = None;
}

impl Format for F8E4M3 {
    const BYTES: usize = 1;
    const MANTISSA_BITS: u32 = 3;
    const BIAS: u32 = 7;
    const NAN: u32 = F8E4M3::NAN.to_bits() as u32;
    const SATURATES_AT: Option<f32> = Some(448.0);
}

/// Conversions in integers and f32 alone, on any instruction set.
pub(super) struct Portable<F>(F);

impl<F: Format> Convert for Portable<F> {
    const BYTES: usize = F::BYTES;

    #[inline(always)]
    unsafe fn widen(from: &[u8], to: &mut [u32]) {
        if F::BYTES == 1 {
            for (to, &code) in to.iter_mut().zip(from) {
                *to = widened::<F>(code.into());
            }
        } else {
            for (to, &code) in to.iter_mut().zip(from.as_chunks::<2>().0) {
                *to = widened::<F>(u16::from_le_bytes(code).into());
            }
        }
    }

    #[inline(always)]
    unsafe fn narrow(from: &[u32], to: &mut [u8]) {
        if F::BYTES == 1 {
            for (to, &bits) in to.iter_mut().zip(from) {
                *to = narrowed::<F>(bits) as u8;
            }
        } else {
            for (to, &bits) in to.as_chunks_mut::<2>().0.iter_mut().zip(from) {
                *to = (narrowed::<F>(bits) as u16).to_le_bytes();
            }
        }
    }
}

const F32_INFINITY: u32 = 0x7f80_0000;
const F32_SIGN: u32 = 1 << 31;

/// The bits of the f32 that a code stands for.
#[inline(always)]
fn widened<F: Format>(code: u32) -> u32 {
    let sign = 1 << (8 * F::BYTES as u32 - 1);
    let magnitude = (code & (sign - 1)) << (23 - F::MANTISSA_BITS);
    let normal = magnitude + ((127 - F::BIAS) << 23);
    // Under the lowest exponent the mantissa has no leading 1: put one there, and take it away as
    // a float. No f32 here is subnormal, which would be slow on some CPUs.
    let one = f32::from_bits((128 - F::BIAS) << 23);
    let subnormal = (f32::from_bits(normal + (1 << 23)) - one).to_bits();
    let finite = if (magnitude as i32) < 1 << 23 { subnormal } else { normal };
    let all_ones = sign - 1;
    let bits = match F::SATURATES_AT {
        Some(_) if code & (sign - 1) == all_ones => F32_NAN,
        None if magnitude as i32 >= ((2 * F::BIAS + 1) << 23) as i32 => magnitude | F32_INFINITY,
        _ => finite,
    };
    bits | ((code & sign) << (32 - 8 * F::BYTES as u32))
}

/// The code of what is nearest to an f32, ties to even.
#[inline(always)]
fn narrowed<F: Format>(bits: u32) -> u32 {
    let dropped = 23 - F::MANTISSA_BITS;
    let magnitude = bits & !F32_SIGN;
    let bounded = match F::SATURATES_AT {
        Some(most) => (magnitude as i32).min(most.to_bits() as i32) as u32,
        None => magnitude,
    };
    // Add almost half of what is dropped, and all of it if that leads to an even mantissa: the
    // carry does the rest, up to infinity.
    let half = (1 << (dropped - 1)) - 1 + ((bounded >> dropped) & 1);
    let normal = bounded.wrapping_sub((127 - F::BIAS) << 23).wrapping_add(half) >> dropped;
    // Beside this float the spacing of f32 is the type's finest: adding it rounds.
    let coarse = (127 + 1 - F::BIAS + dropped) << 23;
    let subnormal = (f32::from_bits(bounded) + f32::from_bits(coarse)).to_bits() - coarse;
    let small = (bounded as i32) < ((128 - F::BIAS) << 23) as i32;
    let code = if small { subnormal } else { normal };
    let infinite = F::SATURATES_AT.is_none() && magnitude as i32 >= ((128 + F::BIAS) << 23) as i32;
    let code = if infinite { (2 * F::BIAS + 1) << F::MANTISSA_BITS } else { code };
    let sign = (bits & F32_SIGN) >> (32 - 8 * F::BYTES as u32);
    if magnitude as i32 > F32_INFINITY as i32 { F::NAN } else { code | sign }
}
