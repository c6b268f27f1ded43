//! Owns how a cluster is wired: the kernel settings and the commands for `ip` and `tc` of each of its
//! namespaces, as text. Each line is there for a reason that was measured; what happens without it stands
//! beside it.

use std::net::Ipv4Addr;

use crate::description::{Description, Rate};
use crate::port::Port;

/// What is to be done in one namespace, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Names below `/proc/sys/net`, and values.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Lines for `ip -batch`.
    pub ip: Vec<String>,
    /// Lines for `tc -batch`.
    pub tc: Vec<String>,
}

/// IPv6 would send packets of its own, which would be counted.
const NO_IPV6: [(&str, &str); 2] =
    [("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")];

/// A queue of a NIC or a leaf's port: 25 ms cost 7 to 22 % where many send to one (3 nodes of 8 NICs).
const NIC_QUEUE_MS: u64 = 100;
/// A queue of an uplink: deeper ones made traffic over the spine slower (100 ms: 0.86-0.93 of the limit).
const UPLINK_QUEUE_MS: u64 = 25;

/// The leaves, and the cables to `nodes` and `spine`, which are given as paths of their namespaces. What is
/// done there follows.
pub(crate) fn fabric(cluster: &Description, nodes: &[String], spine: Option<&str>) -> Orders {
    let mut orders = Orders { settings: NO_IPV6.to_vec(), ..Orders::default() };
    let mtu = cluster.mtu;
    orders.ip.push("link set lo up".to_owned());
    for rail in 0..cluster.rails {
        let leaf = leaf(rail);
        orders
            .ip
            .push(format!("link add {leaf} mtu {mtu} type bridge stp_state 0 mcast_snooping 0"));
        orders.ip.push(format!("link set {leaf} up"));
    }
    let mut cable = |port: String, end: String, namespace: &str, rail, rate, queue_ms| {
        orders.ip.push(format!(
            "link add {port} mtu {mtu} type veth peer name {end} mtu {mtu} netns {namespace}"
        ));
        orders.ip.push(format!("link set {port} master {} up", leaf(rail)));
        orders.tc.extend(bucket(&port, rate, queue_ms));
    };
    for (node, namespace) in (0..).zip(nodes) {
        for rail in 0..cluster.rails {
            let (port, nic) = (port(node, rail), cluster.nic_name(rail));
            cable(port, nic, namespace, rail, cluster.rate, NIC_QUEUE_MS);
        }
    }
    if let Some(namespace) = spine {
        for rail in 0..cluster.rails {
            let ends = (uplink(rail), downlink(rail));
            cable(ends.0, ends.1, namespace, rail, cluster.uplink(), UPLINK_QUEUE_MS);
        }
    }
    orders
}

/// A node. What is sent from the address of a NIC follows the table of that NIC alone: without these rules
/// packets leave by the NIC of the receiver's rail, and nothing ever crosses the spine. The last route of
/// each table is a default, or the lookup would fall through to the main table, which knows all rails.
pub(crate) fn node(cluster: &Description, node: u32) -> Orders {
    let mut orders = Orders { settings: NO_IPV6.to_vec(), ..Orders::default() };
    orders.settings.extend([
        // Strict: what comes in by another NIC is dropped, so that a mistake fails loudly.
        ("ipv4/conf/all/rp_filter", "1"),
        ("ipv4/conf/default/rp_filter", "1"),
        // A host's default can be bbr, which had outliers (0.5 of the limit, over the spine).
        ("ipv4/tcp_congestion_control", "reno"),
        // So that a run does not inherit the last one's slow-start threshold.
        ("ipv4/tcp_no_metrics_save", "1"),
    ]);
    orders.ip.push("link set lo up".to_owned());
    for rail in 0..cluster.rails {
        let (nic, address) = (cluster.nic_name(rail), cluster.address(node, rail));
        let (subnet, gateway) = (format!("10.77.{rail}.0/24"), cluster.gateway(rail));
        let table = 100 + rail;
        let default = match cluster.oversubscription {
            Some(_) => format!("default via {gateway} dev {nic}"),
            None => "unreachable default".to_owned(),
        };
        orders.ip.extend([
            format!("address add {address}/24 dev {nic}"),
            format!("link set {nic} up"),
            format!("route add {subnet} dev {nic} src {address} table {table}"),
            format!("route add {default} table {table}"),
            format!("rule add from {address} lookup {table} priority {}", 1000 + rail),
        ]);
        orders.tc.extend(bucket(&nic, cluster.rate, NIC_QUEUE_MS));
        if has_told_neighbours(cluster) {
            orders.ip.push(format!("link set {nic} address {}", ethernet(node, rail)));
            let peers = (0..cluster.nodes).filter(|&peer| peer != node);
            orders.ip.extend(peers.map(|peer| neighbour(cluster, peer, rail, &nic)));
            if cluster.oversubscription.is_some() {
                let (address, end) = (gateway, ethernet(SPINE, rail));
                orders.ip.push(permanent(address, &end, &nic));
            }
        }
    }
    orders
}

