//! What is said of hosts that are made up.

use crosstie_net::{Address, Interface as Up};
use crosstie_probe::{Gid, GidKind, Gpu, Gpus, Interface, InterfaceKind, Lost, Pci, PciLink};
use crosstie_probe::{RdmaDevice, RdmaPort, Source};

use super::finding::{Finding, Group, Verdict};
use super::state::{LauncherSays, State, World};
use super::{findings, report};

/// A host on which nothing is wrong: two rails, enough of everything.
fn healthy() -> State {
    let mut state = State {
        host: "n1".to_owned(),
        kernel: "6.1.0".to_owned(),
        world: World { ranks: 16, nodes: 2, rails: Some(2) },
        node_key: "boot 1 net 2 shm 3".to_owned(),
        cores: 8,
        ..State::default()
    };
    state.limits.files = Some(1024);
    state.limits.files_hard = Some(1 << 20);
    state.limits.may_lock = true;
    (state.memory.total, state.memory.available) = (64 << 30, 48 << 30);
    state.memory.slots_of_a_rank = Some(64 << 20);
    state.memory.shm = Some(64 << 20);
    state.clock.source = Some("tsc".to_owned());
    state.clock.others = vec!["tsc".to_owned(), "hpet".to_owned()];
    state.facts.gpus.source =
        Source::Refused { why: "libnvidia-ml.so.1 is not there, or cannot be loaded".to_owned() };
    state.verbs.library = Some("/usr/lib/libibverbs.so.1".into());
    state.verbs.drivers = vec!["mlx5".to_owned()];
    state.addresses.push(address("lo", "127.0.0.1", true));
    for rail in 0..2 {
        let name = format!("eth{rail}");
        state.addresses.push(address(&name, &format!("10.0.{rail}.1"), true));
        state.facts.interfaces.push(interface(&name));
        state.verbs.files.insert(format!("uverbs{rail}"), None);
    }
    state.facts.rdma = Some((0..2).map(device).collect());
    state
}

fn address(name: &str, ip: &str, up: bool) -> Address {
    let interface = Up { name: name.to_owned(), is_up: up, has_carrier: up };
    Address { ip: ip.parse().unwrap(), interface }
}

fn interface(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        kind: InterfaceKind::Nic,
        mbit: Some(100_000),
        state: Some("up".to_owned()),
        carrier: Some(true),
        mtu: Some(9000),
        hardware: Some(1),
        dev_port: None,
        port_name: None,
        master: None,
        pci: None,
    }
}

fn device(rail: u32) -> RdmaDevice {
    let address = format!("::ffff:10.0.{rail}.1").parse().unwrap();
    let port = RdmaPort {
        number: 1,
        state: Some("ACTIVE".to_owned()),
        physical: Some("LinkUp".to_owned()),
        mbit: Some(100_000),
        layer: Some("Ethernet".to_owned()),
        lid: None,
        interface: Some(format!("eth{rail}")),
        gids: vec![Gid { index: 3, address, kind: Some(GidKind::RoceV2) }],
    };
    let (name, uverbs) = (format!("mlx5_{rail}"), Some(format!("uverbs{rail}")));
    RdmaDevice { name, uverbs, ports: vec![port], ..RdmaDevice::default() }
}

fn first_port(state: &mut State) -> &mut RdmaPort {
    &mut state.facts.rdma.as_mut().unwrap()[0].ports[0]
}

fn pci(vendor: u32, class: u32, driver: &str) -> Pci {
    Pci {
        bus_id: "0000:01:00.0".parse().unwrap(),
        above: Vec::new(),
        class: Some(class),
        ids: [Some(vendor), Some(1), None, None],
        most: PciLink::default(),
        now: PciLink::default(),
        numa: None,
        physical: None,
        virtuals: Vec::new(),
        driver: Some(driver.to_owned()),
        iommu_group: None,
    }
}

/// Those findings that are not good.
fn bad(state: &State) -> Vec<Finding> {
    let all = findings(state).into_iter();
    all.filter(|finding| finding.verdict != Verdict::Good).collect()
}

/// The only finding that is not good, as verdict, found, remedy.
fn only(state: &State) -> (Verdict, String, String) {
    let bad = bad(state);
    assert_eq!(bad.len(), 1, "{bad:#?}");
    let Finding { verdict, found, wanted, remedy, .. } = bad.into_iter().next().unwrap();
    assert!(wanted.is_some() || found.contains("CROSSTIE_"), "{found}: no word of what is wanted");
    (verdict, found, remedy.unwrap())
}

