//! Owns the arithmetic of one word: what each operation does to each type, written without
//! branches so that a loop over it becomes vector instructions.
//!
//! The meaning is `crosstie_ir::scalar`'s; the forms differ, the bits must not.

use std::ops::{Add, BitAnd, BitOr};

use crosstie_ir::scalar::{F32_NAN, F64_NAN};

/// An operation on any type.
pub(super) trait Op: 'static {
    /// Whether a result may need more bits than its operands have, so that bf16 must round.
    const INEXACT: bool;
    fn int<T: Int>(a: T, b: T) -> T;
    /// The bits of the result: as a float it could lose the NaN that was chosen.
    fn float<T: Float>(a: T, b: T) -> T::Bits;
}

pub(super) struct Sum;
pub(super) struct Min;
pub(super) struct Max;

impl Op for Sum {
    const INEXACT: bool = true;

    #[inline(always)]
    fn int<T: Int>(a: T, b: T) -> T {
        a.wrapping_add(b)
    }

    #[inline(always)]
    fn float<T: Float>(a: T, b: T) -> T::Bits {
        let sum = a + b;
        if sum.is_nan() { T::NAN } else { sum.to_bits() }
    }
}

// The float forms of Min and Max: two selects that x86 has as single instructions (`minps` gives
// its second operand when the two are equal or unordered). Where the operands are equal the two
// selects hold one each, so OR gives −0 for {−0, +0} and AND gives +0.

impl Op for Min {
    const INEXACT: bool = false;

    #[inline(always)]
    fn int<T: Int>(a: T, b: T) -> T {
        a.min(b)
    }

    #[inline(always)]
    fn float<T: Float>(a: T, b: T) -> T::Bits {
        let first = if a < b { a } else { b };
        let second = if b < a { b } else { a };
        let bits = first.to_bits() | second.to_bits();
        if a.is_nan() | b.is_nan() { T::NAN } else { bits }
    }
}

impl Op for Max {
    const INEXACT: bool = false;

    #[inline(always)]
    fn int<T: Int>(a: T, b: T) -> T {
        a.max(b)
    }

    #[inline(always)]
    fn float<T: Float>(a: T, b: T) -> T::Bits {
        let first = if a > b { a } else { b };
        let second = if b > a { b } else { a };
        let bits = first.to_bits() & second.to_bits();
        if a.is_nan() | b.is_nan() { T::NAN } else { bits }
    }
}

/// What the loops load and store: `N` bytes, of one element or of a few side by side.
pub(super) trait Word<const N: usize>: 'static {
    fn combine<O: Op>(a: [u8; N], b: [u8; N]) -> [u8; N];
}

pub(super) trait Int: Copy + Ord {
    fn wrapping_add(self, other: Self) -> Self;
}

macro_rules! int {
    ($type:ty, $bytes:literal) => {
        impl Int for $type {
            #[inline(always)]
            fn wrapping_add(self, other: Self) -> Self {
                <$type>::wrapping_add(self, other)
            }
        }

        impl Word<$bytes> for $type {
            #[inline(always)]
            fn combine<O: Op>(a: [u8; $bytes], b: [u8; $bytes]) -> [u8; $bytes] {
                O::int(<$type>::from_le_bytes(a), <$type>::from_le_bytes(b)).to_le_bytes()
            }
        }
    };
}

int!(u8, 1);
int!(i32, 4);
int!(i64, 8);

pub(super) trait Float: Copy + PartialOrd + Add<Output = Self> {
    type Bits: Copy + BitAnd<Output = Self::Bits> + BitOr<Output = Self::Bits>;
    const NAN: Self::Bits;
    fn is_nan(self) -> bool;
    fn to_bits(self) -> Self::Bits;
}

macro_rules! float {
    ($type:ty, $bits:ty, $bytes:literal, $nan:expr) => {
        impl Float for $type {
            type Bits = $bits;
            const NAN: $bits = $nan;

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }

            #[inline(always)]
            fn to_bits(self) -> $bits {
                <$type>::to_bits(self)
            }
        }

        impl Word<$bytes> for $type {
            #[inline(always)]
            fn combine<O: Op>(a: [u8; $bytes], b: [u8; $bytes]) -> [u8; $bytes] {
                O::float(<$type>::from_le_bytes(a), <$type>::from_le_bytes(b)).to_le_bytes()
            }
        }
    };
}

float!(f32, u32, 4, F32_NAN);
float!(f64, u64, 8, F64_NAN);

/// Two bf16 side by side in a u32: each half widens and narrows inside its own 32-bit lane, where
/// one bf16 at a time would need shuffles across lanes at both ends.
pub(super) struct Bf16Pair;

impl Word<4> for Bf16Pair {
    #[inline(always)]
    fn combine<O: Op>(a: [u8; 4], b: [u8; 4]) -> [u8; 4] {
        let (a, b) = (u32::from_le_bytes(a), u32::from_le_bytes(b));
        let low = O::float(f32::from_bits(a << 16), f32::from_bits(b << 16));
        let high = O::float(f32::from_bits(a & HIGH), f32::from_bits(b & HIGH));
        ((rounded::<O>(low) >> 16) | (rounded::<O>(high) & HIGH)).to_le_bytes()
    }
}

const HIGH: u32 = 0xffff_0000;

/// f32 bits whose upper half is the nearest bf16, ties to even.
///
/// A finite value too large becomes infinite by the carry; infinity and the canonical NaN have
/// room below them and stay. (AVX512-BF16's conversion flushes subnormals, hence is not used.)
#[inline(always)]
fn rounded<O: Op>(bits: u32) -> u32 {
    if !O::INEXACT {
        return bits;
    }
    let ties_to_even = (bits >> 16) & 1;
    bits.wrapping_add(0x7fff + ties_to_even)
}
