//! One interleaving of a plan, where instructions take time: an own account of what plans mean,
//! written without the verifier.

use std::collections::{BTreeMap, VecDeque};

use crosstie_ir::{Chunk, Collective, ConnId, Event, Instr, Plan, Rank, Space};

use crate::random::{Random, mixed};

#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub slots: usize,
    pub in_place: bool,
    /// Whether what is sent from memory is read where it lies, when its receiver gets to it.
    pub lends: bool,
}

/// What an interleaving did to a plan.
#[derive(Debug, PartialEq, Eq)]
pub enum Break {
    Deadlock,
    WrongResult {
        rank: u32,
        index: u32,
        slice: u16,
        window: u64,
    },
    /// Two instructions used the same memory at the same time, and one of them wrote to it.
    Overlap {
        blocks: (usize, usize),
    },
}

/// Who goes first.
pub struct Schedule {
    /// Executions (block, number) that start only when nothing else can go on.
    held: Vec<(usize, u64)>,
    /// Blocks by urgency; without it, any goes.
    urgency: Option<Vec<u64>>,
    /// Whether instructions start whenever they can, before others complete.
    eager: bool,
}

impl Schedule {
    pub fn random(plan: &Plan, random: &mut Random) -> Self {
        let urgency: Vec<u64> = plan.blocks.iter().map(|_| random.next()).collect();
        let by_urgency = random.chance(2);
        let eager = random.chance(2);
        Self { held: Vec::new(), urgency: by_urgency.then_some(urgency), eager }
    }

    /// Brings `events` to their start, and then starts them all before any completes.
    pub fn holding(plan: &Plan, events: &[Event]) -> Self {
        let execution = |event: &Event| {
            let block = event.site.block.0 as usize;
            let length = plan.blocks[block].instrs.len() as u64;
            (block, event.window * length + u64::from(event.site.step))
        };
        Self { held: events.iter().map(execution).collect(), urgency: None, eager: true }
    }
}

/// A number, and a trace of the order in which it was reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    sum: u64,
    bits: u64,
}

impl Value {
    /// The value that `words` name: an input, or what lay in memory before.
    fn named(words: &[u64]) -> Self {
        let sum = words.iter().fold(1, |hash, &word| mixed(hash ^ word));
        Self { sum, bits: mixed(sum) }
    }

    /// The end of a reduction: another value, whatever it was.
    fn finished(self) -> Self {
        let finish = |word: u64| mixed(word ^ 0x66_696e_6973_6865);
        Self { sum: finish(self.sum), bits: finish(self.bits) }
    }

    /// Commutes in both parts; associates in `sum` alone.
    fn reduced(self, other: Self) -> Self {
        Self {
            sum: self.sum.wrapping_add(other.sum),
            bits: mixed(self.bits.wrapping_add(other.bits)),
        }
    }
}

type Place = (u32, Space, u32, u16, u64);

/// What a message carries: a value, or the place where it lies.
#[derive(Debug, Clone, Copy)]
enum Message {
    Copied(Value),
    Lent(Place),
}

struct World<'a> {
    plan: &'a Plan,
    setting: Setting,
    memory: BTreeMap<Place, Value>,
    completed: Vec<u64>,
    /// The value of the instruction that each block is in the middle of.
    running: Vec<Option<Value>>,
    queues: Vec<VecDeque<Message>>,
    /// Slots of each connection that are filled, being filled or being emptied.
    occupied: Vec<usize>,
    /// Of each block, the receives whose places are open, oldest first: where each lands, if in memory.
    open: Vec<VecDeque<(ConnId, Option<Place>)>>,
    windows: u64,
}

/// Runs `plan` once. Returns whether all ranks that want the same have the same bits.
pub fn run(
    plan: &Plan,
    setting: Setting,
    mut schedule: Schedule,
    random: &mut Random,
) -> Result<bool, Break> {
    let connections = plan.connections.len();
    let mut instrs = plan.blocks.iter().flat_map(|block| &block.instrs);
    let windows = if instrs.any(Instr::is_ahead) { 3 } else { 2 };
    let mut world = World {
        plan,
        setting,
        memory: BTreeMap::new(),
        completed: vec![0; plan.blocks.len()],
        running: vec![None; plan.blocks.len()],
        queues: vec![VecDeque::new(); connections],
        occupied: vec![0; connections],
        open: vec![VecDeque::new(); plan.blocks.len()],
        windows,
    };
    while let Some(block) = world.choose(&mut schedule, random) {
        match world.running[block].take() {
            Some(value) => world.complete(block, value),
            None => world.start(block)?,
        }
    }
    world.outcome()
}

impl<'a> World<'a> {
    fn instr(&self, block: usize) -> Option<(&'a Instr, u64)> {
        let instrs = &self.plan.blocks[block].instrs;
        let length = instrs.len() as u64;
        let done = self.completed[block];
        (done < length * self.windows).then(|| (&instrs[(done % length) as usize], done / length))
    }

