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
    ///
    /// ```
    /// use crosstie::{Collective, DataType, Operation};
    ///
    /// let gather = Operation::new(Collective::AllGather, DataType::Bf16);
    /// assert_eq!(gather.name(), "all_gather");
    /// ```
    pub const fn new(collective: Collective, data_type: DataType) -> Self {
        Self { collective, data_type, op: None, counts: Counts::Equal }
    }

    /// `collective` over elements of type `T`.
    ///
    /// ```
    /// use crosstie::{Collective, Operation, bf16};
    ///
    /// let gather = Operation::of::<bf16>(Collective::AllGather);
    /// assert_eq!(gather.name(), "all_gather");
    /// ```
    pub const fn of<T: Element>(collective: Collective) -> Self {
        Self::new(collective, T::TYPE)
    }

    /// The same with `op`, which a collective that reduces needs; ignored by others.
    ///
    /// ```
    /// # use crosstie::{Buffers, Collective, Operation, ReduceOp, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let most = Operation::of::<u8>(Collective::AllReduce).reducing(ReduceOp::Max);
    /// let mut bytes = [comm.rank() as u8];
    /// comm.perform(most, Buffers::InPlace(&mut bytes))?;
    /// assert_eq!(bytes, [1]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub const fn reducing(mut self, op: ReduceOp) -> Self {
        self.op = Some(op);
        self
    }

    /// The same with a block of `counts[r]` elements for rank r, where blocks are else as long as each
    /// other: [`Collective::AllGather`] and [`Collective::ReduceScatter`] become their v-forms.
    ///
    /// Blocks lie one after the other, in rank order. All ranks give the same counts.
    ///
    /// ```
    /// # use crosstie::{Buffers, Collective, Operation, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// let gather = Operation::of::<u8>(Collective::AllGather).with_counts(&[1, 0]);
    /// let mut bytes = [7 * (1 - comm.rank() as u8)];
    /// comm.perform(gather, Buffers::InPlace(&mut bytes))?;
    /// assert_eq!((gather.name(), bytes), ("all_gather_v", [7]));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
    #[must_use]
    pub const fn with_counts(mut self, counts: &'c [usize]) -> Self {
        self.counts = Counts::Blocks(counts);
        self
    }

    /// The same with `send[r]` elements for rank r and `recv[r]` elements from it:
    /// [`Collective::AllToAll`] becomes its v-form.
    ///
    /// Blocks lie one after the other, in rank order. What one rank sends the other receives.
    ///
    /// ```
    /// # use crosstie::{Buffers, Collective, Operation, Threads};
    /// # Threads::new(2).run(|mut comm| {
    /// // Both send one element to rank 0, and none to rank 1.
    /// let from_each = 1 - comm.rank() as usize;
    /// let recv = &mut vec![0; 2 * from_each];
    /// let counts = [from_each; 2];
    /// let exchange = Operation::of::<u8>(Collective::AllToAll).with_pairs(&[1, 0], &counts);
    /// comm.perform(exchange, Buffers::OutOfPlace { send: &[5], recv })?;
    /// assert_eq!(*recv, vec![5; 2 * from_each]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), crosstie::Error>(())
    /// ```
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
    ///
    /// ```
    /// use crosstie::{Collective, Operation};
    ///
    /// let gather = Operation::of::<u8>(Collective::AllGather);
    /// assert_eq!(gather.name(), "all_gather");
    /// assert_eq!(gather.with_counts(&[1, 2]).name(), "all_gather_v");
    /// ```
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
