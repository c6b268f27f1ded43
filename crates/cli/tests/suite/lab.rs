//! `crosstie lab`: ranks on the nodes of an emulated cluster, and that nothing is left of it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::lab::{Mark, NOBODY, finish, no_lab, shell};
use crate::support::{Done, Running, crosstie, run};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn every_byte_is_right_between_nodes_of_a_lab() {
    if no_lab() {
        return;
    }
    let done = run(
        "lab --ranks-per-node 2 --counters -- bench all_to_all -b 4K -e 256K -f 64 -n 2 -w 1 --json",
    );
    assert_eq!(done.code, Some(0), "{}", done.err);
    let document: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&document["ranks"], &document["nodes"]), (&4.into(), &2.into()), "{document}");
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["out_of_place"]["wrong"], 0, "{row}");
        assert_eq!(row["in_place"]["wrong"], 0, "{row}");
    }
    assert!(document["counters"]["tcp"]["bytes"].as_u64() > Some(1 << 20), "{document}");
    assert!(done.err.contains("uplink of rail 1"), "{}", done.err);
}

#[test]
fn the_fabric_of_a_file_is_built_and_ranks_share_its_nics() {
    if no_lab() {
        return;
    }
    let printed = run("lab --nodes 2 --ranks-per-node 2 --rate 400mbit --print-fabric");
    assert_eq!(printed.code, Some(0), "{}", printed.err);
    let file = std::env::temp_dir().join(format!("{}.toml", Mark::new("fabric").0));
    fs::write(&file, printed.out).unwrap();
    let bench = "bench all_to_all -b 4K -e 4K -n 2 -w 0 --pxn on --json";
    for (more, ranks) in [("", 4), ("--ranks-per-node 4 --rate 200mbit", 8)] {
        let done = run(&format!("lab --fabric {} {more} --counters -- {bench}", file.display()));
        assert_eq!(done.code, Some(0), "{}", done.err);
        let document: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&document["ranks"], &document["nodes"]), (&ranks.into(), &2.into()));
        assert_eq!(document["rows"][0]["out_of_place"]["wrong"], 0, "{document}");
        let uplinks = if more.is_empty() {
            "NICs 400mbit, uplinks 200mbit"
        } else {
            "NICs 200mbit, uplinks 100mbit"
        };
        assert!(
            done.err.contains(uplinks) && done.err.contains("uplink of rail 1"),
            "{}",
            done.err
        );
        assert!(!done.err.contains("uplink of rail 2"), "{}", done.err);
    }
    fs::remove_file(&file).unwrap();
}

#[test]
fn fabrics_that_no_lab_can_be_are_refused_with_what_it_can() {
    let file = |name: &str| format!("{}/../../topology/{name}", env!("CARGO_MANIFEST_DIR"));
    for (name, more, why) in [
        ("fabric-fat-tree-32.toml", "--rate 100mbit", "a lab has one leaf for each port"),
        ("fabric-rail-2.toml", "", "a lab plays 10gbit at most: give --rate"),
        ("fabric-rail-2.toml", "--nodes 3", "cannot be used with"),
        ("none.toml", "", "No such file"),
        ("dgx-h100.xml", "", "is an NCCL topology file, not a fabric"),
    ] {
        let done = run(&format!("lab --fabric {} {more} -- bench all_to_all", file(name)));
        assert_eq!(done.code, Some(2), "{name}: {}", done.err);
        assert!(done.err.contains(why), "{name}: {}", done.err);
    }
}

