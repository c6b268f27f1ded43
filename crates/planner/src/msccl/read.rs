//! Owns the reading of a program's XML into numbers, each checked against its range.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use core::str::FromStr;

use crosstie_ir::{Collective, MAX_RANKS, Rank};
use crosstie_topo::xml::{Document, Element, Position};

use super::Error;

/// Chunks of a buffer, at most: more than any program has, and few enough to count with.
const MOST_CHUNKS: u32 = 1 << 17;
/// The largest size of a call, 2^62 bytes.
const MOST_BYTES: u64 = 1 << 62;
/// The largest number of a thread block, channel or step.
const MOST: u32 = 1 << 16;

/// A whole program.
pub(super) struct Algo {
    pub name: String,
    pub collective: Collective,
    pub ranks: u32,
    /// For which calls it is.
    pub forms: Forms,
    /// Chunks of the longest buffer of a rank, scratch apart.
    pub chunks: u32,
    /// By rank.
    pub gpus: Vec<Gpu>,
    pub at: Position,
}

/// For which calls a program is: those in place, those with two buffers, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forms {
    /// Calls in place.
    pub in_place: bool,
    /// Calls with two buffers.
    pub out_of_place: bool,
}

impl Algo {
    /// Whether input and output are one buffer in every call that it is for.
    pub fn is_in_place(&self) -> bool {
        self.forms.in_place && !self.forms.out_of_place
    }
}

pub(super) struct Gpu {
    pub scratch: u32,
    pub blocks: Vec<ThreadBlock>,
}

pub(super) struct ThreadBlock {
    pub id: u32,
    pub send: Option<Rank>,
    pub recv: Option<Rank>,
    pub channel: u16,
    pub steps: Vec<Step>,
    pub at: Position,
}

pub(super) struct Step {
    pub kind: StepKind,
    pub src: Place,
    pub dst: Place,
    pub count: u32,
    /// Thread block and step of the same GPU that must have completed.
    pub after: Option<(u32, u32)>,
    /// Whether the runtime tells others that it is complete.
    pub tells: bool,
    pub at: Position,
}

/// The first chunk of a step.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub buffer: Buffer,
    pub offset: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Buffer {
    Input,
    Output,
    Scratch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    Send,
    Receive,
    Copy,
    Reduce,
    ReceiveCopySend,
    ReceiveReduceSend,
    ReceiveReduceCopy,
    ReceiveReduceCopySend,
    Nothing,
}

impl StepKind {
    const NAMES: [(&str, Self); 9] = [
        ("s", Self::Send),
        ("r", Self::Receive),
        ("cpy", Self::Copy),
        ("re", Self::Reduce),
        ("rcs", Self::ReceiveCopySend),
        ("rrs", Self::ReceiveReduceSend),
        ("rrc", Self::ReceiveReduceCopy),
        ("rrcs", Self::ReceiveReduceCopySend),
        ("nop", Self::Nothing),
    ];

    pub fn receives(self) -> bool {
        !matches!(self, Self::Send | Self::Copy | Self::Reduce | Self::Nothing)
    }

    pub fn sends(self) -> bool {
        use StepKind::{ReceiveCopySend, ReceiveReduceCopySend, ReceiveReduceSend, Send};
        matches!(self, Send | ReceiveCopySend | ReceiveReduceSend | ReceiveReduceCopySend)
    }

    /// Whether it reads a chunk of its own; what it receives apart.
    pub fn reads(self) -> bool {
        !matches!(self, Self::Receive | Self::ReceiveCopySend | Self::Nothing)
    }

    pub fn writes(self) -> bool {
        !matches!(self, Self::Send | Self::ReceiveReduceSend | Self::Nothing)
    }
}

pub(super) fn algo(text: &str) -> Result<Algo, Error> {
    let document = Document::read(text)?;
    let root = &document.root;
    if root.name != "algo" {
        return Err(Error::Root { at: root.at, found: root.name.chars().take(60).collect() });
    }
    let fields = Fields { element: "algo", of: root };
    calls(&fields)?;
    let ranks = fields.number("ngpus", 1, MAX_RANKS)?;
    let gpus = gpus(&fields, ranks)?;
    let longest = root.named("gpu").map(|gpu| {
        let fields = Fields { element: "gpu", of: gpu };
        let count = |name| Ok::<_, Error>(fields.optional(name, 0, MOST_CHUNKS)?.unwrap_or(0));
        Ok::<_, Error>(count("i_chunks")?.max(count("o_chunks")?))
    });
    let longest = longest.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or(0);
    let told = fields.optional("nchunksperloop", 1, MOST_CHUNKS)?;
    Ok(Algo {
        name: root.attribute("name").unwrap_or_default().to_owned(),
        collective: collective(&fields, ranks)?,
        ranks,
        forms: forms(&fields)?,
        chunks: told.unwrap_or(longest),
        gpus,
        at: root.at,
    })
}

