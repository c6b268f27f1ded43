//! Owns the way of narrow floats to f32 and back, without a reduction: for calls that compute in f32 from end
//! to end.

use crosstie_ir::scalar::BF16_NAN;
use crosstie_ir::{DataType, F8E4M3, F8E5M2};
use crosstie_transport::Region;
use half::{bf16, f16};

use super::narrow::{Format, narrowed, widened};
use super::{ReduceError, apart, as_mut_slice, as_slice};

/// Bytes of an f32.
const WIDE: usize = size_of::<f32>();

/// Whether elements of this type are narrower than what they are computed in.
pub(crate) const fn is_narrow(dtype: DataType) -> bool {
    matches!(dtype, DataType::F16 | DataType::Bf16 | DataType::F8E4M3 | DataType::F8E5M2)
}

/// Writes the numbers in `src`, of the narrow type `dtype`, to `dst` as f32.
///
/// # Errors
/// [`ReduceError`] when the lengths do not fit each other or the regions overlap; [`ReduceError::NotNarrow`].
pub(crate) fn widen(dtype: DataType, src: Region, dst: Region) -> Result<(), ReduceError> {
    check(dtype, (src.len(), dst.len()), src, dst)?;
    // SAFETY: `Region::from_raw_parts` vouches that each is valid and that nobody else touches it;
    // the two lie apart.
    let (src, dst) = unsafe { (as_slice(src), as_mut_slice(dst)) };
    match dtype {
        DataType::Bf16 => {
            each(src, dst, |code| (u32::from(u16::from_le_bytes(code)) << 16).to_le_bytes());
        }
        DataType::F16 => {
            each(src, dst, |code| widened::<f16>(u16::from_le_bytes(code).into()).to_le_bytes());
        }
        DataType::F8E4M3 => widen_bytes::<F8E4M3>(src, dst),
        DataType::F8E5M2 => widen_bytes::<F8E5M2>(src, dst),
        _ => return Err(ReduceError::NotNarrow { dtype }),
    }
    Ok(())
}

/// Writes the f32 in `src` to `dst`, each rounded once to the narrow type `dtype`, to nearest even.
///
/// # Errors
/// As for [`widen`].
pub(crate) fn round(dtype: DataType, src: Region, dst: Region) -> Result<(), ReduceError> {
    check(dtype, (dst.len(), src.len()), src, dst)?;
    // SAFETY: as in `widen`.
    let (src, dst) = unsafe { (as_slice(src), as_mut_slice(dst)) };
    match dtype {
        DataType::Bf16 => {
            each(src, dst, |wide| to_bf16(f32::from_le_bytes(wide)).to_le_bytes());
        }
        DataType::F16 => {
            each(src, dst, |wide| (narrowed::<f16>(u32::from_le_bytes(wide)) as u16).to_le_bytes());
        }
        DataType::F8E4M3 => round_bytes::<F8E4M3>(src, dst),
        DataType::F8E5M2 => round_bytes::<F8E5M2>(src, dst),
        _ => return Err(ReduceError::NotNarrow { dtype }),
    }
    Ok(())
}

fn to_bf16(wide: f32) -> u16 {
    if wide.is_nan() { BF16_NAN } else { bf16::from_f32(wide).to_bits() }
}

fn widen_bytes<F: Format>(src: &[u8], dst: &mut [u8]) {
    each(src, dst, |[code]: [u8; 1]| widened::<F>(code.into()).to_le_bytes());
}

fn round_bytes<F: Format>(src: &[u8], dst: &mut [u8]) {
    each(src, dst, |wide| [narrowed::<F>(u32::from_le_bytes(wide)) as u8]);
}

fn each<const A: usize, const B: usize>(
    src: &[u8],
    dst: &mut [u8],
    one: impl Fn([u8; A]) -> [u8; B],
) {
    let (src, dst) = (src.as_chunks::<A>().0, dst.as_chunks_mut::<B>().0);
    for (dst, &src) in dst.iter_mut().zip(src) {
        *dst = one(src);
    }
}

