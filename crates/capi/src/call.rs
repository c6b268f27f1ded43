//! Owns a call on buffers of the program: what it asks for, and its run on a communicator.

use crosstie::{Buffers, Collective, DataType, Operation};
use crosstie_ir::Rank;

use crate::communicator::{Comm, Scalar};
use crate::errors::{Answer, Refusal};
use crate::pointer::{Memory, Span};
use crate::types::{Place, pre_multiplied};

/// A call as a program makes it: its own, or one of a group.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    Collective(Asked),
    Message(Message),
}

/// A collective on buffers of the program.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    operation: Operation<'static>,
    data_type: DataType,
    /// By what it reduces, if it does.
    op: Option<Scalar>,
    buffers: Sides,
}

#[derive(Debug, Clone, Copy)]
enum Sides {
    Apart { send: Span, recv: Span },
    InPlace(Span),
}

/// A send or a receive.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub sends: bool,
    pub memory: Span,
    pub data_type: DataType,
    pub peer: u32,
}

/// What a collective is asked for with: `count` as NCCL counts, in elements of one part where there
/// are parts.
pub struct Terms {
    pub collective: Collective,
    pub op: Option<Scalar>,
    pub data_type: DataType,
    pub count: usize,
}

impl Terms {
    /// The call on these buffers, of which one that this rank does not need is not looked at.
    pub fn on(self, send: Memory, recv: Memory, place: Place) -> Answer<Call> {
        let Self { collective, op, data_type, count } = self;
        let (rank, size) = (Rank(place.rank), data_type.size());
        let parts = [
            collective.input_chunks(rank, place.size, 1),
            collective.output_chunks(rank, place.size, 1),
        ];
        let side = |name, memory: Memory, parts: u32| match parts {
            0 => Ok(Span::NONE),
            parts => {
                let count = count.saturating_mul(parts as usize);
                memory.span(name, count, size)
            }
        };
        let spans = [side("sendbuff", send, parts[0])?, side("recvbuff", recv, parts[1])?];
        let buffers =
            sides(spans, parts, count.wrapping_mul(size).wrapping_mul(place.rank as usize))?;
        let operation = Operation::new(collective, data_type);
        Ok(Call::Collective(Asked { operation, data_type, op, buffers }))
    }
}

/// Whether the two sides are one buffer: where both have as many parts, if they begin at one place;
/// else if the shorter is this rank's part of the longer, which begins at `own`.
fn sides([send, recv]: [Span; 2], parts: [u32; 2], own: usize) -> Answer<Sides> {
    let in_place = match parts {
        [0, _] | [_, 0] => None,
        [input, output] if input == output => send.is_at(recv, 0).then_some(recv),
        [input, output] if input < output => send.is_at(recv, own).then_some(recv),
        _ => recv.is_at(send, own).then_some(send),
    };
    match in_place {
        Some(whole) => Ok(Sides::InPlace(whole)),
        None if send.meets(recv) => Err(Refusal::argument(
            "sendbuff and recvbuff overlap, and do not lie as the operation in place has them lie",
        )),
        None => Ok(Sides::Apart { send, recv }),
    }
}

impl Asked {
    /// Carries it out.
    pub fn run(&self, comm: &Comm) -> Answer {
        let operation = match self.op {
            None => self.operation,
            Some(Scalar::Known(op)) => self.operation.reducing(op),
            Some(Scalar::At(place)) => {
                self.operation.reducing(pre_multiplied(place.bytes(), self.data_type)?)
            }
        };
        let buffers = match self.buffers {
            Sides::InPlace(whole) => Buffers::InPlace(whole.bytes_mut()),
            Sides::Apart { send, recv } => {
                Buffers::OutOfPlace { send: send.bytes(), recv: recv.bytes_mut() }
            }
        };
        comm.with(|communicator| communicator.perform(operation, buffers))
    }
}

/// Carries out messages together.
pub fn exchange(messages: &[Message], comm: &Comm) -> Answer {
    comm.with(|communicator| {
        communicator.group(|group| {
            for &Message { sends, memory, data_type, peer } in messages {
                match sends {
                    true => group.send_bytes(memory.bytes(), data_type, peer),
                    false => group.recv_bytes(memory.bytes_mut(), data_type, peer),
                }
            }
        })
    })
}

impl Call {
    /// Carries it out alone.
    pub fn run(&self, comm: &Comm) -> Answer {
        match self {
            Self::Collective(asked) => asked.run(comm),
            Self::Message(message) => exchange(std::slice::from_ref(message), comm),
        }
    }
}
