//! Owns machines that have lost devices: what stays, on the rails and with the numbers that it had.

use crosstie_planner::explain::numbers;
use crosstie_planner::search::device;
use crosstie_topo::xml::{Element, Item};
use crosstie_topo::{Rails, Topology, VertexId};

use crate::args::{Loss, Part};
use crate::exit::Failure;

/// Refuses to lose what is not there.
pub fn check(topology: &Topology, losses: &[Loss], nodes: u32) -> Result<(), Failure> {
    for loss in losses {
        let (all, what) = match loss.part {
            Part::Nic => (topology.ports(), "NIC"),
            Part::Gpu => (topology.gpus(), "GPU"),
        };
        let mut there: Vec<u32> = all.iter().filter_map(|&it| device(topology, it)).collect();
        there.sort_unstable();
        if !there.contains(&loss.number) {
            let told = format!("--lost {loss}: the machine has no {what} {}", loss.number);
            let remedy = match there.is_empty() {
                true => "it has none".to_owned(),
                false => format!("it has {}", numbers(&there)),
            };
            return Err(Failure::usage(told, remedy));
        }
        if loss.node.is_some_and(|node| node >= nodes) {
            let told = format!("--lost {loss}: there is no such node among {nodes}");
            return Err(Failure::usage(
                told,
                "nodes count from 0: --nodes says how many there are",
            ));
        }
        if topology.hosts().len() > 1 && loss.part == Part::Nic {
            let told =
                format!("--lost {loss}: {} hosts count their NICs each", topology.hosts().len());
            return Err(Failure::usage(told, "give the file of one host, or --lost gpuN"));
        }
    }
    Ok(())
}

/// The machine without these NICs; the others stay on their rails.
pub fn without_nics(topology: &Topology, lost: &[u32]) -> Result<Topology, Failure> {
    let rails = Rails::of(topology);
    let rail = |dev: u32| {
        let is = |&&port: &&VertexId| topology.port(port).is_some_and(|port| port.dev == dev);
        rails.rail_of(*topology.ports().iter().find(is)?)
    };
    let mut document = topology.document().clone();
    strip(&mut document.root, lost, &rail);
    let left = Topology::from_document(document).map_err(|error| {
        Failure::usage(
            format!("without what is lost the machine makes no topology: {error}"),
            "lose less",
        )
    })?;
    if left.ports().len() + lost.len() != topology.ports().len() {
        return Err(Failure::usage(
            format!("--lost: the file gives no <net> to one of NICs {}", numbers(lost)),
            "describe the <nic> and <net> of its <pci>, as `crosstie topo FILE --format xml` shows others",
        ));
    }
    Ok(left)
}

/// Takes these NICs out, with cards that have no other port, and their places on PCI; says whether the element itself
/// goes.
fn strip(element: &mut Element, lost: &[u32], rail: &dyn Fn(u32) -> Option<u32>) -> bool {
    if element.name == "net" {
        let dev = element.attribute("dev").and_then(|dev| dev.trim().parse().ok());
        if let Some(rail) = dev.and_then(rail) {
            element.set("rail", rail.to_string());
        }
        return dev.is_some_and(|dev| lost.contains(&dev));
    }
    let mut lacks = false;
    element.items.retain_mut(|item| {
        let goes = match item {
            Item::Element(inner) => strip(inner, lost, rail),
            _ => false,
        };
        lacks |= goes;
        !goes
    });
    lacks && matches!(&*element.name, "nic" | "pci") && element.elements().next().is_none()
}
