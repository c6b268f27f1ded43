//! Owns the JSON form of a plan: one object with its schema's name and version, chunks and
//! instructions by name.
//!
//! ```json
//! {"schema": "crosstie.plan", "version": 2, "collective": "all_reduce", "ranks": 2, "parts": 2,
//!  "scratch_chunks": 0, "connections": [[0, 1, 0], [1, 0, 0]],
//!  "blocks": [{"rank": 0, "instrs": [{"src": ["input", 1], "send": 0}]}]}
//! ```
//!
//! A connection is `[src, dst, channel]`; an instruction has any of `recv`, `src`, `dst`, `send`,
//! `after` (`[block, step]`) and `slice` (`[slice, slices]`, left out when whole), and of the marks
//! `accumulate`, `finish`, `copied`, `grant`, `granted` and `ahead`. A rooted collective has a `root`. What is decoded is a form, not yet a good plan: [`crate::verify()`] judges that.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::Collective;
use crate::plan::{
    After, Block, BlockId, ChannelId, Chunk, ConnId, Connection, Instr, MAX_RANKS, Plan, Rank,
    Space,
};
use crate::schema::{Schema, SchemaError};

const SCHEMA: Schema = Schema { name: "crosstie.plan", version: 2, of: "a plan" };

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It is no JSON, not of the form of a plan, or of another schema or version.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// It names a collective that does not exist.
    #[error("no collective is named {name:?}")]
    Collective {
        /// The name.
        name: String,
    },
    /// A root is missing, or one is given where there is none.
    #[error(
        "{collective} with root {given:?}; a root belongs to rooted collectives, and to no other"
    )]
    Root {
        /// The collective's name.
        collective: &'static str,
        /// The root that was given.
        given: Option<u32>,
    },
    /// A number is out of range.
    #[error("{what} is {value}; at most {limit} can be")]
    OutOfRange {
        /// What the number counts or names.
        what: &'static str,
        /// The number.
        value: u64,
        /// The largest possible.
        limit: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanForm {
    schema: String,
    version: u32,
    collective: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<u32>,
    ranks: u32,
    parts: u32,
    scratch_chunks: u32,
    connections: Vec<(u32, u32, u16)>,
    blocks: Vec<BlockForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockForm {
    rank: u32,
    instrs: Vec<InstrForm>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum SpaceForm {
    Input,
    Output,
    Scratch,
}

type ChunkForm = (SpaceForm, u32);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstrForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recv: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    src: Option<ChunkForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dst: Option<ChunkForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    send: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slice: Option<(u16, u16)>,
    #[serde(default, skip_serializing_if = "is_unset")]
    accumulate: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    finish: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    copied: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    grant: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    granted: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    ahead: bool,
}

fn is_unset(mark: &bool) -> bool {
    !mark
}
/// The plan as one line of JSON; equal plans give equal text.
pub fn to_json(plan: &Plan) -> String {
    let form = PlanForm {
        schema: SCHEMA.name.to_string(),
        version: SCHEMA.version,
        collective: plan.collective.name().to_string(),
        root: plan.collective.root().map(|root| root.0),
        ranks: plan.ranks,
        parts: plan.parts,
        scratch_chunks: plan.scratch_chunks,
        connections: plan.connections.iter().map(|c| (c.src.0, c.dst.0, c.channel.0)).collect(),
        blocks: plan.blocks.iter().map(block_form).collect(),
    };
    serde_json::to_string(&form).expect("integers, strings and lists always have a JSON form")
}

fn block_form(block: &Block) -> BlockForm {
    BlockForm { rank: block.rank.0, instrs: block.instrs.iter().map(instr_form).collect() }
}

fn instr_form(instr: &Instr) -> InstrForm {
    let chunk = |Chunk { space, index }| {
        let space = match space {
            Space::Input => SpaceForm::Input,
            Space::Output => SpaceForm::Output,
            Space::Scratch => SpaceForm::Scratch,
        };
        (space, index)
    };
    let slice = (instr.slice(), instr.slices());
    let ports = instr.granted_port().unwrap_or(*instr);
    InstrForm {
        recv: ports.recv_port().map(|conn| conn.0),
        src: ports.src_port().map(chunk),
        dst: ports.dst_port().map(chunk),
        send: instr.send_port().map(|conn| conn.0),
        after: instr.after_port().map(|after| (after.block.0, after.step)),
        slice: Some(slice).filter(|&slice| slice != (0, 1)),
        accumulate: instr.accumulates(),
        finish: instr.finishes(),
        copied: instr.is_copied(),
        grant: instr.is_grant(),
        granted: instr.is_granted(),
        ahead: instr.is_ahead(),
    }
}

/// Reads what [`to_json`] wrote. Memory is bounded by the length of `json`, whatever it says.
///
/// # Errors
/// When it is no JSON, has fields that are unknown, twice or missing, is of another schema or
/// version, or holds numbers that a plan has no room for.
pub fn from_json(json: &[u8]) -> Result<Plan, JsonError> {
    let form: PlanForm = SCHEMA.read(json)?;
    let collective = collective(&form)?;
    let limits =
        Limits { connections: form.connections.len() as u64, blocks: form.blocks.len() as u64 };
    within("the number of ranks", form.ranks, MAX_RANKS.into())?;
    within("the number of parts", form.parts, Chunk::MAX_INDEX.into())?;
    within("the number of scratch chunks", form.scratch_chunks, Chunk::MAX_INDEX.into())?;
    let connection = |&(src, dst, channel): &(u32, u32, u16)| Connection {
        src: Rank(src),
        dst: Rank(dst),
        channel: ChannelId(channel),
    };
    Ok(Plan {
        collective,
        ranks: form.ranks,
        parts: form.parts,
        scratch_chunks: form.scratch_chunks,
        connections: form.connections.iter().map(connection).collect(),
        blocks: form.blocks.iter().map(|b| limits.block(b)).collect::<Result<_, _>>()?,
    })
}

/// The collective of that name; a root where it has one, and nowhere else.
fn collective(form: &PlanForm) -> Result<Collective, JsonError> {
    let mut all = Collective::ALL.into_iter().chain([Collective::SendRecv]);
    let named = all.find(|collective| collective.name() == form.collective);
    let Some(collective) = named else {
        return Err(JsonError::Collective { name: form.collective.clone() });
    };
    match (collective.root(), form.root) {
        (None, None) => Ok(collective),
        (Some(_), Some(root)) => {
            below("the root", root, form.ranks.into())?;
            Ok(collective.with_root(Rank(root)))
        }
        (_, given) => Err(JsonError::Root { collective: collective.name(), given }),
    }
}

/// Checks that `value` is at most `limit`.
fn within(what: &'static str, value: u32, limit: u64) -> Result<u32, JsonError> {
    match u64::from(value) <= limit {
        true => Ok(value),
        false => Err(JsonError::OutOfRange { what, value: value.into(), limit }),
    }
}

/// How many connections and blocks there are to be named.
struct Limits {
    connections: u64,
    blocks: u64,
}

impl Limits {
    fn block(&self, form: &BlockForm) -> Result<Block, JsonError> {
        let instrs = form.instrs.iter().map(|instr| self.instr(instr)).collect::<Result<_, _>>()?;
        Ok(Block { rank: Rank(form.rank), instrs })
    }

    fn instr(&self, form: &InstrForm) -> Result<Instr, JsonError> {
        let instr = Instr::new(
            form.recv.map(|conn| self.conn(conn)).transpose()?,
            form.src.map(chunk).transpose()?,
            form.dst.map(chunk).transpose()?,
            form.send.map(|conn| self.conn(conn)).transpose()?,
        );
        let (slice, slices) = form.slice.unwrap_or((0, 1));
        let mut instr = instr.sliced(slice, slices);
        if form.accumulate {
            instr = instr.accumulating();
        }
        if form.finish {
            instr = instr.finishing();
        }
        if form.copied {
            instr = instr.copied();
        }
        instr = instr.with_grants(form.grant, form.granted, form.ahead);
        let Some((block, step)) = form.after else { return Ok(instr) };
        let block = below("a block waited for", block, self.blocks)?;
        Ok(instr.after(After { block: BlockId(block), step }))
    }

    fn conn(&self, conn: u32) -> Result<ConnId, JsonError> {
        below("a connection", conn, self.connections).map(ConnId)
    }
}

/// Checks that `value` names one of `count`.
fn below(what: &'static str, value: u32, count: u64) -> Result<u32, JsonError> {
    match count.checked_sub(1) {
        Some(last) => within(what, value, last),
        None => Err(JsonError::OutOfRange { what, value: value.into(), limit: 0 }),
    }
}

fn chunk((space, index): ChunkForm) -> Result<Chunk, JsonError> {
    let index = below("a chunk", index, Chunk::MAX_INDEX.into())?;
    Ok(match space {
        SpaceForm::Input => Chunk::input(index),
        SpaceForm::Output => Chunk::output(index),
        SpaceForm::Scratch => Chunk::scratch(index),
    })
}
