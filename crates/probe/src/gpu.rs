//! Owns what the driver of NVIDIA's GPUs tells, through NVML; and the same as files, in captured machines.

use std::ffi::OsStr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crosstie_topo::BusId;
use nvml_wrapper::enum_wrappers::nv_link::Capability;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml};

use crate::entry::Entry;
use crate::pci::{PciLink, real_lanes};
use crate::text;
use crate::tree::Tree;

/// GPUs, and how they became known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gpus {
    /// Those that the driver shows to this process, by its numbers.
    pub gpus: Vec<Gpu>,
    /// Those that it counts and cannot tell of.
    pub lost: Vec<Lost>,
    /// Who says so.
    pub source: Source,
}

/// A GPU that the driver counts and cannot tell of: it fell off its bus, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// NVML's number.
    pub index: u32,
    /// NVML's words.
    pub why: String,
}

/// Who tells of GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Nobody was asked.
    #[default]
    None,
    /// NVML.
    Nvml,
    /// NVML would not: its library is not there, or has no driver to talk to.
    Refused {
        /// Its words.
        why: String,
    },
    /// NVML was asked, and did not answer.
    Silent {
        /// So long.
        within: Duration,
    },
}

impl Source {
    /// Why nothing is known of GPUs, if nothing is.
    pub fn why_not(&self) -> Option<String> {
        match self {
            Self::None => Some("the driver was not asked".to_owned()),
            Self::Nvml => None,
            Self::Refused { why } => Some(why.clone()),
            Self::Silent { within } => {
                Some(format!("the NVIDIA driver did not answer within {within:.1?}"))
            }
        }
    }
}

/// A GPU as NVML shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// NVML's number.
    pub index: u32,
    /// Its address.
    pub bus_id: BusId,
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: Option<String>,
    /// Compute capability: major, minor.
    pub compute: Option<(u32, u32)>,
    /// The best PCIe link that it could have where it sits.
    pub most: PciLink,
    /// The PCIe link that it has. It slows down while idle.
    pub now: PciLink,
    /// Its NVLinks, those that are active and lead to other GPUs' memory.
    pub nvlinks: Vec<NvLink>,
    /// Chip-to-chip links to its processor.
    pub c2c: Option<C2c>,
}

/// An NVLink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvLink {
    /// Its number on the GPU.
    pub number: u32,
    /// What is at its far end; virtual machines may not show that.
    pub remote: Option<Remote>,
}

/// The far end of an NVLink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its address.
    pub bus_id: BusId,
    /// Its vendor and device.
    pub ids: Option<(u32, u32)>,
}

/// Chip-to-chip links to a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct C2c {
    /// How many.
    pub count: u32,
    /// MB/s of each.
    pub mb_per_s: u32,
}

/// NVML numbers at most so many NVLinks of a GPU (`NVML_NVLINK_MAX_LINKS`, twice: room for what comes).
const MOST_NVLINKS: u32 = 36;

impl Gpus {
    /// Asks NVML, whose library is loaded for that and let go again. A driver that does not answer within `limit` is
    /// left to itself, with the thread that asked it.
    pub fn of_this_host(limit: Duration) -> Self {
        Self::of_library("libnvidia-ml.so.1", limit)
    }

    /// The same of this library: a path, or a name that the loader looks for.
    pub fn of_library(library: impl AsRef<OsStr>, limit: Duration) -> Self {
        let library = library.as_ref().to_owned();
        let (answer, answers) = channel();
        let ask = move || {
            // Who asked may be gone.
            let _ = answer.send(Self::ask(&library));
        };
        let refused = |why| Self { source: Source::Refused { why }, ..Self::default() };
        if let Err(error) = thread::Builder::new().name("nvml".to_owned()).spawn(ask) {
            return refused(format!("NVML cannot be asked: {error}"));
        }
        answers.recv_timeout(limit).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => {
                Self { source: Source::Silent { within: limit }, ..Self::default() }
            }
            RecvTimeoutError::Disconnected => refused("NVML gave no answer".to_owned()),
        })
    }

    fn ask(library: &OsStr) -> Self {
        match Nvml::builder().lib_path(library).init().and_then(|nvml| read(&nvml)) {
            Ok((gpus, lost)) => Self { gpus, lost, source: Source::Nvml },
            Err(error) => {
                let why = match error {
                    NvmlError::LibloadingError(_) => {
                        format!("{} is not there, or cannot be loaded", library.display())
                    }
                    error => format!("NVML says: {error}"),
                };
                Self { source: Source::Refused { why }, ..Self::default() }
            }
        }
    }
}

