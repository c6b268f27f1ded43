//! Owns groups: what a thread asks for between `ncclGroupStart` and `ncclGroupEnd`, and its run.
//!
//! 1. Of each communicator first what makes others of it, then its collectives in their order, then all
//!    its messages at once. So it does not matter in what order ranks ask for collectives and messages.
//! 2. Communicators wait for none of each other: one thread may drive several ranks.
//! 3. A call outside of groups is a group of one.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use crate::call::{Asked, Call, Message, exchange};
use crate::communicator::{COMMUNICATORS, Comm, UnderWay};
use crate::errors::{Answer, Code, Refusal, caught};
use crate::handles::Handle;
use crate::init::{self, Way};
use crate::pointer::Out;

/// What a communicator is asked for.
pub enum Item {
    Connect(Box<Way>),
    Split { color: Option<u32>, key: i64, child: Option<Arc<Comm>> },
    Shrink { excluded: Vec<u32>, child: Arc<Comm> },
    Finalize,
    Call(Call),
}

/// What was asked for, of whom, in order.
type Items = Vec<(Arc<Comm>, Item)>;

#[derive(Default)]
struct Open {
    depth: usize,
    wrong: Option<Refusal>,
    items: Items,
}

thread_local! {
    static OPEN: RefCell<Open> = RefCell::default();
}

/// The group of this thread. One that is ending has none any more: destructors and exit handlers find none open.
fn with_open<T>(body: impl FnOnce(&mut Open) -> T) -> T {
    match OPEN.try_with(|_| ()) {
        Ok(()) => OPEN.with_borrow_mut(body),
        Err(_) => body(&mut Open::default()),
    }
}

/// Opens a group, or one within it.
pub fn start() -> Answer {
    with_open(|open| open.depth += 1);
    match is_open() {
        true => Ok(()),
        false => Err(Refusal::usage("no group can be opened while its thread ends")),
    }
}

pub fn is_open() -> bool {
    with_open(|open| open.depth > 0)
}

/// Whether the group that is open has asked this communicator for something.
pub fn holds(comm: &Arc<Comm>) -> bool {
    with_open(|open| open.items.iter().any(|(other, _)| Arc::ptr_eq(other, comm)))
}

/// Ends a group; the outermost is carried out, unless something in it was refused.
pub fn end() -> Answer<Code> {
    match close()? {
        Some(items) => run(items),
        None => Ok(Code::Success),
    }
}

/// Ends a group, of which nothing is carried out.
pub fn give_up() -> Answer {
    let items = close()?;
    let why = Refusal::usage("its group was given up");
    items.into_iter().flatten().for_each(|(comm, item)| item.refuse(&comm, &why));
    Ok(())
}

/// What the group asked for, where the outermost ends.
fn close() -> Answer<Option<Items>> {
    let open = with_open(|open| match open.depth {
        0 => Err(Refusal::usage("no group is open: ncclGroupStart was not called before")),
        1 => Ok(Some(std::mem::take(open))),
        _ => {
            open.depth -= 1;
            Ok(None)
        }
    });
    let Some(Open { wrong, items, .. }) = open? else { return Ok(None) };
    match wrong {
        Some(wrong) => {
            items.into_iter().for_each(|(comm, item)| item.refuse(&comm, &wrong));
            Err(wrong)
        }
        None => Ok(Some(items)),
    }
}

/// Has the group that is open know that something in it was refused, so that its end tells it too.
pub fn checked(body: impl FnOnce() -> Answer<Code>) -> Answer<Code> {
    body().inspect_err(|refusal| {
        with_open(|open| {
            if open.depth > 0 {
                open.wrong.get_or_insert_with(|| refusal.clone());
            }
        });
    })
}

/// Carries `call` out, now or at the end of the group that is open.
pub fn call(comm: Arc<Comm>, call: Call) -> Answer<Code> {
    if comm.config.blocking && !is_open() {
        return call.run(&comm).map(|()| Code::Success);
    }
    ask(comm, Item::Call(call))
}

/// The same, of anything.
pub fn ask(comm: Arc<Comm>, item: Item) -> Answer<Code> {
    let kept = with_open(|open| {
        if open.depth == 0 {
            return Some((comm, item));
        }
        open.items.push((comm, item));
        None
    });
    kept.map_or(Ok(Code::Success), |only| run(vec![only]))
}

/// Asks `comm` for something that makes `made`, whose handle goes to `out`: at once where the program
/// does not wait, else when it is there.
pub fn make(comm: Arc<Comm>, item: Item, made: &Arc<Comm>, out: &Out<Handle>) -> Answer<Code> {
    if is_open() || !made.config.blocking {
        out.put("newcomm", COMMUNICATORS.insert(Arc::clone(made)))?;
        return ask(comm, item);
    }
    out.put("newcomm", Handle::NULL)?;
    let code = ask(comm, item)?;
    out.put("newcomm", COMMUNICATORS.insert(Arc::clone(made)))?;
    Ok(code)
}

