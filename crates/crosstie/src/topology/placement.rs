//! Owns the rails on which the NICs of detected machines put ranks: a pure function of what all ranks were told.
//!
//! 1. It holds where every node is a machine of its own, all machines are known, and there are two rails or more. A node
//!    that is played has its host's NICs together with the others; a machine with one NIC has no rails.
//! 2. A machine that lacks a NIC, or whose cable is cut, numbers the others as the machines do that have all
//!    (`crosstie_planner::aligned_rails`).
//! 3. A rank that is bound to some NUMA nodes of its host is on the rail of a NIC near to these; of the rails that are
//!    as near it takes the one on which there are the fewest ranks of its node, the lowest of these.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crosstie_bootstrap::{Record, World};
use crosstie_planner::{Nodes, aligned_rails};
use crosstie_topo::{Paths, Rails, Topology, VertexId};

use super::seats::Seats;
use super::{machines_of, read};

/// Where ranks are.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    /// The NICs that they play.
    pub seats: Seats,
    /// By rank: the address of its NIC, where that has one.
    pub nic_of: Vec<Option<IpAddr>>,
}

/// The rails that detected NICs put the ranks of a world on, if they do.
pub(crate) fn by_detection(world: &World, nodes: &Nodes) -> Option<Placement> {
    let machines = machines_of(world, nodes).filter(|machines| machines.len() > 1)?;
    let mut names: Vec<&str> = machines.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < machines.len() {
        return None;
    }
    let topologies: Arc<[Topology]> = read(&world.kinds)?.into();
    let rails = aligned_rails(topologies.iter());
    let kinds = topologies.iter().zip(&rails).map(|(topology, rails)| Kind::of(topology, rails));
    let kinds: Vec<Kind<'_>> = kinds.collect::<Option<_>>()?;
    let rails = kinds.iter().flat_map(|kind| kind.ports.iter().map(|port| port.rail + 1)).max()?;
    if rails < 2 {
        return None;
    }
    let mut taken = Taken::default();
    let (mut of_rank, mut nic_of) = (Vec::new(), Vec::new());
    for (record, node) in world.records.iter().zip(world.nodes()) {
        let number = machines.get(node as usize)?.1;
        let port = taken.take(node, &kinds.get(number as usize)?.near(record))?;
        let machine = record.machine.as_ref()?;
        let mut same = world.records.iter().filter(|it| it.machine.as_ref() == Some(machine));
        let nics = same.find(|it| !it.nics.is_empty()).map_or(&[][..], |it| &it.nics);
        of_rank.push((number, port.id));
        nic_of.push(nics.get(port.number).copied().flatten());
    }
    Some(Placement { seats: Seats::new(Arc::clone(&topologies), of_rank), nic_of })
}

impl Placement {
    /// Lets each rank be reached first at the address of its rail's NIC; the others stay, for a network need not join all.
    pub fn prefer_nics(&self, records: &mut [Record]) {
        for (record, nic) in records.iter_mut().zip(&self.nic_of) {
            record.addresses.sort_by_key(|address| Some(address.ip()) != *nic);
        }
    }
}

/// A port that is on a rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Port {
    id: VertexId,
    /// Among all ports of the machine.
    number: usize,
    rail: u32,
}

/// A kind of machine, with its rails.
struct Kind<'a> {
    topology: &'a Topology,
    paths: Paths,
    ports: Vec<Port>,
}

impl<'a> Kind<'a> {
    /// `None` where no port is on a rail, or a faster one is on none: then rails are not what ranks should go by.
    fn of(topology: &'a Topology, rails: &Rails) -> Option<Self> {
        let speed = |port: VertexId| topology.port(port).and_then(|port| port.mbit).unwrap_or(0);
        let fastest = rails.iter().flat_map(|(_, ports)| ports).map(|&port| speed(port)).max()?;
        if rails.beside().iter().any(|&port| speed(port) > fastest) {
            return None;
        }
        let number = |id: &VertexId| topology.ports().iter().position(|port| port == id);
        let of_rail = |(rail, ports): (u32, &[VertexId])| -> Vec<Port> {
            let port = |id: &VertexId| Some(Port { id: *id, number: number(id)?, rail });
            ports.iter().filter_map(port).collect()
        };
        let ports = rails.iter().flat_map(of_rail).collect();
        Some(Self { topology, paths: Paths::of(topology).ok()?, ports })
    }

