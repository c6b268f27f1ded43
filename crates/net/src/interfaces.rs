//! Owns the question at which addresses others may reach this process, what this host is called, and how the
//! interface at an address fares.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

use crate::error::NetError;

/// This host's name for people, as the kernel knows it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The interface that has an address, as the system sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether an administrator has it up.
    pub is_up: bool,
    /// Whether it is up and sees the other end of its cable.
    pub has_carrier: bool,
}

/// The interface of this host that has this address; `None` where none has, or the system does not say.
pub fn interface_at(ip: IpAddr) -> Option<Interface> {
    let mut all = getifaddrs().ok()?;
    let at = all.find(|interface| self::ip(interface) == Some(ip.to_canonical()))?;
    Some(interface(at))
}

fn interface(at: InterfaceAddress) -> Interface {
    Interface {
        is_up: at.flags.contains(InterfaceFlags::IFF_UP),
        has_carrier: at.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
        name: at.interface_name,
    }
}

/// An address of this host that peers could use, and the interface that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// It.
    pub ip: IpAddr,
    /// Who has it.
    pub interface: Interface,
}

/// All of them, in the system's order.
///
/// # Errors
/// [`NetError::System`] when the system does not say.
pub fn all_addresses() -> Result<Vec<Address>, NetError> {
    let all = getifaddrs().map_err(|errno| NetError::System {
        call: "getifaddrs".to_owned(),
        source: errno.into(),
    })?;
    Ok(all.filter_map(|at| Some(Address { ip: ip(&at)?, interface: interface(at) })).collect())
}

/// Of all addresses those that a listener tells its peers: of interfaces that are up and wanted; best
/// first: IPv4, IPv6, then the loopback addresses. Which of them a peer can really reach is found by trying, not by
/// names.
///
/// # Errors
/// [`NetError::NoInterface`] where none is left.
pub fn offered<'a>(all: &'a [Address], wanted: Option<&str>) -> Result<Vec<&'a Address>, NetError> {
    let up = || all.iter().filter(|address| address.interface.is_up);
    let named = |it: &&Address| wanted.is_none_or(|wanted| is_wanted(&it.interface.name, wanted));
    let mut chosen: Vec<&Address> = up().filter(named).collect();
    if chosen.is_empty() {
        let wanted = wanted.unwrap_or("").to_owned();
        // An interface has an entry for each of its addresses.
        let names: BTreeSet<&str> = up().map(|address| &*address.interface.name).collect();
        let present = names.into_iter().collect::<Vec<_>>().join(" ");
        return Err(NetError::NoInterface { wanted, present });
    }
    chosen.sort_by_key(|address| (address.ip.is_loopback(), address.ip.is_ipv6()));
    Ok(chosen)
}

/// Whether an interface is meant by a list of the beginnings of names, apart by commas, or after `=` of names; after `^`
/// all are that the rest does not mean.
fn is_wanted(name: &str, list: &str) -> bool {
    if let Some(others) = list.strip_prefix('^') {
        return !is_wanted(name, others);
    }
    let (is_whole, list) = match list.strip_prefix('=') {
        Some(names) => (true, names),
        None => (false, list),
    };
    let mut meant = list.split(',').map(str::trim).filter(|one| !one.is_empty());
    meant.any(|one| if is_whole { name == one } else { name.starts_with(one) })
}

/// The addresses that a listener tells its peers.
pub(crate) fn addresses(wanted: Option<&str>) -> Result<Vec<IpAddr>, NetError> {
    Ok(offered(&all_addresses()?, wanted)?.into_iter().map(|address| address.ip).collect())
}

/// The address of the interface of this name, IPv4 before IPv6; `None` where it has none that others could use.
pub fn address_of(name: &str) -> Option<IpAddr> {
    let all = getifaddrs().ok()?.filter(|interface| interface.interface_name == name);
    all.filter_map(|interface| ip(&interface)).min_by_key(IpAddr::is_ipv6)
}

/// The interface's address, unless it has none that a peer could use without knowing our interface numbers.
fn ip(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(IpAddr::V4(v4.ip()));
    }
    let v6: Ipv6Addr = address.as_sockaddr_in6()?.ip();
    (!v6.is_unicast_link_local()).then_some(IpAddr::V6(v6))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn interfaces_are_meant_by_lists_as_nccl_has_them() {
        let meant = |list| {
            let all = ["lo", "eth0", "eth01", "ib0", "docker0"];
            all.into_iter().filter(|name| is_wanted(name, list)).collect::<Vec<_>>().join(" ")
        };
        for (list, expected) in [
            ("eth", "eth0 eth01"),
            ("eth0", "eth0 eth01"),
            ("=eth0", "eth0"),
            ("eth,ib", "eth0 eth01 ib0"),
            ("=eth0, ib0", "eth0 ib0"),
            ("^docker,lo", "eth0 eth01 ib0"),
            ("^=eth0", "lo eth01 ib0 docker0"),
            ("wlan", ""),
        ] {
            assert_eq!(meant(list), expected, "{list}");
        }
    }

    #[test]
    fn the_interface_of_an_address_is_found_and_told_from_none() {
        let loopback = interface_at(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()).unwrap();
        let expected = Interface { name: "lo".to_owned(), is_up: true, has_carrier: true };
        assert_eq!(loopback, expected);
        // Addresses of documentation are nobody's.
        assert_eq!(interface_at(Ipv4Addr::new(192, 0, 2, 1).into()), None);
    }

    #[test]
    fn addresses_of_what_is_up_and_named_are_offered_the_loopback_ones_last() {
        let address = |name: &str, ip: &str, is_up| {
            let interface = Interface { name: name.to_owned(), is_up, has_carrier: is_up };
            Address { ip: ip.parse().unwrap(), interface }
        };
        let all = [
            address("lo", "127.0.0.1", true),
            address("eth0", "2001:db8::1", true),
            address("eth0", "192.0.2.1", true),
            address("eth1", "198.51.100.1", false),
        ];
        let ips = |wanted| {
            let offered = offered(&all, wanted).unwrap();
            offered.iter().map(|address| address.ip.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ips(None), ["192.0.2.1", "2001:db8::1", "127.0.0.1"]);
        assert_eq!(ips(Some("eth")), ["192.0.2.1", "2001:db8::1"]);
        assert!(matches!(
            offered(&all, Some("eth1")),
            Err(NetError::NoInterface { present, .. }) if present == "eth0 lo"
        ));
        let error = offered(&[], None).unwrap_err().to_string();
        assert_eq!(error, "no interface is up with an address; there are: none");
    }
}
