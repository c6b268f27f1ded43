//! Owns the host's reductions: `dst = received ∘ src` on memory, for every type and operation, in
//! the widest vectors that the CPU has.
//!
//! [`element`] says what happens to one element; [`word`] and [`narrow`], and on x86-64 `f16` and
//! `e5m2`, say how bytes become elements; [`kernel`] loops, and compiles the loops per instruction set; [`table`] and [`isa`]
//! choose; [`stream`] stores past the cache; [`convert`] goes between types; [`Reducer`] is that choice made once. The bits are those of `crosstie_ir::scalar`, on
//! every instruction set.

mod convert;
#[cfg(target_arch = "x86_64")]
mod e5m2;
mod element;
#[cfg(target_arch = "x86_64")]
mod f16;
mod isa;
mod kernel;
mod narrow;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod word;

use std::num::NonZeroU32;

use crosstie_ir::scalar::Ends;
use crosstie_ir::{DataType, FactorMisfit, ReduceOp};
use crosstie_transport::Region;
use thiserror::Error;

use self::convert::is_narrow;
pub(crate) use self::convert::{round, widen};
use self::element::{Average, Divide, Max, Min, Multiply, PreMulSum, Product, Scale, Sum};
pub use self::isa::Isa;
use self::kernel::{Kernel, StepKernel};

/// The reduction of one type by one operation, chosen once and then called per chunk.
#[derive(Debug, Clone, Copy)]
pub struct Reducer {
    /// The loops in the middle of a reduction, where no first or last step applies.
    middle: &'static Kernel,
    /// The operation's first or last step, if it has one.
    step: Option<Stepped>,
    scale: Scale,
    element_bytes: usize,
    /// The type of the caller's elements, where they are narrower than those reduced here.
    rounds_to: Option<DataType>,
}

/// The first or last step of an operation. No operation has both.
#[derive(Debug, Clone, Copy)]
struct Stepped {
    /// Where it applies.
    at: Ends,
    /// The loops that reduce and take it.
    reduce: &'static Kernel,
    /// The loops that take it alone.
    copy: &'static StepKernel,
}

impl Reducer {
    /// The fastest reduction on this CPU. An average divides by `ranks` (none count as one).
    ///
    /// # Errors
    /// [`ReduceError::Factor`] where the operation's factor is no number of an integer type;
    /// [`ReduceError::Unsupported`] for a type or operation that the host cannot reduce.
    pub fn select(dtype: DataType, op: ReduceOp, ranks: u32) -> Result<Self, ReduceError> {
        Self::select_for(Isa::best(), dtype, op, ranks)
    }

    /// The reduction on a given instruction set: for tests and benches.
    ///
    /// # Errors
    /// As for [`select`](Self::select), and [`ReduceError::Isa`] where this CPU lacks it.
    pub fn select_for(
        isa: Isa,
        dtype: DataType,
        op: ReduceOp,
        ranks: u32,
    ) -> Result<Self, ReduceError> {
        // Every call of a loop relies on this check.
        if !isa.is_available() {
            return Err(ReduceError::Isa { isa });
        }
        let ranks = NonZeroU32::new(ranks).unwrap_or(NonZeroU32::MIN);
        let mut scale = Scale { factor: 0, ranks };
        if let ReduceOp::PreMulSum(factor) = op {
            scale.factor = factor.bits(dtype)?;
        }
        let (middle, step) = loops(isa, dtype, op).ok_or(ReduceError::Unsupported { dtype, op })?;
        Ok(Self { middle, step, scale, element_bytes: dtype.size(), rounds_to: None })
    }

    /// The reduction that rounds once: floats of 8 and 16 bits become f32 before the plan runs, and its
    /// result is rounded. For other types, and where nothing is rounded, it is [`select`](Self::select).
    ///
    /// # Errors
    /// As for [`select`](Self::select).
    pub fn rounding_once(dtype: DataType, op: ReduceOp, ranks: u32) -> Result<Self, ReduceError> {
        if !is_narrow(dtype) || matches!(op, ReduceOp::Min | ReduceOp::Max) {
            return Self::select(dtype, op, ranks);
        }
        let wide = Self::select(DataType::F32, op, ranks)?;
        Ok(Self { rounds_to: Some(dtype), ..wide })
    }

    /// The type of the caller's elements, where the plan runs on f32 in their place.
    pub const fn rounds_to(&self) -> Option<DataType> {
        self.rounds_to
    }

    /// Whether instructions without a receive only copy, at whatever ends of the reduction they
    /// stand: so an input may be handed on as it is.
    pub const fn plain_copy(&self) -> bool {
        self.step.is_none()
    }

