//! Whatever stands in the files: no panic, no hang, and what comes out is a topology.
#![cfg(test)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use crosstie_probe::{Captured, Facts, Tree, assemble};
use crosstie_topo::Topology;
use crosstie_topo::xml::Document;
use proptest::prelude::*;
use support::{Folder, all, captured};

/// All regular files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => found.extend(files(&entry.path())),
            (_, true) => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Detection of a folder gives a document that is written, read back, and understood.
fn check(folder: &Path) {
    let facts = Facts::of_capture(&Tree::at(folder).unwrap());
    let document = assemble(&facts).document;
    let text = document.to_string();
    Document::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Topology::from_document(document).unwrap_or_else(|error| panic!("{error}\n{text}"));
}

/// What files of a kernel hold, and what they should not.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "-1",
        "0",
        "4294967295",
        "18446744073709551616",
        "Unknown",
        "",
        "0xffffff",
        "1 2 3 -",
        "99999999.9 GT/s",
        "4: ACTIVE",
        "0-4294967295",
        "0000:07:00.0",
        "DEVTYPE=bond",
        "0x030200",
        "0x068001",
        "1000000 4294967295",
        "99.99",
        "<&\"'>",
        "\u{0}\u{7}\u{1b}",
        "up",
        "255",
        "0 0000:0f:00.0 10de:20b0\n1 0000:e2:00.0",
        "ffff:ffff:ffff:ffff",
        "0x060400",
        "0x1002",
    ];
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        Just(vec![b'7'; 100_000]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_content_of_files_breaks_detection(
        machine in 0..64_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), content()), 1..60),
    ) {
        // The largest takes as long as all others, and has nothing that they have not.
        let names: Vec<String> = all().into_iter().filter(|name| name != "dgx-a100").collect();
        let folder = Folder::new();
        captured(&names[machine % names.len()]).write_below(folder.path()).unwrap();
        let files = files(folder.path());
        for (file, content) in changes {
            fs::write(file.get(&files), content).unwrap();
        }
        check(folder.path());
    }

    #[test]
    fn no_tree_of_files_and_links_breaks_detection(
        lines in proptest::collection::vec(line(), 0..40),
    ) {
        if let Ok(captured) = format!("{}\nend\n", lines.join("\n")).parse::<Captured>() {
            prop_assert_eq!(&captured.to_string().parse::<Captured>().unwrap(), &captured);
            let folder = Folder::new();
            // A file where a directory should be is the file system's to refuse.
            let _ = captured.write_below(&folder.path().join("machine"));
            fs::create_dir_all(folder.path().join("machine")).unwrap();
            check(&folder.path().join("machine"));
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "(?s).{0,200}") {
        let _ = text.parse::<Captured>();
    }
}

/// Lines of captured machines, which lead to each other often enough.
fn line() -> impl Strategy<Value = String> {
    let places = [
        "sys/bus/pci/devices",
        "sys/class/net",
        "sys/class/infiniband",
        "sys/devices/system/node/node0",
        "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        "sys/class/net/eth0",
        "nvml/gpu0",
        "sys/devices/pci0000:00/0000:00:01.0/0000:00:01.0/0000:00:02.0/0000:00:01.0",
        "proc",
        "sys/class/infiniband/mlx5_0/ports/1",
        "sys/devices/x/mlx5_0/ports/1/gids",
    ];
    let names = [
        "0000:01:00.0",
        "0000:00:02.0",
        "eth0",
        "mlx5_0",
        "device",
        "master",
        "physfn",
        "virtfn0",
        "class",
        "sriov_numvfs",
        "bus_id",
        "nvlinks",
        "state",
        "cpuinfo",
        "cpulist",
        "bonding",
        "uevent",
        "0",
    ];
    let values = [
        "-> ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        "-> eth0",
        "-> .",
        "-> ..",
        "!",
        "-> ../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        "= 0x030200",
        "= 0x020000",
        "|",
        "= 4: ACTIVE",
        "-> ../../../devices/pci0000:00/0000:00:01.0/0000:00:01.0/0000:00:02.0/0000:00:01.0",
        "= 0000:01:00.0",
        "-> ../../devices/x/mlx5_0",
        "= 3",
        "= 0 0000:01:00.0 10de:20b0",
        "-> ../x",
        "= up",
    ];
    let (places, names, values) = (places.to_vec(), names.to_vec(), values.to_vec());
    prop_oneof![
        1 => proptest::sample::select(places).prop_map(|place| format!("/{place}")),
        3 => (proptest::sample::select(names), proptest::sample::select(values))
            .prop_map(|(name, value)| format!("  {name} {value}")),
        1 => Just("    0 0000:00:02.0 10de:1af1".to_owned()),
    ]
}
