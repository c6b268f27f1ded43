//! Owns the two fingerprints: of a plan, and of the inputs that plans are made from.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::plan::{Block, Connection, Instr, Plan};

/// Names one plan, offline and at run time alike; shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanFingerprint(pub u64);

/// Names everything that plans are made from; ranks compare it when they meet. Shown as 16
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputsFingerprint(pub u64);

impl fmt::Display for PlanFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for InputsFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The fingerprint of `plan` as it stands: connections and blocks in another order make another.
/// Plans from [`crate::PlanBuilder`] and [`Plan::merge`] have the canonical order.
pub fn fingerprint(plan: &Plan) -> PlanFingerprint {
    let mut bytes = Encoding::new("crosstie plan 2");
    bytes.text(plan.collective.name());
    let root = plan.collective.root().map_or(u32::MAX, |root| root.0);
    bytes.words([root, plan.ranks, plan.parts, plan.scratch_chunks]);
    bytes.words([plan.connections.len() as u32]);
    for &Connection { src, dst, channel } in &plan.connections {
        bytes.words([src.0, dst.0, channel.0.into()]);
    }
    bytes.words([plan.blocks.len() as u32]);
    for Block { rank, instrs } in &plan.blocks {
        bytes.words([rank.0, instrs.len() as u32]);
        instrs.iter().for_each(|instr| bytes.words(words(instr)));
    }
    PlanFingerprint(xxh3_64(&bytes.0))
}

fn words(instr: &Instr) -> [u32; 8] {
    let [recv, send, src, dst, after_block] = instr.ports().map(|port| port.bits());
    let step = instr.after_port().map_or(0, |after| after.step);
    let slice = u32::from(instr.slice()) | u32::from(instr.slices()) << 16;
    [recv, send, src, dst, after_block, step, slice, instr.marks()]
}

impl InputsFingerprint {
    /// The fingerprint of a world whose rank r is on node `nodes[r]`, under `settings` (those of
    /// world scope, as key and value, in any order; of a key given twice the last value counts),
    /// planned by `planner_version`.
    pub fn new<'a>(
        nodes: &[u32],
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
        planner_version: u32,
    ) -> Self {
        let mut bytes = Encoding::new("crosstie inputs 1");
        bytes.words([planner_version, nodes.len() as u32]);
        bytes.words(nodes.iter().copied());
        let settings: BTreeMap<&str, &str> = settings.into_iter().collect();
        bytes.words([settings.len() as u32]);
        for (key, value) in settings {
            bytes.text(key);
            bytes.text(value);
        }
        Self(xxh3_64(&bytes.0))
    }
}

/// Little-endian words and counted strings: no two different values encode alike.
struct Encoding(Vec<u8>);

impl Encoding {
    fn new(domain: &str) -> Self {
        let mut bytes = Self(Vec::new());
        bytes.text(domain);
        bytes
    }

    fn words(&mut self, words: impl IntoIterator<Item = u32>) {
        words.into_iter().for_each(|word| self.0.extend(word.to_le_bytes()));
    }

    fn text(&mut self, text: &str) {
        self.words([text.len() as u32]);
        self.0.extend(text.as_bytes());
    }
}
