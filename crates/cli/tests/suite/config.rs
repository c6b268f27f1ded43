//! `crosstie config`, `explain` and `completions`: what people read instead of the source.

use std::process::Command;

use crate::support::{Done, Running, crosstie, run};
use serde_json::Value;

fn with(line: &str, variables: &[(&str, &str)]) -> Done {
    let mut command: Command = crosstie(line);
    command.envs(variables.iter().copied());
    Running::start(command).finish()
}

fn json(line: &str, variables: &[(&str, &str)]) -> Value {
    serde_json::from_str(&with(&format!("{line} --json"), variables).out).unwrap()
}

/// Value and origin of one setting.
fn setting(name: &str, variables: &[(&str, &str)]) -> (String, String) {
    let shown = json(&format!("config {name}"), variables);
    assert_eq!(shown["schema"], 1);
    let setting = &shown["settings"][0];
    let text = |key: &str| setting[key].as_str().unwrap_or("").to_owned();
    (text("value"), text("origin"))
}

#[test]
fn every_setting_has_a_value_an_origin_and_a_meaning() {
    let done = run("config");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(!done.out.contains('\x1b'), "no colours in a pipe");
    let mut lines = done.out.lines();
    let columns: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["SETTING", "VALUE", "FROM", "SCOPE", "MEANING"]);
    let shown = json("config", &[]);
    let settings = shown["settings"].as_array().unwrap();
    assert_eq!(lines.count(), settings.len());
    for setting in settings {
        assert!(!setting["meaning"].as_str().unwrap().is_empty(), "{setting}");
        assert!(["world", "rank"].contains(&setting["scope"].as_str().unwrap()), "{setting}");
        assert_eq!(setting["value"], setting["default"], "{setting}");
    }
}

#[test]
fn a_value_says_where_it_comes_from() {
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(setting("timeout", &[]), pair("30m", "default"));
    assert_eq!(setting("timeout", &[("CROSSTIE_TIMEOUT", "5s")]), pair("5s", "environment"));
    assert_eq!(setting("transport", &[("NCCL_SHM_DISABLE", "1")]), pair("tcp", "NCCL_SHM_DISABLE"));
    let of_open_mpi = [
        ("OMPI_COMM_WORLD_RANK", "3"),
        ("OMPI_COMM_WORLD_SIZE", "8"),
        ("OMPI_COMM_WORLD_LOCAL_RANK", "3"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "8"),
        ("OMPI_MCA_ess_base_jobid", "7"),
    ];
    assert_eq!(setting("rank", &of_open_mpi), pair("3", "Open MPI"));
    assert_eq!(setting("rank", &[]), pair("", "not set"));
}

/// What names a rank, its place, its host or its host's ports is no flag, for a command line is the same for all; nor
/// is what the switches of a site want, or what only trials change.
#[test]
fn every_setting_of_a_run_has_a_flag_of_bench() {
    let without = [
        "ID",
        "INTERFACE",
        "LOG",
        "NICS",
        "NODE",
        "PORT",
        "PORTS",
        "PULL",
        "RANK",
        "ROOT",
        "SECRET",
        "SECRET_FILE",
        "SIZE",
        "VERBS",
        "VERBS_DEVICES",
        "VERBS_GID_INDEX",
        "VERBS_QUEUE_PAIRS",
        "VERBS_SERVICE_LEVEL",
        "VERBS_TRAFFIC_CLASS",
    ];
    let help = run("bench --help").out;
    let shown = json("config", &[]);
    for setting in shown["settings"].as_array().unwrap() {
        let name = setting["name"].as_str().unwrap().trim_start_matches("CROSSTIE_");
        let flag = match name {
            "ALGORITHM" => "--algo".to_owned(),
            "PROTOCOL" => "--proto".to_owned(),
            "TOPO_FILE" => "--topo".to_owned(),
            _ => format!("--{}", name.to_lowercase().replace('_', "-")),
        };
        let has = help.lines().any(|line| line.split_whitespace().any(|word| word == flag));
        assert!(has || without.contains(&name), "{name}: {flag}");
    }
}

#[test]
fn a_variable_that_is_no_setting_is_told_once_by_rank_0_with_what_it_is_like() {
    let done = with("bench all_reduce --ranks 4 -b 8 -e 8 -n 1", &[("CROSSTIE_PNX", "on")]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let told = "CROSSTIE_PNX is no setting of this version; is CROSSTIE_PXN meant?";
    assert_eq!(done.err.matches("CROSSTIE_PNX").count(), 1, "{}", done.err);
    assert!(done.err.starts_with("[rank 0] ") && done.err.contains(told), "{}", done.err);
}

#[test]
fn a_secret_is_not_shown() {
    let done = with("config", &[("CROSSTIE_SECRET", "hush-hush-hush-hush")]);
    assert!(!done.out.contains("hush") && !done.err.contains("hush"), "{done:?}");
    assert!(done.out.contains("(not shown)"));
}

#[test]
fn an_unknown_name_is_answered_with_the_one_that_was_meant() {
    let variables = [("CROSSTIE_TIMOUT", "3")];
    let done = with("config", &variables);
    assert_eq!(done.code, Some(0));
    assert!(done.err.contains("is CROSSTIE_TIMEOUT meant?"), "{}", done.err);
    let unknown = &json("config", &variables)["unknown"][0];
    assert_eq!(unknown["suggestion"], "CROSSTIE_TIMEOUT");
    let done = with("bench all_reduce --ranks 1 -e 8 -n 1", &variables);
    assert!(done.err.contains("is CROSSTIE_TIMEOUT meant?"), "{}", done.err);
    let done = run("config timout");
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("is CROSSTIE_TIMEOUT meant?"), "{}", done.err);
}

