//! `crosstie topo`: machines as text, JSON, XML and pictures; what is wrong with them, how they differ.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Done, Running, Scratch, crosstie, run};
use serde_json::Value;

/// The command with arguments that may hold blanks.
fn topo(args: &[&str]) -> Done {
    let mut command: Command = crosstie("topo");
    command.args(args);
    Running::start(command).finish()
}

/// A file of the workspace.
fn file(path: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../..", path].iter().collect();
    path.to_str().unwrap().to_owned()
}

fn tree(name: &str) -> String {
    file(&format!("crates/probe/tests/trees/{name}.tree"))
}

/// Two GPUs with NVLinks between them and a card for one of them, on one processor.
const SMALL: &str = r#"<system version="1">
  <cpu numaid="0" affinity="ff" arch="x86_64" vendor="AuthenticAMD" familyid="25" modelid="1">
    <pci busid="0000:01:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">
      <pci busid="0000:03:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16">
        <gpu dev="0" sm="90" gdr="1"><nvlink target="0000:05:00.0" count="4" tclass="0x030200"/></gpu>
      </pci>
      <pci busid="0000:04:00.0" class="0x020700" link_speed="32.0 GT/s PCIe" link_width="16">
        <nic><net name="mlx5_0" dev="0" speed="400000" port="1" guid="0x1"/></nic>
      </pci>
    </pci>
    <pci busid="0000:05:00.0" class="0x030200" link_speed="32.0 GT/s PCIe" link_width="16">
      <gpu dev="1" sm="90" gdr="1"><nvlink target="0000:03:00.0" count="4" tclass="0x030200"/></gpu>
    </pci>
  </cpu>
</system>
"#;

#[test]
fn this_machine_is_shown_whatever_it_is() {
    let done = run("topo");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let headline = done.out.lines().next().unwrap_or_default();
    assert!(headline.contains("NUMA node") && headline.contains("GPU"), "{}", done.out);
    assert!(done.out.contains("\nCPU"), "{}", done.out);
    assert!(!done.out.contains('\x1b'), "no colours in a pipe");
    let object: Value = serde_json::from_str(&run("topo show --format json").out).unwrap();
    assert_eq!(object["schema"], 1);
    for (format, begin) in [("xml", "<system"), ("svg", "<svg"), ("dot", "graph")] {
        let done = run(&format!("topo --format {format}"));
        assert_eq!(done.code, Some(0), "{format}: {}", done.err);
        assert!(done.out.contains(begin), "{format}: {}", done.out);
    }
    // What is not here is told in words, and beside what other programs read.
    let told = |text: &str| text.contains("no RDMA devices") || text.contains("no GPU");
    if told(&done.out) {
        assert!(told(&run("topo --format xml").err));
        let notes = object["notes"].as_array().unwrap();
        assert!(notes.iter().any(|note| told(note["found"].as_str().unwrap())), "{notes:?}");
    }
}

