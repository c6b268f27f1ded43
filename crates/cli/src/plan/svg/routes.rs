//! Owns the routes in a picture: GPUs, by which NICs they leave, by which they arrive. A relay's own NIC takes
//! all lines to it.

use std::collections::{BTreeMap, BTreeSet};

use crosstie_planner::explain::{Scheme, Way};

use super::canvas::{BOX, Canvas, GPU, INK, MARGIN, ROW, colour};
use super::{rail, rows};

/// Between two columns.
const GAP: u32 = 150;
/// GPUs that are drawn; of a rack the first.
const MOST_GPUS: usize = 16;

/// Says where they end.
pub fn draw(scheme: &Scheme<'_>, top: u32, canvas: &mut Canvas) -> u32 {
    // Of nodes of several kinds there are routes of several pairs: the first of those that cross rails most.
    let mut crossings: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for way in &scheme.routes {
        *crossings.entry((way.node, way.remote_node)).or_default() +=
            usize::from(way.crosses_rail());
    }
    let most = crossings.iter().rev().max_by_key(|&(_, &count)| count);
    let Some((&pair, _)) = most else { return top };
    let of_pair = || scheme.routes.iter().filter(|way| (way.node, way.remote_node) == pair);
    let devices: BTreeSet<u32> = of_pair().flat_map(|way| [way.gpu, way.remote_gpu]).collect();
    let all = devices.len();
    let gpus: BTreeMap<u32, u32> = devices.into_iter().take(MOST_GPUS).zip(0..).collect();
    let is_shown = |way: &&Way| gpus.contains_key(&way.gpu) && gpus.contains_key(&way.remote_gpu);
    let routes: Vec<&Way> = of_pair().filter(is_shown).collect();
    let nics =
        rows(scheme, routes.iter().flat_map(|way| way.nic.into_iter().chain(way.remote_nic)));
    let mut top = top;
    if scheme.kinds.len() > 1 {
        let told = format!("from node {} to node {}; nodes differ", pair.0, pair.1);
        canvas.text((MARGIN, top), "start", INK, &told);
        top += ROW;
    }
    if all > gpus.len() {
        let told = format!("those among the first {} of {all} GPUs of each node", gpus.len());
        canvas.text((MARGIN, top), "start", INK, &told);
        top += ROW;
    }
    let columns = [0, 1, 2, 3].map(|column| MARGIN + column * (BOX + GAP));
    let y = |row: u32| top + row * ROW;
    // GPUs of many stand closer than NICs of few: both fill the same height.
    let (many, few) = ((gpus.len() as u32).max(1), (nics.len() as u32).max(1));
    let high = many.max(few);
    let spread = |row: u32, of: u32| top + row * ROW * high / of;
    let places = Places { columns, gpus: &gpus, nics: &nics, many, few, spread: &spread };
    places.lines(&routes, canvas);
    for (&gpu, &row) in &gpus {
        let name = format!("{} {gpu}", scheme.unit());
        canvas.named((columns[0], spread(row, many)), BOX, GPU, &name);
        canvas.named((columns[3], spread(row, many)), BOX, GPU, &name);
    }
    for (&nic, &row) in &nics {
        for x in [columns[1], columns[2]] {
            let edge = colour(rail(scheme, nic));
            canvas.named((x, spread(row, few)), BOX, edge, &format!("nic {nic}"));
        }
    }
    y(high)
}

/// Where things stand.
struct Places<'a> {
    columns: [u32; 4],
    gpus: &'a BTreeMap<u32, u32>,
    nics: &'a BTreeMap<u32, u32>,
    many: u32,
    few: u32,
    spread: &'a dyn Fn(u32, u32) -> u32,
}

impl Places<'_> {
    /// Each line once; what crosses rails last, on top of the others.
    fn lines(&self, routes: &[&Way], canvas: &mut Canvas) {
        let mut drawn = BTreeSet::new();
        let mut crossings = Vec::new();
        let columns = self.columns;
        for way in routes {
            let (Some(nic), Some(remote)) = (way.nic, way.remote_nic) else { continue };
            let (Some(&gpu), Some(&out), Some(&into), Some(&peer)) = (
                self.gpus.get(&way.gpu),
                self.nics.get(&nic),
                self.nics.get(&remote),
                self.gpus.get(&way.remote_gpu),
            ) else {
                continue;
            };
            let (gpu, peer) = ((self.spread)(gpu, self.many), (self.spread)(peer, self.many));
            let (out, into) = ((self.spread)(out, self.few), (self.spread)(into, self.few));
            let (from, to) = (colour(Some(way.rail)), colour(Some(way.remote_rail)));
            if drawn.insert((0, way.gpu, nic)) {
                let width = if way.relay.is_some() { "0.7" } else { "2" };
                canvas.line((columns[0] + BOX, gpu), (columns[1], out), from, width);
            }
            if drawn.insert((1, nic, remote)) {
                let ends = ((columns[1] + BOX, out), (columns[2], into));
                match way.crosses_rail() {
                    true => crossings.push(ends),
                    false => canvas.cable(ends.0, ends.1, Some(way.rail), false),
                }
            }
            if drawn.insert((2, remote, way.remote_gpu)) {
                canvas.line((columns[2] + BOX, into), (columns[3], peer), to, "2");
            }
        }
        for (from, to) in crossings {
            canvas.cable(from, to, None, true);
        }
    }
}
