//! Owns the table of what a lab's devices carried.

use std::io::{self, Write};

use crosstie_lab::{Counters, Description, Traffic};

use crate::lab_facts::rates;

/// Prints a line for each NIC with its leaf port, and one for each uplink: in millions of bytes.
pub fn print(mut out: impl Write, lab: &Description, carried: &Counters) -> io::Result<()> {
    writeln!(out, "# carried, in MB ({}, MTU {}):", rates(lab), lab.mtu)?;
    writeln!(out, "#      node   NIC       sent   received   leaf port: received       sent")?;
    for (node, (nics, ports)) in (0..).zip(carried.nics.iter().zip(&carried.ports)) {
        for (rail, (nic, port)) in (0..).zip(nics.iter().zip(ports)) {
            let (name, device) = (lab.node_name(node), lab.nic_name(rail));
            let [sent, received] = [nic.sent_bytes, nic.received_bytes].map(megabytes);
            let Traffic { received_bytes, sent_bytes } = *port;
            let [at_port, from_port] = [received_bytes, sent_bytes].map(megabytes);
            writeln!(
                out,
                "# {name:>9} {device:>5} {sent:>10} {received:>10}             {at_port:>10} {from_port:>10}"
            )?;
        }
    }
    for (rail, uplink) in carried.uplinks.iter().enumerate() {
        let [up, down] = [uplink.sent_bytes, uplink.received_bytes].map(megabytes);
        writeln!(out, "#   uplink of rail {rail}: {up} up to the spine, {down} down")?;
    }
    out.flush()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}
