//! Owns the meaning of a reduction: one element at a time, on little-endian bytes, with no regard
//! for speed.
//!
//! The value of an instruction is `round(post(received ∘ pre(src)))`: `pre` multiplies by this
//! rank's factor, where `src` is an input of a pre-multiplied sum; `post` divides by the number of
//! ranks, where an average is complete. Each step is one IEEE operation in f64 for f64 and in f32
//! for the other floats (never a fused one), and the last rounds once to the element's type, to
//! nearest even; NaNs become the canonical one. Integers wrap, and their quotient is truncated.
//!
//! Every faster implementation, on whatever instruction set or device, must agree with this one
//! bit for bit.

use half::{bf16, f16};
use thiserror::Error;

use crate::{DataType, F8E4M3, F8E5M2, FactorMisfit, ReduceOp};

/// The one NaN that an f32 result may be, as bits: quiet, positive, no payload.
pub const F32_NAN: u32 = 0x7fc0_0000;
/// The one NaN that an f64 result may be, as bits.
pub const F64_NAN: u64 = 0x7ff8_0000_0000_0000;
/// The one NaN that a bf16 result may be, as bits.
pub const BF16_NAN: u16 = 0x7fc0;
/// The one NaN that an f16 result may be, as bits.
pub const F16_NAN: u16 = 0x7e00;

/// At which ends of the reduction an instruction stands, besides what lies between: whether the
/// operation's first and last step apply to it, if it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ends {
    /// Its source is an input as the rank gave it: a pre-multiplied sum multiplies it.
    pub pre: bool,
    /// Its value is the complete reduction: an average divides it.
    pub finish: bool,
}

impl Ends {
    /// In the middle: neither applies.
    pub const NONE: Self = Self { pre: false, finish: false };
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::NONE,
        Self { pre: true, finish: false },
        Self { pre: false, finish: true },
        Self { pre: true, finish: true },
    ];
}

/// Buffers that do not hold the same whole number of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "cannot combine {received} received bytes with {src} bytes of source into {out} bytes of \
     {dtype}: the lengths must be equal and a multiple of {element_bytes}",
    element_bytes = dtype.size()
)]
#[non_exhaustive]
pub struct LengthMismatch {
    /// The type of the elements.
    pub dtype: DataType,
    /// Bytes of the received operand; of the source where there is none.
    pub received: usize,
    /// Bytes of the source operand.
    pub src: usize,
    /// Bytes of the result.
    pub out: usize,
}

/// Writes `received ∘ src` to `out`, element by element: an instruction in the middle.
///
/// All three hold elements of `dtype` as little-endian bytes, at any alignment. No operation
/// depends on which operand comes first.
///
/// # Errors
/// [`LengthMismatch`] unless the lengths are equal and a multiple of the element's size; `out` is
/// then untouched.
pub fn combine(
    dtype: DataType,
    op: ReduceOp,
    received: &[u8],
    src: &[u8],
    out: &mut [u8],
) -> Result<(), LengthMismatch> {
    // In the middle neither the ranks nor the factor are of any meaning.
    Reduction { dtype, op, ranks: 1, factor: 0 }.value(Ends::NONE, Some(received), src, out)
}

/// The reduction of one type by one operation over a number of ranks.
#[derive(Debug, Clone, Copy)]
pub struct Reduction {
    dtype: DataType,
    op: ReduceOp,
    ranks: u32,
    /// The factor of a pre-multiplied sum of integers.
    factor: i128,
}

impl Reduction {
    /// Over `ranks` ranks (none count as one), which an average divides by.
    ///
    /// # Errors
    /// [`FactorMisfit`] where the operation's factor is no number of an integer type.
    pub fn new(dtype: DataType, op: ReduceOp, ranks: u32) -> Result<Self, FactorMisfit> {
        let factor = match op {
            ReduceOp::PreMulSum(factor) if dtype.integer_range().is_some() => {
                factor.to_integer(dtype)?
            }
            _ => 0,
        };
        Ok(Self { dtype, op, ranks: ranks.max(1), factor })
    }

    /// Whether the first or last step of the operation applies at these ends.
    pub const fn applies(&self, ends: Ends) -> bool {
        match self.op {
            ReduceOp::PreMulSum(_) => ends.pre,
            ReduceOp::Average => ends.finish,
            ReduceOp::Sum | ReduceOp::Product | ReduceOp::Max | ReduceOp::Min => false,
        }
    }