/// What the runtime refuses of the calls that the program is for; a plan is for all protocols and sizes.
fn calls(fields: &Fields<'_>) -> Result<(), Error> {
    const PROTOCOLS: [&str; 3] = ["Simple", "LL", "LL128"];
    if fields.of.attribute("proto").is_some_and(|proto| !PROTOCOLS.contains(&proto)) {
        return Err(fields.wrong("proto", PROTOCOLS.join(", ")));
    }
    let size = |name| fields.optional(name, 0, MOST_BYTES);
    let (least, most) = (size("minBytes")?.unwrap_or(0), size("maxBytes")?.unwrap_or(0));
    // 0 is no limit.
    if most > 0 && least > most {
        let what =
            format!("minBytes is {least} and maxBytes {most}: no call would take the program");
        let at = fields.of.find("minBytes").map_or(fields.of.at, |found| found.at);
        return Err(Error::Contradiction { at, what });
    }
    Ok(())
}

/// Programs of older tools only tell whether they are in place.
fn forms(fields: &Fields<'_>) -> Result<Forms, Error> {
    let flag = |name| Ok::<_, Error>(fields.optional(name, 0, 1)?.map(|flag| flag == 1));
    let (inside, outside) = (flag("inplace")?.unwrap_or(false), flag("outofplace")?);
    let forms = Forms { in_place: inside, out_of_place: outside.unwrap_or(!inside) };
    if !forms.in_place && !forms.out_of_place {
        let what = "inplace and outofplace are both 0: no call would take the program".to_owned();
        return Err(Error::Contradiction { at: fields.of.at, what });
    }
    Ok(forms)
}

fn collective(fields: &Fields<'_>, ranks: u32) -> Result<Collective, Error> {
    let name = fields.of.attribute("coll").unwrap_or_default();
    let root = Rank(fields.optional("root", 0, ranks - 1)?.unwrap_or(0));
    Ok(match name {
        "allreduce" | "all_reduce" => Collective::AllReduce,
        "allgather" | "all_gather" => Collective::AllGather,
        "reducescatter" | "reduce_scatter" => Collective::ReduceScatter,
        "alltoall" | "all_to_all" => Collective::AllToAll,
        "broadcast" => Collective::Broadcast { root },
        "reduce" => Collective::Reduce { root },
        "gather" => Collective::Gather { root },
        "scatter" => Collective::Scatter { root },
        _ => {
            let known = "allreduce, allgather, reduce_scatter, alltoall, broadcast, reduce, gather or \
                         scatter; what a program of another kind should compute is not known";
            return Err(fields.wrong("coll", known.to_owned()));
        }
    })
}

fn gpus(algo: &Fields<'_>, ranks: u32) -> Result<Vec<Gpu>, Error> {
    let elements: Vec<&Element> = algo.of.named("gpu").collect();
    let mut gpus: Vec<Option<Gpu>> = elements.iter().map(|_| None).collect();
    if elements.len() != ranks as usize {
        let what = format!("ngpus is {ranks}, but there are {} <gpu>", elements.len());
        return Err(Error::Contradiction { at: algo.of.at, what });
    }
    let most = u32::from(u16::MAX);
    let channels = algo.optional("nchannels", 1, most)?.unwrap_or(most);
    for of in elements {
        let fields = Fields { element: "gpu", of };
        let id = fields.number("id", 0, ranks - 1)?;
        if gpus[id as usize].is_some() {
            let what = format!("a second <gpu id=\"{id}\">");
            return Err(Error::Contradiction { at: of.at, what });
        }
        let scratch = fields.optional("s_chunks", 0, MOST_CHUNKS)?.unwrap_or(0);
        let blocks = of.named("tb").map(|tb| thread_block(tb, id, ranks, channels));
        let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        blocks.sort_by_key(|block| block.id);
        if let Some(pair) = blocks.windows(2).find(|pair| pair[0].id == pair[1].id) {
            let what = format!("a second <tb id=\"{}\"> of gpu {id}", pair[1].id);
            return Err(Error::Contradiction { at: pair[1].at, what });
        }
        gpus[id as usize] = Some(Gpu { scratch, blocks });
    }
    // Each of `ranks` ids stood once.
    Ok(gpus.into_iter().flatten().collect())
}

