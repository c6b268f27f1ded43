//! Owns the settings of messages over verbs: whether they may, by which ports, by which GID a rank is reached, and how switches treat
//! its packets.

use std::collections::BTreeMap;

use crosstie_probe::PortNames;
use crosstie_transport::wires::placing::MOST_LANES;
use crosstie_verbs::Service;

use super::Value;
use super::registry::{DEVICES, GID_INDEX, QUEUE_PAIRS, SERVICE_LEVEL, TRAFFIC_CLASS, VERBS};
use crate::Error;

/// What was decided about verbs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verbs {
    /// Whether they are taken where nobody asks for them.
    pub on: bool,
    /// The ports that the node uses, where somebody named them.
    pub ports: Option<PortNames>,
    /// The place of the GID in its port's table; chosen by both ends, if none is given.
    pub gid: Option<u32>,
    pub service: Service,
    /// For each wire, at most.
    pub queue_pairs: u8,
}

impl Verbs {
    pub fn resolve(environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let ServiceLevel(level) = SERVICE_LEVEL.value(None, environment)?;
        let traffic_class = TRAFFIC_CLASS.value(None, environment)?;
        let gid = GID_INDEX.optional(None, environment)?.map(u32::from);
        let OnOff(on) = VERBS.value(None, environment)?;
        let QueuePairs(queue_pairs) = QUEUE_PAIRS.value(None, environment)?;
        let ports = DEVICES.optional(None, environment)?;
        Ok(Self { on, ports, gid, service: Service { traffic_class, level }, queue_pairs })
    }
}

impl Value for PortNames {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// Whether something may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnOff(bool);

impl Value for OnOff {
    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err("expected on or off".to_owned()),
        }
    }
}

impl Value for u8 {
    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.trim().parse();
        number.map_err(|_| "expected a whole number from 0 to 255".to_owned())
    }
}

/// For each wire.
#[derive(Debug)]
pub(crate) struct QueuePairs(u8);

impl Value for QueuePairs {
    fn from_text(text: &str) -> Result<Self, String> {
        const MOST: u8 = MOST_LANES as u8;
        let number = text.trim().parse().ok().filter(|pairs| (1..=MOST).contains(pairs));
        number.map(Self).ok_or_else(|| format!("expected a whole number from 1 to {MOST}"))
    }
}

/// InfiniBand has 16 of them.
#[derive(Debug)]
pub(crate) struct ServiceLevel(u8);

impl Value for ServiceLevel {
    fn from_text(text: &str) -> Result<Self, String> {
        let number = text.trim().parse().ok().filter(|level| *level < 16);
        number.map(Self).ok_or_else(|| "expected a whole number from 0 to 15".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(pairs: &[(&str, &str)]) -> Result<Verbs, Error> {
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Verbs::resolve(&pairs.collect())
    }

    #[test]
    fn ends_choose_gids_and_switches_get_no_word_unless_somebody_says_so() {
        let service = Service { traffic_class: 0, level: 0 };
        assert_eq!(
            resolved(&[]).unwrap(),
            Verbs { on: true, ports: None, gid: None, service, queue_pairs: 1 }
        );
        let all = [
            ("CROSSTIE_VERBS", "off"),
            ("CROSSTIE_VERBS_DEVICES", "^mlx5_4"),
            ("CROSSTIE_VERBS_QUEUE_PAIRS", "4"),
            ("CROSSTIE_VERBS_GID_INDEX", "3"),
            ("CROSSTIE_VERBS_SERVICE_LEVEL", "15"),
            ("CROSSTIE_VERBS_TRAFFIC_CLASS", "106"),
        ];
        let service = Service { traffic_class: 106, level: 15 };
        assert_eq!(
            resolved(&all).unwrap(),
            Verbs {
                on: false,
                ports: "^mlx5_4".parse().ok(),
                gid: Some(3),
                service,
                queue_pairs: 4
            }
        );
    }

    #[test]
    fn numbers_that_no_packet_can_bear_are_refused_by_the_name_of_their_setting() {
        for (name, value) in [
            ("CROSSTIE_VERBS", "maybe"),
            ("CROSSTIE_VERBS_DEVICES", "mlx5_0:one"),
            ("CROSSTIE_VERBS_QUEUE_PAIRS", "0"),
            ("CROSSTIE_VERBS_QUEUE_PAIRS", "9"),
            ("CROSSTIE_VERBS_GID_INDEX", "256"),
            ("CROSSTIE_VERBS_GID_INDEX", "-1"),
            ("CROSSTIE_VERBS_SERVICE_LEVEL", "16"),
            ("CROSSTIE_VERBS_TRAFFIC_CLASS", "256"),
        ] {
            let refusal = resolved(&[(name, value)]).unwrap_err().to_string();
            assert!(refusal.contains(name), "{refusal}");
        }
    }
}
