//! Owns the units of this crate: bandwidth in bytes a second, and how people read it.

use core::fmt;
use core::ops::Mul;

use serde::Serialize;

/// Bytes a second in one direction, as 10⁹ bytes to the GB: the integer that plans are costed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// No limit that anybody could meet.
    pub const MAX: Self = Self(u64::MAX);

    /// So many bytes a second.
    pub const fn bytes_per_s(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 10⁶ bytes a second.
    pub const fn mb_per_s(megabytes: u64) -> Self {
        Self(megabytes.saturating_mul(1_000_000))
    }

    /// What a link of so many 10⁶ bits a second carries.
    pub const fn mbit_per_s(megabits: u64) -> Self {
        Self(megabits.saturating_mul(125_000))
    }

    /// As bytes a second.
    pub const fn as_bytes_per_s(self) -> u64 {
        self.0
    }

    /// The sum, which stays at [`Self::MAX`].
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u32> for Bandwidth {
    type Output = Self;

    fn mul(self, times: u32) -> Self {
        Self(self.0.saturating_mul(times.into()))
    }
}

/// As `20.6 GB/s`: at most two decimals, none that are zero.
impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0 / 10_000_000 + u64::from(self.0 % 10_000_000 >= 5_000_000);
        let (whole, rest) = (hundredths / 100, hundredths % 100);
        let mut text = alloc::format!("{whole}");
        match (rest / 10, rest % 10) {
            (0, 0) => {}
            (tenths, 0) => text.push_str(&alloc::format!(".{tenths}")),
            (tenths, rest) => text.push_str(&alloc::format!(".{tenths}{rest}")),
        }
        text.push_str(" GB/s");
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn bandwidths_read_as_people_write_them() {
        let shown = |mb| Bandwidth::mb_per_s(mb).to_string();
        assert_eq!(
            [shown(12_000), shown(20_600), shown(188)],
            ["12 GB/s", "20.6 GB/s", "0.19 GB/s"]
        );
        assert_eq!(Bandwidth::mbit_per_s(400_000).to_string(), "50 GB/s");
        assert_eq!(shown(1050), "1.05 GB/s");
    }
}
