//! What detection makes of each machine in `tests/trees`: places, parents, speeds, order, notes.
#![cfg(test)]

mod support;

use std::net::Ipv4Addr;

use crosstie_probe::{Ailment, Gid, GidKind, InterfaceKind, Machine, RdmaPort, Source, assemble};
use crosstie_topo::xml::{Document, Element};
use crosstie_topo::{Severity, Topology, lint};
use support::{all, facts, machine};

/// Each `pci` below a `cpu`, with the way to it: `0/0000:01:00.0/0000:07:00.0`.
fn places(machine: &Machine) -> Vec<String> {
    fn below(element: &Element, way: &str, all: &mut Vec<String>) {
        for pci in element.named("pci") {
            let way = format!("{way}/{}", pci.attribute("busid").unwrap());
            all.push(way.clone());
            below(pci, &way, all);
        }
    }
    let mut all = Vec::new();
    for cpu in machine.document.root.named("cpu") {
        below(cpu, cpu.attribute("numaid").unwrap(), &mut all);
    }
    all
}

/// All elements of a name, in the order of the document.
fn elements<'a>(machine: &'a Machine, name: &str) -> Vec<&'a Element> {
    fn below<'a>(element: &'a Element, name: &str, all: &mut Vec<&'a Element>) {
        for inner in element.elements() {
            if inner.name == name {
                all.push(inner);
            }
            below(inner, name, all);
        }
    }
    let mut all = Vec::new();
    below(&machine.document.root, name, &mut all);
    all
}

fn pci<'a>(machine: &'a Machine, bus_id: &str) -> &'a Element {
    let all = elements(machine, "pci").into_iter();
    let mut same = all.filter(|pci| pci.attribute("busid") == Some(bus_id));
    same.next().unwrap_or_else(|| panic!("no {bus_id}"))
}

/// Name and speed of each port, by its number; 0 where no speed is told.
fn ports(machine: &Machine) -> Vec<(&str, u64)> {
    let mut nets = elements(machine, "net");
    nets.sort_by_key(|net| net.attribute("dev").unwrap().parse::<u32>().unwrap());
    let speed = |net: &Element| net.attribute("speed").map_or(0, |speed| speed.parse().unwrap());
    nets.into_iter().map(|net| (net.attribute("name").unwrap(), speed(net))).collect()
}

fn notes(machine: &Machine) -> Vec<String> {
    machine.notes.iter().map(ToString::to_string).collect()
}

fn link(pci: &Element) -> (Option<&str>, Option<&str>) {
    (pci.attribute("link_speed"), pci.attribute("link_width"))
}

#[test]
fn every_machine_is_a_topology_that_reads_back() {
    let all = all();
    assert!(all.len() >= 10, "{all:?}");
    for name in all {
        let facts = facts(&name);
        let machine = assemble(&facts);
        let text = machine.document.to_string();
        assert_eq!(Document::read(&text).unwrap(), machine.document, "{name}");
        let topology = Topology::from_document(machine.document.clone()).unwrap();
        let findings = lint(&topology);
        let wrong = findings.iter().filter(|finding| finding.severity == Severity::Error);
        assert_eq!(wrong.count(), 0, "{name}: {findings:?}");
        assert_eq!(assemble(&facts), machine, "{name}: the same facts, the same document");
    }
}

