//! Owns the tests of the PMI-1 wire protocol, against a small server on a socket pair.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use super::*;

pub(crate) type Values = Arc<Mutex<BTreeMap<String, String>>>;

/// Answers one process as Hydra does, until it takes leave.
pub(crate) fn serve(stream: UnixStream, values: Values, all_here: Arc<Barrier>) {
    let mut out = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let answer = match word(&line, "cmd").unwrap() {
            "init" => "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0".to_owned(),
            "get_maxes" => "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024".to_owned(),
            "get_my_kvsname" => "cmd=my_kvsname kvsname=kvs_7_0".to_owned(),
            "put" => {
                let (key, value) = (word(&line, "key").unwrap(), word(&line, "value").unwrap());
                values.lock().unwrap().insert(key.to_owned(), value.to_owned());
                "cmd=put_result rc=0 msg=success".to_owned()
            }
            "barrier_in" => {
                all_here.wait();
                "cmd=barrier_out rc=0".to_owned()
            }
            "get" => match values.lock().unwrap().get(word(&line, "key").unwrap()) {
                Some(value) => format!("cmd=get_result rc=0 msg=success value={value}"),
                None => "cmd=get_result rc=-1 msg=key_not_found value=unknown".to_owned(),
            },
            "finalize" => {
                writeln!(out, "cmd=finalize_ack rc=0").unwrap();
                return;
            }
            other => panic!("{other}"),
        };
        writeln!(out, "{answer}").unwrap();
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[test]
fn what_one_process_puts_all_get_after_the_barrier() {
    let (values, all_here) = (Values::default(), Arc::new(Barrier::new(3)));
    let long = "f".repeat(1024);
    thread::scope(|s| {
        for rank in 0..3 {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (values, all_here, long) = (values.clone(), all_here.clone(), &long);
            s.spawn(move || serve(theirs, values, all_here));
            s.spawn(move || {
                let mut pmi = Pmi1::open(ours.as_raw_fd(), soon()).unwrap();
                if rank == 0 {
                    pmi.put("crosstie", long).unwrap();
                }
                pmi.barrier().unwrap();
                assert_eq!(&pmi.get("crosstie").unwrap(), long);
                pmi.finalize().unwrap();
            });
        }
    });
}

/// A conversation with a launcher that sends `answer` and says no more.
fn with(answer: &[u8], deadline: Instant) -> BootstrapError {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(answer).unwrap();
    let fd = ours.as_raw_fd();
    match Pmi1::open(fd, deadline) {
        Err(error) => error,
        Ok(_) => panic!("the launcher's answer was taken"),
    }
}

#[test]
fn a_silent_launcher_is_left_at_the_deadline() {
    let started = Instant::now();
    let error = with(b"", started + Duration::from_millis(50)).to_string();
    assert!(error.contains("deadline"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn refusals_and_nonsense_are_typed_errors() {
    for answer in [
        &b"cmd=response_to_init rc=-1\n"[..],
        b"cmd=maxes\n",
        b"hello\n",
        b"\xff\xfe\n",
        &[b'x'; 5000],
    ] {
        let error = with(answer, soon());
        assert!(matches!(error, BootstrapError::Pmi { .. }), "{error}");
    }
}

#[test]
fn a_launcher_that_hung_up_is_reported_with_a_remedy() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let error = Pmi1::open(ours.as_raw_fd(), soon()).err().unwrap().to_string();
    assert!(error.contains("CROSSTIE_ROOT"), "{error}");
}

#[test]
fn a_closed_descriptor_is_reported_with_a_remedy() {
    let error = Pmi1::open(1_000_000, soon()).err().unwrap().to_string();
    assert!(error.contains("PMI_FD=1000000") && error.contains("CROSSTIE_ROOT"), "{error}");
}

#[test]
fn values_that_are_too_long_are_not_sent() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || serve(theirs, Values::default(), Arc::new(Barrier::new(1))));
    let mut pmi = Pmi1::open(ours.as_raw_fd(), soon()).unwrap();
    assert!(matches!(pmi.put("k", &"v".repeat(1025)), Err(BootstrapError::Pmi { .. })));
    assert!(matches!(pmi.get("k"), Err(BootstrapError::Pmi { .. })));
    pmi.finalize().unwrap();
}