#[test]
fn ranks_share_nics_where_a_node_has_fewer() {
    if no_lab() {
        return;
    }
    for pxn in ["on", "off"] {
        let done = run(&format!(
            "lab --rails 2 --ranks-per-node 4 --rate none -- bench all_to_all --pxn {pxn} -b 4K -e 64K -f 16 -n 2 -w 0 --json"
        ));
        assert_eq!(done.code, Some(0), "{}", done.err);
        let document: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        for row in document["rows"].as_array().unwrap() {
            assert_eq!(row["out_of_place"]["wrong"], 0, "{row}");
        }
        let nics = document["nics"].as_array().unwrap();
        let of = |nic: &serde_json::Value, what: &str| nic[what].as_u64().unwrap();
        assert!(nics.iter().all(|nic| of(nic, "rail") == of(nic, "rank") % 4 % 2), "{document}");
        let relays = nics.iter().filter(|nic| of(nic, "relayed_bytes") > 0);
        let relays: Vec<u64> = relays.map(|nic| of(nic, "rank")).collect();
        let owners: &[u64] = if pxn == "on" { &[0, 1, 4, 5] } else { &[] };
        assert_eq!(relays, owners, "{document}");
    }
}

#[test]
fn nodes_with_more_neighbours_than_a_kernel_learns_reach_each_other() {
    if no_lab() {
        return;
    }
    // 8 peers and the spine on each of 8 rails; and to the other rail all goes over the spine.
    let bench =
        format!("{} bench all_to_all -b 144 -e 144 -n 1 -w 0", env!("CARGO_BIN_EXE_crosstie"));
    let told = "test $CROSSTIE_RANK != 0 || ip neighbour show nud permanent | grep -c 10.77";
    let script = format!("{told}; exec {bench} --out-of-place");
    let done = finish(shell("--nodes 9 --ranks-per-node 2 --rails 8 --rate none", &script));
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let has = |what: &str| done.out.lines().any(|line| line.ends_with(what));
    assert!(has("72") && has("Out of bounds values : 0 OK"), "{}", done.out);
}

#[test]
fn short_messages_of_a_nodes_ranks_cross_the_network_together() {
    if no_lab() {
        return;
    }
    let done = run(
        "lab -- bench all_to_all --pxn on --flush full -b 8K -e 8K -n 20 -w 2 --out-of-place --json",
    );
    assert_eq!(done.code, Some(0), "{}", done.err);
    let document: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let half = &document["rows"][0]["out_of_place"];
    let of = |what: &str| ["messages", "wire_messages"].map(|it| half[what][it].as_f64().unwrap());
    assert_eq!(of("ideal"), [32.0, 8.0], "{half}");
    // A rank that gets no core for 10 ms is not waited for.
    let [messages, wire_messages] = of("network");
    assert!(messages == 32.0 && (8.0..16.0).contains(&wire_messages), "{half}");
}

#[test]
fn nodes_whose_nics_nobody_names_find_them_and_use_each() {
    if no_lab() {
        return;
    }
    let bench = format!(
        "unset CROSSTIE_NICS CROSSTIE_INTERFACE
         exec {} bench all_to_all -b 1M -e 1M -n 5 -w 0",
        env!("CARGO_BIN_EXE_crosstie")
    );
    let flags = "--nodes 2 --ranks-per-node 2 --rails 2 --counters";
    let whole = finish(shell(flags, &bench));
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    let told = "# machines detected: 2 like machines (no GPU, 2 NICs each)";
    assert!(whole.out.contains(told), "{}", whole.out);
    assert!(whole.out.contains("# rails: 2, by the nodes' NICs"), "{}", whole.out);
    // MB that went out by the second NIC of the first node: as long as nobody knows of NICs, the first carries all.
    let second = |done: &Done| -> f64 {
        let line = done.err.lines().find(|line| line.contains("node0  eth1"));
        let sent = line.and_then(|line| line.split_whitespace().nth(3)).map(str::parse);
        sent.unwrap_or_else(|| panic!("{}", done.err)).unwrap()
    };
    assert!(second(&whole) > 5.0, "{}", whole.err);

    // A cable less: the other node's ranks share what is left, and all know it alike.
    let cut = format!("[ $CROSSTIE_NODE = node1 ] && ip link set eth1 down\n{bench}");
    let cut = finish(shell(flags, &cut));
    assert_eq!(cut.code, Some(0), "{}", cut.err);
    let told = "# machines detected: 2 machines of 2 kinds (no GPU, 2 NICs in the first)";
    assert!(cut.out.contains(told), "{}", cut.out);
    assert!(cut.out.contains("# rails: 2, by the nodes' NICs"), "{}", cut.out);
}