/// Asserts that a change of the healthy host is told so, with words of the remedy.
fn told(change: impl FnOnce(&mut State), verdict: Verdict, found: &str, remedy: &str) {
    let mut state = healthy();
    change(&mut state);
    let (its, said, todo) = only(&state);
    assert_eq!(its, verdict, "{said}");
    assert!(said.contains(found), "{said}");
    assert!(todo.contains(remedy), "{todo}");
}

use Verdict::{Warning, WouldFail};

#[test]
fn nothing_is_wrong_with_a_healthy_host_and_each_group_has_its_say() {
    let all = findings(&healthy());
    assert!(all.iter().all(|it| it.verdict == Verdict::Good && it.remedy.is_none()), "{all:#?}");
    let groups = [
        Group::Limits,
        Group::SharedMemory,
        Group::Network,
        Group::Verbs,
        Group::Gpus,
        Group::Clocks,
        Group::Launcher,
    ];
    for group in groups {
        assert!(all.iter().any(|finding| finding.group == group), "{group:?}");
    }
    assert!(all.is_sorted_by_key(|finding| finding.group));
    let plain: Vec<_> = all.iter().filter(|it| it.found.contains("data over TCP is not")).collect();
    assert_eq!(plain.len(), 1, "that data is not encrypted is told once");
}

#[test]
fn limits_are_held_against_the_ranks_of_the_world() {
    // 8 ranks here, 8 elsewhere: 13 + 6 * 7 + 3 * 8 descriptors at least.
    let limit = |hard| move |it: &mut State| it.limits.files_hard = Some(hard);
    told(limit(78), WouldFail, "at most 78", "`* hard nofile 111`");
    told(limit(79), Warning, "at most 79", "/etc/security/limits.d");
    told(|it| it.limits.threads = Some(50), WouldFail, "50 of this user", "--pids-limit");
    let world = |it: &mut State| {
        it.world.ranks = 4000;
        it.world.nodes = 500;
        it.limits.files_hard = Some(4096);
    };
    told(world, WouldFail, "1024 a process, at most 4096", "nofile=12063");
}

#[test]
fn locked_memory_matters_only_where_a_device_writes_into_it() {
    let lock = |it: &mut State| (it.limits.may_lock, it.limits.locked) = (false, Some(65536));
    told(lock, Warning, "65536 bytes", "memlock unlimited");
    let mut state = healthy();
    lock(&mut state);
    state.facts.rdma = None;
    state.world.rails = None;
    assert_eq!(bad(&state), []);
}

#[test]
fn memory_is_held_against_the_slots_of_all_ranks_here() {
    told(|it| it.memory.available = 1 << 28, Warning, "256.0 MiB free", "CROSSTIE_SLOT_BYTES");
    let small = |it: &mut State| it.memory.container = Some((256 << 20, 0));
    told(small, WouldFail, "this container's 256.0 MiB", "--memory");
    let refused = |it: &mut State| it.memory.refused = Some("not permitted".to_owned());
    told(refused, WouldFail, "memfd_create: not permitted", "seccomp");
    told(|it| it.memory.shm = None, Warning, "absent", "mount -t tmpfs");
    told(|it| it.node_key = "alone n1 7".to_owned(), Warning, "alone n1 7", "CROSSTIE_NODE");
}

#[test]
fn reading_peers_memory_is_looked_at_only_where_it_is_asked_for() {
    let mut state = healthy();
    state.ptrace_scope = Some(1);
    assert_eq!(bad(&state), []);
    let pull = |it: &mut State| {
        it.ptrace_scope = Some(1);
        it.environment.insert("CROSSTIE_PULL".to_owned(), "on".to_owned());
    };
    told(pull, Warning, "ptrace_scope is 1", "sysctl kernel.yama.ptrace_scope=0");
}

