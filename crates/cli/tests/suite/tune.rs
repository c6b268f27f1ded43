//! `crosstie tune` writes a table of what it measured, and ranks choose by the table that rank 0 is told.

use std::fs;
use std::path::PathBuf;

use crate::support::{Running, crosstie, run};
use crosstie_planner::cost::{Entry, Point, Provenance, Shape, Tune};
use crosstie_planner::{Algorithm, Reach};
use serde_json::Value;

/// A file of this test's own.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

/// Ring before all others, by far; on four ranks of one node.
fn upside_down() -> Tune {
    let entry = |algorithm, time_ns| Entry {
        reach: Reach::Memory,
        shape: Shape { nodes: 1, ranks_per_node: 4 },
        collective: crosstie::Collective::AllReduce,
        algorithm,
        points: vec![Point { bytes: 8, time_ns }, Point { bytes: 1 << 20, time_ns }],
    };
    let times = [(Algorithm::Ring, 10), (Algorithm::Flat, 5000), (Algorithm::Direct, 6000)];
    let entries = times.map(|(algorithm, time_ns)| entry(algorithm, time_ns)).to_vec();
    Tune { provenance: Provenance::default(), entries }
}

/// What a benchmark of tiny buffers took, on four ranks of one node.
fn taken(more: &str) -> Value {
    let done = run(&format!("bench all_reduce --ranks 4 --nodes 1 -b 8 -e 8 -n 5 --json {more}"));
    assert_eq!(done.code, Some(0), "{}", done.err);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    told["rows"][0]["out_of_place"]["algorithm"].clone()
}

#[test]
fn what_is_measured_is_written_and_told() {
    let file = file("measured.json");
    let done = run(&format!(
        "tune -n 2,4 --nodes 1,2 --transport auto --operations all_reduce,barrier -b 8 -e 64 --budget-ms 1 --rounds 1 \
         --date 2026-01-31 --out {}",
        file.display()
    ));
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out.contains("4 ranks on 2 nodes (shm+tcp)\n  all_reduce      8 "),
        "{}",
        done.out
    );
    assert!(
        !done.err.contains('\u{1b}') && !done.err.contains('\r'),
        "no bar in a pipe: {}",
        done.err
    );
    let table = Tune::from_json(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(table.provenance.date, "2026-01-31");
    assert!(table.provenance.command.starts_with("crosstie tune -n 2,4"));
    let shapes: std::collections::BTreeSet<_> =
        table.entries.iter().map(|entry| (entry.shape.nodes, entry.shape.ranks())).collect();
    assert_eq!(shapes, [(1, 2), (1, 4), (2, 2), (2, 4)].into());
    let of = |entry: &&Entry| entry.collective == crosstie::Collective::AllReduce;
    for entry in table.entries.iter().filter(of) {
        assert_eq!(entry.points.iter().map(|point| point.bytes).collect::<Vec<_>>(), [8, 64]);
    }
    fs::remove_file(file).unwrap();
}

#[test]
fn ranks_choose_by_the_table_that_rank_0_is_told() {
    let file = file("upside-down.json");
    fs::write(&file, upside_down().to_json()).unwrap();
    assert_ne!(taken(""), "ring");
    assert_eq!(taken(&format!("--tune-file {}", file.display())), "ring");
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/cpu-4nic.xml");
    let plan = |more: String| {
        let done = run(&format!("plan --topo {topology} --nodes 1 --json {more}"));
        assert_eq!(done.code, Some(0), "{}", done.err);
        let plan: Value = serde_json::from_str(&done.out).unwrap();
        let choices = plan["choices"].as_array().unwrap();
        choices
            .iter()
            .find(|it| it["operation"] == "all_reduce" && it["bytes"] == 8)
            .unwrap()
            .clone()
    };
    let told = plan(format!("--tune {}", file.display()));
    assert_eq!((&told["algorithm"], &told["time_ns"]), (&"ring".into(), &10.into()), "{told}");
    let why = format!("fastest by {}, measured on 1 node of 4 ranks: 10 ns", file.display());
    assert!(told["reason"].as_str().unwrap().starts_with(&why), "{told}");
    assert_eq!(told["runner_up"]["algorithm"], "flat");
    let gpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/dgx-h100.xml");
    let done = run(&format!("plan --topo {gpus} --nodes 2 --tune {}", file.display()));
    let told =
        "its times were measured over shared memory, and messages here go over NVLink and RDMA";
    assert!(done.code == Some(2) && done.err.contains(told), "{}", done.err);
    let built_in = plan(String::new());
    assert_ne!(built_in["algorithm"], "ring", "{built_in}");
    assert!(built_in["reason"].as_str().unwrap().contains("built-in table"), "{built_in}");
    fs::remove_file(file).unwrap();
}

#[test]
fn a_table_that_cannot_be_used_is_refused_by_all_with_rank_0s_host_and_file() {
    let bad = file("bad.json");
    fs::write(&bad, upside_down().to_json().replace("[8,10]", "[8,0]")).unwrap();
    for (path, what) in [
        ("/nowhere/tune.json".to_owned(), "cannot be read"),
        (bad.display().to_string(), "entries[0].points[0]: 0 ns; expected a time above zero"),
    ] {
        let mut command = crosstie("bench all_reduce --ranks 3 --nodes 1 -b 8 -e 8 -n 5");
        command.env("CROSSTIE_TUNE_FILE", &path);
        let done = Running::start(command).finish();
        assert_eq!(done.code, Some(2), "{}", done.err);
        let told = format!("CROSSTIE_TUNE_FILE={path}: rank 0 on host ");
        assert!(done.err.contains(&told) && done.err.contains(what), "{}", done.err);
        assert!(done.err.contains("ranks 0-2"), "all say so: {}", done.err);
    }
    fs::remove_file(bad).unwrap();
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (line, told) in [
        ("tune --operations gather", "has no algorithms to choose from"),
        ("tune -n 3 --nodes 2 --transport auto", "no number of --nodes divides"),
        ("tune --out /nowhere/t.json", "there is no folder /nowhere"),
    ] {
        let done = run(line);
        assert_eq!(done.code, Some(2), "{line}: {}", done.err);
        assert!(done.err.contains(told), "{line}: {}", done.err);
    }
    let mut command = crosstie("tune");
    command.envs([("CROSSTIE_RANK", "0"), ("CROSSTIE_SIZE", "2")]);
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(2), "{}", done.err);
}

#[test]
fn sizes_and_dates_that_cannot_be_are_mistakes_of_usage() {
    for (more, told) in [
        ("-b 1G -e 8", "the smallest size (1073741824 bytes) exceeds the largest (8 bytes)"),
        ("--date yesterday", "expected a day of the calendar"),
        ("--date 2026-02-30", "expected a day of the calendar"),
        ("-n 2 --nodes 1 --transport auto -b 6 -e 6", "-b 6 is no multiple"),
    ] {
        let done = run(&format!("tune {more}"));
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{more}: {done:?}");
        assert!(done.err.contains(told), "{more}: {}", done.err);
    }
}