fn thread_block(of: &Element, gpu: u32, ranks: u32, channels: u32) -> Result<ThreadBlock, Error> {
    let fields = Fields { element: "tb", of };
    let peer = |name| {
        let peer = fields.or_none(name, ranks - 1)?;
        match peer {
            Some(peer) if peer == gpu => Err(fields.wrong(name, format!("another GPU than {gpu}"))),
            peer => Ok(peer.map(Rank)),
        }
    };
    let mut steps = Vec::new();
    for (element, number) in of.named("step").zip(0..) {
        steps.push(step(element, number)?);
    }
    Ok(ThreadBlock {
        id: fields.number("id", 0, MOST)?,
        send: peer("send")?,
        recv: peer("recv")?,
        channel: fields.or_none("chan", channels - 1)?.unwrap_or(0) as u16,
        steps,
        at: of.at,
    })
}

fn step(of: &Element, number: u32) -> Result<Step, Error> {
    let fields = Fields { element: "step", of };
    if fields.number("s", 0, MOST)? != number {
        return Err(fields.wrong("s", format!("{number}: steps stand in their order")));
    }
    let name = of.attribute("type").unwrap_or_default();
    let Some(&(_, kind)) = StepKind::NAMES.iter().find(|(known, _)| *known == name) else {
        return Err(fields.wrong("type", "s, r, cpy, re, rcs, rrs, rrc, rrcs or nop".to_owned()));
    };
    let place = |used, buffer, offset| match used {
        true => fields.place(buffer, offset),
        false => fields.no_place(buffer, offset),
    };
    let block = fields.or_none("depid", MOST)?;
    let after = match block {
        Some(block) => Some((block, fields.number("deps", 0, MOST)?)),
        None => fields.or_none("deps", MOST)?.and(None),
    };
    let least = u32::from(kind != StepKind::Nothing);
    Ok(Step {
        kind,
        src: place(kind.reads(), "srcbuf", "srcoff")?,
        dst: place(kind.writes(), "dstbuf", "dstoff")?,
        count: fields.optional("cnt", least, MOST_CHUNKS)?.unwrap_or(1),
        after,
        tells: fields.optional("hasdep", 0, 1)? == Some(1),
        at: of.at,
    })
}

/// An element whose attributes are read.
struct Fields<'a> {
    element: &'static str,
    of: &'a Element,
}

impl Fields<'_> {
    fn wrong(&self, attribute: &'static str, expected: String) -> Error {
        let found = self.of.find(attribute);
        let value = found.map_or("", |found| found.value.as_str()).chars().take(60).collect();
        let at = found.map_or(self.of.at, |found| found.at);
        Error::Value { at, element: self.element, attribute, value, expected }
    }

    fn number(&self, name: &'static str, least: u32, most: u32) -> Result<u32, Error> {
        let found = self.optional(name, least, most)?;
        found.ok_or_else(|| self.wrong(name, format!("a number from {least} to {most}")))
    }

    fn optional<T>(&self, name: &'static str, least: T, most: T) -> Result<Option<T>, Error>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let Some(text) = self.of.attribute(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) if (least..=most).contains(&value) => Ok(Some(value)),
            _ => Err(self.wrong(name, format!("a number from {least} to {most}"))),
        }
    }

    /// A number, or −1 for none.
    fn or_none(&self, name: &'static str, most: u32) -> Result<Option<u32>, Error> {
        match self.of.attribute(name).map(str::trim) {
            Some("-1") => Ok(None),
            _ => self.optional(name, 0, most),
        }
    }

    /// Where no place is used, one may be named all the same.
    fn no_place(&self, buffer: &'static str, offset: &'static str) -> Result<Place, Error> {
        if self.of.attribute(buffer).is_some() {
            self.buffer(buffer)?;
        }
        self.or_none(offset, MOST_CHUNKS)?;
        Ok(Place { buffer: Buffer::Input, offset: 0 })
    }

    fn place(&self, buffer: &'static str, offset: &'static str) -> Result<Place, Error> {
        Ok(Place { buffer: self.buffer(buffer)?, offset: self.number(offset, 0, MOST_CHUNKS)? })
    }

    fn buffer(&self, name: &'static str) -> Result<Buffer, Error> {
        match self.of.attribute(name).unwrap_or_default() {
            "i" => Ok(Buffer::Input),
            "o" => Ok(Buffer::Output),
            "s" => Ok(Buffer::Scratch),
            _ => Err(self.wrong(name, "i, o or s".to_owned())),
        }
    }
}
