//! Strangers on the port: refused with a typed error, counted, and unable to delay those who belong there.
#![cfg(test)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_net::{
    Dial, Fault, Inbox, Link, ListenOptions, Listener, NetError, Purpose, Secret, Target, Version,
    dial, host_name,
};

/// What a dial among strangers may take on a machine that runs much else; a stranger's own deadline is 5 s.
const PROMPT: Duration = Duration::from_secs(2);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn open() -> Arc<Listener> {
    Arc::new(Listener::open(&ListenOptions::default()).unwrap())
}

fn loopback(listener: &Listener) -> SocketAddr {
    let mut addresses = listener.addresses().into_iter();
    addresses.find(|address| address.ip().is_loopback() && address.is_ipv4()).unwrap()
}

fn once<'a>(address: &'a [SocketAddr], secret: &'a Secret, target: Target) -> Dial<'a> {
    Dial { retry: false, ..Dial::new(address, secret, target, Purpose::Data, soon()) }
}

fn connect(listener: &Listener, inbox: &Inbox, secret: &Secret) -> (Link, Link) {
    let address = [loopback(listener)];
    let link = dial(&once(&address, secret, Target::Rank(0))).unwrap();
    (link, inbox.accept(Purpose::Data, soon()).unwrap().link)
}

/// Waits until `condition` holds: a listener counts on its own thread.
fn eventually(condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn assert_prompt(listener: &Listener, inbox: &Inbox, secret: &Secret) {
    let started = Instant::now();
    connect(listener, inbox, secret);
    assert!(started.elapsed() < PROMPT, "strangers delayed a dial by {:?}", started.elapsed());
}

#[test]
fn a_wrong_secret_is_told_and_counted() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let _inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let (address, other) = ([loopback(&listener)], Secret::generate().unwrap());
    let refused = dial(&once(&address, &other, Target::Rank(0))).unwrap_err();
    assert!(matches!(refused, NetError::NoSuchWorld { .. }), "{refused:?}");
    eventually(|| listener.strangers().wrong_secret == 1);
    assert_eq!(listener.strangers().last.unwrap().1, Fault::WrongSecret);
}

#[test]
fn a_wrong_secret_fails_at_once_where_one_world_meets() {
    let bind = Some("127.0.0.1:0".parse().unwrap());
    let options = ListenOptions { bind, ..ListenOptions::default() };
    let listener = Arc::new(Listener::open(&options).unwrap());
    let secret = Secret::from_passphrase("right");
    let _inbox = listener.subscribe(&secret, Target::Meeting).unwrap();
    let (addresses, other) = (listener.addresses(), Secret::from_passphrase("wrong"));
    let started = Instant::now();
    let to = Dial::new(&addresses, &other, Target::Meeting, Purpose::Meeting, soon());
    let refused = dial(&to).unwrap_err();
    assert!(matches!(refused, NetError::WrongSecret { .. }), "{refused:?}");
    assert!(started.elapsed() < PROMPT);
    eventually(|| listener.strangers().wrong_secret == 1);
}

#[test]
fn a_forged_world_id_does_not_help() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let mut opening = recorded_opening(&secret);
    opening[120] ^= 1; // inside the first Noise message
    let mut stream = TcpStream::connect(loopback(&listener)).unwrap();
    stream.write_all(&opening).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer[16], 2, "refused for its secret");
    eventually(|| listener.strangers().wrong_secret == 1);
    assert!(inbox.try_accept(Purpose::Data).is_none());
}

#[test]
fn a_recorded_dial_played_back_is_no_link() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let opening = recorded_opening(&secret);
    let mut stream = TcpStream::connect(loopback(&listener)).unwrap();
    stream.write_all(&opening).unwrap();
    stream.read_exact(&mut [0; 88 + 136]).unwrap();
    stream.write_all(&[0x5a; 16]).unwrap();
    eventually(|| listener.strangers().wrong_secret == 1);
    assert!(inbox.try_accept(Purpose::Data).is_none());
}

/// What a rank of the world of `secret` sends first, as somebody on the path sees it.
fn recorded_opening(secret: &Secret) -> Vec<u8> {
    let tap = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = [tap.local_addr().unwrap()];
    std::thread::scope(|scope| {
        scope.spawn(|| dial(&once(&address, secret, Target::Rank(0))));
        let mut opening = vec![0; 160];
        tap.accept().unwrap().0.read_exact(&mut opening).unwrap();
        opening
    })
}