#[test]
fn interfaces_are_judged_by_what_ranks_would_do_with_them() {
    let loopback = |it: &mut State| it.addresses.truncate(1);
    told(loopback, WouldFail, "none but loopback", "ip addr add");
    let mut alone = healthy();
    loopback(&mut alone);
    alone.world.nodes = 1;
    assert!(bad(&alone).iter().all(|it| it.group != Group::Network), "{:?}", bad(&alone));
    let named = |it: &mut State| {
        it.environment.insert("CROSSTIE_INTERFACE".to_owned(), "ib".to_owned());
    };
    told(named, WouldFail, "ib", "CROSSTIE_INTERFACE");
    let silent = |it: &mut State| it.addresses[1].interface.has_carrier = false;
    told(silent, Warning, "eth0 10.0.0.1", "ip link set eth0 down");
    let small = |it: &mut State| {
        it.facts.rdma.as_mut().unwrap().clear();
        it.world.rails = None;
        it.facts.interfaces[0].mtu = Some(1500);
    };
    told(small, Warning, "MTU 1500", "ip link set eth0 mtu 9000");
    let mut state = healthy();
    state.facts.interfaces.push(Interface { state: None, ..interface("eth2") });
    state.addresses.push(address("eth3", "10.0.3.1", false));
    state.facts.interfaces.push(interface("eth3"));
    let all = findings(&state);
    let left = all.iter().find(|finding| finding.check == "left out").unwrap();
    assert_eq!(left.found, "not offered: eth3 (is down), eth2 (no address that others could use)");
}

#[test]
fn ports_and_nics_that_somebody_named_must_be_there() {
    let few = |it: &mut State| (it.ports.range, it.ports.free) = (Some(40_000..=40_003), 3);
    told(few, WouldFail, "3 free in CROSSTIE_PORTS=40000-40003", "40000-40032");
    let nics = |it: &mut State, ips: &str| {
        it.environment.insert("CROSSTIE_NICS".to_owned(), ips.to_owned());
    };
    told(|it| nics(it, "10.0.0.1,10.9.9.9"), WouldFail, "no interface has 10.9.9.9", "ip -brief");
    let mut cut = healthy();
    nics(&mut cut, "10.0.0.1");
    cut.addresses[1].interface.has_carrier = false;
    assert!(bad(&cut).iter().any(|it| it.check == "named NIC" && it.verdict == WouldFail));
}

#[test]
fn a_port_that_is_down_is_a_warning_unless_so_many_rails_are_needed() {
    let down = |it: &mut State| {
        first_port(it).state = Some("DOWN".to_owned());
        first_port(it).physical = Some("Polling".to_owned());
    };
    let unasked = |it: &mut State| {
        down(it);
        it.world.rails = None;
    };
    told(unasked, Warning, "port 1 of mlx5_0 (eth0) is DOWN, cable Polling", "ip link set eth0 up");
    let mut state = healthy();
    down(&mut state);
    let rails = bad(&state).into_iter().find(|finding| finding.check == "rails").unwrap();
    assert_eq!((rails.verdict, &*rails.found), (WouldFail, "RDMA ports without a finding: 1"));
}

#[test]
fn ports_without_a_usable_address_are_told_with_the_command_that_gives_one() {
    let unasked = |change: fn(&mut State)| {
        move |it: &mut State| {
            it.world.rails = None;
            change(it);
        }
    };
    let none = unasked(|it| first_port(it).gids.clear());
    told(none, Warning, "mlx5_0 (eth0) has no GID", "ip addr add ADDRESS/LENGTH dev eth0");
    let local = unasked(|it| {
        first_port(it).gids[0].address = "fe80::1".parse().unwrap();
    });
    told(local, Warning, "link-local", "ip addr add");
    let old = unasked(|it| first_port(it).gids[0].kind = Some(GidKind::Native));
    told(old, Warning, "none of RoCE v2", "firmware");
    let unmanaged = unasked(|it| {
        first_port(it).layer = Some("InfiniBand".to_owned());
        first_port(it).state = Some("INIT".to_owned());
    });
    told(unmanaged, Warning, "is INIT and has no LID", "opensm");
}

#[test]
fn rails_that_differ_are_told() {
    let slow = |it: &mut State| first_port(it).mbit = Some(40_000);
    told(slow, Warning, "40000 Mb/s of mlx5_0, 100000 of others", "ethtool");
    let mut state = healthy();
    state.facts.interfaces[0].mtu = Some(1500);
    let mtu = bad(&state).into_iter().find(|finding| finding.check == "MTU").unwrap();
    assert_eq!(mtu.found, "1024 bytes by eth0, 4096 by other ports");
    assert!(mtu.remedy.unwrap().contains("ip link set eth0 mtu 9000"));
}

