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
    Some(Interface {
        is_up: at.flags.contains(InterfaceFlags::IFF_UP),
        has_carrier: at.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
        name: at.interface_name,
    })
}

/// The addresses of all interfaces that are up and whose name begins with `wanted`, best first: IPv4, IPv6, then
/// the loopback addresses. Which of them a peer can really reach is found by trying, not by names.
pub(crate) fn addresses(wanted: Option<&str>) -> Result<Vec<IpAddr>, NetError> {
    let all = getifaddrs().map_err(|errno| NetError::System {
        call: "getifaddrs".to_owned(),
        source: errno.into(),
    })?;
    let up: Vec<(String, IpAddr)> = all
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| Some((interface.interface_name.clone(), ip(&interface)?)))
        .collect();
    let mut chosen: Vec<IpAddr> = up
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| name.starts_with(wanted)))
        .map(|(_, ip)| *ip)
        .collect();
    if chosen.is_empty() {
        let wanted = wanted.unwrap_or("").to_owned();
        // An interface has an entry for each of its addresses.
        let names: BTreeSet<&str> = up.iter().map(|(name, _)| name.as_str()).collect();
        let present = names.into_iter().collect::<Vec<_>>().join(" ");
        return Err(NetError::NoInterface { wanted, present });
    }
    chosen.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    Ok(chosen)
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
    fn the_interface_of_an_address_is_found_and_told_from_none() {
        let loopback = interface_at(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()).unwrap();
        let expected = Interface { name: "lo".to_owned(), is_up: true, has_carrier: true };
        assert_eq!(loopback, expected);
        // Addresses of documentation are nobody's.
        assert_eq!(interface_at(Ipv4Addr::new(192, 0, 2, 1).into()), None);
    }
}
