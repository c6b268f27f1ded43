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
/// Bytes of the longest address: 255 GIDs, 255 queue pairs.
const LONGEST: usize = 16 + 255 * (24 + 8);
/// Before the address, or the reason why there is none: how long it is, and which of the two.
const HEAD: usize = 8;
/// Bytes of the longest reason.
const LONGEST_WHY: usize = 1024;

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
    /// Says where this end's queue pairs are, or why there are none.
    pub(super) fn say_hello(&self, hello: Result<&Address, &String>) -> Result<(), TransportError> {
        let said = match hello {
            Ok(address) => address.to_bytes(),
            Err(why) => why.as_bytes()[..why.len().min(LONGEST_WHY)].to_vec(),
        };
        let mut bytes = Vec::with_capacity(HEAD + said.len());
        bytes.extend((said.len() as u32).to_le_bytes());
        bytes.extend([u8::from(hello.is_ok()), 0, 0, 0]);
        bytes.extend(said);
        self.write(&bytes)
    }

    /// Where the peer's are, or its reason.
    pub(super) fn hear_hello(&self) -> Result<Result<Address, String>, TransportError> {
        let mut head = [0; HEAD];
        self.read(&mut head)?;
        let [l0, l1, l2, l3, has_address, ..] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > LONGEST {
            return Err(self.misbehaved(format!("an address of {len} bytes")));
        }
        let mut said = vec![0; len];
        self.read(&mut said)?;
        if has_address == 0 {
            return Ok(Err(String::from_utf8_lossy(&said).into_owned()));
        }
        match Address::from_bytes(&said) {
            Some(address) => Ok(Ok(address)),
            None => Err(self.misbehaved("an address of a queue pair that is none".to_owned())),
        }
    }

    /// Says where the peer is to write its heads.
    pub(super) fn say_ring(&self, ring: Place) -> Result<(), TransportError> {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&ring.address.to_le_bytes());
        bytes[8..].copy_from_slice(&ring.key.to_le_bytes());
        self.write(&bytes)
    }

    pub(super) fn hear_ring(&self) -> Result<Place, TransportError> {
        let mut bytes = [0; 12];
        self.read(&mut bytes)?;
        let [address @ .., k0, k1, k2, k3] = bytes;
        let key = u32::from_le_bytes([k0, k1, k2, k3]);
        Ok(Place { address: u64::from_le_bytes(address), key })
    }

    /// That this end has come so far.
    pub(super) fn say(&self, word: u8) -> Result<(), TransportError> {
        self.write(&[word])
    }

    /// Which of the words the peer says.
    pub(super) fn hear(&self, words: &[u8]) -> Result<u8, TransportError> {
        let mut byte = [0];
        self.read(&mut byte)?;
        let [word] = byte;
        match words.contains(&word) {
            true => Ok(word),
            false => Err(self.misbehaved(format!("{word} instead of one of {words:?}"))),
        }
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
