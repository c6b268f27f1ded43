//! Owns what the devices of a cluster have carried: read from the kernel, and compared.

use std::collections::BTreeMap;

use crate::description::Description;
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

/// What all devices of a cluster have carried.
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
