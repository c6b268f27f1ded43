//! Owns the sizes of a call: that buffers and counts fit each other, and where the blocks lie that differ
//! in length.

use crosstie_exec::Buffers;
use crosstie_ir::{Collective, Few, Rank, Repeats, Span, Table};

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
            return Err(wrong(operation, no_such("root", root.0, place.ranks)));
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

/// That there is no such rank, given as root or peer.
pub(crate) fn no_such(what: &str, rank: u32, ranks: u32) -> String {
    match ranks.saturating_sub(1) {
        0 => format!("{what} {rank} is no rank: there is only rank 0"),
        last => format!("{what} {rank} is no rank: there are ranks 0 to {last}"),
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
///
/// Of two buffers the one with fewer parts says how long a part is, so that the other can be told its length.
fn equal_parts(
    operation: &Operation<'_>,
    buffers: &Buffers<'_>,
    place: Place,
) -> Result<u64, Error> {
    let Operation { collective, data_type, .. } = *operation;
    let [input, output] = parts(collective, place);
    let size = data_type.size();
    let (name, whole, fewer) = match buffers {
        Buffers::OutOfPlace { send, .. } if output == 0 || (1..=output).contains(&input) => {
            ("send", send.len(), input)
        }
        Buffers::OutOfPlace { recv, .. } => ("recv", recv.len(), output),
        Buffers::InPlace(buffer) => ("the buffer", buffer.len(), input.max(output)),
        Buffers::Messages { .. } => {
            return Err(wrong(operation, "takes no separate messages".to_owned()));
        }
    };
    if !whole.is_multiple_of(fewer * size) {
        let has = elements(whole, operation);
        let what = match fewer {
            1 => format!("{name} has {has}"),
            parts => format!(
                "{name} has {has}, which are not {parts} equal parts, one for each rank; give it a multiple of \
                 {parts} elements"
            ),
        };
        return Err(wrong(operation, what));
    }
    let part = whole / fewer;
    if let Buffers::OutOfPlace { send, recv } = buffers {
        let lengths = [("send", send.len(), input), ("recv", recv.len(), output)];
        for (other, len, parts) in lengths {
            if len != parts * part {
                return Err(wrong(
                    operation,
                    unequal((name, whole), (other, len, parts), part, operation),
                ));
            }
        }
    }
    Ok((part / size) as u64)
}

/// That the buffer `other` has not as many parts, of `part` bytes each, as the one that says how long they are.
fn unequal(
    (name, whole): (&str, usize),
    (other, len, parts): (&str, usize, usize),
    part: usize,
    operation: &Operation<'_>,
) -> String {
    let elements = |bytes| elements(bytes, operation);
    let (each, whole, len, needed) =
        (elements(part), elements(whole), elements(len), elements(parts * part));
    match parts {
        0 => format!("this rank needs no {other}, and it has {len}"),
        1 => format!("{name} has {whole} and {other} {len}; {other} needs {needed}"),
        parts => {
            format!(
                "{name} has {whole}, so {other} must hold {parts} parts of {each}: {needed}; it has {len}"
            )
        }
    }
}

/// A length as callers count it.
fn elements(bytes: usize, operation: &Operation<'_>) -> String {
    let (data_type, size) = (operation.data_type, operation.data_type.size());
    match (bytes / size, bytes % size) {
        (1, 0) => "1 element".to_owned(),
        (count, 0) => format!("{count} elements"),
        _ => {
            format!("{bytes} bytes, which are no whole elements of {data_type} ({size} bytes each)")
        }
    }
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
    let elements = |bytes| elements(bytes, operation);
    let what = format!(
        "send has {} and recv {}; by the counts, rank {rank} of {ranks} needs {} and {}",
        elements(lengths.0),
        elements(lengths.1),
        elements(needed.0),
        elements(needed.1)
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
            let (has, needs) = (elements(buffer.len(), operation), elements(of_all, operation));
            let what = format!("the buffer has {has}; by the counts, it needs {needs}");
            return Err(wrong(operation, what));
        }
        Buffers::Messages { .. } => {
            return Err(wrong(operation, "takes no separate messages".to_owned()));
        }
    };
    let longest = all.spans.iter().map(|span| span.elements).max().unwrap_or(0);
    let own = Few::from(own);
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
    spans: Few<Span>,
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
        Ok(Self { spans: Few::Many(spans), size, elements, bytes })
    }
}

/// A hash of the counts (FNV-1a on words).
fn digest(counts: &[usize]) -> u64 {
    let step = |hash: u64, &count: &usize| (hash ^ count as u64).wrapping_mul(0x100_0000_01b3);
    counts.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use crate::{Buffers, Collective, DataType, Error, Operation, ReduceOp, Threads};

    #[track_caller]
    fn says(result: Result<(), Error>, words: &str) {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn lengths_that_do_not_fit_are_told_in_elements_with_the_length_that_would() {
        let run = Threads::new(4).run(|mut comm| {
            let (ten, mut room) = ([1.0_f32; 10], [0.0_f32; 10]);
            says(
                comm.all_gather(&ten, &mut room),
                "send has 10 elements, so recv must hold 4 parts of 10 elements: 40 elements; it has 10 elements",
            );
            says(
                comm.reduce_scatter(&ten, &mut room, ReduceOp::Sum),
                "recv has 10 elements, so send must hold 4 parts of 10 elements: 40 elements",
            );
            says(
                comm.all_reduce(&ten[..9], &mut room, ReduceOp::Sum),
                "send has 9 elements and recv 10 elements; recv needs 9 elements",
            );
            says(comm.all_to_all(&ten, &mut room), "give it a multiple of 4 elements");
            says(comm.all_to_all_in_place(&mut room), "the buffer has 10 elements, which are not 4 equal");
            let counts = [3, 3, 3, 3];
            says(
                comm.all_gather_v(&ten, &mut room, &counts),
                "needs 3 elements and 12 elements",
            );
            says(comm.broadcast(&mut room, 17), "root 17 is no rank: there are ranks 0 to 3");
            let gather = Operation::new(Collective::Gather { root: crosstie_ir::Rank(0) }, DataType::U8);
            if comm.rank() == 1 {
                let buffers = Buffers::OutOfPlace { send: &[1], recv: &mut [0; 4] };
                says(comm.perform(gather, buffers), "this rank needs no recv, and it has 4 elements");
            }
            let sum = Operation::of::<f32>(Collective::AllReduce).reducing(ReduceOp::Sum);
            says(comm.perform(sum, Buffers::InPlace(&mut [0; 7])), "7 bytes, which are no whole");
            comm.all_reduce_in_place(&mut room, ReduceOp::Sum)
        });
        run.unwrap();
    }
}
