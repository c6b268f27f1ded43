//! Owns the rules about NICs: speeds, numbers, and whether each GPU has one near.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{Topology, VertexId, VertexKind};
use crate::lint::{Finding, Findings, Rule, Severity, counted, list, verb};
use crate::path::PathKind;
use crate::paths::Paths;
use crate::rails::{Rails, speed};
use crate::unit::Bandwidth;
use crate::xml::Position;

/// What to do about a port that is slower than its like.
const SLOW: &str = "look for a cable or a switch port that came up slow (`ibstat`, `ethtool NAME`, the switch's port speed); if the file is wrong, correct speed of the <net>, in Mb/s";

pub fn check_numbers(topology: &Topology, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    let mut known: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
    let mut silent: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
    let mut parts = BTreeSet::new();
    for id in topology.ids() {
        let vertex = topology.vertex(id);
        match &vertex.kind {
            // Partitions of one GPU have its number.
            VertexKind::Gpu(gpu) if parts.insert((vertex.host, gpu.dev, gpu.pci.bus_id)) => {
                known.entry((vertex.host, true, gpu.dev)).or_default().push(id);
            }
            VertexKind::Port(port) => {
                known.entry((vertex.host, false, port.dev)).or_default().push(id);
                let described = vertex.parent.is_some_and(|nic| match &topology.vertex(nic).kind {
                    VertexKind::Nic(nic) => nic.described,
                    _ => false,
                });
                if port.mbit.is_none() {
                    silent.entry((described, speed(topology, id))).or_default().push(id);
                }
            }
            _ => {}
        }
    }
    for ((described, guess), ids) in silent {
        findings.add(
            if described { Severity::Warning } else { Severity::Note },
            Rule::SpeedUnknown,
            &ids,
            format!(
                "{} {} no speed, and {} as {guess}",
                list(topology, &ids),
                verb(ids.len(), "tells", "tell"),
                verb(ids.len(), "counts", "count each")
            ),
            "in the file, set speed of the <net>, in Mb/s, to what `cat /sys/class/net/NAME/speed` or `ibstat` shows on the host; a port that is down tells none (`ip link set NAME up`), and neither do most virtual ones",
        );
    }
    for ((_, is_gpu, dev), ids) in known.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let what = if is_gpu { "GPUs" } else { "ports" };
        findings.add(
            Severity::Error,
            Rule::DuplicateNumber,
            &ids,
            format!("{} {what} have the number dev=\"{dev}\"", ids.len()),
            "in the file, number the <gpu>s, and the <net>s, of a host from 0 by their attribute dev, as the driver does",
        );
    }
}

pub fn check_rails(topology: &Topology, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    let rails = Rails::of(topology);
    let mut speeds: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
    for (rail, ports) in rails.iter() {
        let mut of_rail: BTreeMap<_, Vec<VertexId>> = BTreeMap::new();
        for &port in ports {
            of_rail.entry(speed(topology, port)).or_default().push(port);
            speeds.entry(speed(topology, port)).or_default().push(port);
        }
        if let (Some((slow, slow_ports)), Some((fast, _))) =
            (of_rail.first_key_value(), of_rail.last_key_value())
            && slow < fast
        {
            findings.add(
                Severity::Warning,
                Rule::RailSpeeds,
                slow_ports,
                format!(
                    "on rail {rail} {} {} {slow}, others {fast}",
                    list(topology, slow_ports),
                    verb(slow_ports.len(), "carries", "carry")
                ),
                format!("a rail is as fast as its slowest port: {SLOW}"),
            );
            return;
        }
    }
    if let (Some((slow, ports)), Some((fast, _))) =
        (speeds.first_key_value(), speeds.last_key_value())
        && slow < fast
    {
        findings.add(
            Severity::Warning,
            Rule::RailSpeeds,
            ports,
            format!(
                "{} {} {slow}, the others {fast}",
                list(topology, ports),
                verb(ports.len(), "carries", "carry")
            ),
            format!("exchanges wait for the slowest rail: {SLOW}; a NIC that is for storage only, leave out of the file, or give the others rail=\"0\", \"1\", …"),
        );
    }
}

