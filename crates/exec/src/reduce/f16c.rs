//! Owns the conversions of f16 by the instructions that x86-64 has for them.
//!
//! Their bits are those of [`Portable`]: subnormals are kept whatever the thread's modes say, and
//! the canonical NaN of f32 becomes that of f16. (A NaN's payload may survive widening; what is
//! computed from it is canonical.)

use std::arch::x86_64::{
    __m256i, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_castps_si256,
    _mm256_castsi256_ps, _mm256_cvtph_ps, _mm256_cvtps_ph, _mm256_loadu_si256, _mm256_storeu_si256,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cvtph_ps, _mm512_cvtps_ph, _mm512_loadu_si512,
    _mm512_storeu_si512,
};

use half::f16;

use super::narrow::{Convert, Portable};

/// By F16C: 8 at a time.
pub(super) struct F16c;
/// By AVX-512: 16 at a time.
pub(super) struct F16Avx512;

impl Convert for F16c {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn widen(from: &[u8], to: &mut [u32]) {
        let (from, from_rest) = from.as_chunks::<16>();
        let (to, to_rest) = to.as_chunks_mut::<8>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: the arrays are as long as what is loaded and stored, at any alignment; the
            // caller has seen to the instruction set.
            unsafe {
                let wide = _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()));
                _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_castps_si256(wide));
            }
        }
        // SAFETY: it needs no instruction set.
        unsafe { Portable::<f16>::widen(from_rest, to_rest) }
    }

    #[inline(always)]
    unsafe fn narrow(from: &[u32], to: &mut [u8]) {
        let (from, from_rest) = from.as_chunks::<8>();
        let (to, to_rest) = to.as_chunks_mut::<16>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: as above.
            unsafe {
                let wide: __m256i = _mm256_loadu_si256(from.as_ptr().cast());
                let wide = _mm256_castsi256_ps(wide);
                let narrow = _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(wide);
                _mm_storeu_si128(to.as_mut_ptr().cast(), narrow);
            }
        }
        // SAFETY: it needs no instruction set.
        unsafe { Portable::<f16>::narrow(from_rest, to_rest) }
    }
}

impl Convert for F16Avx512 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn widen(from: &[u8], to: &mut [u32]) {
        let (from, from_rest) = from.as_chunks::<32>();
        let (to, to_rest) = to.as_chunks_mut::<16>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: as above.
            unsafe {
                let wide = _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast()));
                _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_castps_si512(wide));
            }
        }
        // SAFETY: AVX-512 includes F16C.
        unsafe { F16c::widen(from_rest, to_rest) }
    }

    #[inline(always)]
    unsafe fn narrow(from: &[u32], to: &mut [u8]) {
        let (from, from_rest) = from.as_chunks::<16>();
        let (to, to_rest) = to.as_chunks_mut::<32>();
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: as above.
            unsafe {
                let wide = _mm512_castsi512_ps(_mm512_loadu_si512(from.as_ptr().cast()));
                let narrow = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(wide);
                _mm256_storeu_si256(to.as_mut_ptr().cast(), narrow);
            }
        }
        // SAFETY: AVX-512 includes F16C.
        unsafe { F16c::narrow(from_rest, to_rest) }
    }
}