#[test]
fn a_captured_machine_without_gpu_and_rdma_says_so_plainly() {
    let done = topo(&["--captured", &tree("vm-flat")]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    for line in [
        "  no GPU (libnvidia-ml.so.1 is not there): ranks use the host's memory",
        "  no RDMA devices (/sys/class/infiniband is absent): networks are reached by TCP",
        "  the speed of eth0 is not told: it is taken for 10 Gbit/s",
        "`crosstie topo lint` has 2 warnings",
    ] {
        assert!(done.out.lines().any(|it| it == line), "{line} is not in\n{}", done.out);
    }
}

#[test]
fn a_captured_server_has_its_matrix_of_paths() {
    let done = topo(&["--captured", &tree("dgx-a100")]);
    let row = |name: &str| {
        let line = done.out.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no row {name} in\n{}", done.out));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut expected = vec!["GPU0", "X"];
    expected.extend(["NV12"; 7]);
    expected.extend(["PXB", "PXB", "PXN", "PXN", "SYS", "PXN", "PXN", "PXN", "PXN", "SYS", "3"]);
    assert_eq!(row("GPU0"), expected);
    assert_eq!(row("mlx5_8").last().unwrap(), "6", "the ninth card is on the seventh rail of GPUs");
    assert!(done.out.contains("port 1 of mlx5_5 is DOWN, cable Disabled: left out"));
    let colored = topo(&["--captured", &tree("dgx-a100"), "--color", "always"]).out;
    let mut plain = String::new();
    for part in colored.split('\x1b') {
        let end = if plain.is_empty() { 0 } else { part.find('m').map_or(0, |at| at + 1) };
        plain.push_str(&part[end..]);
    }
    assert!(colored.contains("\x1b[32mNV12"), "{colored}");
    assert_eq!(plain, done.out, "colours change nothing else");
}

#[test]
fn what_is_captured_here_is_shown_elsewhere() {
    let target = Scratch::new("");
    let done = topo(&["--capture", target.path()]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(done.out.contains(target.path()), "{}", done.out);
    let text = fs::read_to_string(target.path()).unwrap();
    assert!(text.contains("/sys/class/net\n") && !text.contains("address ="), "{text}");
    let shown = topo(&["--captured", target.path()]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    let cpus = |text: &str| text.lines().filter(|line| line.starts_with("CPU")).count();
    assert_eq!(cpus(&shown.out), cpus(&run("topo").out));
    for cut in [&text[..text.len() / 2], ""] {
        let cut = Scratch::new(&format!("{}\n", cut.trim_end()));
        let done = topo(&["--captured", cut.path()]);
        assert_eq!((done.code, &*done.out), (Some(2), ""));
        assert!(done.err.contains("cut short"), "{}", done.err);
    }
    let done = topo(&["--capture", "/no/such/folder/it"]);
    assert_eq!(done.code, Some(4), "{}", done.err);
    assert!(done.err.contains("cannot write /no/such/folder/it"), "{}", done.err);
}

#[test]
fn a_file_is_shown_in_every_format_and_its_xml_is_the_same_file() {
    let small = Scratch::new(SMALL);
    let done = topo(&["--file", small.path()]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    for part in ["GPU0: 0000:03:00.0", "GPU1", "NV4", "PIX", "PXN", "mlx5_0: 400 Gb/s"] {
        assert!(done.out.contains(part), "{part} is not in\n{}", done.out);
    }
    let xml = Scratch::new(&topo(&["--file", small.path(), "--format", "xml"]).out);
    let same = topo(&["diff", small.path(), xml.path()]);
    assert_eq!(same.code, Some(0));
    assert!(
        same.out.ends_with("no difference: the same devices, attributes and paths\n"),
        "{}",
        same.out
    );
    let object = topo(&["--file", small.path(), "--format", "json"]).out;
    let object: Value = serde_json::from_str(&object).unwrap();
    let kinds: Vec<&str> = object["vertices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.iter().filter(|&&kind| kind == "gpu").count(), 2);
    assert_eq!(object["notes"], Value::Array(Vec::new()));
    let svg = topo(&["--file", small.path(), "--format", "svg"]).out;
    assert!(svg.contains("id=\"gpu1\""), "{svg}");
    let dot = topo(&["--file", small.path(), "--format", "dot"]).out;
    assert!(dot.contains("gpu1"), "{dot}");
}

#[test]
fn several_files_of_one_machine_are_one() {
    let link = r#"<nvlink target="0000:05:00.0" count="4" tclass="0x030200"/>"#;
    let first = Scratch::new(&SMALL.replace(link, ""));
    let second = Scratch::new(&SMALL.replace("400000", "200000"));
    let done = topo(&["--file", first.path(), "--file", second.path()]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("NV4"), "the second has the link:\n{}", done.out);
    let told =
        "the files differ in speed of net mlx5_0 1: \"400000\" is kept, \"200000\" is dropped";
    assert!(done.out.contains(told), "{}", done.out);
}

#[test]
fn lint_tells_errors_by_its_exit_code() {
    let good = Scratch::new(SMALL);
    let done = topo(&["lint", "--file", good.path()]);
    assert_eq!(done.code, Some(0), "{}", done.out);
    assert!(!done.out.contains("error:"), "{}", done.out);
    let twice = SMALL.replace("busid=\"0000:04:00.0\"", "busid=\"0000:05:00.0\"");
    let twice = Scratch::new(&twice);
    let done = topo(&["lint", "--file", twice.path()]);
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(done.out.contains("error:") && done.out.contains("[duplicate-bus-id"), "{}", done.out);
    let done = topo(&["lint", "--json", "--file", twice.path()]);
    assert_eq!(done.code, Some(1));
    let object: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(object["schema"], 1);
    assert_eq!(object["findings"][0]["rule"], "duplicate-bus-id");
}

#[test]
fn diff_tells_what_differs_and_which_paths() {
    let first = Scratch::new(SMALL);
    let second = Scratch::new(&SMALL.replace("count=\"4\"", "count=\"2\""));
    let done = topo(&["diff", first.path(), second.path()]);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.out.contains("count \"4\" -> \"2\""), "{}", done.out);
    assert!(done.out.contains("both 2 GPUs (sm 90) joined directly"), "{}", done.out);
    let paths = "     2  NVL 82.4 GB/s -> NVL 41.2 GB/s: GPU0 to GPU1, GPU1 to GPU0";
    assert!(done.out.lines().any(|line| line == paths), "{}", done.out);
    let full = topo(&["diff", "--full", first.path(), second.path()]);
    assert!(full.out.lines().any(|line| line.starts_with("~ path GPU0 to GPU1")), "{}", full.out);
    let done = topo(&["diff", "--json", first.path(), second.path()]);
    let object: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(object["differences"][0]["kind"], "attribute");
    // Against this machine, which has no such device; against a captured one.
    assert_eq!(topo(&["diff", first.path()]).code, Some(1));
    let captured = topo(&["diff", first.path(), &tree("dgx-a100")]);
    assert_eq!(captured.code, Some(1), "{}", captured.err);
    assert!(captured.out.contains("B ") && captured.out.lines().count() < 70, "{}", captured.out);
}

#[test]
fn diff_says_which_paths_it_could_not_compare_and_counts_all_that_is_missing() {
    let whole = file("topology/dgx-h100.xml");
    let bare = topo(&["diff", &whole, &file("topology/cpu-4nic.xml")]).out;
    assert!(!bare.contains("no path differs"), "{bare}");
    assert!(bare.contains("294 of A and 18 of B are not"), "{bare}");
    let text = std::fs::read_to_string(&whole).unwrap();
    let gpu = text.find("<gpu dev=\"7\"").expect("GPU7");
    let begin = text[..gpu].rfind("<pci ").expect("its place on PCI");
    let end = begin + text[begin..].find("</pci>").expect("its end") + "</pci>".len();
    let without = Scratch::new(&(text[..begin].to_owned() + &text[end..]));
    let done = topo(&["diff", &whole, without.path()]).out;
    assert!(done.contains("devices and attributes: 3 only in A (-)"), "{done}");
    assert!(done.contains(", with 2 elements in it"), "{done}");
    // GPU7 was the way to its NIC for the other GPUs, four of which are on the other socket.
    assert!(done.contains("paths: 7 differ (A -> B)"), "{done}");
    assert!(done.contains("272 paths are compared, 34 of A and 0 of B are not"), "{done}");
}

#[test]
fn remap_gives_a_host_s_file_the_guest_s_bus_ids() {
    let host = Scratch::new(SMALL);
    let map =
        Scratch::new("# host = guest\n0000:03:00.0=0000:00:05.0\n0000:04:00.0 0000:00:06.0\n");
    let done = topo(&["remap", host.path(), "--bdf-map", map.path()]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("busid=\"0000:00:05.0\"") && !done.out.contains("0000:03:00.0"));
    assert!(done.err.contains("pci 0000:05:00.0: not in the map, left out"), "{}", done.err);
    let guest = Scratch::new(&done.out);
    assert_eq!(topo(&["lint", "--file", guest.path()]).code, Some(0));
    let map = Scratch::new("0000:03:00.0\n");
    let done = topo(&["remap", host.path(), "--bdf-map", map.path()]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("line 1 of the map"), "{}", done.err);
}

#[test]
fn what_is_no_topology_is_refused_with_the_place() {
    let graph = Scratch::new("<graphs version=\"1\"></graphs>");
    let text = Scratch::new("hello");
    let cut = Scratch::new(&SMALL[..300]);
    for (args, expected) in [
        (["--file", graph.path()], "is a graph file (NCCL_GRAPH_FILE), not a machine or a fabric"),
        (["--file", text.path()], "line 1, column 1: not XML"),
        (["--file", cut.path()], "not XML"),
        (["--file", "/no/such/file"], "cannot read /no/such/file"),
        (["--captured", text.path()], "line 1: expected a directory"),
        (["--format", "pdf"], "'pdf'"),
        (["diff", "/no/such/file"], "cannot read /no/such/file"),
        (["remap", "/no/such/file"], "--bdf-map"),
    ] {
        let done = topo(&args);
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(done.err.contains(expected), "{args:?}: {}", done.err);
        assert_eq!(done.out, "", "{args:?}");
    }
    let both = topo(&["--file", "a", "--captured", "b"]);
    assert_eq!(both.code, Some(2), "{}", both.err);
}

#[test]
fn a_file_is_taken_for_what_it_holds_however_it_is_given() {
    let (xml, capture) = (file("topology/dgx-h100.xml"), tree("vm-flat"));
    for args in
        [vec![xml.as_str()], vec!["--file", &xml], vec!["--captured", &xml], vec!["show", &xml]]
    {
        let done = topo(&args);
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.err);
        assert!(done.out.starts_with("8 GPUs (H100) on NVSwitch"), "{args:?}: {}", done.out);
    }
    for args in [vec![capture.as_str()], vec!["--file", &capture], vec!["lint", &capture]] {
        let done = topo(&args);
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.err);
    }
    let object: Value = serde_json::from_str(&topo(&["--json", &xml]).out).unwrap();
    assert_eq!(object["schema"], 1);
    let typo = topo(&["lnit"]);
    assert_eq!(typo.code, Some(2));
    assert!(typo.err.contains("its commands are show, lint, diff and remap"), "{}", typo.err);
    let two = topo(&[&xml, &capture]);
    assert!(two.err.contains("is no NCCL topology file"), "{}", two.err);
}

#[test]
fn a_pipe_is_read_where_once_is_enough_and_nobody_waits_for_it_elsewhere() {
    let pipe = Scratch::new("");
    fs::remove_file(pipe.path()).unwrap();
    let made = Command::new("mkfifo").arg(pipe.path()).status();
    assert!(made.unwrap().success());
    let bench = run(&format!("bench all_reduce -b 8 -e 8 --ranks 2 --topo {}", pipe.path()));
    assert_eq!(bench.code, Some(2), "{}", bench.err);
    assert!(bench.err.contains("it is a pipe, not a file"), "{}", bench.err);
    for name in ["CROSSTIE_TOPO_FILE", "NCCL_TOPO_FILE"] {
        let mut ranks = crosstie("run -n 2 --");
        ranks.args([env!("CARGO_BIN_EXE_crosstie"), "bench", "barrier", "-n", "1"]);
        let done = Running::start(with(ranks, name, pipe.path())).finish();
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains("it is a pipe, not a file"), "{name}: {}", done.err);
    }
    let text = fs::read(file("topology/dgx-h100.xml")).unwrap();
    let path = pipe.path().to_owned();
    let writer = std::thread::spawn(move || fs::write(path, text));
    let done = topo(&[pipe.path()]);
    assert!(done.out.starts_with("8 GPUs (H100) on NVSwitch"), "{done:?}");
    writer.join().unwrap().unwrap();
    let done = topo(&["lint", pipe.path()]);
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.err.contains("it is a pipe that did not end within 10s"), "{}", done.err);
}

fn with(mut command: Command, name: &str, value: &str) -> Command {
    command.env(name, value);
    command
}

#[test]
fn a_fabric_is_shown_and_is_no_machine() {
    let fabric = file("topology/fabric-rail-2.toml");
    let done = topo(&[&fabric]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("oversubscription 1:1 of a full leaf"), "{}", done.out);
    assert!(topo(&[&fabric, "--format", "svg"]).out.starts_with("<svg "));
    let object: Value = serde_json::from_str(&topo(&[&fabric, "--json"]).out).unwrap();
    assert_eq!(object["wiring"]["leaves"].as_array().map(Vec::len), Some(8));
    assert_eq!(object["ways"][0]["reach"]["leaf"], 50_000_000_000_u64, "{}", object["ways"]);
    for args in [vec!["diff", fabric.as_str(), &fabric], vec![&fabric, "--format", "xml"]] {
        let done = topo(&args);
        assert_eq!(done.code, Some(2), "{args:?}");
        assert!(done.err.contains("is a fabric"), "{args:?}: {}", done.err);
    }
}

#[test]
fn a_fabric_is_linted() {
    let fine = topo(&["lint", &file("topology/fabric-rail-2.toml")]);
    assert_eq!((fine.code, &*fine.out), (Some(0), "nothing is wrong\n"), "{}", fine.err);
    let text = fs::read_to_string(file("topology/fabric-rail-2.toml")).unwrap();
    let text = text.replace("topology = ", "# ");
    let apart = text.split("[[uplinks]]").next().unwrap().replace("_group = 2", "_group = 1");
    let apart = Scratch::new(&apart.replacen("count = 8", "count = 16", 1));
    let done = topo(&["lint", apart.path()]);
    assert_eq!(done.code, Some(1), "{} {}", done.out, done.err);
    assert!(done.out.contains("error: nothing joins node1 to node0"), "{}", done.out);
    let done = topo(&["lint", apart.path(), "--json"]);
    let object: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(object["findings"][0]["rule"], "unreachable");
}

#[test]
fn the_machine_that_a_fabric_names_is_looked_at() {
    let text = fs::read_to_string(file("topology/fabric-rail-2.toml")).unwrap();
    for (machine, why) in [
        (file("topology/dgx-h100.xml"), None),
        ("/no/such/machine".into(), Some("cannot read it")),
        ("/dev/zero".into(), Some("it is a device, not a file")),
        (file("topology/README.md"), Some("not XML")),
    ] {
        let fabric = Scratch::new(&text.replace("\"dgx-h100.xml\"", &format!("{machine:?}")));
        let done = topo(&[fabric.path()]);
        let lab = run(&format!("lab --fabric {} --rate 100mbit --print-fabric", fabric.path()));
        let code = if why.is_some() { Some(2) } else { Some(0) };
        assert_eq!((done.code, lab.code), (code, code), "{machine}: {} {}", done.err, lab.err);
        for err in [done.err, lab.err] {
            assert!(why.is_none_or(|why| err.contains(why) && err.contains(&machine)), "{err}");
        }
    }
}

#[test]
fn two_machines_are_not_merged_into_one() {
    let done = topo(&[&file("topology/dgx-a100.xml"), &file("topology/dgx-h100.xml")]);
    assert_eq!((done.code, &*done.out), (Some(2), ""));
    assert!(done.err.contains("the files are of different machines: cpu "), "{}", done.err);
    assert!(done.err.contains("topo diff"), "{}", done.err);
}

#[test]
fn no_file_gives_the_terminal_an_order() {
    let text = fs::read_to_string(file("topology/fabric-rail-2.toml")).unwrap();
    let hostile = r#"name = "\u001b[31mx\u001b]0;pwn\u0007\u202e\n2 nodes""#;
    let fabric = text.replacen("name = \"rail-optimised with spine, 2 nodes\"", hostile, 1);
    assert_ne!(fabric, text);
    let fabric = fabric.replace("topology = ", "# ");
    let machine = fs::read_to_string(file("topology/dgx-h100.xml")).unwrap();
    let machine = machine.replace("name=\"mlx5_", "name=\"&#x9b;2J&#x202e;mlx5_");
    let orders = |text: &str| {
        text.chars().any(|c| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c))
    };
    for (text, formats) in
        [(fabric, &["text", "svg"][..]), (machine, &["text", "xml", "svg", "dot", "json"])]
    {
        let given = Scratch::new(&text);
        for &format in formats {
            let done = topo(&[given.path(), "--format", format]);
            assert_eq!(done.code, Some(0), "{format}: {}", done.err);
            assert!(!orders(&done.out) && !orders(&done.err), "{format}: {:?}", done.out);
        }
        let done = topo(&["diff", given.path(), &file("topology/dgx-h100.xml")]);
        assert!(!orders(&done.out) && !orders(&done.err), "{:?} {:?}", done.out, done.err);
    }
    let bad = Scratch::new("schema = 1\nname = \"x\"\n\"\\u001b[31m\" = 2\n");
    let done = topo(&[bad.path()]);
    assert!(done.err.contains("[31m") && !orders(&done.err), "{:?}", done.err);
}

