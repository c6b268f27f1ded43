//! Owns what links carry: PCIe by generation and width, NVLink by compute capability, xGMI by
//! architecture, the links between sockets by processor.
//!
//! Unless said otherwise a figure is the one that NCCL 2.30 plans with (`src/graph/topo.h`): what the
//! link was measured to carry one way, not its signalling rate. RCCL's are those of its `topo.h`.

use crate::model::{Arch, Cpu, GpuModel};
use crate::unit::Bandwidth;

/// Inside one device: 5 TB/s.
pub const LOCAL: Bandwidth = Bandwidth::mb_per_s(5_000_000);

/// The speed that a port is taken to have which does not say: 10 Gb/s.
pub const UNKNOWN_PORT_MBIT: u64 = 10_000;

/// What `lanes` of PCIe carry at so many MT/s a lane; `None` of a rate that no generation has.
/// NCCL reckons with 75 % of the signalling rate: 12 GB/s for 16 lanes at 8 GT/s.
pub fn pcie(mega_transfers: u32, lanes: u32) -> Option<Bandwidth> {
    let lane = match mega_transfers {
        2_500 => 187_500_000,
        5_000 => 375_000_000,
        8_000 => 750_000_000,
        16_000 => 1_500_000_000,
        32_000 => 3_000_000_000,
        64_000 => 6_000_000_000,
        _ => return None,
    };
    Some(Bandwidth::bytes_per_s(lane) * lanes)
}

/// The rate that NCCL takes where none is told: 8 GT/s, the third generation.
pub const UNKNOWN_PCIE_MT: u32 = 8_000;

/// The width that NCCL takes where none is told.
pub const UNKNOWN_PCIE_LANES: u32 = 16;

/// What one NVLink or xGMI link of such a GPU carries.
pub fn gpu_link(model: &GpuModel) -> Bandwidth {
    Bandwidth::mb_per_s(match model {
        GpuModel::Nvidia { sm } => match sm {
            100.. => 40_100,
            90..=99 => 20_600,
            86 => 12_000,
            70..=89 => 20_000,
            60..=69 => 18_000,
            _ => 20_000,
        },
        // `gfx90a:sramecc+:xnack-` is how the runtime calls it.
        GpuModel::Amd { gcn } => {
            match gcn.trim_start_matches("gfx").split(':').next().unwrap_or("") {
                "90a" | "910" => 36_000,
                gcn if gcn.starts_with("94") || gcn.starts_with("95") => 48_000,
                _ => 24_000,
            }
        }
        GpuModel::Unknown => 20_000,
    })
}

/// What passes between two sockets, or NUMA nodes, of such a processor.
pub fn between_sockets(cpu: &Cpu) -> Bandwidth {
    let vendor = cpu.vendor.as_deref().unwrap_or_default();
    Bandwidth::mb_per_s(match (cpu.arch, vendor) {
        (Arch::Power, _) => 32_000,
        (Arch::Arm, _) => 6_000,
        (Arch::X86, "GenuineIntel") => intel(cpu.family, cpu.model),
        (Arch::X86, "AuthenticAMD") => 16_000,
        (Arch::X86, vendor) if is_zhaoxin(vendor) => match (cpu.family, cpu.model) {
            (Some(7), Some(0x5b)) => 9_000,
            _ => 6_000,
        },
        _ => return LOCAL,
    })
}

fn is_zhaoxin(vendor: &str) -> bool {
    matches!(vendor.trim(), "CentaurHauls" | "Shanghai")
}

/// Broadwell and older, Skylake, Sapphire Rapids, Emerald Rapids and newer; Granite Rapids and Sierra
/// Forest have lower numbers than the latter.
fn intel(family: Option<u32>, model: Option<u32>) -> u64 {
    match (family, model.unwrap_or(0)) {
        (Some(6), 0xad..=0xaf | 0xcf..) => 40_000,
        (Some(6), 0x8f..) => 22_000,
        (Some(6), 0x55..) => 10_000,
        _ => 6_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn cpu(arch: Arch, vendor: &str, family: u32, model: u32) -> Cpu {
        let (family, model) = (Some(family), Some(model));
        Cpu { numa: Some(0), arch, vendor: Some(vendor.to_string()), family, model, affinity: None }
    }

    #[test]
    fn sixteen_lanes_double_with_each_generation_from_the_third() {
        let gb = [8_000, 16_000, 32_000, 64_000].map(|rate| pcie(rate, 16).unwrap().to_string());
        assert_eq!(gb, ["12 GB/s", "24 GB/s", "48 GB/s", "96 GB/s"]);
        assert_eq!(pcie(2_500, 1).unwrap(), Bandwidth::bytes_per_s(187_500_000));
        assert_eq!(pcie(9_000, 1), None);
    }

    #[test]
    fn sockets_are_told_by_vendor_family_and_model() {
        let rate = |vendor, family, model| {
            between_sockets(&cpu(Arch::X86, vendor, family, model)).as_bytes_per_s() / 1_000_000_000
        };
        let intel =
            [0x4f, 0x55, 0x6a, 0x8f, 0xcf, 0xad].map(|model| rate("GenuineIntel", 6, model));
        assert_eq!(intel, [6, 10, 10, 22, 40, 40]);
        let amd = [23, 0x8f, 25, 175, 26, 0xbf].map(|family| rate("AuthenticAMD", family, 1));
        assert_eq!(amd, [16; 6]);
        assert_eq!([rate("CentaurHauls", 7, 0x5b), rate("  Shanghai  ", 6, 0)], [9, 6]);
        assert_eq!(between_sockets(&cpu(Arch::Arm, "", 0, 0)), Bandwidth::mb_per_s(6_000));
    }

    #[test]
    fn gpu_links_are_told_by_generation() {
        let nvidia = |sm| gpu_link(&GpuModel::Nvidia { sm }).as_bytes_per_s() / 1_000_000;
        assert_eq!(
            [60, 70, 80, 86, 89, 90, 100, 120].map(nvidia),
            [18_000, 20_000, 20_000, 12_000, 20_000, 20_600, 40_100, 40_100]
        );
        let amd =
            |gcn: &str| gpu_link(&GpuModel::Amd { gcn: gcn.into() }).as_bytes_per_s() / 1_000_000;
        assert_eq!(
            ["906", "908", "910", "gfx90a", "gfx942", "gfx950"].map(amd),
            [24_000, 24_000, 36_000, 36_000, 48_000, 48_000]
        );
    }
}
