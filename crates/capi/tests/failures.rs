//! What the C interface refuses, what it tells of other ranks' failures, and calls that nobody waits for.

mod support;

use std::process::Child;

use support::{build, build_library, command, finish, has, run, scratch};

#[test]
fn bad_calls_are_refused_with_a_code_and_a_text() {
    if has("gcc") {
        run(&build("gcc", "refusals.c"), &[]);
    }
}

#[test]
fn memory_of_a_gpu_is_refused_and_not_followed() {
    if has("gcc") {
        let driver = build_library("driver.c", "libcuda.so.1");
        run(&build("gcc", "gpu.c"), &[&driver.display().to_string()]);
    }
}

#[test]
fn calls_on_communicators_that_do_not_block_return_at_once() {
    if has("gcc") {
        run(&build("gcc", "nonblocking.c"), &[]);
    }
}

#[test]
fn what_other_ranks_do_wrong_is_told_and_survived() {
    if !has("gcc") {
        return;
    }
    let program = build("gcc", "failures.c");
    for case in
        ["dies", "differs", "roots", "aborts", "leaves_by_abort", "forgets", "missing", "nobody"]
    {
        let id = scratch(&format!("id-{case}")).join("id").display().to_string();
        let start = |rank| command(&program, &[case, rank, &id]).spawn().expect("it starts");
        let children: Vec<Child> = ["0", "1", "2"].map(start).into();
        for (rank, child) in children.into_iter().enumerate() {
            let (code, text) = finish(child, &format!("{case}, rank {rank}"));
            assert_eq!(code, Some(0), "{case}, rank {rank}: {text}");
        }
    }
}
