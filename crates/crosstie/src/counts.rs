//! Owns the sizes of a call: that buffers and counts fit each other, and where the blocks lie that differ
//! in length.

use std::sync::Arc;

use crosstie_exec::Buffers;
use crosstie_ir::{Collective, Rank, Repeats, Span, Table};

use crate::Error;
use crate::operation::{Counts, Operation};

/// The sizes of one call.
pub(crate) struct Sizes {
    /// What the operation's size counts, the same on all ranks: elements of the buffer where it is whole,
    /// of one part where parts are equal, of all blocks where they differ; 0 where no rank knows more
    /// than its own.
    pub count: u64,
    /// Bytes of the buffer where it is whole, else of one part, on average; the same on all ranks.
    pub bytes: u64,
    /// The blocks, where they differ in length.
    pub table: Option<Table>,
    /// A hash of what else must be alike on all ranks.
    pub digest: u64,
}

/// A rank and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub rank: u32,
    pub ranks: u32,
}

impl Sizes {
    /// The sizes of `operation` on these buffers.
    ///
    /// # Errors
    /// [`Error::Argument`] with the lengths that do not fit.
    pub fn of(
        operation: &Operation<'_>,
        buffers: &Buffers<'_>,
        place: Place,
    ) -> Result<Self, Error> {
        let Operation { collective, data_type, counts, .. } = *operation;
        if collective == Collective::SendRecv {
            let what = "messages between pairs are asked for by send, recv and group".to_owned();
            return Err(wrong(operation, what));
        }
        if let Some(root) = collective.root()
            && root.0 >= place.ranks
        {
            let what = format!("root {root} is none of the {} ranks, 0 on", place.ranks);
            return Err(wrong(operation, what));
        }
        match counts {
            Counts::Equal => {
                let count = equal_parts(operation, buffers, place)?;
                let bytes = count * data_type.size() as u64;
                Ok(Self { count, bytes, table: None, digest: 0 })
            }
            Counts::Blocks(counts) => blocks(operation, buffers, counts, place),
            Counts::Pairs { send, recv } => pairs(operation, buffers, [send, recv], place),
        }
    }
}

fn wrong(operation: &Operation<'_>, what: String) -> Error {
    Error::Argument { operation: operation.name(), what }
}

/// Equal parts of each side of a call; none where a rank has no such side.
fn parts(collective: Collective, Place { rank, ranks }: Place) -> [usize; 2] {
    let rank = Rank(rank);
    [collective.input_chunks(rank, ranks, 1), collective.output_chunks(rank, ranks, 1)]
        .map(|parts| parts as usize)
}

/// What the operation's size counts: elements of the buffer where it is whole, else of one part.
fn equal_parts(
    operation: &Operation<'_>,
    buffers: &Buffers<'_>,
    place: Place,
) -> Result<u64, Error> {
    let Operation { collective, data_type, .. } = *operation;
    let [input, output] = parts(collective, place);
    let (longer, whole) = match buffers {
        Buffers::OutOfPlace { send, .. } if input >= output => (input, send.len()),
        Buffers::OutOfPlace { recv, .. } => (output, recv.len()),
        Buffers::InPlace(buffer) => (input.max(output), buffer.len()),
        Buffers::Messages { .. } => {
            return Err(wrong(operation, "takes no separate messages".to_owned()));
        }
    };
    let size = data_type.size();
    if !whole.is_multiple_of(longer * size) {
        let what = format!(
            "a buffer of {whole} bytes does not hold {longer} equal part(s) of {data_type} \
             ({size} bytes each element); make it a multiple of {} bytes",
            longer * size
        );
        return Err(wrong(operation, what));
    }
    let part = whole / longer;
    if let Buffers::OutOfPlace { send, recv } = buffers {
        check_lengths(operation, (send.len(), recv.len()), (input * part, output * part), place)?;
    }
    Ok((part / size) as u64)
}

fn check_lengths(
    operation: &Operation<'_>,
    lengths: (usize, usize),
    needed: (usize, usize),
    Place { rank, ranks }: Place,
) -> Result<(), Error> {
    if lengths == needed {
        return Ok(());
    }
    let what = format!(
        "send has {} bytes and recv {}; rank {rank} of {ranks} needs {} and {}",
        lengths.0, lengths.1, needed.0, needed.1
    );
    Err(wrong(operation, what))
}

