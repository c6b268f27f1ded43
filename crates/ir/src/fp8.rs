//! Owns the two 8-bit floats of the OCP specification: what their bits mean, and rounding to them.

use core::cmp::Ordering;
use core::fmt;

use bytemuck::{Pod, Zeroable};

/// An 8-bit float with 4 bits of exponent and 3 of mantissa (OCP FP8 E4M3).
///
/// It has no infinities: ±448 are the greatest, and the two codes above them are NaN. What is too
/// large, infinite too, becomes ±448, as by NVIDIA's conversions (`__NV_SATFINITE`, their default).
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct F8E4M3(u8);

/// An 8-bit float with 5 bits of exponent and 2 of mantissa (OCP FP8 E5M2): the upper half of an
/// IEEE 754 binary16, infinities and NaNs included.
///
/// What is too large becomes infinite, as by IEEE 754 (NVIDIA's `__NV_NOSAT`): an infinity among
/// the summands is then seen in the sum.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct F8E5M2(u8);

impl F8E4M3 {
    /// The one NaN that a result may be.
    pub const NAN: Self = Self(0x7f);
    /// The greatest: 448.
    pub const MAX: Self = Self(0x7e);
    const MANTISSA_BITS: u32 = 3;
    const BIAS: i32 = 7;

    /// Its value, which f32 has exactly.
    pub fn to_f32(self) -> f32 {
        let magnitude = match self.0 & 0x7f {
            0x7f => f32::NAN,
            code => widened(code, Self::MANTISSA_BITS, Self::BIAS),
        };
        if self.0 & SIGN != 0 { -magnitude } else { magnitude }
    }

    /// The nearest, ties to even; ±448 where that is too large; the positive NaN for any NaN.
    pub fn from_f32(value: f32) -> Self {
        if value.is_nan() {
            return Self::NAN;
        }
        let code = nearest(value.abs(), Self::MANTISSA_BITS, Self::BIAS);
        Self(code.min(Self::MAX.0.into()) as u8 | sign(value))
    }
}

impl F8E5M2 {
    /// The one NaN that a result may be: quiet, positive, no payload.
    pub const NAN: Self = Self(0x7e);
    /// The greatest finite one: 57 344.
    pub const MAX: Self = Self(0x7b);
    /// Positive infinity.
    pub const INFINITY: Self = Self(0x7c);
    const MANTISSA_BITS: u32 = 2;
    const BIAS: i32 = 15;

    /// Its value, which f32 has exactly.
    pub fn to_f32(self) -> f32 {
        let magnitude = match self.0 & 0x7f {
            0x7c => f32::INFINITY,
            0x7d.. => f32::NAN,
            code => widened(code, Self::MANTISSA_BITS, Self::BIAS),
        };
        if self.0 & SIGN != 0 { -magnitude } else { magnitude }
    }

    /// The nearest, ties to even; infinite where that is too large; the positive NaN for any NaN.
    pub fn from_f32(value: f32) -> Self {
        if value.is_nan() {
            return Self::NAN;
        }
        let code = nearest(value.abs(), Self::MANTISSA_BITS, Self::BIAS);
        Self(code.min(Self::INFINITY.0.into()) as u8 | sign(value))
    }
}

const SIGN: u8 = 0x80;
/// Beyond what either type holds: instead of larger ones, infinity among them.
const TOO_LARGE: f32 = 131_072.0;

fn sign(value: f32) -> u8 {
    if value.is_sign_negative() { SIGN } else { 0 }
}

/// The value of a finite code without its sign: `mantissa` steps of the finest spacing where the
/// exponent's field is 0, and 1.mantissa times a power of two elsewhere.
fn widened(code: u8, mantissa_bits: u32, bias: i32) -> f32 {
    let field = i32::from(code) >> mantissa_bits;
    let mantissa = u32::from(code) & ((1 << mantissa_bits) - 1);
    let (significand, exponent) = match field {
        0 => (mantissa, 1 - bias),
        _ => (mantissa + (1 << mantissa_bits), field - bias),
    };
    significand as f32 * power_of_two(exponent - mantissa_bits as i32)
}

/// The code, without a sign and perhaps beyond 8 bits, of what is nearest to a magnitude.
///
/// Codes count the values upwards from 0. So the code is that of the least value with the
/// magnitude's exponent, plus the steps from there, and rounding up to the next power of two needs
/// no case of its own.
fn nearest(magnitude: f32, mantissa_bits: u32, bias: i32) -> u32 {
    let magnitude = magnitude.min(TOO_LARGE);
    let least_exponent = 1 - bias;
    let exponent = ((magnitude.to_bits() >> 23) as i32 - 127).max(least_exponent);
    // Dividing by a power of two is exact but far below a half, where it does not matter.
    let steps = magnitude / power_of_two(exponent - mantissa_bits as i32);
    let whole = steps as u32;
    let rest = steps - whole as f32;
    let up = rest > 0.5 || rest == 0.5 && whole % 2 == 1;
    ((exponent - least_exponent) as u32 * (1 << mantissa_bits)) + whole + u32::from(up)
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

macro_rules! common {
    ($($type:ident),*) => {$(
        impl $type {
            /// From its bits.
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits)
            }

            /// Its bits.
            pub const fn to_bits(self) -> u8 {
                self.0
            }

            /// Whether it is not a number.
            pub const fn is_nan(self) -> bool {
                self.0 & !SIGN > Self::NAN_ABOVE
            }
        }

        /// By value: NaN equals nothing, and −0 equals +0.
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_f32(), f)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.to_f32(), f)
            }
        }

        impl From<$type> for f32 {
            fn from(value: $type) -> f32 {
                value.to_f32()
            }
        }
    )*};
}

