//! Owns the merging of several descriptions of one machine: each process saw its own GPU, all saw the rest.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::BusId;
use crate::error::quote;
use crate::xml::{Document, Element, Item, Position};

/// What merging gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// One description that has what any of them had.
    pub document: Document,
    /// Where they contradict each other.
    pub conflicts: Vec<Conflict>,
}

/// Two descriptions that give an attribute different values; the first one's was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The element, as `pci 0000:1b:00.0`.
    pub element: String,
    /// The attribute.
    pub attribute: String,
    /// The value that was kept.
    pub kept: String,
    /// The value that was dropped.
    pub dropped: String,
    /// Where the dropped one stood in its file.
    pub at: Position,
}

impl Merged {
    /// Why the descriptions cannot be of one machine, where they cannot: a processor or a device that is two
    /// different ones, or processors of several makes in one host.
    pub fn contradiction(&self) -> Option<String> {
        let decides = |conflict: &&Conflict| {
            let kind = conflict.element.split(' ').next().unwrap_or_default();
            identity(kind).contains(&conflict.attribute.as_str())
                && !same(&conflict.kept, &conflict.dropped)
        };
        if let Some(conflict) = self.conflicts.iter().find(decides) {
            let Conflict { element, attribute, kept, dropped, .. } = conflict;
            let (kept, dropped) = (quote(kept), quote(dropped));
            return Some(format!(
                "{element} has {attribute} {kept:?} in one, {dropped:?} in another"
            ));
        }
        let mut known = BTreeMap::new();
        self.document.root.named("cpu").find_map(|cpu| {
            let host = cpu.attribute("host_hash");
            differs(&mut known, (host, String::new()), "cpu", cpu)
                .or_else(|| cpu.elements().find_map(|it| device(&mut known, host, it)))
        })
    }
}

/// By host and bus id, what an element says of an attribute, and the element.
type Known<'a> = BTreeMap<(Option<&'a str>, String, &'static str), (&'a str, &'a Element)>;

/// Within the depth of what was read.
fn device<'a>(
    known: &mut Known<'a>,
    host: Option<&'a str>,
    element: &'a Element,
) -> Option<String> {
    if element.name != "pci" {
        return None;
    }
    let bus_id = one_way(element.attribute("busid")?);
    differs(known, (host, bus_id), "pci", element)
        .or_else(|| element.elements().find_map(|it| device(known, host, it)))
}

/// How an element differs from one that stands for the same device.
fn differs<'a>(
    known: &mut Known<'a>,
    (host, bus_id): (Option<&'a str>, String),
    kind: &str,
    element: &'a Element,
) -> Option<String> {
    identity(kind).iter().find_map(|&name| {
        let value = element.attribute(name)?;
        let (was, first) = *known.entry((host, bus_id.clone(), name)).or_insert((value, element));
        (!same(was, value)).then(|| {
            let (first, second) = (title(first), title(element));
            let (was, value) = (quote(was), quote(value));
            format!("{first} has {name} {was:?}, {second} of the same host {value:?}")
        })
    })
}

/// The attributes that tell which device an element is.
fn identity(kind: &str) -> &'static [&'static str] {
    match kind {
        "cpu" => &["arch", "vendor", "familyid", "modelid"],
        "pci" => &["class", "vendor", "device"],
        "gpu" => &["sm", "gcn"],
        _ => &[],
    }
}

/// Whether two values are equal, as numbers where they are.
fn same(a: &str, b: &str) -> bool {
    let number = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok();
    is_written_alike(a, b) || number(a).is_some_and(|value| number(b) == Some(value))
}

/// Whether two values are one, or one PCI address in two ways of writing it.
fn is_written_alike(a: &str, b: &str) -> bool {
    a == b || a.parse::<BusId>().is_ok_and(|address| b.parse() == Ok(address))
}

/// Merges descriptions of one machine into the first: elements are the same that have the same name and
/// bus id, NUMA number, target, or network name, below the same parent; those that nothing tells apart are
/// paired in their order. `None` of none.
pub fn merge(documents: impl IntoIterator<Item = Document>) -> Option<Merged> {
    let mut documents = documents.into_iter();
    let mut merged = Merged { document: documents.next()?, conflicts: Vec::new() };
    for Document { before, root, after, .. } in documents {
        add_remarks(&mut merged.document.before, before);
        add(&mut merged.document.root, root, &mut merged.conflicts);
        add_remarks(&mut merged.document.after, after);
    }
    Some(merged)
}