    /// The next block to start or complete an instruction; none when nothing can go on.
    fn choose(&self, schedule: &mut Schedule, random: &mut Random) -> Option<usize> {
        let can: Vec<usize> = (0..self.completed.len())
            .filter(|&block| self.running[block].is_some() || self.can_start(block))
            .collect();
        let is_held = |block: &usize| schedule.held.contains(&(*block, self.completed[*block]));
        let mut open: Vec<usize> = can.iter().copied().filter(|block| !is_held(block)).collect();
        if open.is_empty() {
            schedule.held.clear();
            open = can;
        }
        if schedule.eager && open.iter().any(|&block| self.running[block].is_none()) {
            open.retain(|&block| self.running[block].is_none());
        }
        match &schedule.urgency {
            _ if open.is_empty() => None,
            Some(urgency) => open.into_iter().max_by_key(|&block| urgency[block]),
            None => Some(*random.pick(&open)),
        }
    }

    fn can_start(&self, block: usize) -> bool {
        let Some((instr, window)) = self.instr(block) else { return false };
        let after = instr.after_port().is_none_or(|after| {
            let block = after.block.0 as usize;
            let length = self.plan.blocks[block].instrs.len() as u64;
            self.completed[block] > window * length + u64::from(after.step)
        });
        let message =
            instr.recv_port().is_none_or(|ConnId(conn)| !self.queues[conn as usize].is_empty());
        let room = instr
            .send_port()
            .is_none_or(|ConnId(conn)| self.occupied[conn as usize] < self.setting.slots);
        after && message && room
    }

    fn place(&self, block: usize, chunk: Chunk) -> Place {
        let rank = self.plan.blocks[block].rank;
        let (instr, window) = self.instr(block).expect("the block has not finished");
        self.place_of(rank, chunk, instr.slice(), window)
    }

    fn place_of(&self, rank: Rank, chunk: Chunk, slice: u16, window: u64) -> Place {
        let Rank(number) = rank;
        let Chunk { space, index } = chunk;
        match space {
            Space::Scratch => (number, space, index, slice, 0),
            Space::Output if self.setting.in_place => {
                match self.plan.collective.in_place_alias(rank, index) {
                    Some(input) => (number, Space::Input, input, slice, window),
                    None => (number, space, index, slice, window),
                }
            }
            Space::Input | Space::Output => (number, space, index, slice, window),
        }
    }

    fn read(&self, place: Place) -> Value {
        let (rank, space, index, slice, window) = place;
        let words = [rank.into(), space as u64, index.into(), slice.into(), window];
        self.memory.get(&place).copied().unwrap_or_else(|| Value::named(&words))
    }

    fn start(&mut self, block: usize) -> Result<(), Break> {
        let (instr, window) = self.instr(block).expect("the block has not finished");
        if self.completed[block] == 0 {
            let first = self.plan.blocks[block].instrs.iter();
            for instr in first.filter(|instr| instr.is_granted() && instr.is_ahead()) {
                self.open(block, instr, 0)?;
            }
        }
        if let Some(receive) = instr.granted_port() {
            self.open(block, &receive, window + u64::from(instr.is_ahead()))?;
            self.running[block] = Some(Value { sum: 0, bits: 0 });
            return Ok(());
        }
        if instr.is_wait() {
            self.running[block] = Some(Value { sum: 0, bits: 0 });
            return Ok(());
        }
        if instr.is_granted() {
            let conn = instr.recv_port();
            let mine = self.open[block].iter().position(|(of, _)| Some(*of) == conn);
            mine.and_then(|at| self.open[block].remove(at));
        }
        self.check_overlap(block, instr)?;
        let received = instr.recv_port().map(|ConnId(conn)| match self.queues[conn as usize][0] {
            Message::Copied(value) => value,
            Message::Lent(place) => self.read(place),
        });
        let operand = instr.dst_port().filter(|_| instr.accumulates());
        let read = |chunk| self.read(self.place(block, chunk));
        let values = [received, operand.map(read), instr.src_port().map(read)];
        let value = values.into_iter().flatten().reduce(Value::reduced);
        let value = value.expect("every instruction has a value");
        let value = if instr.finishes() { value.finished() } else { value };
        if let Some(ConnId(conn)) = instr.send_port() {
            self.occupied[conn as usize] += 1;
        }
        self.running[block] = Some(value);
        Ok(())
    }

    /// From now on the message of a receive may land.
    fn open(&mut self, block: usize, receive: &Instr, window: u64) -> Result<(), Break> {
        if window >= self.windows {
            return Ok(());
        }
        let rank = self.plan.blocks[block].rank;
        let dst = receive.dst_port().filter(|_| receive.src_port().is_none());
        let place = dst.map(|chunk| self.place_of(rank, chunk, receive.slice(), window));
        let lands = |of: &Place| Some(*of) == place;
        for other in 0..self.running.len() {
            let open = self.open[other].iter().filter_map(|(_, place)| *place);
            let running = self.running[other].is_some();
            let running = running.then(|| self.instr(other).expect("it is in the middle of it").0);
            let used = running.map(|instr| self.uses(other, instr));
            let used = used.into_iter().flatten().flatten().map(|(place, _)| place);
            if open.chain(used).any(|of| lands(&of)) {
                return Err(Break::Overlap { blocks: (other, block) });
            }
        }
        let conn = receive.recv_port().expect("a receive");
        self.open[block].push_back((conn, place));
        Ok(())
    }

