//! Owns the abstract run of a plan: every block advances as far as it can, until all have finished
//! or none can go on.
//!
//! Each connection end belongs to one block and each wait names one event, so an instruction that
//! can run stays able to run whatever the others do. All orders therefore execute the same
//! instructions on the same data, and this one decides for every interleaving.
//!
//! Depth is found on the way: the run starts with no slots, and whenever nobody can go on while
//! somebody waits only for a slot, every connection gets one more. What was executed so far would
//! have been executed with that slot from the start, so the last depth is the least that suffices. The run
//! therefore goes on beyond the depth that there is: what fails for want of slots is told apart from what
//! stands still at every depth, with how many it needs.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::plan::{BlockId, ConnId, Instr, Plan};
use crate::reject::{Event, Reject, Site, Wait, WaitFor};
use crate::structure::Structure;

/// Slots up to which it is found out how many are needed where there are fewer: each may take a turn of all blocks.
const DEEPEST: u32 = 4096;

/// What instructions do, as far as somebody is interested in it.
pub(crate) trait Meaning {
    /// What a message carries.
    type Message;

    /// Executes `instr`, with the message from its receive port; the result is sent if it has a
    /// send port.
    fn execute(
        &mut self,
        event: Event,
        instr: &Instr,
        received: Option<Self::Message>,
    ) -> Result<Self::Message, Reject>;

    /// Opens the place of `receive`, which is yet to be executed as `event`; `by` opens it.
    fn open(&mut self, by: Event, receive: &Instr, event: Event) -> Result<(), Reject> {
        _ = (by, receive, event);
        Ok(())
    }
}

/// Runs `windows` repetitions of `plan`, and returns the number of slots that each connection
/// needs.
///
/// An instruction that receives holds the message's slot until it completes, and one that sends
/// needs a free slot before it starts.
///
/// # Errors
/// [`Reject::Slots`] when more than `slot_limit` slots are needed, [`Reject::Deadlock`] when no depth suffices,
/// and whatever `meaning` finds.
pub(crate) fn walk<M: Meaning>(
    plan: &Plan,
    structure: &Structure,
    windows: u64,
    slot_limit: u32,
    meaning: &mut M,
) -> Result<u32, Reject> {
    let mut walk = Walk::new(plan, structure, windows, meaning);
    let mut short = None;
    loop {
        while let Some(block) = walk.ready.pop_front() {
            walk.advance(block)?;
        }
        if walk.waits.iter().all(Option::is_none) {
            return match short {
                None => Ok(walk.slots),
                Some(waits) => Err(Reject::Slots { needed: walk.slots, there: slot_limit, waits }),
            };
        }
        if walk.slots >= slot_limit && short.is_none() {
            short = Some(walk.waits_for_slots());
        }
        if walk.slots >= slot_limit.max(DEEPEST) || !walk.deepen() {
            return Err(walk.deadlock(slot_limit));
        }
    }
}

struct Walk<'a, M: Meaning> {
    plan: &'a Plan,
    structure: &'a Structure,
    windows: u64,
    meaning: &'a mut M,
    slots: u32,
    /// Instructions completed, over all windows, of each block.
    completed: Vec<u64>,
    queues: Vec<VecDeque<M::Message>>,
    ready: VecDeque<usize>,
    /// Why each block cannot go on; none for those ready or finished.
    waits: Vec<Option<WaitFor>>,
    /// The blocks that wait for a step of each block.
    followers: Vec<Vec<usize>>,
}

impl<'a, M: Meaning> Walk<'a, M> {
    fn new(plan: &'a Plan, structure: &'a Structure, windows: u64, meaning: &'a mut M) -> Self {
        let blocks = plan.blocks.len();
        Self {
            plan,
            structure,
            windows,
            meaning,
            slots: 0,
            completed: alloc::vec![0; blocks],
            queues: plan.connections.iter().map(|_| VecDeque::new()).collect(),
            ready: (0..blocks).collect(),
            waits: alloc::vec![None; blocks],
            followers: alloc::vec![Vec::new(); blocks],
        }
    }

    fn event(&self, block: usize) -> Option<(Event, &'a Instr)> {
        let instrs = &self.plan.blocks[block].instrs;
        let length = instrs.len() as u64;
        if self.completed[block] >= length * self.windows {
            return None;
        }
        let step = (self.completed[block] % length) as u32;
        let rank = self.plan.blocks[block].rank;
        let site = Site { rank, block: BlockId(block as u32), step };
        Some((Event { site, window: self.completed[block] / length }, &instrs[step as usize]))
    }

