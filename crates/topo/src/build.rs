//! Owns the way from a description to the graph: devices first, then the links that cross the tree.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::attributes::{bus_id, missing, number, small_or_minus_one, wrong};
use crate::builder::{Builder, Far, Pending, Place};
use crate::bus_id::BusId;
use crate::devices::{self, Class};
use crate::error::{Fault, ReadError, quote};
use crate::graph::{Host, Link, LinkKind, NvSwitch, Pci, Remark, Topology, VertexId, VertexKind};
use crate::model::{Arch, Cpu};
use crate::parts;
use crate::rates;
use crate::shown;
use crate::unit::Bandwidth;
use crate::xml::{Document, Element, Position};

impl Topology {
    /// Reads the text of an NCCL topology file.
    ///
    /// # Errors
    ///
    /// Where it is not one, with the place, what was expected and what to do.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        Self::from_document(Document::read(text)?)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        Self::from_document(Document::read_bytes(bytes)?)
    }

    /// The graph that a description means: of a file that was read, of several that were merged, or of one
    /// that detection built.
    ///
    /// # Errors
    ///
    /// As [`Self::read`]; an element that was built, not read, has position 0, 0.
    pub fn from_document(document: Document) -> Result<Self, ReadError> {
        check_root(&document.root)?;
        let mut builder = Builder::default();
        for cpu in document.root.named("cpu") {
            builder.add_cpu(cpu)?;
        }
        builder.number_devices();
        builder.join()?;
        Ok(builder.finish(document))
    }
}

fn check_root(root: &Element) -> Result<(), ReadError> {
    let fault = match root.name.as_str() {
        "system" => {
            let expected = "1 (NCCL) or 2 (RCCL)";
            let version = root.find("version").ok_or_else(|| missing(root, "version", expected))?;
            return match number(root, "version")? {
                Some(1 | 2) => Ok(()),
                _ => Err(wrong(root, version, expected)),
            };
        }
        "graphs" => Fault::GraphFile,
        other => Fault::Root { found: quote(other) },
    };
    Err(ReadError { at: root.at, fault })
}

impl Builder {
    fn add_cpu(&mut self, element: &Element) -> Result<(), ReadError> {
        let expected = "the number of a NUMA node, or -1";
        element.find("numaid").ok_or_else(|| missing(element, "numaid", expected))?;
        let name = element.attribute("host_hash").map(shown);
        let next = self.hosts.len() as u32;
        let host = *self.host_numbers.entry(name.clone()).or_insert(next);
        if host == next {
            self.hosts.push(Host { name, cpus: Vec::new() });
        }
        let text = |name| element.attribute(name).map(shown);
        let cpu = Cpu {
            numa: small_or_minus_one(element, "numaid")?,
            arch: match element.attribute("arch") {
                Some("x86_64") => Arch::X86,
                Some("arm64" | "aarch64") => Arch::Arm,
                Some("ppc64" | "ppc64le") => Arch::Power,
                _ => Arch::Other,
            },
            vendor: text("vendor"),
            family: small_or_minus_one(element, "familyid")?,
            model: small_or_minus_one(element, "modelid")?,
            affinity: text("affinity"),
        };
        let id = self.add(VertexKind::Cpu(cpu), Some(host), None, element.at);
        self.hosts[host as usize].cpus.push(id);
        let place = Place { host, parent: id, fold: None };
        self.add_all_pci(element, place)?;
        for nic in element.named("nic") {
            let card = parts::virtual_nic();
            let card = self.add(VertexKind::Nic(card), Some(host), Some(id), nic.at);
            self.link_both(id, card, LinkKind::Pci, rates::LOCAL);
            parts::add_ports(self, nic, card, Bandwidth::MAX)?;
        }
        Ok(())
    }

    fn add_all_pci(&mut self, element: &Element, place: Place) -> Result<(), ReadError> {
        element.named("pci").try_for_each(|pci| self.add_pci(pci, place))
    }

