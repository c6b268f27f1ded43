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
    Topology::from_document(document).map_err(|error| {
        Failure::usage(
            format!("without what is lost the machine makes no topology: {error}"),
            "lose less",
        )
    })
}

fn strip(element: &mut Element, lost: &[u32], rail: &dyn Fn(u32) -> Option<u32>) {
    let dev = |element: &Element| -> Option<u32> {
        (element.name == "net").then(|| element.attribute("dev")?.trim().parse().ok())?
    };
    element.items.retain(|item| match item {
        Item::Element(inner) => dev(inner).is_none_or(|dev| !lost.contains(&dev)),
        _ => true,
    });
    for inner in element.elements_mut() {
        if let Some(rail) = dev(inner).and_then(rail) {
            inner.set("rail", rail.to_string());
        }
        strip(inner, lost, rail);
    }
}
