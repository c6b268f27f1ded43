//! Owns what ranks tell a meeting of their machines: each kind of machine once, however many are such. Values
//! in, values out, no links and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::world::Record;

/// Bytes that the texts of all kinds may have together: they travel to every rank. Machines whose kind no longer
/// fits count as not described.
const TEXTS_MAX_BYTES: usize = 4 << 20;

/// A machine, as one of its ranks found it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Description {
    /// What it is, for those who know how to read it: without anything that two like machines tell otherwise.
    pub text: String,
    /// The address of each of its NICs that has one, in an order that the text gives.
    pub nics: Vec<Option<IpAddr>>,
}

/// What the host asks of the rank that speaks for its machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// Of which kind its machine is.
    Kind,
    /// The text, for no other machine that is known is of that kind.
    Text,
}

/// What it answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Its kind, a fingerprint of the text; `None` where nothing can be told.
    Kind { fingerprint: Option<u64>, nics: Vec<Option<IpAddr>> },
    /// The text.
    Text(String),
    /// Nothing: it is given up, whatever it was asked.
    Withdraw { why: String },
}

/// Who speaks for which machine, and what was told so far.
#[derive(Debug, Default)]
pub(crate) struct Describing {
    asked: BTreeMap<u32, Question>,
    /// By the rank that spoke.
    told: BTreeMap<u32, (u64, Vec<Option<IpAddr>>)>,
    /// By fingerprint; `None` while its text is awaited.
    texts: BTreeMap<u64, Option<String>>,
    bytes: usize,
}

impl Describing {
    /// The lowest rank of each machine of which it is not known yet is asked.
    pub(crate) fn of(records: &[Record]) -> Describing {
        let mut machines = BTreeSet::new();
        let unknown = records.iter().filter(|record| record.kind.is_none());
        let able = unknown.filter_map(|record| Some((record, record.machine.as_ref()?)));
        let speakers = able.filter(|(_, machine)| machines.insert(machine.name.as_str()));
        let speakers = speakers.map(|(record, _)| record);
        let asked = speakers.map(|record| (record.rank, Question::Kind)).collect();
        Describing { asked, ..Describing::default() }
    }