#[test]
fn a_rack_fits_where_it_is_shown_and_is_whole_where_asked() {
    let rack = file("topology/nvl72.xml");
    let done = topo(&[&rack]);
    assert!(done.out.lines().all(|line| line.chars().count() <= 200), "{}", done.out);
    assert!(done.out.lines().count() < 70 && done.out.contains("--full"), "{}", done.out);
    let full = topo(&[&rack, "--full"]).out;
    assert!(full.contains("h17/GPU3: ") && full.lines().any(|line| line.len() > 1000), "{full}");
}

#[test]
fn its_help_teaches() {
    let help = run("topo --help").out;
    for part in ["Examples:", "Exit code:", "NCCL_TOPO_FILE", "PIX", "lint", "remap", "diff"] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    for sub in ["show", "lint", "diff", "remap"] {
        assert_eq!(run(&format!("topo {sub} --help")).code, Some(0));
    }
}

#[test]
fn help_explains_every_kind_of_path() {
    for args in [&["--help"][..], &["show", "--help"]] {
        let done = topo(args);
        assert_eq!(done.code, Some(0), "{}", done.err);
        // NET is the way between nodes, LOC the X of the matrix.
        for kind in ["NVB", "C2C", "PIX", "PXB", "P2C", "PXN", "PHB", "SYS"] {
            assert!(done.out.contains(&format!("{kind}  ")), "{kind} is not in {}", done.out);
        }
    }
}

