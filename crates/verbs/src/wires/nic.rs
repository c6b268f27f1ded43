//! Owns [`Nic`]: which port of which device a rank uses, and how it is found.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::{Context, Device, Layer, Library, PortState, Service, VerbsError};

/// Which NIC a rank uses, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The device, such as `mlx5_0`.
    pub device: String,
    /// Its port, from 1.
    pub port: u8,
    /// Which of the node's NICs it is, where nodes have rails.
    pub rail: Option<u32>,
    /// The place of the GID to use in the port's table; chosen by both ends, if none is given.
    pub gid: Option<u32>,
    /// How switches treat its packets.
    pub service: Service,
    /// Queue pairs for each wire, at most; the ends of a wire take as many as both have.
    pub queue_pairs: u8,
    /// How long nothing may move before a peer counts as stalled: queue pairs give up before.
    pub stall: Duration,
}

/// Whether a port of a device may be taken.
pub type Permits<'a> = &'a dyn Fn(&str, u8) -> bool;

/// What a rank wants of its host's ports.
#[derive(Default)]
pub struct Wish<'a> {
    /// Whether a port may be taken, where somebody named those that may; without it all.
    pub named: Option<Permits<'a>>,
    /// The address that its port has, where somebody told it: no other will do.
    pub address: Option<IpAddr>,
    /// The port that the rank was placed at.
    pub near: Option<(String, u8)>,
    /// Where the rank is reached first.
    pub reached_at: Option<IpAddr>,
    /// Which of several ports that are as good it takes, modulo their number.
    pub turn: usize,
}

impl Wish<'_> {
    fn permits(&self, device: &str, port: u8) -> bool {
        self.named.is_none_or(|named| named(device, port))
    }
}

impl Nic {
    /// The port with the address that was told, if one was; else, of those that may be taken, that which the rank was
    /// placed at; else that which has the address where it is reached, unless ports were named; else one of those that
    /// are up: by turns where they were named, or are InfiniBand's, whose ports reach each other, or else the first.
    /// Where no port was named, slower ones than the fastest, and such of other networks, do not count.
    ///
    /// # Errors
    /// [`VerbsError::NoneNamed`]; [`VerbsError::NoNic`]; as [`Library::devices`] and
    /// [`Device::open`](crate::Device::open).
    pub fn choose(
        library: &Library,
        wish: &Wish<'_>,
        rail: Option<u32>,
        stall: Duration,
    ) -> Result<Self, VerbsError> {
        let devices = library.devices()?;
        let nic = |device: &str, port| {
            let (device, service) = (device.to_owned(), Service::default());
            Self { device, port, rail, gid: None, service, queue_pairs: 1, stall }
        };
        if let Some(Candidate { device, port, .. }) = placed(&devices, wish)? {
            return Ok(nic(&device, port));
        }
        let mut all = Vec::new();
        for device in &devices {
            candidates(&device.open()?, &mut all)?;
        }
        let permitted = |port: &&Candidate| wish.permits(&port.device, port.port);
        let found: Vec<Candidate> = all.iter().filter(permitted).cloned().collect();
        if found.is_empty() && !all.is_empty() {
            return Err(VerbsError::NoneNamed { present: listed(&all) });
        }
        let chosen = choose(&found, wish).map(|port| nic(&port.device, port.port));
        let (address, present) = (wish.address, listed(&found));
        chosen.ok_or(VerbsError::NoNic { address, present })
    }
}

/// A port that a rank could take.
#[derive(Debug, Clone)]
struct Candidate {
    device: String,
    port: u8,
    state: PortState,
    /// Its kind of network, and its speed.
    class: (Layer, Option<u32>),
    addresses: Vec<Ipv6Addr>,
}

/// The port that the rank was placed at, if it may be taken and is up: no other device is opened for it.
fn placed(devices: &[Device], wish: &Wish<'_>) -> Result<Option<Candidate>, VerbsError> {
    let Some((name, port)) = wish.near.as_ref().filter(|_| wish.address.is_none()) else {
        return Ok(None);
    };
    let Some(device) = devices.iter().find(|it| it.name() == name && wish.permits(name, *port))
    else {
        return Ok(None);
    };
    let mut of_device = Vec::new();
    candidates(&device.open()?, &mut of_device)?;
    Ok(of_device.into_iter().find(|it| it.port == *port && it.state == PortState::Active))
}

fn candidates(context: &Context, found: &mut Vec<Candidate>) -> Result<(), VerbsError> {
    let gids = context.gids()?;
    for number in 1..=context.attributes().ports {
        let port = context.port(number)?;
        let own = gids.iter().filter(|gid| gid.port == number);
        found.push(Candidate {
            device: context.name().to_owned(),
            port: number,
            state: port.state,
            class: (port.layer, port.mbit),
            addresses: own.map(|gid| gid.address).collect(),
        });
    }
    Ok(())
}

