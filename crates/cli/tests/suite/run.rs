//! `crosstie run`: any program's ranks, their output, and how they end.

use std::process::Command;

use crate::support::{Running, all_gone, crosstie};
use rustix::process::Signal;

fn shell(flags: &str, script: &str) -> Command {
    let mut command = crosstie(&format!("run {flags} -- sh -c"));
    command.arg(script);
    command
}

#[test]
fn each_line_carries_its_rank_and_each_rank_knows_itself() {
    let script = "echo $CROSSTIE_RANK of $CROSSTIE_SIZE on $CROSSTIE_NODE; echo warned >&2";
    let done = Running::start(shell("-n 3 --nodes 2", script)).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    let expected =
        ["[0] 0 of 3 on emulated-0", "[1] 1 of 3 on emulated-0", "[2] 2 of 3 on emulated-1"];
    assert_eq!(lines, expected);
    assert_eq!(done.err.matches("] warned").count(), 3);
}

#[test]
fn each_job_has_a_secret_of_its_own_unless_one_is_given() {
    let secrets = |given: &[(&str, &str)]| {
        let mut job = shell("-n 2", "echo $CROSSTIE_SECRET");
        job.envs(given.iter().copied());
        let done = Running::start(job).finish();
        let lines = done.out.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(_, secret)| secret.to_owned()).collect::<Vec<_>>()
    };
    let (one, other) = (secrets(&[]), secrets(&[]));
    assert!(one.len() == 2 && one[0] == one[1] && one[0].len() > 32, "{one:?}");
    assert_ne!(one[0], other[0]);
    assert_eq!(secrets(&[("CROSSTIE_SECRET", "ours")]), ["ours"; 2]);
    assert_eq!(secrets(&[("CROSSTIE_SECRET_FILE", "/a/file")]), [""; 2]);
}

#[test]
fn nodes_are_as_many_as_asked_for_and_their_sizes_differ_by_one_at_most() {
    let done = Running::start(shell("-n 5 --nodes 3", "echo $CROSSTIE_NODE")).finish();
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    let on = [0, 0, 1, 1, 2];
    let expected: Vec<String> =
        (0..).zip(on).map(|(rank, node): (u32, _)| format!("[{rank}] emulated-{node}")).collect();
    assert_eq!(lines, expected, "{}", done.err);
}

#[test]
fn ranks_fill_the_nodes_of_a_described_machine_and_are_told_of_it() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/cpu-4nic.xml");
    let script = "echo $CROSSTIE_NODE ${CROSSTIE_TOPO_FILE##*/}";
    let done = Running::start(shell(&format!("--nodes 2 --topo {file}"), script)).finish();
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    let expected: Vec<String> =
        (0..8).map(|rank| format!("[{rank}] emulated-{} cpu-4nic.xml", rank / 4)).collect();
    assert_eq!(lines, expected, "{}", done.err);
}

#[test]
fn ranks_raise_a_limit_of_open_files_that_is_too_low_for_their_world() {
    let low = "ulimit -Sn 40; exec \"$@\"";
    let mut command = crosstie("run -n 8 -- sh -c");
    command.args([
        low,
        "sh",
        env!("CARGO_BIN_EXE_crosstie"),
        "bench",
        "all_reduce",
        "-e",
        "64",
        "-n",
        "1",
    ]);
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
}

#[test]
fn the_first_failure_ends_the_rest_and_gives_the_exit_code() {
    let script = "[ $CROSSTIE_RANK = 1 ] && exit 7; sleep 600";
    let done = Running::start(shell("-n 3", script)).finish();
    assert_eq!(done.code, Some(7), "{}", done.err);
    assert!(done.err.contains("[1] ended with exit code 7"), "{}", done.err);
}

#[test]
fn the_others_go_on_after_a_failure_if_they_may() {
    let script = "[ $CROSSTIE_RANK = 1 ] && kill -KILL $$; sleep 5; echo went on";
    let done = Running::start(shell("-n 3 --keep-going", script)).finish();
    assert_eq!(done.code, Some(128 + 9), "one has failed: {}", done.err);
    assert_eq!(done.out.matches("went on").count(), 2, "{done:?}");
    assert_eq!(done.err, "[1] was killed by signal 9 (SIGKILL)\n");
}

#[test]
fn what_ranks_report_alike_is_told_once() {
    let report =
        "Error: CT-060: rank 9 died\\n  rank %s stood at: all_reduce #1\\n  remedy: see rank 9\\n";
    let script = format!("echo out; printf '{report}' $CROSSTIE_RANK >&2; exit 3");
    let done = Running::start(shell("-n 3", &script)).finish();
    assert_eq!(done.code, Some(3), "{}", done.err);
    assert_eq!(
        done.err,
        "[0-2] Error: CT-060: rank 9 died\n[0-2]   remedy: see rank 9\n\
         [0]   rank 0 stood at: all_reduce #1\n[1]   rank 1 stood at: all_reduce #1\n\
         [2]   rank 2 stood at: all_reduce #1\n[0-2] ended with exit code 3\n"
    );
}

#[test]
fn a_report_comes_before_what_its_rank_writes_next() {
    let script =
        "printf 'CT-001: odd\n  remedy: even\n' >&2; echo next >&2; sleep 1; echo last >&2";
    let done = Running::start(shell("-n 1", script)).finish();
    assert_eq!(done.err, "[0] CT-001: odd\n[0]   remedy: even\n[0] next\n[0] last\n");
}

