//! Owns a call's signature: what must be alike on all ranks, and where in the program the call was made.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A call as one rank made it, in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signature {
    /// Its number on the communicator, counted from 1; 0 of messages between pairs, which have none.
    pub sequence: u64,
    /// The operation's name.
    pub operation: String,
    /// The type of its elements; empty where it moves none.
    pub data_type: String,
    /// How elements are reduced, where they are.
    pub reduction: Option<String>,
    /// Number of elements; `None` where ranks may differ in it.
    pub count: Option<u64>,
    /// The root, where there is one.
    pub root: Option<u32>,
    /// A hash of all that must be alike, be it in words above or not.
    pub tag: u32,
    /// `file:line:column` of the call; or the function of another language by which it was made.
    pub site: String,
}

impl Signature {
    /// Whether two ranks' calls are one: alike in everything but the place in the program.
    pub fn agrees_with(&self, other: &Signature) -> bool {
        self.tag == other.tag && self.reads_as(other)
    }

    /// Whether they are alike in all that stands in words here.
    fn reads_as(&self, other: &Signature) -> bool {
        let parts = |s: &Signature| (s.sequence, s.count, s.root);
        parts(self) == parts(other)
            && self.operation == other.operation
            && self.data_type == other.data_type
            && self.reduction == other.reduction
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        if self.sequence > 0 {
            write!(f, " #{}", self.sequence)?;
        }
        let of_type = if self.data_type.is_empty() { "elements" } else { &self.data_type };
        if let Some(count) = self.count {
            write!(f, " of {count} {of_type}")?;
        } else if !self.data_type.is_empty() {
            write!(f, " of {of_type}")?;
        }
        if let Some(reduction) = &self.reduction {
            write!(f, ", {reduction}")?;
        }
        if let Some(root) = self.root {
            write!(f, ", root {root}")?;
        }
        let is_place = self.site.contains(':');
        write!(f, ", called {} {}", if is_place { "at" } else { "by" }, self.site)
    }
}

/// Two ranks' calls of the same number that differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Conflict {
    /// A rank of the larger group, or of the one with the lowest rank.
    pub usual: (u32, Signature),
    /// A rank of the other.
    pub odd: (u32, Signature),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { usual: (usual, theirs), odd: (odd, its) } = self;
        write!(f, "rank {odd} made {its}; rank {usual} made {theirs}")?;
        if its.reads_as(theirs) && its.operation.ends_with("_v") {
            f.write_str("; the totals are alike, but the counts of some ranks' blocks differ")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// all_gather_v with counts [3, 4, 2] beside [3, 3, 3]: only the hash tells them apart.
    #[test]
    fn calls_that_read_alike_are_told_to_differ_in_their_counts() {
        let call = |tag| Signature {
            sequence: 1,
            operation: "all_gather_v".to_owned(),
            data_type: "uint32".to_owned(),
            reduction: None,
            count: Some(9),
            root: None,
            tag,
            site: "src/train.rs:12:9".to_owned(),
        };
        assert!(!call(1).agrees_with(&call(2)));
        let conflict = Conflict { usual: (1, call(1)), odd: (0, call(2)) }.to_string();
        assert!(conflict.ends_with("the counts of some ranks' blocks differ"), "{conflict}");
    }

    #[test]
    fn a_signature_reads_as_the_call_that_it_is() {
        let sum = Signature {
            sequence: 7,
            operation: "reduce".to_owned(),
            data_type: "f32".to_owned(),
            reduction: Some("sum".to_owned()),
            count: Some(200),
            root: Some(3),
            tag: 9,
            site: "src/train.rs:12:9".to_owned(),
        };
        let text = "reduce #7 of 200 f32, sum, root 3, called at src/train.rs:12:9";
        assert_eq!(sum.to_string(), text);
        let barrier = Signature {
            operation: "barrier".to_owned(),
            data_type: String::new(),
            reduction: None,
            count: None,
            root: None,
            ..sum.clone()
        };
        assert_eq!(barrier.to_string(), "barrier #7, called at src/train.rs:12:9");
        let by_name = Signature { site: "ncclReduce".to_owned(), ..sum.clone() };
        assert!(by_name.to_string().ends_with("root 3, called by ncclReduce"), "{by_name}");
        let elsewhere = Signature { site: "src/other.rs:1:1".to_owned(), ..sum.clone() };
        assert!(sum.agrees_with(&elsewhere) && !sum.agrees_with(&barrier));
    }
}
