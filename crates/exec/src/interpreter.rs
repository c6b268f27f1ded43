//! Owns the meaning of an instruction on the host: one cooperative state machine per block.
//!
//! An instruction goes through fixed stages: its `after` has passed, its receive is posted, its
//! message is there, there is room for its send, its value is made, its memory is given back. A
//! block that cannot go on leaves its stage in its [`BlockState`] and is looked at again later;
//! nothing else remembers where a block stands, so a dump of the states is a dump of the program.

use crosstie_ir::scalar::Ends;
use crosstie_ir::{After, Chunk, ChunkMap, Instr, Space};
use crosstie_transport::Region;
use crosstie_transport::seam::{Arrival, Endpoint, Grant, Receiver, SendSpace, Sender, TAG_MASK};

use crate::buffers::Area;
use crate::program::{End, EndPort};
use crate::reduce::Reducer;
use crate::{ExecError, Program, Waiting, WaitingFor};

/// Where one block stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockState {
    block: u32,
    window: u64,
    step: u32,
    stage: Stage,
    /// The memory of the current instruction's chunks, once it has begun.
    src: Option<Region>,
    dst: Option<Region>,
    /// The message that the current instruction has received.
    arrival: Option<Arrival>,
}

/// The next thing that the current instruction needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its `after`, then its receive posted.
    Start,
    /// Its message.
    Message,
    /// Room for its send.
    Room,
    /// Its memory back from the transport.
    Sent,
}

/// Work on more bytes ends a block's turn. Without turns, a block that reduces what it finds goes on to what
/// its peer sent ahead, while the block that has to send the result, for which the peer waits, is not
/// looked at: the ranks work by turns. Measured with `crosstie bench all_reduce --transport shm
/// --buffers shared` on 2 ranks, µs: 256 KiB 22.8 and 19.4, 1 MiB 69 and 44, 4 MiB 316 and 180.
const TURN_BYTES: usize = 4096;

impl BlockState {
    /// The start of block number `block`.
    pub const fn start(block: u32) -> Self {
        Self::at(block, 0, 0)
    }

    const fn at(block: u32, window: u64, step: u32) -> Self {
        Self { block, window, step, stage: Stage::Start, src: None, dst: None, arrival: None }
    }

    /// Bytes of the current instruction's message, where one of its chunks tells.
    fn message_len(&self) -> Option<usize> {
        self.src.or(self.dst).map(|region| region.len())
    }
}

/// What an advance of a block came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// Nothing changed.
    Blocked,
    /// It went on, and now waits again.
    Moved,
    /// It went on and may go further, once the others have had their turn.
    TurnOver,
    /// All its windows are done.
    Finished,
}

/// A program bound to one call's sizes and memory.
pub(crate) struct Run<'a> {
    pub program: &'a Program,
    pub map: &'a ChunkMap,
    pub input: &'a Area,
    pub output: &'a Area,
    pub scratch: Region,
    /// Room for a message of each block, where values that are only sent are made on the way.
    pub bounce: Region,
    pub reducer: Option<Reducer>,
    /// Bytes of the longest message of the endpoints, for receives whose length no chunk tells.
    pub slot_bytes: usize,
    /// What every message of this call carries; those of a group have tags of their own.
    pub tag: u32,
    /// Whether the call is on more memory than caches hold.
    pub streams: bool,
}