    /// Writes the value of an instruction to `out`: of what it received, if it did, and its source.
    ///
    /// Where nothing was received and no step applies, the value is the source, bit for bit.
    ///
    /// # Errors
    /// [`LengthMismatch`] unless the lengths are equal and a multiple of the element's size; `out`
    /// is then untouched.
    pub fn value(
        &self,
        ends: Ends,
        received: Option<&[u8]>,
        src: &[u8],
        out: &mut [u8],
    ) -> Result<(), LengthMismatch> {
        let dtype = self.dtype;
        let received_bytes = received.map_or(src.len(), <[u8]>::len);
        let whole = out.len().is_multiple_of(dtype.size());
        if received_bytes != out.len() || src.len() != out.len() || !whole {
            let (src, out) = (src.len(), out.len());
            return Err(LengthMismatch { dtype, received: received_bytes, src, out });
        }
        if received.is_none() && !self.applies(ends) {
            out.copy_from_slice(src);
            return Ok(());
        }
        match dtype {
            DataType::I8 => each(received, src, out, |a, b| self.i8(ends, a, b)),
            DataType::U8 => each(received, src, out, |a, b| self.u8(ends, a, b)),
            DataType::I16 => each(received, src, out, |a, b| self.i16(ends, a, b)),
            DataType::U16 => each(received, src, out, |a, b| self.u16(ends, a, b)),
            DataType::I32 => each(received, src, out, |a, b| self.i32(ends, a, b)),
            DataType::U32 => each(received, src, out, |a, b| self.u32(ends, a, b)),
            DataType::I64 => each(received, src, out, |a, b| self.i64(ends, a, b)),
            DataType::U64 => each(received, src, out, |a, b| self.u64(ends, a, b)),
            DataType::F64 => each(received, src, out, |a: Option<_>, b| {
                let value = self.in_f64(ends, a.map(f64::from_le_bytes), f64::from_le_bytes(b));
                if value.is_nan() { F64_NAN.to_le_bytes() } else { value.to_le_bytes() }
            }),
            DataType::F32 => each(received, src, out, |a: Option<_>, b| {
                let value = self.in_f32(ends, a.map(f32::from_le_bytes), f32::from_le_bytes(b));
                if value.is_nan() { F32_NAN.to_le_bytes() } else { value.to_le_bytes() }
            }),
            DataType::Bf16 => each(received, src, out, |a, b| {
                let wide = |bytes| bf16::from_le_bytes(bytes).to_f32();
                let value = self.in_f32(ends, a.map(wide), wide(b));
                let bits = if value.is_nan() { BF16_NAN } else { bf16::from_f32(value).to_bits() };
                bits.to_le_bytes()
            }),
            DataType::F16 => each(received, src, out, |a, b| {
                let wide = |bytes| f16::from_le_bytes(bytes).to_f32();
                let value = self.in_f32(ends, a.map(wide), wide(b));
                let bits = if value.is_nan() { F16_NAN } else { f16::from_f32(value).to_bits() };
                bits.to_le_bytes()
            }),
            DataType::F8E4M3 => each(received, src, out, |a, [b]| {
                let wide = |bits| F8E4M3::from_bits(bits).to_f32();
                [F8E4M3::from_f32(self.in_f32(ends, a.map(|[a]| wide(a)), wide(b))).to_bits()]
            }),
            DataType::F8E5M2 => each(received, src, out, |a, [b]| {
                let wide = |bits| F8E5M2::from_bits(bits).to_f32();
                [F8E5M2::from_f32(self.in_f32(ends, a.map(|[a]| wide(a)), wide(b))).to_bits()]
            }),
        }
        Ok(())
    }
}

fn each<const N: usize>(
    received: Option<&[u8]>,
    src: &[u8],
    out: &mut [u8],
    element: impl Fn(Option<[u8; N]>, [u8; N]) -> [u8; N],
) {
    let (src, _) = src.as_chunks::<N>();
    let (out, _) = out.as_chunks_mut::<N>();
    for (index, (out, &src)) in out.iter_mut().zip(src).enumerate() {
        let received = received.map(|received| received.as_chunks::<N>().0[index]);
        *out = element(received, src);
    }
}

macro_rules! integers {
    ($($type:ident, $bytes:literal);*) => {
        impl Reduction {$(
            fn $type(&self, ends: Ends, a: Option<[u8; $bytes]>, b: [u8; $bytes]) -> [u8; $bytes] {
                let mut value = $type::from_le_bytes(b);
                if self.applies(ends) && matches!(self.op, ReduceOp::PreMulSum(_)) {
                    value = value.wrapping_mul(self.factor as $type);
                }
                if let Some(a) = a.map($type::from_le_bytes) {
                    value = match self.op {
                        ReduceOp::Sum | ReduceOp::Average | ReduceOp::PreMulSum(_) => {
                            a.wrapping_add(value)
                        }
                        ReduceOp::Product => a.wrapping_mul(value),
                        ReduceOp::Max => a.max(value),
                        ReduceOp::Min => a.min(value),
                    };
                }
                if self.applies(ends) && self.op == ReduceOp::Average {
                    value = (i128::from(value) / i128::from(self.ranks)) as $type;
                }
                value.to_le_bytes()
            }
        )*}
    };
}

