//! Owns the secret that all ranks of a world share, and the world's public name that follows from it.

use std::fmt;

use rustix::rand::{GetRandomFlags, getrandom};
use snow::params::HashChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};

use crate::error::NetError;

/// The 256 bits that admit a process to a world. `Debug` never shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

/// The public name of a world: a hash of its secret that does not reveal it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorldId(pub u64);

impl Secret {
    /// A new secret from the kernel's random numbers.
    pub fn generate() -> Result<Secret, NetError> {
        let mut bytes = [0; 32];
        // The kernel fills requests of up to 256 bytes whole, once its pool is ready.
        getrandom(&mut bytes, GetRandomFlags::empty()).map_err(NetError::system("getrandom"))?;
        Ok(Secret(bytes))
    }

    /// The secret with these bits.
    pub fn from_bytes(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// The secret that a passphrase stands for. It is as hard to guess as the passphrase is: nothing is stretched.
    pub fn from_passphrase(passphrase: &str) -> Secret {
        Secret(digest("crosstie secret from passphrase", passphrase.as_bytes()))
    }

    /// A further secret, for the world named `purpose` that descends from this one's.
    pub fn derive(&self, purpose: &str) -> Secret {
        let mut material = self.0.to_vec();
        material.extend_from_slice(purpose.as_bytes());
        Secret(digest("crosstie derived secret", &material))
    }

    /// The public name of the world that this secret admits to.
    pub fn world_id(&self) -> WorldId {
        let [a, b, c, d, e, f, g, h, ..] = digest("crosstie world id", &self.0);
        WorldId(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// BLAKE2s of `material`, kept apart from other uses of the hash by `domain`.
pub(crate) fn digest(domain: &str, material: &[u8]) -> [u8; 32] {
    let mut hash = DefaultResolver
        .resolve_hash(&HashChoice::Blake2s)
        .expect("snow is built with its BLAKE2 feature");
    let mut out = [0; 32];
    hash.input(&(domain.len() as u64).to_le_bytes());
    hash.input(domain.as_bytes());
    hash.input(material);
    hash.result(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_secret() {
        let secret = Secret::from_bytes([0xab; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn secrets_and_worlds_differ_by_every_input() {
        let a = Secret::from_passphrase("a");
        let b = Secret::from_passphrase("b");
        assert_ne!(a, b);
        assert_ne!(a.world_id(), b.world_id());
        assert_ne!(a.derive("x"), a.derive("y"));
        assert_ne!(a.derive("x"), b.derive("x"));
        assert_ne!(Secret::generate().unwrap(), Secret::generate().unwrap());
    }
}