impl Run<'_> {
    /// Whether it is a group of sends and receives.
    pub const fn is_group(&self) -> bool {
        matches!(self.output, Area::Each(_))
    }

    /// Takes block `index` as far as it goes without waiting, or until it has done long work: then the other
    /// blocks have their turn, for some may wait for what is done.
    pub fn advance(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        states: &mut [BlockState],
        index: usize,
    ) -> Result<Advance, ExecError> {
        let instrs = &self.program.plan.blocks[index].instrs;
        let mut outcome = Advance::Blocked;
        loop {
            let BlockState { block, window, step, stage, .. } = states[index];
            let Some(instr) = instrs.get(step as usize) else {
                let windows = self.map.windows_of(&self.program.plan.blocks[index]);
                if window + 1 >= windows || instrs.is_empty() {
                    return Ok(Advance::Finished);
                }
                states[index] = BlockState::at(block, window + 1, 0);
                continue;
            };
            if stage == Stage::Start && !after_passed(instr.after_port(), states, window) {
                return Ok(outcome);
            }
            let begins = window == 0 && step == 0 && stage == Stage::Start;
            if begins && self.program.opens_ahead {
                self.open_first(endpoints, instrs)?;
            }
            if instr.is_grant() || instr.is_wait() {
                if instr.is_grant() {
                    self.open(endpoints, index, instr, window)?;
                }
                states[index] = BlockState::at(block, window, step + 1);
                outcome = Advance::Moved;
                continue;
            }
            let state = &mut states[index];
            if self.step(endpoints, instr, state)? {
                let worked = state.message_len().unwrap_or(0);
                *state = BlockState::at(block, window, step + 1);
                outcome = Advance::Moved;
                if worked > TURN_BYTES {
                    return Ok(Advance::TurnOver);
                }
            } else {
                return Ok(if state.stage == stage { outcome } else { Advance::Moved });
            }
        }
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
            self.begin(endpoints, instr, recv, state)?;
        }
        if state.stage == Stage::Message {
            let end = recv.ok_or_else(wrong_port)?;
            let arrival = endpoints[end.endpoint].poll(receiver(end)?);
            let Some(arrival) = arrival.map_err(ExecError::transport)? else { return Ok(false) };
            self.check(end, &arrival, instr, state)?;
            state.arrival = Some(arrival);
            state.stage = Stage::Room;
        }
        if state.stage == Stage::Room && !self.make_value(endpoints, instr, recv, send, state)? {
            return Ok(false);
        }
        if state.stage == Stage::Sent {
            let end = send.ok_or_else(wrong_port)?;
            if !endpoints[end.endpoint].sent(sender(end)?) {
                return Ok(false);
            }
        }
        if let Some(end) = recv {
            endpoints[end.endpoint].release(receiver(end)?);
        }
        Ok(true)
    }

    /// Refuses a message of another call, and one of another length than this call's.
    fn check(
        &self,
        end: &End,
        arrival: &Arrival,
        instr: &Instr,
        state: &BlockState,
    ) -> Result<(), ExecError> {
        let (peer, received) = (end.peer, arrival.bytes.len());
        if let Some(message) = self.output.message(instr.dst_port()) {
            if arrival.tag != message.tag & TAG_MASK {
                let (expected, may_be_more) = (message.whole, received >= self.slot_bytes);
                return Err(ExecError::MessageMismatch { peer, received, may_be_more, expected });
            }
        } else if arrival.tag != self.tag {
            return Err(ExecError::CallMismatch { peer, received: arrival.tag, own: self.tag });
        }
        match state.message_len() {
            Some(expected) if expected != received => {
                Err(ExecError::LengthMismatch { peer, received, expected })
            }
            _ => Ok(()),
        }
    }

    /// Opens the places that the window before opens in later windows.
    fn open_first(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instrs: &[Instr],
    ) -> Result<(), ExecError> {
        for instr in instrs.iter().filter(|instr| instr.is_granted() && instr.is_ahead()) {
            self.post_early(endpoints, instr, 0)?;
        }
        Ok(())
    }

    /// Opens the place of a later receive, if there will be such.
    fn open(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        block: usize,
        instr: &Instr,
        window: u64,
    ) -> Result<(), ExecError> {
        let window = window + u64::from(instr.is_ahead());
        if window >= self.map.windows_of(&self.program.plan.blocks[block]) {
            return Ok(());
        }
        let receive = instr.granted_port().ok_or_else(wrong_port)?;
        self.post_early(endpoints, &receive, window)
    }

    fn post_early(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        window: u64,
    ) -> Result<(), ExecError> {
        let end = instr.recv_port().map(|c| self.program.end(c)).ok_or_else(wrong_port)?;
        let bind = |chunk| self.region(chunk, instr, window);
        let (src, dst) = (instr.src_port().map(bind), instr.dst_port().map(bind));
        self.post(endpoints, end, src.transpose()?, dst.transpose()?)
    }

    fn post(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        end: &End,
        src: Option<Region>,
        dst: Option<Region>,
    ) -> Result<(), ExecError> {
        let limit = src.or(dst).map_or(self.slot_bytes, |region| region.len());
        // A reduction reads what came and the chunk at once, so it leaves the message in its slot.
        let place = if src.is_none() { dst } else { None };
        let grant = Grant { receiver: receiver(end)?, limit, place };
        endpoints[end.endpoint].post(&[grant]).map_err(ExecError::transport)
    }

    /// Binds the instruction's chunks, and posts its receive.
    fn begin(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        recv: Option<&End>,
        state: &mut BlockState,
    ) -> Result<(), ExecError> {
        let bind = |chunk| self.region(chunk, instr, state.window);
        let (src, dst) = (instr.src_port().map(bind), instr.dst_port().map(bind));
        (state.src, state.dst) = (src.transpose()?, dst.transpose()?);
        let Some(end) = recv else {
            state.stage = Stage::Room;
            return Ok(());
        };
        if !instr.is_granted() {
            self.post(endpoints, end, state.src, state.dst)?;
        }
        state.stage = Stage::Message;
        Ok(())
    }

    /// Makes the instruction's value and hands it to its destinations; `false` while the send
    /// has no room.
    fn make_value(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        recv: Option<&End>,
        send: Option<&End>,
        state: &mut BlockState,
    ) -> Result<bool, ExecError> {
        let BlockState { src, dst, arrival, .. } = *state;
        let Some(end) = send else {
            let target = dst.ok_or_else(wrong_port)?;
            self.write_value(instr, arrival, src, target)?;
            return check_intact(endpoints, recv, arrival).map(|()| true);
        };
        let relayed = || arrival.map_or(0, |arrival| arrival.bytes.len());
        let len = state.message_len().unwrap_or_else(relayed);
        let port = sender(end)?;
        let endpoint = &mut endpoints[end.endpoint];
        if let Some(message) = self.input.message(instr.src_port()) {
            endpoint.begin_call(message.tag & TAG_MASK);
        }
        let space = match self.lendable(instr, state) {
            Some(value) => endpoint.begin_lend(port, value),
            None => endpoint.begin_send(port, len),
        };
        match space.map_err(ExecError::transport)? {
            None => return Ok(false),
            Some(SendSpace::Slot(slot)) => {
                self.write_value(instr, arrival, src, dst.unwrap_or(slot))?;
                if let Some(dst) = dst {
                    copy(dst, slot)?;
                }
            }
            Some(SendSpace::Lent) => {
                if let Some(dst) = dst {
                    self.write_value(instr, arrival, src, dst)?;
                }
            }
            Some(SendSpace::Direct) => {
                let value = self.value_for_direct(endpoints, instr, recv, state)?;
                self.write_value(instr, state.arrival, src, value)?;
                check_intact(endpoints, recv, state.arrival)?;
                let sent = endpoints[end.endpoint].send_from(port, value);
                sent.map_err(ExecError::transport)?;
                state.stage = Stage::Sent;
                return Ok(true);
            }
        }
        check_intact(endpoints, recv, arrival)?;
        endpoints[end.endpoint].commit(port).map_err(ExecError::transport)?;
        Ok(true)
    }

    /// Where a value is made that is sent from the memory it lies in.
    ///
    /// Without a destination it replaces what came: that memory is this rank's until released, or
    /// becomes so if it was only lent. What is only sent is sent from where it lies.
    fn value_for_direct(
        &self,
        endpoints: &mut [Box<dyn Endpoint>],
        instr: &Instr,
        recv: Option<&End>,
        state: &mut BlockState,
    ) -> Result<Region, ExecError> {
        match (state.dst, state.arrival, state.src) {
            (Some(own), ..) => Ok(own),
            (None, Some(arrival), Some(_)) if arrival.lent => {
                let end = recv.ok_or_else(wrong_port)?;
                let taken = endpoints[end.endpoint].take_over(receiver(end)?);
                let taken = taken.map_err(ExecError::transport)?.ok_or_else(wrong_port)?;
                state.arrival = Some(taken);
                Ok(taken.bytes)
            }
            (None, Some(arrival), _) => Ok(arrival.bytes),
            (None, None, Some(src)) if self.is_made(instr) => {
                let room = self.bounce.part(state.block as usize * self.slot_bytes, src.len());
                room.ok_or_else(|| binding("a value longer than its room"))
            }
            (None, None, Some(src)) => Ok(src),
            (None, None, None) => Err(wrong_port()),
        }
    }

    /// `target <- reduce(arrival?, src?)`, or `target <- reduce(target, src)`.
    fn write_value(
        &self,
        instr: &Instr,
        arrival: Option<Arrival>,
        src: Option<Region>,
        target: Region,
    ) -> Result<(), ExecError> {
        let operand = match arrival {
            Some(arrival) => Some(arrival.bytes),
            None if instr.accumulates() => Some(target),
            None => None,
        };
        let ends = ends(instr);
        match (operand, src, self.reducer.as_ref()) {
            (Some(_), Some(_), None) => Err(binding("a reduction without an operation")),
            (Some(operand), Some(src), Some(reducer)) => {
                Ok(reducer.reduce(operand, src, target, ends)?)
            }
            (Some(only), None, Some(reducer)) | (None, Some(only), Some(reducer))
                if ends != Ends::NONE && !reducer.plain_copy() =>
            {
                Ok(reducer.copy(only, target, ends)?)
            }
            (Some(only), None, _) | (None, Some(only), _) if self.streams(instr) => {
                stream(only, target)
            }
            (Some(only), None, _) | (None, Some(only), _) => copy(only, target),
            (None, None, _) => Err(wrong_port()),
        }
    }

    /// Whether a copy goes past the caches: to where the caller wants it and nobody is sent it from, in a
    /// call on more memory than caches hold.
    fn streams(&self, instr: &Instr) -> bool {
        let caller = |chunk: Chunk| chunk.space != Space::Scratch;
        self.streams && instr.send_port().is_none() && instr.dst_port().is_some_and(caller)
    }

    /// Whether a value that is only sent is made on the way: multiplied, or divided.
    fn is_made(&self, instr: &Instr) -> bool {
        ends(instr) != Ends::NONE && self.reducer.is_some_and(|reducer| !reducer.plain_copy())
    }

    /// The memory of a value that its receiver may read where it lies: the caller's, not the
    /// communicator's, which is overwritten in the next window.
    fn lendable(&self, instr: &Instr, state: &BlockState) -> Option<Region> {
        let (chunk, region) = match (instr.dst_port(), instr.recv_port()) {
            (Some(chunk), _) => (chunk, state.dst),
            (None, None) if !self.is_made(instr) => (instr.src_port()?, state.src),
            (None, _) => return None,
        };
        if chunk.space == Space::Scratch || instr.is_copied() { None } else { region }
    }

    fn region(&self, chunk: Chunk, instr: &Instr, window: u64) -> Result<Region, ExecError> {
        let slice = (instr.slice(), instr.slices());
        let range = self.map.range(chunk.space, chunk.index, slice, window);
        let whole = match chunk.space {
            Space::Input => self.input.of(chunk.index),
            Space::Output => self.output.of(chunk.index),
            Space::Scratch => Some(self.scratch),
        };
        whole
            .and_then(|w| w.part(range.start as usize, (range.end - range.start) as usize))
            .ok_or_else(|| binding("a chunk outside its buffer"))
    }

    /// What block `index` is waiting for, if it is not finished.
    pub fn waiting(&self, states: &[BlockState], index: usize) -> Option<Waiting> {
        let state = &states[index];
        let instr = self.program.plan.blocks[index].instrs.get(state.step as usize)?;
        let instrs = &self.program.plan.blocks[index].instrs;
        // A connection's end belongs to one block, so that block alone tells how many messages went before.
        let slot = |c, port: fn(&Instr) -> Option<_>| {
            let uses = |instrs: &[Instr]| instrs.iter().filter(|i| port(i) == Some(c)).count();
            state.window * uses(instrs) as u64 + uses(&instrs[..state.step as usize]) as u64
        };
        let message = |c| {
            let (end, slot) = (self.program.end(c), slot(c, Instr::recv_port));
            WaitingFor::Message { peer: end.peer, channel: end.channel, slot }
        };
        let room = |c| {
            let (end, slot) = (self.program.end(c), slot(c, Instr::send_port));
            WaitingFor::Room { peer: end.peer, channel: end.channel, slot }
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

fn after_passed(after: Option<After>, states: &[BlockState], window: u64) -> bool {
    after.is_none_or(|after| {
        let other = &states[after.block.0 as usize];
        other.window > window || other.window == window && other.step > after.step
    })
}

#[cold]
fn binding(what: &'static str) -> ExecError {
    ExecError::Binding { what }
}

/// The verifier refuses plans whose instructions lack a port that they need.
#[cold]
fn wrong_port() -> ExecError {
    binding("an instruction lacks a port")
}

fn receiver(end: &End) -> Result<Receiver, ExecError> {
    match end.port {
        EndPort::Receiving(receiver) => Ok(receiver),
        EndPort::Sending(_) => Err(wrong_port()),
    }
}

fn sender(end: &End) -> Result<Sender, ExecError> {
    match end.port {
        EndPort::Sending(sender) => Ok(sender),
        EndPort::Receiving(_) => Err(wrong_port()),
    }
}

/// At which ends of a reduction an instruction stands.
fn ends(instr: &Instr) -> Ends {
    let pre = instr.src_port().is_some_and(|chunk| chunk.space == Space::Input);
    Ends { pre, finish: instr.finishes() }
}

/// Refuses a value that was made of a lent message when the message had changed meanwhile.
#[inline]
fn check_intact(
    endpoints: &mut [Box<dyn Endpoint>],
    recv: Option<&End>,
    arrival: Option<Arrival>,
) -> Result<(), ExecError> {
    match (arrival, recv) {
        (Some(Arrival { lent: true, .. }), Some(end)) => {
            endpoints[end.endpoint].intact(receiver(end)?).map_err(ExecError::transport)
        }
        _ => Ok(()),
    }
}

/// As [`copy`], past the caches.
fn stream(from: Region, to: Region) -> Result<(), ExecError> {
    if from.as_ptr() == to.as_ptr() || to.stream_from(from) {
        return Ok(());
    }
    Err(binding("a value longer than its chunk"))
}

/// In place, source and target may be the same memory, and often are.
fn copy(from: Region, to: Region) -> Result<(), ExecError> {
    if from.as_ptr() == to.as_ptr() || to.copy_from(from) {
        return Ok(());
    }
    Err(binding("a value longer than its chunk"))
}

#[cfg(test)]
mod tests {
    use crosstie_ir::{Collective, Layout, PlanBuilder, Rank};

    use super::*;

    /// How often a block has to be looked at that copies `windows` windows of `bytes`.
    fn turns(bytes: usize, windows: u64) -> usize {
        let mut builder = PlanBuilder::in_parts(Collective::AllGather, 1, 1);
        let block = builder.block(Rank(0));
        builder.push(block, Instr::copy(Chunk::input(0), Chunk::output(0)));
        let known = crate::Known { in_place: false, ahead: 0, past_relays: None };
        let program = Program::resolve(builder.finish().unwrap(), Rank(0), &[], known).unwrap();
        let count = bytes as u64 * windows;
        let map = ChunkMap::new(Layout::Blocks { stride: count }, 1, count, bytes as u64);
        let area = || Area::Whole(Region::leak(vec![0; count as usize].into_boxed_slice()));
        let (input, output) = (area(), area());
        let run = Run {
            program: &program,
            map: &map,
            input: &input,
            output: &output,
            scratch: Region::empty(),
            bounce: Region::empty(),
            reducer: None,
            slot_bytes: bytes,
            tag: 0,
            streams: false,
        };
        let mut states = [BlockState::start(0)];
        let ended = |_| matches!(run.advance(&mut [], &mut states, 0), Ok(Advance::Finished));
        1 + (0..1000).position(ended).unwrap()
    }

    #[test]
    fn long_work_ends_a_blocks_turn_and_short_work_does_not() {
        assert_eq!(turns(TURN_BYTES, 5), 1);
        assert_eq!(turns(TURN_BYTES + 1, 5), 6);
    }
}