    /// Those who have not answered yet, and what.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (u32, Question)> {
        self.asked.iter().map(|(&rank, &question)| (rank, question))
    }

    /// Takes in an answer, and returns what to ask that rank next; what is wrong, if it answers what it was not asked.
    pub(crate) fn hear(&mut self, rank: u32, reply: Reply) -> Result<Option<Question>, String> {
        match (self.asked.remove(&rank), reply) {
            (Some(Question::Kind), Reply::Kind { fingerprint: None, .. }) => Ok(None),
            (Some(Question::Kind), Reply::Kind { fingerprint: Some(kind), nics }) => {
                self.told.insert(rank, (kind, nics));
                if self.texts.contains_key(&kind) {
                    return Ok(None);
                }
                self.texts.insert(kind, None);
                self.asked.insert(rank, Question::Text);
                Ok(Some(Question::Text))
            }
            (Some(Question::Text), Reply::Text(text)) => {
                self.bytes = self.bytes.saturating_add(text.len());
                let kind = self.told.get(&rank).map(|(kind, _)| *kind);
                if let Some(place) = kind.and_then(|kind| self.texts.get_mut(&kind)) {
                    *place = Some(text).filter(|_| self.bytes <= TEXTS_MAX_BYTES);
                }
                Ok(None)
            }
            _ => Err(format!("rank {rank} described its machine without having been asked")),
        }
    }

    /// Whether all who were asked have answered.
    pub(crate) fn complete(&self) -> bool {
        self.asked.is_empty()
    }

    /// The kinds' texts, in the order of the first rank of each, and in every record the number of its own.
    pub(crate) fn conclude(mut self, records: &mut [Record]) -> Vec<String> {
        let mut of_machine: BTreeMap<String, (u32, Vec<Option<IpAddr>>)> = BTreeMap::new();
        let mut numbers: BTreeMap<u64, u32> = BTreeMap::new();
        let mut kinds = Vec::new();
        for (rank, (kind, nics)) in self.told {
            if let Some(text) = self.texts.get_mut(&kind).and_then(Option::take) {
                numbers.insert(kind, kinds.len() as u32);
                kinds.push(text);
            }
            let speaker = records.iter().find(|record| record.rank == rank);
            let machine = speaker.and_then(|record| record.machine.as_ref());
            if let (Some(machine), Some(&number)) = (machine, numbers.get(&kind)) {
                of_machine.insert(machine.name.clone(), (number, nics));
            }
        }
        for record in records {
            let name = record.machine.as_ref().map(|machine| &machine.name);
            // The addresses once for each machine: its first rank has them.
            if let Some((number, nics)) = name.and_then(|name| of_machine.get_mut(name)) {
                record.kind = Some(*number);
                record.nics = std::mem::take(nics);
            }
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::world::Machine;

    fn record(rank: u32, name: &str, describes: bool) -> Record {
        let machine = describes.then(|| Machine { name: name.to_owned(), is_host: true });
        Record { machine, ..Record::of_this_process(rank, Vec::new()) }
    }

    fn kind(fingerprint: u64) -> Reply {
        Reply::Kind { fingerprint: Some(fingerprint), nics: vec![Some([10, 0, 0, 1].into()), None] }
    }

    #[test]
    fn one_rank_speaks_for_each_machine_and_a_kind_travels_once() {
        let machines = ["a", "a", "b", "c", "b", "d"];
        let able = [false, true, true, true, true, false];
        let mut records: Vec<Record> = (0..)
            .zip(machines.iter().zip(able))
            .map(|(rank, (name, able))| record(rank, name, able))
            .collect();
        let mut describing = Describing::of(&records);
        let speakers: Vec<u32> = describing.asked().map(|(rank, _)| rank).collect();
        assert_eq!(speakers, [1, 2, 3]);
        assert_eq!(describing.hear(2, kind(7)), Ok(Some(Question::Text)));
        assert_eq!(describing.hear(3, kind(7)), Ok(None), "the same kind");
        assert_eq!(describing.hear(1, kind(9)), Ok(Some(Question::Text)));
        assert_eq!(describing.hear(2, Reply::Text("seven".into())), Ok(None));
        assert!(!describing.complete());
        assert_eq!(describing.hear(1, Reply::Text("nine".into())), Ok(None));
        assert!(describing.complete());
        assert_eq!(describing.conclude(&mut records), ["nine", "seven"]);
        let kinds: Vec<_> = records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [None, Some(0), Some(1), Some(1), Some(1), None]);
        let told: Vec<_> = records.iter().map(|record| record.nics.len()).collect();
        assert_eq!(told, [0, 2, 2, 2, 0, 0], "once for each machine");
    }

    #[test]
    fn an_answer_to_no_question_is_told() {
        let mut describing = Describing::of(&[record(0, "a", true), record(1, "b", true)]);
        assert!(describing.hear(5, kind(1)).unwrap_err().contains("rank 5"));
        assert!(describing.hear(0, Reply::Text(String::new())).is_err());
        describing.hear(1, kind(1)).unwrap();
        assert!(describing.hear(1, kind(2)).is_err());
    }

    #[test]
    fn texts_beyond_what_a_table_carries_count_as_none() {
        let mut records = vec![record(0, "a", true), record(1, "b", true)];
        let mut describing = Describing::of(&records);
        describing.hear(0, kind(1)).unwrap();
        describing.hear(1, kind(2)).unwrap();
        describing.hear(1, Reply::Text("x".repeat(TEXTS_MAX_BYTES))).unwrap();
        describing.hear(0, Reply::Text("y".into())).unwrap();
        assert_eq!(describing.conclude(&mut records).len(), 1);
        assert_eq!((records[0].kind, records[1].kind), (None, Some(0)));
    }

    proptest! {
        #[test]
        fn the_order_of_answers_changes_nothing(
            order in Just((0..6_u32).collect::<Vec<_>>()).prop_shuffle(),
            kinds in prop::collection::vec(0..3_u64, 6),
        ) {
            let conclude = |order: &[u32]| {
                let mut records: Vec<Record> =
                    (0..6).map(|rank| record(rank, &format!("n{rank}"), true)).collect();
                let mut describing = Describing::of(&records);
                for &rank in order {
                    let of = kinds[rank as usize];
                    if describing.hear(rank, kind(of)).unwrap().is_some() {
                        describing.hear(rank, Reply::Text(format!("kind {of}"))).unwrap();
                    }
                }
                let texts = describing.conclude(&mut records);
                (texts, records)
            };
            prop_assert_eq!(conclude(&order), conclude(&[0, 1, 2, 3, 4, 5]));
        }
    }
}
