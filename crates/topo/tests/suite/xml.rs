//! Owns the reader's and the writer's checks: nothing is lost, each error has its place, and nothing that
//! means harm costs more than its length.

use std::fmt::Write as _;
use std::time::Instant;

use crosstie_topo::xml::{Document, merge};
use crosstie_topo::{
    Bandwidth, Difference, Fault, GpuModel, MOST_TOLD, PathKind, Paths, Topology, VertexKind, diff,
    lint, render,
};
use proptest::prelude::*;

const ODD: &str = include_str!("../files/odd.xml");

#[test]
fn what_is_unknown_is_kept_and_reads_back_equal() {
    let document = Document::read(ODD).unwrap();
    let written = document.to_string();
    assert_eq!(Document::read(&written).unwrap(), document);
    let kept = [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
        "<!-- trailing -->",
        "<!-- after -->",
        "made-by=\"hand\"",
        "name=\"odd &amp; &quot;quoted&quot;\"",
        "note=\"a&#10;b\"",
        "text &lt; here",
        "unknown=\"kept\"",
        "<gin name=\"gin0\" dev=\"0\"/>",
    ];
    for part in kept {
        assert!(written.contains(part), "{part} is lost in\n{written}");
    }
}

#[test]
fn what_a_terminal_obeys_in_a_comment_is_lost_in_reading_so_that_writing_reads_back_equal() {
    let hostile = "<!-- a\u{85}b\u{202e} --><?pi \u{9b}2J?><system version=\"1\"/>";
    let document = Document::read(hostile).unwrap();
    let written = document.to_string();
    assert_eq!(Document::read(&written), Ok(document));
    let obeyed = |c: char| matches!(c, '\u{85}' | '\u{9b}' | '\u{202e}');
    assert!(!written.contains(obeyed), "{written:?}");
}

#[test]
fn devices_that_only_pci_tells_are_derived_and_numbered_by_bus_id() {
    let topology = Topology::read(ODD).unwrap();
    let gpus: Vec<_> = topology.gpus().iter().map(|&id| topology.gpu(id).unwrap()).collect();
    let told: Vec<_> = gpus.iter().map(|gpu| (gpu.dev, gpu.pci.bus_id.to_string())).collect();
    assert_eq!(told[0], (0, "0000:10:1c.0".into()));
    assert_eq!(told[1], (1, "0000:10:1d.0".into()));
    assert_eq!(gpus[0].model, GpuModel::Nvidia { sm: 80 });
    assert_eq!(gpus[2].model, GpuModel::Amd { gcn: "gfx942".into() });
    let ports: Vec<_> = topology.ports().iter().map(|&id| topology.port(id).unwrap()).collect();
    assert_eq!((ports[0].dev, ports[0].mbit), (0, Some(100_000)));
    assert_eq!(
        (ports[1].name.as_deref(), ports[1].mbit, ports[1].latency_ns),
        (Some("eth0"), None, 1500)
    );
    let devices =
        topology.vertices().iter().filter(|vertex| matches!(vertex.kind, VertexKind::Device(_)));
    assert_eq!(devices.count(), 1);
}

#[test]
fn far_ends_that_a_virtual_machine_hides_are_nvswitches() {
    let topology = Topology::read(ODD).unwrap();
    let paths = Paths::of(&topology).unwrap();
    let path = paths.between(topology.gpus()[4], topology.gpus()[5]).unwrap();
    assert_eq!((path.kind, path.bandwidth), (PathKind::Nvl, Bandwidth::mb_per_s(18 * 20_600)));
    let xgmi = paths.between(topology.gpus()[2], topology.gpus()[3]).unwrap();
    assert_eq!((xgmi.kind, xgmi.bandwidth), (PathKind::Nvl, Bandwidth::mb_per_s(48_000)));
}

/// A topology with one line in the place where a `<cpu>` stands.
fn within_cpu(line: &str) -> String {
    format!("<system version=\"1\">\n  <cpu numaid=\"0\">\n    {line}\n  </cpu>\n</system>\n")
}

fn told(text: &str) -> String {
    Topology::read(text).expect_err(text).to_string()
}

