//! Owns the words of f16 that x86-64 has instructions to widen and to round.
//!
//! Their bits are those of [`Narrow`](super::narrow::Narrow): subnormals are kept whatever the
//! thread's modes say, and the canonical NaN of f32 becomes that of f16. (A NaN's payload may
//! survive widening; what is computed from it is canonical.)

use std::arch::x86_64::{
    _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_cvtph_ps, _mm256_cvtps_ph,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_storeu_ps, _mm256_storeu_si256, _mm512_cvtph_ps,
    _mm512_cvtps_ph, _mm512_loadu_ps, _mm512_storeu_ps,
};
use std::array::from_fn;

use super::element::{Op, Step};
use super::word::{StepWord, Word};

/// 8 at a time, by F16C.
pub(super) struct F16x8;
/// 16 at a time, by AVX-512.
pub(super) struct F16x16;

macro_rules! f16_word {
    ($word:ident, $lanes:literal, $bytes:literal, $load:ident, $widen:ident, $store_wide:ident,
     $load_wide:ident, $narrow:ident, $store:ident) => {
        impl $word {
            /// # Safety
            /// The CPU has the instructions.
            #[inline(always)]
            unsafe fn widened(bytes: [u8; $bytes]) -> [f32; $lanes] {
                let mut wide = [0.0; $lanes];
                // SAFETY: the arrays are as long as what is loaded and stored, at any alignment;
                // the caller has seen to the instructions.
                unsafe { $store_wide(wide.as_mut_ptr(), $widen($load(bytes.as_ptr().cast()))) };
                wide
            }

            /// # Safety
            /// The CPU has the instructions.
            #[inline(always)]
            unsafe fn rounded(wide: [u32; $lanes]) -> [u8; $bytes] {
                let mut bytes = [0; $bytes];
                // SAFETY: as above.
                unsafe {
                    let wide = $load_wide(wide.as_ptr().cast());
                    let narrow = $narrow::<{ _MM_FROUND_TO_NEAREST_INT }>(wide);
                    $store(bytes.as_mut_ptr().cast(), narrow);
                }
                bytes
            }
        }

        impl Word<$bytes> for $word {
            #[inline(always)]
            fn combine<O: Op>(op: O, a: [u8; $bytes], b: [u8; $bytes]) -> [u8; $bytes] {
                // SAFETY: the loops over this word are chosen where the CPU has the instructions.
                unsafe {
                    let (a, b) = (Self::widened(a), Self::widened(b));
                    Self::rounded(from_fn(|i| op.float(a[i], b[i])))
                }
            }
        }

        impl StepWord<$bytes> for $word {
            #[inline(always)]
            fn take<S: Step>(step: S, src: [u8; $bytes]) -> [u8; $bytes] {
                // SAFETY: the loops over this word are chosen where the CPU has the instructions.
                unsafe {
                    let src = Self::widened(src);
                    Self::rounded(from_fn(|i| step.float(src[i])))
                }
            }
        }
    };
}

f16_word!(
    F16x8,
    8,
    16,
    _mm_loadu_si128,
    _mm256_cvtph_ps,
    _mm256_storeu_ps,
    _mm256_loadu_ps,
    _mm256_cvtps_ph,
    _mm_storeu_si128
);
f16_word!(
    F16x16,
    16,
    32,
    _mm256_loadu_si256,
    _mm512_cvtph_ps,
    _mm512_storeu_ps,
    _mm512_loadu_ps,
    _mm512_cvtps_ph,
    _mm256_storeu_si256
);