#[test]
fn a_report_holds_what_ranks_say_against_limits_and_devices() {
    if no_lab() {
        return;
    }
    let mark = Mark::new("report");
    let [json, svg] =
        ["json", "svg"].map(|end| std::env::temp_dir().join(format!("{}.{end}", mark.0)));
    let mut command = crosstie(
        "lab report --ranks-per-node 2 --rate 400mbit --sizes 64,256K,64 --operations all_to_all --rounds 3 --markdown",
    );
    command.arg("--json").arg(&json).arg("--svg").arg(&svg);
    let done = finish(command);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let picture = fs::read_to_string(&svg).unwrap();
    fs::remove_file(&json).unwrap();
    fs::remove_file(&svg).unwrap();
    assert_eq!((&report["schema"], &report["lab"]["ranks_per_node"]), (&1.into(), &2.into()));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 4, "{report}");
    let sizes = [64.0, 262_144.0].into_iter().flat_map(|bytes| [bytes; 4]);
    for (row, bytes) in rows.iter().zip(sizes) {
        assert_eq!(row["wrong"], 0, "{row}");
        // Each of 2 x 2 ranks sends to the two on the other node: by NICs of 50 MB/s, or without PXN half
        // of it by uplinks of 25 MB/s, which two nodes share.
        let rate = if row["way"] == "direct" { 25.0 } else { 50.0 };
        assert_eq!(row["limit_us"].as_f64().unwrap(), 2.0 * bytes / rate, "{row}");
        let share = row["share_of_limit"].as_f64().unwrap();
        assert!(bytes < 100.0 || (0.2..1.2).contains(&share), "{row}");
    }
    // Half of it to the other rail; with PXN each of the four receives from two at once.
    let counts = |row: &serde_json::Value, of: &str| {
        ["bytes", "crossing_bytes", "wire_messages"].map(|what| row[of][what].as_f64().unwrap())
    };
    assert_eq!(counts(&rows[0], "per_call"), [8.0 * 64.0, 4.0 * 64.0, 8.0], "{report}");
    assert_eq!(counts(&rows[2], "ideal"), [8.0 * 64.0, 0.0, 4.0], "{report}");
    // In a lab whose spine is narrow, relays are taken at any length.
    assert_eq!(rows[7]["per_call"]["crossing_bytes"], 0.0, "{report}");
    assert!(
        done.out.contains("| bytes to each peer | direct | pxn-alone | pxn | auto |"),
        "{}",
        done.out
    );
    assert!(picture.starts_with("<svg") && picture.contains("limit"), "{picture}");
    // As `--sizes` has them, not as a buffer of four parts is long.
    let axis = ["bytes from each rank to each other", "256 KiB"];
    assert!(
        axis.iter().all(|text| picture.contains(text)) && !picture.contains("1 MiB"),
        "{picture}"
    );
}

#[test]
fn each_rank_is_on_its_node_and_told_of_its_world() {
    if no_lab() {
        return;
    }
    let script = "echo $CROSSTIE_RANK $CROSSTIE_SIZE $CROSSTIE_NODE $(cat /proc/sys/kernel/hostname) \
                  $CROSSTIE_ROOT $CROSSTIE_INTERFACE $LOCAL_RANK $(ls /sys/class/net | tr '\\n' ' ') \
                  $(wc -c <$CROSSTIE_SECRET_FILE)";
    let done = finish(shell("--nodes 3 --ranks-per-node 2 --rails 3 --no-spine", script));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    let expected = (0..6).map(|rank| {
        let (node, local) = (rank / 2, rank % 2);
        format!(
            "[{rank}] {rank} 6 node{node} node{node} 10.77.0.1:29400 eth{local} {local} eth0 eth1 eth2 lo 64"
        )
    });
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn labs_side_by_side_do_not_see_each_other() {
    if no_lab() {
        return;
    }
    let script = "ls /proc | grep -c '^[0-9]*$'; sleep 0.5";
    let labs = [(); 2].map(|()| Running::start(shell("--ranks-per-node 2", script)));
    for done in labs.map(Running::finish) {
        assert_eq!(done.code, Some(0), "{}", done.err);
        // The first process, and of each rank a shell, its subshell, ls and grep.
        let counts = done.out.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap());
        let counts: Vec<u32> = counts.collect();
        assert_eq!(counts.len(), 4);
        assert!(counts.iter().all(|&count| count <= 1 + 4 * 4), "{counts:?}");
    }
}

