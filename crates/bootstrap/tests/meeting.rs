//! Owns the tests of the meeting as ranks live it: threads with listeners of their own, real sockets, and each way in
//! which a meeting goes wrong.
#![cfg(test)]

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crosstie_bootstrap::{
    BootstrapError, Description, Machine, MeetingHost, Record, World, give_up, meet,
    meet_describing,
};
use crosstie_launch::{Identity, Launcher, Meeting};
use crosstie_net::{Dial, Link, ListenOptions, Listener, Purpose, Secret, Target, UniqueId, dial};

type Met = Result<World, BootstrapError>;

fn listener() -> Arc<Listener> {
    Arc::new(Listener::open(&ListenOptions::default()).unwrap())
}

fn in_ms(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms)
}

fn identity(rank: u32, size: u32, meeting: Meeting) -> Identity {
    Identity { rank, size, local: None, launcher: Launcher::Explicit, meeting, node: None }
}

/// One rank that brings `change` of its record to the meeting.
fn come(who: Identity, patience_ms: u64, change: impl FnOnce(&mut Record)) -> Met {
    let listener = listener();
    let mut own = Record::of_this_process(who.rank, listener.addresses());
    own.host = format!("host{}", who.rank);
    change(&mut own);
    meet(&who, &listener, own, in_ms(patience_ms))
}

