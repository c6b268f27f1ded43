//! Owns which loops reduce which type by which operation, on which instruction set.

use crosstie_ir::{DataType, F8E4M3, F8E5M2};
use half::{bf16, f16};

use super::element::{Op, Step};
use super::isa::Isa;
use super::kernel::{Kernel, Loops, Plain, StepKernel, StepLoops};
use super::narrow::Narrow;
use super::word::{Bf16Pair, Ordered};

/// The loops of an operation that computes; `None` for a type that the host cannot reduce.
pub(super) fn computing<O: Op>(isa: Isa, dtype: DataType) -> Option<&'static Kernel> {
    Some(match dtype {
        DataType::Bf16 => plain::<Plain<4, Bf16Pair, O>>(isa),
        DataType::F16 => converted::f16::<O>(isa),
        DataType::F8E4M3 => plain::<Plain<1, Narrow<F8E4M3>, O>>(isa),
        DataType::F8E5M2 => converted::e5m2::<O>(isa),
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
        DataType::F16 => converted::f16_step::<S>(isa),
        DataType::F8E4M3 => plain_step::<Plain<1, Narrow<F8E4M3>, S>>(isa),
        DataType::F8E5M2 => converted::e5m2_step::<S>(isa),
        _ => return None,
    })
}

/// The types that x86-64 has conversions for, from AVX2 on.
#[cfg(target_arch = "x86_64")]
mod converted {
    use super::super::e5m2::E5M2x16;
    use super::super::f16::{F16x8, F16x16};
    use super::{F8E5M2, Isa, Kernel, Narrow, Op, Plain, Step, StepKernel, f16};

    type E5M2<O> = Plain<1, Narrow<F8E5M2>, O>;
    type E5M2By16<O> = Plain<16, E5M2x16, O>;
    type F16<O> = Plain<2, Narrow<f16>, O>;

    pub(super) fn f16<O: Op>(isa: Isa) -> &'static Kernel {
        Kernel::of::<F16<O>, Plain<16, F16x8, O>, Plain<32, F16x16, O>>(isa)
    }

    pub(super) fn f16_step<S: Step>(isa: Isa) -> &'static StepKernel {
        StepKernel::of::<F16<S>, Plain<16, F16x8, S>, Plain<32, F16x16, S>>(isa)
    }

    pub(super) fn e5m2<O: Op>(isa: Isa) -> &'static Kernel {
        Kernel::of::<E5M2<O>, E5M2By16<O>, E5M2By16<O>>(isa)
    }

    pub(super) fn e5m2_step<S: Step>(isa: Isa) -> &'static StepKernel {
        StepKernel::of::<E5M2<S>, E5M2By16<S>, E5M2By16<S>>(isa)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod converted {
    use super::{F8E5M2, Isa, Kernel, Narrow, Op, Plain, Step, StepKernel, f16};
    use super::{plain, plain_step};

    pub(super) fn f16<O: Op>(isa: Isa) -> &'static Kernel {
        plain::<Plain<2, Narrow<f16>, O>>(isa)
    }

    pub(super) fn f16_step<S: Step>(isa: Isa) -> &'static StepKernel {
        plain_step::<Plain<2, Narrow<f16>, S>>(isa)
    }

    pub(super) fn e5m2<O: Op>(isa: Isa) -> &'static Kernel {
        plain::<Plain<1, Narrow<F8E5M2>, O>>(isa)
    }

    pub(super) fn e5m2_step<S: Step>(isa: Isa) -> &'static StepKernel {
        plain_step::<Plain<1, Narrow<F8E5M2>, S>>(isa)
    }
}

fn plain<L: Loops>(isa: Isa) -> &'static Kernel {
    Kernel::of::<L, L, L>(isa)
}

fn plain_step<L: StepLoops>(isa: Isa) -> &'static StepKernel {
    StepKernel::of::<L, L, L>(isa)
}