/// What a host's kernel holds of neighbours that it has learnt, of all its namespaces together: half of it, for the
/// host and other labs need theirs (`net.ipv4.neigh.default.gc_thresh3`: 1024).
const MOST_LEARNT: u32 = 512;

/// Whether nodes are told their neighbours, for there are more than a host's kernel learns: 32 nodes of 32 NICs
/// did not reach each other (`neighbor table overflow`). Entries that were told do not count.
fn has_told_neighbours(cluster: &Description) -> bool {
    cluster.nodes * cluster.rails * cluster.nodes > MOST_LEARNT
}

/// The spine's number among nodes, in Ethernet addresses.
const SPINE: u32 = 254;

/// The Ethernet address of a NIC, where neighbours are told.
fn ethernet(node: u32, rail: u32) -> String {
    format!("02:4c:61:62:{rail:02x}:{node:02x}")
}

/// The entry for the NIC of a node on a rail.
fn neighbour(cluster: &Description, node: u32, rail: u32, device: &str) -> String {
    permanent(cluster.address(node, rail), &ethernet(node, rail), device)
}

fn permanent(address: Ipv4Addr, ethernet: &str, device: &str) -> String {
    format!("neighbour add {address} lladdr {ethernet} dev {device} nud permanent")
}

/// The spine: a router in a namespace of its own. In the leaves' namespace the bridges would answer for its
/// addresses, and its packets would go past half of the uplinks.
pub(crate) fn spine(cluster: &Description) -> Orders {
    let mut orders = Orders { settings: NO_IPV6.to_vec(), ..Orders::default() };
    orders.settings.push(("ipv4/ip_forward", "1"));
    for rail in 0..cluster.rails {
        let (end, address) = (downlink(rail), cluster.gateway(rail));
        orders.ip.push(format!("address add {address}/24 dev {end}"));
        orders.ip.push(format!("link set {end} up"));
        orders.tc.extend(bucket(&end, cluster.uplink(), UPLINK_QUEUE_MS));
        if has_told_neighbours(cluster) {
            orders.ip.push(format!("link set {end} address {}", ethernet(SPINE, rail)));
            let nodes = 0..cluster.nodes;
            orders.ip.extend(nodes.map(|node| neighbour(cluster, node, rail, &end)));
        }
    }
    orders
}

/// The bridge of a rail.
pub(crate) fn leaf(rail: u32) -> String {
    format!("leaf{rail}")
}

/// The port of a leaf that a node's NIC hangs on.
pub(crate) fn port(node: u32, rail: u32) -> String {
    Port::Nic { node, rail }.to_string()
}

/// The port of a leaf that leads to the spine.
pub(crate) fn uplink(rail: u32) -> String {
    Port::Uplink { rail }.to_string()
}

/// The spine's end of an uplink.
fn downlink(rail: u32) -> String {
    format!("down{rail}")
}

/// A token bucket must hold a whole packet as the kernel passes it on (64 KiB and its headers), or each is cut
/// into frames here, which costs half of the rate and ten times the processor time (16 KiB: 0.44-0.55 of
/// the limit; 72 KiB: 0.957-1.0; 80 KiB: 0.970-1.0).
const SMALLEST_BUCKET_BYTES: u64 = 80 << 10;
/// For fast links: what passes until the kernel looks again.
const BUCKET_US: u64 = 500;
/// `tc` takes no larger bucket and no longer queue: from 344gbit on one of 100 ms would be.
const LARGEST_BYTES: u64 = u32::MAX as u64;