#[test]
fn errors_tell_line_column_what_was_expected_and_what_to_do() {
    let gpu = |inner: &str| {
        within_cpu(&format!("<pci busid=\"0000:01:00.0\"><gpu dev=\"0\">{inner}</gpu></pci>"))
    };
    let cases = [
        (
            within_cpu("<pci class=\"0x030200\"/>"),
            "line 3, column 5: <pci> has no busid, expected a PCI address such as 0000:1b:00.0; add it",
        ),
        (
            within_cpu("<pci busid=\"zero\"/>"),
            "line 3, column 10: busid=\"zero\" of <pci>, expected a PCI address",
        ),
        (
            within_cpu("<pci busid=\"0:0:0.0\" link_width=\"-4\"/>"),
            "line 3, column 26: link_width=\"-4\" of <pci>, expected a number from 0",
        ),
        (
            within_cpu("<pci busid=\"0:0:0.0\" link_speed=\"-8 GT/s\"/>"),
            "expected a rate such as \"16.0 GT/s PCIe\"",
        ),
        (
            within_cpu("<nic><net speed=\"99999999999\"/></nic>"),
            "expected a number from 0 to 4294967295",
        ),
        (within_cpu("<nic><net latency=\"NaN\"/></nic>"), "expected microseconds"),
        (
            within_cpu(
                "<pci busid=\"0:1:0.0\" class=\"0x060400\"><pcilink target=\"0:9:0.0\"/></pci>",
            ),
            "<pcilink> leads to 0:9:0.0, expected the bus id of a PCI switch in this file; describe that device, or remove the link",
        ),
        (gpu("<nvlink target=\"0000:01:00.0\" tclass=\"0x030200\"/>"), "<nvlink> has no count"),
        (
            gpu("<nvlink target=\"x\" count=\"99999999999999999999\"/>"),
            "expected a number from 0 to 1048576",
        ),
        (
            within_cpu("<pci busid=\"0:1:0.0\"><pci busid=\"0:1:0.0\"/></pci>"),
            "the device 0000:01:00.0 lies below itself",
        ),
        (within_cpu("<pci busid=\"0:1:0.0\""), "line 4, column 3: not XML"),
        (within_cpu("</pci>"), "line 3, column 5: not XML"),
        (
            "<system version=\"3\"/>".into(),
            "line 1, column 9: version=\"3\" of <system>, expected 1 (NCCL) or 2 (RCCL)",
        ),
        ("<system><cpu/></system>".into(), "<system> has no version"),
        ("<system version=\"1\"><cpu/></system>".into(), "line 1, column 21: <cpu> has no numaid"),
        ("<graphs version=\"1\"/>".into(), "graph file"),
        ("<html/>".into(), "the outermost element is <html>, expected <system>"),
        (String::new(), "line 1, column 1: not XML"),
        ("MZ\0binary".into(), "not XML"),
        ("<!DOCTYPE system><system version=\"1\"/>".into(), "line 1, column 1: a document type"),
        (
            "<?xml\" version=\"1.0\"?><system version=\"1\"/>".into(),
            "an instruction with the name xml",
        ),
        ("<system xmlns=\"urn:x\" version=\"1\"/>".into(), "a namespace (xmlns)"),
    ];
    for (text, expected) in cases {
        assert!(told(&text).contains(expected), "{text}\n{}\nlacks: {expected}", told(&text));
    }
    let e = Topology::read_bytes(b"<system version=\"1\">\n \xff</system>").unwrap_err();
    assert_eq!((e.at.line, e.at.column, e.fault), (2, 2, Fault::Encoding));
}

/// A topology of one `<cpu>` that holds `part` for each number below `many`.
fn repeated(many: usize, part: impl Fn(&mut String, usize)) -> String {
    let mut text = String::new();
    (0..many).for_each(|i| part(&mut text, i));
    within_cpu(&text)
}

macro_rules! add {
    ($text:ident, $($form:tt)*) => { write!($text, $($form)*).expect("texts take all") };
}

