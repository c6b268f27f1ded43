//! Owns what the devices of a cluster have carried: read from the kernel, and compared.

use std::collections::BTreeMap;

use crate::description::{Description, Rate};
use crate::error::LabError;
use crate::wiring;

/// What a device has carried. The kernel counts the headers of a packet as it hands it on, up to 64 KiB, not
/// of each frame: 0.2 % more than the payload where all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
}

impl Traffic {
    /// What came after `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            received_bytes: self.received_bytes.saturating_sub(earlier.received_bytes),
            sent_bytes: self.sent_bytes.saturating_sub(earlier.sent_bytes),
        }
    }
}

/// What all devices of a cluster have carried, or are to carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// The NICs, by node and rail.
    pub nics: Vec<Vec<Traffic>>,
    /// The leaves' ports to those NICs, by node and rail: what they received is what the NIC sent.
    pub ports: Vec<Vec<Traffic>>,
    /// The leaves' ports to the spine, by rail; empty where there is no spine. What they sent went up.
    pub uplinks: Vec<Traffic>,
}

impl Counters {
    /// Those of a cluster's devices, out of all devices of each node and of the fabric.
    pub(crate) fn pick(cluster: &Description, nodes: &[Devices], fabric: &Devices) -> Self {
        let of = |devices: &Devices, name: &str| devices.get(name).copied().unwrap_or_default();
        let rails = || 0..cluster.rails;
        let nics = |node: &Devices| rails().map(|rail| of(node, &cluster.nic_name(rail))).collect();
        let ports = |node| rails().map(|rail| of(fabric, &wiring::port(node, rail))).collect();
        let uplinks = rails().map(|rail| of(fabric, &wiring::uplink(rail)));
        Self {
            nics: nodes.iter().map(nics).collect(),
            ports: (0..cluster.nodes).map(ports).collect(),
            uplinks: cluster.oversubscription.map_or(Vec::new(), |_| uplinks.collect()),
        }
    }

    /// What the devices are to carry if each rank sends each other `bytes(from, to)`, by the NICs on
    /// `rails(from, to)`: the sending one's rail and the receiving one's. Between ranks of a node nothing
    /// goes by them.
    pub fn of_traffic(
        cluster: &Description,
        bytes: impl Fn(u32, u32) -> u64,
        rails: impl Fn(u32, u32) -> (u32, u32),
    ) -> Self {
        let idle = || vec![Traffic::default(); cluster.rails as usize];
        let mut nics = vec![idle(); cluster.nodes as usize];
        let mut uplinks = cluster.oversubscription.map_or(Vec::new(), |_| idle());
        let pairs =
            (0..cluster.ranks()).flat_map(|from| (0..cluster.ranks()).map(move |to| (from, to)));
        for (from, to) in pairs {
            let (node, other) = (cluster.node_of(from) as usize, cluster.node_of(to) as usize);
            if node == other {
                continue;
            }
            let (bytes, (rail, other_rail)) = (bytes(from, to), rails(from, to));
            nics[node][rail as usize].sent_bytes += bytes;
            nics[other][other_rail as usize].received_bytes += bytes;
            if rail != other_rail && !uplinks.is_empty() {
                uplinks[rail as usize].sent_bytes += bytes;
                uplinks[other_rail as usize].received_bytes += bytes;
            }
        }
        let turned = |nic: &Traffic| Traffic {
            received_bytes: nic.sent_bytes,
            sent_bytes: nic.received_bytes,
        };
        let ports = nics.iter().map(|node| node.iter().map(turned).collect()).collect();
        Self { nics, ports, uplinks }
    }

    /// The least time in which devices of those rates carry this, in seconds: the fullest of them decides;
    /// `None` where nothing is limited.
    pub fn least_seconds(&self, cluster: &Description) -> Option<f64> {
        let fullest = |devices: &mut dyn Iterator<Item = &Traffic>| {
            devices.map(|it| it.sent_bytes.max(it.received_bytes)).max().unwrap_or(0)
        };
        let (nic, uplink) =
            (fullest(&mut self.nics.iter().flatten()), fullest(&mut self.uplinks.iter()));
        let time = |bytes: u64, rate: Rate| Some(bytes as f64 * 8.0 / rate.0? as f64);
        let at_nics = time(nic, cluster.rate)?;
        Some(time(uplink, cluster.uplink()).map_or(at_nics, |at_uplinks| at_nics.max(at_uplinks)))
    }

    /// What all NICs together have sent.
    pub fn sent_bytes(&self) -> u64 {
        self.nics.iter().flatten().map(|nic| nic.sent_bytes).sum()
    }

