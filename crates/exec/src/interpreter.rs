//! Owns the meaning of an instruction on the host: one cooperative state machine per block.
//!
//! An instruction goes through fixed stages: its `after` has passed, its receive is posted, its
//! message is there, there is room for its send, its value is made, its memory is given back. A
//! block that cannot go on leaves its stage in its [`BlockState`] and is looked at again later;
//! nothing else remembers where a block stands, so a dump of the states is a dump of the program.

use crosstie_ir::{After, Chunk, ChunkMap, Instr, Space};
use crosstie_transport::Region;
use crosstie_transport::seam::{Arrival, Endpoint, Grant, Receiver, SendSpace, Sender};

use crate::program::{End, EndPort};
use crate::reduce::Reducer;
use crate::{ExecError, Program, Waiting, WaitingFor};

/// Where one block stands.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockState {
    window: u64,
    step: u32,
    stage: Stage,
    /// The message that the current instruction has received.
    arrival: Option<Arrival>,
}

/// The next thing that the current instruction needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Its `after`, then its receive posted.
    #[default]
    Start,
    /// Its message.
    Message,
    /// Room for its send.
    Room,
    /// Its memory back from the transport.
    Sent,
}

/// What an advance of a block came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// Nothing changed.
    Blocked,
    /// It went on, and now waits again.
    Moved,
    /// All its windows are done.
    Finished,
}

/// A program bound to one call's sizes and memory.
pub(crate) struct Run<'a> {
    pub program: &'a Program,
    pub map: ChunkMap,
    pub windows: u64,
    pub input: Region,
    pub output: Region,
    pub scratch: Region,
    pub reducer: Option<Reducer>,
    /// Bytes of the longest message of the endpoints, for receives whose length no chunk tells.
    pub slot_bytes: usize,
}