/// Files whose cost would grow with the square of their length, or with their depth, if nobody took care.
fn harmful(many: usize) -> Vec<(&'static str, String)> {
    let mut attributes = String::from("<system version=\"1\"");
    let mut comments = String::from("<system version=\"1\">");
    let mut cpus = comments.clone();
    let mut fewer_cpus = comments.clone();
    for i in 0..many {
        add!(attributes, " a{i}=\"\"");
        add!(comments, "<!--{i}--><![CDATA[{i}]]>");
        add!(cpus, "<cpu numaid=\"{i}\"/>");
        if i < many / 20 {
            add!(fewer_cpus, "<cpu numaid=\"{i}\"/>");
        }
    }
    let gpus = |text: &mut String, i: usize| {
        add!(text, "<pci busid=\"{i:x}:1:0.0\" class=\"0x030200\"/>");
    };
    let links = |text: &mut String, i: usize| {
        add!(text, "<pci busid=\"0:1:0.0\" class=\"0x060400\" link_speed=\"x\"/>");
        add!(text, "<pci busid=\"{i:x}:2:0.0\"><gpu dev=\"0\"><nvlink target=\"s\" count=\"1\"/>");
        add!(text, "<nvlink target=\"1:2:0.0\" count=\"1\" tclass=\"0x030000\"/></gpu></pci>");
    };
    let side = 50 + many / 100;
    let mesh = |text: &mut String, i: usize| {
        add!(text, "<pci busid=\"{i:x}:1:0.0\"><gpu dev=\"{i}\">");
        for to in 0..side {
            add!(text, "<nvlink target=\"{to:x}:1:0.0\" count=\"1\" tclass=\"0x030000\"/>");
        }
        text.push_str("</gpu></pci>");
    };
    let nics = |text: &mut String, i: usize| add!(text, "<nic><net dev=\"{i}\"/></nic>");
    let names = |text: &mut String, i: usize| {
        let name = "n".repeat(if i == 0 { 1_000_000 } else { 1 });
        add!(text, "<nic><net name=\"{name}\"/></nic>");
    };
    let same = |text: &mut String, _| text.push_str("<pci busid=\"0:1:0.0\" class=\"0x030200\"/>");
    let devices = |text: &mut String, i: usize| add!(text, "<pci busid=\"{i:x}:1:0.0\"/>");
    let deep = |text: &mut String, _| text.push_str("<x/>");
    vec![
        ("attributes", attributes + "/>"),
        ("comments", comments + "</system>"),
        ("cpus", cpus + "</system>"),
        ("fewer cpus than a table takes", fewer_cpus + "</system>"),
        ("gpus", repeated(many, gpus)),
        ("fewer gpus than a table takes", repeated(many / 20, gpus)),
        ("links", repeated(many, links)),
        ("links of each to each", repeated(side, mesh)),
        ("nics without names", repeated(many, nics)),
        ("a name that pads all lines", repeated(100 + many / 30, names)),
        ("one bus id", repeated(many, same)),
        (
            "ends and devices",
            repeated(many, devices).replacen("</cpu>", "<nic><net/><net/></nic></cpu>", 1),
        ),
        (
            "short elements, deep",
            within_cpu(&format!(
                "{}{}{}",
                "<a>".repeat(120),
                repeated(many, deep),
                "</a>".repeat(120)
            )),
        ),
        ("depth", "<a>".repeat(100_000)),
        ("depth of pci", within_cpu(&"<pci busid=\"0:1:0.0\">".repeat(50_000))),
        ("namespaces", "<a xmlns:a=\"b\">".repeat(10_000)),
        ("open tags", "<".repeat(300_000)),
        ("one line", format!("<system version=\"1\">{}</system>", "<x/>".repeat(50_000))),
        ("open comments", "<!--".repeat(100_000)),
        ("a long value", format!("<system version=\"{}\"/>", "9".repeat(1_000_000))),
        ("an entity", "<!DOCTYPE a [<!ENTITY b \"&b;&b;\">]><a>&b;</a>".into()),
    ]
}