#[test]
fn another_version_is_named_with_both_hosts_on_both_sides() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let mut opening = recorded_opening(&secret);
    opening[8] = 9;
    opening.truncate(112); // the other version's first flight need not be as long as ours
    let mut stream = TcpStream::connect(loopback(&listener)).unwrap();
    stream.write_all(&opening).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    match inbox.accept(Purpose::Data, soon()) {
        Err(NetError::Version { ours, theirs, our_host, their_host }) => {
            assert_eq!((ours, theirs), (Version::OURS, Version { major: 9, minor: 0 }));
            assert_eq!((our_host, their_host), (host_name(), host_name()));
        }
        other => panic!("{other:?}"),
    }
    eventually(|| listener.strangers().wrong_version == 1);

    // The dialler's side: a listener of another version gives that very answer.
    answer[8] = 9;
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = [foreign.local_addr().unwrap()];
    let started = Instant::now();
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = foreign.accept().unwrap();
            stream.read_exact(&mut [0; 160]).unwrap();
            stream.write_all(&answer).unwrap();
        });
        dial(&Dial { retry: true, ..once(&address, &secret, Target::Rank(0)) }).unwrap_err()
    });
    assert!(started.elapsed() < PROMPT, "waiting does not mend a version");
    let text = refused.to_string();
    assert!(matches!(refused, NetError::Version { .. }), "{refused:?}");
    assert!(text.contains("9.0") && text.contains(&host_name()), "{text}");
}

#[test]
fn garbage_silence_and_half_a_hello_delay_nobody() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let half = &recorded_opening(&secret)[..70];
    let stranger = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(loopback(&listener)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let _silent = stranger(b"");
    let _half = stranger(half);
    let _garbage = stranger(b"GET / HTTP/1.1\r\n\r\n");
    assert_prompt(&listener, &inbox, &secret);
    eventually(|| listener.strangers().garbage == 1);
    drop(stranger(half));
    eventually(|| listener.strangers().garbage == 2);
    // The two that still say nothing are turned away at their own deadline.
    std::thread::sleep(Duration::from_secs(5));
    eventually(|| listener.strangers().silent == 2);
    assert_eq!(listener.strangers().total(), 4);
}

#[test]
fn idle_strangers_by_the_hundred_delay_nobody() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let strangers: Vec<TcpStream> =
        (0..300).map(|_| TcpStream::connect(loopback(&listener)).unwrap()).collect();
    for _ in 0..10 {
        assert_prompt(&listener, &inbox, &secret);
    }
    drop(strangers);
    eventually(|| listener.strangers().total() == 300);
}

#[test]
fn a_peer_that_comes_up_late_is_reached() {
    let late = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = [late];
    let secret = Secret::generate().unwrap();
    let reached = std::thread::scope(|scope| {
        let to = Dial::new(&address, &secret, Target::Meeting, Purpose::Meeting, soon());
        let dialler = scope.spawn(move || dial(&to).map(drop));
        std::thread::sleep(Duration::from_millis(100));
        let options = ListenOptions { bind: Some(late), ..ListenOptions::default() };
        let listener = Arc::new(Listener::open(&options).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        let inbox = listener.subscribe(&secret, Target::Meeting).unwrap();
        inbox.accept(Purpose::Meeting, soon()).unwrap();
        dialler.join().unwrap()
    });
    reached.unwrap();
}

#[test]
fn nobody_there_is_an_error_at_the_deadline_and_at_once_without_retry() {
    let nobody = [TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()];
    let secret = Secret::generate().unwrap();
    let started = Instant::now();
    let refused = dial(&once(&nobody, &secret, Target::Rank(1))).unwrap_err();
    assert!(matches!(refused, NetError::Unreachable { .. }), "{refused:?}");
    assert!(started.elapsed() < PROMPT);
    let deadline = Instant::now() + Duration::from_millis(300);
    let to = Dial::new(&nobody, &secret, Target::Rank(1), Purpose::Data, deadline);
    let refused = dial(&to).unwrap_err();
    assert!(matches!(refused, NetError::Unreachable { .. }), "{refused:?}");
    assert!(Instant::now() < deadline + PROMPT);
}

#[test]
fn a_rank_that_is_not_served_yet_is_told_from_a_foreign_world() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let _inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let address = [loopback(&listener)];
    let refused = dial(&once(&address, &secret, Target::Rank(1))).unwrap_err();
    assert!(matches!(refused, NetError::NoSuchTarget { .. }), "{refused:?}");
    assert_eq!(listener.strangers().total(), 0);
}

