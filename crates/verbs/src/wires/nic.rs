//! Owns [`Nic`]: which port of which device a rank uses, and how it is found.

use std::net::IpAddr;
use std::time::Duration;

use crate::{Context, Library, PortState, Service, VerbsError};

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

impl Nic {
    /// The one whose port has `address`, or (if none is given) the first whose port is up.
    ///
    /// # Errors
    /// [`VerbsError::NoNic`]; as [`Library::devices`] and [`Device::open`](crate::Device::open).
    pub fn of_address(
        library: &Library,
        address: Option<IpAddr>,
        rail: Option<u32>,
        stall: Duration,
    ) -> Result<Self, VerbsError> {
        Self::find(library, (address, address.is_none()), rail, stall)
    }

    /// The one whose port has `address`, if there is one, or else the first whose port is up.
    ///
    /// # Errors
    /// As [`of_address`](Self::of_address).
    pub fn preferring(
        library: &Library,
        address: IpAddr,
        rail: Option<u32>,
        stall: Duration,
    ) -> Result<Self, VerbsError> {
        Self::find(library, (Some(address), true), rail, stall)
    }

    fn find(
        library: &Library,
        (address, or_any): (Option<IpAddr>, bool),
        rail: Option<u32>,
        stall: Duration,
    ) -> Result<Self, VerbsError> {
        let mut active = None;
        let devices = library.devices()?;
        for device in &devices {
            let context = device.open()?;
            for port in 1..=context.attributes().ports {
                let found = || (device.name().to_owned(), port);
                if let Some(address) = address
                    && has_address(&context, port, address)?
                {
                    return Ok(Self::new(found(), rail, stall));
                }
                if active.is_none() && context.port(port)?.state == PortState::Active {
                    active = Some(found());
                }
            }
        }
        active.filter(|_| or_any).map(|found| Self::new(found, rail, stall)).ok_or_else(|| {
            let present: Vec<_> = devices.iter().map(crate::Device::name).collect();
            VerbsError::NoNic { address: address.filter(|_| !or_any), present: present.join(" ") }
        })
    }

    fn new((device, port): (String, u8), rail: Option<u32>, stall: Duration) -> Self {
        Self { device, port, rail, gid: None, service: Service::default(), queue_pairs: 1, stall }
    }
}

fn has_address(context: &Context, port: u8, address: IpAddr) -> Result<bool, VerbsError> {
    let wanted = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Ok(context.gids()?.iter().any(|gid| gid.port == port && gid.address == wanted))
}
