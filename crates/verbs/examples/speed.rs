//! Bandwidth and latency between two devices of this host, as `ib_write_bw` and `ib_write_lat` measure them:
//! `speed DEVICE DEVICE [BYTES] [ROUNDS]`.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

use std::error::Error;
use std::slice;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crosstie_transport::Region;
use crosstie_verbs::{
    Address, CompletionQueue, Context, Depths, Domain, Last, Library, Local, Pages, Place,
    QueuePair, Registration, Remote, Retry, Service, Source, VerbsError, Write,
};

const DEPTHS: Depths = Depths { send: 128, receive: 128, inline: 64 };
/// Writes of the stream that are under way at a time.
const UNDER_WAY: usize = 32;

struct End {
    pair: QueuePair,
    completions: CompletionQueue,
    memory: Region,
    registration: Registration,
    context: Context,
}

impl End {
    fn open(library: &Library, name: &str, peer: u32, bytes: usize) -> Result<Self, VerbsError> {
        let context = library.device(name)?.open()?;
        let domain = Domain::new(&context)?;
        let completions = CompletionQueue::new(&context, 512)?;
        let place = Place { device: name.to_owned(), port: 1, peer, rail: None };
        let mut pair = QueuePair::new(&domain, &completions, place, DEPTHS)?;
        pair.post_receives(DEPTHS.receive as usize)?;
        let pages = Pages::new(bytes)?;
        let memory = pages.region();
        let registration = domain.register_pages(pages)?;
        Ok(Self { pair, completions, memory, registration, context })
    }

    fn address(&self) -> Result<Address, VerbsError> {
        let port = self.context.port(1)?.up(self.context.name())?;
        Address::of(&self.context, &port, slice::from_ref(&self.pair), None)
    }

    fn connect(&mut self, peer: &Address, is_lower: bool) -> Result<(), VerbsError> {
        let retry = Retry::within(Duration::from_secs(30), true);
        let own = self.address()?;
        let way = own.ways_to(peer, is_lower).first().copied();
        let path = way.and_then(|way| own.path_to(peer, 0, way, Service::default(), retry));
        self.pair.connect(&path.expect("both ports are on one network"))
    }

    fn place(&self) -> Remote {
        let address = self.memory.as_ptr().addr() as u64;
        Remote { address, key: self.registration.keys().remote }
    }

    fn local(&self, len: usize) -> Source<'static> {
        let (address, key) = (self.memory.as_ptr().addr() as u64, self.registration.keys().local);
        Source::Registered(Local { address, len: len as u32, key })
    }

    /// How many receives and how many chains have ended.
    fn ended(&mut self) -> Result<(usize, usize), VerbsError> {
        let (mut receives, mut chains) = (0, 0);
        let account = self.pair.account();
        for completion in self.completions.poll()? {
            account.settle(completion)?;
            if completion.is_receive() { receives += 1 } else { chains += 1 }
        }
        Ok((receives, chains))
    }
}

/// Messages of `bytes`, one write each, as many as there is room for at a time.
fn stream(from: &mut End, to: &mut End, bytes: usize, rounds: usize) -> Result<f64, VerbsError> {
    let place = to.place();
    let (mut posted, mut ended) = (0, 0);
    let began = Instant::now();
    while ended < rounds {
        while posted < rounds && posted - ended < UNDER_WAY {
            let write = Write { from: from.local(bytes), to: place };
            from.pair.post([].into_iter(), &Last { write, immediate: 0, id: 0 })?;
            posted += 1;
        }
        ended += from.ended()?.1;
        let received = to.ended()?.0;
        to.pair.post_receives(received)?;
    }
    Ok((bytes * rounds) as f64 / began.elapsed().as_secs_f64() / 1e6)
}

/// One end of messages to and fro, each of which waits for the one before.
fn volley(end: &mut End, place: Remote, begins: bool, rounds: usize) -> Result<(), VerbsError> {
    let bytes = [1; 8];
    let mut received = 0;
    for round in 0..rounds {
        while received < round + usize::from(!begins) {
            let (receives, _) = end.ended()?;
            end.pair.post_receives(receives)?;
            received += receives;
            if receives == 0 {
                thread::yield_now();
            }
        }
        let write = Write { from: Source::Inline(&bytes), to: place };
        while end.pair.room() == 0 {
            received += end.ended()?.0;
        }
        end.pair.post([].into_iter(), &Last { write, immediate: 0, id: 0 })?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [low, high, rest @ ..] = arguments.as_slice() else {
        return Err("usage: speed DEVICE DEVICE [BYTES] [ROUNDS]".into());
    };
    let number = |at: usize, default| rest.get(at).map_or(Ok(default), |text| text.parse());
    let (bytes, rounds) = (number(0, 1 << 20)?, number(1, 200)?);
    let library = Library::open()?;
    let mut low = End::open(&library, low, 1, bytes)?;
    let mut high = End::open(&library, high, 0, bytes)?;
    let (to_low, to_high) = (low.address()?, high.address()?);
    low.connect(&to_high, true)?;
    high.connect(&to_low, false)?;
    stream(&mut low, &mut high, bytes, rounds.div_ceil(10))?;
    let speed = stream(&mut low, &mut high, bytes, rounds)?;
    println!("{rounds} x {bytes} bytes: {speed:.1} MB/s");

    let rounds = 1000;
    let (at_low, at_high) = (low.place(), high.place());
    let start = Barrier::new(2);
    let took = thread::scope(|scope| -> Result<Duration, VerbsError> {
        let (start, high) = (&start, &mut high);
        let other = scope.spawn(move || {
            start.wait();
            volley(high, at_low, false, rounds)
        });
        start.wait();
        let began = Instant::now();
        volley(&mut low, at_high, true, rounds)?;
        other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(began.elapsed())
    })?;
    println!(
        "8 bytes, {rounds} times to and fro: {:.2} us one way",
        took.as_secs_f64() * 1e6 / rounds as f64 / 2.0
    );
    Ok(())
}
