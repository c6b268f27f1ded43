//! Owns the check of files that vendors wrote: each is read, and survives being written.

use std::path::PathBuf;

use crosstie_topo::xml::Document;
use crosstie_topo::{Bandwidth, Fault, PathKind, Paths, Topology};

/// The XML files of the folder that `CROSSTIE_TOPOLOGIES` names, and of the one inside it with files
/// that have all that NCCL fills in.
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

/// What NCCL 2.30.7 itself found on files of the folder `completed`: rings, and the worst path on them.
#[derive(serde::Deserialize)]
struct Search {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    file: String,
    mode: String,
    ring: Ring,
}

#[derive(serde::Deserialize)]
struct Ring {
    bandwidth_mb_s: u64,
    type_intra: String,
    type_inter: String,
    orders: Vec<Order>,
}

#[derive(serde::Deserialize)]
struct Order {
    gpus: Vec<u32>,
    #[serde(default)]
    nets: Vec<u32>,
}

/// NCCL tells the worst kind of path that each ring's search allowed. By these rules the worst path between
/// GPUs must be of that kind, none to a NIC may be worse (NCCL allows these no less than those), and each
/// must carry the ring.
#[test]
fn rings_that_nccl_found_have_the_kinds_of_paths_that_it_names() {
    let (Some(folder), Some(search)) =
        (std::env::var_os("CROSSTIE_TOPOLOGIES"), std::env::var_os("CROSSTIE_NCCL_SEARCH"))
    else {
        println!("SKIPPED: CROSSTIE_NCCL_SEARCH names no file of NCCL's results");
        return;
    };
    let search: Search = serde_json::from_str(&std::fs::read_to_string(search).unwrap()).unwrap();
    for Case { file, mode, ring } in search.cases {
        let path = PathBuf::from(&folder).join("completed").join(&file);
        let topology = Topology::read(&std::fs::read_to_string(path).unwrap()).unwrap();
        let paths = Paths::of(&topology).unwrap();
        let gpu = |dev: u32| {
            topology
                .gpus()
                .iter()
                .copied()
                .find(|&id| topology.gpu(id).is_some_and(|gpu| gpu.dev == dev))
                .unwrap()
        };
        let port = |dev: u32| {
            topology
                .ports()
                .iter()
                .copied()
                .find(|&id| topology.port(id).is_some_and(|port| port.dev == dev))
                .unwrap()
        };
        let (mut intra, mut inter) = (PathKind::Loc, PathKind::Loc);
        for order in &ring.orders {
            let gpus: Vec<_> = order.gpus.iter().map(|&dev| gpu(dev)).collect();
            let mut hops: Vec<_> =
                gpus.windows(2).map(|pair| paths.between(pair[0], pair[1]).unwrap()).collect();
            let (first, last) = (gpus[0], gpus[gpus.len() - 1]);
            if let [from, to] = order.nets[..] {
                let outside = [
                    paths.between(port(from), first).unwrap(),
                    paths.send(last, port(to)).unwrap(),
                ];
                inter = outside.iter().map(|path| path.kind).fold(inter, PathKind::max);
                assert!(
                    outside
                        .iter()
                        .all(|path| path.bandwidth >= Bandwidth::mb_per_s(ring.bandwidth_mb_s)),
                    "{file} {mode}: {outside:?}"
                );
            } else {
                hops.push(paths.between(last, first).unwrap());
            }
            intra = hops.iter().map(|path| path.kind).fold(intra, PathKind::max);
            assert!(
                hops.iter().all(|path| path.bandwidth >= Bandwidth::mb_per_s(ring.bandwidth_mb_s)),
                "{file} {mode}: {hops:?}"
            );
        }
        assert_eq!(intra.name(), ring.type_intra, "{file} {mode}");
        let allowed = PathKind::ALL.into_iter().find(|kind| kind.name() == ring.type_inter);
        assert!(allowed.is_none_or(|allowed| inter <= allowed), "{file} {mode}: {inter}");
    }
}
