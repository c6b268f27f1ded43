//! `crosstie bench` as its users run it: worlds of processes, real tables, every byte checked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::{Running, crosstie, run};
use serde_json::Value;

const OPERATIONS: [&str; 8] = [
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
];

fn json(line: &str) -> Value {
    let done = run(&format!("{line} --json"));
    assert_eq!(done.code, Some(0), "{line}: {}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn bare_bench_starts_eight_ranks_on_two_nodes_and_every_result_is_right() {
    for operation in OPERATIONS {
        let done = run(&format!("bench {operation} -e 4K -f 8 -n 2 -w 1"));
        assert_eq!(done.code, Some(0), "{operation}: {}", done.err);
        let first = done.out.lines().next().unwrap();
        assert!(first.contains(&format!("{operation} on 8 ranks of 2 nodes")), "{first}");
        assert!(first.contains("shm") && first.contains("tcp"), "{first}");
        assert!(done.out.contains("# Out of bounds values : 0 OK"), "{}", done.out);
        assert!(done.out.contains("# Avg bus bandwidth    : "), "{}", done.out);
    }
}

#[test]
fn a_pipe_gets_neither_colours_nor_progress() {
    let done = run("bench alltoall --ranks 2 -e 64 -n 1");
    assert_eq!(done.err, "");
    assert!(!done.out.contains('\x1b') && !done.out.contains('\r'), "{:?}", done.out);
}

#[test]
fn the_table_has_the_columns_of_nccl_tests() {
    let done = run("bench all_to_all --ranks 2 -b 1K -e 1K -n 1");
    let rows: Vec<Vec<&str>> = done
        .out
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 1, "{}", done.out);
    assert_eq!(rows[0][..5], ["1024", "128", "float", "none", "-1"]);
    assert_eq!(rows[0].len(), 13 + 3, "after them two shares of the ceiling, and the algorithm");
    assert_eq!((rows[0][8], rows[0][12]), ("0", "0"), "#wrong");
}

#[test]
fn what_a_call_sends_is_told_beside_the_ideal() {
    let result = json(
        "bench all_to_all --ranks 4 --nodes 2 --pxn on --aggregate 1 -b 4K -e 4K -n 1 -w 0 --out-of-place",
    );
    let half = &result["rows"][0]["out_of_place"];
    // Each of 2 x 2 ranks sends 1 KiB to both on the other node, from the NIC on the receiver's rail.
    let sent = serde_json::json!({
        "messages": 8.0,
        "wire_messages": 8.0,
        "bytes": 8192.0,
        "crossing_bytes": 0.0,
        "rail_bytes": [4096.0, 4096.0],
    });
    assert_eq!((&half["network"], &half["ideal"]), (&sent, &sent));
    assert_eq!(result["wires"], serde_json::json!({ "count": 4, "ideal": 4 }));
    let nics = result["nics"].as_array().unwrap();
    assert_eq!(nics.len(), 4);
    for (nic, rank) in nics.iter().zip(0u64..) {
        assert_eq!((&nic["rank"], &nic["rail"]), (&rank.into(), &(rank % 2).into()), "{nic}");
        assert!(
            nic["relayed_bytes"].as_u64() > Some(0)
                && nic["bytes"].as_u64() > nic["relayed_bytes"].as_u64()
        );
    }
    let table =
        run("bench all_to_all --ranks 4 --nodes 2 --pxn on --aggregate 1 -b 4K -e 4K -n 1 -w 0");
    let mut lines = table.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.starts_with(&["#", "all_to_all", "4096"])).unwrap();
    assert_eq!(line[3..], ["8", "(8)", "8.0", "(8)", "8192", "(8192)", "0", "(0)"]);
    assert!(table.out.contains("# wires 4 (4)"), "{}", table.out);
}