/// The sizes where the block of rank r has `counts[r]` elements on every rank.
fn blocks(
    operation: &Operation<'_>,
    buffers: &Buffers<'_>,
    counts: &[usize],
    place: Place,
) -> Result<Sizes, Error> {
    let all = Blocks::new(operation, "counts", counts, place)?;
    let own = all.spans[place.rank as usize];
    let (of_one, of_all) = (own.elements as usize * all.size, all.bytes);
    let apart = Span { offset: 0, ..own };
    let gathers = match operation.collective {
        Collective::AllGather => true,
        Collective::ReduceScatter => false,
        _ => return Err(wrong(operation, "takes no counts of this kind".to_owned())),
    };
    let own = match buffers {
        Buffers::OutOfPlace { send, recv } => {
            let needed = if gathers { (of_one, of_all) } else { (of_all, of_one) };
            check_lengths(operation, (send.len(), recv.len()), needed, place)?;
            apart
        }
        Buffers::InPlace(buffer) if buffer.len() == of_all => own,
        Buffers::InPlace(buffer) => {
            let what = format!("the buffer has {} bytes; it needs {of_all}", buffer.len());
            return Err(wrong(operation, what));
        }
        Buffers::Messages { .. } => {
            return Err(wrong(operation, "takes no separate messages".to_owned()));
        }
    };
    let longest = all.spans.iter().map(|span| span.elements).max().unwrap_or(0);
    let own: Arc<[Span]> = Arc::new([own]);
    let (count, digest) = (all.elements, digest(counts));
    let (input, output) = if gathers { (own, all.spans) } else { (all.spans, own) };
    let table = Some(Table { input, output, repeats: Repeats::World { longest } });
    Ok(Sizes { count, bytes: (of_all as u64).div_ceil(place.ranks.into()), table, digest })
}

/// The sizes where only sender and receiver know how many elements go from one to the other.
fn pairs(
    operation: &Operation<'_>,
    buffers: &Buffers<'_>,
    [sent, received]: [&[usize]; 2],
    place: Place,
) -> Result<Sizes, Error> {
    if operation.collective != Collective::AllToAll {
        return Err(wrong(operation, "takes no counts of this kind".to_owned()));
    }
    let input = Blocks::new(operation, "send counts", sent, place)?;
    let output = Blocks::new(operation, "receive counts", received, place)?;
    let own = place.rank as usize;
    if sent[own] != received[own] {
        let what = format!(
            "rank {own} sends {} elements to itself, and receives {} from itself",
            sent[own], received[own]
        );
        return Err(wrong(operation, what));
    }
    let Buffers::OutOfPlace { send, recv } = buffers else {
        return Err(wrong(operation, "needs a send and a receive buffer".to_owned()));
    };
    check_lengths(operation, (send.len(), recv.len()), (input.bytes, output.bytes), place)?;
    let (input, output) = (input.spans, output.spans);
    let table = Some(Table { input, output, repeats: Repeats::Block });
    Ok(Sizes { count: 0, bytes: 0, table, digest: 0 })
}

/// Blocks of different lengths, one after the other in rank order.
struct Blocks {
    spans: Arc<[Span]>,
    size: usize,
    elements: u64,
    bytes: usize,
}

impl Blocks {
    fn new(
        operation: &Operation<'_>,
        what: &str,
        counts: &[usize],
        Place { ranks, .. }: Place,
    ) -> Result<Self, Error> {
        if counts.len() != ranks as usize {
            let what = format!("{} {what}, but there are {ranks} ranks", counts.len());
            return Err(wrong(operation, what));
        }
        let size = operation.data_type.size();
        let mut spans = Vec::with_capacity(counts.len());
        let mut offset: usize = 0;
        for &count in counts {
            spans.push(Span { offset: offset as u64, elements: count as u64 });
            let end = offset.checked_add(count).filter(|end| end.checked_mul(size).is_some());
            offset = end.ok_or_else(|| {
                let what = format!("{what} come to more bytes than an address can count");
                wrong(operation, what)
            })?;
        }
        let (elements, bytes) = (offset as u64, offset * size);
        Ok(Self { spans: spans.into(), size, elements, bytes })
    }
}

/// A hash of the counts (FNV-1a on words).
fn digest(counts: &[usize]) -> u64 {
    let step = |hash: u64, &count: &usize| (hash ^ count as u64).wrapping_mul(0x100_0000_01b3);
    counts.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
