//! Owns what a device tells of a port, and of what happens to it.

use crate::VerbsError;
use crate::sys;

/// A port of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Its number, from 1.
    pub number: u8,
    /// Whether messages can pass.
    pub state: PortState,
    /// Mb/s of all lanes; `None` where the device's word for it is not known.
    pub mbit: Option<u32>,
    /// The longest packet that it takes.
    pub mtu: Mtu,
    /// What it is attached to.
    pub layer: Layer,
    /// Its address on InfiniBand; 0 on Ethernet.
    pub lid: u16,
    /// Places of its table of GIDs.
    pub gid_places: u32,
}

/// Whether a port passes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// It does not.
    Down,
    /// It waits for the subnet manager.
    Initializing,
    /// It waits for the subnet manager's last word.
    Armed,
    /// It does.
    Active,
    /// Anything else, by the library's number.
    Other(u32),
}

impl PortState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Initializing => "initializing (is there a subnet manager?)",
            Self::Armed => "armed",
            Self::Active => "active",
            Self::Other(_) => "in an unknown state",
        }
    }
}

/// What a port is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// InfiniBand.
    InfiniBand,
    /// Ethernet: RoCE, or iWARP.
    Ethernet,
    /// Not told.
    Unknown,
}

/// Bytes of payload of the longest packet, as the library numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtu(pub(crate) u8);

impl Mtu {
    /// The number that the library and the wire have for it; `None` for one that is no packet's length.
    pub const fn numbered(number: u8) -> Option<Self> {
        match number {
            1..=5 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number that the library has for it.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Bytes.
    pub const fn bytes(self) -> u32 {
        128 << self.0
    }
}

impl Port {
    pub(crate) fn of(number: u8, raw: &sys::ibv_port_attr) -> Self {
        Self {
            number,
            state: match raw.state {
                0 | 1 => PortState::Down,
                2 => PortState::Initializing,
                3 => PortState::Armed,
                4 | 5 => PortState::Active,
                other => PortState::Other(other),
            },
            mbit: mbit(raw.active_width, raw.active_speed),
            mtu: Mtu((raw.active_mtu as u8).clamp(1, 5)),
            layer: match raw.link_layer {
                sys::IBV_LINK_LAYER_INFINIBAND => Layer::InfiniBand,
                sys::IBV_LINK_LAYER_ETHERNET => Layer::Ethernet,
                _ => Layer::Unknown,
            },
            lid: raw.lid,
            gid_places: u32::try_from(raw.gid_tbl_len).unwrap_or(0),
        }
    }

    /// Itself, if messages can pass.
    ///
    /// # Errors
    /// [`VerbsError::PortDown`].
    pub fn up(self, device: &str) -> Result<Self, VerbsError> {
        if self.state == PortState::Active {
            return Ok(self);
        }
        let (device, port) = (device.to_owned(), self.number);
        Err(VerbsError::PortDown { device, port, state: self.state.name() })
    }
}

/// Lanes times their speed, as the InfiniBand specification numbers both.
fn mbit(width: u8, speed: u8) -> Option<u32> {
    let lanes = match width {
        1 => 1,
        2 => 4,
        4 => 8,
        8 => 12,
        16 => 2,
        _ => return None,
    };
    let of_a_lane = match speed {
        1 => 2_500,
        2 => 5_000,
        4 | 8 => 10_000,
        16 => 14_000,
        32 => 25_000,
        64 => 50_000,
        128 => 100_000,
        _ => return None,
    };
    Some(lanes * of_a_lane)
}

/// What happened to a device or to one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The port, from 1, takes no more traffic.
    PortDown(u8),
    /// It takes traffic.
    PortUp(u8),
    /// Its address, or its table of them, is another.
    AddressChanged(u8),
    /// The device broke down, or a queue that all share did.
    DeviceFatal,
    /// A queue pair failed; its completions tell more.
    QueuePairFailed,
    /// Anything else, by the library's number.
    Other(u32),
}

impl Event {
    pub(crate) fn of(raw: &sys::ibv_async_event) -> Self {
        let [b0, b1, b2, b3, ..] = raw.element.to_ne_bytes();
        let port = u32::from_ne_bytes([b0, b1, b2, b3]) as u8;
        match raw.event_type {
            sys::IBV_EVENT_PORT_ERR => Self::PortDown(port),
            sys::IBV_EVENT_PORT_ACTIVE => Self::PortUp(port),
            sys::IBV_EVENT_LID_CHANGE | sys::IBV_EVENT_GID_CHANGE => Self::AddressChanged(port),
            sys::IBV_EVENT_DEVICE_FATAL | sys::IBV_EVENT_CQ_ERR => Self::DeviceFatal,
            sys::IBV_EVENT_QP_FATAL | sys::IBV_EVENT_QP_REQ_ERR | sys::IBV_EVENT_QP_ACCESS_ERR => {
                Self::QueuePairFailed
            }
            other => Self::Other(other),
        }
    }

    /// Whether nothing passes any more on that port, and why.
    ///
    /// # Errors
    /// [`VerbsError::PortDown`]; [`VerbsError::DeviceFatal`].
    pub fn check(self, device: &str, port: u8) -> Result<(), VerbsError> {
        let device = || device.to_owned();
        match self {
            Self::PortDown(down) if down == port => {
                Err(VerbsError::PortDown { device: device(), port, state: PortState::Down.name() })
            }
            Self::DeviceFatal => Err(VerbsError::DeviceFatal { device: device() }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_those_that_are_printed_on_the_cards() {
        assert_eq!(mbit(2, 32), Some(100_000), "4 lanes of EDR");
        assert_eq!(mbit(2, 64), Some(200_000), "4 lanes of HDR");
        assert_eq!(mbit(2, 128), Some(400_000), "4 lanes of NDR");
        assert_eq!(mbit(16, 128), Some(200_000), "2 lanes of NDR");
        assert_eq!(mbit(3, 64), None);
        assert_eq!(mbit(2, 3), None);
    }

    #[test]
    fn only_the_fall_of_the_own_port_or_device_ends_its_traffic() {
        assert!(matches!(
            Event::PortDown(1).check("mlx5_0", 1),
            Err(VerbsError::PortDown { port: 1, .. })
        ));
        assert!(matches!(
            Event::DeviceFatal.check("mlx5_0", 1),
            Err(VerbsError::DeviceFatal { .. })
        ));
        for event in [Event::PortDown(2), Event::PortUp(1), Event::QueuePairFailed, Event::Other(4)]
        {
            assert!(event.check("mlx5_0", 1).is_ok(), "{event:?}");
        }
    }
}
