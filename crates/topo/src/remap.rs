//! Owns the use of a host's description in a virtual machine: bus ids replaced by those that the machine
//! sees, and what it does not see left out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::attributes::hexadecimal;
use crate::bus_id::BusId;
use crate::devices::{self, Class};
use crate::error::quote;
use crate::xml::{Document, Element, Item, Position, title};

/// Which bus id of the host is which one of the virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BusMap(BTreeMap<BusId, BusId>);

/// Why a map of bus ids cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemapError {
    /// A line is no pair.
    #[error(
        "line {line} of the map is {text:?}; write HOST=GUEST, such as 0000:1b:00.0=0001:00:00.0"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// A bus id stands twice on one side.
    #[error(
        "line {line} of the map has {bus_id} a second time; each host's and each guest's bus id stands once"
    )]
    Twice {
        /// The second line's number.
        line: usize,
        /// The bus id.
        bus_id: BusId,
    },
    /// The description has no such device.
    #[error(
        "the description has no device {bus_id}; look with `lspci -D` on the host that it describes"
    )]
    Unknown {
        /// The bus id.
        bus_id: BusId,
    },
}

impl BusMap {
    /// Reads a map: a pair on each line, with `=`, a comma or a blank between; `#` begins a remark.
    ///
    /// # Errors
    ///
    /// Where a line is no pair, or a bus id stands twice.
    pub fn read(text: &str) -> Result<Self, RemapError> {
        let (mut map, mut guests) = (BTreeMap::new(), BTreeSet::new());
        for (line, text) in text.lines().enumerate().map(|(line, text)| (line + 1, text)) {
            let pair = text.split('#').next().unwrap_or_default().trim();
            if pair.is_empty() {
                continue;
            }
            let mut parts = pair.split(|c: char| c == '=' || c == ',' || c.is_whitespace());
            let mut next =
                || parts.find(|part| !part.is_empty()).and_then(|part| part.parse::<BusId>().ok());
            let (host, guest) = (next(), next());
            let wrong = || RemapError::Line { line, text: quote(text) };
            let (host, guest) = host.zip(guest).ok_or_else(wrong)?;
            if map.insert(host, guest).is_some() {
                return Err(RemapError::Twice { line, bus_id: host });
            }
            if !guests.insert(guest) {
                return Err(RemapError::Twice { line, bus_id: guest });
            }
        }
        Ok(Self(map))
    }

    /// The map of these pairs, host's bus id first; of a host's bus id given twice the last counts.
    pub fn new(pairs: impl IntoIterator<Item = (BusId, BusId)>) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// A description that was made to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remapped {
    /// The description.
    pub document: Document,
    /// What was left out, as `pci 0000:1b:00.0`: GPUs and NICs that the map does not have, and NVLinks
    /// to them.
    pub dropped: Vec<(String, Position)>,
}

/// The host's description with the bus ids of the virtual machine. Switches, which a virtual machine does
/// not see, keep theirs, or get one of `ffff:ff` where that is taken.
///
/// # Errors
///
/// Where the map has a device that the description has not.
pub fn remap(document: &Document, map: &BusMap) -> Result<Remapped, RemapError> {
    let mut known = BTreeSet::new();
    collect(&document.root, &mut known);
    if let Some(&bus_id) = map.0.keys().find(|bus_id| !known.contains(bus_id)) {
        return Err(RemapError::Unknown { bus_id });
    }
    let guests: BTreeSet<BusId> = map.0.values().copied().collect();
    let mut work =
        Work { map: &map.0, guests, gone: BTreeSet::new(), hidden: 0, dropped: Vec::new() };
    let mut document = document.clone();
    work.devices(&mut document.root);
    work.links(&mut document.root);
    Ok(Remapped { document, dropped: work.dropped })
}

fn own_bus_id(element: &Element) -> Option<BusId> {
    (element.name == "pci").then(|| element.attribute("busid")?.trim().parse().ok())?
}

fn collect(element: &Element, known: &mut BTreeSet<BusId>) {
    known.extend(own_bus_id(element));
    element.elements().for_each(|inner| collect(inner, known));
}

struct Work<'a> {
    map: &'a BTreeMap<BusId, BusId>,
    guests: BTreeSet<BusId>,
    gone: BTreeSet<BusId>,
    hidden: u32,
    dropped: Vec<(String, Position)>,
}

impl Work<'_> {
    fn devices(&mut self, element: &mut Element) {
        element.items.retain_mut(|item| match item {
            Item::Element(inner) => self.keep(inner),
            _ => true,
        });
    }

    fn keep(&mut self, element: &mut Element) -> bool {
        if let Some(bus_id) = own_bus_id(element) {
            match self.map.get(&bus_id) {
                Some(guest) => element.set("busid", guest.to_string()),
                None if is_end(element) => {
                    self.dropped.push((title(element), element.at));
                    self.gone.insert(bus_id);
                    return false;
                }
                None if self.guests.contains(&bus_id) => {
                    let hidden = self.hide();
                    element.set("busid", hidden.to_string());
                }
                None => {}
            }
        }
        self.devices(element);
        true
    }

    /// A bus id that no device has.
    fn hide(&mut self) -> BusId {
        loop {
            let [.., bus, device] = self.hidden.to_be_bytes();
            let domain = 0xffff - (self.hidden >> 16);
            let bus_id = BusId { domain, bus: 0xff - bus, device, function: 0 };
            self.hidden += 1;
            if self.guests.insert(bus_id) {
                return bus_id;
            }
        }
    }

    fn links(&mut self, element: &mut Element) {
        element.items.retain_mut(|item| {
            let Item::Element(inner) = item else { return true };
            let target =
                inner.attribute("target").and_then(|target| target.trim().parse::<BusId>().ok());
            match target {
                Some(target) if self.gone.contains(&target) => {
                    self.dropped.push((title(inner), inner.at));
                    return false;
                }
                Some(target) => {
                    if let Some(guest) = self.map.get(&target) {
                        inner.set("target", guest.to_string());
                    }
                }
                None => {}
            }
            self.links(inner);
            true
        });
    }
}

/// Whether a `<pci>` is a GPU or a NIC, which a virtual machine has only if it was given it.
fn is_end(element: &Element) -> bool {
    let has = |name| element.named(name).next().is_some();
    let class =
        hexadecimal(element, "class").ok().flatten().and_then(|class| u32::try_from(class).ok());
    let by_class = matches!(class.map(devices::class), Some(Class::Gpu | Class::Nic));
    has("gpu") || has("nic") || by_class && !has("pci")
}