#[test]
fn a_rank_that_left_with_exit_code_0_before_others_failed_is_told_of() {
    let script = "[ $CROSSTIE_RANK = 2 ] && exit 0; sleep 0.1; exit 3";
    let done = Running::start(shell("-n 3", script)).finish();
    assert_eq!(done.code, Some(3), "{}", done.err);
    assert!(done.err.contains("[2] ended (exit code 0) before others failed"), "{}", done.err);
}

#[test]
fn a_rank_that_is_ended_for_anothers_failure_is_told_of() {
    let script = "[ $CROSSTIE_RANK = 0 ] && exit 7; exec sleep 600";
    let done = Running::start(shell("-n 2", script)).finish();
    assert!(done.err.contains("[1] was ended: rank 0 failed first"), "{}", done.err);
}

#[test]
fn ranks_that_are_ended_see_no_other_end_first_and_hear_of_the_cause() {
    // The others read a pipe that has no end while rank 0 lives.
    let folder = std::env::temp_dir().join(format!("crosstie-run-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!(
        "case $CROSSTIE_RANK in 0) exec 3<>{0}; exec sleep 600;; 31) sleep 0.5; kill -KILL $$;; esac; \
         read line <{0}; echo rank 0 died",
        pipe.display()
    );
    let done = Running::start(shell("-n 32", &script)).finish();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((done.code, done.out.as_str()), (Some(137), ""), "{}", done.err);
    let told = "was ended: rank 31 failed first (it was killed by signal 9 (SIGKILL))";
    assert!(done.err.contains(told), "{}", done.err);
}

#[test]
fn a_rank_that_ends_while_others_wait_is_told_of_at_once() {
    let done = Running::start(shell("-n 3", "[ $CROSSTIE_RANK = 1 ] || sleep 2")).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(done.err, "[1] ended (exit code 0) while others still run\n");
}

#[test]
fn the_last_words_of_a_rank_come_before_its_end() {
    let script = "seq 1 3000 >&2; echo last >&2; exit 9";
    let done = Running::start(shell("-n 1", script)).finish();
    let position = |text: &str| done.err.find(text).unwrap_or_else(|| panic!("{}", done.err));
    assert!(position("[0] last") < position("[0] ended with exit code 9"), "{}", done.err);
}

#[test]
fn a_cause_gives_the_exit_code_though_its_consequence_came_first() {
    for (cause, code) in [("exit 101", 101), ("kill -KILL $$", 137), ("exit 7", 7)] {
        let script = format!("[ $CROSSTIE_RANK = 1 ] && exit 3; sleep 0.02; {cause}");
        let done = Running::start(shell("-n 2", &script)).finish();
        assert_eq!(done.code, Some(code), "{cause}: {}", done.err);
    }
}

#[test]
fn a_program_killed_by_a_signal_is_reported_as_by_a_shell() {
    let done = Running::start(shell("-n 1", "kill -SEGV $$")).finish();
    assert_eq!(done.code, Some(128 + 11), "{}", done.err);
    assert!(done.err.contains("signal 11 (SIGSEGV)"), "{}", done.err);
}

#[test]
fn what_a_rank_leaves_in_the_background_ends_with_it() {
    let mut run = Running::start(shell("-n 1", "sleep 600 & echo $!; wait"));
    let pid = run.first_line();
    let sleeper =
        pid.trim_start_matches("[0] ").trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(130));
    assert!(all_gone(&[sleeper.unwrap()]));
}

#[test]
fn ranks_of_this_library_find_each_other() {
    let crosstie_itself = env!("CARGO_BIN_EXE_crosstie");
    let mut command = crosstie("run -n 3 --nodes 2 --");
    command.arg(crosstie_itself).args(["bench", "all_to_all", "-e", "1K", "-n", "2"]);
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(done.out.matches("all_to_all on 3 ranks of 2 nodes").count(), 1, "{}", done.out);
    assert!(done.out.lines().all(|line| line.starts_with("[0]")), "{}", done.out);
}

/// The files of a captured machine of `crates/probe/tests/trees`; they go when the test ends.
struct Machine(std::path::PathBuf);

impl Machine {
    fn captured(name: &str) -> Self {
        let trees = format!("{}/../probe/tests/trees", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(format!("{trees}/{name}.tree")).unwrap();
        // Thousands of small files: memory takes them sooner than a disk.
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        let root = place.join(format!("crosstie-run-{}-{name}", std::process::id()));
        text.parse::<crosstie_probe::Captured>().unwrap().write_below(&root).unwrap();
        Self(root)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn processes_on_unlike_machines_are_one_world_that_knows_both() {
    let (dgx, laptop) = (Machine::captured("dgx-a100"), Machine::captured("laptop"));
    let crosstie = env!("CARGO_BIN_EXE_crosstie");
    let script = format!(
        "case $CROSSTIE_NODE in emulated-0) CROSSTIE_DETECT={};; *) CROSSTIE_DETECT={};; esac
         export CROSSTIE_DETECT
         exec {crosstie} bench all_reduce -b 1K -e 1K -n 2 -w 0",
        dgx.0.display(),
        laptop.0.display()
    );
    let done = Running::start(shell("-n 4 --nodes 2", &script)).finish();
    assert_eq!(done.code, Some(0), "{done:?}");
    let told = "# machines detected: 2 machines of 2 kinds (8 GPUs, 10 NICs in the first)";
    assert!(done.out.contains(told), "{}", done.out);
    // Its wireless card is no rail.
    assert!(done.out.contains("# rails: 2, one for each rank of a node"), "{}", done.out);
}
