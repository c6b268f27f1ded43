//! Owns the proof that both ends hold the world's secret: Noise NNpsk0 between the hello and the answer.
//!
//! 1. Dialler: the hello in clear, then Noise message 1. The hello is the prologue, so nobody can alter it.
//! 2. Listener: the answer in clear, then Noise message 2, whose payload repeats the answer for the same reason.
//! 3. Dialler: an empty transport message. Message 1 can be recorded and sent again by anyone, so only this
//!    one proves that the dialler holds the secret and means this very link.
//!
//! Each flight has a fixed size, so neither end reads a byte too many and what follows may be plain data.

use snow::{Builder, HandshakeState, TransportState};

use crate::error::NetError;
use crate::hello::{ANSWER_BYTES, Answer, HELLO_BYTES, Hello};
use crate::secret::Secret;

const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Size of the dialler's first flight.
pub(crate) const OPENING_BYTES: usize = HELLO_BYTES + KEY_BYTES + TAG_BYTES;
/// Size of what follows an answer that welcomes.
pub(crate) const PROOF_BYTES: usize = KEY_BYTES + ANSWER_BYTES + TAG_BYTES;
/// Size of the dialler's second flight.
pub(crate) const CONFIRMATION_BYTES: usize = TAG_BYTES;

fn builder<'a>(secret: &'a Secret, hello: &'a [u8]) -> Result<Builder<'a>, NetError> {
    let pattern = PATTERN.parse().map_err(NetError::Crypto)?;
    let builder = Builder::new(pattern).psk(0, secret.bytes()).map_err(NetError::Crypto)?;
    builder.prologue(hello).map_err(NetError::Crypto)
}

/// The dialler's side, after its first flight was made.
pub(crate) struct Opening {
    noise: HandshakeState,
    pub(crate) bytes: [u8; OPENING_BYTES],
}

impl Opening {
    pub(crate) fn new(secret: &Secret, hello: &Hello) -> Result<Opening, NetError> {
        let mut bytes = [0; OPENING_BYTES];
        let (head, message) = bytes.split_at_mut(HELLO_BYTES);
        head.copy_from_slice(&hello.encode());
        let mut noise = builder(secret, head)?.build_initiator().map_err(NetError::Crypto)?;
        noise.write_message(&[], message).map_err(NetError::Crypto)?;
        Ok(Opening { noise, bytes })
    }

    /// The keys of the link and the second flight, or `None` when the peer did not prove the secret.
    pub(crate) fn finish(
        mut self,
        answer: &[u8; ANSWER_BYTES],
        proof: &[u8; PROOF_BYTES],
    ) -> Option<(TransportState, [u8; CONFIRMATION_BYTES])> {
        let mut payload = [0; ANSWER_BYTES];
        let len = self.noise.read_message(proof, &mut payload).ok()?;
        if payload.get(..len)? != answer {
            return None;
        }
        let mut noise = self.noise.into_transport_mode().ok()?;
        let mut confirmation = [0; CONFIRMATION_BYTES];
        noise.write_message(&[], &mut confirmation).ok()?;
        Some((noise, confirmation))
    }
}

/// The listener's side, before the dialler's second flight.
pub(crate) struct Reply {
    noise: TransportState,
    pub(crate) bytes: [u8; ANSWER_BYTES + PROOF_BYTES],
}

impl Reply {
    /// `None` when the opening does not prove the secret.
    pub(crate) fn new(
        secret: &Secret,
        opening: &[u8; OPENING_BYTES],
        answer: &Answer,
    ) -> Result<Option<Reply>, NetError> {
        let (hello, message) = opening.split_at(HELLO_BYTES);
        let mut noise = builder(secret, hello)?.build_responder().map_err(NetError::Crypto)?;
        if noise.read_message(message, &mut [0; TAG_BYTES]).is_err() {
            return Ok(None);
        }
        let mut bytes = [0; ANSWER_BYTES + PROOF_BYTES];
        let (head, proof) = bytes.split_at_mut(ANSWER_BYTES);
        head.copy_from_slice(&answer.encode());
        noise.write_message(head, proof).map_err(NetError::Crypto)?;
        let noise = noise.into_transport_mode().map_err(NetError::Crypto)?;
        Ok(Some(Reply { noise, bytes }))
    }

    /// The keys of the link, or `None` when the dialler only repeated what it had recorded.
    pub(crate) fn finish(
        mut self,
        confirmation: &[u8; CONFIRMATION_BYTES],
    ) -> Option<TransportState> {
        self.noise.read_message(confirmation, &mut [0; TAG_BYTES]).ok()?;
        Some(self.noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{Outcome, Purpose, Target};
    use crate::version::Version;

    fn parts() -> (Secret, Hello, Answer) {
        let secret = Secret::from_bytes([9; 32]);
        let hello = Hello {
            version: Version::OURS,
            world: secret.world_id(),
            target: Target::Rank(3),
            purpose: Purpose::Data,
            from: Some(1),
            label: 77,
            host: "a".to_owned(),
        };
        let host = "b".to_owned();
        (secret, hello, Answer { version: Version::OURS, outcome: Outcome::Welcome, host })
    }

    fn split(reply: &Reply) -> ([u8; ANSWER_BYTES], [u8; PROOF_BYTES]) {
        let (answer, proof) = reply.bytes.split_at(ANSWER_BYTES);
        (answer.try_into().unwrap(), proof.try_into().unwrap())
    }

    #[test]
    fn equal_secrets_agree() {
        let (secret, hello, answer) = parts();
        let opening = Opening::new(&secret, &hello).unwrap();
        let reply = Reply::new(&secret, &opening.bytes, &answer).unwrap().unwrap();
        let (head, proof) = split(&reply);
        let (_, confirmation) = opening.finish(&head, &proof).unwrap();
        assert!(reply.finish(&confirmation).is_some());
    }

    #[test]
    fn another_secret_fails_at_the_first_message() {
        let (secret, hello, answer) = parts();
        let opening = Opening::new(&Secret::from_bytes([8; 32]), &hello).unwrap();
        assert!(Reply::new(&secret, &opening.bytes, &answer).unwrap().is_none());
    }

    #[test]
    fn an_altered_hello_or_answer_is_noticed() {
        let (secret, hello, answer) = parts();
        let opening = Opening::new(&secret, &hello).unwrap();
        let mut altered = opening.bytes;
        altered[24] ^= 1;
        assert!(Reply::new(&secret, &altered, &answer).unwrap().is_none());
        let reply = Reply::new(&secret, &opening.bytes, &answer).unwrap().unwrap();
        let (mut head, proof) = split(&reply);
        head[20] ^= 1;
        assert!(opening.finish(&head, &proof).is_none());
    }

    #[test]
    fn a_recorded_dial_played_again_is_no_link() {
        let (secret, hello, answer) = parts();
        let opening = Opening::new(&secret, &hello).unwrap();
        let recorded = opening.bytes;
        let first = Reply::new(&secret, &recorded, &answer).unwrap().unwrap();
        let (head, proof) = split(&first);
        let (_, confirmation) = opening.finish(&head, &proof).unwrap();
        let second = Reply::new(&secret, &recorded, &answer).unwrap().unwrap();
        assert!(second.finish(&confirmation).is_none());
    }
}
