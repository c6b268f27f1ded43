//! Owns the memory of all ranks during a run: what each place holds, and who touched it since.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::clock::{Clock, Moment};
use super::value::{Place, ValueId, Values};
use crate::reject::{Access, Reject};

/// An access, and the execution with whose completion it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    pub(super) access: Access,
    pub(super) end: Moment,
}

/// An execution that is about to access memory: what it is, and what it knows to have completed.
pub(super) struct Present<'a> {
    pub(super) now: Moment,
    pub(super) clock: &'a Clock,
}

#[derive(Debug)]
struct Cell {
    value: ValueId,
    writer: Option<Use>,
    /// The last use by each block that has read since the last write.
    readers: Vec<Use>,
}

/// Memory by place; only places that are touched take room.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<Place, Cell>);

impl Memory {
    fn cell(&mut self, place: Place, values: &mut Values) -> &mut Cell {
        self.0.entry(place).or_insert_with(|| {
            let value = values.initial(place);
            Cell { value, writer: None, readers: Vec::new() }
        })
    }

    /// What `place` holds at the end; what it held at first, if nobody touched it.
    pub(super) fn contents(&mut self, place: Place, values: &mut Values) -> ValueId {
        self.cell(place, values).value
    }

    pub(super) fn read(
        &mut self,
        place: Place,
        by: Use,
        present: &Present<'_>,
        values: &mut Values,
    ) -> Result<ValueId, Reject> {
        let cell = self.cell(place, values);
        if let Some(writer) = &cell.writer {
            present.check_order(writer, by)?;
        }
        cell.readers.retain(|reader| reader.end.block != by.end.block);
        cell.readers.push(by);
        Ok(cell.value)
    }

    pub(super) fn write(
        &mut self,
        place: Place,
        value: ValueId,
        by: Use,
        present: &Present<'_>,
        values: &mut Values,
    ) -> Result<(), Reject> {
        let cell = self.cell(place, values);
        for earlier in cell.readers.iter().chain(&cell.writer) {
            present.check_order(earlier, by)?;
        }
        *cell = Cell { value, writer: Some(by), readers: Vec::new() };
        Ok(())
    }
}

impl Present<'_> {
    /// Checks that `earlier` is over: it is of this execution or an earlier one of its block, or
    /// known to have completed.
    fn check_order(&self, earlier: &Use, by: Use) -> Result<(), Reject> {
        let same_block =
            earlier.end.block == self.now.block && earlier.end.number <= self.now.number;
        match same_block || self.clock.knows(earlier.end) {
            true => Ok(()),
            false => Err(Reject::Race { first: earlier.access, second: by.access }),
        }
    }
}