    fn advance(&mut self, block: usize) -> Result<(), Reject> {
        while let Some((event, instr)) = self.event(block) {
            if let Some(wait) = self.obstacle(event, instr) {
                if let WaitFor::Step(after) = wait {
                    self.followers[after.block.0 as usize].push(block);
                }
                self.waits[block] = Some(wait);
                break;
            }
            self.execute(block, event, instr)?;
        }
        Ok(())
    }

    fn obstacle(&self, event: Event, instr: &Instr) -> Option<WaitFor> {
        if let Some(after) = instr.after_port() {
            let block = after.block.0 as usize;
            let length = self.plan.blocks[block].instrs.len() as u64;
            if self.completed[block] <= event.window * length + u64::from(after.step) {
                return Some(WaitFor::Step(after));
            }
        }
        if let Some(conn) = instr.recv_port()
            && self.queues[conn.0 as usize].is_empty()
        {
            return Some(WaitFor::Message(conn));
        }
        if let Some(conn) = instr.send_port()
            && self.queues[conn.0 as usize].len() >= self.slots as usize
        {
            return Some(WaitFor::Slot(conn));
        }
        None
    }

    fn execute(&mut self, block: usize, event: Event, instr: &Instr) -> Result<(), Reject> {
        if self.completed[block] == 0 {
            self.begin(block, event)?;
        }
        if let Some(&step) = self.structure.opens.get(&(event.site.block, event.site.step)) {
            return self.open(block, event, instr, step);
        }
        let from = instr.recv_port();
        let received = from.and_then(|ConnId(conn)| self.queues[conn as usize].pop_front());
        let value = self.meaning.execute(event, instr, received)?;
        self.completed[block] += 1;
        if let Some(conn) = from {
            self.wake(self.structure.sender(conn), WaitFor::Slot(conn));
        }
        if let Some(conn) = instr.send_port() {
            self.queues[conn.0 as usize].push_back(value);
            self.wake(self.structure.receiver(conn), WaitFor::Message(conn));
        }
        for follower in core::mem::take(&mut self.followers[block]) {
            self.waits[follower] = None;
            self.ready.push_back(follower);
        }
        Ok(())
    }

    /// Opens what the window before opens in later windows.
    fn begin(&mut self, block: usize, event: Event) -> Result<(), Reject> {
        for (instr, step) in self.plan.blocks[block].instrs.iter().zip(0..) {
            if instr.is_granted() && instr.is_ahead() {
                let site = Site { step, ..event.site };
                self.meaning.open(event, instr, Event { site, window: 0 })?;
            }
        }
        Ok(())
    }

    fn open(&mut self, block: usize, event: Event, instr: &Instr, step: u32) -> Result<(), Reject> {
        let window = event.window + u64::from(instr.is_ahead());
        if window < self.windows {
            let receive = &self.plan.blocks[block].instrs[step as usize];
            let site = Site { step, ..event.site };
            self.meaning.open(event, receive, Event { site, window })?;
        }
        self.meaning.execute(event, instr, None)?;
        self.completed[block] += 1;
        for follower in core::mem::take(&mut self.followers[block]) {
            self.waits[follower] = None;
            self.ready.push_back(follower);
        }
        Ok(())
    }

    fn wake(&mut self, BlockId(block): BlockId, waiting_for: WaitFor) {
        if self.waits[block as usize] == Some(waiting_for) {
            self.waits[block as usize] = None;
            self.ready.push_back(block as usize);
        }
    }

    /// Adds a slot to every connection; false when nobody waits for one.
    fn deepen(&mut self) -> bool {
        self.slots += 1;
        for (block, wait) in self.waits.iter_mut().enumerate() {
            if matches!(wait, Some(WaitFor::Slot(_))) {
                *wait = None;
                self.ready.push_back(block);
            }
        }
        !self.ready.is_empty()
    }

    /// What stands still when nobody waits for a slot stands still at every depth, `slots` too.
    #[cold]
    fn deadlock(&self, slots: u32) -> Reject {
        Reject::Deadlock { slots, waits: self.all_waits().collect() }
    }

    #[cold]
    fn waits_for_slots(&self) -> Vec<Wait> {
        self.all_waits().filter(|wait| matches!(wait.wait_for, WaitFor::Slot(_))).collect()
    }

    fn all_waits(&self) -> impl Iterator<Item = Wait> {
        self.waits.iter().enumerate().filter_map(|(block, wait)| {
            let (event, _) = self.event(block)?;
            Some(Wait { event, wait_for: (*wait)? })
        })
    }
}
