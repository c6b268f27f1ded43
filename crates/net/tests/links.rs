//! Links between listeners and diallers over real sockets: who may talk, who is refused, and that nobody delays anybody.

#![cfg(test)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crosstie_net::{
    Dial, Inbox, Incoming, Link, ListenOptions, Listener, NetError, Purpose, Secret, Target, dial,
};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn open() -> Arc<Listener> {
    Arc::new(Listener::open(&ListenOptions::default()).unwrap())
}

fn loopback(listener: &Listener) -> Vec<SocketAddr> {
    let mut addresses = listener.addresses();
    addresses.retain(|address| address.ip().is_loopback() && address.is_ipv4());
    assert_eq!(addresses.len(), 1, "this host has a loopback interface");
    addresses
}

fn talk(listener: &Listener, inbox: &Inbox, secret: &Secret, target: Target) -> (Link, Incoming) {
    let addresses = loopback(listener);
    let link = dial(&Dial::new(&addresses, secret, target, Purpose::Data, soon())).unwrap();
    (link, inbox.accept(Purpose::Data, soon()).unwrap())
}

fn pair() -> (Arc<Listener>, Link, Link) {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let (ours, incoming) = talk(&listener, &inbox, &secret, Target::Rank(0));
    (listener, ours, incoming.link)
}

#[test]
fn the_right_secret_talks_both_ways() {
    let (_listener, mut a, mut b) = pair();
    for len in [0, 1, 65_510, 65_511, 65_512, 65_520, 1_000_000] {
        let message: Vec<u8> = (0..len).map(|i: u32| i as u8).collect();
        let sent = std::thread::scope(|scope| {
            scope.spawn(|| a.send(&message, soon()).unwrap());
            b.recv(soon()).unwrap()
        });
        assert_eq!(sent, message);
        b.send(&message[..message.len().min(10)], soon()).unwrap();
        assert_eq!(a.recv(soon()).unwrap(), &message[..message.len().min(10)]);
    }
}

#[test]
fn an_incoming_link_says_who_dialled_and_what_for() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(7)).unwrap();
    let addresses = listener.addresses();
    let call = |purpose, from, label| {
        let to = Dial::new(&addresses, &secret, Target::Rank(7), purpose, soon());
        dial(&Dial { from, label, ..to }).unwrap()
    };
    let _data = call(Purpose::Data, Some(3), 99);
    let _monitor = call(Purpose::Monitor, None, 5);
    let monitor = inbox.accept(Purpose::Monitor, soon()).unwrap();
    assert_eq!((monitor.from, monitor.label), (None, 5));
    let data = inbox.accept(Purpose::Data, soon()).unwrap();
    assert_eq!((data.from, data.label), (Some(3), 99));
    assert_eq!(data.peer_host, crosstie_net::host_name());
    assert!(inbox.try_accept(Purpose::Data).is_none());
}

#[test]
fn a_refused_purpose_ends_links_that_wait_and_that_come() {
    let (listener, secret) = (open(), Secret::generate().unwrap());
    let inbox = listener.subscribe(&secret, Target::Rank(0)).unwrap();
    let addresses = loopback(&listener);
    let to = Dial::new(&addresses, &secret, Target::Rank(0), Purpose::Monitor, soon());
    let mut waits = dial(&to).unwrap();
    inbox.refuse(Purpose::Monitor);
    let mut comes = dial(&to).unwrap();
    for link in [&mut waits, &mut comes] {
        let result = link.recv(soon());
        assert!(matches!(result, Err(NetError::Ended { .. })), "{result:?}");
    }
    talk(&listener, &inbox, &secret, Target::Rank(0));
}

#[test]
fn a_link_becomes_a_plain_stream_at_the_byte() {
    let (_listener, a, b) = pair();
    let mut a = a.into_data_stream().unwrap();
    let mut b = b.into_data_stream().unwrap();
    a.write_all(b"plain").unwrap();
    b.set_nonblocking(false).unwrap();
    let mut bytes = [0; 5];
    b.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"plain");
}

#[test]
fn a_message_that_misses_its_deadline_goes_on_later() {
    let (_listener, mut a, mut b) = pair();
    let message = vec![7; Link::MESSAGE_MAX];
    let late = a.send(&message, Instant::now() + Duration::from_millis(50));
    assert!(matches!(late, Err(NetError::Deadline { .. })), "{late:?}");
    let early = b.recv(Instant::now());
    assert!(matches!(early, Err(NetError::Deadline { .. })));
    std::thread::scope(|scope| {
        scope.spawn(|| a.send(b"next", soon()).unwrap());
        assert!(b.recv(soon()).unwrap() == message);
        assert_eq!(b.recv(soon()).unwrap(), b"next");
    });
}

#[test]
fn a_message_too_long_is_refused_before_it_is_sent() {
    let (_listener, mut a, _b) = pair();
    let result = a.send(&vec![0; Link::MESSAGE_MAX + 1], soon());
    assert!(matches!(result, Err(NetError::TooLong { .. })));
}

/// As where packets are dropped on their way: once the queue of a listener is full, it answers nobody.
#[test]
fn who_is_known_to_listen_and_does_not_answer_is_given_up_before_the_deadline() {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let to = [listener.local_addr().unwrap()];
    let _fills_the_queue = TcpStream::connect(to[0]).unwrap();
    let (secret, began) = (Secret::generate().unwrap(), Instant::now());
    let deadline = began + Duration::from_secs(60);
    let to = Dial::new(&to, &secret, Target::Rank(0), Purpose::Data, deadline);
    let error = dial(&Dial { patience: Some(Duration::from_millis(300)), ..to }).unwrap_err();
    assert!(matches!(error, NetError::NoWay { .. }), "{error}");
    assert!(error.to_string().contains("no answer"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
