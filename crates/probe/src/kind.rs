//! Owns what two like machines share: a description without what names one card, one host, or one boot of it.

use std::collections::BTreeMap;

use crosstie_topo::xml::{Document, Element};

use crate::Machine;
use crate::captured::hardware_address;

/// What a port tells beside NCCL's attributes: names that the kernel deals out as it boots, or made of hardware
/// addresses, by which one finds the port on its own host; and what verbs tells of it, which changes with its
/// addresses.
const OF_ONE_HOST: [&str; 7] = ["interface", "members", "state", "layer", "mtu", "gids", "gid"];

impl Machine {
    /// The description that all machines like this one have, in canonical form: GUIDs are counted from 1, so that ports of
    /// one card still have the same; names of interfaces are gone, and hardware addresses in names of ports.
    ///
    /// Addresses and counters are in no description. What a machine is at the moment belongs in: a port without a cable
    /// is no port, for no rank can use it.
    pub fn kind(&self) -> Document {
        let mut document = self.document.canonical();
        let mut guids = Guids::default();
        guids.number(&self.document.root);
        strip(&mut document.root, &guids);
        document.canonical()
    }
}

/// Which of all GUIDs each is, in the order of discovery, which is that of bus ids and names.
#[derive(Default)]
struct Guids(BTreeMap<String, usize>);

impl Guids {
    fn number(&mut self, element: &Element) {
        if let Some(guid) = element.attribute("guid") {
            let next = self.0.len() + 1;
            self.0.entry(guid.to_owned()).or_insert(next);
        }
        element.elements().for_each(|inner| self.number(inner));
    }
}

/// As deep as what detection makes, which is bounded.
fn strip(element: &mut Element, guids: &Guids) {
    if element.name == "net" {
        element.attributes.retain(|attribute| !OF_ONE_HOST.contains(&attribute.name.as_str()));
        for attribute in &mut element.attributes {
            let number =
                (attribute.name == "guid").then(|| guids.0.get(&attribute.value)).flatten();
            if let Some(number) = number {
                attribute.value = format!("0x{number:x}");
            } else if attribute.name == "name"
                && let Some((kept, _)) = hardware_address(&attribute.value)
            {
                attribute.value = kept.to_owned();
            }
        }
    }
    element.elements_mut().for_each(|inner| strip(inner, guids));
}