    /// Writes the value of an instruction that received to `dst`: `received ∘ src`, with the first
    /// and last step of the operation where they apply at these ends.
    ///
    /// `dst` either coincides exactly with `received` or with `src` (in place), or overlaps
    /// neither. Any alignment will do.
    ///
    /// # Errors
    /// [`ReduceError`] when the lengths differ or are no whole number of elements, or the regions
    /// overlap otherwise; `dst` is then untouched.
    #[inline]
    pub fn reduce(
        &self,
        received: Region,
        src: Region,
        dst: Region,
        ends: Ends,
    ) -> Result<(), ReduceError> {
        let onto = match (apart(received, dst), apart(src, dst)) {
            (true, true) => {
                // SAFETY: `Region::from_raw_parts` vouches that each is valid and that nobody
                // else touches it (of a slot in shared memory: by the counting of slots, to which
                // the ranks of one user are trusted to keep); `dst` lies apart from both others.
                let (received, src, dst) =
                    unsafe { (as_slice(received), as_slice(src), as_mut_slice(dst)) };
                return self.combine(received, src, dst, ends);
            }
            (true, false) if src.as_ptr() == dst.as_ptr() => Operand::Src,
            (false, true) if received.as_ptr() == dst.as_ptr() => Operand::Received,
            _ => return Err(ReduceError::overlap(received, src, dst)),
        };
        if received.len() != dst.len() || src.len() != dst.len() {
            return Err(self.lengths(received.len(), src.len(), dst.len()));
        }
        let other = if onto == Operand::Src { received } else { src };
        // SAFETY: as above; `dst` lies apart from `other`, and the operand that it coincides with
        // is reached through `dst` alone.
        let (other, dst) = unsafe { (as_slice(other), as_mut_slice(dst)) };
        self.combine_in_place(onto, other, dst, ends)
    }

    /// [`reduce`](Self::reduce) with stores that pass by the cache, unless it is in place: for a
    /// destination that the cache would not hold until it is next read.
    ///
    /// When it returns, its stores are ordered before any later one.
    ///
    /// # Errors
    /// As for [`reduce`](Self::reduce).
    pub fn reduce_streaming(
        &self,
        received: Region,
        src: Region,
        dst: Region,
        ends: Ends,
    ) -> Result<(), ReduceError> {
        let bytes = dst.len();
        let equal = received.len() == bytes && src.len() == bytes && self.is_whole(bytes);
        if !equal || !apart(received, dst) || !apart(src, dst) {
            return self.reduce(received, src, dst, ends);
        }
        // SAFETY: as for `reduce`; `dst` lies apart from both others.
        let (received, src, dst) =
            unsafe { (as_slice(received), as_slice(src), as_mut_slice(dst)) };
        let kernel = self.kernel(ends);
        // SAFETY: the instruction set is there: `select_for` asked.
        unsafe { stream::reduce(kernel, &self.scale, self.element_bytes, received, src, dst) };
        Ok(())
    }

    /// [`reduce`](Self::reduce) on bytes that are borrowed: `dst = received ∘ src`.
    ///
    /// # Errors
    /// [`ReduceError::Lengths`]; `dst` is then untouched.
    #[inline]
    pub fn combine(
        &self,
        received: &[u8],
        src: &[u8],
        dst: &mut [u8],
        ends: Ends,
    ) -> Result<(), ReduceError> {
        let bytes = dst.len();
        if received.len() != bytes || src.len() != bytes || !self.is_whole(bytes) {
            return Err(self.lengths(received.len(), src.len(), bytes));
        }
        // SAFETY: the instruction set is there: `select_for` asked.
        unsafe { (self.kernel(ends).disjoint)(&self.scale, received, src, dst) };
        Ok(())
    }

    /// [`reduce`](Self::reduce) in place, on bytes that are borrowed: `dst` is the operand that it
    /// says, and `other` the other one.
    ///
    /// # Errors
    /// [`ReduceError::Lengths`]; `dst` is then untouched.
    #[inline]
    pub fn combine_in_place(
        &self,
        onto: Operand,
        other: &[u8],
        dst: &mut [u8],
        ends: Ends,
    ) -> Result<(), ReduceError> {
        if other.len() != dst.len() || !self.is_whole(dst.len()) {
            return Err(self.lengths(other.len(), dst.len(), dst.len()));
        }
        let kernel = self.kernel(ends);
        let reduce = match onto {
            Operand::Src => kernel.onto_src,
            Operand::Received => kernel.onto_received,
        };
        // SAFETY: the instruction set is there: `select_for` asked.
        unsafe { reduce(&self.scale, other, dst) };
        Ok(())
    }

