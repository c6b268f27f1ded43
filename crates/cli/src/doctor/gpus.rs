//! Owns the checks of GPUs: the driver's library, the driver, lost GPUs, and the way from NICs to their memory.

use crosstie_probe::Source;

use super::finding::{Finding, Group};
use super::state::State;

/// NVIDIA.
const NVIDIA: u32 = 0x10de;

pub fn check(state: &State, found: &mut Vec<Finding>) {
    found.push(driver(state));
    for lost in &state.facts.gpus.lost {
        found.push(
            add("lost GPU", format!("GPU {}: {}", lost.index, lost.why))
                .wanted("a GPU that answers")
                .warning("`dmesg | grep -i xid` tells why it fell off; reset it (`nvidia-smi --gpu-reset`), or start the host again"),
        );
    }
    found.extend(direct(state));
}

fn add(check: &'static str, found: impl Into<String>) -> Finding {
    Finding::good(Group::Gpus, check, found)
}

/// GPUs that PCI shows, whatever the driver says.
fn on_pci(state: &State) -> usize {
    let is_gpu = |class: Option<u32>| class.is_some_and(|class| class >> 16 == 0x03);
    let pci = state.facts.pci.iter();
    pci.filter(|it| it.ids[0] == Some(NVIDIA) && is_gpu(it.class)).count()
}

fn driver(state: &State) -> Finding {
    let gpus = &state.facts.gpus;
    let there = on_pci(state);
    let why = match &gpus.source {
        Source::Nvml if gpus.gpus.is_empty() && there == 0 => {
            return add("driver", "NVML answers, and there is no GPU: ranks use the host's memory");
        }
        Source::Nvml if !gpus.gpus.is_empty() => {
            return add("driver", format!("GPUs that NVML shows: {}", gpus.gpus.len()));
        }
        Source::Nvml => "NVML answers, and shows none".to_owned(),
        source => source.why_not().unwrap_or_default(),
    };
    if there == 0 && state.nvidia.version.is_none() {
        return add("driver", format!("no GPU ({why}): ranks use the host's memory"));
    }
    let finding =
        add("driver", format!("GPUs on PCI: {there}, and {why}")).wanted("NVML shows each");
    finding.warning(match () {
        () if why.contains("mismatch") => "library and kernel module are of different releases: start the host again, or `modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia && modprobe nvidia`; in a container, the host's driver and the library that it mounts",
        () if state.nvidia.version.is_none() => "load the driver: `modprobe nvidia`, or install it (Debian: `apt-get install nvidia-driver`)",
        () if matches!(gpus.source, Source::Silent { .. }) => "`nvidia-smi -pm 1` keeps the driver loaded; `dmesg | grep -i nvrm` tells what it waits for",
        () if matches!(gpus.source, Source::Nvml) => "give the container its GPUs (`--gpus all`), or unset CUDA_VISIBLE_DEVICES",
        () => "install the driver's library (Debian: `apt-get install libnvidia-ml1`); for a container, the NVIDIA container toolkit and `--gpus all`",
    })
}

/// How NICs would reach the memory of GPUs, where there are both.
fn direct(state: &State) -> Option<Finding> {
    let devices = state.facts.rdma.iter().flatten().count();
    if devices == 0 || state.facts.gpus.gpus.is_empty() {
        return None;
    }
    let open = state.nvidia.version.as_ref().is_some_and(|it| it.contains("Open Kernel Module"));
    Some(match (open, state.nvidia.peermem) {
        (true, _) => add("GPUDirect", "open kernel modules: NICs reach GPUs' memory by dma-buf"),
        (false, true) => add("GPUDirect", "nvidia_peermem is loaded: NICs reach GPUs' memory"),
        (false, false) => {
            add("GPUDirect", "neither nvidia_peermem nor open kernel modules (dma-buf)")
                .wanted("one of them, for NICs to reach GPUs' memory")
                .warning("`modprobe nvidia_peermem`, or install the driver's open kernel modules")
        }
    })
}
