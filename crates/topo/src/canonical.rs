//! Owns the canonical form of descriptions: the same value on every rank, whatever the order of discovery;
//! its fingerprint; and the cluster that all nodes' descriptions make together.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::fabric::Fabric;
use crate::graph::Topology;
use crate::xml::{Document, Element, Item};

/// Names a description, or a cluster of them; shown as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopologyFingerprint(pub u64);

impl fmt::Display for TopologyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a run of a job puts into a description, and the next run otherwise: no part of the machine.
const OF_THE_RUN: [&str; 2] = ["rank", "keep"];

impl Document {
    /// The same machine without comments, texts and what belongs to one run, attributes and elements in
    /// one order: equal machines have equal canonical forms.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self::new(canonical(&self.root))
    }
}

/// Within the depth of what was read.
fn canonical(element: &Element) -> Element {
    let mut attributes: Vec<_> = element.attributes.clone();
    attributes.retain(|attribute| !OF_THE_RUN.contains(&attribute.name.as_str()));
    attributes.sort_unstable_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    let mut inner: Vec<Element> = element.elements().map(canonical).collect();
    inner.sort_by_cached_key(|element| Document::new(element.clone()).to_string());
    let items = inner.into_iter().map(Item::Element).collect();
    Element { name: element.name.clone(), attributes, items, at: element.at }
}

impl Topology {
    /// The fingerprint of the canonical form of its description.
    pub fn fingerprint(&self) -> TopologyFingerprint {
        let text = self.document.canonical().to_string();
        TopologyFingerprint(xxh3_64(text.as_bytes()))
    }
}

/// The nodes of a job by name, each with its description, and the fabric between them if one is known.
/// Equal clusters are equal values, in whatever order their nodes were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    nodes: BTreeMap<String, usize>,
    /// Each description once, however many nodes have it; in the order of the first node that does.
    kinds: Vec<Document>,
    fabric: Option<Fabric>,
}

impl Cluster {
    /// The cluster of these nodes. Of a name given twice the last description counts.
    pub fn new<'a>(
        nodes: impl IntoIterator<Item = (String, &'a Topology)>,
        fabric: Option<Fabric>,
    ) -> Self {
        let nodes: BTreeMap<String, &Topology> = nodes.into_iter().collect();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let mut kinds = Vec::new();
        let mut number = |topology: &Topology| {
            let document = topology.document.canonical();
            *known.entry(document.to_string()).or_insert_with(|| {
                kinds.push(document);
                kinds.len() - 1
            })
        };
        let nodes = nodes.into_iter().map(|(name, topology)| (name, number(topology))).collect();
        Self { nodes, kinds, fabric }
    }

    /// Each node's name and description, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.nodes.iter().map(|(name, &kind)| (name.as_str(), &self.kinds[kind]))
    }

    /// The descriptions that its nodes have, each once.
    pub fn kinds(&self) -> &[Document] {
        &self.kinds
    }

    /// The fabric between them.
    pub fn fabric(&self) -> Option<&Fabric> {
        self.fabric.as_ref()
    }

    /// The fingerprint of names, descriptions and fabric.
    pub fn fingerprint(&self) -> TopologyFingerprint {
        let mut bytes: Vec<u8> = Vec::new();
        let mut text = |text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        text("crosstie cluster 1");
        for (name, kind) in &self.nodes {
            text(name);
            text(&kind.to_string());
        }
        for kind in &self.kinds {
            text(&kind.to_string());
        }
        if let Some(fabric) = &self.fabric {
            // A fabric always is TOML; if ever not, its form in memory tells it as well.
            text(&fabric.to_toml().unwrap_or_else(|_| alloc::format!("{fabric:?}")));
        }
        TopologyFingerprint(xxh3_64(&bytes))
    }
}