integers!(i8, 1; u8, 1; i16, 2; u16, 2; i32, 4; u32, 4; i64, 8; u64, 8);

macro_rules! floats {
    ($($name:ident: $type:ident, $factor:ident);*) => {
        impl Reduction {$(
            fn $name(&self, ends: Ends, a: Option<$type>, b: $type) -> $type {
                let mut value = match self.op {
                    ReduceOp::PreMulSum(factor) if self.applies(ends) => b * factor.$factor(),
                    _ => b,
                };
                if let Some(a) = a {
                    let b = value;
                    let a_below_b = a < b || (a == b && a.is_sign_negative());
                    value = match self.op {
                        ReduceOp::Sum | ReduceOp::Average | ReduceOp::PreMulSum(_) => a + b,
                        ReduceOp::Product => a * b,
                        ReduceOp::Max | ReduceOp::Min if a.is_nan() || b.is_nan() => $type::NAN,
                        ReduceOp::Max if a_below_b => b,
                        ReduceOp::Min if !a_below_b => b,
                        ReduceOp::Max | ReduceOp::Min => a,
                    };
                }
                match self.op {
                    ReduceOp::Average if self.applies(ends) => value / self.ranks as $type,
                    _ => value,
                }
            }
        )*}
    };
}

floats!(in_f32: f32, to_f32; in_f64: f64, to_f64);

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(op: ReduceOp, a: f32, b: f32) -> u32 {
        let mut out = [0; 4];
        combine(DataType::F32, op, &a.to_le_bytes(), &b.to_le_bytes(), &mut out).unwrap();
        u32::from_le_bytes(out)
    }

    fn bf16s(op: ReduceOp, a: u16, b: u16) -> u16 {
        let mut out = [0; 2];
        combine(DataType::Bf16, op, &a.to_le_bytes(), &b.to_le_bytes(), &mut out).unwrap();
        u16::from_le_bytes(out)
    }

    #[test]
    fn every_nan_result_is_the_canonical_one() {
        let payload = f32::from_bits(0xffc1_2345);
        for op in ReduceOp::ALL {
            assert_eq!(f32s(op, payload, 1.0), F32_NAN);
            assert_eq!(f32s(op, 1.0, payload), F32_NAN);
            assert_eq!(bf16s(op, 0xffc1, 0x3f80), BF16_NAN);
            assert_eq!(bf16s(op, 0x7f81, 0x3f80), BF16_NAN);
        }
        assert_eq!(f32s(ReduceOp::Sum, f32::INFINITY, f32::NEG_INFINITY), F32_NAN);
        assert_eq!(bf16s(ReduceOp::Sum, 0x7f80, 0xff80), BF16_NAN);
    }

    #[test]
    fn minus_zero_is_below_plus_zero_in_either_order() {
        let (minus, plus) = ((-0.0f32).to_bits(), 0.0f32.to_bits());
        for (a, b) in [(-0.0, 0.0), (0.0, -0.0)] {
            assert_eq!(f32s(ReduceOp::Min, a, b), minus);
            assert_eq!(f32s(ReduceOp::Max, a, b), plus);
        }
    }

    #[test]
    fn bf16_sums_round_ties_to_even_and_keep_subnormals() {
        assert_eq!(bf16s(ReduceOp::Sum, 0x3f80, 0x3b80), 0x3f80, "1 + 2^-8 ties down to even");
        assert_eq!(bf16s(ReduceOp::Sum, 0x3f81, 0x3b80), 0x3f82, "1 + 2^-7 + 2^-8 ties up to even");
        assert_eq!(bf16s(ReduceOp::Sum, 0x007b, 0x808d), 0x8012);
        assert_eq!(bf16s(ReduceOp::Sum, 0x7f7f, 0x7f7f), 0x7f80, "overflow is infinite");
    }

    #[test]
    fn integer_sums_wrap() {
        let mut out = [0; 4];
        let (a, b) = (i32::MAX.to_le_bytes(), 1i32.to_le_bytes());
        combine(DataType::I32, ReduceOp::Sum, &a, &b, &mut out).unwrap();
        assert_eq!(i32::from_le_bytes(out), i32::MIN);
    }

    #[test]
    fn unequal_or_ragged_lengths_are_refused_untouched() {
        let mut out = [7; 4];
        let error = combine(DataType::F32, ReduceOp::Sum, &[0; 4], &[0; 8], &mut out).unwrap_err();
        assert_eq!((error.received, error.src, error.out), (4, 8, 4));
        assert!(combine(DataType::I64, ReduceOp::Sum, &[0; 4], &[0; 4], &mut out).is_err());
        assert_eq!(out, [7; 4]);
    }
}