#[test]
fn a_cable_is_cut_and_joined_when_it_is_time() {
    if no_lab() {
        return;
    }
    let script = "for i in 1 2 3; do cat /sys/class/net/eth0/carrier; sleep 0.4; done";
    let done = finish(shell("--ranks-per-node 1 --down n0r0@200ms --up n0r0@600ms", script));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let of = |rank: &str| -> Vec<&str> {
        done.out.lines().filter_map(|line| line.strip_prefix(rank)).collect()
    };
    assert_eq!((of("[0] "), of("[1] ")), (vec!["1", "0", "1"], vec!["1", "1", "1"]));
    assert!(done.err.contains("the cable at n0r0 is cut"), "{}", done.err);
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    if no_lab() {
        return;
    }
    let done = finish(shell("--ranks-per-node 1", "[ $CROSSTIE_RANK = 0 ] || exit 7"));
    assert_eq!(done.code, Some(7), "{}", done.err);
    let done = finish(shell("--ranks-per-node 1", "kill -SEGV $$"));
    assert_eq!(done.code, Some(128 + 11), "{}", done.err);
}

#[test]
fn a_topology_in_the_environment_is_withheld_and_told_of() {
    if no_lab() {
        return;
    }
    let mut command = shell("--nodes 1 --ranks-per-node 1", "echo ${CROSSTIE_TOPO_FILE-none}");
    command.env("CROSSTIE_TOPO_FILE", "topology/dgx-h100.xml");
    let done = finish(command);
    assert_eq!(done.out, "[0] none\n");
    let told =
        "crosstie: CROSSTIE_TOPO_FILE has no effect: it describes nodes, but a lab has its own";
    assert_eq!(done.err.lines().collect::<Vec<_>>(), [told]);
}

#[test]
fn what_a_lab_cannot_be_or_run_is_refused_before_it_is_built() {
    for (line, said) in [
        ("lab --nodes 300 -- bench all_to_all", "300 nodes"),
        ("lab --rate fast -- bench all_to_all", "expected a number with kbit, mbit or gbit"),
        ("lab -- bench all_to_all --ranks 4", "the lab has 8 ranks"),
        ("lab -- bench all_to_all --transport shm", "the lab has 2"),
        ("lab -- bench all_to_all --transport loopback", "a lab starts processes"),
        ("lab -- bench all_to_some", "all_to_all"),
        ("lab -- run -n 3 -- true", "the lab has 8 ranks"),
        ("lab -- config", "not config"),
        ("lab --no-spine --oversubscription 2 -- bench all_to_all", "cannot be used with"),
        ("lab --down n2r0@1s -- run -- true", "no port n2r0"),
        ("lab --no-spine --down up0@1s -- run -- true", "no spine"),
        ("lab --down eth0@1s -- run -- true", "expected n0r1"),
        ("lab", "COMMAND"),
        ("lab report --sizes 1K,3", "multiple of 4"),
        ("lab report --rails 0", "0 rails"),
        ("lab report --svg picture.png", ".svg"),
        ("lab report --sizes 100000G", "give smaller --sizes"),
        ("lab -- bench all_to_all --rails 8 --pxn on", "the nodes of the lab have 4 NICs"),
        ("lab report --json no/such/report.json", "there is no folder no/such"),
        ("lab report --json x.json --frobnicate", "--frobnicate"),
        ("lab report --json /tmp", "that is a folder"),
        ("lab --ranks-per-node 0 -- bench all_to_all", "0 ranks on each node"),
    ] {
        let done = run(line);
        assert_eq!(done.code, Some(2), "{line}: {}", done.err);
        assert!(done.err.contains(said), "{line}: {}", done.err);
        assert_eq!(done.out, "", "{line}");
    }
}

