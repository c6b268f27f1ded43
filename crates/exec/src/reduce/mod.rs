//! Owns the host's reductions: `dst = received ∘ src` on memory, for every type and operation, in
//! the widest vectors that the CPU has.
//!
//! [`element`] says what happens to one word, [`kernel`] loops over it and compiles the loops per
//! instruction set, [`isa`] chooses; [`Reducer`] is that choice made once. The bits are those of
//! `crosstie_ir::scalar`, on every instruction set.

mod element;
mod isa;
mod kernel;
#[cfg(test)]
mod tests;

use crosstie_ir::{DataType, ReduceOp};
use crosstie_transport::Region;
use thiserror::Error;

use self::element::{Bf16Pair, Max, Min, Op, Sum};
pub use self::isa::Isa;
use self::kernel::Kernel;

/// The reduction of one type by one operation, chosen once and then called per chunk.
#[derive(Debug, Clone, Copy)]
pub struct Reducer {
    kernel: Kernel,
    element_bytes: usize,
}

impl Reducer {
    /// The fastest reduction on this CPU; `None` for a type or operation that the host cannot
    /// reduce.
    pub fn select(dtype: DataType, op: ReduceOp) -> Option<Self> {
        Self::select_for(Isa::best(), dtype, op)
    }

    /// The reduction on a given instruction set: for tests and benches. `None` also where this
    /// CPU lacks that instruction set.
    pub fn select_for(isa: Isa, dtype: DataType, op: ReduceOp) -> Option<Self> {
        // `reduce` relies on this check.
        if !isa.is_available() {
            return None;
        }
        let kernel = match op {
            ReduceOp::Sum => kernel_of::<Sum>(isa, dtype)?,
            ReduceOp::Min => kernel_of::<Min>(isa, dtype)?,
            ReduceOp::Max => kernel_of::<Max>(isa, dtype)?,
            _ => return None,
        };
        Some(Self { kernel, element_bytes: dtype.size() })
    }

    /// Writes `received ∘ src` to `dst`.
    ///
    /// `dst` either coincides exactly with `received` or with `src` (in place), or overlaps
    /// neither. Any alignment will do.
    ///
    /// # Errors
    /// [`ReduceError`] when the lengths differ or are no whole number of elements, or the regions
    /// overlap otherwise; `dst` is then untouched.
    #[inline]
    pub fn reduce(&self, received: Region, src: Region, dst: Region) -> Result<(), ReduceError> {
        let bytes = dst.len();
        if received.len() != bytes
            || src.len() != bytes
            || !bytes.is_multiple_of(self.element_bytes)
        {
            return Err(ReduceError::lengths(received, src, dst, self.element_bytes));
        }
        if bytes == 0 {
            return Ok(());
        }
        let other = match (apart(received, dst), apart(src, dst)) {
            (true, true) => return self.reduce_disjoint(received, src, dst),
            (true, false) if src.as_ptr() == dst.as_ptr() => received,
            (false, true) if received.as_ptr() == dst.as_ptr() => src,
            _ => return Err(ReduceError::overlap(received, src, dst)),
        };
        // SAFETY: `Region::from_raw_parts` vouches that both are valid for `bytes` bytes and that
        // nobody else touches them; `other` and `dst` are apart. The instruction set is there:
        // `select_for` asked.
        unsafe {
            let other = std::slice::from_raw_parts(other.as_ptr(), bytes);
            let dst = std::slice::from_raw_parts_mut(dst.as_ptr(), bytes);
            (self.kernel.in_place)(other, dst);
        }
        Ok(())
    }

    #[inline]
    fn reduce_disjoint(
        &self,
        received: Region,
        src: Region,
        dst: Region,
    ) -> Result<(), ReduceError> {
        // SAFETY: as in `reduce`, which found the three of one length, and `dst` apart from both
        // others.
        unsafe {
            let received = std::slice::from_raw_parts(received.as_ptr(), received.len());
            let src = std::slice::from_raw_parts(src.as_ptr(), src.len());
            let dst = std::slice::from_raw_parts_mut(dst.as_ptr(), dst.len());
            (self.kernel.disjoint)(received, src, dst);
        }
        Ok(())
    }
}

fn kernel_of<O: Op>(isa: Isa, dtype: DataType) -> Option<Kernel> {
    Some(match dtype {
        DataType::U8 => Kernel::of::<1, u8, O>(isa),
        DataType::I32 => Kernel::of::<4, i32, O>(isa),
        DataType::I64 => Kernel::of::<8, i64, O>(isa),
        DataType::Bf16 => Kernel::of::<4, Bf16Pair, O>(isa),
        DataType::F32 => Kernel::of::<4, f32, O>(isa),
        DataType::F64 => Kernel::of::<8, f64, O>(isa),
        _ => return None,
    })
}

/// Whether two regions of the same length share no byte.
fn apart(a: Region, b: Region) -> bool {
    a.as_ptr().addr().abs_diff(b.as_ptr().addr()) >= b.len()
}

/// Why regions cannot be reduced. Both are faults of the plan's binding, never of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// The three regions do not hold the same whole number of elements.
    #[error(
        "cannot reduce {received} received bytes with {src} bytes of source into {dst} bytes: the \
         lengths must be equal and a multiple of {element_bytes}"
    )]
    Lengths {
        /// Bytes of the received operand.
        received: usize,
        /// Bytes of the source operand.
        src: usize,
        /// Bytes of the destination.
        dst: usize,
        /// Bytes of one element.
        element_bytes: usize,
    },
    /// The destination overlaps an operand without coinciding with it, or coincides with both.
    #[error(
        "cannot reduce {bytes} bytes at {received:#x} and {src:#x} into {dst:#x}: the destination \
         must coincide with one operand or overlap neither"
    )]
    Overlap {
        /// Address of the received operand.
        received: usize,
        /// Address of the source operand.
        src: usize,
        /// Address of the destination.
        dst: usize,
        /// Bytes of each.
        bytes: usize,
    },
}

impl ReduceError {
    #[cold]
    fn lengths(received: Region, src: Region, dst: Region, element_bytes: usize) -> Self {
        Self::Lengths { received: received.len(), src: src.len(), dst: dst.len(), element_bytes }
    }

    #[cold]
    fn overlap(received: Region, src: Region, dst: Region) -> Self {
        let address = |region: Region| region.as_ptr().addr();
        Self::Overlap {
            received: address(received),
            src: address(src),
            dst: address(dst),
            bytes: dst.len(),
        }
    }
}
