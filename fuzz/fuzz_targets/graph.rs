//! Owns the fuzz target of NCCL's graph files: whatever the bytes, reading ends, what was read is written and read back
//! equal, and is taken for a machine, or refused, with rings that pass each GPU once.
#![no_main]

use std::sync::LazyLock;

use crosstie_planner::graph::GraphFile;
use crosstie_planner::search::Node;
use crosstie_topo::Topology;
use libfuzzer_sys::fuzz_target;

static MACHINES: LazyLock<Vec<Topology>> = LazyLock::new(|| {
    let files = [
        include_bytes!("../../topology/dgx1-v100.xml").as_slice(),
        include_bytes!("../../topology/hgx-h100-4nic.xml"),
        include_bytes!("../../topology/pcie-8gpu.xml"),
    ];
    files.into_iter().filter_map(|file| Topology::read_bytes(file).ok()).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = GraphFile::read(bytes) else { return };
    let text = file.to_string();
    assert_eq!(GraphFile::read(text.as_bytes()).as_ref(), Ok(&file), "{text}");
    for topology in MACHINES.iter() {
        let node = Node::whole(topology);
        for (nodes, pxn) in [(1, true), (3, true), (2, false)] {
            let Ok(imported) = file.on(&node, nodes, pxn, None) else { continue };
            for stretch in imported.rings.rings.iter().flat_map(|ring| &ring.nodes) {
                let mut gpus = stretch.gpus.clone();
                gpus.sort_unstable();
                gpus.dedup();
                assert_eq!(gpus.len(), stretch.gpus.len(), "{text}");
            }
        }
    }
});