    fn check_overlap(&self, block: usize, instr: &Instr) -> Result<(), Break> {
        let mine = self.uses(block, instr);
        for (other, open) in self.open.iter().enumerate() {
            let lands = |of: Place| open.iter().any(|(_, place)| *place == Some(of));
            if mine.iter().flatten().any(|&(place, _)| lands(place)) {
                return Err(Break::Overlap { blocks: (other, block) });
            }
        }
        for other in (0..self.running.len()).filter(|&other| self.running[other].is_some()) {
            let (instr, _) = self.instr(other).expect("it is in the middle of it");
            for (place, writes) in self.uses(other, instr).into_iter().flatten() {
                let conflict = |&(my_place, i_write)| my_place == place && (writes || i_write);
                if mine.iter().flatten().any(conflict) {
                    return Err(Break::Overlap { blocks: (other, block) });
                }
            }
        }
        Ok(())
    }

    /// The places that an instruction uses, and whether it writes there.
    fn uses(&self, block: usize, instr: &Instr) -> [Option<(Place, bool)>; 3] {
        let place = |port: Option<Chunk>, writes| port.map(|c| (self.place(block, c), writes));
        let lent = instr.recv_port().and_then(|ConnId(conn)| self.queues[conn as usize].front());
        let borrowed = match lent {
            Some(Message::Lent(place)) => Some((*place, false)),
            _ => None,
        };
        [place(instr.src_port(), false), place(instr.dst_port(), true), borrowed]
    }

    /// What the message of an instruction with this value carries: what was written is lent, or
    /// what is only sent, unless it lies in scratch or the instruction forbids it.
    fn message(&self, block: usize, instr: &Instr, value: Value) -> Message {
        let as_it_is = instr.recv_port().is_none() && !instr.finishes();
        let only_sent = instr.src_port().filter(|_| as_it_is);
        let lent = instr.dst_port().or(only_sent);
        let lent = lent.filter(|chunk| chunk.space != Space::Scratch);
        match lent {
            Some(chunk) if self.setting.lends && !instr.is_copied() => {
                Message::Lent(self.place(block, chunk))
            }
            _ => Message::Copied(value),
        }
    }

    fn complete(&mut self, block: usize, value: Value) {
        let (instr, _) = self.instr(block).expect("it was in the middle of it");
        if let Some(chunk) = instr.dst_port() {
            self.memory.insert(self.place(block, chunk), value);
        }
        if let Some(ConnId(conn)) = instr.recv_port() {
            self.queues[conn as usize].pop_front();
            self.occupied[conn as usize] -= 1;
        }
        if let Some(ConnId(conn)) = instr.send_port() {
            let message = self.message(block, instr, value);
            self.queues[conn as usize].push_back(message);
        }
        self.completed[block] += 1;
    }

    fn outcome(&self) -> Result<bool, Break> {
        if (0..self.completed.len()).any(|block| self.instr(block).is_some()) {
            return Err(Break::Deadlock);
        }
        let plan = self.plan;
        let slices = plan.blocks.iter().flat_map(|b| &b.instrs).map(Instr::slices).next();
        let mut agree = true;
        let mut first: BTreeMap<_, u64> = BTreeMap::new();
        for rank in 0..plan.ranks {
            for index in 0..plan.output_chunks(Rank(rank)) {
                for (slice, window) in
                    (0..slices.unwrap_or(1)).flat_map(|s| (0..self.windows).map(move |w| (s, w)))
                {
                    let found = self.place_of(Rank(rank), Chunk::output(index), slice, window);
                    let found = self.read(found);
                    if found.sum != self.wanted(rank, index, slice, window) {
                        return Err(Break::WrongResult { rank, index, slice, window });
                    }
                    agree &= *first.entry(found.sum).or_insert(found.bits) == found.bits;
                }
            }
        }
        Ok(agree)
    }

    /// What an output is to hold, from the definition of each collective.
    fn wanted(&self, rank: u32, index: u32, slice: u16, window: u64) -> u64 {
        let input = |rank: u32, index: u32| {
            let words = [rank.into(), Space::Input as u64, index.into(), slice.into(), window];
            Value::named(&words).sum
        };
        let sum = |index| {
            let sum = (0..self.plan.ranks).map(|r| input(r, index)).fold(0, u64::wrapping_add);
            Value { sum, bits: 0 }.finished().sum
        };
        match self.plan.collective {
            Collective::AllReduce | Collective::Barrier | Collective::Reduce { .. } => sum(index),
            Collective::ReduceScatter => sum(rank),
            Collective::AllGather | Collective::Gather { .. } => input(index, 0),
            Collective::AllToAll => input(index, rank),
            Collective::Broadcast { root } => input(root.0, index),
            Collective::Scatter { root } => input(root.0, rank),
            Collective::SendRecv => unreachable!("a group has no definition of its own"),
        }
    }
}
