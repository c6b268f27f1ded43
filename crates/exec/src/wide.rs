//! Owns the memory of calls that compute narrow floats in f32 from end to end: what the caller gave becomes f32
//! before the plan runs, and its result is rounded once behind it.

use std::mem::ManuallyDrop;
use std::ops::Range;

use crosstie_ir::{ChunkMap, DataType};
use crosstie_transport::Region;

use crate::ExecError;
use crate::buffers::Area;
use crate::buffers::Scratch;
use crate::reduce::{self, Reducer};

/// The f32 in place of a call's buffers.
pub(crate) struct Wide {
    dtype: DataType,
    /// What the plan makes.
    output: Region,
    /// Where the caller wants it.
    result: Region,
    /// The parts of the result that the call writes, in elements.
    written: Vec<Range<usize>>,
    areas: (Area, Area),
    /// Where they lie.
    _memory: Scratch,
}

impl Wide {
    /// Memory for a call on these (input, output), where its reducer rounds once, with the input in it.
    ///
    /// The plan is one for buffers that are apart, whatever the caller's are.
    ///
    /// # Errors
    /// [`ExecError::Binding`] for buffers that no reduction has.
    pub fn of(
        reducer: Option<Reducer>,
        map: &ChunkMap,
        areas: (&Area, &Area),
    ) -> Result<Option<Self>, ExecError> {
        let Some(dtype) = reducer.and_then(|reducer| reducer.rounds_to()) else { return Ok(None) };
        let (&Area::Whole(given), &Area::Whole(result)) = areas else {
            return Err(ExecError::Binding { what: "a reduction on separate messages" });
        };
        let elements = |region: Region| region.len() / dtype.size();
        let [send, recv] = [given, result].map(|region| elements(region) * size_of::<f32>());
        let recv_at = send.next_multiple_of(ALIGNMENT);
        let mut memory = Scratch::default();
        let wide = memory.at_least(recv_at + recv);
        let part = |at, len| wide.part(at, len).ok_or(OUTSIDE);
        let (input, output) = (part(0, send)?, part(recv_at, recv)?);
        reduce::widen(dtype, given, input)?;
        let whole = 0..elements(result);
        let written = map.output_spans().map_or_else(
            || vec![whole],
            |spans| {
                spans.iter().map(|s| s.offset as usize..(s.offset + s.elements) as usize).collect()
            },
        );
        let areas = (Area::Whole(input), Area::Whole(output));
        Ok(Some(Self { dtype, output, result, written, areas, _memory: memory }))
    }

    /// Input and output of the plan.
    pub fn areas(&self) -> (&Area, &Area) {
        (&self.areas.0, &self.areas.1)
    }

    /// Keeps the memory for ever: a peer may still read it.
    pub fn leak(self) {
        let _ = ManuallyDrop::new(self);
    }

    /// Rounds what the plan made: when it is complete.
    pub fn round(&self) -> Result<(), ExecError> {
        for Range { start, end } in self.written.iter().cloned() {
            let part = |region: Region, bytes: usize| {
                region.part(start * bytes, (end - start) * bytes).ok_or(OUTSIDE)
            };
            let (wide, narrow) =
                (part(self.output, size_of::<f32>())?, part(self.result, self.dtype.size())?);
            reduce::round(self.dtype, wide, narrow)?;
        }
        Ok(())
    }
}

const OUTSIDE: ExecError = ExecError::Binding { what: "a result outside its buffer" };

/// So that neither buffer shares a cache line with the other.
const ALIGNMENT: usize = 64;