    /// Writes the value of an instruction that received nothing to `dst`: `src` after the first or
    /// last step of the operation where one applies at these ends, and else as it is.
    ///
    /// `dst` either coincides exactly with `src`, or does not overlap it.
    ///
    /// # Errors
    /// As for [`reduce`](Self::reduce).
    #[inline]
    pub fn copy(&self, src: Region, dst: Region, ends: Ends) -> Result<(), ReduceError> {
        let bytes = dst.len();
        if src.len() != bytes || !self.is_whole(bytes) {
            return Err(self.lengths(src.len(), src.len(), bytes));
        }
        let (apart, same) = (apart(src, dst), src.as_ptr() == dst.as_ptr());
        if !apart && !same {
            return Err(ReduceError::overlap(src, src, dst));
        }
        match self.step_at(ends) {
            None if same => {}
            None => {
                // SAFETY: as for `reduce`; the two lie apart, and are equally long.
                unsafe { std::ptr::copy_nonoverlapping(src.as_ptr(), dst.as_ptr(), bytes) };
            }
            Some(step) if apart => {
                // SAFETY: as for `reduce`; the two lie apart.
                let (src, dst) = unsafe { (as_slice(src), as_mut_slice(dst)) };
                // SAFETY: the instruction set is there: `select_for` asked.
                unsafe { (step.copy.disjoint)(&self.scale, src, dst) };
            }
            Some(step) => {
                // SAFETY: as for `reduce`; `src` is reached through `dst` alone.
                let dst = unsafe { as_mut_slice(dst) };
                // SAFETY: the instruction set is there: `select_for` asked.
                unsafe { (step.copy.in_place)(&self.scale, dst) };
            }
        }
        Ok(())
    }

    /// [`copy`](Self::copy) with stores that pass by the cache, unless it is in place: see
    /// [`reduce_streaming`](Self::reduce_streaming).
    ///
    /// # Errors
    /// As for [`reduce`](Self::reduce).
    pub fn copy_streaming(&self, src: Region, dst: Region, ends: Ends) -> Result<(), ReduceError> {
        if src.len() != dst.len() || !self.is_whole(dst.len()) || !apart(src, dst) {
            return self.copy(src, dst, ends);
        }
        let Some(step) = self.step_at(ends) else {
            return if dst.stream_from(src) { Ok(()) } else { self.copy(src, dst, ends) };
        };
        // SAFETY: as for `reduce`; the two lie apart.
        let (src, dst) = unsafe { (as_slice(src), as_mut_slice(dst)) };
        // SAFETY: the instruction set is there: `select_for` asked.
        unsafe { stream::step(step.copy, &self.scale, self.element_bytes, src, dst) };
        Ok(())
    }

    /// The loops that reduce at these ends.
    #[inline]
    fn kernel(&self, ends: Ends) -> &'static Kernel {
        self.step_at(ends).map_or(self.middle, |step| step.reduce)
    }

    #[inline]
    fn step_at(&self, ends: Ends) -> Option<&Stepped> {
        let applies = |step: &&Stepped| ends.pre & step.at.pre | ends.finish & step.at.finish;
        self.step.as_ref().filter(applies)
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

/// An operand of a reduction, which in place is also the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// What was received.
    Received,
    /// The rank's own.
    Src,
}

/// The loops of an operation in the middle, and those of its first or last step.
fn loops(isa: Isa, dtype: DataType, op: ReduceOp) -> Option<(&'static Kernel, Option<Stepped>)> {
    Some(match op {
        ReduceOp::Sum => (table::computing::<Sum>(isa, dtype)?, None),
        ReduceOp::Product => (table::computing::<Product>(isa, dtype)?, None),
        ReduceOp::Min => (table::choosing::<Min>(isa, dtype)?, None),
        ReduceOp::Max => (table::choosing::<Max>(isa, dtype)?, None),
        ReduceOp::Average => {
            let step = Stepped {
                at: Ends { pre: false, finish: true },
                reduce: table::computing::<Average>(isa, dtype)?,
                copy: table::step::<Divide>(isa, dtype)?,
            };
            (table::computing::<Sum>(isa, dtype)?, Some(step))
        }
        ReduceOp::PreMulSum(_) => {
            let step = Stepped {
                at: Ends { pre: true, finish: false },
                reduce: table::computing::<PreMulSum>(isa, dtype)?,
                copy: table::step::<Multiply>(isa, dtype)?,
            };
            (table::computing::<Sum>(isa, dtype)?, Some(step))
        }
        _ => return None,
    })
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

/// Whether two regions share no byte.
#[inline]
fn apart(a: Region, b: Region) -> bool {
    let (a_start, b_start) = (a.as_ptr().addr(), b.as_ptr().addr());
    a_start + a.len() <= b_start || b_start + b.len() <= a_start
}

/// Why nothing can be reduced: a fault of the call or of the plan's binding, never of a peer.
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
    /// The factor of a pre-multiplied sum is no number of the elements' type.
    #[error(transparent)]
    Factor(#[from] FactorMisfit),
    /// The host cannot reduce that.
    #[error("cannot reduce elements of type {dtype} by {op} on this host; use another type")]
    Unsupported {
        /// The type of the elements.
        dtype: DataType,
        /// The operation.
        op: ReduceOp,
    },
    /// Elements of this type are computed in themselves, and never converted.
    #[error("elements of type {dtype} are computed in themselves; please report this")]
    NotNarrow {
        /// The type of the elements.
        dtype: DataType,
    },
    /// This CPU lacks the instruction set that was asked for.
    #[error("this CPU does not offer {}", isa.name())]
    Isa {
        /// The instruction set.
        isa: Isa,
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
