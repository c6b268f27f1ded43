//! Owns what tells processors and GPUs apart: makers, architectures, generations.

use alloc::string::String;

use serde::Serialize;

/// A processor's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86_64.
    X86,
    /// arm64.
    Arm,
    /// ppc64.
    Power,
    /// Another, or none was told.
    Other,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    /// Its number; `None` where the description says −1.
    pub numa: Option<u32>,
    /// Architecture.
    pub arch: Arch,
    /// CPUID's vendor, such as `GenuineIntel`.
    pub vendor: Option<String>,
    /// CPUID's family.
    pub family: Option<u32>,
    /// CPUID's model.
    pub model: Option<u32>,
    /// Its cores, as a mask of hexadecimal words with commas, highest first.
    pub affinity: Option<String>,
}

/// Who made a GPU, and which generation it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuModel {
    /// NVIDIA's, by compute capability times 10.
    Nvidia {
        /// Such as 90.
        sm: u32,
    },
    /// AMD's.
    Amd {
        /// Its architecture, such as `gfx942`, or `908` in older files.
        gcn: String,
    },
    /// Not told.
    Unknown,
}
