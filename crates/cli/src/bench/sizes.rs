//! Owns the rows of a benchmark: which type, reduction and size each measures, as nccl-tests steps
//! and rounds them.

use std::collections::BTreeSet;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use crosstie::{Algorithm, Collective, DataType, ReduceOp};
use crosstie_ir::Rank;
use crosstie_ir::exact::Case;

use crate::args::{BenchArgs, Root};
use crate::exit::Failure;
use crate::matrix::{Lengths, Matrix};
use crate::operation::{Kind, Operation};

/// Where a sweep begins when -b does not say.
const DEFAULT_MIN_BYTES: u64 = 8;
/// Where a sweep ends when -e does not say.
const DEFAULT_MAX_BYTES: u64 = 8 << 20;

/// More is a slip of the pen: at a tenth of a second each they would take hours.
const MOST_SIZES: usize = 100_000;

/// One line of the table: what is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The operation.
    pub operation: &'static Operation,
    /// The type of an element.
    pub dtype: DataType,
    /// The reduction, for operations that reduce.
    pub op: Option<ReduceOp>,
    /// The rank that differs from the others, for operations that have one.
    pub root: Option<u32>,
    /// One rank's buffer: the larger of what it sends and receives.
    pub bytes: usize,
    /// Bytes of one of the parts that `bytes` consists of, one for each rank; `bytes` itself where
    /// the buffer has no parts that the caller sees.
    pub part_bytes: usize,
    /// The blocks, where they differ in length.
    pub counts: Option<Arc<Counts>>,
}

/// Elements of blocks that differ in length.
#[derive(Debug, PartialEq, Eq)]
pub enum Counts {
    /// Of each rank's block.
    Blocks(Vec<usize>),
    /// Of what each rank sends to each.
    Pairs(Matrix),
}

impl Row {
    /// Elements, as nccl-tests counts them: of one part.
    pub fn count(&self) -> usize {
        self.part_bytes / self.dtype.size()
    }

    /// The type's name; nccl-tests' word where there are no elements.
    pub fn type_name(&self) -> &'static str {
        if self.operation.carries() { self.dtype.name() } else { "none" }
    }

    /// The collective that this row measures.
    pub fn collective(&self) -> Collective {
        let collective = self.operation.collective();
        match self.root {
            Some(root) => collective.with_root(Rank(root)),
            None => collective,
        }
    }

    /// The call that this row makes, in a world of so many ranks.
    pub fn case(&self, ranks: u32) -> Case {
        let (dtype, op) = (self.dtype, self.op);
        let collective = self.collective();
        let op = op.unwrap_or(ReduceOp::Sum); // of no meaning where nothing is reduced
        Case { collective, dtype, op, ranks, count: self.count() }
    }
}

/// Every row that the arguments ask for, in nccl-tests' order.
pub fn rows(args: &BenchArgs, ranks: u32) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for &operation in &args.operations.0 {
        refuse_foreign_algorithm(args, operation)?;
        let roots = roots(args, operation, ranks)?;
        let ops: Vec<Option<ReduceOp>> = if operation.reduces() {
            args.op.0.iter().copied().map(Some).collect()
        } else {
            vec![None]
        };
        let types = if operation.carries() { &args.datatype.0[..] } else { &[DataType::U8] };
        for &dtype in types {
            let sizes = match &args.matrix {
                Lengths::File(path) if operation.is_ragged() => {
                    of_file(operation, path, dtype, ranks)?
                }
                _ => sizes(args, operation, dtype, ranks)?
                    .into_iter()
                    .map(|bytes| (bytes, skewed(args, operation, bytes / dtype.size(), ranks)))
                    .collect(),
            };
            for (&op, &root) in ops.iter().flat_map(|op| roots.iter().map(move |root| (op, root))) {
                rows.extend(sizes.iter().map(|(bytes, counts)| {
                    let (bytes, counts) = (*bytes, counts.clone());
                    let part_bytes = bytes / operation.parts(ranks) as usize;
                    Row { operation, dtype, op, root, bytes, part_bytes, counts }
                }));
            }
        }
    }
    Ok(rows)
}

/// A forced algorithm that cannot carry out an operation would be ignored: better said.
fn refuse_foreign_algorithm(args: &BenchArgs, operation: &Operation) -> Result<(), Failure> {
    let has = Algorithm::of(operation.collective());
    match args.settings.forced() {
        Some(algorithm) if !has.contains(&algorithm) => {
            let names: Vec<&str> = has.iter().map(|algorithm| algorithm.name()).collect();
            let name = operation.name;
            Err(Failure::usage(
                format!("--algo {}, but {name} has no such algorithm", algorithm.name()),
                format!("give one that {name} has: {}, or auto", names.join(", ")),
            ))
        }
        _ => Ok(()),
    }
}

/// Bytes, and the blocks that they fall into where those differ.
type BytesAndCounts = (usize, Option<Arc<Counts>>);

