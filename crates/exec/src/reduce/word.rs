//! Owns the words that the plain loops go through: how bytes are taken as elements, one or several
//! at a time, and put back.

use crosstie_ir::scalar::{BF16_NAN, F16_NAN};
use crosstie_ir::{F8E4M3, F8E5M2};

use super::element::{Int, Op, Step};

/// What the loops load and store: `N` bytes, of one element or of a few side by side.
pub(super) trait Word<const N: usize>: 'static {
    fn combine<O: Op>(op: O, received: [u8; N], src: [u8; N]) -> [u8; N];
}

/// A word whose elements can go through one step alone.
pub(super) trait StepWord<const N: usize>: 'static {
    fn take<S: Step>(step: S, src: [u8; N]) -> [u8; N];
}

macro_rules! word {
    ($($type:ty, $bytes:literal, $arithmetic:ident;)*) => {$(
        impl Word<$bytes> for $type {
            #[inline(always)]
            fn combine<O: Op>(op: O, a: [u8; $bytes], b: [u8; $bytes]) -> [u8; $bytes] {
                op.$arithmetic(<$type>::from_le_bytes(a), <$type>::from_le_bytes(b)).to_le_bytes()
            }
        }

        impl StepWord<$bytes> for $type {
            #[inline(always)]
            fn take<S: Step>(step: S, src: [u8; $bytes]) -> [u8; $bytes] {
                step.$arithmetic(<$type>::from_le_bytes(src)).to_le_bytes()
            }
        }
    )*};
}

word! {
    i8, 1, int;
    u8, 1, int;
    i16, 2, int;
    u16, 2, int;
    i32, 4, int;
    u32, 4, int;
    i64, 8, int;
    u64, 8, int;
    f32, 4, float;
    f64, 8, float;
}

/// Two bf16 side by side in a u32: each half widens and narrows inside its own 32-bit lane, where
/// one bf16 at a time would need shuffles across lanes at both ends.
pub(super) struct Bf16Pair;

impl Word<4> for Bf16Pair {
    #[inline(always)]
    fn combine<O: Op>(op: O, a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
        let (a, b) = (u32::from_le_bytes(a), u32::from_le_bytes(b));
        let low = op.float(f32::from_bits(a << 16), f32::from_bits(b << 16));
        let high = op.float(f32::from_bits(a & HIGH), f32::from_bits(b & HIGH));
        ((rounded(low) >> 16) | (rounded(high) & HIGH)).to_le_bytes()
    }
}

impl StepWord<4> for Bf16Pair {
    #[inline(always)]
    fn take<S: Step>(step: S, src: [u8; 4]) -> [u8; 4] {
        let src = u32::from_le_bytes(src);
        let low = step.float(f32::from_bits(src << 16));
        let high = step.float(f32::from_bits(src & HIGH));
        ((rounded(low) >> 16) | (rounded(high) & HIGH)).to_le_bytes()
    }
}

const HIGH: u32 = 0xffff_0000;

/// f32 bits whose upper half is the nearest bf16, ties to even.
///
/// A finite value too large becomes infinite by the carry; infinity and the canonical NaN have
/// room below them and stay. (AVX512-BF16's conversion flushes subnormals, hence is not used.)
#[inline(always)]
fn rounded(bits: u32) -> u32 {
    let ties_to_even = (bits >> 16) & 1;
    bits.wrapping_add(0x7fff + ties_to_even)
}

/// A float of 8 or 16 bits for minima and maxima: nothing is computed, so nothing need be widened.
///
/// A float's bits are a sign and a magnitude. Taken as a two's-complement integer after its
/// magnitude is inverted under a minus sign, it orders as floats do, −0 below +0; the same
/// inversion leads back.
pub(super) struct Ordered<F>(F);

/// A float type as an integer of its size.
pub(super) trait Bits: 'static {
    type Signed: Int;
    const NAN: Self::Signed;
    /// The greatest bits, without the sign, that are no NaN.
    const LARGEST: Self::Signed;
}

macro_rules! ordered {
    ($($format:ty, $signed:ident, $bytes:literal, $nan:expr, $largest:literal;)*) => {$(
        impl Bits for $format {
            type Signed = $signed;
            const NAN: $signed = $nan as $signed;
            const LARGEST: $signed = $largest;
        }

        impl Word<$bytes> for Ordered<$format> {
            #[inline(always)]
            fn combine<O: Op>(op: O, a: [u8; $bytes], b: [u8; $bytes]) -> [u8; $bytes] {
                let (a, b) = ($signed::from_le_bytes(a), $signed::from_le_bytes(b));
                let key = |x: $signed| x ^ ((x >> ($signed::BITS - 1)) & $signed::MAX);
                let nan = |x: $signed| x & $signed::MAX > <$format>::LARGEST;
                let chosen = key(op.int(key(a), key(b)));
                let bits = if nan(a) | nan(b) { <$format as Bits>::NAN } else { chosen };
                bits.to_le_bytes()
            }
        }
    )*};
}

ordered! {
    half::bf16, i16, 2, BF16_NAN, 0x7f80;
    half::f16, i16, 2, F16_NAN, 0x7c00;
    F8E4M3, i8, 1, F8E4M3::NAN.to_bits(), 0x7e;
    F8E5M2, i8, 1, F8E5M2::NAN.to_bits(), 0x7c;
}