/// Whether the one holds as many elements of `dtype` as the other f32, and they lie apart.
fn check(
    dtype: DataType,
    (narrow, wide): (usize, usize),
    src: Region,
    dst: Region,
) -> Result<(), ReduceError> {
    let element_bytes = dtype.size();
    if !narrow.is_multiple_of(element_bytes) || wide != narrow / element_bytes * WIDE {
        return Err(ReduceError::Lengths { received: wide, src: wide, dst: narrow, element_bytes });
    }
    if apart(src, dst) { Ok(()) } else { Err(ReduceError::overlap(src, src, dst)) }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use crosstie_ir::scalar::F16_NAN;

    use super::*;

    fn region(bytes: &mut [u8]) -> Region {
        // SAFETY: the tests keep the bytes, and use the regions one after the other.
        unsafe { Region::from_raw_parts(NonNull::from(&mut *bytes).cast(), bytes.len()) }
    }

    const NARROW: [DataType; 4] =
        [DataType::F16, DataType::Bf16, DataType::F8E4M3, DataType::F8E5M2];

    /// Every code, and back: nothing is lost but the payloads of NaNs.
    #[test]
    fn every_code_survives_the_way_to_f32_and_back() {
        for dtype in NARROW {
            let codes: Vec<u8> = match dtype.size() {
                1 => (0..=u8::MAX).collect(),
                _ => (0..=u16::MAX).flat_map(u16::to_le_bytes).collect(),
            };
            let mut given = codes.clone();
            let mut wide = vec![0; codes.len() / dtype.size() * WIDE];
            let mut back = vec![0; codes.len()];
            widen(dtype, region(&mut given), region(&mut wide)).unwrap();
            round(dtype, region(&mut wide), region(&mut back)).unwrap();
            let elements = codes.chunks(dtype.size()).zip(back.chunks(dtype.size()));
            for ((code, back), wide) in elements.zip(wide.as_chunks::<WIDE>().0) {
                let number = f32::from_le_bytes(*wide);
                assert!(number.is_nan() || code == back, "{dtype}: {code:?} became {back:?}");
            }
        }
    }

    /// Beside the types' own conversions, which round one number at a time.
    #[test]
    fn rounding_is_to_nearest_even_and_nan_is_the_canonical_one() {
        let mut state = 1_u32;
        for dtype in NARROW {
            for _ in 0..200_000 {
                state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
                let wide = f32::from_bits(state);
                let mut rounded = vec![0; dtype.size()];
                round(dtype, region(&mut wide.to_le_bytes()), region(&mut rounded)).unwrap();
                assert_eq!(rounded, nearest(dtype, wide), "{dtype} of {wide:e}");
            }
        }
    }

    fn nearest(dtype: DataType, wide: f32) -> Vec<u8> {
        match dtype {
            DataType::F16 if wide.is_nan() => F16_NAN.to_le_bytes().to_vec(),
            DataType::Bf16 if wide.is_nan() => BF16_NAN.to_le_bytes().to_vec(),
            DataType::F16 => f16::from_f32(wide).to_le_bytes().to_vec(),
            DataType::Bf16 => bf16::from_f32(wide).to_le_bytes().to_vec(),
            DataType::F8E4M3 => vec![F8E4M3::from_f32(wide).to_bits()],
            _ => vec![F8E5M2::from_f32(wide).to_bits()],
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let (mut narrow, mut wide) = ([0; 6], [0; 8]);
        let refused = widen(DataType::F16, region(&mut narrow), region(&mut wide));
        assert!(matches!(refused, Err(ReduceError::Lengths { .. })), "{refused:?}");
        let refused = widen(DataType::F32, region(&mut narrow[..4]), region(&mut wide[..4]));
        assert!(matches!(refused, Err(ReduceError::NotNarrow { .. })), "{refused:?}");
    }
}
