//! Owns which loops reduce which type by which operation, on which instruction set.

use crosstie_ir::{DataType, F8E4M3, F8E5M2};
use half::{bf16, f16};

use super::element::{Op, Step};
use super::isa::Isa;
use super::kernel::{Kernel, Loops, Plain, StepKernel, StepLoops};
use super::narrow::{Blocks, Portable};
use super::word::{Bf16Pair, Ordered};

#[cfg(target_arch = "x86_64")]
use super::f16c::{F16Avx512, F16c};
/// Elsewhere there are only the portable ones.
#[cfg(not(target_arch = "x86_64"))]
type F16c = Portable<f16>;
#[cfg(not(target_arch = "x86_64"))]
type F16Avx512 = Portable<f16>;

/// The loops of an operation that computes; `None` for a type that the host cannot reduce.
pub(super) fn computing<O: Op>(isa: Isa, dtype: DataType) -> Option<&'static Kernel> {
    Some(match dtype {
        DataType::Bf16 => plain::<Plain<4, Bf16Pair, O>>(isa),
        DataType::F16 => {
            Kernel::of::<Blocks<Portable<f16>, O>, Blocks<F16c, O>, Blocks<F16Avx512, O>>(isa)
        }
        DataType::F8E4M3 => plain::<Blocks<Portable<F8E4M3>, O>>(isa),
        DataType::F8E5M2 => plain::<Blocks<Portable<F8E5M2>, O>>(isa),
        _ => return wide::<O>(isa, dtype),
    })
}

/// The loops of an operation that chooses one of the two.
pub(super) fn choosing<O: Op>(isa: Isa, dtype: DataType) -> Option<&'static Kernel> {
    Some(match dtype {
        DataType::Bf16 => plain::<Plain<2, Ordered<bf16>, O>>(isa),
        DataType::F16 => plain::<Plain<2, Ordered<f16>, O>>(isa),
        DataType::F8E4M3 => plain::<Plain<1, Ordered<F8E4M3>, O>>(isa),
        DataType::F8E5M2 => plain::<Plain<1, Ordered<F8E5M2>, O>>(isa),
        _ => return wide::<O>(isa, dtype),
    })
}

/// The loops for types that are computed in themselves.
fn wide<O: Op>(isa: Isa, dtype: DataType) -> Option<&'static Kernel> {
    Some(match dtype {
        DataType::I8 => plain::<Plain<1, i8, O>>(isa),
        DataType::U8 => plain::<Plain<1, u8, O>>(isa),
        DataType::I16 => plain::<Plain<2, i16, O>>(isa),
        DataType::U16 => plain::<Plain<2, u16, O>>(isa),
        DataType::I32 => plain::<Plain<4, i32, O>>(isa),
        DataType::U32 => plain::<Plain<4, u32, O>>(isa),
        DataType::I64 => plain::<Plain<8, i64, O>>(isa),
        DataType::U64 => plain::<Plain<8, u64, O>>(isa),
        DataType::F32 => plain::<Plain<4, f32, O>>(isa),
        DataType::F64 => plain::<Plain<8, f64, O>>(isa),
        _ => return None,
    })
}

/// The loops of a first or last step alone.
pub(super) fn step<S: Step>(isa: Isa, dtype: DataType) -> Option<&'static StepKernel> {
    Some(match dtype {
        DataType::I8 => plain_step::<Plain<1, i8, S>>(isa),
        DataType::U8 => plain_step::<Plain<1, u8, S>>(isa),
        DataType::I16 => plain_step::<Plain<2, i16, S>>(isa),
        DataType::U16 => plain_step::<Plain<2, u16, S>>(isa),
        DataType::I32 => plain_step::<Plain<4, i32, S>>(isa),
        DataType::U32 => plain_step::<Plain<4, u32, S>>(isa),
        DataType::I64 => plain_step::<Plain<8, i64, S>>(isa),
        DataType::U64 => plain_step::<Plain<8, u64, S>>(isa),
        DataType::F32 => plain_step::<Plain<4, f32, S>>(isa),
        DataType::F64 => plain_step::<Plain<8, f64, S>>(isa),
        DataType::Bf16 => plain_step::<Plain<4, Bf16Pair, S>>(isa),
        DataType::F16 => {
            StepKernel::of::<Blocks<Portable<f16>, S>, Blocks<F16c, S>, Blocks<F16Avx512, S>>(isa)
        }
        DataType::F8E4M3 => plain_step::<Blocks<Portable<F8E4M3>, S>>(isa),
        DataType::F8E5M2 => plain_step::<Blocks<Portable<F8E5M2>, S>>(isa),
        _ => return None,
    })
}

fn plain<L: Loops>(isa: Isa) -> &'static Kernel {
    Kernel::of::<L, L, L>(isa)
}

fn plain_step<L: StepLoops>(isa: Isa) -> &'static StepKernel {
    StepKernel::of::<L, L, L>(isa)
}
