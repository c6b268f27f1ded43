//! Real queue pairs on real devices: `ci/rxe` runs these on its machine, where there are `rxe_n0r0` and
//! `rxe_n1r0`, with a switch between that can be cut.

#![cfg(test)]

use std::process::Command;
use std::slice;
use std::time::{Duration, Instant};

use crosstie_transport::Region;
use crosstie_verbs::wires::{Nic, Wish};
use crosstie_verbs::{
    Address, Completion, CompletionQueue, Context, Depths, Domain, Event, Keys, Last, Library,
    Local, Needs, Pages, Pinnable, Place, PortState, QueuePair, Registration, Remote, Retry,
    Service, Source, Status, VerbsError, Wire, Write, is_drained,
};

const PATIENCE: Duration = Duration::from_secs(30);
const DEPTHS: Depths = Depths { send: 64, receive: 32, inline: 256 };
const MEMORY: usize = 1 << 20;

/// One end, with registered memory.
struct End {
    pair: QueuePair,
    completions: CompletionQueue,
    memory: Region,
    registration: Option<Registration>,
    domain: Domain,
    context: Context,
}

impl End {
    fn open(node: u32) -> Self {
        let device = Library::open().unwrap().device(&format!("rxe_n{node}r0")).unwrap();
        let context = device.open().unwrap();
        let domain = Domain::new(&context).unwrap();
        let completions = CompletionQueue::new(&context, 256).unwrap();
        let place =
            Place { device: device.name().to_owned(), port: 1, peer: 1 - node, rail: Some(0) };
        let pair = QueuePair::new(&domain, &completions, place, DEPTHS).unwrap();
        let pages = Pages::new(MEMORY).unwrap();
        let memory = pages.region();
        let registration = Some(domain.register_pages(pages).unwrap());
        Self { pair, completions, memory, registration, domain, context }
    }

    fn keys(&self) -> Keys {
        self.registration.as_ref().unwrap().keys()
    }

    fn address(&self) -> Address {
        let port = self.context.port(1).unwrap().up(self.context.name()).unwrap();
        Address::of(&self.context, &port, slice::from_ref(&self.pair), None).unwrap()
    }

    /// As if it had come from the other process.
    fn connect(&mut self, peer: &Address, is_lower: bool) {
        let peer = Address::from_bytes(&peer.to_bytes()).unwrap();
        let retry = Retry::within(Duration::from_secs(9), true);
        let service = Service::default();
        let own = self.address();
        let way = own.ways_to(&peer, is_lower)[0];
        let path = own.path_to(&peer, 0, way, service, retry).unwrap();
        self.pair.connect(&path).unwrap();
    }

    fn local(&self, offset: usize, len: usize) -> Source<'static> {
        let address = self.memory.part(offset, len).unwrap().as_ptr().addr() as u64;
        Source::Registered(Local { address, len: len as u32, key: self.keys().local })
    }

    fn place(&self, offset: usize) -> Remote {
        Remote { address: (self.memory.as_ptr().addr() + offset) as u64, key: self.keys().remote }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.memory.part(offset, bytes.len()).unwrap().fill(bytes));
    }

    fn bytes(&self, offset: usize, len: usize) -> Vec<u8> {
        self.memory.part(offset, len).unwrap().to_vec()
    }

    /// The next completion, which is the only one, unless it failed: then all that was posted is flushed.
    fn next(&mut self) -> Completion {
        let began = Instant::now();
        let mut all = Vec::new();
        while all.is_empty() {
            assert!(began.elapsed() < PATIENCE, "no completion");
            all.extend_from_slice(self.completions.poll().unwrap());
        }
        assert!(all.len() == 1 || all[0].status() != Status::SUCCESS, "{all:?}");
        all[0]
    }

    fn empty_post(&mut self, to: Remote, immediate: u32) {
        let write = Write { from: Source::Inline(&[]), to };
        self.pair.post([].into_iter(), &Last { write, immediate, id: 1 }).unwrap();
    }
}

