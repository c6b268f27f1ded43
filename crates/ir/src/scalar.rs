//! Owns the meaning of a reduction: one element at a time, on little-endian bytes, with no regard
//! for speed.
//!
//! Every faster implementation, on whatever instruction set or device, must agree with this one
//! bit for bit.

use half::bf16;
use thiserror::Error;

use crate::{DataType, ReduceOp};

/// The one NaN that an f32 result may be, as bits: quiet, positive, no payload.
pub const F32_NAN: u32 = 0x7fc0_0000;
/// The one NaN that an f64 result may be, as bits.
pub const F64_NAN: u64 = 0x7ff8_0000_0000_0000;
/// The one NaN that a bf16 result may be, as bits.
pub const BF16_NAN: u16 = 0x7fc0;

/// Three buffers that do not hold the same whole number of elements.
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
    /// Bytes of the received operand.
    pub received: usize,
    /// Bytes of the source operand.
    pub src: usize,
    /// Bytes of the result.
    pub out: usize,
}

/// Writes `received ∘ src` to `out`, element by element.
///
/// All three hold elements of `dtype` as little-endian bytes, at any alignment. The received
/// operand comes first; no operation here depends on that order, but one that did would use it.
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
    let (a, b, o) = (received.len(), src.len(), out.len());
    if a != o || b != o || o % dtype.size() != 0 {
        return Err(LengthMismatch { dtype, received: a, src: b, out: o });
    }
    match dtype {
        DataType::U8 => each(received, src, out, |a, b| u8::to_le_bytes(u8_of(op, a, b))),
        DataType::I32 => each(received, src, out, |a, b| i32::to_le_bytes(i32_of(op, a, b))),
        DataType::I64 => each(received, src, out, |a, b| i64::to_le_bytes(i64_of(op, a, b))),
        DataType::Bf16 => each(received, src, out, |a, b| u16::to_le_bytes(bf16_of(op, a, b))),
        DataType::F32 => each(received, src, out, |a, b| {
            u32::to_le_bytes(f32_of(op, f32::from_le_bytes(a), f32::from_le_bytes(b)))
        }),
        DataType::F64 => each(received, src, out, |a, b| {
            u64::to_le_bytes(f64_of(op, f64::from_le_bytes(a), f64::from_le_bytes(b)))
        }),
    }
    Ok(())
}

fn each<const N: usize>(
    received: &[u8],
    src: &[u8],
    out: &mut [u8],
    element: impl Fn([u8; N], [u8; N]) -> [u8; N],
) {
    let (received, _) = received.as_chunks::<N>();
    let (src, _) = src.as_chunks::<N>();
    let (out, _) = out.as_chunks_mut::<N>();
    for ((out, &received), &src) in out.iter_mut().zip(received).zip(src) {
        *out = element(received, src);
    }
}

fn u8_of(op: ReduceOp, a: [u8; 1], b: [u8; 1]) -> u8 {
    let (a, b) = (u8::from_le_bytes(a), u8::from_le_bytes(b));
    match op {
        ReduceOp::Sum => a.wrapping_add(b),
        ReduceOp::Min => a.min(b),
        ReduceOp::Max => a.max(b),
    }
}

fn i32_of(op: ReduceOp, a: [u8; 4], b: [u8; 4]) -> i32 {
    let (a, b) = (i32::from_le_bytes(a), i32::from_le_bytes(b));
    match op {
        ReduceOp::Sum => a.wrapping_add(b),
        ReduceOp::Min => a.min(b),
        ReduceOp::Max => a.max(b),
    }
}

fn i64_of(op: ReduceOp, a: [u8; 8], b: [u8; 8]) -> i64 {
    let (a, b) = (i64::from_le_bytes(a), i64::from_le_bytes(b));
    match op {
        ReduceOp::Sum => a.wrapping_add(b),
        ReduceOp::Min => a.min(b),
        ReduceOp::Max => a.max(b),
    }
}

/// Widens to f32, reduces there, rounds once to nearest even; subnormals are kept.
fn bf16_of(op: ReduceOp, a: [u8; 2], b: [u8; 2]) -> u16 {
    let value = f32::from_bits(f32_of(
        op,
        bf16::from_le_bytes(a).to_f32(),
        bf16::from_le_bytes(b).to_f32(),
    ));
    if value.is_nan() { BF16_NAN } else { bf16::from_f32(value).to_bits() }
}

fn f32_of(op: ReduceOp, a: f32, b: f32) -> u32 {
    if a.is_nan() || b.is_nan() {
        return F32_NAN;
    }
    let a_below_b = a < b || (a == b && a.is_sign_negative());
    let value = match op {
        ReduceOp::Sum => a + b,
        ReduceOp::Min if a_below_b => a,
        ReduceOp::Max if !a_below_b => a,
        ReduceOp::Min | ReduceOp::Max => b,
    };
    if value.is_nan() { F32_NAN } else { value.to_bits() }
}

fn f64_of(op: ReduceOp, a: f64, b: f64) -> u64 {
    if a.is_nan() || b.is_nan() {
        return F64_NAN;
    }
    let a_below_b = a < b || (a == b && a.is_sign_negative());
    let value = match op {
        ReduceOp::Sum => a + b,
        ReduceOp::Min if a_below_b => a,
        ReduceOp::Max if !a_below_b => a,
        ReduceOp::Min | ReduceOp::Max => b,
    };
    if value.is_nan() { F64_NAN } else { value.to_bits() }
}

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