#[test]
fn the_first_address_that_answers_wins_and_gives_one_link() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = loopback(&listener);
    let addresses = [nobody, silent.local_addr().unwrap(), good, good];
    let started = Instant::now();
    let link = dial(&once(&addresses, &secret, Target::Rank(0))).unwrap();
    assert_eq!(link.peer_addr(), good);
    assert!(started.elapsed() < PROMPT, "a silent address delayed the race");
    inbox.accept(Purpose::Data, soon()).unwrap();
    let second = inbox.accept(Purpose::Data, Instant::now() + Duration::from_millis(200));
    assert!(matches!(second, Err(NetError::NobodyCame { .. })), "{second:?}");
}

#[test]
fn a_link_cut_in_the_middle_of_a_message_is_an_error_at_once() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let (mut near, far) = connect(&listener, &inbox, &secret);
    let mut far = far.into_data_stream().unwrap();
    far.write_all(&[0, 1, 7, 7, 7]).unwrap(); // 256 bytes announced, 3 sent
    drop(far);
    let started = Instant::now();
    let result = near.recv(soon());
    assert!(matches!(result, Err(NetError::Ended { .. })), "{result:?}");
    assert!(started.elapsed() < PROMPT);
}

#[test]
fn bytes_not_encrypted_are_a_protocol_error() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    for bytes in [&[20, 0][..], &[0, 0], &[16, 0]] {
        let (mut near, far) = connect(&listener, &inbox, &secret);
        let mut far = far.into_data_stream().unwrap();
        far.write_all(&[bytes, &[7; 20]].concat()).unwrap();
        let result = near.recv(soon());
        assert!(matches!(result, Err(NetError::Protocol { .. })), "{result:?}");
    }
}

#[test]
fn no_descriptor_survives_exec() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let _links = connect(&listener, &inbox, &secret);
    let child =
        Command::new("ls").args(["-l", "/proc/self/fd"]).stdin(Stdio::null()).output().unwrap();
    let open = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(open.contains("/dev/null"), "the listing shows descriptors: {open}");
    assert!(!open.contains("socket:") && !open.contains("eventfd"), "inherited: {open}");
}

#[test]
fn one_part_is_served_once_and_again_after_its_inbox_is_gone() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let twice = listener.subscribe(&secret, Target::Rank(0)).map(drop);
    assert!(matches!(twice, Err(NetError::AlreadyServed { .. })));
    drop(inbox);
    listener.subscribe(&secret, Target::Rank(0)).map(drop).unwrap();
}

#[test]
fn ports_come_from_the_range_and_run_out_with_a_typed_error() {
    let probe = TcpListener::bind("[::]:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    let options = ListenOptions { ports: port..=port, ..ListenOptions::default() };
    let full = Listener::open(&options);
    assert!(matches!(full, Err(NetError::NoPort { first, .. }) if first == port));
    drop(probe);
    let listener = Listener::open(&options).unwrap();
    assert!(listener.addresses().iter().all(|address| address.port() == port));
    let wanted = Some("no-such-interface".to_owned());
    let nowhere = Listener::open(&ListenOptions { interface: wanted, ..ListenOptions::default() });
    assert!(matches!(nowhere, Err(NetError::NoInterface { .. })));
}

#[test]
fn the_process_shares_one_listener() {
    let first = Listener::shared(&ListenOptions::default()).unwrap();
    let again = Listener::shared(&ListenOptions::default()).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let bind = Some("127.0.0.1:0".parse().unwrap());
    let other = Listener::shared(&ListenOptions { bind, ..ListenOptions::default() }).unwrap();
    assert!(!Arc::ptr_eq(&first, &other));
}
