//! Owns the reduce operations that a collective can be asked for, and the factor of one of them.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::{DataType, UnknownName};

/// How elements of several ranks become one.
///
/// Floating-point results that are NaN are the canonical quiet NaN, so that no instruction set
/// and no operand order shows in the bits. `Min` and `Max` give NaN when either operand is NaN,
/// and order −0 below +0 (IEEE 754-2019 `minimum` and `maximum`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReduceOp {
    /// Addition; integers wrap.
    Sum,
    /// Multiplication; integers wrap.
    Product,
    /// The larger of the two.
    Max,
    /// The smaller of the two.
    Min,
    /// The sum, divided by the number of ranks where it is complete. Integer sums wrap before, and
    /// their quotient is truncated towards zero.
    Average,
    /// The sum of each rank's input times its factor. The factor is each rank's own: ranks may
    /// give different ones.
    PreMulSum(Factor),
}

impl ReduceOp {
    /// Every operation, in the order of its [code](Self::code); the pre-multiplied sum with factor 2.
    pub const ALL: [Self; 6] = [
        Self::Sum,
        Self::Product,
        Self::Max,
        Self::Min,
        Self::Average,
        Self::PreMulSum(Factor::TWO),
    ];

    /// [`PreMulSum`](Self::PreMulSum) with a factor of any number type.
    pub fn pre_mul_sum(factor: impl Into<Factor>) -> Self {
        Self::PreMulSum(factor.into())
    }

    /// Its number, which no later version changes: `ncclRedOp_t`'s, and 5 for the pre-multiplied
    /// sum, whatever its factor.
    pub const fn code(self) -> u8 {
        match self {
            Self::Sum => 0,
            Self::Product => 1,
            Self::Max => 2,
            Self::Min => 3,
            Self::Average => 4,
            Self::PreMulSum(_) => 5,
        }
    }

    /// The name that the command line and JSON use: nccl-tests' but for `premulsum`, which is
    /// `mulsum` there. It does not tell a factor.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Product => "prod",
            Self::Max => "max",
            Self::Min => "min",
            Self::Average => "avg",
            Self::PreMulSum(_) => "premulsum",
        }
    }

    const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Product => &["product"],
            Self::Average => &["average"],
            Self::PreMulSum(_) => &["mulsum", "pre_mul_sum"],
            Self::Sum | Self::Max | Self::Min => &[],
        }
    }
}

impl fmt::Display for ReduceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ReduceOp {
    type Err = UnknownName;
    /// Accepts nccl-tests' names and the variants' own; `premulsum` has the factor 2.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let same = |op: &Self| op.name() == name || op.aliases().contains(&name);
        Self::ALL.into_iter().find(same).ok_or(UnknownName)
    }
}

/// What a rank's input is multiplied by before it is summed.
///
/// A whole number is kept exactly, a float by its bits; two are equal when they are the same kind
/// and the same number. It becomes a number of the type that is computed in when the operation
/// begins: the element's own type, or f32 for floats of 8 and 16 bits (so a factor of ⅓ is not
/// rounded to 8 bits first).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(Number);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Number {
    Signed(i64),
    Unsigned(u64),
    FloatBits(u64),
}

impl Factor {
    /// Two: exact in every type.
    pub const TWO: Self = Self(Number::Signed(2));

    /// The nearest f32, ties to even; infinite beyond its range.
    pub const fn to_f32(self) -> f32 {
        match self.0 {
            Number::Signed(n) => n as f32,
            Number::Unsigned(n) => n as f32,
            Number::FloatBits(bits) => f64::from_bits(bits) as f32,
        }
    }

    /// The nearest f64, ties to even.
    pub const fn to_f64(self) -> f64 {
        match self.0 {
            Number::Signed(n) => n as f64,
            Number::Unsigned(n) => n as f64,
            Number::FloatBits(bits) => f64::from_bits(bits),
        }
    }

    /// The whole number that it is, if it is one that the integer type `dtype` has.
    ///
    /// # Errors
    /// [`FactorMisfit`] where it is a fraction, infinite, no number, or outside the type's range;
    /// and where `dtype` is no integer type.
    pub fn to_integer(self, dtype: DataType) -> Result<i128, FactorMisfit> {
        let misfit = FactorMisfit { factor: self, dtype };
        let number = match self.0 {
            Number::Signed(n) => i128::from(n),
            Number::Unsigned(n) => i128::from(n),
            Number::FloatBits(bits) => {
                let float = f64::from_bits(bits);
                let whole = float as i128; // towards zero; 0 for a NaN, which equals nothing
                if whole as f64 != float {
                    return Err(misfit);
                }
                whole
            }
        };
        match dtype.integer_range() {
            Some((least, greatest)) if (least..=greatest).contains(&number) => Ok(number),
            _ => Err(misfit),
        }
    }