/// What becomes of each of `ranks`, which come at once.
fn all_come(ranks: Vec<Identity>, patience_ms: u64) -> Vec<Met> {
    thread::scope(|s| {
        let ranks: Vec<_> =
            ranks.into_iter().map(|who| s.spawn(move || come(who, patience_ms, |_| {}))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn world_of(size: u32, meeting: &Meeting) -> Vec<Identity> {
    (0..size).map(|rank| identity(rank, size, meeting.clone())).collect()
}

fn assert_met(met: Vec<Met>) -> Vec<World> {
    let worlds: Vec<World> = met.into_iter().map(Result::unwrap).collect();
    for (rank, world) in worlds.iter().enumerate() {
        assert_eq!((world.rank as usize, world.size as usize), (rank, worlds.len()));
        assert_eq!(world.records, worlds[0].records);
        assert_eq!(world.secret, worlds[0].secret);
        let ranks: Vec<u32> = world.records.iter().map(|record| record.rank).collect();
        assert_eq!(ranks, (0..world.size).collect::<Vec<_>>());
    }
    worlds
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn root(port: u16, secret: &str) -> Meeting {
    let secret = Secret::from_passphrase(secret);
    Meeting::Root { address: format!("127.0.0.1:{port}"), secret, named_by: "CROSSTIE_ROOT" }
}

fn job(name: &str) -> Meeting {
    Meeting::HostSocket { job: format!("{name} {}", std::process::id()) }
}

#[test]
fn eight_ranks_meet_by_a_unique_id() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let worlds = assert_met(all_come(world_of(8, &Meeting::UniqueId(id.clone())), 10_000));
    assert_eq!(worlds[0].secret, id.secret);
    assert_eq!(worlds[3].nodes(), [0; 8]);
    assert_eq!(worlds[3].host(5), "host5");
    assert!(worlds[3].records.iter().all(|record| !record.addresses.is_empty()));
    assert_eq!(worlds[3].phases.len(), 3);
}

#[test]
fn ranks_meet_at_a_root_whoever_comes_first() {
    let meeting = root(free_port(), "open sesame");
    let met = thread::scope(|s| {
        let ranks: Vec<_> = world_of(3, &meeting)
            .into_iter()
            .map(|who| {
                s.spawn(|| {
                    thread::sleep(Duration::from_millis(if who.rank == 0 { 150 } else { 0 }));
                    come(who, 10_000, |_| {})
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    assert_met(met);
}

#[test]
fn a_root_may_be_a_name() {
    let port = free_port();
    let secret = Secret::from_passphrase("x");
    assert_met(all_come(
        world_of(
            2,
            &Meeting::Root {
                address: format!("localhost:{port}"),
                secret,
                named_by: "CROSSTIE_ROOT",
            },
        ),
        10_000,
    ));
}

#[test]
fn ranks_meet_at_a_master_that_holds_no_secret() {
    let (address, port) = ("127.0.0.1".to_owned(), free_port());
    let meeting = Meeting::Master { address, port, job: "torchrun none".to_owned() };
    assert_met(all_come(world_of(2, &meeting), 10_000));
}

#[test]
fn a_root_that_is_no_address_of_this_host_is_explained() {
    let secret = Secret::from_passphrase("x");
    let meeting =
        Meeting::Root { address: "192.0.2.77:5000".to_owned(), secret, named_by: "CROSSTIE_ROOT" };
    let text = come(identity(0, 2, meeting), 1000, |_| {}).unwrap_err().to_string();
    assert!(text.contains("192.0.2.77:5000") && text.contains("runs rank 0"), "{text}");
}

#[test]
fn a_root_whose_name_is_unknown_is_explained_by_the_deadline() {
    let started = Instant::now();
    let secret = Secret::from_passphrase("x");
    let meeting = Meeting::Root {
        address: "no-such-host.invalid:5000".to_owned(),
        secret,
        named_by: "CROSSTIE_ROOT",
    };
    let text = come(identity(1, 2, meeting), 800, |_| {}).unwrap_err().to_string();
    assert!(text.contains("no-such-host.invalid"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_world_of_one_meets_nobody() {
    let world = come(identity(0, 1, Meeting::Alone), 1000, |_| {}).unwrap();
    assert_eq!((world.size, world.records.len()), (1, 1));
}

#[test]
fn two_jobs_on_one_host_stay_apart_and_leave_nothing() {
    let met = thread::scope(|s| {
        let jobs =
            ["one", "two"].map(|name| s.spawn(move || all_come(world_of(4, &job(name)), 10_000)));
        jobs.map(|job| job.join().unwrap())
    });
    let [one, two] = met.map(assert_met);
    assert_ne!(one[0].secret, two[0].secret);
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let names = [job("one"), job("two")].map(|meeting| match meeting {
        Meeting::HostSocket { job } => job,
        _ => unreachable!(),
    });
    assert!(names.iter().all(|name| !sockets.contains(name)), "{sockets}");
}

#[test]
fn one_job_can_meet_again_and_again() {
    for meeting in [job("again"), root(free_port(), "again")] {
        thread::scope(|s| {
            for who in world_of(3, &meeting) {
                s.spawn(move || {
                    for _ in 0..10 {
                        come(who.clone(), 10_000, |_| {}).unwrap();
                    }
                });
            }
        });
    }
}

#[test]
fn worlds_that_meet_at_one_place_have_secrets_of_their_own_where_rank_0_numbers_them() {
    let meeting = root(free_port(), "often");
    let numbered = |number| {
        let come_as = |who: Identity| {
            let number = (who.rank == 0).then_some(number);
            come(who, 10_000, |own| own.world = number)
        };
        let met = thread::scope(|s| {
            let ranks: Vec<_> = world_of(2, &meeting)
                .into_iter()
                .map(|who| s.spawn(move || come_as(who)))
                .collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        });
        assert_met(met).remove(0).secret
    };
    let (one, other) = (numbered(7), numbered(8));
    assert!(one != other && one != Secret::from_passphrase("often"));
}

#[test]
fn a_rank_that_is_given_up_returns_at_once_and_tells_the_others_why() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let meeting = Meeting::UniqueId(id);
    let given_up = AtomicBool::new(false);
    let started = Instant::now();
    let (gone, told) = thread::scope(|s| {
        let gone = s.spawn(|| {
            let listener = listener();
            let own = Record::of_this_process(0, listener.addresses());
            let why = || given_up.load(Ordering::Relaxed).then(|| "no more work".to_owned());
            let who = identity(0, 3, meeting.clone());
            meet_describing(&who, &listener, own, in_ms(20_000), (&|| None, &why))
        });
        let told = s.spawn(|| come(identity(1, 3, meeting.clone()), 20_000, |_| {}));
        thread::sleep(Duration::from_millis(300));
        given_up.store(true, Ordering::Relaxed);
        (gone.join().unwrap(), told.join().unwrap())
    });
    for met in [gone, told] {
        let Err(BootstrapError::Withdrawn { who, why }) = met else { panic!("{met:?}") };
        assert_eq!((who.rank, why.as_str()), (0, "no more work"));
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_rank_that_gives_up_before_it_meets_is_named_to_all_those_who_come_later_too() {
    for (number, lame) in [(0, 2), (1, 0)] {
        let meeting = if number == 0 { root(free_port(), "lame") } else { job("lame") };
        let started = Instant::now();
        let one = |who: Identity| {
            if who.rank == lame {
                let why = "CT-002: a setting".to_owned();
                return give_up(&who, &listener(), why, in_ms(20_000)).unwrap();
            }
            // The others start one after the other, the last when all who were there know the end.
            thread::sleep(Duration::from_millis(u64::from(who.rank) * 300));
            let error = come(who, 20_000, |_| {}).unwrap_err();
            let BootstrapError::GaveUp { who, why } = &error else { panic!("{error}") };
            assert_eq!((who.rank, why.as_str()), (lame, "CT-002: a setting"));
        };
        thread::scope(|s| {
            world_of(4, &meeting).into_iter().for_each(|who| _ = s.spawn(|| one(who)));
        });
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}

#[test]
fn a_rank_that_never_comes_is_named_to_all_at_the_deadline() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let mut ranks = world_of(5, &Meeting::UniqueId(id));
    ranks.remove(3);
    ranks.remove(1);
    let started = Instant::now();
    for met in all_come(ranks, 600) {
        let Err(BootstrapError::Missing { ranks, size: 5, .. }) = met else { panic!("{met:?}") };
        assert_eq!(ranks, [1, 3]);
    }
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_rank_0_that_never_comes_is_named() {
    for meeting in [job("headless"), root(free_port(), "x")] {
        let started = Instant::now();
        let text = come(identity(1, 2, meeting), 300, |_| {}).unwrap_err().to_string();
        assert!(text.contains("rank 0"), "{text}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_duplicate_rank_is_told_to_all() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let meeting = Meeting::UniqueId(id);
    let mut ranks = world_of(4, &meeting);
    ranks[3].rank = 1;
    for met in all_come(ranks, 10_000) {
        assert!(matches!(met, Err(BootstrapError::Duplicate { rank: 1, .. })), "{met:?}");
    }
    // Who comes afterwards is told the same.
    let late = come(identity(3, 4, meeting), 10_000, |_| {});
    assert!(matches!(late, Err(BootstrapError::Duplicate { rank: 1, .. })), "{late:?}");
}

#[test]
fn a_differing_size_is_told_to_all() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let mut ranks = world_of(3, &Meeting::UniqueId(id));
    ranks[2].size = 4;
    for met in all_come(ranks, 10_000) {
        let Err(error @ BootstrapError::SizeDiffers { .. }) = met else { panic!("{met:?}") };
        let text = error.to_string();
        assert!(text.contains("rank 2 (host host2") && text.contains(" 4"), "{text}");
    }
}

#[test]
fn differing_settings_name_the_ranks_to_all() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let texts = thread::scope(|s| {
        let ranks: Vec<_> = world_of(3, &Meeting::UniqueId(id))
            .into_iter()
            .map(|who| {
                s.spawn(|| {
                    let slots = if who.rank == 1 { 4 } else { 8 };
                    let met = come(who, 10_000, |own| {
                        own.fingerprint = slots;
                        own.settings = format!("channels = 2\nslots = {slots}");
                    });
                    met.unwrap_err().to_string()
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    for text in texts {
        assert!(text.contains("ranks 0, 2 (host host0): slots = 8"), "{text}");
        assert!(text.contains("rank 1 (host host1): slots = 4"), "{text}");
    }
}

/// Joins as `rank` and then ends, as a process that is killed does.
fn die_in_the_meeting(id: &UniqueId, rank: u32) {
    let call = Dial::new(&id.addresses, &id.secret, Target::Meeting, Purpose::Meeting, in_ms(5000));
    let mut link = dial(&call).unwrap();
    let record = Record { host: "doomed".to_owned(), ..Record::of_this_process(rank, vec![]) };
    let patience = Duration::from_secs(10);
    let join = serde_json::json!({ "size": 4, "patience": patience, "record": record });
    link.send(join.to_string().as_bytes(), in_ms(1000)).unwrap();
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_rank_that_dies_in_the_middle_is_named_at_once() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let started = Instant::now();
    let doomed = thread::spawn({
        let id = id.clone();
        move || die_in_the_meeting(&id, 2)
    });
    let mut ranks = world_of(4, &Meeting::UniqueId(id));
    ranks.truncate(2);
    for met in all_come(ranks, 10_000) {
        let Err(BootstrapError::Died { who }) = met else { panic!("{met:?}") };
        assert_eq!((who.rank, who.host.as_str()), (2, "doomed"));
    }
    doomed.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_host_that_goes_away_calls_the_meeting_off() {
    let (host, id) = MeetingHost::open(&listener()).unwrap();
    let rank = thread::spawn(move || come(identity(1, 2, Meeting::UniqueId(id)), 10_000, |_| {}));
    thread::sleep(Duration::from_millis(200));
    drop(host);
    let met = rank.join().unwrap();
    assert!(matches!(met, Err(BootstrapError::CalledOff { .. })), "{met:?}");
}

#[test]
fn one_process_too_many_is_told_so() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let meeting = Meeting::UniqueId(id);
    assert_met(all_come(world_of(2, &meeting), 10_000));
    let late = come(identity(1, 2, meeting), 10_000, |_| {});
    assert!(matches!(late, Err(BootstrapError::Complete { size: 2, .. })), "{late:?}");
}

#[test]
fn strangers_on_the_port_delay_nobody() {
    let meeting = root(free_port(), "ours");
    let Meeting::Root { address, .. } = &meeting else { unreachable!() };
    let address: SocketAddr = address.parse().unwrap();
    let started = Instant::now();
    thread::scope(|s| {
        let rank_0 = s.spawn(|| come(identity(0, 2, meeting.clone()), 10_000, |_| {}));
        let mut silent = connect(address);
        connect(address).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        silent.write_all(b"cross").unwrap();
        let rank_1 = s.spawn(|| come(identity(1, 2, meeting.clone()), 10_000, |_| {}));
        assert_met(vec![rank_0.join().unwrap(), rank_1.join().unwrap()]);
    });
    assert!(started.elapsed() < Duration::from_secs(3));
}

fn connect(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn strangers_are_counted_in_the_error_of_those_who_wait() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let address = id.addresses[0];
    let rank = thread::spawn(move || come(identity(0, 2, Meeting::UniqueId(id)), 800, |_| {}));
    connect(address).write_all(&[0x55; 200]).unwrap();
    let text = rank.join().unwrap().unwrap_err().to_string();
    assert!(text.contains("1 stranger was turned away"), "{text}");
}

#[test]
fn a_wrong_secret_is_refused_on_both_sides() {
    let port = free_port();
    let (rank_0, rank_1) = thread::scope(|s| {
        let rank_0 = s.spawn(|| come(identity(0, 2, root(port, "right")), 900, |_| {}));
        let rank_1 = s.spawn(|| come(identity(1, 2, root(port, "wrong")), 900, |_| {}));
        (rank_0.join().unwrap(), rank_1.join().unwrap())
    });
    let text = rank_1.unwrap_err().to_string();
    assert!(text.contains("secret") && text.contains("rank 0"), "{text}");
    let hint = format!("if another job meets at CROSSTIE_ROOT 127.0.0.1:{port} too");
    assert!(text.contains(&hint), "{text}");
    let Err(BootstrapError::Missing { ranks, strangers, .. }) = rank_0 else {
        panic!("{rank_0:?}")
    };
    assert_eq!(ranks, [1]);
    assert!(strangers.contains("another secret"), "{strangers}");
}

#[test]
fn jobs_that_mix_at_a_root_are_told_of_each_other() {
    let meeting = root(free_port(), "both");
    let come = |rank, size| come(identity(rank, size, meeting.clone()), 10_000, |_| {});
    for (rank, size, code) in [(1, 3, "both say that they are rank 1"), (1, 2, "says 2")] {
        let errors = thread::scope(|s| {
            let come = &come;
            let ours = [0, 1].map(|rank| s.spawn(move || come(rank, 3)));
            thread::sleep(Duration::from_millis(200));
            let theirs = s.spawn(move || come(rank, size));
            ours.into_iter().chain([theirs]).map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
        });
        for error in errors {
            let text = error.unwrap_err().to_string();
            assert!(text.contains(code) && text.contains("if another job meets"), "{text}");
        }
    }
}

#[test]
fn a_process_of_another_version_is_named_to_those_who_wait() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let (address, world) = (id.addresses[0], id.secret.world_id());
    let rank = thread::spawn(move || come(identity(0, 2, Meeting::UniqueId(id)), 800, |_| {}));
    let mut hello = [0; 160];
    hello[..8].copy_from_slice(b"crosstie");
    hello[8] = 9;
    hello[16..24].copy_from_slice(&world.0.to_le_bytes());
    hello[35] = 3;
    hello[44..47].copy_from_slice(b"old");
    connect(address).write_all(&hello).unwrap();
    let text = rank.join().unwrap().unwrap_err().to_string();
    assert!(text.contains("9.0 on old"), "{text}");
    assert!(text.contains("rank 1 of 2 did not come"), "{text}");
}

/// A link to the meeting of one who knows the secret and has said nothing yet.
fn guest(id: &UniqueId) -> Link {
    dial(&Dial::new(&id.addresses, &id.secret, Target::Meeting, Purpose::Meeting, in_ms(5000)))
        .unwrap()
}

#[test]
fn a_member_that_says_nothing_delays_nobody() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let _mute = guest(&id);
    assert_met(all_come(world_of(2, &Meeting::UniqueId(id)), 4000));
}

#[test]
fn a_member_that_speaks_nonsense_is_named_to_all() {
    for nonsense in [&b"{}"[..], b"", b"\xff", br#"{"size":2,"patience":0,"record":7}"#] {
        let (_host, id) = MeetingHost::open(&listener()).unwrap();
        let mut member = guest(&id);
        member.send(nonsense, in_ms(1000)).unwrap();
        let met = come(identity(0, 2, Meeting::UniqueId(id)), 4000, |_| {});
        assert!(matches!(met, Err(BootstrapError::Protocol { .. })), "{met:?}");
    }
}

/// One rank on `machine`, which answers as `describe` does when it is asked what that is.
fn come_describing(
    who: Identity,
    machine: &str,
    describe: &dyn Fn() -> Option<Description>,
) -> Met {
    let listener = listener();
    let mut own = Record::of_this_process(who.rank, listener.addresses());
    own.machine = Some(Machine { name: machine.to_owned(), is_host: true });
    meet_describing(&who, &listener, own, in_ms(10_000), (describe, &|| None))
}

fn described(text: &str) -> Option<Description> {
    Some(Description { text: text.to_owned(), nics: vec![Some([10, 0, 0, 1].into()), None] })
}

#[test]
fn one_rank_of_each_machine_is_asked_what_it_is_and_all_learn_each_kind_once() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let asked = AtomicU32::new(0);
    // Like machines a and c; nothing is known of d.
    let machines = ["a", "a", "b", "c", "c", "b", "d", "d"];
    let met: Vec<Met> = thread::scope(|s| {
        let ranks: Vec<_> = (0..)
            .zip(machines)
            .map(|(rank, machine)| {
                let who = identity(rank, 8, Meeting::UniqueId(id.clone()));
                let asked = &asked;
                let describe = move || {
                    asked.fetch_add(1, Ordering::Relaxed);
                    match machine {
                        "a" | "c" => described("like \"a\""),
                        "b" => described("b"),
                        _ => None,
                    }
                };
                s.spawn(move || come_describing(who, machine, &describe))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    let worlds = assert_met(met);
    assert_eq!(asked.load(Ordering::Relaxed), 4, "each machine once");
    for world in &worlds {
        assert_eq!(*world.kinds, ["like \"a\"", "b"]);
        let kinds: Vec<_> = world.records.iter().map(|record| record.kind).collect();
        let (a, b) = (Some(0), Some(1));
        assert_eq!(kinds, [a, a, b, a, a, b, None, None]);
        let told: Vec<_> = world.records.iter().map(|record| record.nics.len()).collect();
        assert_eq!(told, [2, 0, 2, 2, 0, 0, 0, 0]);
    }
}

#[test]
fn a_rank_that_dies_while_it_is_asked_for_its_machine_is_named_to_all() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let who = |rank| identity(rank, 3, Meeting::UniqueId(id.clone()));
    let met: Vec<Met> = thread::scope(|s| {
        let others: Vec<_> = (0..2)
            .map(|rank| {
                let who = who(rank);
                s.spawn(move || come_describing(who, "a", &|| described("a")))
            })
            .collect();
        let victim = who(2);
        let dies = s.spawn(move || {
            come_describing(victim, "b", &|| panic!("it dies instead of answering"))
        });
        assert!(dies.join().is_err());
        others.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    for met in met {
        let error = met.unwrap_err();
        assert!(matches!(&error, BootstrapError::Died { who } if who.rank == 2), "{error}");
    }
}

#[test]
fn who_comes_too_late_while_others_are_asked_is_told_so_and_harms_nobody() {
    let (_host, id) = MeetingHost::open(&listener()).unwrap();
    let who = |rank| identity(rank, 2, Meeting::UniqueId(id.clone()));
    let (late, again) = (who(1), who(1));
    let late_error = std::sync::Mutex::new(None);
    // All have come when the first is asked: it answers only after another has tried to come.
    let describe = || {
        let error = come(again.clone(), 5_000, |_| {}).unwrap_err();
        *late_error.lock().unwrap() = Some(error);
        described("a")
    };
    let met: Vec<Met> = thread::scope(|s| {
        let first = s.spawn(|| come_describing(who(0), "a", &describe));
        let second = s.spawn(|| come(late, 10_000, |_| {}));
        vec![first.join().unwrap(), second.join().unwrap()]
    });
    assert_met(met);
    let error = late_error.lock().unwrap().take().unwrap();
    assert!(matches!(error, BootstrapError::Complete { .. }), "{error}");
}