/// One that fell off its bus does not hide the others.
fn read(nvml: &Nvml) -> Result<(Vec<Gpu>, Vec<Lost>), NvmlError> {
    let (mut gpus, mut lost) = (Vec::new(), Vec::new());
    for index in 0..nvml.device_count()?.min(MOST_GPUS) {
        match nvml.device_by_index(index).and_then(|device| gpu(index, &device)) {
            Ok(gpu) => gpus.push(gpu),
            Err(error) => lost.push(Lost { index, why: error.to_string() }),
        }
    }
    Ok((gpus, lost))
}

/// More than any host has.
const MOST_GPUS: u32 = 1024;

fn gpu(index: u32, device: &Device<'_>) -> Result<Gpu, NvmlError> {
    let address = device.pci_info()?.bus_id;
    let compute = device.cuda_compute_capability().ok();
    let part = |value: i32| u32::try_from(value).ok().filter(|part| *part < 100);
    let link = |generation: Result<u32, NvmlError>, lanes: Result<u32, NvmlError>| PciLink {
        mega_transfers: generation.ok().and_then(mega_transfers),
        lanes: lanes.ok().and_then(real_lanes),
    };
    Ok(Gpu {
        index,
        bus_id: address.parse().map_err(|_| NvmlError::UnexpectedVariant(index))?,
        name: device.name().ok(),
        compute: compute.and_then(|told| Some((part(told.major)?, part(told.minor)?))),
        most: link(device.max_pcie_link_gen(), device.max_pcie_link_width()),
        now: link(device.current_pcie_link_gen(), device.current_pcie_link_width()),
        nvlinks: (0..MOST_NVLINKS).filter_map(|number| nvlink(device, number)).collect(),
        c2c: c2c(device),
    })
}

/// A lane's rate in MT/s, of a generation of PCIe.
fn mega_transfers(generation: u32) -> Option<u32> {
    let rates = [2_500, 5_000, 8_000, 16_000, 32_000, 64_000];
    rates.get(usize::try_from(generation.checked_sub(1)?).ok()?).copied()
}

/// What the far end is, the crate's `remote_device_type` cannot tell (0.13 answers `Unknown` always, for it
/// reads what it passed, not what came back): [`crate::assemble`] goes by its address.
fn nvlink(device: &Device<'_>, number: u32) -> Option<NvLink> {
    let link = device.link_wrapper_for(number);
    let yes = |told: Result<bool, NvmlError>| told.unwrap_or(false);
    let usable = yes(link.is_active()) && yes(link.has_capability(Capability::P2p));
    let remote = || {
        let told = link.remote_pci_info().ok()?;
        let (vendor, device) = (told.pci_device_id & 0xffff, told.pci_device_id >> 16);
        let ids = (vendor != 0).then_some((vendor, device));
        Some(Remote { bus_id: told.bus_id.parse().ok()?, ids })
    };
    usable.then(|| NvLink { number, remote: remote() })
}

fn c2c(device: &Device<'_>) -> Option<C2c> {
    let count = FieldId(field_id::NVML_FI_DEV_C2C_LINK_COUNT);
    // Of the first link: all of a GPU are alike.
    let rate = FieldId(field_id::NVML_FI_DEV_C2C_LINK_GET_MAX_BW);
    let values = device.field_values_for(&[count, rate]).ok()?;
    let value = |at: usize| match values.get(at)?.as_ref().ok()?.value.as_ref().ok()? {
        SampleValue::U32(value) => Some(*value),
        SampleValue::U64(value) => u32::try_from(*value).ok(),
        _ => None,
    };
    let c2c = C2c { count: value(0)?, mb_per_s: value(1)? };
    ((1..1000).contains(&c2c.count) && c2c.mb_per_s > 0).then_some(c2c)
}

/// Where a captured machine has what NVML said: not the kernel's, so beside `sys` and `proc`.
const FILES: &str = "nvml";

impl Gpus {
    /// What a captured machine's driver said: a directory `nvml/gpuN` for each GPU, with the files
    /// `bus_id`, `name`, `compute` (`9.0`), `most` and `now` (`32.0 GT/s x16`), `nvlinks` (a line each: its
    /// number, address of the far end, `10de:22a3`) and `c2c` (`10 40000`: so many of so many MB/s), or of one that the
    /// driver could not tell of `lost`, with its words; or the file `nvml/refused`, with the reason.
    pub fn in_tree(tree: &Tree) -> Self {
        if let Some(why) = tree.word(&format!("{FILES}/refused")) {
            return Self { source: Source::Refused { why }, ..Self::default() };
        }
        let names = tree.names(FILES);
        let numbers = names.iter().filter_map(|name| text::number(name.strip_prefix("gpu")?));
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        let why =
            |index| Some(Lost { index, why: tree.word(&format!("{FILES}/gpu{index}/lost"))? });
        let lost: Vec<Lost> = numbers.iter().filter_map(|&index| why(index)).collect();
        let gpus: Vec<Gpu> = numbers.iter().filter_map(|&number| captured(tree, number)).collect();
        let untold = gpus.is_empty() && lost.is_empty();
        let source = if untold { Source::None } else { Source::Nvml };
        Self { gpus, lost, source }
    }