    /// Its bits in the type that elements of `dtype` are computed in, the first of the word.
    ///
    /// # Errors
    /// [`FactorMisfit`] where `dtype` is an integer type that lacks the number.
    pub fn bits(self, dtype: DataType) -> Result<u64, FactorMisfit> {
        match dtype {
            DataType::F64 => Ok(self.to_f64().to_bits()),
            _ if dtype.integer_range().is_none() => Ok(u64::from(self.to_f32().to_bits())),
            _ => self.to_integer(dtype).map(|number| number as u64),
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Number::Signed(n) => n.fmt(f),
            Number::Unsigned(n) => n.fmt(f),
            Number::FloatBits(bits) => f64::from_bits(bits).fmt(f),
        }
    }
}

/// As [`Display`](fmt::Display): bits of a float would tell a reader nothing.
impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! factor_from {
    ($($type:ty => |$n:ident| $number:expr),* $(,)?) => {$(
        impl From<$type> for Factor {
            fn from($n: $type) -> Self {
                Self($number)
            }
        }
    )*};
}

factor_from! {
    i8 => |n| Number::Signed(i64::from(n)),
    u8 => |n| Number::Signed(i64::from(n)),
    i16 => |n| Number::Signed(i64::from(n)),
    u16 => |n| Number::Signed(i64::from(n)),
    i32 => |n| Number::Signed(i64::from(n)),
    u32 => |n| Number::Signed(i64::from(n)),
    i64 => |n| Number::Signed(n),
    u64 => |n| i64::try_from(n).map_or(Number::Unsigned(n), Number::Signed),
    f32 => |n| Number::FloatBits(f64::from(n).to_bits()),
    f64 => |n| Number::FloatBits(n.to_bits()),
    half::f16 => |n| Number::FloatBits(n.to_f64().to_bits()),
    half::bf16 => |n| Number::FloatBits(n.to_f64().to_bits()),
}

/// A factor that an integer type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "elements of type {dtype} cannot be multiplied by {factor}: the factor must be a number of \
     that type"
)]
#[non_exhaustive]
pub struct FactorMisfit {
    /// The factor that was given.
    pub factor: Factor,
    /// The type of the elements.
    pub dtype: DataType,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_lead_back_and_codes_tell_operations_apart() {
        for op in ReduceOp::ALL {
            for name in op.aliases().iter().chain([&op.name()]) {
                assert_eq!(name.parse(), Ok(op), "{name}");
            }
        }
        assert!(ReduceOp::ALL.is_sorted_by_key(|op| op.code()));
        assert_eq!(ReduceOp::pre_mul_sum(0.5).code(), ReduceOp::pre_mul_sum(3).code());
    }

    #[test]
    fn a_factor_fits_an_integer_type_or_is_refused() {
        let fits = |factor: Factor, dtype| factor.to_integer(dtype).ok();
        assert_eq!(fits(255.into(), DataType::U8), Some(255));
        assert_eq!(fits(256.into(), DataType::U8), None);
        assert_eq!(fits((-1).into(), DataType::U64), None);
        assert_eq!(fits((-128.0).into(), DataType::I8), Some(-128));
        assert_eq!(fits(0.5.into(), DataType::I64), None);
        assert_eq!(fits(f64::NAN.into(), DataType::I64), None);
        assert_eq!(fits(f64::INFINITY.into(), DataType::U64), None);
        assert_eq!(fits(u64::MAX.into(), DataType::U64), Some(u64::MAX.into()));
        assert_eq!(fits(u64::MAX.into(), DataType::I64), None);
        assert_eq!(fits(2.0f64.powi(64).into(), DataType::U64), None);
        assert_eq!(fits(2.into(), DataType::F32), None);
        let misfit = Factor::from(0.5).to_integer(DataType::I8).unwrap_err();
        assert!(misfit.to_string().contains("int8 cannot be multiplied by 0.5"), "{misfit}");
    }

    #[test]
    fn a_factor_rounds_once_on_its_way_to_a_float() {
        // 2^24 + 1 + a little: by way of f64 it would tie, and round down to even.
        assert_eq!(Factor::from((1i64 << 60) + (1 << 36) + 1).to_f32().to_bits(), 0x5d80_0001);
        assert_eq!(Factor::from(1e300).to_f32(), f32::INFINITY);
        assert_eq!(Factor::from(u64::MAX).to_f64(), 2.0f64.powi(64));
        assert_eq!(Factor::TWO.bits(DataType::Bf16), Ok(0x4000_0000));
        assert_eq!(Factor::from(-1).bits(DataType::I32), Ok(u64::MAX));
    }
}