#[test]
fn what_programs_need_to_reach_devices_is_told() {
    let unasked = |change: fn(&mut State)| {
        move |it: &mut State| {
            it.world.rails = None;
            change(it);
        }
    };
    let no_files = |it: &mut State| it.verbs.files.clear();
    told(unasked(no_files), Warning, "0 of 2 devices", "modprobe ib_uverbs");
    let refused = |it: &mut State| {
        let why = Some("Permission denied".to_owned());
        it.verbs.files.insert("uverbs1".to_owned(), why);
    };
    told(refused, Warning, "1 of 2 devices by /dev/infiniband (uverbs1: Permission", "chmod a+rw");
    let no_library = |it: &mut State| it.verbs.library = None;
    told(unasked(no_library), Warning, "libibverbs.so.1", "apt-get install libibverbs1");
    let no_drivers = |it: &mut State| it.verbs.drivers.clear();
    told(unasked(no_drivers), Warning, "without drivers", "ibverbs-providers");
    // Rails are asked for.
    told(no_files, WouldFail, "0 of 2 devices", "modprobe ib_uverbs");
    told(no_library, WouldFail, "libibverbs.so.1", "apt-get install libibverbs1");
    told(no_drivers, WouldFail, "without drivers", "ibverbs-providers");
    let card = |it: &mut State| {
        (it.facts.rdma, it.world.rails) = (None, None);
        it.facts.pci.push(pci(0x15b3, 0x02_0000, "mlx5_core"));
    };
    told(card, Warning, "no RDMA device", "modprobe mlx5_ib");
}

#[test]
fn ports_gids_and_addresses_that_somebody_named_must_be_those_of_devices() {
    let with = |name: &'static str, value: &'static str, asked: bool| {
        move |it: &mut State| {
            it.environment.insert(name.to_owned(), value.to_owned());
            it.world.rails = None;
            if asked {
                it.environment.insert("CROSSTIE_TRANSPORT".to_owned(), "verbs".to_owned());
            }
        }
    };
    let (ports, gid, nics) =
        ("CROSSTIE_VERBS_DEVICES", "CROSSTIE_VERBS_GID_INDEX", "CROSSTIE_NICS");
    told(with(ports, "rxe", false), WouldFail, "no port is CROSSTIE_VERBS_DEVICES=rxe", "mlx5_0:1");
    told(
        with(gid, "5", false),
        Warning,
        "port 1 of mlx5_0, port 1 of mlx5_1 has no GID 5",
        "show_gids",
    );
    told(with("NCCL_IB_GID_INDEX", "5", true), WouldFail, "has no GID 5", "both ends choose");
    told(with(gid, "200", true), WouldFail, "has no GID 200", "both ends choose");
    told(with(nics, "127.0.0.1", false), Warning, "no RDMA port has 127.0.0.1", "rdma link");
    told(with(nics, "127.0.0.1", true), WouldFail, "no RDMA port has 127.0.0.1", "rdma link");
    let mut state = healthy();
    with(ports, "^mlx5_1", false)(&mut state);
    let all = findings(&state);
    assert!(all.iter().all(|it| it.verdict == Verdict::Good), "{all:#?}");
    assert!(all.iter().any(|it| it.found.starts_with("mlx5_0:1, not mlx5_1:1 (")), "{all:#?}");
}

#[test]
fn what_makes_verbs_impossible_fails_where_it_is_asked_for() {
    let asked = |change: fn(&mut State)| {
        move |it: &mut State| {
            it.environment.insert("CROSSTIE_TRANSPORT".to_owned(), "verbs".to_owned());
            it.world.rails = None;
            change(it);
        }
    };
    let mut state = healthy();
    asked(|_| ())(&mut state);
    assert_eq!(bad(&state), []);
    told(asked(|it| it.facts.rdma = None), WouldFail, "no RDMA device", "modprobe");
    told(asked(|it| it.verbs.library = None), WouldFail, "libibverbs.so.1", "apt-get install");
    told(asked(|it| it.verbs.files.clear()), WouldFail, "0 of 2 devices", "modprobe ib_uverbs");
    let lock = |it: &mut State| {
        (it.limits.may_lock, it.limits.locked) = (false, Some(65536));
        it.memory.pinned_by_a_rank = Some(65537);
    };
    told(asked(lock), WouldFail, "65536 bytes", "memlock unlimited");
    let mut state = healthy();
    asked(|it| first_port(it).state = Some("DOWN".to_owned()))(&mut state);
    assert!(bad(&state).iter().all(|it| it.verdict == Warning), "the other port is up");
    let second = &mut state.facts.rdma.as_mut().unwrap()[1].ports[0];
    second.state = Some("DOWN".to_owned());
    let all = bad(&state);
    let none = all.iter().find(|finding| finding.check == "usable ports").unwrap();
    assert_eq!((none.verdict, none.found.as_str()), (WouldFail, "none"));
}