#[test]
fn what_is_said_in_vain_is_told_by_config_bench_and_run() {
    let variables = [("NCCL_ALGO", "NVLS"), ("NCCL_SHM_DISABLE", "2"), ("CROSSTIE_TIMOUT", "3")];
    let expected =
        ["NCCL_ALGO=NVLS is ignored", "NCCL_SHM_DISABLE=2 is ignored", "CROSSTIE_TIMOUT"];
    for line in ["config", "bench all_reduce --ranks 2 -e 8 -n 1", "run -n 2 -- true"] {
        let done = with(line, &variables);
        assert_eq!(done.code, Some(0), "{line}: {}", done.err);
        for text in expected {
            assert_eq!(done.err.matches(text).count(), 1, "{line}: {}", done.err);
        }
    }
    let shown = json("config", &variables);
    assert_eq!(shown["ignored"].as_array().unwrap().len(), 2, "{shown}");
    let algorithm = json("config algorithm", &variables);
    assert!(algorithm["settings"][0]["ignored"].as_str().unwrap().contains("NVLS"), "{algorithm}");
}

#[test]
fn a_value_that_cannot_be_used_is_told_with_exit_code_2() {
    for (name, value) in [
        ("CROSSTIE_TIMEOUT", "soon"),
        ("CROSSTIE_SLOT_BYTES", "77"),
        ("CROSSTIE_PORTS", "9-1"),
        ("CROSSTIE_RANK", "first"),
        ("CROSSTIE_SIZE", "2"),
        ("CROSSTIE_RAILS", "0"),
        ("CROSSTIE_RAILS", "100000000"),
        ("CROSSTIE_FLUSH", "40000000000"),
    ] {
        let done = with("config", &[(name, value)]);
        assert_eq!(done.code, Some(2), "{name}: {}", done.err);
        assert!(done.err.contains(name) && done.err.contains("explain CT-002"), "{}", done.err);
        let problems = json("config", &[(name, value)])["problems"].clone();
        assert_eq!(problems.as_array().unwrap().len(), 1, "{problems}");
    }
}

#[test]
fn the_readme_has_the_table_of_settings_that_the_program_has() {
    let readme = include_str!("../../../../README.md");
    let table = run("config --markdown").out;
    assert!(readme.contains(&table), "put this into the README:\n{table}");
}

#[test]
fn a_code_is_explained_by_each_of_its_spellings() {
    let page = run("explain CT-060");
    assert_eq!(page.code, Some(0), "{}", page.err);
    assert!(page.out.starts_with("CT-060: ") && page.out.contains("What to do: "), "{}", page.out);
    for spelling in ["ct-60", "60"] {
        assert_eq!(run(&format!("explain {spelling}")).out, page.out);
    }
    let shown = json("explain 60", &[]);
    assert_eq!((&shown["schema"], &shown["codes"][0]["code"]), (&1.into(), &"CT-060".into()));
    let all = run("explain");
    let listed = |line: &str| all.out.lines().any(|l| l.starts_with(line));
    assert!(listed("CT-001") && listed("CT-060"), "{}", all.out);
    assert!(all.out.lines().count() > 20);
}

#[test]
fn a_code_that_is_none_is_refused() {
    for (line, expected) in [("explain 9", "no code CT-009"), ("explain CT-x", "CT-060")] {
        let done = run(line);
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains(expected), "{}", done.err);
    }
}

#[test]
fn each_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(&format!("completions {shell}"));
        assert_eq!(done.code, Some(0), "{shell}: {}", done.err);
        for word in ["bench", "config", "explain", "transport"] {
            assert!(done.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run("completions csh").code, Some(2));
    let bash = run("completions bash").out;
    for word in
        ["all_reduce_v", "all_to_all_v", "bfloat16", "hierarchical", "lend", "CROSSTIE_SLOT_BYTES"]
    {
        assert_eq!(bash.contains(word), word != "all_reduce_v", "{word}");
    }
    for hidden in ["--markdown", "--corrupt-byte", "--events", "--ngpus"] {
        let options = bash.lines().filter(|line| line.trim_start().starts_with("opts="));
        assert!(!options.into_iter().any(|line| line.contains(hidden)), "{hidden}");
    }
}