common!(F8E4M3, F8E5M2);

impl F8E4M3 {
    const NAN_ABOVE: u8 = 0x7e;
}

impl F8E5M2 {
    const NAN_ABOVE: u8 = 0x7c;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code nearest to a magnitude by looking at all of them; of two equally near the even one.
    fn by_search(magnitude: f32, greatest: u8, value: impl Fn(u8) -> f32) -> u8 {
        let distance = |code: &u8| (f64::from(value(*code)) - f64::from(magnitude)).abs();
        let codes = 0..=greatest;
        codes
            .min_by(|a, b| distance(a).total_cmp(&distance(b)).then((a % 2).cmp(&(b % 2))))
            .unwrap()
    }

    /// Around each value and each middle between two, and between: where rounding is decided.
    fn magnitudes(greatest: u8, value: impl Fn(u8) -> f32) -> impl Iterator<Item = f32> {
        (0..greatest).flat_map(move |code| {
            let (low, high) = (value(code), value(code + 1));
            let middle = low + (high - low) / 2.0;
            [low, middle].into_iter().flat_map(move |at| [at.next_down().abs(), at, at.next_up()])
        })
    }

    #[test]
    fn e4m3_rounds_to_the_nearest_and_saturates() {
        let value = |code| F8E4M3::from_bits(code).to_f32();
        for magnitude in magnitudes(0x7e, value) {
            let expected = by_search(magnitude, 0x7e, value);
            assert_eq!(F8E4M3::from_f32(magnitude).to_bits(), expected, "{magnitude:e}");
            assert_eq!(F8E4M3::from_f32(-magnitude).to_bits(), expected | 0x80, "{magnitude:e}");
        }
        for large in [448.0, 464.0, 465.0, 480.0, 1e9, f32::MAX, f32::INFINITY] {
            assert_eq!(F8E4M3::from_f32(large).to_bits(), 0x7e);
            assert_eq!(F8E4M3::from_f32(-large).to_bits(), 0xfe);
        }
    }

    #[test]
    fn e5m2_rounds_to_the_nearest_and_overflows_to_infinity() {
        let value = |code| F8E5M2::from_bits(code).to_f32();
        for magnitude in magnitudes(0x7b, value) {
            let expected = by_search(magnitude, 0x7b, value);
            assert_eq!(F8E5M2::from_f32(magnitude).to_bits(), expected, "{magnitude:e}");
            assert_eq!(F8E5M2::from_f32(-magnitude).to_bits(), expected | 0x80, "{magnitude:e}");
        }
        assert_eq!(F8E5M2::from_f32(61_440.0f32.next_down()).to_bits(), 0x7b);
        for large in [61_440.0, 65_536.0, f32::MAX, f32::INFINITY] {
            assert_eq!(F8E5M2::from_f32(large).to_bits(), 0x7c);
            assert_eq!(F8E5M2::from_f32(-large).to_bits(), 0xfc);
        }
    }

    #[test]
    fn every_code_survives_the_way_through_f32_and_nans_become_one() {
        for code in 0..=u8::MAX {
            let (e4m3, e5m2) = (F8E4M3::from_bits(code), F8E5M2::from_bits(code));
            let expected = if e4m3.is_nan() { 0x7f } else { code };
            assert_eq!(F8E4M3::from_f32(e4m3.to_f32()).to_bits(), expected);
            let expected = if e5m2.is_nan() { 0x7e } else { code };
            assert_eq!(F8E5M2::from_f32(e5m2.to_f32()).to_bits(), expected);
        }
    }

    #[test]
    fn e5m2_is_the_upper_half_of_a_binary16() {
        for code in 0..=u8::MAX {
            let wide = half::f16::from_bits(u16::from(code) << 8).to_f32();
            let own = F8E5M2::from_bits(code).to_f32();
            assert!(own == wide || own.is_nan() && wide.is_nan(), "{code:#x}");
        }
    }

    #[test]
    fn known_values_of_the_specification() {
        let e4m3 = |bits| F8E4M3::from_bits(bits).to_f32();
        let known = [(0x7e, 448.0), (0x08, 2f32.powi(-6)), (0x07, 7.0 * 2f32.powi(-9))];
        for (bits, value) in known.into_iter().chain([(0x01, 2f32.powi(-9)), (0xb8, -1.0)]) {
            assert_eq!(e4m3(bits), value);
        }
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        let e5m2 = |bits| F8E5M2::from_bits(bits).to_f32();
        let known = [(0x7b, 57_344.0), (0x04, 2f32.powi(-14)), (0x01, 2f32.powi(-16))];
        for (bits, value) in known.into_iter().chain([(0xbc, -1.0), (0x7c, f32::INFINITY)]) {
            assert_eq!(e5m2(bits), value);
        }
        assert!(e5m2(0x7d).is_nan() && e5m2(0xff).is_nan());
    }
}
