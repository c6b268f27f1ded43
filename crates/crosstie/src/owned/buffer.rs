//! Owns the buffers that can move into a call, and what comes back from it.

use crosstie_exec::{Memory, Owned};
use crosstie_transport::HeapBlock;

use crate::{Buffer, Element};

/// A buffer that can move into a call and comes back from it: `Vec<T>`, `Box<[T]>` and [`Buffer<T>`].
///
/// Sealed: each implementation is a promise that moving the value moves none of its elements.
pub trait OwnedBuffer: sealed::Sealed + Send + 'static {
    /// What it holds.
    type Element: Element;

    #[doc(hidden)]
    fn into_memory(self) -> Box<dyn Memory>;

    #[doc(hidden)]
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self>
    where
        Self: Sized;
}

mod sealed {
    pub trait Sealed {}
}

impl<T: Element> sealed::Sealed for Vec<T> {}
impl<T: Element> OwnedBuffer for Vec<T> {
    type Element = T;

    fn into_memory(self) -> Box<dyn Memory> {
        Box::new(self)
    }
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self> {
        memory.into_any().downcast().ok().map(|vector| *vector)
    }
}

impl<T: Element> sealed::Sealed for Box<[T]> {}
impl<T: Element> OwnedBuffer for Box<[T]> {
    type Element = T;

    fn into_memory(self) -> Box<dyn Memory> {
        Box::new(self)
    }
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self> {
        memory.into_any().downcast::<Self>().ok().map(|slice| *slice)
    }
}

impl<T: Element> sealed::Sealed for Buffer<T> {}
impl<T: Element> OwnedBuffer for Buffer<T> {
    type Element = T;

    fn into_memory(self) -> Box<dyn Memory> {
        Box::new(self.into_block())
    }
    fn from_memory(memory: Box<dyn Memory>) -> Option<Self> {
        memory.into_any().downcast::<HeapBlock>().ok().map(|block| Self::from_block(*block))
    }
}

/// What comes back from an asynchronous call: one buffer, a pair (send, recv), or nothing.
///
/// Sealed: calls make these and no others.
pub trait Returned: returned::Sealed + Send + 'static {
    #[doc(hidden)]
    fn from_owned(owned: Option<Owned>) -> Option<Self>
    where
        Self: Sized;
}

mod returned {
    pub trait Sealed {}
}

impl returned::Sealed for () {}
impl Returned for () {
    fn from_owned(_: Option<Owned>) -> Option<Self> {
        Some(())
    }
}

impl<B: OwnedBuffer> returned::Sealed for B {}
impl<B: OwnedBuffer> Returned for B {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::InPlace(memory) => B::from_memory(memory),
            Owned::OutOfPlace { .. } => None,
            Owned::Messages { sends, recvs } => {
                let only = sends.into_iter().chain(recvs).next()?;
                B::from_memory(only.message.memory)
            }
        }
    }
}

impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for (S, R) {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for (S, R) {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::OutOfPlace { send, recv } => {
                Some((S::from_memory(send)?, R::from_memory(recv)?))
            }
            Owned::Messages { mut sends, mut recvs } => {
                let (sent, received) = (sends.pop()?.message.memory, recvs.pop()?.message.memory);
                Some((S::from_memory(sent)?, R::from_memory(received)?))
            }
            Owned::InPlace(_) => None,
        }
    }
}

/// A buffer that only the root has, beside one that all have.
impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for (S, Option<R>) {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for (S, Option<R>) {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::OutOfPlace { send, recv } => Some((S::from_memory(send)?, R::from_memory(recv))),
            _ => None,
        }
    }
}

impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for (Option<S>, R) {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for (Option<S>, R) {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        match owned? {
            Owned::OutOfPlace { send, recv } => Some((S::from_memory(send), R::from_memory(recv)?)),
            _ => None,
        }
    }
}

/// The buffers of a group of messages, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged<S, R> {
    /// What was sent.
    pub sent: Vec<S>,
    /// What was received.
    pub received: Vec<R>,
}

impl<S: OwnedBuffer, R: OwnedBuffer> returned::Sealed for Exchanged<S, R> {}
impl<S: OwnedBuffer, R: OwnedBuffer> Returned for Exchanged<S, R> {
    fn from_owned(owned: Option<Owned>) -> Option<Self> {
        let Owned::Messages { sends, recvs } = owned? else { return None };
        let sent = sends.into_iter().map(|one| S::from_memory(one.message.memory));
        let received = recvs.into_iter().map(|one| R::from_memory(one.message.memory));
        Some(Self {
            sent: sent.collect::<Option<_>>()?,
            received: received.collect::<Option<_>>()?,
        })
    }
}
