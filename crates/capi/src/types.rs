//! Owns what NCCL's numbers mean here: data types, and reductions that need no communicator.

use std::ffi::c_int;

use crosstie::{DataType, F8E4M3, F8E5M2, ReduceOp, UniqueId, bf16, f16};

use crate::errors::{Answer, Refusal};

/// `ncclUniqueId`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct UniqueIdBytes(pub IdBytes);

/// A unique id, as this library handles it.
pub type IdBytes = [u8; UniqueId::BYTES];

/// A rank, and how many there are.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub rank: u32,
    pub size: u32,
}

/// How many of the numbers are types; those above it are types of ours that NCCL has not.
const TYPES: c_int = 12;

/// The type that `ncclDataType_t` names.
pub fn data_type(number: c_int) -> Answer<DataType> {
    let known = DataType::ALL.into_iter().filter(|known| c_int::from(known.code()) < TYPES);
    let mut same = known.filter(|known| c_int::from(known.code()) == number);
    same.next().ok_or_else(|| Refusal::argument(format!("{number} is no data type")))
}

/// The reduction that `ncclRedOp_t` names, of those that are the same everywhere.
pub fn reduction(number: c_int) -> Option<ReduceOp> {
    let fixed = ReduceOp::ALL.into_iter().filter(|op| c_int::from(op.code()) < OWN_REDUCTIONS);
    { fixed }.find(|op| c_int::from(op.code()) == number)
}

/// The first number of the reductions that a program makes: `ncclNumOps`.
pub const OWN_REDUCTIONS: c_int = 5;

/// The sum whose inputs are multiplied before by the number that `bytes` are.
pub fn pre_multiplied(bytes: &[u8], data_type: DataType) -> Answer<ReduceOp> {
    // A number of eight bytes, of which the first are those that there are.
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let [a, b, c, d, ..] = word;
    Ok(match data_type {
        DataType::I8 => ReduceOp::pre_mul_sum(i8::from_ne_bytes([a])),
        DataType::U8 => ReduceOp::pre_mul_sum(a),
        DataType::I16 => ReduceOp::pre_mul_sum(i16::from_ne_bytes([a, b])),
        DataType::U16 => ReduceOp::pre_mul_sum(u16::from_ne_bytes([a, b])),
        DataType::I32 => ReduceOp::pre_mul_sum(i32::from_ne_bytes([a, b, c, d])),
        DataType::U32 => ReduceOp::pre_mul_sum(u32::from_ne_bytes([a, b, c, d])),
        DataType::I64 => ReduceOp::pre_mul_sum(i64::from_ne_bytes(word)),
        DataType::U64 => ReduceOp::pre_mul_sum(u64::from_ne_bytes(word)),
        DataType::F16 => ReduceOp::pre_mul_sum(f16::from_ne_bytes([a, b])),
        DataType::Bf16 => ReduceOp::pre_mul_sum(bf16::from_ne_bytes([a, b])),
        DataType::F8E4M3 => ReduceOp::pre_mul_sum(F8E4M3::from_bits(a).to_f32()),
        DataType::F8E5M2 => ReduceOp::pre_mul_sum(F8E5M2::from_bits(a).to_f32()),
        DataType::F32 => ReduceOp::pre_mul_sum(f32::from_ne_bytes([a, b, c, d])),
        DataType::F64 => ReduceOp::pre_mul_sum(f64::from_ne_bytes(word)),
        other => return Err(Refusal::argument(format!("{other} has no numbers to multiply by"))),
    })
}
