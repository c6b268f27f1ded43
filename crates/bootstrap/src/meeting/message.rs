//! Owns what is said at a meeting, and its encoding: JSON, one message each way.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::BootstrapError;
use crate::meeting::describing::{Question, Reply};
use crate::world::Record;

/// Longest message of one who joins, or describes its machine, in bytes.
pub(crate) const JOIN_MAX_BYTES: usize = 256 << 10;

/// What a rank says when it comes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Join {
    /// How many ranks it was told there are.
    pub(crate) size: u32,
    /// How long it will wait.
    pub(crate) patience: Duration,
    /// Those who meet, by their numbers in the world that they leave; empty where they leave none.
    #[serde(default)]
    pub(crate) of: Vec<u32>,
    /// Why it does not meet the others, where it came to say that.
    #[serde(default)]
    pub(crate) gives_up: Option<String>,
    pub(crate) record: Record,
}

/// What everyone is told at the end.
#[derive(Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// All have come: their records, by rank, and the kinds of their machines.
    Table { records: Vec<Record>, kinds: Vec<String> },
    /// Not the end: all have come, and this rank speaks for its machine.
    Describe(Question),
    /// There is no world.
    Failed(BootstrapError),
}

impl Join {
    /// That of a rank that waits until `deadline`.
    pub(crate) fn new(size: u32, record: Record, deadline: Instant) -> Join {
        let patience = deadline.saturating_duration_since(Instant::now());
        Join { size, patience, of: Vec::new(), gives_up: None, record }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, BootstrapError> {
        encode(self, &self.record.host)
    }

    pub(crate) fn decode(bytes: &[u8], host: &str) -> Result<Join, BootstrapError> {
        if bytes.len() > JOIN_MAX_BYTES {
            return Err(broken(host, format!("it joined with {} bytes", bytes.len())));
        }
        decode(bytes, host)
    }
}

impl Reply {
    pub(crate) fn encode(&self, host: &str) -> Result<Vec<u8>, BootstrapError> {
        encode(self, host)
    }

    pub(crate) fn decode(bytes: &[u8], host: &str) -> Result<Reply, BootstrapError> {
        if bytes.len() > JOIN_MAX_BYTES {
            return Err(broken(
                host,
                format!("it described its machine with {} bytes", bytes.len()),
            ));
        }
        decode(bytes, host)
    }
}

impl Outcome {
    pub(crate) fn encode(&self, host: &str) -> Result<Vec<u8>, BootstrapError> {
        encode(self, host)
    }

    pub(crate) fn decode(bytes: &[u8], host: &str) -> Result<Outcome, BootstrapError> {
        decode(bytes, host)
    }
}

fn encode<T: Serialize>(value: &T, host: &str) -> Result<Vec<u8>, BootstrapError> {
    serde_json::to_vec(value).map_err(|error| broken(host, error.to_string()))
}

fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8], host: &str) -> Result<T, BootstrapError> {
    serde_json::from_slice(bytes).map_err(|error| broken(host, error.to_string()))
}

pub(crate) fn broken(host: &str, what: String) -> BootstrapError {
    BootstrapError::Protocol { host: host.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Claimant;

    #[test]
    fn what_the_host_finds_out_arrives_as_it_was() {
        let who = Claimant { rank: 3, host: "b".into(), pid: 7 };
        let found = [
            BootstrapError::Died { who: who.clone() },
            BootstrapError::Complete { who: who.clone(), size: 9 },
            BootstrapError::Duplicate { rank: 3, first: who.clone(), second: who },
            BootstrapError::Missing {
                ranks: vec![1, 4],
                size: 5,
                waited: Duration::from_millis(1500),
                strangers: "none".into(),
            },
        ];
        for error in found {
            let text = error.to_string();
            let bytes = Outcome::Failed(error).encode("a").unwrap();
            let Outcome::Failed(arrived) = Outcome::decode(&bytes, "a").unwrap() else { panic!() };
            assert_eq!(arrived.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_typed_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let refused = matches!(Join::decode(&bytes, "h"), Err(BootstrapError::Protocol { .. }));
            prop_assert!(refused);
            let refused = matches!(Reply::decode(&bytes, "h"), Err(BootstrapError::Protocol { .. }));
            prop_assert!(refused);
        }
    }

    #[test]
    fn an_overlong_join_is_refused_unread() {
        let bytes = vec![b' '; JOIN_MAX_BYTES + 1];
        assert!(Join::decode(&bytes, "h").err().unwrap().to_string().contains("joined with"));
        assert!(Reply::decode(&bytes, "h").err().unwrap().to_string().contains("described"));
    }
}