/// Two ends, connected, each with all its receives posted.
fn two() -> (End, End) {
    let (mut low, mut high) = (End::open(0), End::open(1));
    let (to_low, to_high) = (low.address(), high.address());
    for end in [&mut low, &mut high] {
        end.pair.post_receives(DEPTHS.receive as usize).unwrap();
    }
    low.connect(&to_high, true);
    high.connect(&to_low, false);
    (low, high)
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn a_group_of_eight_costs_nine_requests_one_doorbell_and_one_completion() {
    let (mut from, mut to) = two();
    let lens = [1, 8, 100, 4096, 5000, 65536, 0, 131_072];
    let mut offset = 0;
    let mut writes = Vec::new();
    for (index, len) in lens.into_iter().enumerate() {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + index) as u8).collect();
        from.write(offset, &bytes);
        writes.push((offset, bytes));
        offset += len;
    }
    let head = [0x5a; 64];
    let chain = writes.iter().map(|(offset, bytes)| Write {
        from: from.local(*offset, bytes.len()),
        to: to.place(offset + 77),
    });
    let chain: Vec<_> = chain.collect();
    let write = Write { from: Source::Inline(&head), to: to.place(900_000) };
    from.pair.post(chain.into_iter(), &Last { write, immediate: 0xdead_beef, id: 42 }).unwrap();

    let told = to.next();
    to.pair.account().settle(&told).unwrap();
    assert!(told.is_receive());
    assert_eq!((told.immediate(), told.bytes()), (Some(0xdead_beef), 64));
    for (offset, bytes) in &writes {
        assert!(to.bytes(offset + 77, bytes.len()) == *bytes, "{} bytes", bytes.len());
    }
    assert_eq!(to.bytes(900_000, 64), head);

    assert_eq!(from.pair.room(), DEPTHS.send as usize - 9);
    let ended = from.next();
    from.pair.account().settle(&ended).unwrap();
    assert_eq!((ended.id(), ended.is_receive()), (42, false));
    assert_eq!(from.pair.room(), DEPTHS.send as usize);
    let posted = from.pair.posted();
    assert_eq!((posted.writes, posted.doorbells, posted.signalled), (9, 1, 1));
    assert_eq!(from.completions.polled(), 1);
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn a_sleeper_is_rung_once_it_has_armed() {
    let (mut from, mut to) = two();
    to.completions.arm().unwrap();
    assert!(to.completions.poll().unwrap().is_empty());
    assert!(!to.completions.disarm());
    let place = to.place(0);
    from.empty_post(place, 3);
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        to.completions.fd(),
        rustix::event::PollFlags::IN,
    )];
    let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)).unwrap(), 1);
    assert!(to.completions.disarm());
    assert_eq!(to.next().immediate(), Some(3));
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn an_ended_queue_pair_gives_back_all_that_was_posted() {
    let (mut from, to) = two();
    from.pair.fail().unwrap();
    for _ in 0..3 {
        from.empty_post(to.place(0), 1);
    }
    let began = Instant::now();
    let (mut flushed, mut drained) = (0, 0);
    while drained < 2 || flushed < DEPTHS.receive + 3 {
        assert!(began.elapsed() < PATIENCE, "{flushed} flushed, {drained} drained");
        for completion in from.completions.poll().unwrap() {
            if is_drained(completion) {
                drained += 1;
            } else {
                assert_eq!(completion.status(), Status::FLUSHED, "{completion:?}");
                flushed += 1;
            }
        }
    }
    assert_eq!((flushed, drained), (DEPTHS.receive + 3, 2));
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn memory_that_was_taken_back_is_out_of_the_peers_reach() {
    let (mut from, mut to) = two();
    let place = to.place(0);
    to.registration = None;
    from.write(0, b"late");
    let write = Write { from: from.local(0, 4), to: place };
    from.pair.post([].into_iter(), &Last { write, immediate: 1, id: 1 }).unwrap();
    let ended = from.next();
    let error = from.pair.account().settle(&ended).unwrap_err();
    let VerbsError::Failed { place, status, .. } = &error else { panic!("{error:?}") };
    assert_eq!((place.peer, status.to_string().as_str()), (1, "remote access error"));
    assert!(
        error.to_string().starts_with("device rxe_n0r0 port 1 (rail 0) to rank 1: "),
        "{error}"
    );
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn copies_in_a_forked_child_are_dropped_without_touching_what_the_parent_made() {
    let (mut low, mut high) = two();
    // SAFETY: the child drops values that no other thread knows, and ends without running anything of the harness.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop((low, high));
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    let child = rustix::process::Pid::from_raw(child).expect("a fork succeeds");
    let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    assert!(ended.unwrap().is_some_and(|(_, status)| status.exit_status() == Some(0)));
    low.empty_post(high.place(0), 7);
    assert_eq!(high.next().status(), Status::SUCCESS);
    assert_eq!(low.next().status(), Status::SUCCESS);
}

/// Cuts or joins node 1's cable.
fn cable(state: &str) {
    let done = Command::new("ip").args(["link", "set", "sw_n1r0", state]).status().unwrap();
    assert!(done.success());
}

fn next_port_event(context: &Context) -> Event {
    let began = Instant::now();
    loop {
        match context.next_event().unwrap() {
            Some(event @ (Event::PortDown(_) | Event::PortUp(_))) => return event,
            _ => assert!(began.elapsed() < PATIENCE, "no event"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs last by its name, and alone: `--test-threads 1`.
#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn z_a_port_that_goes_down_is_told_here_and_seen_at_the_other_end() {
    let (mut from, to) = two();
    cable("down");
    let event = next_port_event(&to.context);
    assert_eq!(event, Event::PortDown(1));
    let down = event.check(to.context.name(), 1).unwrap_err();
    assert!(matches!(down, VerbsError::PortDown { port: 1, .. }), "{down:?}");
    let port = to.context.port(1).unwrap();
    assert_eq!(port.state, PortState::Down);
    assert!(matches!(port.up("rxe_n1r0"), Err(VerbsError::PortDown { .. })));

    from.empty_post(to.place(0), 1);
    let ended = from.next();
    let error = from.pair.account().settle(&ended).unwrap_err();
    let VerbsError::RetryExceeded { place, retries: 6, .. } = &error else { panic!("{error:?}") };
    assert_eq!((place.device.as_str(), place.peer, place.rail), ("rxe_n0r0", 1, Some(0)));

    cable("up");
    assert_eq!(next_port_event(&to.context), Event::PortUp(1));
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn software_devices_say_that_they_take_no_memory_of_other_devices() {
    let end = End::open(0);
    let refusal = end.domain.takes_dmabuf().unwrap_err();
    assert!(matches!(refusal, VerbsError::NoDmaBuf { .. }), "{refusal:?}");
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn what_a_device_has_bounds_what_may_be_made_on_it() {
    let end = End::open(0);
    let wire = Wire { queue_pairs: 1, send: DEPTHS.send, receive: DEPTHS.receive, bytes: 1 << 20 };
    let has = end.context.attributes();
    assert!(has.is_software);
    let pinnable = Pinnable::of_this_process();
    assert!(Needs::of_wires(8, &wire, 4, 1 << 24).check("rxe_n0r0", has, &pinnable).is_ok());
    let most = has.queue_pairs.into();
    let refusal = Needs::of_wires(most, &wire, 4, 0).check("rxe_n0r0", has, &pinnable);
    assert!(matches!(refusal, Err(VerbsError::Limit { .. })), "{refusal:?}");
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn names_that_no_device_has_are_refused_with_those_there_are() {
    let refusal = Library::open().unwrap().device("mlx5_0").unwrap_err().to_string();
    assert!(refusal.contains("rxe_n0r0"), "{refusal}");
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn the_device_of_an_address_is_the_one_whose_port_has_it() {
    let library = Library::open().unwrap();
    let stall = Duration::from_secs(9);
    let find = |address: Option<&str>| {
        let address = address.map(|text| text.parse().unwrap());
        Nic::choose(&library, &Wish { address, ..Wish::default() }, None, stall)
    };
    assert_eq!(find(Some("10.78.0.2")).unwrap().device, "rxe_n1r0");
    assert_eq!(find(None).unwrap().port, 1);
    let refusal = find(Some("10.99.0.1")).unwrap_err().to_string();
    assert!(refusal.contains("10.99.0.1") && refusal.contains("rxe_n0r0:1"), "{refusal}");
}

#[test]
#[ignore = "needs the verbs machine (ci/rxe)"]
fn of_the_ports_that_were_named_a_rank_takes_that_which_it_was_placed_at_or_one_in_turn() {
    let library = Library::open().unwrap();
    let stall = Duration::from_secs(9);
    let of_node_1 = |device: &str, _: u8| device.starts_with("rxe_n1");
    let find = |near: Option<&str>, turn| {
        let near = near.map(|device| (device.to_owned(), 1));
        let wish = Wish { named: Some(&of_node_1), near, turn, ..Wish::default() };
        Nic::choose(&library, &wish, None, stall).unwrap().device
    };
    assert_eq!(find(Some("rxe_n1r1"), 0), "rxe_n1r1");
    assert_eq!(find(Some("rxe_n0r1"), 1), "rxe_n1r1", "that of another node was not named");
    assert_eq!((find(None, 0), find(None, 1)), ("rxe_n1r0".to_owned(), "rxe_n1r1".to_owned()));
    let wish = Wish { named: Some(&|_, _| false), ..Wish::default() };
    let refusal = Nic::choose(&library, &wish, None, stall).unwrap_err().to_string();
    assert!(refusal.contains("rxe_n0r0:1") && refusal.contains("rxe_n1r1:1"), "{refusal}");
}