#[test]
fn a_report_is_not_bent_by_its_callers_environment() {
    for (name, value) in [("CROSSTIE_RAILS", "2"), ("CROSSTIE_TRANSPORT", "tcp")] {
        let mut command = crosstie("lab report --sizes 1K --operations all_to_all");
        command.env(name, value);
        let done = finish(command);
        assert_eq!((done.code, &*done.out), (Some(2), ""), "{}", done.err);
        let said = format!("crosstie: {name}={value}: a report itself says");
        assert!(done.err.starts_with(&said), "{}", done.err);
        assert!(done.err.contains(&format!("env -u {name} crosstie lab report")), "{}", done.err);
    }
}

#[test]
fn without_rights_it_says_what_it_needs() {
    use std::os::unix::process::CommandExt;
    if no_lab() {
        return;
    }
    let mut command = crosstie("lab -- bench all_to_all");
    command.uid(65_534);
    match command.output() {
        Err(error) => println!("SKIPPED: nobody may not run the command: {error}"),
        Ok(output) => {
            let done = Done::from(output);
            assert_eq!(done.code, Some(4), "{}", done.err);
            assert!(done.err.contains("run it as root"), "{}", done.err);
        }
    }
}

#[test]
fn ctrl_c_and_sigterm_end_a_lab_at_once_with_their_codes() {
    if no_lab() {
        return;
    }
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mark = Mark::new("signal");
        let mut lab = Running::start(mark.on(shell("", "trap '' TERM INT; echo up; sleep 600")));
        lab.first_line();
        let began = Instant::now();
        lab.signal(signal);
        assert_eq!(lab.finish().code, Some(code));
        let took = began.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(mark.processes(), NOBODY, "nothing is left, not even for a moment");
    }
}

/// Kills `victim` of a lab that has run for a while, and looks for what is left.
fn kill_and_look(victim: Victim, after: Duration) {
    let devices = fabric_devices();
    let mark = Mark::new("kill");
    // A child that has a session of its own, besides the shell.
    let script = "setsid sleep 600 & sleep 600";
    let lab = Running::start(mark.on(shell("--ranks-per-node 2", script)));
    thread::sleep(after);
    match victim.find(&lab) {
        Some(pid) => {
            let _ = kill_process(pid, Signal::KILL);
            let done = lab.finish();
            assert!(victim.codes().contains(&done.code), "{victim:?} after {after:?}: {done:?}");
        }
        None => drop(lab), // too early for such a process: the caller is killed
    }
    let until = Instant::now() + Duration::from_secs(2);
    while !mark.processes().is_empty() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(mark.processes(), NOBODY, "{victim:?} after {after:?}");
    // What has no process, no mount and no name outside is freed by the kernel.
    assert_eq!(fabric_devices(), devices);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("/run/netns/node"), "{mounts}");
}

#[derive(Debug, Clone, Copy)]
enum Victim {
    Caller,
    First,
    Rank,
}

impl Victim {
    fn find(self, lab: &Running) -> Option<Pid> {
        let first = || child_of(lab.pid());
        match self {
            Self::Caller => Some(lab.pid()),
            Self::First => first(),
            Self::Rank => first().and_then(child_of),
        }
    }

    /// What the command may end with.
    fn codes(self) -> &'static [Option<i32>] {
        match self {
            Self::Caller => &[None],
            Self::First => &[Some(128 + 9)],
            Self::Rank => &[Some(128 + 9), Some(4)], // it was a command of the set-up
        }
    }
}

