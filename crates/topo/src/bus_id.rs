//! Owns PCI addresses: `domain:bus:device.function`, in hexadecimal.

use core::fmt;
use core::str::FromStr;

/// Where a device sits on PCI. Shown as `0000:1b:00.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusId {
    /// Domain, or segment; of virtual machines it may be longer than 16 bits.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, or slot.
    pub device: u8,
    /// Function, 0 to 15.
    pub function: u8,
}

/// A text that is no PCI address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PCI address: write domain:bus:device.function in hexadecimal, such as 0000:1b:00.0")]
pub struct NotABusId;

impl BusId {
    /// The address of the device: all its functions have the same.
    pub fn card(self) -> Self {
        Self { function: 0, ..self }
    }
}

impl FromStr for BusId {
    type Err = NotABusId;

    /// Reads the long form, and the one without a domain (`1b:00.0`), in either case.
    fn from_str(text: &str) -> Result<Self, NotABusId> {
        let (place, function) = text.split_once('.').ok_or(NotABusId)?;
        let mut parts = place.rsplitn(3, ':');
        let device = hex(parts.next(), 2)?;
        let bus = hex(parts.next(), 2)?;
        let domain = parts.next().map_or(Ok(0), |domain| hex(Some(domain), 8))?;
        let function = hex(Some(function), 1)?;
        Ok(Self { domain, bus: bus as u8, device: device as u8, function: function as u8 })
    }
}

fn hex(part: Option<&str>, digits: usize) -> Result<u32, NotABusId> {
    let part = part.ok_or(NotABusId)?;
    let good = (1..=digits).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| u32::from_str_radix(part, 16).ok()).flatten().ok_or(NotABusId)
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        f.pad(&alloc::format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn addresses_read_back() {
        for text in ["0000:1b:00.0", "ffff:ff:01.0", "10000:e1:1f.7"] {
            assert_eq!(text.parse::<BusId>().unwrap().to_string(), text);
        }
        assert_eq!("1B:00.1".parse::<BusId>().unwrap().to_string(), "0000:1b:00.1");
        for text in [
            "",
            "fffffff:ffff:ff",
            "0000:1b:00",
            "0000:1b:00.",
            "0:-1:00.0",
            "0:0:0:0.0",
            "+1:00.0",
        ] {
            assert!(text.parse::<BusId>().is_err(), "{text}");
        }
    }
}
