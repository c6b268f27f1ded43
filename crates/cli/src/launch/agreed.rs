//! Owns merging what several ranks say alike, so that the one story of a failure is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::ranges;

/// Reasons that ranks give for their end, in the order in which they were first given.
#[derive(Debug, Default)]
pub struct Reasons(Vec<Agreed>);

/// The ranks that give the same reason, and what only one of them can say.
#[derive(Debug)]
struct Agreed {
    text: String,
    ranks: BTreeSet<u32>,
    own_lines: BTreeMap<u32, String>,
}

impl Reasons {
    /// Keeps a rank's reason: what it shares with others once, its own line beside it.
    pub fn add(&mut self, rank: u32, text: &str) {
        let own = format!("  rank {rank} stood at: ");
        let (own, shared): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with(&own));
        let (own, shared) = (own.join("\n"), shared.join("\n"));
        let known = self.0.iter().position(|agreed| agreed.text == shared);
        let index = known.unwrap_or_else(|| {
            let agreed =
                Agreed { text: shared, ranks: BTreeSet::new(), own_lines: BTreeMap::new() };
            self.0.push(agreed);
            self.0.len() - 1
        });
        let agreed = &mut self.0[index];
        agreed.ranks.insert(rank);
        if !own.is_empty() {
            agreed.own_lines.insert(rank, own);
        }
    }

    /// Whether this rank has given one.
    pub fn has(&self, rank: u32) -> bool {
        self.0.iter().any(|agreed| agreed.ranks.contains(&rank))
    }

    /// Each reason once, with the ranks that gave it in front of its first line.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for Agreed { text, ranks, own_lines } in &self.0 {
            writeln!(out, "[{}] {text}", named(ranks))?;
            for line in own_lines.values() {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    /// Each line of each reason with the ranks that wrote it in front, as `prefix` puts them.
    pub fn print_lines(
        &self,
        out: &mut impl Write,
        prefix: impl Fn(&BTreeSet<u32>) -> String,
    ) -> io::Result<()> {
        for Agreed { text, ranks, own_lines } in &self.0 {
            for line in text.lines() {
                writeln!(out, "{}{line}", prefix(ranks))?;
            }
            for (&rank, lines) in own_lines {
                for line in lines.lines() {
                    writeln!(out, "{}{line}", prefix(&BTreeSet::from([rank])))?;
                }
            }
        }
        out.flush()
    }
}

/// Ranks in words: `ranks 0-3, 6`.
pub fn named(ranks: &BTreeSet<u32>) -> String {
    format!("rank{} {}", if ranks.len() == 1 { "" } else { "s" }, ranges(ranks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ranks_share_is_told_once_and_their_own_lines_all() {
        let mut reasons = Reasons::default();
        for rank in [2, 0, 1] {
            let own = if rank == 1 { "\n  rank 1 stood at: barrier" } else { "" };
            reasons.add(rank, &format!("CT-060: rank 3 died{own}\n  remedy: see it"));
        }
        reasons.add(3, "panicked");
        let mut told = Vec::new();
        reasons.print(&mut told).unwrap();
        assert_eq!(
            String::from_utf8(told).unwrap(),
            "[ranks 0-2] CT-060: rank 3 died\n  remedy: see it\n  rank 1 stood at: barrier\n\
             [rank 3] panicked\n"
        );
        assert!(reasons.has(2) && !reasons.has(4));
    }
}