    fn add_pci(&mut self, element: &Element, place: Place) -> Result<(), ReadError> {
        let address = bus_id(element)?;
        if !self.above.insert(address) {
            let at = element.find("busid").map_or(element.at, |attribute| attribute.at);
            return Err(ReadError { at, fault: Fault::Cycle { bus_id: address } });
        }
        let (pci, odd) = parts::pci(element, address)?;
        let first = VertexId(self.vertices.len() as u32);
        let below = self.add_device(element, pci, place)?;
        if first.index() < self.vertices.len() {
            let words = odd.words.map(|value| Remark::LinkSpeed { of: first, value });
            let width = odd.width.map(|value| Remark::LinkWidth { of: first, value });
            self.remarks.extend(words.into_iter().chain(width));
        }
        self.add_all_pci(element, below)?;
        self.above.remove(&address);
        Ok(())
    }

    /// Adds what a `<pci>` is; says where the devices inside it are.
    fn add_device(
        &mut self,
        element: &Element,
        pci: Pci,
        place: Place,
    ) -> Result<Place, ReadError> {
        let class = pci.class.map(devices::class);
        let has = |name| element.named(name).next().is_some();
        let inner = Place { fold: None, ..place };
        if has("gpu") || class == Some(Class::Gpu) && !has("nic") && !has("pci") {
            self.add_gpus(element, pci, place)?;
        } else if has("nic") || class == Some(Class::Nic) && !has("pci") {
            self.add_nic(element, pci, place)?;
        } else if class == Some(Class::NvSwitch) {
            self.switches_seen.insert(pci.bus_id);
        } else if class == Some(Class::Bridge) || has("pci") {
            return self.add_switch(element, pci, place);
        } else {
            let bandwidth = pci.bandwidth();
            let id =
                self.add(VertexKind::Device(pci), Some(place.host), Some(place.parent), element.at);
            self.link_both(place.parent, id, LinkKind::Pci, bandwidth);
        }
        Ok(inner)
    }

    /// Broadcom's switches of the fourth and fifth generation show themselves as two levels, and carry
    /// the full bandwidth between all ports: NCCL, and this, take the two for one.
    fn add_switch(
        &mut self,
        element: &Element,
        pci: Pci,
        place: Place,
    ) -> Result<Place, ReadError> {
        if place.fold.is_some() && place.fold == broadcom_generation(&pci, 1) {
            return Ok(Place { fold: None, ..place });
        }
        let fold = broadcom_generation(&pci, 0);
        let (bandwidth, address) = (pci.bandwidth(), pci.bus_id);
        let id =
            self.add(VertexKind::Switch(pci), Some(place.host), Some(place.parent), element.at);
        self.link_both(place.parent, id, LinkKind::Pci, bandwidth);
        self.by_bus.entry((place.host, address, false)).or_insert(id);
        for peer in element.named("pcilink") {
            let target = parts::target(peer)?;
            let (name, at) = (peer.name.clone(), peer.at);
            let far = Far::Switch(target);
            self.pending.push(Pending { from: id, far, name, count: 1, bandwidth: None, at });
        }
        Ok(Place { host: place.host, parent: id, fold })
    }

    fn add_gpus(&mut self, element: &Element, pci: Pci, place: Place) -> Result<(), ReadError> {
        let (bandwidth, address) = (pci.bandwidth(), pci.bus_id);
        let mut gpus = parts::gpus(element, pci)?;
        let mut added: Vec<VertexId> = Vec::with_capacity(gpus.len());
        for (gpu, described) in gpus.drain(..) {
            let at = described.map_or(element.at, |gpu| gpu.at);
            let id = self.add(VertexKind::Gpu(gpu), Some(place.host), Some(place.parent), at);
            self.link_both(place.parent, id, LinkKind::Pci, bandwidth);
            self.by_bus.entry((place.host, address, true)).or_insert(id);
            // Parts of one device reach each other inside it.
            if let Some(&first) = added.first() {
                self.link_both(first, id, LinkKind::Loc, rates::LOCAL);
            }
            added.push(id);
            if let Some(described) = described {
                parts::add_gpu_links(self, described, id)?;
            }
        }
        Ok(())
    }

