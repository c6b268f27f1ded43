//! Owns what PCI ids tell: kinds by class, and, of devices found in clusters, what they can do.
//!
//! Ids are those of the public PCI id repository; speeds and capabilities those of the vendors' data
//! sheets.

/// What a device is, by its PCI class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A bridge, one port of a switch; also ConnectX-8's "data direct" function (0x0801).
    Bridge,
    /// A GPU: display controllers, AMD's accelerators (0x0380, 0x1200).
    Gpu,
    /// A network card, Ethernet or InfiniBand.
    Nic,
    /// An NVSwitch.
    NvSwitch,
    /// A processor's NVLink port (IBM POWER9).
    Processor,
    /// Anything else.
    Other,
}

/// The kind of a class, 24 bits as `0x030200`.
pub fn class(class: u32) -> Class {
    match (class >> 16, class >> 8, class) {
        (_, 0x0604, _) | (_, 0x0801, _) => Class::Bridge,
        (_, _, 0x06_8001) => Class::Processor,
        (_, 0x0680, _) => Class::NvSwitch,
        (0x03 | 0x12, _, _) => Class::Gpu,
        (0x02, _, _) => Class::Nic,
        _ => Class::Other,
    }
}

/// What is known of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Of an NVIDIA GPU: compute capability, times 10.
    pub sm: Option<u32>,
    /// Of an AMD GPU: its architecture.
    pub gcn: Option<&'static str>,
    /// Of a NIC: the rate of its port in Mb/s, where the id tells one.
    pub mbit: Option<u64>,
    /// Its best PCIe rate, MT/s a lane.
    pub mega_transfers: u32,
}

const GEN3: u32 = 8_000;
const GEN4: u32 = 16_000;
const GEN5: u32 = 32_000;
const GEN6: u32 = 64_000;

const fn nvidia(name: &'static str, sm: u32, mega_transfers: u32) -> Known {
    Known { name, sm: Some(sm), gcn: None, mbit: None, mega_transfers }
}

const fn amd(name: &'static str, gcn: &'static str, mega_transfers: u32) -> Known {
    Known { name, sm: None, gcn: Some(gcn), mbit: None, mega_transfers }
}

const fn nic(name: &'static str, mbit: Option<u64>, mega_transfers: u32) -> Known {
    Known { name, sm: None, gcn: None, mbit, mega_transfers }
}

/// What is known of the device with these ids.
pub fn known(vendor: u32, device: u32) -> Option<Known> {
    Some(match (vendor, device) {
        (0x10de, 0x1db0..=0x1dbf | 0x1df0..=0x1df6) => nvidia("V100", 70, GEN3),
        (0x10de, 0x1eb8) => nvidia("T4", 75, GEN3),
        (0x10de, 0x20b0..=0x20bf | 0x20f0..=0x20f6) => nvidia("A100", 80, GEN4),
        (0x10de, 0x2235) => nvidia("A40", 86, GEN4),
        (0x10de, 0x2236 | 0x2237) => nvidia("A10", 86, GEN4),
        (0x10de, 0x26b5..=0x26ba) => nvidia("L40", 89, GEN4),
        (0x10de, 0x27b8) => nvidia("L4", 89, GEN4),
        (0x10de, 0x2335) => nvidia("H200", 90, GEN5),
        (0x10de, 0x2302..=0x233f) => nvidia("H100", 90, GEN5),
        (0x10de, 0x2342..=0x2348) => nvidia("GH200", 90, GEN5),
        (0x10de, 0x2900..=0x293f) => nvidia("B200", 100, GEN6),
        (0x10de, 0x2940..=0x297f) => nvidia("GB200", 100, GEN6),
        (0x1002, 0x738c | 0x738e) => amd("MI100", "gfx908", GEN4),
        (0x1002, 0x7408 | 0x740c | 0x740f | 0x7410) => amd("MI200", "gfx90a", GEN4),
        (0x1002, 0x74a0..=0x74bf) => amd("MI300", "gfx942", GEN5),
        (0x1002, 0x75a0..=0x75bf) => amd("MI350", "gfx950", GEN5),
        (0x15b3, 0x1013 | 0x1014) => nic("ConnectX-4", Some(100_000), GEN3),
        (0x15b3, 0x1017 | 0x1018) => nic("ConnectX-5", Some(100_000), GEN3),
        (0x15b3, 0x1019 | 0x101a) => nic("ConnectX-5 Ex", Some(100_000), GEN4),
        (0x15b3, 0x101b | 0x101c) => nic("ConnectX-6", Some(200_000), GEN4),
        (0x15b3, 0x101d) => nic("ConnectX-6 Dx", None, GEN4),
        (0x15b3, 0x1021) => nic("ConnectX-7", Some(400_000), GEN5),
        (0x15b3, 0x1023) => nic("ConnectX-8", Some(800_000), GEN6),
        (0x15b3, 0xa2d6) => nic("BlueField-2", None, GEN4),
        (0x15b3, 0xa2dc) => nic("BlueField-3", Some(400_000), GEN5),
        (0x1d0f, 0xefa0) => nic("EFA", Some(100_000), GEN3),
        (0x1d0f, 0xefa1 | 0xefa2) => nic("EFA", Some(100_000), GEN5),
        (0x1d0f, 0xefa3) => nic("EFA", Some(200_000), GEN5),
        (0x14e4, 0x1750) => nic("BCM57508", Some(200_000), GEN4),
        (0x14e4, 0x1760) => nic("BCM57608", Some(400_000), GEN5),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_tell_kinds_as_nccl_and_rccl_read_them() {
        let kinds = [
            0x060400, 0x080100, 0x068000, 0x068001, 0x030200, 0x038000, 0x120000, 0x020700,
            0x010802,
        ];
        assert_eq!(
            kinds.map(class),
            [
                Class::Bridge,
                Class::Bridge,
                Class::NvSwitch,
                Class::Processor,
                Class::Gpu,
                Class::Gpu,
                Class::Gpu,
                Class::Nic,
                Class::Other
            ]
        );
    }

    #[test]
    fn devices_of_vendors_files_are_known() {
        assert_eq!(known(0x10de, 0x20b0).unwrap().sm, Some(80));
        assert_eq!(known(0x1d0f, 0xefa0).unwrap().mbit, Some(100_000));
        assert_eq!(known(0x1002, 0x740c).unwrap().gcn, Some("gfx90a"));
        assert_eq!(known(0xffff, 0xffff), None);
    }
}
