//! Owns the step from slices to regions: the buffers of one blocking call, and scratch memory.

use std::ptr::NonNull;

use crosstie_ir::{Chunk, ChunkMap, Collective, Few, Plan};
use crosstie_transport::Region;

use crate::ExecError;

/// The memory of one side of a call.
#[derive(Debug)]
pub(crate) enum Area {
    /// One buffer, in which the chunk map places all chunks.
    Whole(Region),
    /// A message for each chunk: a group of sends and receives.
    Each(Few<Message<Region>>),
}

impl Area {
    pub fn of(&self, index: u32) -> Option<Region> {
        match self {
            Self::Whole(region) => Some(*region),
            Self::Each(messages) => messages.get(index as usize).map(|message| message.memory),
        }
    }

    /// The message that a chunk is, in a group.
    #[inline]
    pub fn message(&self, chunk: Option<Chunk>) -> Option<&Message<Region>> {
        match self {
            Self::Whole(_) => None,
            Self::Each(messages) => messages.get(chunk?.index as usize),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Whole(region) => region.len(),
            Self::Each(messages) => messages.iter().map(|message| message.memory.len()).sum(),
        }
    }
}

/// The buffers of one call, borrowed until it returns.
#[derive(Debug)]
pub enum Buffers<'a> {
    /// Two buffers that do not overlap.
    OutOfPlace {
        /// What this rank contributes.
        send: &'a [u8],
        /// Where its result goes.
        recv: &'a mut [u8],
    },
    /// One buffer: a rank's own part of the larger side lies where the collective puts it
    /// (all_gather: the input is part `rank` of the buffer; reduce_scatter: the output is).
    InPlace(&'a mut [u8]),
    /// The messages of a group of sends and receives; no collective takes them.
    Messages {
        /// What is sent, in the order of the input chunks.
        sends: Few<Message<&'a [u8]>>,
        /// What is received, in the order of the output chunks.
        recvs: Few<Message<&'a mut [u8]>>,
    },
}

/// The memory of a message of a group, or of a piece of one.
#[derive(Debug, Clone, Copy)]
pub struct Message<B> {
    /// Where its bytes lie.
    pub memory: B,
    /// What tells it from messages that the peer does not expect here: a hash, of which 24 bits are used.
    pub tag: u32,
    /// Bytes of the whole message.
    pub whole: u64,
}

impl<'a> Message<&'a [u8]> {
    /// The message in pieces of at most so many bytes; one empty piece where it has none.
    pub fn pieces(self, longest: usize) -> impl Iterator<Item = Self> {
        let Self { memory, tag, whole } = self;
        let none: Option<&'a [u8]> = memory.is_empty().then_some(&[]);
        memory.chunks(longest).chain(none).map(move |memory| Self { memory, tag, whole })
    }
}

impl<'a> Message<&'a mut [u8]> {
    /// The message in pieces of at most so many bytes; one empty piece where it has none.
    pub fn pieces(self, longest: usize) -> impl Iterator<Item = Self> {
        let Self { memory, tag, whole } = self;
        let none: Option<&'a mut [u8]> = memory.is_empty().then_some(&mut []);
        memory.chunks_mut(longest).chain(none).map(move |memory| Self { memory, tag, whole })
    }
}

impl<B> Message<B> {
    /// The same message elsewhere.
    pub(crate) fn at<C>(&self, memory: C) -> Message<C> {
        Message { memory, tag: self.tag, whole: self.whole }
    }
}

impl Buffers<'_> {
    /// Bytes of the longer side; of the longest message in a group.
    pub fn len(&self) -> usize {
        match self {
            Self::OutOfPlace { send, recv } => send.len().max(recv.len()),
            Self::InPlace(buffer) => buffer.len(),
            Self::Messages { sends, recvs } => {
                let sent = sends.iter().map(|message| message.memory.len());
                sent.chain(recvs.iter().map(|message| message.memory.len())).max().unwrap_or(0)
            }
        }
    }

    /// Whether both sides are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether input and output share memory.
    pub fn in_place(&self) -> bool {
        matches!(self, Self::InPlace(_))
    }

    /// (input, output) as regions that stay valid while `self` is borrowed.
    pub(crate) fn regions(
        &mut self,
        plan: &Plan,
        map: &ChunkMap,
        place: (u32, u32),
    ) -> Result<(Area, Area), ExecError> {
        match self {
            Self::OutOfPlace { send, recv } => {
                Ok((Area::Whole(read_only(send)), Area::Whole(writable(recv))))
            }
            Self::InPlace(buffer) => {
                let whole = writable(buffer);
                // A map whose blocks differ says itself where in the buffer they lie.
                let (input, output) = match map.is_ragged() {
                    true => (whole, whole),
                    false => in_place(whole, plan.collective, place)?,
                };
                Ok((Area::Whole(input), Area::Whole(output)))
            }
            Self::Messages { sends, recvs } => Ok((
                Area::Each(sends.iter().map(|send| send.at(read_only(send.memory))).collect()),
                Area::Each(
                    recvs
                        .iter_mut()
                        .map(|recv| Message {
                            memory: writable(recv.memory),
                            tag: recv.tag,
                            whole: recv.whole,
                        })
                        .collect(),
                ),
            )),
        }
    }
}

/// Where in the one buffer of a call in place this rank's input and output lie: the shorter side is
/// this rank's block of the longer, on the ranks that have both.
fn in_place(
    whole: Region,
    collective: Collective,
    (rank, ranks): (u32, u32),
) -> Result<(Region, Region), ExecError> {
    let block = || {
        let len = whole.len() / ranks.max(1) as usize;
        let own = whole.part(len * rank as usize, len);
        own.ok_or(ExecError::Binding { what: "rank outside the world" })
    };
    let is_root = collective.root().is_none_or(|root| root.0 == rank);
    Ok(match collective {
        Collective::AllGather => (block()?, whole),
        Collective::Gather { .. } if is_root => (block()?, whole),
        // Who ends with nothing keeps its buffer as it is.
        Collective::Gather { .. } | Collective::Reduce { .. } if !is_root => {
            (whole, Region::empty())
        }
        Collective::ReduceScatter => (whole, block()?),
        Collective::Scatter { .. } if is_root => (whole, block()?),
        _ => (whole, whole),
    })
}

fn read_only(bytes: &[u8]) -> Region {
    // SAFETY: the slice is borrowed by the `Buffers` that the engine holds until every access has
    // ended (or for ever refuses to make one: a poisoned engine); as an input it is only read.
    unsafe { Region::from_raw_parts(NonNull::from(bytes).cast(), bytes.len()) }
}

fn writable(bytes: &mut [u8]) -> Region {
    let len = bytes.len();
    // SAFETY: as for `read_only`; the borrow is exclusive, so this library alone writes.
    unsafe { Region::from_raw_parts(NonNull::from(bytes).cast(), len) }
}

/// A communicator's scratch memory: grown when a call needs more, never shrunk.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Words as wide as the widest alignment that a transport's slots have.
    words: Vec<u128>,
}

impl Scratch {
    /// How much there is.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.words[..])
    }

    /// At least `bytes` of it, for the operation that runs now.
    pub fn at_least(&mut self, bytes: usize) -> Region {
        let words = bytes.div_ceil(size_of::<u128>());
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        let len = self.words.len() * size_of::<u128>();
        // SAFETY: the vector is owned by the engine, which runs one operation at a time, never
        // grows it while one runs, and touches no connection after one has failed.
        unsafe { Region::from_raw_parts(NonNull::from(&mut self.words[..]).cast(), len) }
    }
}