    /// The same as entries of a captured machine.
    pub(crate) fn entries(&self) -> Vec<(String, Entry)> {
        if let (Source::Refused { .. } | Source::Silent { .. }, Some(why)) =
            (&self.source, self.source.why_not())
        {
            return vec![(format!("{FILES}/refused"), Entry::Text(why))];
        }
        let lost = self.lost.iter().map(|Lost { index, why }| {
            (format!("{FILES}/gpu{index}/lost"), Entry::Text(why.clone()))
        });
        self.gpus.iter().flat_map(entries).chain(lost).collect()
    }
}

fn captured(tree: &Tree, index: u32) -> Option<Gpu> {
    let word = |file: &str| tree.word(&format!("{FILES}/gpu{index}/{file}"));
    let compute = word("compute").and_then(|told| {
        let (major, minor) = told.split_once('.')?;
        let part = |text| text::number(text).filter(|part| *part < 100);
        Some((part(major)?, part(minor)?))
    });
    let nvlinks = word("nvlinks").unwrap_or_default();
    let c2c = word("c2c").and_then(|told| {
        let (count, rate) = told.split_once(' ')?;
        let count = text::number(count).filter(|count| *count < 1000)?;
        Some(C2c { count, mb_per_s: text::number(rate)? })
    });
    Some(Gpu {
        index,
        bus_id: word("bus_id")?.parse().ok()?,
        name: word("name"),
        compute,
        most: pcie(word("most")),
        now: pcie(word("now")),
        nvlinks: nvlinks.lines().take(MOST_NVLINKS as usize).filter_map(captured_link).collect(),
        c2c,
    })
}

fn pcie(told: Option<String>) -> PciLink {
    let told = told.unwrap_or_default();
    let lanes = told.rsplit_once('x').and_then(|(_, lanes)| text::number(lanes));
    PciLink { mega_transfers: text::thousandths(&told), lanes: lanes.and_then(real_lanes) }
}

fn captured_link(line: &str) -> Option<NvLink> {
    let mut words = line.split_whitespace();
    let number = words.next().and_then(text::number)?;
    let bus_id: Option<BusId> = words.next().and_then(|word| word.parse().ok());
    let ids = words.next().and_then(|word| {
        let (vendor, device) = word.split_once(':')?;
        let part = |text| u32::try_from(text::hexadecimal(text)?).ok();
        Some((part(vendor)?, part(device)?))
    });
    Some(NvLink { number, remote: bus_id.map(|bus_id| Remote { bus_id, ids }) })
}

fn entries(gpu: &Gpu) -> Vec<(String, Entry)> {
    let link = |link: PciLink| {
        let rate = link.mega_transfers.map_or_else(|| "unknown".to_owned(), rate);
        format!("{rate} x{}", link.lanes.unwrap_or(0))
    };
    let nvlink = |link: &NvLink| {
        let number = link.number.to_string();
        link.remote.map_or(number, |remote| {
            let ids = remote.ids.map(|(vendor, device)| format!(" {vendor:04x}:{device:04x}"));
            format!("{} {}{}", link.number, remote.bus_id, ids.unwrap_or_default())
        })
    };
    let nvlinks: Vec<String> = gpu.nvlinks.iter().map(nvlink).collect();
    let told = [
        ("bus_id", Some(gpu.bus_id.to_string())),
        ("name", gpu.name.clone()),
        ("compute", gpu.compute.map(|(major, minor)| format!("{major}.{minor}"))),
        ("most", Some(link(gpu.most))),
        ("now", Some(link(gpu.now))),
        ("nvlinks", (!nvlinks.is_empty()).then(|| nvlinks.join("\n"))),
        ("c2c", gpu.c2c.map(|c2c| format!("{} {}", c2c.count, c2c.mb_per_s))),
    ];
    let place = |file: &str| format!("{FILES}/gpu{}/{file}", gpu.index);
    told.into_iter().filter_map(|(file, text)| Some((place(file), Entry::Text(text?)))).collect()
}

/// A rate as the kernel writes it.
pub(crate) fn rate(mega_transfers: u32) -> String {
    format!("{}.{} GT/s", mega_transfers / 1000, mega_transfers / 100 % 10)
}