/// Blocks that fill a size of so many elements, as the skew has them.
fn skewed(
    args: &BenchArgs,
    operation: &Operation,
    elements: usize,
    ranks: u32,
) -> Option<Arc<Counts>> {
    let Lengths::Skew(skew) = args.matrix else { return None };
    let counts = match operation.kind {
        Kind::Ragged(Collective::AllToAll) => Counts::Pairs(skew.matrix(elements, ranks)),
        Kind::Ragged(_) => Counts::Blocks(skew.blocks(elements, ranks)),
        Kind::Collective(_) | Kind::SendRecv => return None,
    };
    Some(Arc::new(counts))
}

/// The one size that a matrix has: the most that a rank sends or receives.
fn of_file(
    operation: &Operation,
    path: &Path,
    dtype: DataType,
    ranks: u32,
) -> Result<Vec<BytesAndCounts>, Failure> {
    if operation.kind != Kind::Ragged(Collective::AllToAll) {
        return Err(Failure::usage(
            format!(
                "--matrix {}, but {} has one block for a rank",
                crate::file::shown(path),
                operation.name
            ),
            "a file is for all_to_all_v; give uniform, zipf or one-hot",
        ));
    }
    let matrix = Matrix::read(path, ranks)?;
    let bytes = matrix.fullest() * dtype.size();
    Ok(vec![(bytes, Some(Arc::new(Counts::Pairs(matrix))))])
}

/// The roots that an operation is to be measured with: as asked, or none.
fn roots(args: &BenchArgs, operation: &Operation, ranks: u32) -> Result<Vec<Option<u32>>, Failure> {
    match args.root {
        _ if !operation.rooted() => Ok(vec![None]),
        Root::All => Ok((0..ranks).map(Some).collect()),
        Root::One(root) if root < ranks => Ok(vec![Some(root)]),
        Root::One(root) => Err(Failure::usage(
            format!("--root {root}, but there are {ranks} ranks, numbered from 0"),
            format!("give a root from 0 to {}, or all", ranks - 1),
        )),
    }
}

/// The sizes of one type: each rounded down to what the ranks can share, as nccl-tests does, but
/// never to one that was measured already, nor to nothing.
fn sizes(
    args: &BenchArgs,
    operation: &Operation,
    dtype: DataType,
    ranks: u32,
) -> Result<Vec<usize>, Failure> {
    if !operation.carries() {
        return Ok(vec![0]);
    }
    let (min, max) = range(args);
    refuse_reversed(min, max)?;
    let unit = unit(operation, dtype, ranks);
    if let Some(asked) = args.min_bytes {
        refuse_broken_elements(asked, dtype, dtype.size() as u64)?;
        if min == max && asked % unit != 0 {
            return Err(uneven(asked, operation, dtype, ranks, unit));
        }
    }
    let mut sizes = Vec::new();
    for asked in asked(args) {
        let bytes = asked - asked % unit;
        let wanted = bytes > 0 || asked == 0;
        if wanted && sizes.last() != Some(&(bytes as usize)) {
            sizes.push(bytes as usize);
        }
        if sizes.len() > MOST_SIZES {
            return Err(Failure::usage(
                format!("more than {MOST_SIZES} sizes from {min} to {max} bytes"),
                "give a larger -i, or -f in its place",
            ));
        }
    }
    if sizes.is_empty() {
        return Err(uneven(max, operation, dtype, ranks, unit));
    }
    Ok(sizes)
}

/// Refuses a sweep that ends before it begins.
pub fn refuse_reversed(min: u64, max: u64) -> Result<(), Failure> {
    if min <= max {
        return Ok(());
    }
    Err(Failure::usage(
        format!("the smallest size ({min} bytes) exceeds the largest ({max} bytes)"),
        "give -b a size that is at most -e's",
    ))
}

