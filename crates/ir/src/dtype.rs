//! Owns the element types and reduce operations that a collective can be asked for.

use core::fmt;
use core::str::FromStr;

/// The type of one element of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// Unsigned byte; sums wrap.
    U8,
    /// 32-bit signed integer; sums wrap.
    I32,
    /// 64-bit signed integer; sums wrap.
    I64,
    /// bfloat16; computed in f32, rounded to nearest even once per instruction.
    Bf16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
}

impl DataType {
    /// Every type, in the order of its code.
    pub const ALL: [Self; 6] = [Self::U8, Self::I32, Self::I64, Self::Bf16, Self::F32, Self::F64];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::Bf16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// The name that the command line and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float",
            Self::F64 => "double",
        }
    }

    const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::U8 => &["u8"],
            Self::I32 => &["i32"],
            Self::I64 => &["i64"],
            Self::Bf16 => &["bf16"],
            Self::F32 => &["f32", "float32"],
            Self::F64 => &["f64", "float64"],
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DataType {
    type Err = UnknownName;
    /// Accepts nccl-tests' names (`float`, `int32`, …) and Rust's (`f32`, `i32`, …).
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let same = |t: &Self| t.name() == name || t.aliases().contains(&name);
        Self::ALL.into_iter().find(same).ok_or(UnknownName)
    }
}

/// How two elements become one.
///
/// Floating-point results that are NaN are the canonical quiet NaN, so that no instruction set
/// and no operand order shows in the bits. `Min` and `Max` give NaN when either operand is NaN,
/// and order −0 below +0 (IEEE 754-2019 `minimum` and `maximum`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ReduceOp {
    /// Addition; integers wrap.
    Sum,
    /// The smaller of the two.
    Min,
    /// The larger of the two.
    Max,
}

impl ReduceOp {
    /// Every operation, in the order of its code.
    pub const ALL: [Self; 3] = [Self::Sum, Self::Min, Self::Max];

    /// The name that the command line and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
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
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|op| op.name() == name).ok_or(UnknownName)
    }
}

/// No type or operation has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown name")
    }
}

impl core::error::Error for UnknownName {}