    /// The ports that are nearest to where the rank may run; all, where that is everywhere or not known.
    fn near(&self, record: &Record) -> Vec<Port> {
        let is_host = record.machine.as_ref().is_some_and(|machine| machine.is_host);
        let mask = |cpu: VertexId| self.topology.cpu(cpu).and_then(|cpu| cpu.affinity.as_deref());
        let all = self.topology.cpus().iter();
        let with_cpus = all
            .filter(|&&cpu| mask(cpu).is_some_and(|mask| mask.contains(|c| c != '0' && c != ',')));
        let numa: Vec<VertexId> = with_cpus.copied().collect();
        let mine =
            numa.iter().filter(|&&cpu| mask(cpu).is_some_and(|mask| meet(mask, &record.cpus)));
        let mine: Vec<VertexId> = mine.copied().collect();
        if !is_host || mine.is_empty() || mine.len() == numa.len() {
            return self.ports.clone();
        }
        let ids: Vec<VertexId> = self.ports.iter().map(|port| port.id).collect();
        let near: Vec<VertexId> =
            mine.iter().flat_map(|&cpu| self.paths.nearest(cpu, &ids)).collect();
        let near: Vec<Port> =
            self.ports.iter().filter(|port| near.contains(&port.id)).copied().collect();
        if near.is_empty() { self.ports.clone() } else { near }
    }
}

/// Whether a mask of NCCL's (words of 32 bits in hexadecimal, highest first) and words of 64 bits, lowest first, have a
/// processor in common.
fn meet(mask: &str, cpus: &[u64]) -> bool {
    let words = mask.rsplit(',').map(|word| u64::from_str_radix(word.trim(), 16).unwrap_or(0));
    let halves = cpus.iter().flat_map(|word| [word & 0xffff_ffff, word >> 32]);
    words.zip(halves).any(|(a, b)| a & b != 0)
}

/// How many ranks of each node are on each rail so far.
#[derive(Default)]
struct Taken(BTreeMap<(u32, u32), u32>);

