//! Every function of the C interface that works, from C and from C++, by every way to drive ranks.

mod support;

use std::net::TcpListener;

use support::{build, command, finish, has, run, run_processes};

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

#[test]
fn ranks_meet_at_an_address_as_often_as_they_like() {
    if !has("gcc") {
        return;
    }
    let program = build("gcc", "address.c");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = port.expect("a port is free").to_string();
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
#[ignore = "slow: every size, from both languages"]
fn on_every_number_of_ranks() {
    conforms("gcc", &[8]);
    conforms("g++", &[1, 2, 4, 8]);
}