/// All that the command line does with a description.
fn use_all(name: &str, topology: &Topology) {
    let step = |what: &str, begin: Instant| {
        // Quadratic would be minutes; a loaded machine is slower, but not so.
        assert!(begin.elapsed().as_secs() < 10, "{name}: {what} took {:?}", begin.elapsed());
    };
    let begin = Instant::now();
    let written = topology.document().to_string();
    assert_eq!(*topology.document(), Document::read(&written).expect(name), "{name}");
    step("reading back", begin);
    let begin = Instant::now();
    let merged = merge([topology.document().clone(), topology.document().clone()]).expect("two");
    assert!(merged.document == *topology.document() && merged.conflicts.is_empty(), "{name}");
    step("merge", begin);
    let begin = Instant::now();
    lint(topology);
    step("lint", begin);
    let begin = Instant::now();
    let drawn = [render::tree(topology), render::dot(topology), render::svg(topology)];
    step("drawings", begin);
    let begin = Instant::now();
    let json = render::json(topology);
    step("JSON", begin);
    let begin = Instant::now();
    if let Ok(paths) = Paths::of(topology) {
        assert!(render::Matrix::of(topology, &paths).to_string().len() < 40_000_000, "{name}");
    }
    step("matrix", begin);
    let begin = Instant::now();
    if let Ok(differences) = diff(topology, topology) {
        assert_eq!(differences, [], "{name}");
    }
    step("diff", begin);
    let shown = drawn.map(|text| text.len()).into_iter().sum::<usize>() + json.len();
    assert!(shown < 100 * written.len() + 1_000_000, "{name}: {shown} of {}", written.len());
}

fn cost_no_more_than_their_length(many: usize) {
    for (name, text) in harmful(many) {
        let begin = Instant::now();
        let topology = Topology::read(&text);
        assert!(begin.elapsed().as_secs() < 10, "{name}: reading took {:?}", begin.elapsed());
        match topology {
            Ok(topology) => use_all(name, &topology),
            Err(e) => assert!(e.to_string().len() < 500, "{name}: {}", e.to_string().len()),
        }
    }
}

#[test]
fn files_that_mean_harm_are_read_drawn_and_compared_or_refused() {
    // More than a table of paths takes, which is the dearest thing.
    cost_no_more_than_their_length(3_000);
}

#[test]
#[ignore = "slow: what grows with the square of a file's length takes minutes here, all else 10 s"]
fn files_that_mean_harm_cost_no_more_than_their_length() {
    cost_no_more_than_their_length(20_000);
}

/// Each of a file's elements and paths may differ from the other's: what is told of it stays small.
#[test]
fn a_comparison_of_files_that_mean_harm_is_bounded() {
    let name = "n".repeat(100_000);
    let deep = |inner: &str| {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        within_cpu(&format!("{}{inner}{}", open.repeat(20), close.repeat(20)))
    };
    let many = |from: usize| -> String {
        (from..from + 12_000).map(|i| format!("<x a=\"{i}\"/>")).collect()
    };
    let gpus = |speed: &str| {
        repeated(300, |text, i| {
            add!(
                text,
                "<pci busid=\"{i:x}:1:0.0\" class=\"0x030200\" link_speed=\"{speed}\" link_width=\"16\"/>"
            );
        })
    };
    let value = |c: &str| {
        within_cpu(&format!(
            "<y b=\"{}\"/><pci busid=\"0:0:0.0\" z=\"{}\"/>",
            c.repeat(1_000_000),
            c.repeat(1_000_000)
        ))
    };
    let pairs = [
        (deep(&many(0)), deep(&many(12_000))),
        (gpus("8 GT/s"), gpus("16 GT/s")),
        (value("a"), value("b")),
    ];
    for (first, second) in pairs {
        let [first, second] = [first, second].map(|text| Topology::read(&text).unwrap());
        let found = diff(&first, &second).unwrap();
        assert!(!found.is_empty() && found.len() <= MOST_TOLD + 1, "{}", found.len());
        let told: usize = found.iter().map(|difference| difference.to_string().len()).sum();
        assert!(told < MOST_TOLD * 600, "{told}");
        if found.len() > MOST_TOLD {
            assert!(matches!(found.last(), Some(Difference::LeftOut { count }) if *count > 0));
        }
    }
}