fn listed(ports: &[Candidate]) -> String {
    let port = |Candidate { device, port, state, .. }: &Candidate| match state {
        PortState::Active => format!("{device}:{port}"),
        _ => format!("{device}:{port} ({})", state.name()),
    };
    ports.iter().map(port).collect::<Vec<_>>().join(" ")
}

/// Of ports that may be taken.
fn choose<'a>(found: &'a [Candidate], wish: &Wish<'_>) -> Option<&'a Candidate> {
    let with_address = |address: IpAddr| found.iter().find(|port| has_address(port, address));
    if let Some(address) = wish.address {
        return with_address(address);
    }
    let is_named = wish.named.is_some();
    if let Some(port) = wish.reached_at.filter(|_| !is_named).and_then(with_address) {
        return Some(port);
    }
    let up = || found.iter().filter(|port| port.state == PortState::Active);
    let best = up().map(|port| port.class).reduce(
        |best, class| {
            if class.1 > best.1 { class } else { best }
        },
    )?;
    let alike: Vec<&Candidate> = up().filter(|port| is_named || port.class == best).collect();
    let in_turn = is_named || best.0 == Layer::InfiniBand;
    let place = if in_turn { wish.turn.checked_rem(alike.len())? } else { 0 };
    alike.get(place).copied()
}

fn has_address(port: &Candidate, address: IpAddr) -> bool {
    let wanted = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    port.addresses.contains(&wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, class: (Layer, u32), state: PortState, address: Option<&str>) -> Candidate {
        let (device, port) = name.split_once(':').unwrap();
        let addresses = address.map(|text| text.parse::<std::net::Ipv4Addr>().unwrap());
        Candidate {
            device: device.to_owned(),
            port: port.parse().unwrap(),
            state,
            class: (class.0, Some(class.1)),
            addresses: addresses.iter().map(std::net::Ipv4Addr::to_ipv6_mapped).collect(),
        }
    }

    /// Four ports of InfiniBand without addresses, one of which is down, and one of Ethernet, which is slower.
    fn host() -> Vec<Candidate> {
        let (fast, slow) = ((Layer::InfiniBand, 200_000), (Layer::Ethernet, 25_000));
        vec![
            port("eth:1", slow, PortState::Active, Some("10.0.0.1")),
            port("ib_0:1", fast, PortState::Active, None),
            port("ib_1:1", fast, PortState::Down, None),
            port("ib_2:1", fast, PortState::Active, None),
            port("ib_3:1", fast, PortState::Active, None),
        ]
    }

    fn turns(found: &[Candidate], wish: &Wish<'_>) -> Vec<String> {
        let named = |turn| {
            let wish = Wish {
                turn,
                named: wish.named,
                ..Wish { reached_at: wish.reached_at, ..Wish::default() }
            };
            choose(found, &wish).map_or("none".to_owned(), |port| port.device.clone())
        };
        (0..4).map(named).collect()
    }

    #[test]
    fn ranks_take_the_fastest_ports_of_infiniband_in_turn() {
        assert_eq!(turns(&host(), &Wish::default()), ["ib_0", "ib_2", "ib_3", "ib_0"]);
    }

    #[test]
    fn over_ethernet_a_rank_takes_the_port_where_it_is_reached_or_else_the_first() {
        let ethernet = (Layer::Ethernet, 100_000);
        let up = |name, address| port(name, ethernet, PortState::Active, Some(address));
        let found = [up("a:1", "10.0.0.1"), up("b:1", "10.1.0.1")];
        assert_eq!(turns(&found, &Wish::default()), ["a"; 4], "nobody knows what joins them");
        let wish = Wish { reached_at: Some([10, 1, 0, 1].into()), ..Wish::default() };
        assert_eq!(turns(&found, &wish), ["b"; 4]);
        let named = Wish { named: Some(&|_, _| true), ..wish };
        assert_eq!(turns(&found, &named), ["a", "b", "a", "b"], "somebody named both");
    }

    #[test]
    fn an_address_that_was_told_is_taken_or_nothing_is() {
        let wish = |last| Wish { address: Some([10, 0, 0, last].into()), ..Wish::default() };
        assert_eq!(choose(&host(), &wish(1)).unwrap().device, "eth");
        assert!(choose(&host(), &wish(2)).is_none());
    }

    #[test]
    fn what_is_down_is_told_as_that() {
        assert_eq!(listed(&host()[..3]), "eth:1 ib_0:1 ib_1:1 (down)");
    }
}
