//! Owns what two ranks say to each other over their link before their queue pairs are connected.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crosstie_net::Interrupted;
use crosstie_transport::TransportError;
use crosstie_transport::wires::Place;

use crate::Address;

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// What this end was doing, for errors.
const DOING: &str = "its queue pair was being connected";
/// Bytes of the longest address: 255 GIDs.
const LONGEST: usize = 16 + 255 * 24;
/// Before the address: its length, and where heads are to be written.
const HEAD: usize = 16;

/// Where one end is, for the other.
pub(super) struct Hello {
    pub(super) address: Address,
    /// Where the peer is to write its heads.
    pub(super) ring: Place,
}

/// Until when, and by whom it can be ended before.
pub(super) struct Patience<'a> {
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    pub(super) interrupted: Interrupted<'a>,
}

impl Patience<'_> {
    /// Whether to go on waiting for a rank.
    pub(super) fn check(&self, peer: u32) -> Result<(), TransportError> {
        let waited_ms = self.began.elapsed().as_millis() as u64;
        if (self.interrupted)() {
            return Err(TransportError::Interrupted { waited_ms });
        }
        if Instant::now() >= self.deadline {
            return Err(TransportError::ConnectDeadline { peer, waited_ms });
        }
        Ok(())
    }
}

/// A link to one rank.
pub(super) struct Talk<'a> {
    pub(super) peer: u32,
    pub(super) socket: &'a TcpStream,
    pub(super) patience: &'a Patience<'a>,
}

impl Talk<'_> {
    pub(super) fn say_hello(&self, hello: &Hello) -> Result<(), TransportError> {
        let address = hello.address.to_bytes();
        let mut bytes = Vec::with_capacity(HEAD + address.len());
        bytes.extend((address.len() as u32).to_le_bytes());
        bytes.extend(hello.ring.key.to_le_bytes());
        bytes.extend(hello.ring.address.to_le_bytes());
        bytes.extend(address);
        self.write(&bytes)
    }

    pub(super) fn hear_hello(&self) -> Result<Hello, TransportError> {
        let mut head = [0; HEAD];
        self.read(&mut head)?;
        let [l0, l1, l2, l3, k0, k1, k2, k3, place @ ..] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > LONGEST {
            return Err(self.misbehaved(format!("an address of {len} bytes")));
        }
        let mut address = vec![0; len];
        self.read(&mut address)?;
        let key = u32::from_le_bytes([k0, k1, k2, k3]);
        let ring = Place { address: u64::from_le_bytes(place), key };
        match Address::from_bytes(&address) {
            Some(address) => Ok(Hello { address, ring }),
            None => Err(self.misbehaved("an address of a queue pair that is none".to_owned())),
        }
    }

    /// That this end has come so far.
    pub(super) fn say(&self, word: u8) -> Result<(), TransportError> {
        self.write(&[word])
    }

    pub(super) fn hear(&self, word: u8) -> Result<(), TransportError> {
        let mut byte = [0];
        self.read(&mut byte)?;
        if byte == [word] {
            return Ok(());
        }
        Err(self.misbehaved(format!("{byte:?} instead of {word}")))
    }

    fn misbehaved(&self, what: String) -> TransportError {
        TransportError::PeerMisbehaved { peer: self.peer, what: format!("it sent {what}") }
    }

    fn gone(&self, source: Option<io::Error>) -> TransportError {
        TransportError::PeerGone { peer: self.peer, doing: DOING, source }
    }

    /// Little enough for the socket's buffer.
    fn write(&self, bytes: &[u8]) -> Result<(), TransportError> {
        (&mut &*self.socket).write_all(bytes).map_err(|error| self.gone(Some(error)))
    }

    fn read(&self, mut bytes: &mut [u8]) -> Result<(), TransportError> {
        self.socket.set_read_timeout(Some(LOOK)).map_err(|error| self.gone(Some(error)))?;
        while !bytes.is_empty() {
            match (&mut &*self.socket).read(bytes) {
                Ok(0) => return Err(self.gone(None)),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if is_nothing(&error) => self.patience.check(self.peer)?,
                Err(error) => return Err(self.gone(Some(error))),
            }
        }
        Ok(())
    }
}

fn is_nothing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
