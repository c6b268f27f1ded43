//! Owns how unequal the blocks of the v-forms are: matrices out of a file, and skews that need none.

use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::file;

/// Where lengths come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lengths {
    /// As a share of the size.
    Skew(Skew),
    /// Elements, as a file says.
    File(PathBuf),
}

impl Lengths {
    /// As the command line has it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => crate::file::shown(path),
            Self::Skew(skew) => {
                let named = Skew::NAMES.into_iter().find(|(_, it)| it == skew);
                named.map_or("", |(name, _)| name).to_owned()
            }
        }
    }
}

/// How a size falls into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skew {
    /// All alike.
    Uniform,
    /// Rank r gets a share of 1 / (r + 1), as popularity often is.
    Zipf,
    /// Rank 0 gets half of all, the others alike of the rest: one hot expert.
    OneHot,
}

impl Skew {
    /// Every skew, with the command line's name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("uniform", Self::Uniform), ("zipf", Self::Zipf), ("one-hot", Self::OneHot)];

    /// The share of each of so many ranks; they add up to 1.
    fn shares(self, ranks: u32) -> Vec<f64> {
        let weights: Vec<f64> = (0..ranks).map(|rank| self.weight(rank, ranks)).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    fn weight(self, rank: u32, ranks: u32) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::Zipf => 1.0 / f64::from(rank + 1),
            Self::OneHot if rank == 0 => f64::from(ranks - 1).max(1.0),
            Self::OneHot => 1.0,
        }
    }

    /// A size of so many elements as one block for each rank.
    pub fn blocks(self, elements: usize, ranks: u32) -> Vec<usize> {
        let floor = |share: f64| (share * elements as f64) as usize;
        let mut blocks: Vec<usize> = self.shares(ranks).into_iter().map(floor).collect();
        let rest = elements - blocks.iter().sum::<usize>().min(elements);
        blocks[0] += rest;
        blocks
    }

    /// What each rank sends to each, so that no rank sends or receives more than so many elements.
    pub fn matrix(self, elements: usize, ranks: u32) -> Matrix {
        let shares = self.shares(ranks);
        let fullest = shares.iter().fold(0.0_f64, |most, share| most.max(*share));
        let sent = elements as f64 / (fullest * f64::from(ranks)).max(1.0);
        let row: Vec<usize> = shares.iter().map(|share| (share * sent) as usize).collect();
        Matrix(vec![row; ranks as usize])
    }
}

/// Elements by sender and receiver: as many rows and columns as ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix(Vec<Vec<usize>>);

impl Matrix {
    /// The matrix in a file: a line for each sender; in it a number for each receiver, between
    /// blanks or commas; `5..` stands for 5 and on to the end of the line. What follows a `#` is a
    /// comment.
    pub fn read(path: &Path, ranks: u32) -> Result<Self, Failure> {
        let refused = |what: String| {
            let remedy = format!(
                "write a line for each of the {ranks} senders, in it a number of elements for each \
                 receiver: 0 5 5, or 0 5.."
            );
            Failure::usage(format!("--matrix {}: {what}", crate::file::shown(path)), remedy)
        };
        let text = file::read_text(path).map_err(|error| refused(error.to_string()))?;
        Self::parse(&text, ranks as usize).map_err(refused)
    }

    fn parse(text: &str, ranks: usize) -> Result<Self, String> {
        let mut rows = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let data = line.split('#').next().unwrap_or("");
            if data.trim().is_empty() {
                continue;
            }
            rows.push(parse_row(data, number + 1, ranks)?);
            if rows.len() > ranks {
                let number = number + 1;
                return Err(format!("line {number} is one too many: there are {ranks} senders"));
            }
        }
        match rows.len() {
            found if found == ranks => Ok(Self(rows)),
            found => Err(format!("there are lines for {found} of {ranks} senders")),
        }
    }

    /// What `rank` sends to each.
    pub fn sent(&self, rank: u32) -> Vec<usize> {
        self.0[rank as usize].clone()
    }

    /// What `rank` receives from each.
    pub fn received(&self, rank: u32) -> Vec<usize> {
        self.0.iter().map(|row| row[rank as usize]).collect()
    }

    /// The most that any rank sends or receives.
    pub fn fullest(&self) -> usize {
        let ranks = 0..self.0.len() as u32;
        let of = |counts: Vec<usize>| counts.into_iter().fold(0, usize::saturating_add);
        ranks.map(|rank| of(self.sent(rank)).max(of(self.received(rank)))).max().unwrap_or(0)
    }

    /// What is sent by a rank to one for which `counts`, added up.
    pub fn sum(&self, counts: impl Fn(usize, usize) -> bool) -> usize {
        let row = |(from, row): (usize, &Vec<usize>)| {
            let counted = row.iter().enumerate().filter(|(to, _)| counts(from, *to));
            counted.map(|(_, elements)| elements).sum::<usize>()
        };
        self.0.iter().enumerate().map(row).sum()
    }
}