#[test]
fn a_dgx_has_its_gpus_and_cards_below_the_switches_that_they_share() {
    let machine = machine("dgx-a100");
    let places = places(&machine);
    let ends: Vec<&String> = places
        .iter()
        .filter(|way| {
            pci(&machine, way.rsplit('/').next().unwrap())
                .elements()
                .next()
                .is_some_and(|inner| inner.name != "pci")
        })
        .collect();
    assert_eq!(
        ends,
        [
            "0/0000:61:00.0",
            "1/0000:41:00.0/0000:43:00.0/0000:45:00.0/0000:47:00.0",
            "1/0000:41:00.0/0000:49:00.0/0000:4b:00.0",
            "1/0000:41:00.0/0000:49:00.0/0000:4c:00.0/0000:4e:00.0",
            "1/0000:41:00.0/0000:49:00.0/0000:54:00.0",
            "3/0000:01:00.0/0000:03:00.0/0000:05:00.0/0000:07:00.0",
            "3/0000:01:00.0/0000:0a:00.0/0000:0c:00.0",
            "3/0000:01:00.0/0000:0a:00.0/0000:0d:00.0/0000:0f:00.0",
            "3/0000:01:00.0/0000:0a:00.0/0000:12:00.0",
            "4/0000:e1:00.0",
            "5/0000:b1:00.0/0000:b3:00.0/0000:b5:00.0/0000:b7:00.0",
            "5/0000:b1:00.0/0000:b8:00.0/0000:ba:00.0",
            "5/0000:b1:00.0/0000:b8:00.0/0000:bb:00.0/0000:bd:00.0",
            "5/0000:b1:00.0/0000:b8:00.0/0000:cc:00.0",
            "7/0000:81:00.0/0000:83:00.0/0000:85:00.0/0000:87:00.0",
            "7/0000:81:00.0/0000:8b:00.0/0000:8d:00.0",
            "7/0000:81:00.0/0000:8b:00.0/0000:8e:00.0/0000:90:00.0",
            "7/0000:81:00.0/0000:8b:00.0/0000:94:00.0",
        ]
    );
    // The screen's GPU, the port for management and what only leads to NVSwitches are not among them.
    assert_eq!(places.len(), ends.len() + 4 * 5);
}

#[test]
fn a_dgx_has_its_links_and_the_order_of_its_cards() {
    let machine = machine("dgx-a100");
    let names = ["0", "1", "2", "3", "4", "6", "7", "8", "9", "10"].map(|n| format!("mlx5_{n}"));
    let expected: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 200_000)).collect();
    assert_eq!(ports(&machine), expected, "mlx5_10 comes after mlx5_9");
    let gpus = elements(&machine, "gpu");
    assert_eq!(gpus.len(), 8);
    for gpu in gpus {
        assert_eq!(gpu.attribute("sm"), Some("80"));
        let far: Vec<_> = gpu
            .named("nvlink")
            .map(|link| ["target", "count", "tclass"].map(|name| link.attribute(name).unwrap()))
            .collect();
        let switches = ["c4", "c5", "c6", "c7", "c8", "c9"].map(|bus| format!("0000:{bus}:00.0"));
        let expected: Vec<_> = switches.iter().map(|to| [to.as_str(), "2", "0x068000"]).collect();
        assert_eq!(far, expected);
    }
    // It idles at 2.5 GT/s.
    assert_eq!(link(pci(&machine, "0000:07:00.0")), (Some("16.0 GT/s PCIe"), Some("16")));
    let card = &elements(&machine, "net")[0];
    assert_eq!(card.attribute("interface"), Some("enp97s0f0np0"));
    assert_eq!(
        notes(&machine),
        [
            "port 1 of mlx5_5 is DOWN, cable Disabled: left out",
            "port 1 of mlx5_11 is DOWN, cable Disabled: left out",
            "port 1 of mlx5_4 has link-local GIDs alone: give its interface an address: `ip addr add ADDRESS/LENGTH dev enp97s0f0np0`",
            "port 1 of mlx5_10 has link-local GIDs alone: give its interface an address: `ip addr add ADDRESS/LENGTH dev enp225s0f0np0`",
            "no RDMA, which other ports have: enp226s0: left out",
        ]
    );
}

#[test]
fn a_laptop_is_described_without_a_driver() {
    let machine = machine("laptop");
    // Firmware names no NUMA node, and there is one: no doubt.
    assert_eq!(places(&machine), ["0/0000:00:14.0", "0/0000:00:14.3", "0/0000:01:00.0"]);
    assert_eq!(ports(&machine), [("enx00e04c680001", 1000), ("wlp0s20f3", 0)]);
    // The slower end: the port could do 16 GT/s.
    assert_eq!(link(pci(&machine, "0000:01:00.0")), (Some("8.0 GT/s PCIe"), Some("4")));
    assert_eq!(link(pci(&machine, "0000:00:14.3")), (None, None));
    assert_eq!(
        notes(&machine),
        [
            "libnvidia-ml.so.1 is not there, but PCI has 1 GPU: shown without numbers and NVLinks of their driver",
            "no RDMA devices (/sys/class/infiniband is absent): networks are reached by TCP",
            "no signal, or switched off: enp0s31f6: left out",
            "the speed of wlp0s20f3 is not told: it is taken for 10 Gbit/s",
            "the PCIe links of 2 devices are not told: they are taken for 16 lanes of 8 GT/s",
        ]
    );
}

