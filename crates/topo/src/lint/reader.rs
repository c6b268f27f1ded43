//! Owns the rule about the file itself: what NCCL's own reader would refuse of it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::quote;
use crate::graph::Topology;
use crate::lint::{Finding, Rule, Severity};
use crate::xml::{Element, title};

/// The longest value, in bytes.
const LONGEST: usize = 255;
/// The most attributes of an element.
const MOST_ATTRIBUTES: usize = 16;
/// The most elements directly inside one.
const MOST_INSIDE: usize = 640;
/// Elements that have a finding each.
const MOST_TOLD: usize = 8;

pub fn check(topology: &Topology, found: &mut Vec<Finding>) {
    let mut open = Vec::from([&topology.document().root]);
    let mut beyond = Vec::new();
    while let Some(element) = open.pop() {
        beyond.extend(refused(element).map(|what| (element.at, what)));
        open.extend(element.elements());
    }
    beyond.sort();
    let left_out = beyond.len().saturating_sub(MOST_TOLD);
    for (place, (at, mut evidence)) in beyond.into_iter().take(MOST_TOLD).enumerate() {
        if left_out > 0 && place + 1 == MOST_TOLD {
            evidence += &format!(", and so it is with {left_out} elements more");
        }
        found.push(Finding {
            severity: Severity::Warning,
            rule: Rule::BeyondNccl,
            about: Vec::new(),
            evidence,
            remedy: "NCCL would not read this file; shorten or remove what no program reads".into(),
            at,
        });
    }
}

fn refused(element: &Element) -> Option<String> {
    let title = title(element);
    let long = element.attributes.iter().find(|attribute| attribute.value.len() > LONGEST);
    let inside = element.elements().count();
    if let Some(long) = long {
        let (name, bytes) = (quote(&long.name), long.value.len());
        Some(format!("{name} of {title} has {bytes} bytes; NCCL reads {LONGEST}"))
    } else if element.attributes.len() > MOST_ATTRIBUTES {
        let count = element.attributes.len();
        Some(format!("{title} has {count} attributes; NCCL reads {MOST_ATTRIBUTES}"))
    } else if inside > MOST_INSIDE {
        Some(format!("{title} has {inside} elements inside; NCCL reads {MOST_INSIDE}"))
    } else {
        None
    }
}