impl Taken {
    fn take(&mut self, node: u32, among: &[Port]) -> Option<Port> {
        let taken =
            |port: &&Port| (self.0.get(&(node, port.rail)).copied().unwrap_or(0), port.rail);
        let port = *among.iter().min_by_key(taken)?;
        *self.0.entry((node, port.rail)).or_default() += 1;
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use crosstie_bootstrap::Machine;
    use crosstie_ir::Rank;
    use crosstie_net::Secret;
    use crosstie_probe::{Captured, assemble};
    use crosstie_topo::xml::{Document, Element};

    use super::*;

    fn document(file: &str) -> Document {
        let path = format!("{}/../../topology/{file}", env!("CARGO_MANIFEST_DIR"));
        Document::read(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The machine without the port of this name, as if its cable were cut.
    fn without(mut document: Document, name: &str) -> Document {
        fn cut(element: &mut Element, name: &str) {
            element.items.retain(|item| {
                !matches!(item, crosstie_topo::xml::Item::Element(net) if net.attribute("name") == Some(name))
            });
            element.elements_mut().for_each(|inner| cut(inner, name));
        }
        cut(&mut document.root, name);
        document
    }

    /// A world of (machine, kind, processors of the rank), a node for each name.
    fn world(ranks: &[(&str, u32, &[u64])], kinds: &[Document]) -> (World, Nodes) {
        let record = |(rank, (name, kind, cpus)): (u32, &(&str, u32, &[u64]))| Record {
            node_key: (*name).to_owned(),
            machine: Some(Machine { name: (*name).to_owned(), is_host: true }),
            kind: Some(*kind),
            cpus: cpus.to_vec(),
            ..Record::of_this_process(rank, Vec::new())
        };
        let world = World {
            rank: 0,
            size: ranks.len() as u32,
            secret: Secret::from_bytes([0; 32]),
            records: (0..).zip(ranks).map(record).collect(),
            kinds: kinds.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
            phases: Vec::new(),
        };
        let nodes = Nodes::new(world.nodes()).unwrap();
        (world, nodes)
    }

    fn rails(ranks: &[(&str, u32, &[u64])], kinds: &[Document]) -> Option<(u32, Vec<u32>)> {
        let (world, nodes) = world(ranks, kinds);
        by_detection(&world, &nodes).map(|placement| rails_of(&placement, &nodes))
    }

    fn rails_of(placement: &Placement, nodes: &Nodes) -> (u32, Vec<u32>) {
        let rails = placement.seats.rails(nodes).expect("rails");
        let rail_of = (0..nodes.ranks()).filter_map(|rank| rails.rail_of(Rank(rank)));
        (rails.count(), rail_of.collect())
    }

    #[test]
    fn ranks_that_may_run_anywhere_are_dealt_out_over_their_nodes_rails() {
        let four = [document("cpu-4nic.xml")];
        let ranks: Vec<_> =
            ["a", "a", "b", "a", "b", "a", "a", "b"].map(|name| (name, 0, &[][..])).into();
        let dealt = Some((4, vec![0, 1, 0, 2, 1, 3, 0, 2]));
        assert_eq!(rails(&ranks, &four), dealt, "the fifth rank of a shares rail 0");
    }

    #[test]
    fn a_missing_nic_does_not_shift_the_rails_of_the_others() {
        let whole = document("cpu-4nic.xml");
        let kinds = [without(whole.clone(), "mlx5_1"), whole];
        let ranks: Vec<_> = ["a", "a", "a", "b", "b", "b"]
            .map(|name| (name, u32::from(name == "b"), &[][..]))
            .into();
        assert_eq!(rails(&ranks, &kinds), Some((4, vec![0, 2, 3, 0, 1, 2])));
        // Whoever was found first.
        let kinds = [kinds[1].clone(), kinds[0].clone()];
        let other: Vec<_> =
            ranks.iter().map(|(name, kind, cpus)| (*name, 1 - kind, *cpus)).collect();
        assert_eq!(rails(&other, &kinds), Some((4, vec![0, 2, 3, 0, 1, 2])));
    }

    #[test]
    fn a_missing_port_of_no_bus_does_not_shift_the_rails_of_the_others() {
        let virtual_nics = |names: &[&str]| {
            let mut cpu = Element::new("cpu").with("numaid", "0").with("arch", "x86_64");
            for (dev, name) in names.iter().enumerate() {
                let net = Element::new("net").with("name", *name).with("dev", dev.to_string());
                cpu.push(Element::new("nic").holding(net));
            }
            Document::new(Element::new("system").with("version", "1").holding(cpu))
        };
        let kinds = [virtual_nics(&["eth0", "eth1", "eth2"]), virtual_nics(&["eth1", "eth2"])];
        let ranks = [("a", 0, &[][..]), ("a", 0, &[]), ("b", 1, &[]), ("b", 1, &[])];
        assert_eq!(rails(&ranks, &kinds), Some((3, vec![0, 1, 1, 2])));
    }

    #[test]
    fn a_rank_that_is_bound_to_a_socket_is_on_a_rail_of_that_socket() {
        let mut machine = document("cpu-4nic.xml");
        let masks = ["00000000,ffffffff", "ffffffff,00000000"];
        for (cpu, mask) in machine.root.elements_mut().zip(masks) {
            cpu.set("affinity", mask);
        }
        let (low, high, all) = (&[0xff][..], &[0xff << 32][..], &[u64::MAX][..]);
        let ranks = [("a", 0, high), ("a", 0, low), ("a", 0, high), ("a", 0, all), ("b", 0, high)];
        assert_eq!(rails(&ranks, &[machine.clone()]), Some((4, vec![2, 0, 3, 1, 2])));
        // Of a machine that is played the processors are others.
        let (mut world, nodes) = world(&ranks, &[machine]);
        world.records.iter_mut().flat_map(|it| &mut it.machine).for_each(|it| it.is_host = false);
        let placement = by_detection(&world, &nodes).unwrap();
        assert_eq!(rails_of(&placement, &nodes).1, [0, 1, 2, 3, 0]);
    }

    #[test]
    fn nothing_is_placed_where_it_would_mean_nothing() {
        let four = [document("cpu-4nic.xml")];
        let one = without(without(without(four[0].clone(), "mlx5_0"), "mlx5_1"), "mlx5_2");
        let two_nodes = [("a", 0, &[][..]), ("b", 0, &[][..])];
        assert!(rails(&two_nodes, &four).is_some());
        assert_eq!(rails(&two_nodes, &[one]), None, "one NIC has no rails");
        assert_eq!(rails(&[("a", 0, &[]), ("a", 0, &[])], &four), None, "one node has no network");
        assert_eq!(rails(&[("a", 0, &[]), ("b", 1, &[])], &four), None, "of b nothing is known");
        let no_nic = [four[0].clone(), document("grace-hopper.xml")];
        let no_nic = [no_nic[0].clone(), without(no_nic[1].clone(), "mlx5_0")];
        assert_eq!(rails(&[("a", 0, &[]), ("b", 1, &[])], &no_nic), None, "b has no NIC");
        // Two nodes that one host plays have its NICs together.
        let (mut world, nodes) = world(&two_nodes, &four);
        world.records[1].machine = world.records[0].machine.clone();
        assert!(by_detection(&world, &nodes).is_none());
        world.records[0].machine = None;
        assert!(by_detection(&world, &nodes).is_none(), "nobody looked");
    }

    #[test]
    fn a_machine_with_a_faster_port_beside_its_rails_is_not_placed() {
        let mut fast = document("cpu-4nic.xml");
        fn speed(element: &mut Element, name: &str) {
            if element.attribute("name") == Some(name) {
                element.set("speed", "400000");
            }
            element.elements_mut().for_each(|inner| speed(inner, name));
        }
        // Another card than the three that are alike.
        for cpu in fast.root.elements_mut() {
            for pci in
                cpu.elements_mut().filter(|pci| pci.attribute("busid") == Some("0000:e1:00.0"))
            {
                pci.set("device", "0x1023");
            }
        }
        speed(&mut fast.root, "mlx5_3");
        let ranks = [("a", 0, &[][..]), ("b", 0, &[][..])];
        assert_eq!(rails(&ranks, &[fast]), None);
    }

    #[test]
    fn a_rank_is_reached_first_at_the_nic_of_its_rail_and_at_the_others_too() {
        let (mut world, nodes) =
            world(&[("a", 0, &[]), ("a", 0, &[]), ("b", 0, &[])], &[document("cpu-4nic.xml")]);
        let nic = |rail: u8| IpAddr::from([10, rail, 0, 1]);
        world.records[0].nics = (0..4).map(|rail| Some(nic(rail))).collect();
        for record in &mut world.records {
            record.addresses = (0..4).map(|rail| (nic(rail), 4000).into()).collect();
        }
        let placement = by_detection(&world, &nodes).unwrap();
        assert_eq!(placement.nic_of, [Some(nic(0)), Some(nic(1)), None], "b told no address");
        placement.prefer_nics(&mut world.records);
        let order = |rank: usize| -> Vec<IpAddr> {
            world.records[rank].addresses.iter().map(|address| address.ip()).collect()
        };
        assert_eq!(order(1), [nic(1), nic(0), nic(2), nic(3)]);
        assert_eq!(order(2), [nic(0), nic(1), nic(2), nic(3)]);
    }

    /// A real machine of InfiniBand ports without IP addresses, and two of Ethernet for storage.
    fn captured_dgx(named: Option<&str>) -> Document {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../probe/tests/trees/dgx-a100.tree");
        let captured: Captured = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let facts = captured.facts().unwrap();
        let facts = match named {
            Some(named) => facts.with_ports(&named.parse().unwrap()),
            None => facts,
        };
        assemble(&facts).kind()
    }

    #[test]
    fn on_infiniband_without_addresses_each_rank_sends_from_a_port_of_its_own_rail() {
        let ports = |named: Option<&str>| {
            let ranks: Vec<_> = (0..16).map(|rank| (["a", "b"][rank / 8], 0, &[][..])).collect();
            let (world, nodes) = world(&ranks, &[captured_dgx(named)]);
            let placement = by_detection(&world, &nodes).unwrap();
            assert!(placement.nic_of.iter().all(Option::is_none));
            let rails = placement.seats.rails(&nodes).unwrap();
            let port = |rank| {
                let (name, port) =
                    placement.seats.port_of(Rank(rank), rails.rail_of(Rank(rank))).unwrap();
                assert_eq!(port, 1);
                name.strip_prefix("mlx5_").unwrap().parse().unwrap()
            };
            (0..16).map(port).collect::<Vec<u32>>()
        };
        assert_eq!(ports(None)[..8], [0, 1, 2, 3, 6, 7, 8, 9], "not those for storage");
        assert_eq!(ports(None)[8..], [0, 1, 2, 3, 6, 7, 8, 9], "as on the other node");
        assert_eq!(ports(Some("=mlx5_2,mlx5_3"))[..4], [2, 3, 2, 3], "those that were named");
        assert_eq!(ports(Some("^mlx5_0,mlx5_1"))[..4], [2, 3, 6, 7]);
    }

    #[test]
    fn fewer_ranks_than_ports_have_all_ports_between_them_and_each_on_its_rail() {
        let ranks = [("a", 0, &[][..]), ("a", 0, &[]), ("b", 0, &[]), ("b", 0, &[])];
        let (world, nodes) = world(&ranks, &[captured_dgx(None)]);
        let placement = by_detection(&world, &nodes).unwrap();
        let rails = placement.seats.rails(&nodes).unwrap();
        let ports = |rank| {
            let nics = rails.nics_of(Rank(rank)).into_iter();
            let port = |rail| placement.seats.port_of(Rank(rank), Some(rail)).unwrap().0.to_owned();
            nics.map(port).collect::<Vec<_>>()
        };
        let mut of_node = [ports(0), ports(1)].concat();
        of_node.sort();
        assert_eq!(of_node, [0, 1, 2, 3, 6, 7, 8, 9].map(|number| format!("mlx5_{number}")));
        assert_eq!([ports(0), ports(1)], [ports(2), ports(3)], "as on the other node");
    }

    #[test]
    fn a_gpu_that_a_file_describes_sends_from_the_port_of_its_rail() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/hgx-h100-4nic.xml");
        let nodes = Nodes::new((0..16).map(|rank| rank / 8).collect()).unwrap();
        let seats = crate::Machine::read(file).unwrap().seats(&nodes);
        let rails = seats.rails(&nodes).unwrap();
        let port = |rank| seats.port_of(Rank(rank), rails.rail_of(Rank(rank))).unwrap();
        assert_eq!(port(0), port(1), "two GPUs share a NIC");
        assert_ne!(port(1), port(2));
        assert_eq!(port(7), port(15), "as on the other node");
    }

    #[test]
    fn masks_and_words_meet_where_they_have_a_processor_in_common() {
        assert!(meet("00000001,00000000", &[1 << 32]) && !meet("00000001,00000000", &[1]));
        assert!(meet("1,0,0", &[0, 1]) && !meet("", &[1]) && !meet("zz", &[1]));
    }

    #[test]
    fn what_is_no_topology_places_nobody() {
        let (mut world, nodes) =
            world(&[("a", 0, &[]), ("b", 0, &[])], &[document("cpu-4nic.xml")]);
        world.kinds = Arc::new(["no topology".to_owned()]);
        assert!(by_detection(&world, &nodes).is_none());
    }
}
