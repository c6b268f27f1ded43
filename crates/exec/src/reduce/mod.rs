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
        let other = match (apart(received, dst), apart(src, dst)) {
            (true, true) => {
                // SAFETY: `Region::from_raw_parts` vouches that each is valid and that nobody
                // else touches it (of a slot in shared memory: by the counting of slots, to which
                // the ranks of one user are trusted to keep); `dst` lies apart from both others.
                let (received, src, dst) =
                    unsafe { (as_slice(received), as_slice(src), as_mut_slice(dst)) };
                return self.combine(received, src, dst);
            }
            (true, false) if src.as_ptr() == dst.as_ptr() => received,
            (false, true) if received.as_ptr() == dst.as_ptr() => src,
            _ => return Err(ReduceError::overlap(received, src, dst)),
        };
        if received.len() != dst.len() || src.len() != dst.len() {
            return Err(self.lengths(received.len(), src.len(), dst.len()));
        }
        // SAFETY: as above; `dst` lies apart from `other`, and the operand that it coincides with
        // is reached through `dst` alone.
        let (other, dst) = unsafe { (as_slice(other), as_mut_slice(dst)) };
        self.combine_in_place(other, dst)
    }

    /// [`reduce`](Self::reduce) on bytes that are borrowed: `dst = received ∘ src`.
    ///
    /// # Errors
    /// [`ReduceError::Lengths`]; `dst` is then untouched.
    #[inline]
    pub fn combine(&self, received: &[u8], src: &[u8], dst: &mut [u8]) -> Result<(), ReduceError> {
        let bytes = dst.len();
        if received.len() != bytes || src.len() != bytes || !self.is_whole(bytes) {
            return Err(self.lengths(received.len(), src.len(), bytes));
        }
        // SAFETY: the instruction set is there: `select_for` asked.
        unsafe { (self.kernel.disjoint)(received, src, dst) };
        Ok(())
    }

    /// [`reduce`](Self::reduce) in place, on bytes that are borrowed: `dst = other ∘ dst`, which
    /// has the bits of `dst ∘ other`.
    ///
    /// # Errors
    /// [`ReduceError::Lengths`]; `dst` is then untouched.
    #[inline]
    pub fn combine_in_place(&self, other: &[u8], dst: &mut [u8]) -> Result<(), ReduceError> {
        if other.len() != dst.len() || !self.is_whole(dst.len()) {
            return Err(self.lengths(other.len(), dst.len(), dst.len()));
        }
        // SAFETY: the instruction set is there: `select_for` asked.
        unsafe { (self.kernel.in_place)(other, dst) };
        Ok(())
    }

    /// By a mask, for elements are powers of two long and a tiny call has no time for a division.
    #[inline]
    fn is_whole(&self, bytes: usize) -> bool {
        bytes & (self.element_bytes - 1) == 0
    }

    #[cold]
    fn lengths(&self, received: usize, src: usize, dst: usize) -> ReduceError {
        ReduceError::Lengths { received, src, dst, element_bytes: self.element_bytes }
    }
}

/// # Safety
/// Nobody writes the region while the slice lives.
unsafe fn as_slice<'a>(region: Region) -> &'a [u8] {
    // SAFETY: whoever made the region vouched that it is valid; the caller, for the rest.
    unsafe { std::slice::from_raw_parts(region.as_ptr(), region.len()) }
}

/// # Safety
/// Nobody else reads or writes the region while the slice lives.
unsafe fn as_mut_slice<'a>(region: Region) -> &'a mut [u8] {
    // SAFETY: whoever made the region vouched that it is valid; the caller, for the rest.
    unsafe { std::slice::from_raw_parts_mut(region.as_ptr(), region.len()) }
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

/// Whether two regions share no byte.
#[inline]
fn apart(a: Region, b: Region) -> bool {
    let (a_start, b_start) = (a.as_ptr().addr(), b.as_ptr().addr());
    a_start + a.len() <= b_start || b_start + b.len() <= a_start
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
        "cannot reduce regions at {received:#x} and {src:#x} into {bytes} bytes at {dst:#x}: the \
         destination must coincide with one operand or overlap neither"
    )]
    Overlap {
        /// Address of the received operand.
        received: usize,
        /// Address of the source operand.
        src: usize,
        /// Address of the destination.
        dst: usize,
        /// Bytes of the destination.
        bytes: usize,
    },
}

impl ReduceError {
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
