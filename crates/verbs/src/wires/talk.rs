//! Owns what two ranks say to each other over their link before their queue pairs are connected.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crosstie_net::Interrupted;
use crosstie_transport::TransportError;
use crosstie_transport::wires::Place;

use crate::{Address, Retry};

/// How often an interruption is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at a socket that does not block.
const PAUSE: Duration = Duration::from_micros(200);
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

/// What the ends of a wire must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// NICs that it may be on.
    pub nics: usize,
    /// Whether some of them is software, which answers late.
    pub is_software: bool,
    /// How long nothing may move before a peer counts as stalled.
    pub stall: Duration,
}

impl Terms {
    const BYTES: usize = 12;

    /// What holds for both: the fewer NICs; and the shorter stall, for whoever is less patient ends the wire anyway.
    pub fn and(self, other: Self) -> Self {
        Self {
            nics: self.nics.min(other.nics),
            is_software: self.is_software || other.is_software,
            stall: self.stall.min(other.stall),
        }
    }

    /// How long its queue pairs repeat.
    pub fn retry(self) -> Retry {
        Retry::within(self.stall, self.is_software)
    }

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let stall_ms = u64::try_from(self.stall.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = [0; Self::BYTES];
        bytes[0] = u8::try_from(self.nics).unwrap_or(u8::MAX);
        bytes[1] = self.is_software.into();
        bytes[4..].copy_from_slice(&stall_ms.to_le_bytes());
        bytes
    }

    fn from_bytes([nics, is_software, _, _, stall_ms @ ..]: [u8; Self::BYTES]) -> Self {
        let stall = Duration::from_millis(u64::from_le_bytes(stall_ms));
        Self { nics: nics.into(), is_software: is_software != 0, stall }
    }
}

/// A link to one rank.
pub(super) struct Talk<'a> {
    pub(super) peer: u32,
    pub(super) socket: &'a TcpStream,
    pub(super) patience: &'a Patience<'a>,
}

impl Talk<'_> {
    /// Says on what terms this end is.
    pub(super) fn say_terms(&self, terms: Terms) -> Result<(), TransportError> {
        self.write(&terms.to_bytes())
    }

    pub(super) fn hear_terms(&self) -> Result<Terms, TransportError> {
        let mut bytes = [0; Terms::BYTES];
        self.read(&mut bytes)?;
        Ok(Terms::from_bytes(bytes))
    }

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
                Err(error) if is_nothing(&error) => {
                    self.patience.check(self.peer)?;
                    // Where the device watches the socket already, it does not block.
                    std::thread::sleep(PAUSE);
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(seconds: u64, is_software: bool) -> Terms {
        Terms { nics: 2, is_software, stall: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_ends_of_a_wire_are_as_patient_as_the_less_patient_of_them() {
        let (short, long) = (terms(10, false), Terms { nics: 1, ..terms(30, true) });
        let said = Terms::from_bytes(long.to_bytes());
        assert_eq!(said, long);
        assert_eq!(short.and(said), said.and(short));
        assert_eq!(short.and(said).retry(), Retry::within(Duration::from_secs(10), true));
        assert_eq!(short.and(said).nics, 1);
        let for_ever = Terms { stall: Duration::MAX, ..long };
        assert_eq!(Terms::from_bytes(for_ever.to_bytes()).and(short).stall, short.stall);
    }
}
