//! Owns the floats that are too narrow to compute in, by means that every instruction set has: they
//! are widened to f32, computed, and rounded back once, in integers and f32 alone.

use std::marker::PhantomData;

use crosstie_ir::scalar::{F16_NAN, F32_NAN};
use crosstie_ir::{F8E4M3, F8E5M2};

use super::element::{Op, Step};
use super::word::{StepWord, Word};

/// A format of sign, exponent and mantissa, as IEEE 754's, or nearly.
pub(super) trait Format: 'static {
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

/// One element, of one byte or two.
pub(super) struct Narrow<F>(PhantomData<F>);

impl<F: Format> Word<1> for Narrow<F> {
    #[inline(always)]
    fn combine<O: Op>(op: O, [a]: [u8; 1], [b]: [u8; 1]) -> [u8; 1] {
        let [a, b] = [a, b].map(|code| f32::from_bits(widened::<F>(code.into())));
        [narrowed::<F>(op.float(a, b)) as u8]
    }
}

impl<F: Format> StepWord<1> for Narrow<F> {
    #[inline(always)]
    fn take<S: Step>(step: S, [src]: [u8; 1]) -> [u8; 1] {
        [narrowed::<F>(step.float(f32::from_bits(widened::<F>(src.into())))) as u8]
    }
}

impl<F: Format> Word<2> for Narrow<F> {
    #[inline(always)]
    fn combine<O: Op>(op: O, a: [u8; 2], b: [u8; 2]) -> [u8; 2] {
        let [a, b] =
            [a, b].map(|code| f32::from_bits(widened::<F>(u16::from_le_bytes(code).into())));
        (narrowed::<F>(op.float(a, b)) as u16).to_le_bytes()
    }
}

impl<F: Format> StepWord<2> for Narrow<F> {
    #[inline(always)]
    fn take<S: Step>(step: S, src: [u8; 2]) -> [u8; 2] {
        let src = f32::from_bits(widened::<F>(u16::from_le_bytes(src).into()));
        (narrowed::<F>(step.float(src)) as u16).to_le_bytes()
    }
}

const F32_INFINITY: u32 = 0x7f80_0000;
const F32_SIGN: u32 = 1 << 31;

/// The bits of the f32 that a code stands for.
#[inline(always)]
pub(super) fn widened<F: Format>(code: u32) -> u32 {
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
pub(super) fn narrowed<F: Format>(bits: u32) -> u32 {
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
