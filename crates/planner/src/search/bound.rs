//! Owns the bound: what no set of rings through a node can exceed, whatever their orders and speeds.
//!
//! T is the sum of the rings' bandwidths. Each ring visits each GPU once and, between nodes, enters and
//! leaves the node once. So, over the links that rings may load:
//!
//! - every cut that parts one GPU from another, or from the network, is crossed in both directions:
//!   T is at most the least of these cuts, which is the least of the maximal flows between them;
//! - between nodes, of a cut inside the node a ring need cross only one direction, in at one side and out at
//!   the other: T is at most the least cut of both directions together, the way by the network left out;
//!   Of rings that leave by the NIC that they came in by both directions are crossed;
//! - all GPUs but the one that a ring enters at are reached from other GPUs: (GPUs − 1) · T is at most what
//!   their links bring in, and likewise take out; inside one node a ring comes from another GPU than it goes to.
//!
//! No integrality is in it, so it may lie above what any rings reach.

use alloc::vec::Vec;

use crosstie_topo::PathKind;

use super::CutWhy;
use super::model::{Leg, Model};

/// Which rings a bound is for. `reach` is the worst path that they may take between GPU and NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those that stay inside the node.
    Inside,
    /// Those that enter by some NIC and leave by some.
    Between { reach: PathKind },
    /// Those that leave by the NIC that they came in by.
    Closed { reach: PathKind },
}

impl Scope {
    fn reach(self) -> Option<PathKind> {
        match self {
            Self::Inside => None,
            Self::Between { reach } | Self::Closed { reach } => Some(reach),
        }
    }
}

/// An upper bound of the sum of the bandwidths of all rings, and what makes it.
pub(super) struct Bound {
    /// MB/s.
    pub mb_s: u64,
    /// By number in [`Model::links`]: the links that bring or take no more than that.
    pub links: Vec<u32>,
    pub why: CutWhy,
}

impl Bound {
    /// The lesser of two; of equals the first.
    fn least(self, mb_s: u64, why: CutWhy, links: impl FnOnce() -> Vec<u32>) -> Self {
        if mb_s < self.mb_s { Self { mb_s, links: links(), why } } else { self }
    }
}

/// The bound of rings; `None` where nothing limits them.
pub(super) fn bound(model: &Model, scope: Scope) -> Option<Bound> {
    let mut seats: Vec<usize> = model.seats.iter().map(|seat| seat.vertex.0 as usize).collect();
    seats.sort_unstable();
    seats.dedup();
    let allowed = allowed(model, scope.reach());
    let outside = model.vertices;
    let least = Bound { mb_s: FREE, links: Vec::new(), why: CutWhy::Through };
    let mut least = through(model, &model.inside(), scope == Scope::Inside, least);
    let mut flows = Flows::new(model, &allowed, outside);
    if scope == Scope::Inside {
        least = neighbours(model, least);
    } else {
        for &seat in &seats {
            least = flows.least(outside, seat, CutWhy::Apart, least);
            least = flows.least(seat, outside, CutWhy::Apart, least);
        }
        flows.close(matches!(scope, Scope::Between { .. }));
    }
    let why = if matches!(scope, Scope::Between { .. }) { CutWhy::BothWays } else { CutWhy::Apart };
    for &other in &seats[1..] {
        least = flows.least(seats[0], other, why, least);
        least = flows.least(other, seats[0], why, least);
    }
    (least.mb_s < FREE).then_some(least)
}

/// More than all links of a machine carry.
const FREE: u64 = u64::MAX / 4;

/// The links that some ring may load.
fn allowed(model: &Model, reach: Option<PathKind>) -> Vec<bool> {
    let mut allowed = model.inside();
    let Some(reach) = reach else { return allowed };
    for port in 0..model.ports.len() as u32 {
        for seat in 0..model.seats.len() as u32 {
            let legs = [model.enter(port, seat), model.leave(seat, port)];
            for leg in legs.into_iter().flatten().filter(|leg| leg.kind <= reach) {
                leg.links.iter().for_each(|&link| allowed[link as usize] = true);
            }
        }
    }
    allowed
}