#[test]
fn what_a_call_sends_is_told_without_relays_too_where_somebody_asks_for_ways() {
    let line = "bench all_to_all --ranks 4 --nodes 2 -b 4K -e 4K -n 1 -w 0 --out-of-place";
    let told = run(&format!("{line} --pxn off"));
    assert!(told.out.contains("# pxn: off  rails: 2, "), "{}", told.out);
    assert!(told.out.contains("in brackets the ideal:"), "{}", told.out);
    assert!(told.out.contains("in % by rail: "), "{}", told.out);
    assert!(!told.out.contains("relays"), "there are none: {}", told.out);
    let all_over_tcp = run(&format!("{line} --pxn off --transport tcp"));
    let (inside, tcp) = ("in one call, inside nodes too, out of place", all_over_tcp.out);
    assert!(tcp.contains(inside) && !told.out.contains(inside), "{tcp}{}", told.out);
    let not_asked = run(line);
    assert!(!not_asked.out.contains("in brackets"), "{}", not_asked.out);
    let csv = run(&format!("{line} --csv"));
    let mut lines = csv.out.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(names.len(), values.len(), "{}", csv.out);
    let of = |name: &str| values[names.iter().position(|known| *known == name).unwrap()];
    assert_eq!([of("messages"), of("wire_messages"), of("ideal_wire_messages")], ["8"; 3]);
    assert_eq!([of("network_bytes"), of("rail_bytes")], ["8192", "4096;4096"]);
    assert_eq!([of("pxn"), of("rails")], ["off", "2"]);
}

#[test]
fn the_algorithm_that_was_taken_is_told() {
    let taken = |operation: &str| {
        let result = json(&format!("bench {operation} --ranks 4 --nodes 1 -b 64 -e 64 -n 1 -w 0"));
        result["rows"][0]["out_of_place"]["algorithm"].clone()
    };
    assert_eq!(taken("all_reduce --algo tree"), "tree");
    assert!(taken("all_reduce").is_string(), "auto takes one");
    assert!(taken("send_recv").is_null(), "pairs take none");
    let table = run("bench all_reduce --ranks 4 --nodes 1 -b 64 -e 64 -n 1 -w 0 --algo ring");
    assert!(table.out.lines().any(|line| !line.starts_with('#') && line.ends_with("  ring")));
}

#[test]
fn nics_are_the_hosts_own_and_as_many_as_rails() {
    let bench = |nics: &str, flags: &str| {
        let mut command = crosstie(&format!("bench all_to_all --nodes 2 -e 8K -n 1 {flags}"));
        command.env("CROSSTIE_NICS", nics);
        Running::start(command).finish()
    };
    let shared = bench("127.0.0.1", "");
    assert_eq!(shared.code, Some(0), "{}", shared.err);
    let lacking = bench("127.0.0.1,192.0.2.1", "--ranks 2");
    assert_eq!(lacking.code, Some(2), "{}", lacking.err);
    assert!(lacking.err.contains("CT-002: CROSSTIE_NICS=192.0.2.1: "), "{}", lacking.err);
    let few = bench("127.0.0.1", "--rails 3");
    assert_eq!(few.code, Some(2), "{}", few.err);
    assert!(few.err.contains("1 of 3 addresses: CROSSTIE_RAILS says 3 rails"), "{}", few.err);
    let mut differ = crosstie("run -n 2 --nodes 2 -- sh -c");
    let script = "[ $CROSSTIE_RANK = 0 ] || NICS=,127.0.0.2; CROSSTIE_NICS=127.0.0.1$NICS exec $0 bench all_to_all";
    differ.args([script, env!("CARGO_BIN_EXE_crosstie")]);
    let differ = Running::start(differ).finish();
    assert_eq!(differ.code, Some(2), "{}", differ.err);
    assert!(differ.err.contains("rails = "), "{}", differ.err);
}

