//! Owns the laws of grants: which receive each one opens, and that receives are opened in their order.
//!
//! A transport takes the receives of a connection in order, so grants come in the order of their receives,
//! and at most [`MOST_OPEN`] receives of a connection are open. A block repeats in every window; receives
//! that the window before opens are opened at the block's start in the first.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::plan::{Block, BlockId, ConnId, Instr};
use crate::reject::{Reject, Site};

/// Receives of one connection that may be open: granted, or reached, and not complete.
pub const MOST_OPEN: usize = 8;

/// The receive that each grant of a block opens: steps.
pub(crate) type Opens = BTreeMap<(BlockId, u32), u32>;

/// Of one connection, in one block.
#[derive(Default)]
struct Line<'a> {
    /// Its receives in a window.
    receives: Vec<(u32, &'a Instr)>,
    opened: usize,
    received: usize,
}

/// Adds to `opens` what the grants of `block` open.
pub(crate) fn check(id: BlockId, block: &Block, opens: &mut Opens) -> Result<(), Reject> {
    if !block.instrs.iter().any(|instr| instr.is_grant() || instr.is_granted()) {
        return Ok(());
    }
    let bad = |step| Reject::BadGrant {
        at: Site { rank: block.rank, block: id, step },
        limit: MOST_OPEN,
    };
    let mut lines: BTreeMap<ConnId, Line<'_>> = BTreeMap::new();
    for (instr, step) in block.instrs.iter().zip(0..) {
        match instr.recv_port() {
            Some(conn) => lines.entry(conn).or_default().receives.push((step, instr)),
            None if instr.is_granted() => return Err(bad(step)),
            None => {}
        }
    }
    for line in lines.values_mut() {
        let is_ahead = |(_, instr): &&(u32, &Instr)| instr.is_granted() && instr.is_ahead();
        line.opened = line.receives.iter().take_while(is_ahead).count();
        if let Some(&(step, _)) = line.receives.iter().skip(line.opened).find(is_ahead_ref) {
            return Err(bad(step));
        }
        if line.opened > MOST_OPEN {
            return Err(bad(line.receives[0].0));
        }
    }
    // All windows are alike if the second begins as the first.
    let begins: Vec<usize> = lines.values().map(|line| line.opened).collect();
    for (instr, step) in block.instrs.iter().zip(0..) {
        if let Some(receive) = instr.granted_port() {
            let conn = receive.recv_port().ok_or_else(|| bad(step))?;
            let line = lines.get_mut(&conn).ok_or_else(|| bad(step))?;
            let opened = line.open(instr, &receive).ok_or_else(|| bad(step))?;
            opens.insert((id, step), opened);
        } else if let Some(conn) = instr.recv_port() {
            let line = lines.entry(conn).or_default();
            line.receive(instr).ok_or_else(|| bad(step))?;
        }
    }
    for (line, begin) in lines.values().zip(begins) {
        if line.opened - line.received != begin {
            return Err(bad(line.receives[0].0));
        }
    }
    Ok(())
}

fn is_ahead_ref((_, instr): &&(u32, &Instr)) -> bool {
    instr.is_granted() && instr.is_ahead()
}

impl Line<'_> {
    /// The step of the receive that `grant` opens.
    fn open(&mut self, grant: &Instr, receive: &Instr) -> Option<u32> {
        let count = self.receives.len();
        let (window, index) = (self.opened / count, self.opened % count);
        let (step, opened) = self.receives[index];
        let fits = opened.is_granted()
            && opened.is_ahead() == grant.is_ahead()
            && window == usize::from(grant.is_ahead())
            && opened.as_granted() == *receive;
        self.opened += 1;
        (fits && self.opened - self.received <= MOST_OPEN).then_some(step)
    }

    /// Takes the next receive, which opens its own place if it is to.
    fn receive(&mut self, instr: &Instr) -> Option<()> {
        if !instr.is_granted() {
            let in_order = self.opened == self.received;
            self.opened += 1;
            self.received += 1;
            return in_order.then_some(());
        }
        self.received += 1;
        (self.opened >= self.received).then_some(())
    }
}