#[test]
fn a_flat_virtual_machine_has_its_card_below_its_only_processor() {
    let machine = machine("vm-flat");
    assert_eq!(places(&machine), ["0/0000:00:03.0"]);
    assert_eq!(ports(&machine), [("eth0", 0)]);
    let cpu = elements(&machine, "cpu")[0];
    let told = ["affinity", "arch", "vendor", "familyid", "modelid"];
    let told = told.map(|name| cpu.attribute(name).unwrap());
    assert_eq!(told, ["00000003", "x86_64", "AuthenticAMD", "25", "17"]);
    assert_eq!(
        notes(&machine),
        [
            "no GPU (libnvidia-ml.so.1 is not there): ranks use the host's memory",
            "no RDMA devices (/sys/class/infiniband is absent): networks are reached by TCP",
            "the speed of eth0 is not told: it is taken for 10 Gbit/s",
            "the PCIe links of 1 device are not told: they are taken for 16 lanes of 8 GT/s",
        ]
    );
}

#[test]
fn a_bond_with_rdma_is_one_port_with_the_speed_of_both_cables() {
    let machine = machine("bond-roce");
    assert_eq!(places(&machine), ["1/0000:ca:00.0"]);
    // The RDMA device tells the rate of one.
    assert_eq!(ports(&machine), [("mlx5_bond_0", 200_000)]);
    let net = elements(&machine, "net")[0];
    let told = ["interface", "members", "port", "guid"].map(|name| net.attribute(name).unwrap());
    assert_eq!(told, ["bond0", "ens1f0np0,ens1f1np1", "1", "0xb8cef60300011000"]);
    // Of 16 lanes 8 are in use: the link has them, the device could have more.
    let card = pci(&machine, "0000:ca:00.0");
    assert_eq!(link(card), (Some("16.0 GT/s PCIe"), Some("8")));
    assert_eq!(card.attribute("max_link_width"), Some("16"));
    let gids = &facts("bond-roce").rdma.unwrap()[0].ports[0].gids;
    let last = gids.last().unwrap();
    let address = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
    let last = (gids.len(), last.index, last.address, last.kind);
    assert_eq!(last, (4, 3, address, Some(GidKind::RoceV2)));
}

#[test]
fn a_bond_without_rdma_is_one_port_and_what_is_laid_over_it_none() {
    let machine = machine("bond-tcp");
    assert_eq!(places(&machine), ["0/0000:41:00.0"]);
    assert_eq!(ports(&machine), [("bond0", 10_000)], "one of two is in reserve");
    let facts = facts("bond-tcp");
    let kind = |name: &str| &facts.interface(name).unwrap().kind;
    assert_eq!(*kind("bond0.100"), InterfaceKind::Vlan);
    assert_eq!(*kind("br0"), InterfaceKind::Bridge);
    assert_eq!(*kind("veth3f1a2b"), InterfaceKind::Veth);
    assert_eq!(*kind("lo"), InterfaceKind::Loopback);
    let members = ["enp65s0f0", "enp65s0f1"].map(str::to_owned).into();
    let mode = Some("active-backup".to_owned());
    assert_eq!(*kind("bond0"), InterfaceKind::Bond { members, mode });
}

#[test]
fn of_virtual_functions_those_are_kept_that_have_an_interface_that_is_up() {
    let machine = machine("sriov");
    assert_eq!(places(&machine), ["0/0000:5d:00.0", "0/0000:5d:00.1"]);
    assert_eq!(ports(&machine), [("enp93s0np0", 400_000), ("enp93s0v0", 400_000)]);
    let notes = notes(&machine).join("\n");
    for told in [
        "no signal, or switched off: enp93s0v1",
        "0000:5d:00.0, 0000:5d:00.1 are functions of one card",
        "network cards without a network interface: 0000:b8:00.0 (15b3:1021)",
    ] {
        assert!(notes.contains(told), "{told} is not in\n{notes}");
    }
    let facts = facts("sriov");
    let card = facts.device("0000:5d:00.0".parse().unwrap()).unwrap();
    assert_eq!(card.virtuals.len(), 4);
    let function = facts.device(card.virtuals[3]).unwrap();
    assert_eq!(function.physical, Some(card.bus_id));
    assert_eq!(function.driver.as_deref(), Some("vfio-pci"));
    assert_eq!(facts.interface("enp93s0r1").unwrap().kind, InterfaceKind::Representor);
}