    fn add_nic(&mut self, element: &Element, pci: Pci, place: Place) -> Result<(), ReadError> {
        let bandwidth = pci.bandwidth();
        let above = &self.vertices[place.parent.index()].kind;
        let ids = (!matches!(above, VertexKind::Switch(_))).then_some([pci.ids[0], pci.ids[1]]);
        let card = (place.parent, pci.bus_id.card(), ids);
        let derived = parts::derived_port(&pci);
        let described = element.named("nic").next().is_some();
        // The functions of a card are its ports, not cards of their own.
        let id = match self.cards.get(&card) {
            Some(&id) => id,
            None => {
                let nic = VertexKind::Nic(parts::nic(pci, described));
                let id = self.add(nic, Some(place.host), Some(place.parent), element.at);
                self.link_both(place.parent, id, LinkKind::Pci, bandwidth);
                self.cards.insert(card, id);
                id
            }
        };
        let mut ports = 0;
        for nic in element.named("nic") {
            ports += parts::add_ports(self, nic, id, bandwidth)?;
        }
        if ports == 0 && !described {
            parts::add_port(self, derived, id, element.at, bandwidth);
        }
        Ok(())
    }

    /// Draws the links that lead across the tree, now that all their ends are known.
    fn join(&mut self) -> Result<(), ReadError> {
        for pending in core::mem::take(&mut self.pending) {
            self.draw(pending)?;
        }
        Ok(())
    }

    fn draw(&mut self, pending: Pending) -> Result<(), ReadError> {
        let Pending { from, far, name, count, bandwidth, at } = pending;
        let each = match &self.vertices[from.index()].kind {
            VertexKind::Gpu(gpu) => rates::gpu_link(&gpu.model),
            _ => rates::LOCAL,
        };
        let bandwidth = bandwidth.unwrap_or(each * count);
        match far {
            Far::Gpu(target) => {
                match self.find(from, &target, true) {
                    Some(to) if to == from => {
                        self.remarks.push(Remark::SelfLink { gpu: from, at });
                    }
                    Some(to) => self.link(from, to, LinkKind::Nvl, bandwidth, count),
                    // A container that has a part of the GPUs still tells of links to the others.
                    None => {
                        let target = quote(&target);
                        self.remarks.push(Remark::Nowhere { gpu: from, target, count, at });
                    }
                }
            }
            Far::NvSwitch(seen) => {
                self.switches_seen.extend(seen);
                let switch = self.nvswitch(at);
                self.link(from, switch, LinkKind::Nvl, bandwidth, count);
                self.link(switch, from, LinkKind::Nvl, bandwidth, count);
            }
            Far::Cpu(kind) => {
                if let Some(cpu) = self.cpu_of(from) {
                    self.link(from, cpu, kind, bandwidth, count);
                    self.link(cpu, from, kind, bandwidth, count);
                }
            }
            Far::Switch(target) => {
                let to = self.find(from, &target, false);
                let to = to.ok_or_else(|| nowhere(&name, &target, "a PCI switch", at))?;
                self.link(from, to, LinkKind::Loc, bandwidth, count);
            }
        }
        Ok(())
    }

    /// The GPU, or switch, with the bus id `target` on the host of `from`.
    fn find(&self, from: VertexId, target: &str, is_gpu: bool) -> Option<VertexId> {
        let host = self.vertices[from.index()].host?;
        self.by_bus.get(&(host, target.trim().parse().ok()?, is_gpu)).copied()
    }

    fn nvswitch(&mut self, at: Position) -> VertexId {
        if let Some(id) = self.nvswitch {
            return id;
        }
        let id = self.add(VertexKind::NvSwitch(NvSwitch::default()), None, None, at);
        self.nvswitch = Some(id);
        id
    }

    fn cpu_of(&self, id: VertexId) -> Option<VertexId> {
        let mut at = id;
        while !matches!(self.vertices[at.index()].kind, VertexKind::Cpu(_)) {
            at = self.vertices[at.index()].parent?;
        }
        Some(at)
    }

