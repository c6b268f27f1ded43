//! Owns the description of a call: what it computes, in what type and sizes, apart from its memory.

use crosstie_ir::{Collective, DataType, ReduceOp};

use crate::Element;

/// What a call on bytes computes: a collective, the type of its elements, and what some collectives need
/// beside.
///
/// ```
/// # use crosstie::{Buffers, Collective, DataType, Operation, ReduceOp, Threads};
/// # Threads::new(2).run(|mut comm| {
/// let sum = Operation::new(Collective::AllReduce, DataType::I32).reducing(ReduceOp::Sum);
/// let mut bytes = 21_i32.to_ne_bytes();
/// comm.perform(sum, Buffers::InPlace(&mut bytes))?;
/// assert_eq!(i32::from_ne_bytes(bytes), 42);
/// # Ok(())
/// # })?;
/// # Ok::<(), crosstie::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Operation<'c> {
    pub(crate) collective: Collective,
    pub(crate) data_type: DataType,
    pub(crate) op: Option<ReduceOp>,
    pub(crate) counts: Counts<'c>,
}

/// How many elements each rank's block has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counts<'c> {
    /// As the buffers' lengths say: equally many.
    Equal,
    /// Those of the block of each rank, the same on all ranks.
    Blocks(&'c [usize]),
    /// Those sent to each rank, and received from each.
    Pairs { send: &'c [usize], recv: &'c [usize] },
}

impl<'c> Operation<'c> {
    /// `collective` over elements of `data_type`.
    pub const fn new(collective: Collective, data_type: DataType) -> Self {
        Self { collective, data_type, op: None, counts: Counts::Equal }
    }

    /// `collective` over elements of type `T`.
    pub const fn of<T: Element>(collective: Collective) -> Self {
        Self::new(collective, T::TYPE)
    }

    /// The same with `op`, which a collective that reduces needs; ignored by others.
    #[must_use]
    pub const fn reducing(mut self, op: ReduceOp) -> Self {
        self.op = Some(op);
        self
    }

    /// The same with a block of `counts[r]` elements for rank r, where blocks are else as long as each
    /// other: [`Collective::AllGather`] and [`Collective::ReduceScatter`] become their v-forms.
    ///
    /// Blocks lie one after the other, in rank order. All ranks give the same counts.
    #[must_use]
    pub const fn with_counts(mut self, counts: &'c [usize]) -> Self {
        self.counts = Counts::Blocks(counts);
        self
    }

    /// The same with `send[r]` elements for rank r and `recv[r]` elements from it:
    /// [`Collective::AllToAll`] becomes its v-form.
    ///
    /// Blocks lie one after the other, in rank order. What one rank sends the other receives.
    #[must_use]
    pub const fn with_pairs(mut self, send: &'c [usize], recv: &'c [usize]) -> Self {
        self.counts = Counts::Pairs { send, recv };
        self
    }

    /// Whether the blocks of ranks differ in length.
    pub(crate) const fn is_ragged(&self) -> bool {
        !matches!(self.counts, Counts::Equal)
    }

    /// Its name, as in messages: `all_reduce`, `all_to_all_v`.
    pub const fn name(&self) -> &'static str {
        match (self.counts, self.collective) {
            (Counts::Equal, collective) => collective.name(),
            (_, Collective::AllGather) => "all_gather_v",
            (_, Collective::ReduceScatter) => "reduce_scatter_v",
            (_, Collective::AllToAll) => "all_to_all_v",
            (_, collective) => collective.name(),
        }
    }
}