#[test]
fn devices_of_no_numa_node_are_said_to_be_of_none_where_there_are_two() {
    let machine = machine("numa-unknown");
    // AMD's GPUs are known by class and vendor; the screen's and the programmable chip are none.
    let ways = ["-1/0000:00:05.0", "-1/0000:00:06.0", "-1/0000:00:08.0"];
    assert_eq!(places(&machine), ways);
    let numas: Vec<_> =
        elements(&machine, "cpu").iter().map(|cpu| cpu.attribute("numaid").unwrap()).collect();
    assert_eq!(numas, ["-1", "0", "1"]);
    let notes = notes(&machine).join("\n");
    for told in [
        "2 GPUs of other vendors, known by PCI alone",
        "names no NUMA node for 0000:00:05.0, 0000:00:06.0, 0000:00:08.0",
        "the PCIe links of 3 devices are not told",
    ] {
        assert!(notes.contains(told), "{told} is not in\n{notes}");
    }
}

#[test]
fn a_grace_hopper_has_its_chip_to_chip_links_and_no_processor_of_memory_alone() {
    let machine = machine("grace-hopper");
    assert_eq!(places(&machine), ["0/0006:01:00.0", "0/0009:01:00.0"]);
    assert_eq!(ports(&machine), [("mlx5_0", 400_000)]);
    let c2c = elements(&machine, "c2c")[0];
    assert_eq!((c2c.attribute("bw"), c2c.attribute("count")), (Some("44712"), Some("10")));
    let cpus = elements(&machine, "cpu");
    assert_eq!(cpus.len(), 1);
    assert_eq!(cpus[0].attribute("arch"), Some("arm64"));
    assert_eq!(cpus[0].attribute("vendor"), None);
    let facts = facts("grace-hopper");
    assert_eq!((facts.cpu.vendor.as_deref(), facts.cpu.model), (Some("0x41"), Some(0xd4f)));
    assert_eq!(facts.numa.len(), 2);
    assert_eq!(facts.numa[0].distances, [10, 80]);
    assert_eq!(notes(&machine), [] as [&str; 0]);
}

#[test]
fn a_virtual_machine_and_its_fast_twin_are_one_port() {
    let machine = machine("vmbus");
    assert_eq!(places(&machine), ["0/0001:00:00.0", "0/0002:00:02.0"]);
    assert_eq!(ports(&machine), [("eth0", 50_000)]);
    let net = elements(&machine, "net")[0];
    assert_eq!(net.attribute("members"), Some("enP2s2"));
    assert_eq!(elements(&machine, "gpu")[0].attribute("sm"), Some("70"));
}

#[test]
fn a_container_has_its_end_of_a_pair_as_port() {
    let machine = machine("container");
    assert_eq!(places(&machine), [] as [&str; 0]);
    assert_eq!(ports(&machine), [("eth0", 10_000)]);
    assert_eq!(elements(&machine, "cpu")[0].attribute("arch"), Some("ppc64"));
    let told = "no PCI devices (/sys/bus/pci/devices is empty)";
    assert!(notes(&machine)[0].starts_with(told), "{machine:?}");
}

#[test]
fn gpus_that_the_driver_hides_are_left_out_with_the_links_to_them() {
    let mut facts = facts("dgx-a100");
    facts.gpus.gpus.truncate(1);
    let hidden = facts.pci.iter().find(|it| it.bus_id.to_string() == "0000:0f:00.0").unwrap();
    let gpu = &mut facts.gpus.gpus[0];
    gpu.nvlinks[0].remote.as_mut().unwrap().bus_id = hidden.bus_id;
    let machine = assemble(&facts);
    assert_eq!(elements(&machine, "gpu").len(), 1);
    assert_eq!(elements(&machine, "nvlink").len(), 6, "of 12 links 11 are left, to 6 switches");
    Topology::from_document(machine.document.clone()).unwrap();
    let notes = notes(&machine).join("\n");
    assert!(notes.contains("1 NVLink to GPUs that this process does not see: left out"), "{notes}");
    assert!(notes.contains("NVML does not show 0000:0f:00.0, 0000:47:00.0"), "{notes}");
    // And without its driver all are there, by PCI.
    facts.gpus = crosstie_probe::Gpus {
        source: Source::Refused { why: "NVML says: no driver".to_owned() },
        ..Default::default()
    };
    let machine = assemble(&facts);
    let gpus = elements(&machine, "pci").into_iter();
    assert_eq!(gpus.filter(|it| it.attribute("class") == Some("0x030200")).count(), 8);
}