/// What the links between GPUs bring to all of them together, shared by the legs that end at one.
fn through(model: &Model, inside: &[bool], closed: bool, least: Bound) -> Bound {
    let legs = model.seats.len() as u64 - u64::from(!closed);
    if legs == 0 || model.seats.len() < 2 {
        return least;
    }
    let sum = |end: &dyn Fn(usize) -> u32| -> u64 {
        let mut sum = 0u64;
        for seat in &model.seats {
            let links =
                (0..model.links.len()).filter(|&link| inside[link] && end(link) == seat.vertex.0);
            let there: u64 = links.map(|link| model.links[link].capacity).sum();
            // Seats on one NUMA node reach each other without a link.
            let alone = model.seats.iter().filter(|other| other.vertex == seat.vertex).count() == 1;
            sum = sum.saturating_add(if alone { there } else { FREE });
        }
        sum / legs
    };
    let (to, from) = (|link: usize| model.links[link].to.0, |link: usize| model.links[link].from.0);
    let at = |end: &dyn Fn(usize) -> u32| {
        let at_seat = |&link: &u32| {
            let vertex = end(link as usize);
            inside[link as usize] && model.seats.iter().any(|seat| seat.vertex.0 == vertex)
        };
        (0..model.links.len() as u32).filter(at_seat).collect()
    };
    least
        .least(sum(&to), CutWhy::Through, || at(&to))
        .least(sum(&from), CutWhy::Through, || at(&from))
}

/// What a GPU exchanges with others, of which no ring comes from the one that it goes to: a neighbour with
/// links of w MB/s, both directions together, is on rings of at most w, and on none twice. So with every ring
/// on two neighbours, 2 · T is at most the sum of the lesser of w and T.
fn neighbours(model: &Model, least: Bound) -> Bound {
    let seats = model.seats.len() as u32;
    if seats < 3 {
        return least;
    }
    let capacity = |leg: Option<&Leg>| {
        let links =
            leg.map(|leg| leg.links.iter().map(|&link| model.links[link as usize].capacity));
        links.map_or(0, |links| links.min().unwrap_or(FREE))
    };
    let reached = |seat: u32, least: u64| {
        let others = (0..seats).filter(|&other| other != seat);
        let both = |other| {
            capacity(model.hop(seat, other)).saturating_add(capacity(model.hop(other, seat)))
        };
        let widths: Vec<u64> = others.map(both).collect();
        let bears =
            |total: u64| widths.iter().map(|&width| width.min(total)).sum::<u64>() >= 2 * total;
        let (mut low, mut high) = (0, least);
        while low < high {
            let middle = high - (high - low) / 2;
            if bears(middle) { low = middle } else { high = middle - 1 }
        }
        low
    };
    let around = |seat: u32| {
        let vertex = model.seats[seat as usize].vertex;
        let at = |&link: &u32| {
            let link = &model.links[link as usize];
            link.from == vertex || link.to == vertex
        };
        (0..model.links.len() as u32).filter(at).collect()
    };
    (0..seats).fold(least, |least, seat| {
        let mb_s = reached(seat, least.mb_s);
        least.least(mb_s, CutWhy::Neighbours, || around(seat))
    })
}

/// Maximal flows between vertices (Dinic's algorithm).
struct Flows {
    /// By arc: where it leads, and what it carries; arc a ^ 1 is its reverse.
    to: Vec<u32>,
    capacity: Vec<u64>,
    left: Vec<u64>,
    /// By vertex: its arcs.
    arcs: Vec<Vec<u32>>,
    level: Vec<u32>,
    next: Vec<u32>,
    /// By pair of arcs: the link that it is, of those that are links.
    links: Vec<u32>,
}

impl Flows {
    fn new(model: &Model, allowed: &[bool], outside: usize) -> Self {
        let vertices = outside + 1;
        let mut flows = Self {
            to: Vec::new(),
            capacity: Vec::new(),
            left: Vec::new(),
            arcs: alloc::vec![Vec::new(); vertices],
            level: alloc::vec![0; vertices],
            next: alloc::vec![0; vertices],
            links: Vec::new(),
        };
        let links = (0..).zip(&model.links).zip(allowed);
        for ((number, link), _) in links.filter(|&(_, &allowed)| allowed) {
            flows.arc(link.from.0 as usize, link.to.0 as usize, link.capacity);
            flows.links.push(number);
        }
        for port in &model.ports {
            flows.arc(outside, port.vertex.0 as usize, FREE);
            flows.arc(port.vertex.0 as usize, outside, FREE);
        }
        flows
    }