    /// What was carried after `earlier`, which is of the same cluster.
    pub fn since(&self, earlier: &Self) -> Self {
        let each = |now: &[Traffic], then: &[Traffic]| -> Vec<Traffic> {
            now.iter().zip(then).map(|(now, then)| now.since(*then)).collect()
        };
        let all = |now: &[Vec<Traffic>], then: &[Vec<Traffic>]| {
            now.iter().zip(then).map(|(now, then)| each(now, then)).collect()
        };
        Self {
            nics: all(&self.nics, &earlier.nics),
            ports: all(&self.ports, &earlier.ports),
            uplinks: each(&self.uplinks, &earlier.uplinks),
        }
    }
}

/// Traffic by the name of the device.
pub(crate) type Devices = BTreeMap<String, Traffic>;

/// All devices of the network namespace that the calling thread is in.
pub(crate) fn read() -> Result<Devices, LabError> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev");
    Ok(parse(&table.map_err(|e| LabError::host("read the counters of devices", e))?))
}

/// Two lines of headings, then `NAME: ` and 16 numbers: bytes received first, bytes sent ninth.
fn parse(table: &str) -> Devices {
    let device = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().flat_map(str::parse).collect();
        let traffic = Traffic { received_bytes: *numbers.first()?, sent_bytes: *numbers.get(8)? };
        Some((name.trim().to_owned(), traffic))
    };
    table.lines().filter_map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message of one byte from each rank to each takes at least, in bytes of a NIC's rate.
    fn least_bytes(cluster: &Description, rails: impl Fn(u32, u32) -> (u32, u32)) -> f64 {
        let traffic = Counters::of_traffic(cluster, |_, _| 1000, rails);
        let seconds = traffic.least_seconds(cluster).unwrap();
        seconds * cluster.rate.0.unwrap() as f64 / 8000.0
    }

    #[test]
    fn an_exchange_that_crosses_rails_takes_as_much_longer_as_the_uplinks_are_thinner() {
        for (nodes, ranks_per_node, ratio) in [(2, 4, 3.0), (3, 8, 3.5)] {
            let cluster = Description {
                nodes,
                ranks_per_node,
                rails: ranks_per_node,
                rate: Rate(Some(200_000_000)),
                oversubscription: Some(4),
                mtu: 1500,
            };
            let receivers = |_, to| (cluster.rail_of(to), cluster.rail_of(to));
            let own = |from, to| (cluster.rail_of(from), cluster.rail_of(to));
            let straight = least_bytes(&cluster, receivers);
            assert!(
                (straight - f64::from((nodes - 1) * ranks_per_node)).abs() < 1e-9,
                "{straight}"
            );
            assert!((least_bytes(&cluster, own) / straight - ratio).abs() < 1e-9);
            let free = Description { rate: Rate(None), ..cluster.clone() };
            assert_eq!(Counters::of_traffic(&free, |_, _| 1, own).least_seconds(&free), None);
        }
    }

    #[test]
    fn what_crosses_rails_goes_up_one_uplink_and_down_another() {
        let cluster = Description {
            nodes: 2,
            ranks_per_node: 2,
            rails: 2,
            rate: Rate(None),
            oversubscription: Some(1),
            mtu: 1500,
        };
        // Only rank 0 on node 0 and rank 3 on node 1.
        let bytes = |from, to| if (from, to) == (0, 3) { 7 } else { 0 };
        let own = |from, to| (cluster.rail_of(from), cluster.rail_of(to));
        let load = Counters::of_traffic(&cluster, bytes, own);
        assert_eq!((load.nics[0][0].sent_bytes, load.nics[1][1].received_bytes), (7, 7));
        assert_eq!((load.uplinks[0].sent_bytes, load.uplinks[1].received_bytes), (7, 7));
        assert_eq!((load.ports[0][0].received_bytes, load.sent_bytes()), (7, 7));
    }

    #[test]
    fn the_kernels_table_is_read_by_device() {
        let table = "Inter-|   Receive                      |  Transmit\n \
            face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs\n\
            \x20   lo:     100       1 0 0 0 0 0 0      100       1 0 0 0 0 0 0\n\
            \x20 eth0: 5000000     700 0 0 0 0 0 0 70000012     800 0 0 0 0 0 0\n";
        let devices = parse(table);
        let eth0 = Traffic { received_bytes: 5_000_000, sent_bytes: 70_000_012 };
        assert_eq!((devices.len(), devices["eth0"]), (2, eth0));
    }
}