fn described(name: &str) -> String {
    format!("{}/../../topology/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// (rank, its rail) of all that sent, from NICs of their own.
fn rails(result: &Value) -> Vec<(u64, u64)> {
    let nics = result["nics"].as_array().unwrap();
    nics.iter().map(|it| (it["rank"].as_u64().unwrap(), it["rail"].as_u64().unwrap())).collect()
}

#[test]
fn ranks_play_the_gpus_of_a_file_and_relays_follow_its_rails() {
    let play = |name: &str, more: &str| {
        let file = described(name);
        json(&format!(
            "bench all_to_all --topo {file} --nodes 2 -b 1K -e 1K -n 2 -w 0 --out-of-place --pxn on {more}"
        ))
    };
    let dgx = play("dgx-h100.xml", "");
    assert_eq!((&dgx["ranks"], &dgx["nodes"]), (&16.into(), &2.into()));
    assert_eq!(dgx["machine"], "dgx-h100.xml (8 GPUs, 8 NICs, 8 rails)");
    let half = &dgx["rows"][0]["out_of_place"];
    assert_eq!((&half["wrong"], &half["network"]["crossing_bytes"]), (&0.into(), &0.0.into()));
    assert_eq!(rails(&dgx), (0..16).map(|rank| (rank, rank % 8)).collect::<Vec<_>>());

    // Two GPUs have one NIC, which the first of them owns.
    let hgx = play("hgx-h100-4nic.xml", "");
    let half = &hgx["rows"][0]["out_of_place"];
    assert_eq!((&half["wrong"], &half["network"]["crossing_bytes"]), (&0.into(), &0.0.into()));
    let owners = (0..16).step_by(2).map(|rank| (rank, rank % 8 / 2));
    assert_eq!(rails(&hgx), owners.collect::<Vec<_>>());
    // 2 x 8 ranks send 64 bytes to each of 8 on the other node, over 4 rails.
    assert_eq!(half["network"]["rail_bytes"], serde_json::json!(vec![2048.0; 4]));

    // NICs where there are no GPUs; the last two have no rank.
    let nics = play("cpu-4nic.xml", "--ranks 4");
    assert_eq!(nics["rows"][0]["out_of_place"]["wrong"], 0);
    assert_eq!(rails(&nics), [(0, 0), (1, 1), (2, 0), (3, 1)]);
}

#[test]
fn a_file_that_nothing_can_be_played_of_is_refused_before_ranks_start() {
    for (file, more, why) in [
        ("README.md", "", "line 1"),
        ("none.xml", "", "cannot be read"),
        ("dgx-h100.xml", "--ranks 17", "have places for 16"),
        ("dgx-h100.xml", "--rails 4", "cannot be used with"),
    ] {
        let done = run(&format!("bench all_to_all --nodes 2 --topo {} {more}", described(file)));
        assert_eq!(done.code, Some(2), "{file} {more}: {}", done.err);
        assert!(done.err.contains(why), "{file} {more}: {}", done.err);
    }
}

#[test]
fn a_file_in_which_lint_finds_errors_is_played_with_a_word() {
    let text = std::fs::read_to_string(described("dgx-h100.xml")).unwrap();
    let bad = text.replacen("<gpu dev=\"1\"", "<gpu dev=\"0\"", 1);
    assert_ne!(bad, text);
    let file = std::env::temp_dir().join(format!("crosstie-bench-{}.xml", std::process::id()));
    std::fs::write(&file, bad).unwrap();
    let play = |file: &str| run(&format!("bench barrier --topo {file} --nodes 1 -n 1 -w 0"));
    let told = play(&file.display().to_string());
    let word = format!("crosstie: 1 error by `crosstie topo lint {}`\n", file.display());
    let _ = std::fs::remove_file(&file);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert!(told.err.contains(&word), "{}", told.err);
    let whole = play(&described("dgx-h100.xml"));
    assert!(!whole.err.contains("topo lint"), "{}", whole.err);
}

#[test]
fn nodes_play_the_hosts_of_a_rack() {
    let rack = described("nvl72.xml");
    let three = json(&format!(
        "bench all_to_all --topo {rack} --nodes 3 -b 1056 -e 1056 -n 2 -w 0 --pxn on"
    ));
    assert_eq!(
        (&three["ranks"], &three["nodes"], &three["rails"]),
        (&12.into(), &3.into(), &4.into())
    );
    assert_eq!(three["machine"], "a host of nvl72.xml (18 hosts; 4 GPUs, 4 NICs, 4 rails)");
    let half = &three["rows"][0]["out_of_place"];
    assert_eq!((&half["wrong"], &half["network"]["crossing_bytes"]), (&0.into(), &0.0.into()));
    assert_eq!(rails(&three), (0..12).map(|rank| (rank, rank % 4)).collect::<Vec<_>>());
    let four = run(&format!("bench all_to_all --topo {rack} --nodes 4"));
    assert_eq!(four.code, Some(2), "{}", four.err);
    assert!(four.err.contains("--nodes 4 of") && four.err.contains("18 hosts"), "{}", four.err);
    // As many as hold the ranks, and are a part of the rack.
    let five = json(&format!("bench barrier --topo {rack} --ranks 17 -n 2 -w 0"));
    assert_eq!((&five["ranks"], &five["nodes"]), (&17.into(), &6.into()));
}

#[test]
fn the_header_says_where_machines_and_rails_are_known_from() {
    let told = |flags: &str| {
        let done = run(&format!("bench all_reduce -b 1K -e 1K -n 2 -w 0 {flags}"));
        assert_eq!(done.code, Some(0), "{}", done.err);
        let lines =
            done.out.lines().filter(|line| line.contains("machine") || line.contains("rail"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = told("--ranks 4 --nodes 2");
    assert!(plain[1].starts_with("# machines detected: 1 machine ("), "{plain:?}");
    assert_eq!(plain[0], "# rails: 2, one for each rank of a node");
    // Without a NIC there are no rails of its own.
    let folder = std::env::temp_dir().join(format!("crosstie-no-nic-{}.xml", std::process::id()));
    let text = std::fs::read_to_string(described("grace-hopper.xml")).unwrap();
    let bare: String = text.lines().filter(|line| !line.contains("<net ")).collect();
    std::fs::write(&folder, bare).unwrap();
    let played = told(&format!("--topo {} --nodes 2", folder.display()));
    std::fs::remove_file(&folder).unwrap();
    assert!(
        played[1].ends_with("(1 GPUs, no NIC: each rank of a node is taken for a rail)"),
        "{played:?}"
    );
    assert_eq!(played[0], "# rails: 1, one for each rank of a node");
}

#[test]
fn json_is_one_object_of_schema_1() {
    let result =
        json("bench reduce_scatter --ranks 3 --nodes 1 -b 12 -e 192 -f 4 -n 3 -o max -d i32");
    assert_eq!(result["schema"], 1);
    assert_eq!(result["operation"], "reduce_scatter");
    assert_eq!((&result["ranks"], &result["nodes"]), (&3.into(), &1.into()));
    assert_eq!((&result["transport"], &result["buffers"]), (&"shm".into(), &"private".into()));
    let rows = result["rows"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|row| row["bytes"].as_u64().unwrap()).collect::<Vec<_>>(),
        [12, 48, 192]
    );
    for row in rows {
        assert_eq!(
            keys(row),
            ["bytes", "count", "in_place", "op", "operation", "out_of_place", "root", "type"]
        );
        assert_eq!((&row["type"], &row["op"]), (&"int32".into(), &"max".into()));
        assert_eq!(row["count"].as_u64().unwrap() * 12, row["bytes"].as_u64().unwrap());
        for place in ["out_of_place", "in_place"] {
            let half = &row[place];
            assert_eq!(
                keys(half),
                [
                    "algbw_gb_s",
                    "algorithm",
                    "busbw_gb_s",
                    "ceil_percent",
                    "ideal",
                    "network",
                    "p50_us",
                    "p99_us",
                    "time_us",
                    "wrong"
                ]
            );
            assert_eq!(half["wrong"], 0);
            assert!(half["p50_us"].as_f64().unwrap() <= half["p99_us"].as_f64().unwrap());
            let ratio = half["busbw_gb_s"].as_f64().unwrap() / half["algbw_gb_s"].as_f64().unwrap();
            assert!((ratio - 2.0 / 3.0).abs() < 1e-4, "bus bandwidth is (n-1)/n of it: {ratio}");
        }
    }
    let counters = &result["counters"]["shm"];
    assert_eq!(
        keys(counters),
        ["bytes", "flushes", "mean_group", "messages", "relayed", "relayed_bytes", "wire_messages"]
    );
    assert!(counters["messages"].as_u64().unwrap() > 0 && counters["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn the_share_of_the_ceiling_decides_the_exit_code() {
    let line = "bench all_reduce --ranks 2 --nodes 1 -b 1K -e 1K -n 20 --fail-below";
    // Where other tests take the cores no probe may confirm another: then it refuses to judge.
    let judged = |percent: u32| {
        let mut tries = (0..20).map(|_| run(&format!("{line} {percent}")));
        let refused = |done: &crate::support::Done| {
            done.code == Some(4) && done.err.contains("cannot judge by --fail-below")
        };
        tries.find(|done| !refused(done)).unwrap()
    };
    let done = judged(0);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let said =
        |word: &str| done.out.lines().any(|line| line.starts_with("# ") && line.contains(word));
    assert!(said("ceil% (estimate): of 1024 bytes one rank reads"), "{}", done.out);
    let done = judged(101); // no ceiling is slower than the fastest call that was seen
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(!done.err.contains("ended (exit code 0)"), "{}", done.err);
    assert!(done.err.contains("below 101 % of the predicted ceiling"), "{}", done.err);
    assert!(done.err.contains("all_reduce of 1024 bytes of float, out of place: "), "{}", done.err);
}

#[test]
fn several_operations_share_one_world_and_one_table() {
    let done = run("bench all_reduce,alltoall --ranks 2 -b 64 -e 64 -n 1 -w 0");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(done.out.matches("# crosstie").count(), 1);
    let place = |text: &str| done.out.find(text).unwrap_or_else(|| panic!("{}", done.out));
    assert!(place("# all_reduce\n") < place("# all_to_all\n"));
    let rows = json("bench all_reduce,alltoall --ranks 2 -b 64 -e 64 -n 1 -w 0");
    assert_eq!(rows["rows"][1]["operation"], "all_to_all");
}

#[test]
fn csv_has_a_header_and_a_line_for_each_size_and_place() {
    let done = run("bench all_reduce --ranks 2 -b 8 -e 64 -f 8 -n 2 --csv");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = done.out.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 1 + 2 * 2, "{}", done.out);
    let column = |name: &str| lines[0].iter().position(|it| *it == name).unwrap();
    for line in &lines[1..] {
        assert_eq!(line.len(), lines[0].len(), "{line:?}");
        assert_eq!((line[column("operation")], line[column("wrong")]), ("all_reduce", "0"));
        assert!(line[column("time_us")].parse::<f64>().unwrap() > 0.0);
    }
    let places: Vec<&str> = lines[1..].iter().map(|line| line[column("place")]).collect();
    assert_eq!(places, ["out", "in", "out", "in"]);
}

#[test]
fn a_plot_has_both_panels_and_names_every_line() {
    let path = std::env::temp_dir().join(format!("crosstie-plot-{}.svg", std::process::id()));
    let done = run(&format!(
        "bench all_reduce,all_gather --ranks 2 -b 1K -e 64K -f 8 -n 1 -w 0 --plot {}",
        path.display()
    ));
    let svg = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("# Out of bounds values"), "the table is there as well");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "Time of one call",
        "Bus bandwidth",
        "bus bandwidth (GB/s)",
        "8 KiB",
        "all_reduce sum out of place",
        "all_gather in place",
        "2 ranks on 2 nodes",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    let lines = svg.matches("<polyline").count();
    assert!(lines > 8, "two panels of four lines each: {lines}");
}

#[test]
fn the_table_says_what_was_rounded_and_what_the_ranks_share() {
    let done = run("bench all_to_all --ranks 8 -e 64 -n 1 -w 0");
    let note = "# sizes are rounded down to multiples of 32 bytes\n";
    assert!(done.out.contains(note), "{}", done.out);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(done.out.contains("# 8 ranks share "), cores < 8, "{}", done.out);
    let done = run("bench all_reduce --ranks 1 -e 64 -n 1 -w 0");
    assert!(!done.out.contains("rounded") && !done.out.contains("share"), "{}", done.out);
}

#[test]
fn every_operation_type_reduction_and_root_is_right_on_an_odd_world() {
    const TYPES: usize = 14;
    const REDUCTIONS: usize = 6;
    let every = [
        ("all_reduce", TYPES * REDUCTIONS),
        ("all_gather", TYPES),
        ("reduce_scatter", TYPES * REDUCTIONS),
        ("all_to_all", TYPES),
        ("broadcast", TYPES * 5),
        ("reduce", TYPES * REDUCTIONS * 5),
        ("gather", TYPES * 5),
        ("scatter", TYPES * 5),
        ("send_recv", TYPES),
        ("all_gather_v", TYPES),
        ("reduce_scatter_v", TYPES * REDUCTIONS),
        ("all_to_all_v", TYPES),
        ("barrier", 1),
    ];
    for (buffers, skew) in [("private", "zipf"), ("shared", "one-hot")] {
        let rows = json(&format!(
            "bench all -d all -o all -r all -b 120 -e 120 -n 1 -w 0 --ranks 5 --nodes 3 \
             --buffers {buffers} --matrix {skew}"
        ));
        assert_eq!(rows["buffers"], buffers);
        let rows = rows["rows"].as_array().unwrap();
        for (operation, expected) in every {
            let found = rows.iter().filter(|row| row["operation"] == operation).count();
            assert_eq!(found, expected, "{operation}");
        }
        for row in rows {
            let wrong = |place: &str| row[place]["wrong"].as_u64().unwrap_or(0);
            assert_eq!((wrong("out_of_place"), wrong("in_place")), (0, 0), "{row}");
        }
    }
}

#[test]
fn a_matrix_says_what_each_rank_sends_to_each() {
    let path = std::env::temp_dir().join(format!("crosstie-matrix-{}.txt", std::process::id()));
    let line = format!("bench all_to_all_v --ranks 3 -n 1 --matrix {}", path.display());
    std::fs::write(&path, "0 5 70000  # sparse\n0..\n1, 2, 3\n").unwrap();
    let rows = json(&line);
    std::fs::write(&path, "0 5 7\n0..\n1 two 3\n").unwrap();
    let refused = run(&line);
    std::fs::remove_file(&path).unwrap();
    let row = &rows["rows"][0];
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1);
    assert_eq!((&row["bytes"], &row["out_of_place"]["wrong"]), (&(70_005 * 4).into(), &0.into()));
    assert_eq!(row["in_place"], Value::Null);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains("line 3, column 3: \"two\" is no number"), "{}", refused.err);
}

#[test]
fn an_algorithm_can_be_forced_where_there_is_it() {
    for algorithm in ["ring", "direct", "flat", "tree", "hierarchical", "canonical", "auto"] {
        let line = format!("bench all_reduce --ranks 4 -b 64 -e 4K -f 64 -n 1 --algo {algorithm}");
        let rows = json(&line);
        for row in rows["rows"].as_array().unwrap() {
            assert_eq!(row["out_of_place"]["wrong"], 0, "{algorithm}");
        }
    }
    let done = run("bench barrier --ranks 2 --algo ring");
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("barrier has no such algorithm"), "{}", done.err);
}

#[test]
fn a_protocol_can_be_forced_for_shared_buffers_of_any_length() {
    for protocol in ["copy", "lend", "auto"] {
        let line = format!(
            "bench all_reduce,all_to_all --ranks 3 --transport shm -b 12 -e 192K -f 16 -n 1 \
             --buffers shared --proto {protocol}"
        );
        for row in json(&line)["rows"].as_array().unwrap() {
            assert_eq!(row["out_of_place"]["wrong"], 0, "{protocol}");
        }
    }
}

#[test]
fn a_root_is_chosen_and_named() {
    let roots = |line: &str| -> Vec<u64> {
        let rows = json(&format!("bench broadcast -b 8 -e 8 -n 1 --ranks 3 {line}"));
        rows["rows"].as_array().unwrap().iter().map(|row| row["root"].as_u64().unwrap()).collect()
    };
    assert_eq!(roots(""), [0]);
    assert_eq!(roots("-r 2"), [2]);
    assert_eq!(roots("--root all"), [0, 1, 2]);
}

#[test]
fn a_call_of_no_bytes_is_legal_and_a_barrier_has_one_row() {
    let rows = json("bench all -b 0 -e 0 -n 2 --ranks 3");
    let rows = rows["rows"].as_array().unwrap();
    assert_eq!(rows.len(), OPERATIONS.len() + 3 + 2, "the v-forms, send_recv and barrier");
    let barrier = rows.iter().find(|row| row["operation"] == "barrier").unwrap();
    assert_eq!((&barrier["type"], &barrier["in_place"]), (&"none".into(), &Value::Null));
    assert!(barrier["out_of_place"]["time_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn each_transport_can_be_chosen() {
    for (flags, transport, nodes) in [
        ("--transport shm", "shm", 1),
        ("--transport tcp", "tcp", 2),
        ("--transport loopback", "loopback", 1),
        ("--transport auto --nodes 1", "shm", 1),
        ("--transport auto --nodes 3", "tcp", 3),
    ] {
        let result = json(&format!("bench all_to_all --ranks 3 -e 1K -n 2 {flags}"));
        let found: Vec<&str> = result["transport"].as_str().unwrap().split('+').collect();
        assert!(found.contains(&transport), "{flags}: {found:?}");
        assert_eq!(result["nodes"], nodes, "{flags}");
    }
}

#[test]
fn a_world_of_one_rank_works() {
    let result = json("bench all_reduce --ranks 1 -e 64 -n 2");
    assert_eq!((&result["ranks"], &result["rows"][0]["in_place"]["wrong"]), (&1.into(), &0.into()));
}

#[test]
fn a_corrupted_byte_is_seen_and_the_exit_code_says_so() {
    for operation in OPERATIONS {
        let done = run(&format!("bench {operation} --ranks 4 -b 256 -e 256 -n 1 --corrupt-byte"));
        assert_eq!(done.code, Some(1), "{operation}: {}", done.err);
        assert!(done.out.contains("# Out of bounds values : 2 FAILED"), "{}", done.out);
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_benchmark_quietly() {
    let bench = Running::start(crosstie("bench all_to_all --ranks 2 -n 100"));
    let (line, code) = bench.read_one_line_and_close();
    assert!(line.starts_with("# crosstie"));
    assert_eq!(code, Some(141));
}

#[test]
fn a_variable_that_is_no_text_does_not_end_in_a_panic() {
    let mut command = crosstie("bench all_reduce --ranks 2 -e 8 -n 1");
    command.env("ODD", OsStr::from_bytes(b"\xff"));
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(0), "{}", done.err);
}

#[test]
fn a_mistake_is_told_once_with_its_value_and_exit_code_2() {
    for (line, expected) in [
        ("bench all_two_all", "'all_two_all'"),
        ("bench all_reduce -d complex", "'complex'"),
        ("bench all_reduce -o xor", "'xor'"),
        ("bench all_reduce -b 7", "-b 7 is no multiple of float's 4 bytes"),
        ("bench all_to_all -b 8 -e 8", "multiple of 32"),
        ("bench all_reduce -b 64 -e 8", "exceeds the largest (8 bytes)"),
        ("bench all_reduce -b 4Q", "'4Q'"),
        ("bench all_reduce -b 512G", "a smaller -e"),
        ("bench all_reduce -f 1", "write 2 or more"),
        ("bench all_reduce -f 2 -i 8", "cannot be used with"),
        ("bench all_reduce -n 0", "'0'"),
        ("bench all_reduce --ranks 0", "'0'"),
        ("bench all_reduce --ranks 2 --nodes 3", "--nodes 3"),
        ("bench all_reduce --nodes 2 --transport shm", "--nodes 2"),
        ("bench all_reduce --transport smoke", "'smoke'"),
        ("bench all_reduce --timeout never", "'never'"),
        ("bench all_reduce --frobnicate", "argument '--frobnicate'"),
        ("bench all_reduce --fail-below=-1", "0 or more"),
        ("bench all_reduce --fail-below fast", "'fast'"),
        ("bench all_reduce --plot picture.png", "ends in .svg"),
        ("bench all_reduce --plot /no/such/folder/it.svg", "no folder /no/such/folder"),
        ("bench all_reduce --json --csv", "cannot be used with"),
        ("bench all_reduce -g 2 -c 5 -t 4 -m 1", "-g, -t, -c: no such choice here"),
        ("bench all_to_all_v --matrix nowhere", "'nowhere'"),
        ("bench all_reduce --algo best", "'best'"),
        ("bench all_reduce --proto fast", "expected auto, copy or lend"),
        ("bench all_reduce -d fp4", "expected one of int8, uint8"),
        ("bench all_reduce -d fp8", "expected f8e4m3"),
        ("bench all_reduce --fail-below -5", "0 or more"),
        ("bench all_reduce -a 0", "-a: no such choice here: times are those of the slowest rank"),
        ("bench reduce --ranks 3 -r 3", "--root 3"),
        ("bench reduce -r first", "'first'"),
        ("bench all_reduce --buffers secret", "'secret'"),
        ("sim", "sim: not yet in this version"),
        ("bench", "required arguments were not provided"),
        ("run -n 2 -- no-such-program", "no-such-program"),
        ("run -n 2 -- /etc/passwd", "/etc/passwd is not executable"),
        ("run -n 2 -- /etc", "/etc is a folder"),
        ("run -n 0 -- true", "'0'"),
        ("run -- true", "how many ranks to start is not said"),
    ] {
        let done = run(line);
        assert_eq!(done.code, Some(2), "{line}: {}", done.err);
        assert_eq!(done.err.matches(expected).count(), 1, "{line}: {}", done.err);
        assert_eq!(done.out.is_empty(), !line.contains("--json"), "{line}: {}", done.out);
    }
}

#[test]
fn what_nccl_tests_command_lines_carry_is_taken_where_it_changes_nothing() {
    let done = run("bench all_reduce --ranks 2 -e 8 -n 1 -g 1 -t 1 -c 1 -m 1 -G 0 -a 3 -z 1");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
}

#[test]
fn a_flag_without_effect_is_told_of_once() {
    let done = run("bench all_to_all --ranks 2 -e 64 -n 1 -o prod");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(done.err, "crosstie: --op has no effect: nothing is reduced by all_to_all\n");
}

#[test]
fn what_was_chosen_and_where_it_ran_is_told() {
    let line = "bench all_to_all_v --ranks 2 -b 64 -e 64 -n 2 -w 1 --matrix zipf --algo direct";
    let done = run(line);
    assert!(done.out.contains("# algorithm: direct  protocol: auto  blocks: zipf"), "{}", done.out);
    assert!(done.out.contains("# nodes are emulated, 2 by default"), "{}", done.out);
    let result = json(line);
    for (key, value) in [("algorithm", "direct"), ("protocol", "auto"), ("matrix", "zipf")] {
        assert_eq!(result[key], value);
    }
    assert_eq!((&result["iters"], &result["warmup_iters"]), (&2.into(), &1.into()));
    assert!(!result["version"].as_str().unwrap().is_empty() && result["cores"].as_u64() > Some(0));
    assert!(result["speeds"]["hop_us"].as_f64().unwrap() > 0.0, "{}", result["speeds"]);
}

#[test]
fn a_mistake_on_the_command_line_is_json_too_where_that_was_asked_for() {
    let done = run("bench all_reduce --json --frobnicate");
    assert_eq!(done.code, Some(2));
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert!(told["error"]["message"].as_str().unwrap().contains("--frobnicate"), "{told}");
}

#[test]
fn nodes_that_contradict_those_of_the_ranks_are_refused() {
    let bench =
        format!("{} bench all_to_all -b 64 -e 64 -n 1 -w 0", env!("CARGO_BIN_EXE_crosstie"));
    let other = run(&format!("run -n 4 -- {bench} --nodes 2"));
    assert_eq!(other.code, Some(2), "{}", other.err);
    assert!(other.err.contains("--nodes 2, but the ranks are told to be on 1"), "{}", other.err);
    assert!(other.err.contains("`crosstie run --nodes 2`"), "{}", other.err);
    let same = run(&format!("run -n 4 --nodes 2 -- {bench} --nodes 2"));
    assert_eq!(same.code, Some(0), "{}", same.err);
    assert!(same.out.contains("on 4 ranks of 2 nodes, over shm+tcp"), "{}", same.out);
}

#[test]
fn flags_that_contradict_the_launcher_are_refused() {
    let mut command = crosstie("bench all_reduce --ranks 3");
    command.env("CROSSTIE_RANK", "0").env("CROSSTIE_SIZE", "2");
    command.env("CROSSTIE_ROOT", "127.0.0.1:1").env("CROSSTIE_SECRET", "a secret of these tests");
    let done = Running::start(command).finish();
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(done.err.contains("--ranks 3") && done.err.contains("2 ranks"), "{}", done.err);
}