/// Adds the comments and texts that are not there yet.
fn add_remarks(to: &mut Vec<Item>, from: Vec<Item>) {
    let mut known: BTreeSet<_> = to.iter().filter_map(remark).collect();
    for item in from {
        if remark(&item).is_some_and(|remark| known.insert(remark)) {
            to.push(item);
        }
    }
}

fn remark(item: &Item) -> Option<(u8, String, String)> {
    match item {
        Item::Element(_) => None,
        Item::Comment(text) => Some((0, text.clone(), String::new())),
        Item::Text(text) => Some((1, text.clone(), String::new())),
        Item::Instruction(target, value) => Some((2, target.clone(), value.clone())),
    }
}

/// Adds what `from` has to the same element; within the depth of what was read.
fn add(to: &mut Element, from: Element, conflicts: &mut Vec<Conflict>) {
    for attribute in from.attributes {
        match to.attribute(&attribute.name) {
            None => to.attributes.push(attribute),
            Some(kept) if !is_written_alike(kept, &attribute.value) => conflicts.push(Conflict {
                element: title(to),
                kept: kept.into(),
                attribute: attribute.name,
                dropped: attribute.value,
                at: attribute.at,
            }),
            Some(_) => {}
        }
    }
    let mut places: BTreeMap<_, VecDeque<usize>> = BTreeMap::new();
    for (place, item) in to.items.iter().enumerate() {
        if let Item::Element(element) = item {
            places.entry(key(&to.name, element)).or_default().push_back(place);
        }
    }
    let mut remarks = Vec::new();
    for item in from.items {
        let Item::Element(element) = item else {
            remarks.push(item);
            continue;
        };
        let place = places.get_mut(&key(&to.name, &element)).and_then(VecDeque::pop_front);
        match place.and_then(|place| to.items.get_mut(place)) {
            Some(Item::Element(same)) => add(same, element, conflicts),
            _ => to.push(element),
        }
    }
    add_remarks(&mut to.items, remarks);
}

/// A PCI address in the one way that [`BusId`] writes it: files have it with or without its domain, in either
/// case. Other texts as they are.
fn one_way(text: &str) -> String {
    text.parse::<BusId>().map_or_else(|_| text.into(), |address| address.to_string())
}

/// What tells an element from its brothers below `parent`.
pub(crate) fn key(parent: &str, element: &Element) -> (String, Vec<String>) {
    let name = element.name.as_str();
    let attributes: &[&str] = match name {
        "cpu" => &["host_hash", "numaid"],
        "pci" => &["busid"],
        "nvlink" | "xgmi" | "pcilink" => &["target"],
        "gpu" => &["mlopart"],
        "net" if element.attribute("name").is_some() => &["name", "port"],
        "net" => &["dev"],
        "nic" | "c2c" | "system" => &[],
        _ => {
            let pairs = element.attributes.iter();
            let told = pairs.map(|attribute| format!("{}={:?}", attribute.name, attribute.value));
            return (name.into(), told.collect());
        }
    };
    let value = |attribute: &&str| {
        let text = element.attribute(attribute).unwrap_or_default();
        if matches!(*attribute, "busid" | "target") { one_way(text) } else { text.into() }
    };
    let mut key: Vec<String> = attributes.iter().map(value).collect();
    // Virtual NICs stand side by side below a cpu, told apart by their network only.
    if name == "nic" && parent == "cpu" {
        let net = element.named("net").next();
        key.extend(net.and_then(|net| net.attribute("name")).map(String::from));
    }
    (name.into(), key)
}

/// How people call an element: its name and what tells it from its brothers.
pub(crate) fn title(element: &Element) -> String {
    let mut title = quote(&element.name);
    for value in key("", element).1.iter().filter(|value| !value.is_empty()).take(3) {
        title.push(' ');
        title.push_str(&quote(value));
    }
    title
}
