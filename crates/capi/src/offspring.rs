//! Owns the communicators that are made of others: split by color, shrunk to those that are left.

use std::ffi::c_int;
use std::sync::Arc;

use crate::communicator::{COMMUNICATORS, Comm};
use crate::config::{Config, Given};
use crate::errors::{Answer, Code, Refusal};
use crate::group::{self, Item};
use crate::handles::Handle;
use crate::pointer::{In, Out};

/// The color of ranks that get no communicator.
const NO_COLOR: c_int = -1;

/// `ncclCommSplit`.
pub fn split(
    parent: Handle,
    color: c_int,
    key: c_int,
    out: &Out<Handle>,
    config: &Given,
) -> Answer<Code> {
    let parent = COMMUNICATORS.find(parent)?;
    out.check("newcomm")?;
    let config = Config::read(config, parent.config)?;
    let key = i64::from(key);
    if color == NO_COLOR {
        out.put("newcomm", Handle::NULL)?;
        return group::ask(parent, Item::Split { color: None, key, child: None });
    }
    let number = u32::try_from(color).map_err(|_| {
        Refusal::argument(format!("{color} is no color; NCCL_SPLIT_NOCOLOR is {NO_COLOR}"))
    })?;
    let child = Comm::new(config, None, parent.device);
    let item = Item::Split { color: Some(number), key, child: Some(Arc::clone(&child)) };
    group::make(parent, item, &child, out)
}

/// Ends the parent's calls first.
const ABORT: c_int = 1;

/// `ncclCommShrink`.
pub fn shrink(
    parent: Handle,
    (excluded, count): (&In<c_int>, c_int),
    out: &Out<Handle>,
    config: &Given,
    flags: c_int,
) -> Answer<Code> {
    let parent = COMMUNICATORS.find(parent)?;
    out.check("newcomm")?;
    let config = Config::read(config, parent.config)?;
    if !(0..=ABORT).contains(&flags) {
        return Err(Refusal::argument(format!("{flags} are no flags of ncclCommShrink")));
    }
    let excluded = ranks(excluded, count)?;
    if flags & ABORT != 0 {
        parent.interrupt("its program called ncclCommShrink with NCCL_SHRINK_ABORT");
    }
    let child = Comm::new(config, None, parent.device);
    group::make(parent, Item::Shrink { excluded, child: Arc::clone(&child) }, &child, out)
}

fn ranks(list: &In<c_int>, count: c_int) -> Answer<Vec<u32>> {
    let wrong = |what: String| Refusal::argument(format!("the ranks to exclude: {what}"));
    let count = usize::try_from(count).map_err(|_| wrong(format!("{count} of them")))?;
    if count == 0 {
        return Err(wrong("there are none".to_owned()));
    }
    let list = list.array(count).ok_or_else(|| wrong("the list is the null pointer".to_owned()))?;
    let number = |rank: c_int| u32::try_from(rank).map_err(|_| wrong(format!("{rank} is no rank")));
    let ranks = list.into_iter().map(number).collect::<Answer<Vec<u32>>>()?;
    let twice = (1..ranks.len()).find(|&at| ranks[..at].contains(&ranks[at]));
    match twice {
        Some(at) => Err(wrong(format!("rank {} is named twice", ranks[at]))),
        None => Ok(ranks),
    }
}