#[test]
fn verbs_devices_are_shown_on_their_nics_in_every_format() {
    let rxe = tree("rxe");
    let told = "port 1 ACTIVE, Ethernet, MTU 4096, GID 1 RoCE v2, IPv4 (of 2), n0r1";
    for format in ["text", "svg"] {
        let done = topo(&[&rxe, "--format", format]);
        assert!(done.out.contains(&format!("rxe_n0r1: 10 Gb/s, rail 1, {told}")), "{done:?}");
    }
    let json: Value = serde_json::from_str(&topo(&[&rxe, "--json"]).out).unwrap();
    let vertices = json["vertices"].as_array().unwrap();
    let port = vertices.iter().find(|it| it["label"] == "rxe_n0r1").unwrap();
    let verbs = &port["verbs"];
    assert_eq!((&verbs["state"], &verbs["mtu"]), (&"ACTIVE".into(), &4096.into()));
    assert_eq!((&verbs["gid"], &verbs["gids"]), (&"1 RoCE v2, IPv4".into(), &2.into()));
    assert_eq!(verbs["interface"], "n0r1");
}

#[test]
fn lint_names_sick_ports_of_verbs_devices() {
    let done = topo(&["lint", &tree("rxe-sick")]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("rxe_n0r2 sends packets of 1024 bytes"), "{done:?}");
    assert!(done.out.contains("[rail-mtus]"), "{done:?}");
    assert!(done.err.contains("port 1 of rxe_n0r0 is DOWN, cable Polling: left out"), "{done:?}");
    assert!(done.err.contains("port 1 of rxe_n0r1 has link-local GIDs alone"), "{done:?}");
}
