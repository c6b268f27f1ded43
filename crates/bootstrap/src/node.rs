//! Owns the name of this process's node: what must agree for two processes to share memory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crosstie_net::host_name;

/// What must agree for two ranks to share memory: the kernel's boot id, the network namespace (in which they find
/// each other's Unix sockets), and the device behind `/dev/shm`. Where one of them cannot be read, the key is this
/// process's own, so that nobody takes it for a neighbour.
pub fn node_key() -> String {
    shared_parts().unwrap_or_else(|| format!("alone {} {}", host_name(), std::process::id()))
}

fn shared_parts() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::metadata("/proc/self/ns/net").ok()?;
    let memory = fs::metadata("/dev/shm").ok()?;
    Some(format!("boot {} net {} shm {}", boot.trim(), network.ino(), memory.dev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_a_node_with_itself() {
        assert_eq!(node_key(), node_key());
        assert!(node_key().starts_with("boot "), "{}", node_key());
    }
}
