//! Owns the tests of `identify`: environments as real launchers leave them, and each refusal.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

/// Captured from `mpirun.openmpi -n 2` 4.1.4, what matters of it.
const OPEN_MPI: &str = "OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_LOCAL_SIZE=2 OMPI_COMM_WORLD_NODE_RANK=1 \
    OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_MCA_ess_base_jobid=1918631937 OMPI_UNIVERSE_SIZE=2 \
    OMPI_MCA_orte_jobfam_session_dir=/tmp/ompi.vm.0/pid.7842 PMIX_NAMESPACE=1918631937 PMIX_RANK=1";
/// Captured from `mpirun.mpich -n 2` 4.0.2.
const MPICH: &str =
    "HYDI_CONTROL_FD=7 MPI_LOCALNRANKS=2 MPI_LOCALRANKID=1 PMI_FD=8 PMI_RANK=1 PMI_SIZE=2";
/// As srun's manual describes task 5 of 7, on the second of two nodes.
const SLURM: &str = "SLURM_JOB_ID=77 SLURM_STEP_ID=3 SLURM_PROCID=5 SLURM_NTASKS=8 SLURM_STEP_NUM_TASKS=7 \
    SLURM_LOCALID=1 SLURM_NODEID=1 SLURM_STEP_NUM_NODES=2 SLURM_STEP_TASKS_PER_NODE=4,3";
/// As torchrun's manual describes worker 1 of 2 of one node.
const TORCHRUN: &str = "RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 \
    MASTER_PORT=29500 TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=0";

