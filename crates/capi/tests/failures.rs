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
fn ends_of_threads_and_of_the_program_can_use_the_library() {
    if has("gcc") {
        let program = build("gcc", "late.c");
        for end in ["exit", "destructor", "thread"] {
            run(&program, &[end]);
            // What it logs as it ends goes somewhere, or nowhere.
            let logging = command(&program, &[end]).env("NCCL_DEBUG", "TRACE").spawn().unwrap();
            let (code, output) = finish(logging, end);
            assert_eq!(code, Some(0), "{end}: {output}");
        }
    }
}

#[test]
fn children_leave_in_order_what_they_made_whatever_their_parent_made() {
    if has("gcc") {
        let program = build("gcc", "forked.c");
        for transport in ["shm", "tcp"] {
            let mut world = command(&program, &[]);
            let world = world.env("CROSSTIE_TRANSPORT", transport).spawn().unwrap();
            let (code, output) = finish(world, transport);
            assert_eq!(code, Some(0), "over {transport}: {output}");
        }
    }
}

#[test]
fn reductions_are_of_one_communicator_and_read_their_factor_as_they_run() {
    if has("gcc") {
        run(&build("gcc", "reductions.c"), &[]);
    }
}

#[test]
fn ranks_that_failed_leave_nothing_behind_and_blame_the_limit_of_open_files() {
    if has("gcc") {
        run(&build("gcc", "leaks.c"), &[]);
    }
}

#[test]
fn what_other_ranks_do_wrong_is_told_and_survived() {
    if !has("gcc") {
        return;
    }
    let program = build("gcc", "failures.c");
    let cases = [
        "dies",
        "differs",
        "roots",
        "messages",
        "bystander",
        "shrinks",
        "lists",
        "aborts",
        "leaves_by_abort",
        "forgets",
        "missing",
        "given_up",
        "nobody",
    ];
    for case in cases {
        let id = scratch(&format!("id-{case}")).join("id").display().to_string();
        let start = |rank| command(&program, &[case, rank, &id]).spawn().expect("it starts");
        let children: Vec<Child> = ["0", "1", "2"].map(start).into();
        for (rank, child) in children.into_iter().enumerate() {
            let (code, text) = finish(child, &format!("{case}, rank {rank}"));
            assert_eq!(code, Some(0), "{case}, rank {rank}: {text}");
        }
    }
}