#[test]
fn unknown_elements_are_the_same_wherever_they_stand() {
    let line = within_cpu("<future depth=\"1\"/>");
    let moved = line.replace("<future", "\n\n   <future");
    let [first, second] = [line, moved].map(|text| Topology::read(&text).unwrap());
    assert_eq!(diff(&first, &second).unwrap(), []);
    let merged = merge([first.document().clone(), second.document().clone()]).unwrap();
    assert_eq!(merged.document, *first.document());
}

#[test]
fn what_is_too_large_for_a_table_of_paths_is_refused_with_its_numbers() {
    let text =
        repeated(2049, |text, i| add!(text, "<pci busid=\"{i:x}:1:0.0\" class=\"0x030200\"/>"));
    let gpus = Topology::read(&text).unwrap();
    let refusal = Paths::of(&gpus).map(drop).unwrap_err().to_string();
    assert!(refusal.starts_with("2050 GPUs, ports and NUMA nodes, 4098 links"), "{refusal}");
    let json: serde_json::Value = serde_json::from_str(&render::json(&gpus)).unwrap();
    assert_eq!(json["paths_left_out"], "2049 GPUs and ports; the paths of at most 512 are told");
    assert_eq!(
        (json["paths"].as_array().map(Vec::len), json["vertices"].as_array().map(Vec::len)),
        (Some(0), Some(2050))
    );
}

