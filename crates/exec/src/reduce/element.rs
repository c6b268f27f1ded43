//! Owns the arithmetic of one element: what each operation does to integers and to floats, written
//! without branches so that a loop over it becomes vector instructions.
//!
//! The meaning is `crosstie_ir::scalar`'s; the forms differ, the bits must not.

use std::num::NonZeroU32;
use std::ops::{Add, BitAnd, BitOr, Div, Mul};

use crosstie_ir::scalar::{F32_NAN, F64_NAN};

/// What the first and the last step of an operation need to know. Most have neither.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// The factor, as bits of the type that is computed in.
    pub(super) factor: u64,
    /// What an average divides by.
    pub(super) ranks: NonZeroU32,
}

/// An operation on any type, with its first or last step where that belongs to it.
pub(super) trait Op: Copy + 'static {
    /// Whether the operands may change places: not where only one of them is multiplied first.
    const COMMUTES: bool = true;
    fn new(scale: &Scale) -> Self;
    fn int<T: Int>(self, received: T, src: T) -> T;
    /// The bits of the result: as a float it could lose the NaN that was chosen.
    fn float<T: Float>(self, received: T, src: T) -> T::Bits;
}

/// The first or the last step of an operation, alone.
pub(super) trait Step: Copy + 'static {
    fn new(scale: &Scale) -> Self;
    fn int<T: Int>(self, src: T) -> T;
    fn float<T: Float>(self, src: T) -> T::Bits;
}

#[derive(Clone, Copy)]
pub(super) struct Sum;
#[derive(Clone, Copy)]
pub(super) struct Product;
#[derive(Clone, Copy)]
pub(super) struct Min;
#[derive(Clone, Copy)]
pub(super) struct Max;
/// The sum that completes an average, divided.
#[derive(Clone, Copy)]
pub(super) struct Average(Divide);
/// The sum of what was received and an input not yet multiplied.
#[derive(Clone, Copy)]
pub(super) struct PreMulSum(Multiply);
#[derive(Clone, Copy)]
pub(super) struct Divide {
    ranks: NonZeroU32,
}
#[derive(Clone, Copy)]
pub(super) struct Multiply {
    factor: u64,
}

impl Op for Sum {
    #[inline(always)]
    fn new(_: &Scale) -> Self {
        Self
    }

    #[inline(always)]
    fn int<T: Int>(self, a: T, b: T) -> T {
        a.wrapping_add(b)
    }

    #[inline(always)]
    fn float<T: Float>(self, a: T, b: T) -> T::Bits {
        (a + b).canonical()
    }
}

impl Op for Product {
    #[inline(always)]
    fn new(_: &Scale) -> Self {
        Self
    }

    #[inline(always)]
    fn int<T: Int>(self, a: T, b: T) -> T {
        a.wrapping_mul(b)
    }

    #[inline(always)]
    fn float<T: Float>(self, a: T, b: T) -> T::Bits {
        (a * b).canonical()
    }
}

// The float forms of Min and Max: two selects that x86 has as single instructions (`minps` gives
// its second operand when the two are equal or unordered). Where the operands are equal the two
// selects hold one each, so OR gives −0 for {−0, +0} and AND gives +0.

impl Op for Min {
    #[inline(always)]
    fn new(_: &Scale) -> Self {
        Self
    }

    #[inline(always)]
    fn int<T: Int>(self, a: T, b: T) -> T {
        a.min(b)
    }

    #[inline(always)]
    fn float<T: Float>(self, a: T, b: T) -> T::Bits {
        let first = if a < b { a } else { b };
        let second = if b < a { b } else { a };
        let bits = first.to_bits() | second.to_bits();
        if a.is_nan() | b.is_nan() { T::NAN } else { bits }
    }
}

impl Op for Max {
    #[inline(always)]
    fn new(_: &Scale) -> Self {
        Self
    }

    #[inline(always)]
    fn int<T: Int>(self, a: T, b: T) -> T {
        a.max(b)
    }

    #[inline(always)]
    fn float<T: Float>(self, a: T, b: T) -> T::Bits {
        let first = if a > b { a } else { b };
        let second = if b > a { b } else { a };
        let bits = first.to_bits() & second.to_bits();
        if a.is_nan() | b.is_nan() { T::NAN } else { bits }
    }
}

impl Op for Average {
    #[inline(always)]
    fn new(scale: &Scale) -> Self {
        Self(Divide::new(scale))
    }

    #[inline(always)]
    fn int<T: Int>(self, a: T, b: T) -> T {
        self.0.int(a.wrapping_add(b))
    }

    #[inline(always)]
    fn float<T: Float>(self, a: T, b: T) -> T::Bits {
        self.0.float(a + b)
    }
}

impl Op for PreMulSum {
    const COMMUTES: bool = false;

    #[inline(always)]
    fn new(scale: &Scale) -> Self {
        Self(Multiply::new(scale))
    }