/// What the sizes that were asked for had to be rounded down to multiples of: nothing where each
/// could be measured as it is, else one number for each size of element.
pub fn rounded_to(args: &BenchArgs, ranks: u32) -> Vec<u64> {
    let types = args.datatype.0.iter();
    let of_file = matches!(args.matrix, Lengths::File(_));
    let counted = |it: &Operation| it.carries() && !(it.is_ragged() && of_file);
    let carrying = || args.operations.0.iter().filter(|operation| counted(operation));
    let of_type = |&dtype| carrying().map(move |it| unit(it, dtype, ranks));
    let units = types.flat_map(of_type);
    let rounded = |unit: &u64| asked(args).any(|asked| asked % unit != 0);
    units.filter(rounded).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What every size must be a multiple of.
fn unit(operation: &Operation, dtype: DataType, ranks: u32) -> u64 {
    dtype.size() as u64 * u64::from(operation.parts(ranks))
}

/// The smallest and the largest size that may be measured.
fn range(args: &BenchArgs) -> (u64, u64) {
    let min = args.min_bytes.unwrap_or(DEFAULT_MIN_BYTES);
    (min, args.max_bytes.unwrap_or(DEFAULT_MAX_BYTES.max(min)))
}

/// The sizes that the arguments ask for, as they are.
fn asked(args: &BenchArgs) -> impl Iterator<Item = u64> {
    let (min, max) = range(args);
    let next = |&asked: &u64| match args.step_bytes {
        Some(step) => asked.checked_add(step),
        None => asked.max(1).checked_mul(args.step_factor.unwrap_or(2)),
    };
    iter::successors(Some(min), next).take_while(move |&asked| asked <= max)
}

fn refuse_broken_elements(asked: u64, dtype: DataType, element: u64) -> Result<(), Failure> {
    if asked.is_multiple_of(element) {
        return Ok(());
    }
    let (below, above) = (asked - asked % element, asked - asked % element + element);
    Err(Failure::usage(
        format!("-b {asked} is no multiple of {dtype}'s {element} bytes"),
        format!(
            "write -b {above}{}",
            if below > 0 { format!(", or -b {below}") } else { String::new() }
        ),
    ))
}

fn uneven(asked: u64, operation: &Operation, dtype: DataType, ranks: u32, unit: u64) -> Failure {
    let name = operation.name;
    let above = asked - asked % unit + unit;
    Failure::usage(
        format!(
            "{asked} bytes cannot be shared by {ranks} ranks: {name} of {dtype} needs a multiple of {unit}"
        ),
        format!("write -b {above} -e {above}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn parse(line: &str) -> BenchArgs {
        let words = ["crosstie", "bench"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Bench(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn bytes(line: &str, ranks: u32) -> Vec<usize> {
        rows(&parse(line), ranks).unwrap().iter().map(|row| row.bytes).collect()
    }

    #[test]
    fn a_sweep_steps_by_factor_or_by_bytes() {
        assert_eq!(bytes("all_reduce -b 8 -e 64", 4), [8, 16, 32, 64]);
        assert_eq!(bytes("all_reduce -b 8 -e 4K -f 8", 4), [8, 64, 512, 4096]);
        assert_eq!(bytes("all_reduce -b 8 -e 40 -i 16", 4), [8, 24, 40]);
        assert_eq!(bytes("all_reduce -b 0 -e 4", 4), [0, 4]);
    }

    #[test]
    fn a_sweep_rounds_down_and_never_measures_a_size_twice() {
        assert_eq!(bytes("all_to_all -b 8 -e 256", 8), [32, 64, 128, 256]);
        assert_eq!(bytes("all_to_all -b 8 -e 100", 3), [12, 24, 60]);
        assert_eq!(bytes("all_gather -e 64 -d u8", 5), [5, 15, 30, 60]);
    }

    #[test]
    fn rounding_is_known_of() {
        let rounded = |line, ranks| rounded_to(&parse(line), ranks);
        assert_eq!(rounded("all_to_all", 8), [32]);
        assert_eq!(rounded("all_gather -b 512 -e 4K -d all", 5), [5, 10, 20, 40]);
        assert_eq!(rounded("all_to_all -b 32", 8), [0; 0]);
        assert_eq!(rounded("all_reduce", 3), [0; 0]);
    }

    #[test]
    fn a_size_that_cannot_be_is_refused_with_the_value_and_a_remedy() {
        for (line, value, remedy) in [
            ("all_reduce -b 7 -e 64", "-b 7", "-b 8, or -b 4"),
            ("all_reduce -b 2 -e 64 -d f64", "-b 2", "-b 8"),
            ("all_to_all -b 8 -e 8", "8 bytes", "-b 32 -e 32"),
            ("all_to_all -e 16", "16 bytes", "-b 32 -e 32"),
            ("all_reduce -b 64 -e 8", "64 bytes", "-b"),
            ("all_reduce -e 1G -i 4", "1073741824 bytes", "a larger -i"),
        ] {
            let text = rows(&parse(line), 8).unwrap_err().to_string();
            assert!(text.contains(value) && text.contains(remedy), "{line}: {text}");
        }
    }

    #[test]
    fn counts_are_those_of_nccl_tests() {
        let row = rows(&parse("all_to_all -b 8M"), 8).unwrap()[0].clone();
        assert_eq!((row.bytes, row.count()), (8 << 20, 262_144));
        let row = rows(&parse("all_reduce -b 8M"), 8).unwrap()[0].clone();
        assert_eq!((row.bytes, row.count()), (8 << 20, 2 << 20));
    }

    #[test]
    fn all_types_and_reductions_make_rows() {
        let (types, ops) = (DataType::ALL.len(), 6);
        let count = |words| rows(&parse(words), 3).unwrap().len();
        assert_eq!(count("all_reduce -b 64 -e 64 -d all -o all"), types * ops);
        assert_eq!(count("all_gather -b 48 -e 48 -d all -o all"), types);
    }
}
