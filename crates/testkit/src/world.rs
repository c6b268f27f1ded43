//! Owns a world of endpoints driven by one thread: messages step by step, each wait with an end.

use std::time::{Duration, Instant};

use crosstie_transport::seam::{Endpoint, Grant, Limits, Receiver, SendSpace, Sender};
use crosstie_transport::{Region, TransportError};

use crate::random::mix;

/// No step of a test takes longer; a wait that does is a hang.
const HANG: Duration = Duration::from_secs(5);

/// A directed path between two ranks of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The sending rank.
    pub src: u32,
    /// The receiving rank.
    pub dst: u32,
    /// The channel.
    pub channel: u16,
}

/// The endpoints of all ranks of a world, in rank order. A rank that has died has none.
pub struct World<E: Endpoint + ?Sized = dyn Endpoint> {
    ends: Vec<Option<Box<E>>>,
}

/// One message on its way out.
pub struct Outgoing {
    path: Path,
    port: Sender,
    value: Region,
    handed: bool,
}

/// One receive.
pub struct Incoming {
    path: Path,
    port: Receiver,
    limit: usize,
    place: Option<Region>,
    posted: bool,
    /// The tag that the message had, once it is there.
    pub tag: Option<u32>,
}

impl<E: Endpoint + ?Sized> World<E> {
    /// A world of `ends`, in rank order.
    pub fn new(ends: Vec<Box<E>>) -> Self {
        Self { ends: ends.into_iter().map(Some).collect() }
    }

    /// A world of which only `rank`, with the endpoint `end`, is driven here.
    pub fn of_one(rank: u32, end: Box<E>) -> Self {
        let mut ends: Vec<_> = (0..rank).map(|_| None).collect();
        ends.push(Some(end));
        Self { ends }
    }

    /// The endpoint of `rank`.
    ///
    /// # Panics
    /// When that rank has died.
    pub fn end(&mut self, rank: u32) -> &mut E {
        let end = self.ends.get_mut(rank as usize).and_then(Option::as_mut);
        end.expect("the rank is alive")
    }

    /// Whether `rank` has an endpoint that has not been dropped.
    pub fn is_alive(&self, rank: u32) -> bool {
        self.ends.get(rank as usize).is_some_and(Option::is_some)
    }

    /// What connections of this world promise.
    pub fn limits(&mut self) -> Limits {
        self.end(0).limits()
    }

    /// Drops the endpoint of `rank`, as the end of its process does.
    pub fn kill(&mut self, rank: u32) {
        if let Some(end) = self.ends.get_mut(rank as usize) {
            *end = None;
        }
    }

    /// Moves bytes once for each living rank.
    pub fn progress(&mut self) {
        for end in self.ends.iter_mut().flatten() {
            end.progress().expect("progress fails for no single peer");
        }
    }

    /// Moves bytes until `done`.
    ///
    /// # Panics
    /// When that takes longer than 5 seconds: a hang.
    pub fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = done(self) {
                return value;
            }
            assert!(started.elapsed() < HANG, "hangs: {what}");
            self.progress();
        }
    }

    /// A message of `bytes` over `path`, not yet handed over.
    pub fn outgoing(&mut self, path: Path, bytes: &[u8]) -> Outgoing {
        let port = self.end(path.src).sender(path.dst, path.channel).expect("the path exists");
        Outgoing { path, port, value: Region::leak(bytes.into()), handed: false }
    }

    /// A receive of at most `limit` bytes over `path`, in a place of its own or from a slot.
    pub fn incoming(&mut self, path: Path, limit: usize, placed: bool) -> Incoming {
        let port = self.end(path.dst).receiver(path.src, path.channel).expect("the path exists");
        let place = placed.then(|| Region::leak(vec![0; limit].into()));
        Incoming { path, port, limit, place, posted: false, tag: None }
    }

    /// Sends `bytes` over `path` as far as the sender is concerned.
    pub fn send(&mut self, path: Path, bytes: &[u8]) {
        let mut outgoing = self.outgoing(path, bytes);
        self.until("a send", |world| {
            outgoing.step(world).expect("the peer is alive").then_some(())
        });
    }

    /// Receives one message of at most `limit` bytes.
    pub fn receive(&mut self, path: Path, limit: usize, placed: bool) -> Vec<u8> {
        let mut incoming = self.incoming(path, limit, placed);
        self.until("a receive", |world| incoming.step(world).expect("the peer is alive"))
    }
}

impl Outgoing {
    /// Takes the message as far as it goes; `true` when its memory is the caller's again.
    ///
    /// # Errors
    /// The transport's.
    pub fn step<E: Endpoint + ?Sized>(
        &mut self,
        world: &mut World<E>,
    ) -> Result<bool, TransportError> {
        let end = world.end(self.path.src);
        if self.handed {
            return Ok(end.sent(self.port));
        }
        match end.begin_lend(self.port, self.value)? {
            None => Ok(false),
            Some(SendSpace::Slot(slot)) => {
                assert_eq!(slot.len(), self.value.len(), "a slot has its message's length");
                assert!(slot.copy_from(self.value), "a slot holds its message");
                end.commit(self.port)?;
                Ok(true)
            }
            Some(SendSpace::Direct) => {
                end.send_from(self.port, self.value)?;
                self.handed = true;
                Ok(end.sent(self.port))
            }
            // The value is never freed nor changed, so it need not be back.
            Some(SendSpace::Lent) => {
                end.commit(self.port)?;
                Ok(true)
            }
        }
    }
}

impl Incoming {
    /// Posts the receive, and takes the message when it is there.
    ///
    /// # Errors
    /// The transport's.
    pub fn step<E: Endpoint + ?Sized>(
        &mut self,
        world: &mut World<E>,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let end = world.end(self.path.dst);
        if !self.posted {
            let grant = Grant { receiver: self.port, limit: self.limit, place: self.place };
            end.post(&[grant])?;
            self.posted = true;
        }
        let Some(arrival) = end.poll(self.port)? else { return Ok(None) };
        self.tag = Some(arrival.tag);
        let bytes = arrival.bytes.to_vec();
        if arrival.placed {
            let place = self.place.map(|place| place.as_ptr());
            assert_eq!(Some(arrival.bytes.as_ptr()), place, "placed means in the granted place");
        }
        end.release(self.port);
        Ok(Some(bytes))
    }
}

/// The bytes of message `number` over `path`: no two messages have the same.
pub fn message(path: Path, number: u64, len: usize) -> Vec<u8> {
    let seed = mix(u64::from(path.src) << 40 | u64::from(path.dst) << 20 | u64::from(path.channel));
    let words = (0..len.div_ceil(8) as u64).map(|i| mix(seed ^ mix(number) ^ i));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}