    fn arc(&mut self, from: usize, to: usize, capacity: u64) {
        for (from, to, capacity) in [(from, to, capacity), (to, from, 0)] {
            self.arcs[from].push(self.to.len() as u32);
            self.to.push(to as u32);
            self.capacity.push(capacity);
        }
    }

    /// Closes the way outside; where `both` is asked, lets each link carry in one direction what it carries in
    /// both.
    fn close(&mut self, both: bool) {
        let outside = self.arcs.len() as u32 - 1;
        for arc in (0..self.to.len()).step_by(2) {
            let open = self.to[arc] != outside && self.to[arc + 1] != outside;
            let capacity = if open { self.capacity[arc] } else { 0 };
            (self.capacity[arc], self.capacity[arc + 1]) =
                (capacity, if both { capacity } else { 0 });
        }
    }

    /// The lesser of a bound and of what flows from one vertex to another at most.
    fn least(&mut self, from: usize, to: usize, why: CutWhy, least: Bound) -> Bound {
        let mb_s = self.most(from, to, least.mb_s);
        least.least(mb_s, why, || self.cut())
    }

    /// The links from what the last flow still reaches to what it does not.
    fn cut(&self) -> Vec<u32> {
        let reached = |vertex: u32| self.level[vertex as usize] != u32::MAX;
        let crosses = |&(pair, _): &(usize, &u32)| {
            let (to, from) = (self.to[2 * pair], self.to[2 * pair + 1]);
            let back = self.capacity[2 * pair + 1] > 0 && reached(to) && !reached(from);
            (reached(from) && !reached(to)) || back
        };
        self.links.iter().enumerate().filter(crosses).map(|(_, &link)| link).collect()
    }

    /// What flows from one vertex to another at most; not looked for beyond `enough`.
    fn most(&mut self, from: usize, to: usize, enough: u64) -> u64 {
        self.left.clone_from(&self.capacity);
        let mut flow = 0;
        while flow < enough && self.levels(from, to) {
            self.next.fill(0);
            loop {
                let more = self.push(from, to, enough - flow);
                if more == 0 {
                    break;
                }
                flow += more;
            }
        }
        flow
    }

    fn levels(&mut self, from: usize, to: usize) -> bool {
        self.level.fill(u32::MAX);
        self.level[from] = 0;
        let mut queue = alloc::vec![from];
        let mut head = 0;
        while let Some(&at) = queue.get(head) {
            head += 1;
            for &arc in &self.arcs[at] {
                let there = self.to[arc as usize] as usize;
                if self.left[arc as usize] > 0 && self.level[there] == u32::MAX {
                    self.level[there] = self.level[at] + 1;
                    queue.push(there);
                }
            }
        }
        self.level[to] != u32::MAX
    }

    /// One more path of this level graph, by a stack of its arcs: machines of many switches are deep.
    fn push(&mut self, from: usize, to: usize, most: u64) -> u64 {
        let mut path: Vec<u32> = Vec::new();
        let mut at = from;
        while at != to {
            let arcs = &self.arcs[at];
            let forward = arcs[self.next[at] as usize..].iter().position(|&arc| {
                let there = self.to[arc as usize] as usize;
                self.left[arc as usize] > 0 && self.level[there] == self.level[at] + 1
            });
            match forward {
                Some(skip) => {
                    self.next[at] += skip as u32;
                    let arc = arcs[self.next[at] as usize];
                    path.push(arc);
                    at = self.to[arc as usize] as usize;
                }
                None => {
                    self.next[at] = arcs.len() as u32;
                    let Some(arc) = path.pop() else { return 0 };
                    at = self.to[arc as usize ^ 1] as usize;
                    self.next[at] += 1;
                }
            }
        }
        let amount = path.iter().map(|&arc| self.left[arc as usize]).min().unwrap_or(0).min(most);
        for &arc in &path {
            self.left[arc as usize] -= amount;
            self.left[arc as usize ^ 1] += amount;
        }
        amount
    }
}
