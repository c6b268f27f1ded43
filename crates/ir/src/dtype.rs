//! Owns the element types that a collective can be asked for: their sizes, names and codes.

use core::fmt;
use core::str::FromStr;

/// The type of one element of a buffer.
///
/// Integers wrap. Floats of 8 and 16 bits are computed in f32 and rounded to nearest even once per
/// instruction; subnormals are kept. [`scalar`](crate::scalar) has the whole meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit signed integer.
    I64,
    /// 64-bit unsigned integer.
    U64,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// bfloat16: the upper half of a binary32.
    Bf16,
    /// OCP FP8 E4M3: no infinities; too large is ±448. See [`F8E4M3`](crate::F8E4M3).
    F8E4M3,
    /// OCP FP8 E5M2: as IEEE 754 would have it. See [`F8E5M2`](crate::F8E5M2).
    F8E5M2,
    /// 16-bit signed integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
}

impl DataType {
    /// Every type, in the order of its [code](Self::code).
    pub const ALL: [Self; 14] = [
        Self::I8,
        Self::U8,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::Bf16,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::I16,
        Self::U16,
    ];

    /// Its number, which no later version changes: `ncclDataType_t`'s where NCCL has the type.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Bytes of one element: a power of two.
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// The least and the greatest value of an integer type; `None` for floats.
    pub const fn integer_range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::I8 => (i8::MIN as i128, i8::MAX as i128),
            Self::U8 => (0, u8::MAX as i128),
            Self::I16 => (i16::MIN as i128, i16::MAX as i128),
            Self::U16 => (0, u16::MAX as i128),
            Self::I32 => (i32::MIN as i128, i32::MAX as i128),
            Self::U32 => (0, u32::MAX as i128),
            Self::I64 => (i64::MIN as i128, i64::MAX as i128),
            Self::U64 => (0, u64::MAX as i128),
            Self::F16 | Self::F32 | Self::F64 | Self::Bf16 | Self::F8E4M3 | Self::F8E5M2 => {
                return None;
            }
        })
    }

    /// The name that the command line and JSON use: nccl-tests' where that has the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F16 => "half",
            Self::F32 => "float",
            Self::F64 => "double",
            Self::Bf16 => "bfloat16",
            Self::F8E4M3 => "f8e4m3",
            Self::F8E5M2 => "f8e5m2",
        }
    }

    const fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::I8 => &["i8"],
            Self::U8 => &["u8"],
            Self::I16 => &["i16"],
            Self::U16 => &["u16"],
            Self::I32 => &["i32"],
            Self::U32 => &["u32"],
            Self::I64 => &["i64"],
            Self::U64 => &["u64"],
            Self::F16 => &["f16", "float16", "fp16"],
            Self::F32 => &["f32", "float32"],
            Self::F64 => &["f64", "float64"],
            Self::Bf16 => &["bf16"],
            Self::F8E4M3 => &["fp8_e4m3"],
            Self::F8E5M2 => &["fp8_e5m2"],
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

/// No type or operation has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown name")
    }
}

impl core::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_positions_and_names_lead_back() {
        for (dtype, code) in DataType::ALL.into_iter().zip(0..) {
            assert_eq!(dtype.code(), code);
            for name in dtype.aliases().iter().chain([&dtype.name()]) {
                assert_eq!(name.parse(), Ok(dtype), "{name}");
            }
        }
        assert_eq!(DataType::F8E5M2.code(), 11, "as ncclFloat8e5m2");
        assert_eq!("float8".parse::<DataType>(), Err(UnknownName));
    }
}