    #[inline(always)]
    fn int<T: Int>(self, received: T, src: T) -> T {
        received.wrapping_add(self.0.int(src))
    }

    #[inline(always)]
    fn float<T: Float>(self, received: T, src: T) -> T::Bits {
        (received + src * T::from_word(self.0.factor)).canonical()
    }
}

impl Step for Divide {
    #[inline(always)]
    fn new(scale: &Scale) -> Self {
        Self { ranks: scale.ranks }
    }

    #[inline(always)]
    fn int<T: Int>(self, src: T) -> T {
        src.divided_by(self.ranks)
    }

    #[inline(always)]
    fn float<T: Float>(self, src: T) -> T::Bits {
        (src / T::from_ranks(self.ranks.get())).canonical()
    }
}

impl Step for Multiply {
    #[inline(always)]
    fn new(scale: &Scale) -> Self {
        Self { factor: scale.factor }
    }

    #[inline(always)]
    fn int<T: Int>(self, src: T) -> T {
        src.wrapping_mul(T::from_word(self.factor))
    }

    #[inline(always)]
    fn float<T: Float>(self, src: T) -> T::Bits {
        (src * T::from_word(self.factor)).canonical()
    }
}

pub(super) trait Int: Copy + Ord {
    fn from_word(word: u64) -> Self;
    fn wrapping_add(self, other: Self) -> Self;
    fn wrapping_mul(self, other: Self) -> Self;
    /// The quotient, truncated.
    fn divided_by(self, ranks: NonZeroU32) -> Self;
}

macro_rules! int {
    ($($type:ident: |$n:ident, $ranks:ident| $quotient:expr;)*) => {$(
        impl Int for $type {
            #[inline(always)]
            fn from_word(word: u64) -> Self {
                word as $type
            }

            #[inline(always)]
            fn wrapping_add(self, other: Self) -> Self {
                $type::wrapping_add(self, other)
            }

            #[inline(always)]
            fn wrapping_mul(self, other: Self) -> Self {
                $type::wrapping_mul(self, other)
            }

            #[inline(always)]
            fn divided_by(self, ranks: NonZeroU32) -> Self {
                let ($n, $ranks) = (self, ranks.get());
                $quotient
            }
        }
    )*};
}

// Vectors divide no integers, but floats. A quotient that is not whole lies at least 1/ranks away
// from the next whole number, and a float whose mantissa is longer than the dividend rounds it by
// less than that: truncating gives the same. (For 64 bits no float is long enough.) A conversion
// that saturates would not become vector instructions.
int! {
    i8: |n, ranks| truncated_f32(f32::from(n) / ranks as f32) as i8;
    u8: |n, ranks| truncated_f32(f32::from(n) / ranks as f32) as u8;
    i16: |n, ranks| truncated_f32(f32::from(n) / ranks as f32) as i16;
    u16: |n, ranks| truncated_f32(f32::from(n) / ranks as f32) as u16;
    // SAFETY: `ranks` is not zero, so the quotient is in the dividend's range.
    i32: |n, ranks| unsafe { (f64::from(n) / f64::from(ranks)).to_int_unchecked() };
    // SAFETY: as above.
    u32: |n, ranks| unsafe { (f64::from(n) / f64::from(ranks)).to_int_unchecked() };
    i64: |n, ranks| n / i64::from(ranks);
    u64: |n, ranks| n / u64::from(ranks);
}

/// A quotient of 16 bits at most, truncated.
#[inline(always)]
fn truncated_f32(quotient: f32) -> i32 {
    // SAFETY: 16 bits divided by a `NonZeroU32` are finite, and of a magnitude below 2^17.
    unsafe { quotient.to_int_unchecked() }
}

pub(super) trait Float:
    Copy + PartialOrd + Add<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    type Bits: Copy + BitAnd<Output = Self::Bits> + BitOr<Output = Self::Bits>;
    const NAN: Self::Bits;
    fn from_word(word: u64) -> Self;
    fn from_ranks(ranks: u32) -> Self;
    fn is_nan(self) -> bool;
    fn to_bits(self) -> Self::Bits;

    /// Its bits, of a NaN the one that a result may be.
    #[inline(always)]
    fn canonical(self) -> Self::Bits {
        if self.is_nan() { Self::NAN } else { self.to_bits() }
    }
}

macro_rules! float {
    ($type:ty, $bits:ty, $nan:expr) => {
        impl Float for $type {
            type Bits = $bits;
            const NAN: $bits = $nan;

            #[inline(always)]
            fn from_word(word: u64) -> Self {
                <$type>::from_bits(word as $bits)
            }

            #[inline(always)]
            fn from_ranks(ranks: u32) -> Self {
                ranks as $type
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }

            #[inline(always)]
            fn to_bits(self) -> $bits {
                <$type>::to_bits(self)
            }
        }
    };
}

float!(f32, u32, F32_NAN);
float!(f64, u64, F64_NAN);