/// The command that limits what `device` sends, if anything does.
fn bucket(device: &str, rate: Rate, queue_ms: u64) -> Option<String> {
    let rate = rate.0?;
    let burst = SMALLEST_BUCKET_BYTES.max(rate / 8 * BUCKET_US / 1_000_000).min(LARGEST_BYTES);
    let limit = (rate / 8000 * queue_ms + (64 << 10)).min(LARGEST_BYTES);
    Some(format!("qdisc add dev {device} root tbf rate {rate}bit burst {burst} limit {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Description {
        Description {
            nodes: 2,
            ranks_per_node: 2,
            rails: 2,
            rate: Rate(Some(200_000_000)),
            oversubscription: Some(4),
            mtu: 9000,
        }
    }

    fn has(lines: &[String], line: &str) {
        assert!(lines.iter().any(|it| it == line), "no {line:?} in {lines:#?}");
    }

    #[test]
    fn every_end_of_every_cable_has_its_token_bucket() {
        let cluster = cluster();
        let fabric = fabric(&cluster, &["/a".into(), "/b".into()], Some("/s"));
        let (node, spine) = (node(&cluster, 1), spine(&cluster));
        let nic = |device| {
            format!("qdisc add dev {device} root tbf rate 200000000bit burst 81920 limit 2565536")
        };
        let uplink = |device| {
            format!("qdisc add dev {device} root tbf rate 100000000bit burst 81920 limit 378036")
        };
        assert_eq!(
            fabric.tc,
            [nic("n0r0"), nic("n0r1"), nic("n1r0"), nic("n1r1"), uplink("up0"), uplink("up1")]
        );
        assert_eq!(node.tc, [nic("eth0"), nic("eth1")]);
        assert_eq!(spine.tc, [uplink("down0"), uplink("down1")]);
    }

    #[test]
    fn every_device_has_the_packets_that_were_asked_for() {
        let fabric = fabric(&cluster(), &["/a".into(), "/b".into()], Some("/s"));
        has(&fabric.ip, "link add n1r0 mtu 9000 type veth peer name eth0 mtu 9000 netns /b");
        has(&fabric.ip, "link add up1 mtu 9000 type veth peer name down1 mtu 9000 netns /s");
        has(&fabric.ip, "link set up1 master leaf1 up");
        let added = fabric.ip.iter().filter(|line| line.starts_with("link add"));
        assert!(added.clone().all(|line| line.contains("mtu 9000")));
        assert_eq!(added.count(), 2 + 4 + 2);
    }

    #[test]
    fn what_leaves_by_a_nic_knows_the_other_rails_only_by_the_spine() {
        let (with, without) = (cluster(), Description { oversubscription: None, ..cluster() });
        has(&node(&with, 1).ip, "rule add from 10.77.1.2 lookup 101 priority 1001");
        has(&node(&with, 1).ip, "route add default via 10.77.1.254 dev eth1 table 101");
        has(&node(&without, 1).ip, "route add unreachable default table 101");
        assert!(!node(&without, 1).ip.iter().any(|line| line.contains(".254")));
        assert!(!fabric(&without, &[], None).ip.iter().any(|line| line.contains("up0")));
    }

    #[test]
    fn where_kernels_cannot_learn_all_neighbours_they_are_told() {
        let large = Description { nodes: 9, rails: 8, ..cluster() };
        let told = |orders: Orders| {
            orders.ip.iter().filter(|line| line.ends_with(" nud permanent")).count()
        };
        assert_eq!((told(node(&large, 1)), told(spine(&large))), (8 * 8 + 8, 8 * 9));
        let entry = "neighbour add 10.77.7.1 lladdr 02:4c:61:62:07:00 dev eth7 nud permanent";
        has(&node(&large, 1).ip, entry);
        has(&node(&large, 0).ip, "link set eth7 address 02:4c:61:62:07:00");
        has(&spine(&large).ip, &entry.replace("eth7", "down7"));
        let gateway = "neighbour add 10.77.7.254 lladdr 02:4c:61:62:07:fe dev eth7 nud permanent";
        has(&node(&large, 1).ip, gateway);
        has(&spine(&large).ip, "link set down7 address 02:4c:61:62:07:fe");
        let alone = Description { oversubscription: None, ..large };
        assert_eq!(told(node(&alone, 1)), 8 * 8);
        assert_eq!((told(node(&cluster(), 1)), told(spine(&cluster()))), (0, 0));
    }

    #[test]
    fn without_a_rate_nothing_is_limited() {
        let free = Description { rate: Rate(None), ..cluster() };
        assert!(fabric(&free, &["/a".into()], Some("/s")).tc.is_empty());
        assert!(node(&free, 0).tc.is_empty() && spine(&free).tc.is_empty());
    }

    #[test]
    fn a_fast_links_bucket_holds_what_passes_between_two_looks() {
        let fast = bucket("eth0", Rate(Some(10_000_000_000)), 100).unwrap();
        assert!(fast.contains("burst 625000 "), "{fast}");
        let fastest = bucket("eth0", Rate(Some(1_000_000_000_000)), 100).unwrap();
        assert!(fastest.contains("burst 62500000 limit 4294967295"), "{fastest}");
    }
}