    fn finish(mut self, document: Document) -> Topology {
        if let Some(id) = self.nvswitch {
            let bus_ids = core::mem::take(&mut self.switches_seen).into_iter().collect();
            self.vertices[id.index()].kind = VertexKind::NvSwitch(NvSwitch { bus_ids });
        }
        let links = merge_links(self.links);
        let mut first: Vec<u32> = Vec::with_capacity(self.vertices.len() + 1);
        for vertex in 0..=self.vertices.len() as u32 {
            first.push(links.partition_point(|link| link.from.0 < vertex) as u32);
        }
        let numbered = |dev: fn(&VertexKind) -> Option<u32>| {
            let ids = self.vertices.iter().enumerate();
            let mut found: Vec<_> = ids
                .filter_map(|(id, vertex)| {
                    Some((vertex.host, dev(&vertex.kind)?, VertexId(id as u32)))
                })
                .collect();
            found.sort_unstable();
            found.into_iter().map(|(_, _, id)| id).collect::<Vec<_>>()
        };
        let gpus = numbered(|kind| match kind {
            VertexKind::Gpu(gpu) => Some(gpu.dev),
            _ => None,
        });
        let ports = numbered(|kind| match kind {
            VertexKind::Port(port) => Some(port.dev),
            _ => None,
        });
        let mut cpus: Vec<_> =
            self.hosts.iter().flat_map(|host| host.cpus.iter().copied()).collect();
        cpus.sort_unstable();
        let Self { vertices, hosts, remarks, .. } = self;
        Topology { document, vertices, links, first, hosts, gpus, ports, cpus, remarks }
    }

    /// Gives GPUs and ports that were told no number the free ones, by bus id, as the drivers do.
    fn number_devices(&mut self) {
        let mut taken: BTreeSet<(u32, bool, u32)> = BTreeSet::new();
        let mut untold = Vec::new();
        for (id, vertex) in self.vertices.iter().enumerate() {
            let host = vertex.host.unwrap_or(0);
            let (is_gpu, dev, address) = match &vertex.kind {
                VertexKind::Gpu(gpu) => (true, gpu.dev, Some(gpu.pci.bus_id)),
                VertexKind::Port(port) => (false, port.dev, self.bus_id_of(vertex.parent)),
                _ => continue,
            };
            match dev {
                parts::UNTOLD => untold.push((host, is_gpu, address.is_none(), address, id)),
                dev => drop(taken.insert((host, is_gpu, dev))),
            }
        }
        untold.sort_unstable();
        let (mut next, mut last) = (0, None);
        for (host, is_gpu, _, _, id) in untold {
            if last.replace((host, is_gpu)) != Some((host, is_gpu)) {
                next = 0;
            }
            while taken.contains(&(host, is_gpu, next)) {
                next += 1;
            }
            match &mut self.vertices[id].kind {
                VertexKind::Gpu(gpu) => gpu.dev = next,
                VertexKind::Port(port) => port.dev = next,
                _ => {}
            }
            next += 1;
        }
    }

    fn bus_id_of(&self, nic: Option<VertexId>) -> Option<BusId> {
        match &self.vertices[nic?.index()].kind {
            VertexKind::Nic(nic) => nic.pci.as_ref().map(|pci| pci.bus_id),
            _ => None,
        }
    }
}

fn nowhere(name: &str, target: &str, expected: &'static str, at: Position) -> ReadError {
    let fault = Fault::Nowhere { element: quote(name), target: quote(target), expected };
    ReadError { at, fault }
}

/// Sorts links by their ends, and adds up those that are alike.
fn merge_links(mut links: Vec<Link>) -> Vec<Link> {
    links.sort_unstable_by_key(|link| (link.from, link.to, link.kind));
    let mut merged: Vec<Link> = Vec::with_capacity(links.len());
    for link in links {
        match merged.last_mut() {
            Some(last) if (last.from, last.to, last.kind) == (link.from, link.to, link.kind) => {
                last.bandwidth = last.bandwidth.plus(link.bandwidth);
                last.count = last.count.saturating_add(link.count);
            }
            _ => merged.push(link),
        }
    }
    merged
}

/// The generation of a Broadcom switch that shows itself as two levels, at the upper (0) or lower one (1).
fn broadcom_generation(pci: &Pci, level: u32) -> Option<u32> {
    match pci.ids {
        [Some(0x1000), Some(0xc010), Some(0x1000), Some(0xa000..=0xafff)] => Some(4),
        [Some(0x1000), Some(0xc030), Some(0x1000), Some(sub)] if sub >> 12 == level => Some(5),
        _ => None,
    }
}