/// Two ends of a connection agree on the smaller MTU: one port with less slows its whole rail.
pub fn check_mtus(topology: &Topology, found: &mut Vec<Finding>) {
    let mut hosts: BTreeMap<_, BTreeMap<u32, Vec<VertexId>>> = BTreeMap::new();
    for &id in topology.ports() {
        let vertex = topology.vertex(id);
        if let VertexKind::Port(port) = &vertex.kind
            && let Some(mtu) = port.verbs.as_ref().and_then(|verbs| verbs.mtu)
        {
            hosts.entry(vertex.host).or_default().entry(mtu).or_default().push(id);
        }
    }
    let mut findings = Findings::new(topology, found);
    for mtus in hosts.values() {
        if let (Some((least, ports)), Some((most, _))) =
            (mtus.first_key_value(), mtus.last_key_value())
            && least < most
        {
            findings.add(
                Severity::Warning,
                Rule::RailMtus,
                ports,
                format!(
                    "{} {} packets of {least} bytes (RDMA's MTU), others of {most}",
                    list(topology, ports),
                    verb(ports.len(), "sends", "send")
                ),
                "set one MTU on all NICs and on the switches between them: `ip link set INTERFACE mtu 9000` has room for RDMA's 4096",
            );
        }
    }
}

/// Rails of several nodes: whether all have as many, and each is as fast everywhere.
pub fn check_nodes(nodes: &[(&str, &Topology)], found: &mut Vec<Finding>) {
    let mut speeds: BTreeMap<u32, Vec<(Bandwidth, &str)>> = BTreeMap::new();
    for (name, topology) in nodes {
        for (rail, ports) in Rails::of(topology).iter() {
            let of_rail = ports.iter().map(|&port| (speed(topology, port), *name));
            speeds.entry(rail).or_default().extend(of_rail);
        }
    }
    let finding = |evidence: String, remedy: String| Finding {
        severity: Severity::Warning,
        rule: Rule::RailSpeeds,
        about: Vec::new(),
        evidence,
        remedy,
        at: Position::default(),
    };
    for (rail, of_rail) in speeds {
        let missing = nodes.iter().find(|(name, _)| !of_rail.iter().any(|(_, node)| node == name));
        if let Some((name, _)) = missing {
            found.push(finding(
                format!("node {name} has no port on rail {rail}, which others have"),
                "look for a NIC that is down (`ibstat`, `ip link`), or that its file leaves out; that rail serves the other nodes only".into(),
            ));
        }
        if let (Some(slow), Some(fast)) = (of_rail.iter().min(), of_rail.iter().max())
            && slow.0 < fast.0
        {
            found.push(finding(
                format!(
                    "on rail {rail} node {} has {}, node {} {}",
                    slow.1, slow.0, fast.1, fast.0
                ),
                format!("a rail is as fast as its slowest port: {SLOW}"),
            ));
        }
    }
}

pub fn check_nics(topology: &Topology, paths: &Paths, found: &mut Vec<Finding>) {
    let mut findings = Findings::new(topology, found);
    let gpus = topology.gpus();
    if topology.ports().is_empty() {
        let is_unknown = |id: VertexId| matches!(topology.vertex(id).kind, VertexKind::Device(_));
        // One of those may be the NIC: that is told already.
        if topology.ids().any(is_unknown) {
            return;
        }
        findings.add(
            Severity::Warning,
            Rule::NoNic,
            gpus,
            format!("{} and no NIC: the machine is on 0 rails", counted(gpus.len(), "GPU")),
            "if it has NICs, describe each: a <pci class=\"0x020000\"> that holds <nic><net name=\"…\" dev=\"0\" speed=\"…\"/></nic>; if detection found none, load the driver and look at `ls /sys/class/net /sys/class/infiniband`; without one it takes part in no job of several machines",
        );
        return;
    }
    let nearest = |gpu: VertexId| {
        topology
            .ports()
            .iter()
            .filter_map(move |&port| paths.send(gpu, port))
            .map(|path| path.kind)
            .min()
    };
    let far = |&gpu: &VertexId| nearest(gpu).is_none_or(|kind| kind >= PathKind::Sys);
    let far: Vec<VertexId> = gpus.iter().copied().filter(far).collect();
    if !far.is_empty() {
        findings.add(
            Severity::Warning,
            Rule::GpuWithoutNic,
            &far,
            format!(
                "{} {} every NIC by way of another NUMA node (SYS) only",
                list(topology, &far),
                verb(far.len(), "reaches", "reach")
            ),
            "if the machine has a NIC near them, describe it below their <cpu>, or put one into a slot of that socket; else their traffic shares the link between the sockets",
        );
    }
}
