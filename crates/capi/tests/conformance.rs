//! Every function of the C interface that works, from C and from C++, by every way to drive ranks.

mod support;

use std::net::TcpListener;

use support::{build, command, finish, has, run, run_processes, scratch};

fn conforms(compiler: &str, sizes: &[u32]) {
    if !has(compiler) {
        return;
    }
    let program = build(compiler, "conformance.c");
    for &size in sizes {
        run(&program, &["threads", &size.to_string()]);
        run(&program, &["group", &size.to_string()]);
        run_processes(&program, size);
    }
}

#[test]
fn c_programs_run_as_threads_as_one_thread_and_as_processes() {
    conforms("gcc", &[1, 2, 4]);
}

#[test]
fn cpp_programs_do_too() {
    conforms("g++", &[3]);
}

fn free_address() -> String {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    port.expect("a port is free").to_string()
}

#[test]
fn ranks_meet_at_an_address_as_often_as_they_like() {
    if !has("gcc") {
        return;
    }
    let program = build("gcc", "address.c");
    let address = free_address();
    let start = |rank| {
        let mut command = command(&program, &[rank, "3"]);
        command.env("NCCL_COMM_ID", &address).spawn().expect("the program starts")
    };
    for (rank, child) in ["0", "1", "2"].map(start).into_iter().enumerate() {
        let (code, text) = finish(child, &format!("rank {rank}"));
        assert_eq!(code, Some(0), "rank {rank}: {text}");
    }
}

#[test]
fn what_the_environment_says_in_vain_is_told_and_the_log_goes_where_it_is_asked_to() {
    if !has("gcc") {
        return;
    }
    let program = build("gcc", "address.c");
    let run = |variables: &[(&str, &str)]| {
        let mut command = command(&program, &["0", "1"]);
        command
            .env("NCCL_COMM_ID", free_address())
            .env("NCCL_BUFFSIZE", "1")
            .env("CROSSTIE_FRUIT", "1");
        let child = command.envs(variables.iter().copied()).spawn().expect("the program starts");
        let (code, text) = finish(child, "a rank alone");
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let text = run(&[]);
    assert_eq!(text.matches("not heeded here: NCCL_BUFFSIZE").count(), 1, "{text}");
    assert!(text.contains("CROSSTIE_FRUIT is no setting"), "{text}");
    let file = scratch("log").join("log-%p");
    let text = run(&[("NCCL_DEBUG", "INFO"), ("NCCL_DEBUG_FILE", &file.display().to_string())]);
    assert_eq!(text, "");
    let folder = std::fs::read_dir(file.parent().expect("it is in a folder")).expect("it is there");
    let logs: Vec<_> = folder.map(|entry| entry.expect("it is there").path()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let log = std::fs::read_to_string(&logs[0]).expect("it can be read");
    assert!(log.contains("NCCL_BUFFSIZE") && log.contains("interface of NCCL"), "{log}");
}

#[test]
fn ranks_meet_at_an_address_after_failures_and_restarts() {
    if !has("gcc") {
        return;
    }
    let program = build("gcc", "again.c");
    let run = |case: &'static str| {
        let address = free_address();
        let start = |rank| {
            let mut command = command(&program, &[case, rank]);
            command.env("NCCL_COMM_ID", &address).spawn().expect("the program starts")
        };
        for (rank, child) in ["0", "1"].map(start).into_iter().enumerate() {
            let (code, text) = finish(child, &format!("{case}, rank {rank}"));
            assert_eq!(code, Some(0), "{case}, rank {rank}: {text}");
        }
    };
    std::thread::scope(|scope| {
        for case in ["late", "refused", "restarted", "together"] {
            let run = &run;
            scope.spawn(move || run(case));
        }
    });
}

#[test]
#[ignore = "slow: every size, from both languages"]
fn on_every_number_of_ranks() {
    conforms("gcc", &[8]);
    conforms("g++", &[1, 2, 4, 8]);
}