fn env(parts: &[&str]) -> Environment {
    let words = parts.iter().flat_map(|part| part.split_whitespace());
    words.map(|word| word.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

fn from_env(parts: &[&str]) -> Result<Identity, LaunchError> {
    with_pmix(parts, Err(no_answer()))
}

/// What comes of the environment where a PMIx launcher, if it is asked, says so.
fn with_pmix(parts: &[&str], job: Result<PmixJob, PmixError>) -> Result<Identity, LaunchError> {
    identify_asking(&Explicit::default(), &env(parts), &|| job.clone())
}

fn no_answer() -> PmixError {
    PmixError::Refused { call: "PMIx_Init", status: -25, reason: "UNREACHABLE".into() }
}

fn job(rank: u32, size: u32, local: (u32, u32)) -> PmixJob {
    PmixJob { namespace: "prterun-n1-7@1".into(), rank, size, local: Some(local) }
}

fn id() -> UniqueId {
    UniqueId {
        addresses: vec!["10.0.0.1:99".parse().unwrap()],
        secret: Secret::from_bytes([3; 32]),
    }
}

fn refusal(parts: &[&str]) -> String {
    from_env(parts).unwrap_err().to_string()
}

#[test]
fn an_empty_environment_is_a_world_of_one() {
    let who = from_env(&[]).unwrap();
    assert_eq!((who.rank, who.size, who.launcher), (0, 1, Launcher::Alone));
    assert_eq!(who.meeting, Meeting::Alone);
}

#[test]
fn a_variable_that_is_no_text_is_kept_as_near_to_it_as_can_be() {
    let odd = OsString::from_vec(b"\xffb".to_vec());
    let variables = [("A".into(), "1".into()), ("ODD".into(), odd)];
    let env = environment(variables.into_iter());
    assert_eq!((env["A"].as_str(), env["ODD"].as_str()), ("1", "\u{fffd}b"));
}

#[test]
fn open_mpi_on_one_host_meets_at_a_socket_named_by_its_job() {
    let who = from_env(&[OPEN_MPI]).unwrap();
    assert_eq!((who.rank, who.size, who.local), (1, 2, Some((1, 2))));
    assert_eq!(who.launcher, Launcher::OpenMpi);
    let job = "openmpi 1918631937 /tmp/ompi.vm.0/pid.7842".to_owned();
    assert_eq!(who.meeting, Meeting::HostSocket { job });
}

#[test]
fn open_mpi_on_several_hosts_needs_a_root() {
    let text = refusal(&[OPEN_MPI, "OMPI_COMM_WORLD_SIZE=4"]);
    assert!(text.contains("rank 1 of 4") && text.contains("only 2 of the ranks"), "{text}");
    assert!(text.contains("CROSSTIE_ROOT") && text.contains("CROSSTIE_SECRET"), "{text}");
}

#[test]
fn open_mpi_on_several_hosts_meets_by_pmix() {
    let env = [OPEN_MPI, "OMPI_COMM_WORLD_SIZE=4"];
    let who = with_pmix(&env, Ok(job(1, 4, (1, 2)))).unwrap();
    assert_eq!((who.launcher, who.rank, who.size), (Launcher::OpenMpi, 1, 4));
    assert_eq!(who.meeting, Meeting::Pmix { namespace: "prterun-n1-7@1".into() });
    let root = ["CROSSTIE_ROOT=n1:2000 CROSSTIE_SECRET=s"];
    let who = with_pmix(&[&env[..], &root].concat(), Ok(job(1, 4, (1, 2)))).unwrap();
    assert!(matches!(who.meeting, Meeting::Root { .. }), "{:?}", who.meeting);
}

#[test]
fn a_pmix_that_does_not_answer_is_passed_over_and_told() {
    let text = refusal(&[OPEN_MPI, "OMPI_COMM_WORLD_SIZE=4"]);
    assert!(text.contains("PMIx_Init: UNREACHABLE (-25)"), "{text}");
    let master = "OMPI_COMM_WORLD_SIZE=4 MASTER_ADDR=n1 MASTER_PORT=2000";
    let who = from_env(&[OPEN_MPI, master]).unwrap();
    assert!(matches!(who.meeting, Meeting::Master { .. }), "{:?}", who.meeting);
}

#[test]
fn a_pmix_that_means_another_job_is_no_place_to_meet() {
    let env = [OPEN_MPI, "OMPI_COMM_WORLD_SIZE=4"];
    let text = with_pmix(&env, Ok(job(0, 2, (0, 2)))).unwrap_err().to_string();
    assert!(text.contains("PMIx: there this is rank 0 of 2"), "{text}");
}

#[test]
fn pmix_alone_tells_rank_and_size() {
    let env = ["PMIX_RANK=3 PMIX_NAMESPACE=prterun-n1-7@1"];
    let who = with_pmix(&env, Ok(job(3, 4, (3, 4)))).unwrap();
    assert_eq!((who.launcher, who.rank, who.size), (Launcher::Pmix, 3, 4));
    assert_eq!(who.meeting, Meeting::HostSocket { job: "pmix prterun-n1-7@1".into() });
    let who = with_pmix(&env, Ok(job(3, 4, (1, 2)))).unwrap();
    assert!(matches!(who.meeting, Meeting::Pmix { .. }), "{:?}", who.meeting);
    let text = refusal(&env);
    assert!(text.contains("PMIX_RANK=3") && text.contains("UNREACHABLE"), "{text}");
}

#[test]
fn nobody_asks_pmix_where_the_environment_tells_all() {
    let asked = std::cell::Cell::new(false);
    let ask = || {
        asked.set(true);
        Err(no_answer())
    };
    for parts in [OPEN_MPI, MPICH, SLURM, TORCHRUN, ""] {
        let env = env(&[parts, "SLURM_STEP_NUM_NODES=1"]);
        identify_asking(&Explicit::default(), &env, &ask).unwrap();
    }
    assert!(!asked.get());
}

#[test]
fn two_open_mpi_jobs_whose_numbers_collide_stay_apart() {
    let other = "OMPI_MCA_orte_jobfam_session_dir=/tmp/ompi.vm.0/pid.73378";
    assert_ne!(
        from_env(&[OPEN_MPI]).unwrap().meeting,
        from_env(&[OPEN_MPI, other]).unwrap().meeting
    );
}

#[test]
fn mpich_meets_in_its_key_value_space() {
    let who = from_env(&[MPICH]).unwrap();
    assert_eq!((who.rank, who.size, who.local), (1, 2, Some((1, 2))));
    assert_eq!((who.launcher, who.meeting), (Launcher::Mpich, Meeting::Pmi1 { fd: 8 }));
}

#[test]
fn intel_mpi_is_told_from_mpich() {
    let who = from_env(&[MPICH, "I_MPI_MPIRUN=mpirun"]).unwrap();
    assert_eq!((who.launcher, who.meeting), (Launcher::IntelMpi, Meeting::Pmi1 { fd: 8 }));
}

#[test]
fn slurm_tells_the_steps_size_and_the_nodes_share() {
    let root = "CROSSTIE_ROOT=n1:2000 CROSSTIE_SECRET=s";
    let who = from_env(&[SLURM, root]).unwrap();
    assert_eq!((who.rank, who.size, who.local), (5, 7, Some((1, 3))));
    assert_eq!(who.launcher, Launcher::Slurm);
}

#[test]
fn slurm_on_one_node_meets_at_a_socket_named_by_its_step() {
    let who = from_env(&[SLURM, "SLURM_STEP_NUM_NODES=1"]).unwrap();
    assert_eq!(who.meeting, Meeting::HostSocket { job: "slurm 77.3".to_owned() });
}

#[test]
fn slurm_with_pmi2_is_told_from_mpich() {
    // Captured from `srun --mpi=pmi2 -N2 -n2` 22.05.8, what matters of it.
    let pmi2 = "PMI_FD=11 PMI_JOBID=77.3 PMI_RANK=5 PMI_SIZE=7";
    let who = from_env(&[SLURM, pmi2]).unwrap();
    assert_eq!((who.launcher, who.rank, who.size), (Launcher::Slurm, 5, 7));
    assert_eq!((who.local, who.meeting), (Some((1, 3)), Meeting::Pmi1 { fd: 11 }));
    // MPICH's mpiexec in a step of its own.
    let who = from_env(&[SLURM, MPICH]).unwrap();
    assert_eq!((who.launcher, who.rank, who.size), (Launcher::Mpich, 1, 2));
}

#[test]
fn a_batch_script_is_no_task_of_its_job() {
    for step in ["", "SLURM_STEP_ID=4294967291"] {
        let env = ["SLURM_JOB_ID=77 SLURM_PROCID=0 SLURM_NTASKS=8", step];
        let text = refusal(&env);
        assert!(text.contains("SLURM_NTASKS=8") && text.contains("srun"), "{text}");
    }
    assert_eq!(from_env(&["SLURM_PROCID=0 SLURM_NTASKS=1"]).unwrap().launcher, Launcher::Alone);
}

#[test]
fn torchrun_on_one_node_meets_at_a_socket() {
    let who = from_env(&[TORCHRUN]).unwrap();
    assert_eq!((who.rank, who.size, who.launcher), (1, 2, Launcher::Torchrun));
    assert!(matches!(who.meeting, Meeting::HostSocket { .. }), "{:?}", who.meeting);
}

#[test]
fn torchrun_on_several_nodes_meets_at_its_master() {
    let who = from_env(&[TORCHRUN, "WORLD_SIZE=4 MASTER_ADDR=n1"]).unwrap();
    let Meeting::Master { address, port, .. } = who.meeting else { panic!("{who:?}") };
    assert_eq!((address.as_str(), port), ("n1", 29501));
    let who = from_env(&[TORCHRUN, "WORLD_SIZE=4 CROSSTIE_PORT=700"]).unwrap();
    assert!(matches!(who.meeting, Meeting::Master { port: 700, .. }), "{:?}", who.meeting);
}

#[test]
fn the_innermost_launcher_is_believed() {
    let who = from_env(&[SLURM, OPEN_MPI]).unwrap();
    assert_eq!(who.launcher, Launcher::OpenMpi);
    let who = from_env(&[SLURM, OPEN_MPI, TORCHRUN, "RANK=0"]).unwrap();
    assert_eq!((who.launcher, who.rank), (Launcher::Torchrun, 0));
    let who =
        from_env(&[OPEN_MPI, "CROSSTIE_RANK=2 CROSSTIE_SIZE=8", &format!("CROSSTIE_ID={}", id())]);
    assert_eq!(who.unwrap().launcher, Launcher::Crosstie);
}

#[test]
fn launchers_that_agree_are_one_and_those_that_disagree_are_refused() {
    assert_eq!(from_env(&[OPEN_MPI, "RANK=1 WORLD_SIZE=2"]).unwrap().launcher, Launcher::OpenMpi);
    let text = refusal(&[OPEN_MPI, MPICH, "PMI_RANK=0"]);
    assert!(text.contains("Open MPI says rank 1 of 2"), "{text}");
    assert!(text.contains("MPICH says rank 0 of 2"), "{text}");
    assert!(matches!(
        from_env(&[OPEN_MPI, "RANK=1 WORLD_SIZE=4"]),
        Err(LaunchError::Contradiction { .. })
    ));
}

#[test]
fn a_whole_identity_of_ones_own_asks_no_launcher() {
    let own = format!("CROSSTIE_RANK=0 CROSSTIE_SIZE=3 CROSSTIE_ID={}", id());
    let who = from_env(&[OPEN_MPI, MPICH, "PMI_RANK=0 RANK=x", &own]).unwrap();
    assert_eq!((who.rank, who.size), (0, 3));
}

#[test]
fn a_unique_id_wins_over_the_launchers_own_place() {
    for launcher in [OPEN_MPI, MPICH, SLURM, TORCHRUN] {
        let explicit = Explicit { id: Some(id()), ..Explicit::default() };
        let who = identify(&explicit, &env(&[launcher])).unwrap();
        assert_eq!(who.meeting, Meeting::UniqueId(id()));
        assert_eq!(who.size, from_env(&[launcher, &format!("CROSSTIE_ID={}", id())]).unwrap().size);
    }
}

#[test]
fn arguments_win_over_the_environment_field_by_field() {
    let explicit = Explicit {
        rank: Some(2),
        root: Some("[::1]:5".into()),
        secret: Some(Secret::from_bytes([1; 32])),
        node: Some("east".into()),
        ..Explicit::default()
    };
    let env = env(&[
        "CROSSTIE_RANK=9 CROSSTIE_SIZE=4 CROSSTIE_NODE=west CROSSTIE_SECRET=x CROSSTIE_ID=bad",
    ]);
    let who = identify(&explicit, &env).unwrap();
    assert_eq!((who.rank, who.size, who.node.as_deref()), (2, 4, Some("east")));
    let secret = Secret::from_bytes([1; 32]);
    assert_eq!(
        who.meeting,
        Meeting::Root { address: "[::1]:5".into(), secret, named_by: "the root" }
    );
}

#[test]
fn explicit_ranks_use_the_launchers_place_only_for_its_own_world() {
    let mut explicit = Explicit { rank: Some(0), size: Some(2), ..Explicit::default() };
    let who = identify(&explicit, &env(&[MPICH])).unwrap();
    assert_eq!((who.launcher, who.meeting), (Launcher::Explicit, Meeting::Pmi1 { fd: 8 }));
    explicit.size = Some(3);
    let text = identify(&explicit, &env(&[MPICH])).unwrap_err().to_string();
    assert!(text.contains("MPICH started 2 ranks, not 3"), "{text}");
    explicit.size = Some(1);
    assert_eq!(identify(&explicit, &env(&[MPICH])).unwrap().meeting, Meeting::Alone);
}

#[test]
fn half_an_identity_is_refused() {
    for (half, lack) in [
        ("CROSSTIE_RANK=1", "CROSSTIE_SIZE"),
        ("CROSSTIE_SIZE=2", "CROSSTIE_RANK"),
        ("OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE"),
        ("PMI_RANK=0", "PMI_SIZE"),
        ("RANK=0", "WORLD_SIZE"),
        ("CROSSTIE_RANK=0 CROSSTIE_SIZE=2 MASTER_ADDR=a", "MASTER_PORT"),
    ] {
        let error = from_env(&[half]).unwrap_err();
        assert!(matches!(error, LaunchError::Incomplete { .. }), "{half}: {error}");
        assert!(error.to_string().contains(lack), "{error}");
    }
}

#[test]
fn one_rank_is_refused_where_the_environment_speaks_of_more() {
    for hint in [
        "OMPI_COMM_WORLD_SIZE=2",
        "PMI_SIZE=2",
        "MPI_LOCALNRANKS=2",
        "WORLD_SIZE=2",
        "SLURM_NTASKS=2",
        "FLUX_JOB_SIZE=2",
        "PMIX_RANK=0",
        "PMI_ID=0",
    ] {
        let error = from_env(&[hint]).unwrap_err();
        assert!(matches!(error, LaunchError::OneOfMore { .. }), "{hint}: {error}");
        assert!(error.to_string().contains(hint), "{error}");
        assert_eq!(from_env(&[hint, "CROSSTIE_RANK=0 CROSSTIE_SIZE=1"]).unwrap().size, 1);
    }
    assert!(from_env(&["WORLD_SIZE=1"]).is_ok());
}

#[test]
fn a_place_without_a_rank_is_refused() {
    assert!(refusal(&["CROSSTIE_ROOT=a:1 CROSSTIE_SECRET=s"]).contains("CROSSTIE_ROOT"));
    let explicit = Explicit { id: Some(id()), ..Explicit::default() };
    assert!(matches!(identify(&explicit, &env(&[])), Err(LaunchError::Nobody { .. })));
}

#[test]
fn a_rank_outside_its_world_is_refused() {
    for values in ["CROSSTIE_RANK=4 CROSSTIE_SIZE=4", "CROSSTIE_RANK=0 CROSSTIE_SIZE=0"] {
        assert!(matches!(from_env(&[values]), Err(LaunchError::RankRange { .. })), "{values}");
    }
    assert!(refusal(&["PMI_RANK=3 PMI_SIZE=2"]).contains("rank 3 of 2 (MPICH)"));
}

#[test]
fn unreadable_values_are_named() {
    for (variable, value) in [
        ("CROSSTIE_RANK", "-1"),
        ("CROSSTIE_SIZE", "4294967296"),
        ("OMPI_COMM_WORLD_RANK", "one"),
        ("PMI_FD", "eight"),
        ("PMI_SIZE", "2.5"),
    ] {
        let text = refusal(&["PMI_RANK=0 PMI_SIZE=2", &format!("{variable}={value}")]);
        assert!(text.contains(&format!("{variable} is `{value}`")), "{text}");
    }
    assert!(refusal(&["SLURM_STEP_ID=x"]).contains("SLURM_STEP_ID is `x`"));
    for root in ["host", "host:", ":5", "host:0", "host:65536", "::1:5", "a b:5", "[]:5"] {
        let explicit = Explicit { root: Some(root.into()), ..Explicit::default() };
        let error = identify(&explicit, &env(&["PMI_RANK=0 PMI_SIZE=2"])).unwrap_err();
        assert!(matches!(error, LaunchError::Value { .. }), "{root}: {error}");
    }
}

#[test]
fn a_bad_unique_id_is_refused_without_showing_it() {
    let mut text = id().to_string();
    text.replace_range(20..22, "zz");
    let error = refusal(&["CROSSTIE_RANK=0 CROSSTIE_SIZE=2", &format!("CROSSTIE_ID={text}")]);
    assert!(error.starts_with("CROSSTIE_ID: ") && !error.contains(&text[..20]), "{error}");
}

#[test]
fn a_root_needs_a_secret_from_one_source() {
    let base = "CROSSTIE_RANK=0 CROSSTIE_SIZE=2 CROSSTIE_ROOT=a:1";
    assert!(refusal(&[base]).contains("CROSSTIE_SECRET"));
    let both = "CROSSTIE_SECRET=hush CROSSTIE_SECRET_FILE=/x";
    let text = refusal(&[base, both]);
    assert!(text.contains("CROSSTIE_SECRET_FILE") && !text.contains("hush"), "{text}");
    let text = refusal(&[base, "CROSSTIE_SECRET_FILE=/nowhere/at/all"]);
    assert!(text.contains("/nowhere/at/all"), "{text}");
    let text = refusal(&[base, "CROSSTIE_SECRET_FILE=/dev/null"]);
    assert!(text.contains("empty"), "{text}");
}

#[test]
fn a_secret_in_a_file_equals_the_same_in_the_variable() {
    let base = "CROSSTIE_RANK=0 CROSSTIE_SIZE=2 CROSSTIE_ROOT=a:1";
    let dir = std::env::temp_dir().join(format!("crosstie-secret-{}", std::process::id()));
    std::fs::write(&dir, "open sesame\n").unwrap();
    let file = from_env(&[base, &format!("CROSSTIE_SECRET_FILE={}", dir.display())]);
    std::fs::remove_file(&dir).unwrap();
    let mut variable = env(&[base]);
    variable.insert("CROSSTIE_SECRET".into(), "open sesame".into());
    let variable = identify(&Explicit::default(), &variable).unwrap();
    assert_eq!(file.unwrap().meeting, variable.meeting);
}

#[test]
fn two_places_of_equal_standing_are_refused() {
    let error = from_env(&["CROSSTIE_RANK=0 CROSSTIE_SIZE=2 CROSSTIE_ID=x CROSSTIE_ROOT=a:1"]);
    assert!(matches!(error, Err(LaunchError::Contradiction { .. })));
    let explicit = Explicit { id: Some(id()), root: Some("a:1".into()), ..Explicit::default() };
    let error = identify(&explicit, &env(&["PMI_RANK=0 PMI_SIZE=2"]));
    assert!(matches!(error, Err(LaunchError::Contradiction { .. })));
}

#[test]
fn ranks_that_nobody_started_need_a_place() {
    let text = refusal(&["CROSSTIE_RANK=0 CROSSTIE_SIZE=2"]);
    assert!(text.contains("no launcher started it"), "{text}");
}

#[test]
fn variables_that_are_set_but_empty_count_as_not_set() {
    let who = from_env(&["CROSSTIE_RANK= CROSSTIE_SIZE= CROSSTIE_ID= WORLD_SIZE="]).unwrap();
    assert_eq!(who.launcher, Launcher::Alone);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 12] = [
        "CROSSTIE_RANK",
        "CROSSTIE_SIZE",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "PMI_RANK",
        "PMI_SIZE",
        "PMI_FD",
        "RANK",
        "WORLD_SIZE",
        "SLURM_STEP_ID",
        "SLURM_PROCID",
        "SLURM_NTASKS",
    ];

    proptest! {
        #[test]
        fn whatever_is_set_an_identity_is_whole_or_refused(
            set in prop::collection::btree_map(prop::sample::select(&NAMES), "[0-3]|x|", 0..8),
        ) {
            let env: Environment =
                set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            if let Ok(who) = identify(&Explicit::default(), &env) {
                prop_assert!(who.rank < who.size);
                prop_assert!(who.size == 1 || who.meeting != Meeting::Alone);
            }
        }
    }
}