#[test]
fn nothing_is_left_when_a_process_of_the_lab_is_killed() {
    if no_lab() {
        return;
    }
    for after_ms in [10, 50, 300] {
        kill_and_look(Victim::Caller, Duration::from_millis(after_ms));
        kill_and_look(Victim::First, Duration::from_millis(after_ms));
    }
    // The others have four seconds to report.
    kill_and_look(Victim::Rank, Duration::from_millis(300));
}

#[test]
#[ignore = "slow: a minute of kills at random moments"]
fn nothing_is_left_whenever_a_process_of_the_lab_is_killed() {
    if no_lab() {
        return;
    }
    use Victim::{Caller, First, Rank};
    for victim in [Caller, First, Caller, First, Caller, First, Rank].into_iter().cycle().take(63) {
        let random = fs::read("/proc/sys/kernel/random/uuid").unwrap();
        let after = random.iter().take(8).fold(0u64, |sum, &it| sum * 31 + u64::from(it)) % 400;
        kill_and_look(victim, Duration::from_millis(after));
    }
}

fn child_of(parent: Pid) -> Option<Pid> {
    let id = parent.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok();
    // The caller waits in a thread, whose child the lab is.
    let tasks = fs::read_dir(format!("/proc/{id}/task")).ok()?.flatten();
    let all = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let first = all.chain(children).find_map(|list| list.split(' ').next()?.parse().ok());
    first.and_then(Pid::from_raw)
}

/// Devices of this host with names as those of a lab's fabric.
fn fabric_devices() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<_> =
        names.filter(|name| name.starts_with("leaf") || name.starts_with("n0r")).collect();
    found.sort_unstable();
    found
}

#[test]
fn a_benchmark_tells_of_the_lab_that_it_ran_in() {
    if no_lab() {
        return;
    }
    let lab = "lab --ranks-per-node 2 --rate 400Mbit --oversubscription 2";
    let bench = "bench all_to_all -b 4K -e 4K -n 1 -w 0 --out-of-place";
    let done = run(&format!("{lab} -- {bench} --json"));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let document: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let told = serde_json::json!({
        "nodes": 2, "ranks_per_node": 2, "rails": 2, "rate_bits_per_second": 400_000_000,
        "oversubscription": 2, "mtu": 1500,
    });
    assert_eq!(document["lab"], told);
    assert_eq!((&document["pxn"], &document["rails"]), (&"off".into(), &2.into()));
    let table = run(&format!("{lab} -- {bench}"));
    let words = "# lab: 2 nodes x 2 ranks, 2 rails, NICs 400mbit, uplinks 400mbit, MTU 1500";
    for line in [words, "# pxn: off  rails: 2, by the NICs that were named"] {
        assert!(table.out.lines().any(|told| told == line), "{}", table.out);
    }
}

#[test]
fn changes_of_cables_that_change_nothing_are_told() {
    let refused = run("lab --up n0r1@1s -- run -- true");
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains("--up n0r1@1s: that cable is whole"), "{}", refused.err);
    if no_lab() {
        return;
    }
    let late = run("lab --ranks-per-node 1 --down n0r0@1000s -- run -- true");
    assert_eq!(late.code, Some(0), "{}", late.err);
    assert!(
        late.err.contains("--down n0r0@1000s did not happen: the command had ended"),
        "{}",
        late.err
    );
}

#[test]
fn slips_of_a_labs_command_line_are_told_with_what_was_meant() {
    for (line, tip) in [
        ("lab --nodes 2 bench all_to_all -e 8", "crosstie lab --nodes 2 -- bench all_to_all -e 8"),
        ("lab reprot", "`crosstie lab report`"),
        ("lab frob", "a lab runs `-- bench …`"),
        ("lab -- run -n 3 -- true", "-n 3, but the lab has 8 ranks\n  leave -n out"),
        ("lab -- bench all_reduce --ranks 3", "--ranks 3, but the lab has 8 ranks"),
    ] {
        let done = run(line);
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains(tip), "{line}: {}", done.err);
    }
}