#[test]
fn links_between_gpus_keep_their_far_ends() {
    let mut facts = facts("dgx-a100");
    let far = facts.gpus.gpus[1].bus_id;
    for link in &mut facts.gpus.gpus[0].nvlinks {
        link.remote.as_mut().unwrap().bus_id = far;
    }
    // Virtual machines do not show what is there.
    facts.gpus.gpus[1].nvlinks.iter_mut().for_each(|link| link.remote = None);
    let machine = assemble(&facts);
    let links = |dev: &str| {
        let mut gpus = elements(&machine, "gpu").into_iter();
        let gpu = gpus.find(|gpu| gpu.attribute("dev") == Some(dev)).unwrap();
        let all = gpu.named("nvlink");
        all.map(|link| ["target", "count", "tclass"].map(|name| link.attribute(name).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(links("0"), [["0000:0f:00.0", "12", "0x030200"]]);
    assert_eq!(links("1"), [["fffffff:ffff:ff", "12", "0x068000"]]);
}

#[test]
fn the_address_to_send_from_is_one_that_routers_pass_on() {
    let port = |layer: &str, gids: &[(&str, Option<GidKind>)]| {
        let gid = |(index, (address, kind)): (u32, &(&str, Option<GidKind>))| Gid {
            index,
            address: address.parse().unwrap(),
            kind: *kind,
        };
        let gids = (0..).zip(gids).map(gid).collect();
        let layer = Some(layer.to_owned());
        RdmaPort { number: 1, layer, gids, ..RdmaPort::default() }.gid().map(|gid| gid.index)
    };
    let (native, v2) = (Some(GidKind::Native), Some(GidKind::RoceV2));
    let roce = [
        ("fe80::1", native),
        ("fe80::1", v2),
        ("::ffff:10.0.0.1", native),
        ("2001:db8::1", v2),
        ("::ffff:10.0.0.1", v2),
    ];
    assert_eq!(port("Ethernet", &roce), Some(4));
    assert_eq!(port("Ethernet", &roce[..4]), Some(3));
    assert_eq!(port("Ethernet", &roce[..3]), Some(1));
    assert_eq!(port("Ethernet", &roce[..1]), Some(0));
    assert_eq!(port("InfiniBand", &[("fe80::1", native), ("2001:db8::1", native)]), Some(0));
    assert_eq!(port("Ethernet", &[]), None);
    let bond = &facts("bond-roce").rdma.unwrap()[0].ports[0];
    assert_eq!(bond.gid().map(|gid| gid.index), Some(3));
}

#[test]
fn ports_of_rdma_devices_tell_what_verbs_would() {
    let machine = machine("rxe");
    let net = elements(&machine, "net")[1];
    let told = ["name", "interface", "state", "layer", "mtu", "gids", "gid"];
    assert_eq!(
        told.map(|name| net.attribute(name).unwrap_or("-")),
        ["rxe_n0r1", "n0r1", "ACTIVE", "Ethernet", "4096", "2", "1 RoCE v2, IPv4"]
    );
    let devices = facts("rxe").rdma.unwrap();
    let uverbs: Vec<_> = devices.iter().map(|device| device.uverbs.as_deref().unwrap()).collect();
    assert_eq!(uverbs, ["uverbs0", "uverbs1", "uverbs2"]);
    assert!(!machine.kind().to_string().contains("gid="), "addresses are no part of a kind");
}

#[test]
fn sick_ports_are_named_with_a_remedy() {
    let facts = facts("rxe-sick");
    let machine = assemble(&facts);
    assert_eq!(
        notes(&machine)[1..],
        [
            "port 1 of rxe_n0r0 is DOWN, cable Polling: left out",
            "port 1 of rxe_n0r1 has link-local GIDs alone: give its interface an address: `ip addr add ADDRESS/LENGTH dev n0r1`",
        ]
    );
    assert_eq!(ports(&machine), [("rxe_n0r1", 10_000), ("rxe_n0r2", 10_000)]);
    let topology = Topology::from_document(machine.document).unwrap();
    let found: Vec<_> = lint(&topology).into_iter().map(|it| it.evidence).collect();
    let expected = "rxe_n0r2 sends packets of 1024 bytes (RDMA's MTU), others of 4096";
    assert!(found.iter().any(|evidence| evidence == expected), "{found:?}");
}

#[test]
fn what_ails_a_port_is_told_from_its_state_and_addresses() {
    let gid = |address: &str, kind| Gid { index: 0, address: address.parse().unwrap(), kind };
    let (v1, v2) = (Some(GidKind::Native), Some(GidKind::RoceV2));
    let port = |layer: &str, state: &str, gids: &[Gid]| RdmaPort {
        number: 1,
        state: Some(state.to_owned()),
        layer: Some(layer.to_owned()),
        gids: gids.to_vec(),
        ..RdmaPort::default()
    };
    let ipv4 = "::ffff:10.0.0.1";
    let roce = |state: &str, gids: &[Gid]| port("Ethernet", state, gids).ailment();
    assert_eq!(roce("ACTIVE", &[gid("fe80::1", v2), gid(ipv4, v2)]), None);
    assert_eq!(roce("ACTIVE", &[gid("2001:db8::1", v2)]), None);
    assert_eq!(roce("ACTIVE", &[]), Some(Ailment::NoGid));
    assert_eq!(roce("ACTIVE", &[gid(ipv4, v1)]), Some(Ailment::NoRoceV2));
    assert_eq!(roce("ACTIVE", &[gid("fe80::1", v2), gid(ipv4, v1)]), Some(Ailment::LinkLocal));
    assert_eq!(roce("DOWN", &[gid(ipv4, v2)]), Some(Ailment::Down));
    let mut infiniband = port("InfiniBand", "INIT", &[gid("fe80::1", v1)]);
    assert_eq!(infiniband.ailment(), Some(Ailment::Unmanaged));
    infiniband.state = Some("ACTIVE".to_owned());
    assert_eq!(infiniband.ailment(), None);
}

#[test]
fn two_like_machines_are_of_one_kind_whatever_names_their_cards() {
    let facts = facts("dgx-a100");
    let kind = assemble(&facts).kind();
    let mut twin = facts.clone();
    for device in twin.rdma.iter_mut().flatten() {
        device.node_guid = device.node_guid.map(|guid| guid ^ 0xf0f0_f0f0);
        device.system_guid = device.system_guid.map(|guid| guid ^ 0xf0f0_f0f0);
        for port in &mut device.ports {
            port.gids.clear();
            port.interface = port.interface.take().map(|name| format!("{name}x"));
        }
    }
    for interface in &mut twin.interfaces {
        interface.name.push('x');
    }
    // Idle or busy, and whoever was found first.
    twin.gpus.gpus.iter_mut().for_each(|gpu| gpu.now = gpu.most);
    twin.gpus.gpus.reverse();
    twin.interfaces.reverse();
    let twin_of = assemble(&twin);
    assert_ne!(twin_of.document, assemble(&facts).document);
    assert_eq!(twin_of.kind(), kind);
    let text = kind.to_string();
    assert!(!text.contains("interface=") && text.contains("guid=\"0x1\""), "{text}");
    let topology = Topology::from_document(kind).unwrap();
    assert_eq!((topology.gpus().len(), topology.ports().len()), (8, 10));
    // A port less is another machine.
    twin.rdma.as_mut().unwrap()[0].ports[0].state = Some("DOWN".to_owned());
    assert_ne!(assemble(&twin).kind().to_string(), text);
}

#[test]
fn a_kind_has_no_hardware_address() {
    let text = machine("laptop").kind().to_string();
    assert!(text.contains("name=\"enx\"") && !text.contains("00e04c68"), "{text}");
}
