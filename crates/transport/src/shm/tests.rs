use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::*;
use crate::Region;
use crate::seam::{Endpoint, Grant, SendSpace};

const LIMITS: Limits = Limits { slots: 2, slot_bytes: 5000 };
const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

fn options(secret: &Secret, rank: u32, local_ranks: &[u32], patience: Duration) -> ShmOptions {
    ShmOptions {
        secret: secret.clone(),
        rank,
        local_ranks: local_ranks.to_vec(),
        channels: 2,
        limits: LIMITS,
        heap_bytes: 1 << 30,
        pull: false,
        boxes: None,
        deadline: Instant::now() + patience,
    }
}

type Connected = Result<LocalEndpoint, TransportError>;

fn connect(options: &ShmOptions, doorbell: &Doorbell) -> Connected {
    super::connect(options, doorbell, &|| false)
}

/// Connects each of `all` in a thread of its own.
fn connect_all(all: Vec<ShmOptions>) -> Vec<Connected> {
    thread::scope(|scope| {
        let connect_one = |options: ShmOptions| connect(&options, &Doorbell::new().unwrap());
        let threads: Vec<_> =
            all.into_iter().map(|options| scope.spawn(move || connect_one(options))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn send(endpoint: &mut LocalEndpoint, peer: u32, channel: u16, value: &[u8]) {
    let sender = endpoint.sender(peer, channel).unwrap();
    let start = Instant::now();
    let slot = loop {
        match endpoint.begin_send(sender, value.len()).unwrap() {
            Some(SendSpace::Slot(slot)) => break slot,
            _ => assert!(start.elapsed() < LONG),
        }
        thread::yield_now();
    };
    // SAFETY: the slot has as many bytes, and is ours until committed.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), slot.as_ptr(), value.len()) };
    endpoint.commit(sender).unwrap();
    endpoint.progress().unwrap();
}

fn receive(endpoint: &mut LocalEndpoint, peer: u32, channel: u16) -> Vec<u8> {
    let receiver = endpoint.receiver(peer, channel).unwrap();
    endpoint.post(&[Grant { receiver, limit: endpoint.limits().slot_bytes, place: None }]).unwrap();
    let start = Instant::now();
    let arrival = loop {
        match endpoint.poll(receiver).unwrap() {
            Some(arrival) => break arrival,
            None => assert!(start.elapsed() < LONG),
        }
        thread::yield_now();
    };
    // SAFETY: the message is ours until released.
    let bytes =
        unsafe { std::slice::from_raw_parts(arrival.bytes.as_ptr(), arrival.bytes.len()).to_vec() };
    endpoint.release(receiver);
    bytes
}

#[test]
fn ranks_with_gaps_in_their_numbers_reach_each_other_on_every_channel() {
    let secret = Secret::generate().unwrap();
    let ranks = [3, 9, 4, 17];
    let all = ranks.map(|rank| options(&secret, rank, &ranks, LONG)).to_vec();
    let mut world: Vec<_> = connect_all(all).into_iter().map(Result::unwrap).collect();
    let value = |from: u32, to: u32, channel: u16| {
        vec![(from * 20 + to) as u8; 40 + 2400 * usize::from(channel)]
    };
    let pairs = || (0..16).map(|i| (i / 4, i % 4)).filter(|(a, b)| a != b);
    for (from, to) in pairs() {
        for channel in 0..2 {
            let value = value(ranks[from], ranks[to], channel);
            send(&mut world[from], ranks[to], channel, &value);
        }
    }
    for (from, to) in pairs() {
        for channel in 0..2 {
            let got = receive(&mut world[to], ranks[from], channel);
            assert_eq!(got, value(ranks[from], ranks[to], channel));
        }
    }
}

#[test]
fn a_rank_alone_on_its_host_meets_nobody() {
    let secret = Secret::generate().unwrap();
    let endpoint = connect_all(vec![options(&secret, 5, &[5], SOON)]).remove(0).unwrap();
    assert!(endpoint.sender(5, 0).is_none());
}

#[test]
fn what_was_sent_outlives_its_sender() {
    let secret = Secret::generate().unwrap();
    let all = [0, 1].map(|rank| options(&secret, rank, &[0, 1], LONG)).to_vec();
    let mut world = connect_all(all);
    let mut receiver = world.pop().unwrap().unwrap();
    let mut sender = world.pop().unwrap().unwrap();
    send(&mut sender, 1, 0, &[7; 5000]);
    assert!(sender.drained().unwrap());
    drop(sender);
    assert_eq!(receive(&mut receiver, 0, 0), [7; 5000]);
    let end = receiver.receiver(0, 0).unwrap();
    receiver.post(&[Grant { receiver: end, limit: 1, place: None }]).unwrap();
    assert!(matches!(receiver.poll(end), Err(TransportError::PeerGone { peer: 0, .. })));
}

#[test]
fn a_rank_that_never_comes_is_named_by_all_the_others() {
    let secret = Secret::generate().unwrap();
    let all = [0, 1, 3].map(|rank| options(&secret, rank, &[0, 1, 2, 3], SOON)).to_vec();
    for result in connect_all(all) {
        let error = result.unwrap_err();
        assert!(matches!(error, TransportError::ConnectDeadline { peer: 2, .. }), "{error}");
    }
}

#[test]
fn a_leader_that_never_comes_is_named() {
    let secret = Secret::generate().unwrap();
    let all = [1, 2].map(|rank| options(&secret, rank, &[0, 1, 2], SOON)).to_vec();
    for result in connect_all(all) {
        let error = result.unwrap_err();
        assert!(matches!(error, TransportError::ConnectDeadline { peer: 0, .. }), "{error}");
    }
}

#[test]
fn a_rank_that_wants_other_limits_is_named_by_all() {
    let secret = Secret::generate().unwrap();
    let patience = Duration::from_secs(2);
    let mut all = [0, 1, 2].map(|rank| options(&secret, rank, &[0, 1, 2], patience)).to_vec();
    all[1].limits.slots = 5;
    for result in connect_all(all) {
        match result.unwrap_err() {
            TransportError::PeerMisbehaved { peer: 1, what } => assert!(what.contains("slots: 5")),
            // Who comes after the leader gave up finds nobody.
            error => assert_eq!(error.peer(), Some(0), "{error}"),
        }
    }
}

#[test]
fn two_processes_of_one_rank_are_told_so() {
    let secret = Secret::generate().unwrap();
    let all = [0, 1, 1, 2].map(|rank| options(&secret, rank, &[0, 1, 2, 3], SOON)).to_vec();
    let results = connect_all(all);
    let error = results[0].as_ref().unwrap_err();
    assert!(matches!(error, TransportError::PeerMisbehaved { peer: 1, .. }), "{error}");
}

#[test]
fn worlds_with_different_secrets_do_not_meet() {
    let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
    let all = vec![options(&one, 0, &[0, 1], SOON), options(&other, 1, &[0, 1], SOON)];
    for result in connect_all(all) {
        assert!(matches!(result, Err(TransportError::ConnectDeadline { .. })));
    }
}

#[test]
fn a_member_or_leader_that_is_interrupted_ends_soon_and_so_does_who_came_to_it() {
    let secret = Secret::generate().unwrap();
    // Rank 2 never comes; only the leader, or in a second world the member, is told.
    for told in [0, 1] {
        let started = Instant::now();
        let interrupted = || started.elapsed() > Duration::from_millis(100);
        let come = |rank: u32| {
            let ranks: &[u32] = if told == 0 { &[0, 1, 2] } else { &[rank - 1, rank] };
            let options = options(&secret, rank, ranks, LONG);
            let doorbell = Doorbell::new().unwrap();
            let never = || false;
            super::connect(&options, &doorbell, if rank == told { &interrupted } else { &never })
        };
        thread::scope(|scope| {
            let others: Vec<_> =
                (told + 1..2).map(|rank| scope.spawn(move || come(rank))).collect();
            let all = others.into_iter().map(|other| other.join().unwrap()).chain([come(told)]);
            for result in all.collect::<Vec<_>>() {
                assert!(matches!(result, Err(TransportError::Interrupted { .. })), "{result:?}");
            }
        });
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

/// Messages of `value` until one is pulled: the peer says so with its first answers.
fn send_until_pulled(own: &mut LocalEndpoint, peer: u32, value: Region) {
    let sender = own.sender(peer, 0).unwrap();
    for _ in 0..10 {
        let space = own.begin_lend(sender, value).unwrap().expect("room");
        if let SendSpace::Slot(slot) = space {
            assert!(slot.copy_from(value));
        }
        own.commit(sender).unwrap();
        own.progress().unwrap();
        assert_eq!(receive(own, peer, 1), value.to_vec());
        if matches!(space, SendSpace::Lent) {
            assert_eq!(own.borrower(), None, "what was answered was read");
            return;
        }
    }
    panic!("nothing was pulled");
}

#[test]
fn private_memory_of_a_process_is_pulled_by_another_and_what_it_has_not_is_an_error() {
    let passphrase = format!("pulled {}", std::process::id());
    let secret = Secret::from_passphrase(&passphrase);
    let mut children = [1, 2].map(|rank| start_rank_that_pulls(&passphrase, rank));
    let options = ShmOptions {
        limits: Limits { slots: 2, slot_bytes: 100_000 },
        pull: true,
        ..options(&secret, 0, &[0, 1, 2], LONG)
    };
    let mut own = connect(&options, &Doorbell::new().unwrap()).unwrap();
    let value: Vec<u8> = (0..99_999u32).map(|i| (i % 251) as u8).collect();
    let value = Region::leak(value.into());
    for peer in [1, 2] {
        send_until_pulled(&mut own, peer, value);
    }
    send(&mut own, 2, 0, b"stop");
    assert_eq!(receive(&mut own, 2, 1), b"stop");
    assert!(children[1].wait().unwrap().success());
    let nowhere = NonNull::new(std::ptr::without_provenance_mut(1 << 46)).unwrap();
    // SAFETY: nothing in this process touches the region.
    let nowhere = unsafe { Region::from_raw_parts(nowhere, 99_999) };
    let sender = own.sender(1, 0).unwrap();
    assert!(matches!(own.begin_lend(sender, nowhere), Ok(Some(SendSpace::Lent))));
    own.commit(sender).unwrap();
    own.progress().unwrap();
    assert!(!children[0].wait().unwrap().success(), "its poll fails, and it says so");
}

fn knock(place: &[u8]) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let address = SocketAddrUnix::new_abstract_name(place).unwrap();
    let start = Instant::now();
    while rustix::net::connect(&socket, &address).is_err() {
        assert!(start.elapsed() < LONG, "nobody listens");
        thread::sleep(Duration::from_millis(1));
    }
    socket
}

#[test]
fn strangers_at_the_meeting_delay_nobody() {
    let secret = Secret::generate().unwrap();
    let name = secret.derive("shared memory, leader 0").world_id().0;
    let place = format!("crosstie-shm-{name:016x}");
    let leader = thread::spawn({
        let options = options(&secret, 0, &[0, 1], LONG);
        move || connect(&options, &Doorbell::new().unwrap())
    });
    let silent: Vec<_> = (0..100).map(|_| knock(place.as_bytes())).collect();
    let loud = knock(place.as_bytes());
    rustix::io::write(&loud, &[0xee; 900]).unwrap();
    let guesser = knock(place.as_bytes());
    rustix::io::write(&guesser, &vec![0; 4000]).unwrap();
    let start = Instant::now();
    let member = connect(&options(&secret, 1, &[0, 1], LONG), &Doorbell::new().unwrap());
    assert!(member.is_ok(), "{member:?}");
    assert!(leader.join().unwrap().is_ok());
    assert!(start.elapsed() < Duration::from_secs(2));
    drop(silent);
}

fn start_rank_that_pulls(secret: &str, rank: u32) -> Child {
    rank_in_its_own_process(secret, rank).env("SHM_TEST_PULL", "1").spawn().unwrap()
}

fn start_rank(secret: &str, rank: u32) -> Child {
    rank_in_its_own_process(secret, rank).spawn().unwrap()
}

/// This test binary, running `a_rank_in_its_own_process`.
fn rank_in_its_own_process(secret: &str, rank: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["shm::tests::a_rank_in_its_own_process", "--exact", "--ignored"])
        .env("SHM_TEST_SECRET", secret)
        .env("SHM_TEST_RANK", rank.to_string())
        .stdout(Stdio::null());
    command
}

#[test]
#[ignore = "started by the tests that need processes"]
fn a_rank_in_its_own_process() {
    let secret = Secret::from_passphrase(&std::env::var("SHM_TEST_SECRET").unwrap());
    let rank = std::env::var("SHM_TEST_RANK").unwrap().parse().unwrap();
    let doorbell = Doorbell::new().unwrap();
    let mut options = options(&secret, rank, &[0, 1, 2], LONG);
    if std::env::var_os("SHM_TEST_PULL").is_some() {
        options.limits.slot_bytes = 100_000;
        options.pull = true;
    }
    let mut endpoint = connect(&options, &doorbell).unwrap();
    // Echoes what rank 0 says, until told to stop.
    loop {
        let value = receive(&mut endpoint, 0, 0);
        send(&mut endpoint, 0, 1, &value);
        if value == b"stop" {
            return;
        }
    }
}

#[test]
fn a_killed_process_leaves_its_peers_memory_usable() {
    let passphrase = format!("killed process {}", std::process::id());
    let secret = Secret::from_passphrase(&passphrase);
    let mut children = [1, 2].map(|rank| start_rank(&passphrase, rank));
    let doorbell = Doorbell::new().unwrap();
    let mut own = connect(&options(&secret, 0, &[0, 1, 2], LONG), &doorbell).unwrap();
    for peer in [1, 2] {
        send(&mut own, peer, 0, &[peer as u8; 4999]);
        assert_eq!(receive(&mut own, peer, 1), vec![peer as u8; 4999]);
    }
    children[0].kill().unwrap();
    children[0].wait().unwrap();
    // Slots fill, and then there is no room; nothing comes; nothing breaks.
    let to_dead = own.sender(1, 0).unwrap();
    for _ in 0..LIMITS.slots {
        send(&mut own, 1, 0, &[9; 5000]);
    }
    assert!(own.begin_send(to_dead, 1).unwrap().is_none());
    let from_dead = own.receiver(1, 1).unwrap();
    own.post(&[Grant { receiver: from_dead, limit: 1, place: None }]).unwrap();
    assert!(own.poll(from_dead).unwrap().is_none());
    // The other rank is not disturbed.
    send(&mut own, 2, 0, b"stop");
    assert_eq!(receive(&mut own, 2, 1), b"stop");
    assert!(children[1].wait().unwrap().success());
    drop(own);
}