/// What one communicator is asked for, in the order in which it is done.
struct Batch {
    comm: Arc<Comm>,
    making: Vec<Item>,
    collectives: Vec<Asked>,
    messages: Vec<Message>,
    leaves: bool,
}

impl Item {
    /// The communicator that comes of it.
    fn made<'a>(&'a self, comm: &'a Arc<Comm>) -> Option<&'a Arc<Comm>> {
        match self {
            Self::Connect(_) => Some(comm),
            Self::Split { child, .. } => child.as_ref(),
            Self::Shrink { child, .. } => Some(child),
            Self::Finalize | Self::Call(_) => None,
        }
    }

    /// Nothing comes of it.
    fn refuse(&self, comm: &Arc<Comm>, why: &Refusal) {
        if let Some(made) = self.made(comm) {
            made.fail(why);
        }
    }

    fn make(&self, comm: &Comm) -> Answer {
        match self {
            Self::Connect(way) => init::connect(comm, way),
            Self::Split { color, key, child } => {
                let split = comm.with(|communicator| communicator.split(*color, *key))?;
                if let (Some(split), Some(child)) = (split, child) {
                    child.join(split);
                }
                Ok(())
            }
            Self::Shrink { excluded, child } => {
                child.join(comm.with(|communicator| communicator.shrink(excluded))?);
                comm.has_shrunk();
                Ok(())
            }
            Self::Finalize | Self::Call(_) => Ok(()),
        }
    }
}

impl Batch {
    fn new(comm: Arc<Comm>) -> Self {
        let (making, collectives, messages) = (Vec::new(), Vec::new(), Vec::new());
        Self { comm, making, collectives, messages, leaves: false }
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Call(Call::Collective(asked)) => self.collectives.push(asked),
            Item::Call(Call::Message(message)) => self.messages.push(message),
            Item::Finalize => self.leaves = true,
            making => self.making.push(making),
        }
    }

    /// Whether its end is waited for.
    fn is_awaited(&self) -> bool {
        let made = self.making.iter().filter_map(|item| item.made(&self.comm));
        let mut made = made.peekable();
        match made.peek() {
            Some(_) => made.any(|made| made.config.blocking),
            None => self.comm.config.blocking,
        }
    }

    fn run(&self) -> Answer {
        for item in &self.making {
            let made = caught(|| item.make(&self.comm));
            made.inspect_err(|refusal| item.refuse(&self.comm, refusal))?;
        }
        for asked in &self.collectives {
            asked.run(&self.comm)?;
        }
        if !self.messages.is_empty() {
            exchange(&self.messages, &self.comm)?;
        }
        if self.leaves { self.comm.finalize() } else { Ok(()) }
    }

    /// Has it carried out by its communicator's thread; the answer comes where it is awaited.
    fn submit(self) -> Answer<Option<Receiver<Answer>>> {
        let (answer, answers) = mpsc::channel();
        let awaited = self.is_awaited();
        let comm = Arc::clone(&self.comm);
        let made = self.making.iter().filter_map(|item| item.made(&comm));
        comm.forget_refusal();
        let mut under_way: Vec<UnderWay> = made.map(Comm::begin).collect();
        under_way.push(comm.begin());
        let job = move || {
            let result = caught(|| self.run());
            if let (Err(refusal), false) = (&result, awaited) {
                self.comm.note(refusal);
            }
            drop(under_way);
            // Nobody listens where nobody waits.
            let _ = answer.send(result);
        };
        comm.worker.submit(Box::new(job))?;
        Ok(awaited.then_some(answers))
    }
}

/// Carries out what was asked for.
fn run(items: Items) -> Answer<Code> {
    let mut batches = by_communicator(items);
    if batches.len() == 1 && batches.iter().all(Batch::is_awaited) {
        return batches.remove(0).run().map(|()| Code::Success);
    }
    let answers: Vec<_> = batches.into_iter().map(Batch::submit).collect();
    let mut first = Ok(Code::Success);
    for answer in answers {
        let code = answer.and_then(|answers| match answers {
            // Its thread answers, whatever happens, as long as it lives.
            Some(answers) => answers.recv().unwrap_or(Ok(())).map(|()| Code::Success),
            None => Ok(Code::InProgress),
        });
        first = match (first, code) {
            (Ok(Code::InProgress), Ok(_)) => Ok(Code::InProgress),
            (Ok(_), code) => code,
            (first, _) => first,
        };
    }
    first
}

fn by_communicator(items: Items) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for (comm, item) in items {
        let known = batches.iter().position(|batch| Arc::ptr_eq(&batch.comm, &comm));
        let index = known.unwrap_or(batches.len());
        if known.is_none() {
            batches.push(Batch::new(comm));
        }
        batches[index].add(item);
    }
    batches
}