impl Run<'_> {
    /// Takes block `index` as far as it goes without waiting.
    pub fn advance(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        states: &mut [BlockState],
        index: usize,
    ) -> Result<Advance, ExecError> {
        let instrs = &self.program.plan.blocks[index].instrs;
        let mut outcome = Advance::Blocked;
        loop {
            let mut state = states[index];
            let Some(instr) = instrs.get(state.step as usize) else {
                if state.window + 1 >= self.windows || instrs.is_empty() {
                    return Ok(Advance::Finished);
                }
                states[index] = BlockState { window: state.window + 1, ..BlockState::default() };
                continue;
            };
            if state.stage == Stage::Start && !self.after_passed(instr.after_port(), states, state)
            {
                return Ok(outcome);
            }
            let complete = self.step(endpoints, instr, &mut state)?;
            if complete {
                state =
                    BlockState { step: state.step + 1, window: state.window, ..Default::default() };
            }
            if complete || state.stage != states[index].stage {
                outcome = Advance::Moved;
            }
            states[index] = state;
            if !complete {
                return Ok(outcome);
            }
        }
    }

    fn after_passed(&self, after: Option<After>, states: &[BlockState], own: BlockState) -> bool {
        after.is_none_or(|after| {
            let other = &states[after.block.0 as usize];
            other.window > own.window || other.window == own.window && other.step > after.step
        })
    }

    /// Takes one instruction through its stages; `true` when it is complete.
    fn step(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        state: &mut BlockState,
    ) -> Result<bool, ExecError> {
        let recv = instr.recv_port().map(|c| self.program.end(c));
        let send = instr.send_port().map(|c| self.program.end(c));
        if state.stage == Stage::Start {
            if let Some(end) = recv {
                self.post(endpoints, instr, end, state)?;
            }
            state.stage = if recv.is_some() { Stage::Message } else { Stage::Room };
        }
        if state.stage == Stage::Message {
            let Some(end) = recv else { return Err(WRONG_PORT) };
            let Some(arrival) =
                endpoints[end.endpoint].poll(receiver(end)?).map_err(ExecError::transport)?
            else {
                return Ok(false);
            };
            self.check_length(instr, end, arrival, state.window)?;
            state.arrival = Some(arrival);
            state.stage = Stage::Room;
        }
        if state.stage == Stage::Room && !self.make_value(endpoints, instr, send, state)? {
            return Ok(false);
        }
        if state.stage == Stage::Sent {
            let Some(end) = send else { return Err(WRONG_PORT) };
            if !endpoints[end.endpoint].sent(sender(end)?) {
                return Ok(false);
            }
        }
        if let Some(end) = recv {
            endpoints[end.endpoint].release(receiver(end)?);
        }
        Ok(true)
    }

    fn post(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        end: &End,
        state: &BlockState,
    ) -> Result<(), ExecError> {
        let dst = instr.dst_port().map(|c| self.region(c, instr, state.window)).transpose()?;
        let limit = self.message_len(instr, state.window)?.unwrap_or(self.slot_bytes);
        // A reduction reads what came and the chunk at once, so it leaves the message in its slot.
        let place = if instr.src_port().is_none() { dst } else { None };
        let grant = Grant { receiver: receiver(end)?, limit, place };
        endpoints[end.endpoint].post(&[grant]).map_err(ExecError::transport)
    }

    /// Makes the instruction's value and hands it to its destinations; `false` while the send
    /// has no room.
    fn make_value(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        send: Option<&End>,
        state: &mut BlockState,
    ) -> Result<bool, ExecError> {
        let region =
            |chunk: Option<Chunk>| chunk.map(|c| self.region(c, instr, state.window)).transpose();
        let (src, dst) = (region(instr.src_port())?, region(instr.dst_port())?);
        let Some(end) = send else {
            let target = dst.ok_or(ExecError::Binding { what: "a value without a destination" })?;
            self.write_value(state.arrival, src, target)?;
            return Ok(true);
        };
        let len = match (src, dst, state.arrival) {
            (Some(r), ..) | (None, Some(r), _) => r.len(),
            (None, None, Some(arrival)) => arrival.bytes.len(),
            (None, None, None) => 0,
        };
        let port = sender(end)?;
        let endpoint = &mut endpoints[end.endpoint];
        match endpoint.begin_send(port, len).map_err(ExecError::transport)? {
            None => Ok(false),
            Some(SendSpace::Slot(slot)) => {
                match dst {
                    Some(dst) => {
                        self.write_value(state.arrival, src, dst)?;
                        copy(dst, slot)?;
                    }
                    None => self.write_value(state.arrival, src, slot)?,
                }
                endpoint.commit(port).map_err(ExecError::transport)?;
                Ok(true)
            }
            Some(SendSpace::Direct) => {
                let value = match (dst, state.arrival, src) {
                    (Some(dst), ..) => {
                        self.write_value(state.arrival, src, dst)?;
                        dst
                    }
                    // The slot is this rank's until released, so the value can replace what came.
                    (None, Some(arrival), _) => {
                        self.write_value(state.arrival, src, arrival.bytes)?;
                        arrival.bytes
                    }
                    (None, None, Some(src)) => src,
                    (None, None, None) => return Err(WRONG_PORT),
                };
                endpoint.send_from(port, value).map_err(ExecError::transport)?;
                state.stage = Stage::Sent;
                Ok(true)
            }
        }
    }

    /// `target <- reduce(arrival?, src?)`.
    fn write_value(
        &self,
        arrival: Option<Arrival>,
        src: Option<Region>,
        target: Region,
    ) -> Result<(), ExecError> {
        match (arrival, src) {
            (Some(arrival), Some(src)) => {
                let reducer = self
                    .reducer
                    .as_ref()
                    .ok_or(ExecError::Binding { what: "a reduction without an operation" })?;
                Ok(reducer.reduce(arrival.bytes, src, target)?)
            }
            (Some(arrival), None) => copy(arrival.bytes, target),
            (None, Some(src)) => copy(src, target),
            (None, None) => Err(WRONG_PORT),
        }
    }

    /// The length of the instruction's message, from the chunk it is made of or goes to.
    fn message_len(&self, instr: &Instr, window: u64) -> Result<Option<usize>, ExecError> {
        let chunk = instr.src_port().or(instr.dst_port());
        chunk.map(|c| self.region(c, instr, window).map(|r| r.len())).transpose()
    }

    fn check_length(
        &self,
        instr: &Instr,
        end: &End,
        arrival: Arrival,
        window: u64,
    ) -> Result<(), ExecError> {
        match self.message_len(instr, window)? {
            Some(expected) if expected != arrival.bytes.len() => Err(ExecError::LengthMismatch {
                peer: end.peer,
                received: arrival.bytes.len(),
                expected,
            }),
            _ => Ok(()),
        }
    }

    fn region(&self, chunk: Chunk, instr: &Instr, window: u64) -> Result<Region, ExecError> {
        let slice = (instr.slice(), instr.slices());
        let range = self.map.range(chunk.space, chunk.index, slice, window);
        let whole = match chunk.space {
            Space::Input => self.input,
            Space::Output => self.output,
            Space::Scratch => self.scratch,
        };
        whole
            .part(range.start as usize, (range.end - range.start) as usize)
            .ok_or(ExecError::Binding { what: "a chunk outside its buffer" })
    }

    /// What block `index` is waiting for, if it is not finished.
    pub fn waiting(&self, states: &[BlockState], index: usize) -> Option<Waiting> {
        let state = &states[index];
        let instr = self.program.plan.blocks[index].instrs.get(state.step as usize)?;
        let message = |c| {
            let end = self.program.end(c);
            WaitingFor::Message { peer: end.peer, channel: end.channel }
        };
        let room = |c| {
            let end = self.program.end(c);
            WaitingFor::Room { peer: end.peer, channel: end.channel }
        };
        let on = match state.stage {
            Stage::Start => {
                let after = instr.after_port()?;
                WaitingFor::Step { block: after.block.0, step: after.step }
            }
            Stage::Message => message(instr.recv_port()?),
            Stage::Room | Stage::Sent => room(instr.send_port()?),
        };
        Some(Waiting { block: index as u32, step: state.step, window: state.window, on })
    }
}

/// The verifier refuses plans whose instructions lack a port they need.
const WRONG_PORT: ExecError = ExecError::Binding { what: "an instruction lacks a port" };

fn receiver(end: &End) -> Result<Receiver, ExecError> {
    match end.port {
        EndPort::Receiving(receiver) => Ok(receiver),
        EndPort::Sending(_) => Err(WRONG_PORT),
    }
}

fn sender(end: &End) -> Result<Sender, ExecError> {
    match end.port {
        EndPort::Sending(sender) => Ok(sender),
        EndPort::Receiving(_) => Err(WRONG_PORT),
    }
}

/// In place, source and target may be the same memory, and often are.
fn copy(from: Region, to: Region) -> Result<(), ExecError> {
    if from.as_ptr() == to.as_ptr() || to.copy_from(from) {
        return Ok(());
    }
    Err(ExecError::Binding { what: "a value longer than its chunk" })
}
