//! The driver's library as detection reads it, by a library of the same calls that is compiled here: a machine with
//! eight GPUs, and each way in which a driver does not answer.
#![cfg(test)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crosstie_probe::{C2c, Facts, Gpus, Lost, Source, Tree, assemble};
use support::{Folder, captured, facts};

/// The library, made with these definitions; `None` where there is no compiler.
fn library(folder: &Folder, definitions: &[&str]) -> Option<PathBuf> {
    let there = Command::new("cc").arg("--version").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no C compiler (cc) to make the driver's library with");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/nvml.c");
    let library = folder.path().join("libnvidia-ml.so.1");
    let flags = definitions.iter().map(|definition| format!("-D{definition}"));
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(source)
        .args(flags)
        .status();
    assert!(made.unwrap().success(), "the library compiles");
    Some(library)
}

/// More than any of them takes to answer.
const LIMIT: Duration = Duration::from_secs(60);

fn told(definitions: &[&str]) -> Option<Gpus> {
    let folder = Folder::new();
    library(&folder, definitions).map(|library| Gpus::of_library(library, LIMIT))
}

#[test]
fn what_the_driver_tells_makes_the_same_machine_as_what_was_captured_of_it() {
    let Some(gpus) = told(&[]) else { return };
    let expected = facts("dgx-a100").gpus;
    assert_eq!(gpus, expected);
    let folder = Folder::new();
    captured("dgx-a100").write_below(folder.path()).unwrap();
    let facts = Facts::read(&Tree::at(folder.path()).unwrap(), gpus);
    assert_eq!(assemble(&facts), support::machine("dgx-a100"));
}

#[test]
fn a_link_that_is_down_is_no_link() {
    let Some(gpus) = told(&["LINK_DOWN"]) else { return };
    let links: Vec<usize> = gpus.gpus.iter().map(|gpu| gpu.nvlinks.len()).collect();
    assert_eq!(links, [12, 12, 11, 12, 12, 12, 12, 12]);
    let numbers: Vec<u32> = gpus.gpus[2].nvlinks.iter().map(|link| link.number).collect();
    assert!(!numbers.contains(&5));
}

#[test]
fn what_a_gpu_does_not_support_is_not_told_and_the_rest_is() {
    let Some(gpus) = told(&["NOT_SUPPORTED"]) else { return };
    assert_eq!((gpus.gpus.len(), &gpus.lost), (8, &vec![]));
    let shy = &gpus.gpus[5];
    assert_eq!((&shy.name, shy.most, shy.now), (&None, Default::default(), Default::default()));
    assert_eq!((shy.compute, shy.nvlinks.len(), shy.c2c), (Some((8, 0)), 12, None));
    let links = &gpus.gpus[6].nvlinks;
    assert!(links.len() == 12 && links[0].remote.is_none() && links[1].remote.is_some());
}

#[test]
fn chip_to_chip_links_are_told() {
    let Some(gpus) = told(&["C2C"]) else { return };
    let c2c = Some(C2c { count: 10, mb_per_s: 40_000 });
    assert!(gpus.gpus.iter().all(|gpu| gpu.c2c == c2c), "{gpus:?}");
}

#[test]
fn a_gpu_that_is_lost_is_named_and_hides_no_other() {
    for definition in ["GPU_LOST=3", "NO_HANDLE=3", "WRONG_ADDRESS"] {
        let Some(gpus) = told(&[definition]) else { return };
        assert_eq!(gpus.gpus.len(), 7, "{definition}");
        let lost = if definition == "WRONG_ADDRESS" { 1 } else { 3 };
        assert!(matches!(gpus.lost[..], [Lost { index, .. }] if index == lost), "{gpus:?}");
        assert!(gpus.gpus.iter().all(|gpu| gpu.index != lost));
        let mut all = facts("dgx-a100");
        all.gpus = gpus;
        let notes: Vec<String> = assemble(&all).notes.iter().map(ToString::to_string).collect();
        let found = notes.iter().any(|note| note.starts_with(&format!("NVML counts GPU {lost}")));
        assert!(found, "{notes:?}");
    }
}

#[test]
fn a_library_without_a_driver_or_rights_is_told_in_its_words() {
    for (definition, words) in
        [("DRIVER_NOT_LOADED", "driver is not loaded"), ("NO_PERMISSION", "permission")]
    {
        let Some(gpus) = told(&[definition]) else { return };
        let Source::Refused { why } = &gpus.source else { panic!("{gpus:?}") };
        assert!(why.starts_with("NVML says: ") && why.contains(words), "{why}");
        assert!(gpus.gpus.is_empty() && gpus.lost.is_empty());
    }
}

#[test]
fn a_driver_that_hangs_is_left_to_itself() {
    let folder = Folder::new();
    let Some(library) = library(&folder, &["HANGS"]) else { return };
    let asked = Instant::now();
    let gpus = Gpus::of_library(library, Duration::from_millis(250));
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    let within = Duration::from_millis(250);
    assert_eq!(gpus, Gpus { source: Source::Silent { within }, ..Gpus::default() });
    let machine = assemble(&Facts { gpus, ..Facts::default() });
    let note = "no GPU (the NVIDIA driver did not answer within 250.0ms)";
    assert!(machine.notes.iter().any(|it| it.found == note), "{:?}", machine.notes);
}

#[test]
fn a_library_that_is_no_drivers_is_not_one() {
    let folder = Folder::new();
    let nothing = folder.path().join("libnvidia-ml.so.1");
    std::fs::write(&nothing, "no library").unwrap();
    for path in [nothing, folder.path().join("nowhere")] {
        let gpus = Gpus::of_library(&path, LIMIT);
        let why = format!("{} is not there, or cannot be loaded", path.display());
        assert_eq!(gpus, Gpus { source: Source::Refused { why }, ..Gpus::default() });
    }
}

#[test]
fn the_library_is_found_by_its_name() {
    const INSIDE: &str = "CROSSTIE_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        assert_eq!(Gpus::of_this_host(LIMIT).gpus.len(), 8);
        return;
    }
    let folder = Folder::new();
    let Some(_library) = library(&folder, &[]) else { return };
    // The loader reads its path when a process starts.
    let this = Command::new(std::env::current_exe().unwrap())
        .args(["the_library_is_found_by_its_name", "--exact"])
        .env("LD_LIBRARY_PATH", folder.path())
        .env(INSIDE, "1")
        .status();
    assert!(this.unwrap().success());
}
