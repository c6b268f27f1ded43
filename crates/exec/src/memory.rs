//! Owns memory that an operation may keep while it runs: buffers moved into it until it is over.

use std::any::Any;

use bytemuck::Pod;
use crosstie_transport::HeapBlock;

use crate::Buffers;
use crate::buffers::Message;

/// A buffer that can be moved into an operation, which keeps it until no access can come any more.
///
/// # Safety
/// [`bytes`](Self::bytes) and [`bytes_mut`](Self::bytes_mut) give the same memory every time. It
/// stays where it is, valid and reachable only through the value, until the value is accessed
/// mutably or dropped; moving the value moves no byte of it.
pub unsafe trait Memory: Any + Send {
    /// Its bytes.
    fn bytes(&self) -> &[u8];

    /// Its bytes, to be written.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// The value itself, to be given back to whoever knows its type.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

// SAFETY: a vector owns its allocation, which moves only when it grows; that needs `&mut`.
unsafe impl<T: Pod + Send> Memory for Vec<T> {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(self)
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

// SAFETY: the box owns its allocation; to move the outer box, or the inner out of it, leaves it where it is.
unsafe impl<T: Pod + Send> Memory for Box<[T]> {
    fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(self)
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Stands for a buffer that a rank does not have.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

// SAFETY: there are no bytes.
unsafe impl Memory for Nothing {
    fn bytes(&self) -> &[u8] {
        &[]
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut []
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

// SAFETY: a block stays where it lies in its heap until it is dropped, and is its owner's alone.
unsafe impl Memory for HeapBlock {
    fn bytes(&self) -> &[u8] {
        self.as_slice()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// The buffers of one call, moved into it.
pub enum Owned {
    /// Two buffers.
    OutOfPlace {
        /// What this rank contributes.
        send: Box<dyn Memory>,
        /// Where its result goes.
        recv: Box<dyn Memory>,
    },
    /// One buffer, as in [`Buffers::InPlace`].
    InPlace(Box<dyn Memory>),
    /// A buffer for each message of a group, as in [`Buffers::Messages`].
    Messages {
        /// What is sent.
        sends: Vec<OwnedMessage>,
        /// What is received.
        recvs: Vec<OwnedMessage>,
    },
}

/// A message of a group, whose memory moved into it.
pub struct OwnedMessage {
    /// Its memory, and what tells it from others.
    pub message: Message<Box<dyn Memory>>,
    /// It travels in pieces of at most so many bytes, each a chunk of the plan.
    pub longest_piece: usize,
}

impl OwnedMessage {
    fn pieces(&self) -> impl Iterator<Item = Message<&[u8]>> {
        let Message { memory, tag, whole } = &self.message;
        Message { memory: memory.bytes(), tag: *tag, whole: *whole }.pieces(self.longest_piece)
    }

    fn pieces_mut(&mut self) -> impl Iterator<Item = Message<&mut [u8]>> {
        let Message { memory, tag, whole } = &mut self.message;
        Message { memory: memory.bytes_mut(), tag: *tag, whole: *whole }.pieces(self.longest_piece)
    }
}

impl Owned {
    /// The same buffers, borrowed.
    pub fn borrow(&mut self) -> Buffers<'_> {
        match self {
            Self::OutOfPlace { send, recv } => {
                Buffers::OutOfPlace { send: send.bytes(), recv: recv.bytes_mut() }
            }
            Self::InPlace(buffer) => Buffers::InPlace(buffer.bytes_mut()),
            Self::Messages { sends, recvs } => Buffers::Messages {
                sends: sends.iter().flat_map(OwnedMessage::pieces).collect(),
                recvs: recvs.iter_mut().flat_map(OwnedMessage::pieces_mut).collect(),
            },
        }
    }

    /// Keeps the memory for ever, for nobody vouches that nothing reaches it.
    pub(crate) fn leak(self) {
        let leak = |memory| _ = Box::leak::<'static>(memory);
        match self {
            Self::OutOfPlace { send, recv } => {
                leak(send);
                leak(recv);
            }
            Self::InPlace(buffer) => leak(buffer),
            Self::Messages { sends, recvs } => {
                sends.into_iter().chain(recvs).for_each(|owned| leak(owned.message.memory));
            }
        }
    }

    /// Bytes of all buffers together.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::OutOfPlace { send, recv } => send.bytes().len() + recv.bytes().len(),
            Self::InPlace(buffer) => buffer.bytes().len(),
            Self::Messages { sends, recvs } => {
                sends.iter().chain(recvs).map(|owned| owned.message.memory.bytes().len()).sum()
            }
        }
    }
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owned({} bytes)", self.bytes())
    }
}
