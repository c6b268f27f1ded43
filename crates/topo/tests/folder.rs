//! Owns the check of files that vendors wrote: each is read, and survives being written.

use std::path::PathBuf;

use crosstie_topo::xml::Document;
use crosstie_topo::{Fault, PathKind, Paths, Topology};

/// The XML files of the folder that `CROSSTIE_TOPOLOGIES` names, and of the one inside it with files
/// that have all that NCCL fills in.
#[expect(clippy::print_stdout, reason = "a check that is left out says so")]
fn files() -> Vec<(String, String)> {
    let Some(folder) = std::env::var_os("CROSSTIE_TOPOLOGIES") else {
        println!("SKIPPED: CROSSTIE_TOPOLOGIES names no folder of topology files");
        return Vec::new();
    };
    let folder = PathBuf::from(folder);
    let listed = [folder.clone(), folder.join("completed")]
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut paths: Vec<_> =
        listed.flatten().map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "xml"));
    paths.sort();
    assert!(!paths.is_empty(), "no XML file in {}", folder.display());
    let read = |path: PathBuf| {
        (path.display().to_string(), std::fs::read_to_string(&path).expect("a readable file"))
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_file_of_a_folder_survives_reading_back_what_was_written() {
    for (name, text) in files() {
        let document = Document::read(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = Document::read(&document.to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(document, again, "{name}");
        assert_eq!(document.to_string(), again.to_string(), "{name}");
        let comments = |text: &str| text.matches("<!--").count();
        assert_eq!(comments(&text), comments(&document.to_string()), "{name}");
    }
}

#[test]
fn every_topology_of_a_folder_has_all_its_paths_and_graph_files_are_refused_by_that_name() {
    for (name, text) in files() {
        let topology = match Topology::read(&text) {
            Err(e) if name.ends_with(".graph.xml") => {
                assert_eq!(e.fault, Fault::GraphFile);
                assert!(e.to_string().contains("graph file"), "{e}");
                continue;
            }
            topology => topology.unwrap_or_else(|e| panic!("{name}: {e}")),
        };
        let paths = Paths::of(&topology).unwrap();
        let mut kinds = String::new();
        for &gpu in topology.gpus() {
            for &to in topology.gpus().iter().chain(topology.ports()) {
                let path = paths.send(gpu, to).or_else(|| paths.between(gpu, to));
                let path = path.unwrap_or_else(|| panic!("{name}: {gpu:?} to {to:?}"));
                assert!(gpu == to || path.kind > PathKind::Loc, "{name}: {gpu:?} to {to:?}");
                kinds.push_str(&format!(" {}", path.kind));
            }
            kinds.push('\n');
        }
        println!("{name}\n{kinds}");
    }
}