/// More elements than any memory holds, so that sums of a row cannot overflow.
const MOST_ELEMENTS: usize = 1 << 48;

fn parse_row(data: &str, line: usize, ranks: usize) -> Result<Vec<usize>, String> {
    let mut row = Vec::new();
    for (column, word) in words(data) {
        let at = format!("line {line}, column {column}");
        if row.len() == ranks {
            return Err(format!("{at}: {word:?} is one too many: there are {ranks} receivers"));
        }
        let (number, on) = match word.strip_suffix("..") {
            Some(number) => (number, true),
            None => (word, false),
        };
        let elements: Option<usize> = number.parse().ok();
        let elements = elements.filter(|&elements| elements <= MOST_ELEMENTS);
        let elements =
            elements.ok_or_else(|| format!("{at}: {word:?} is no number of elements"))?;
        let times = if on { ranks - row.len() } else { 1 };
        row.extend(std::iter::repeat_n(elements, times));
    }
    match row.len() {
        found if found == ranks => Ok(row),
        found => {
            let end = data.trim_end().len() + 1;
            Err(format!("line {line}, column {end}: {found} of {ranks} numbers"))
        }
    }
}

/// The words of a line, each with the column where it begins, from 1.
fn words(data: &str) -> impl Iterator<Item = (usize, &str)> {
    let between = |c: char| c.is_whitespace() || c == ',';
    let parts = data.split(between).filter(|word| !word.is_empty());
    parts.map(move |word| (word.as_ptr() as usize - data.as_ptr() as usize + 1, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_read_in_each_of_its_forms() {
        let expected = Matrix(vec![vec![0, 5, 5], vec![1, 2, 3], vec![7, 7, 7]]);
        for text in ["0 5 5\n1 2 3\n7 7 7", "0,5..\n# nobody\n\n1, 2, 3 # me\n7..\n"] {
            assert_eq!(Matrix::parse(text, 3).as_ref(), Ok(&expected), "{text:?}");
        }
        assert_eq!((expected.sent(1), expected.received(1)), (vec![1, 2, 3], vec![5, 2, 7]));
        assert_eq!((expected.fullest(), expected.sum(|from, to| from == to)), (21, 9));
    }

    #[test]
    fn a_mistake_is_found_at_its_line_and_column() {
        for (text, expected) in [
            ("0 5 5\n1 two 3\n7..", "line 2, column 3: \"two\" is no number"),
            ("0 5 5\n1 2\n7..", "line 2, column 4: 2 of 3 numbers"),
            ("0 5 5 5\n", "line 1, column 7: \"5\" is one too many"),
            ("0 -5 5\n", "line 1, column 3: \"-5\" is no number"),
            ("..\n", "line 1, column 1: \"..\" is no number"),
            ("1..\n2..\n", "lines for 2 of 3 senders"),
            ("1..\n2..\n3..\n\n4..", "line 5 is one too many"),
            ("", "lines for 0 of 3 senders"),
            ("99999999999999999 1..", "no number of elements"),
        ] {
            let error = Matrix::parse(text, 3).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn skews_fill_the_size_and_never_more() {
        for (_, skew) in Skew::NAMES {
            for ranks in [1, 2, 5, 8] {
                for elements in [0, 1, 7, 1000, 1 << 20] {
                    let blocks = skew.blocks(elements, ranks);
                    assert_eq!(blocks.iter().sum::<usize>(), elements);
                    let fullest = skew.matrix(elements, ranks).fullest();
                    assert!(fullest <= elements && fullest + 2 * 8 >= elements, "{fullest}");
                }
            }
        }
        assert_eq!(Skew::OneHot.blocks(80, 5), [40, 10, 10, 10, 10]);
        assert_eq!(Skew::Zipf.blocks(11, 3), [6, 3, 2]);
        let hot = Skew::OneHot.matrix(1000, 5);
        assert_eq!((hot.received(0), hot.received(1)), (vec![200; 5], vec![50; 5]));
    }
}