/// One change to a file: a cut, a doubled part, a byte, or a piece from a list of those that hurt.
#[derive(Debug, Clone)]
enum Change {
    Cut(usize, usize),
    Double(usize, usize),
    Byte(usize, u8),
    Insert(usize, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0..ODD.len();
    let pieces = [
        "-1",
        "\"",
        "<",
        ">",
        "/>",
        "--",
        "]]>",
        "<![CDATA[",
        "&#0;",
        "&amp;",
        "&x;",
        "0x",
        "<gpu/>",
        "99999999999999999999",
        "\u{fffe}",
        "é",
        "<?p v?>",
        "<pci busid=\"0000:20:00.0\"/>",
    ];
    prop_oneof![
        (at.clone(), 1..200_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (at.clone(), 1..400_usize).prop_map(|(at, length)| Change::Double(at, length)),
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at, proptest::sample::select(pieces.to_vec()))
            .prop_map(|(at, piece)| Change::Insert(at, piece)),
    ]
}

fn changed(changes: &[Change]) -> Vec<u8> {
    let mut bytes = ODD.as_bytes().to_vec();
    for change in changes {
        let end = |at: usize, length: usize| (at + length).min(bytes.len()).max(at);
        match *change {
            Change::Cut(at, length) if at < bytes.len() => drop(bytes.drain(at..end(at, length))),
            Change::Double(at, length) if at < bytes.len() => {
                let part = bytes[at..end(at, length)].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Byte(at, byte) if at < bytes.len() => bytes[at] = byte,
            Change::Insert(at, piece) if at < bytes.len() => {
                drop(bytes.splice(at..at, piece.bytes()))
            }
            _ => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_damaged_file_is_read_and_written_alike_or_refused_with_its_place(changes in prop::collection::vec(change(), 1..4)) {
        let bytes = changed(&changes);
        match Document::read_bytes(&bytes) {
            Err(e) => prop_assert!(e.at.line >= 1 && e.at.column >= 1, "{}", e),
            Ok(document) => {
                let again = Document::read(&document.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&document), "{}", document);
                match Topology::from_document(document) {
                    Err(e) => prop_assert!(e.at.line >= 1 && !e.to_string().is_empty()),
                    Ok(topology) => {
                        Paths::of(&topology).unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn descriptions_of_one_machine_merge_whatever_each_process_saw() {
    let process = |dev: u32| {
        let gpu = format!("<gpu dev=\"{dev}\" sm=\"90\" rank=\"{dev}\"/>");
        let mine = |n: u32| if n == dev { gpu.as_str() } else { "" };
        within_cpu(&format!(
            "<pci busid=\"0:1:0.0\" class=\"0x060400\"><pci busid=\"0:2:0.0\" class=\"0x030200\">{}</pci>
             <pci busid=\"0:3:0.0\" class=\"0x030200\">{}</pci>
             <pci busid=\"0:4:0.0\" class=\"0x020000\"><nic><net name=\"n0\" dev=\"0\" port=\"1\" speed=\"100000\"/></nic></pci></pci>
             <nic><net name=\"veth\" dev=\"1\"/></nic>",
            mine(0),
            mine(1)
        ))
    };
    let documents = [0, 1].map(|dev| Document::read(&process(dev)).unwrap());
    let merged = merge(documents).unwrap();
    assert_eq!(merged.conflicts, []);
    let topology = Topology::from_document(merged.document).unwrap();
    assert_eq!((topology.gpus().len(), topology.ports().len()), (2, 2));
    assert!(topology.gpus().iter().all(|&gpu| topology.gpu(gpu).unwrap().described));

    // The same addresses with a domain, and in capitals.
    let written = [process(0), process(1).replace("\"0:", "\"0000:0")];
    let written = written.map(|text| Document::read(&text).unwrap());
    let merged = merge(written).unwrap();
    assert_eq!(merged.conflicts, []);
    assert_eq!(Topology::from_document(merged.document).unwrap().gpus().len(), 2);

    let other = process(0).replace("speed=\"100000\"", "speed=\"200000\"");
    let both = [process(0), other].map(|text| Document::read(&text).unwrap());
    let conflicts = merge(both).unwrap().conflicts;
    assert_eq!(conflicts.len(), 1);
    let conflict = &conflicts[0];
    assert_eq!((conflict.element.as_str(), conflict.attribute.as_str()), ("net n0 1", "speed"));
    assert_eq!((conflict.kept.as_str(), conflict.dropped.as_str()), ("100000", "200000"));
}

#[test]
fn descriptions_of_different_machines_contradict_each_other() {
    let machine = |cpu: &str, class: &str, bus: &str| {
        format!(
            "<system version=\"1\"><cpu {cpu}><pci busid=\"{bus}\" class=\"0x060400\"><pci busid=\"0:2:0.0\" class=\"{class}\" vendor=\"0x10de\"/></pci></cpu></system>"
        )
    };
    let intel = "numaid=\"0\" arch=\"x86_64\" vendor=\"GenuineIntel\" familyid=\"6\"";
    let one = machine(intel, "0x030200", "0:1:0.0");
    let contradiction = |other: String| {
        let both = [&one, &other].map(|text| Document::read(text).unwrap());
        merge(both).unwrap().contradiction()
    };
    assert_eq!(contradiction(one.clone()), None);
    // Written otherwise, or seen elsewhere, it is the same device.
    assert_eq!(contradiction(machine(intel, "30200", "0:1:0.0")), None);
    assert_eq!(contradiction(machine(intel, "0x030200", "0:5:0.0")), None);
    let amd = intel.replace("GenuineIntel", "AuthenticAMD");
    let told = contradiction(machine(&amd, "0x030200", "0:1:0.0")).unwrap();
    assert_eq!(told, "cpu 0 has vendor \"GenuineIntel\" in one, \"AuthenticAMD\" in another");
    let told = contradiction(machine(&amd.replace("0\" arch", "1\" arch"), "0x030200", "0:1:0.0"));
    assert!(told.unwrap().contains("cpu 1 of the same host \"AuthenticAMD\""));
    // In another host it is another machine's.
    let rack = amd.clone() + " host_hash=\"0x2\"";
    assert_eq!(contradiction(machine(&rack, "0x020000", "0:1:0.0")), None);
    for bus in ["0:1:0.0", "0:5:0.0"] {
        let told = contradiction(machine(intel, "0x020000", bus)).unwrap();
        assert!(told.contains("pci 0000:02:00.0 has class \"0x030200\""), "{told}");
    }
}

#[test]
fn elements_that_nothing_tells_apart_stay_as_many_as_one_process_saw() {
    let two = within_cpu("<nic><net speed=\"1000\"/></nic><nic><net speed=\"2000\"/></nic>");
    let three = two.replacen("<nic>", "<nic><net speed=\"1000\"/></nic><nic>", 1);
    let read = |text: &str| Document::read(text).unwrap();
    assert_eq!(merge([read(&two), read(&two)]).unwrap().document, read(&two));
    let merged = merge([read(&two), read(&three)]).unwrap().document;
    assert_eq!(Topology::from_document(merged).unwrap().ports().len(), 3);
}