#[test]
fn no_library_no_driver_and_no_gpu_are_told_apart() {
    let gpu = |it: &mut State| it.facts.pci.push(pci(0x10de, 0x03_0200, "nvidia"));
    told(gpu, Warning, "GPUs on PCI: 1, and libnvidia-ml.so.1", "modprobe nvidia");
    let loaded = |it: &mut State| {
        gpu(it);
        it.nvidia.version = Some("NVRM version: 550.54".to_owned());
    };
    told(loaded, Warning, "libnvidia-ml.so.1", "libnvidia-ml1");
    let mismatch = |it: &mut State| {
        loaded(it);
        let why = "NVML says: a driver/library version mismatch was found".to_owned();
        it.facts.gpus.source = Source::Refused { why };
    };
    told(mismatch, Warning, "mismatch", "start the host again");
    let lost = |it: &mut State| {
        it.facts.gpus = Gpus::default();
        it.facts.gpus.source = Source::Nvml;
        it.facts.gpus.lost.push(Lost { index: 3, why: "GPU is lost".to_owned() });
    };
    told(lost, Warning, "GPU 3: GPU is lost", "xid");
    let one = |it: &mut State| {
        let bus_id = "0000:01:00.0".parse().unwrap();
        let (most, now) = (PciLink::default(), PciLink::default());
        let nvlinks = Vec::new();
        let gpu =
            Gpu { index: 0, bus_id, name: None, compute: None, most, now, nvlinks, c2c: None };
        it.facts.gpus.source = Source::Nvml;
        it.facts.gpus.gpus.push(gpu);
    };
    told(one, Warning, "neither nvidia_peermem", "modprobe nvidia_peermem");
    let mut state = healthy();
    one(&mut state);
    state.nvidia.peermem = true;
    assert_eq!(bad(&state), []);
}

#[test]
fn clocks_that_take_a_call_of_the_kernel_are_told() {
    let slow = |it: &mut State| it.clock.source = Some("hpet".to_owned());
    told(slow, Warning, "hpet (there are tsc, hpet)", "echo tsc");
}

#[test]
fn cores_and_settings_are_told() {
    told(|it| it.cores = 2, Warning, "2 for this process", "--bind-to none");
    let says = |unusable: &[&str], in_vain: &[&str]| LauncherSays {
        world: Some(("Slurm", 0, 16)),
        unusable: unusable.iter().map(ToString::to_string).collect(),
        in_vain: in_vain.iter().map(ToString::to_string).collect(),
    };
    let wrong = says(&["CROSSTIE_TIMEOUT=x:\nexpected a time"], &[]);
    told(|it| it.launcher = wrong, WouldFail, "CROSSTIE_TIMEOUT=x: expected", "crosstie config");
    let vain = says(&[], &["CROSSTIE_TIMOUT is no setting of this version"]);
    told(|it| it.launcher = vain, Warning, "CROSSTIE_TIMOUT", "unset");
}

#[test]
fn the_report_has_a_line_for_each_finding_and_one_for_what_to_do() {
    let mut state = healthy();
    state.cores = 2;
    let all = findings(&state);
    let text = report::text(&state, &all, false);
    assert!(text.starts_with("n1, Linux 6.1.0: 16 ranks on 2 nodes, 8 of them here\n"), "{text}");
    assert_eq!(text.matches("\n  good").count(), all.len() - 1);
    assert!(text.ends_with("\n1 warning; nothing stands in the way\n"), "{text}");
    assert!(!text.contains('\x1b') && report::text(&state, &all, true).contains('\x1b'));
    let told = report::json(&state, &all);
    assert_eq!(told["verdict"], "warning");
    assert_eq!(told["findings"].as_array().unwrap().len(), all.len());
}
