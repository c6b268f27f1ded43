//! Owns the comparison of two descriptions: what only one has, what they tell otherwise, and which paths
//! differ for it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;

use crate::graph::{Topology, VertexId};
use crate::lint::counted;
use crate::path::Path;
use crate::paths::{Paths, TooLarge};
use crate::xml::{Element, key, title};

/// One way in which two descriptions differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Difference {
    /// An element that only the first has, by the way to it: `cpu 0 / pci 0000:18:00.0`.
    OnlyFirst {
        /// The way to it.
        element: String,
        /// How many elements are inside it, which are told with it.
        inside: u64,
    },
    /// An element that only the second has.
    OnlySecond {
        /// The way to it.
        element: String,
        /// How many elements are inside it, which are told with it.
        inside: u64,
    },
    /// An attribute with different values, or that only one has.
    Attribute {
        /// The way to its element.
        element: String,
        /// Its name.
        attribute: String,
        /// The first's value.
        first: Option<String>,
        /// The second's value.
        second: Option<String>,
    },
    /// A path of another kind or bandwidth, between ends that both have.
    Path {
        /// Where it begins.
        from: String,
        /// Where it ends.
        to: String,
        /// The first's.
        first: Option<Path>,
        /// The second's.
        second: Option<Path>,
    },
    /// Paths that were not compared, for only one has both ends, by name.
    NotCompared {
        /// How many pairs of ends both have.
        compared: u64,
        /// How many others the first has.
        first: u64,
        /// How many others the second has.
        second: u64,
    },
    /// What is beyond [`MOST_TOLD`].
    LeftOut {
        /// How many differences.
        count: u64,
    },
}

/// The most differences that are told, so that two files of millions of elements cost no memory for each.
pub const MOST_TOLD: usize = 10_000;
/// The longest value, and way to an element, that is told whole, in characters.
const LONGEST: usize = 400;

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Option<Path>| match path {
            Some(path) => alloc::format!("{} {}", path.kind, path.bandwidth),
            None => "none".into(),
        };
        let value = |value: &Option<String>| match value {
            Some(value) => alloc::format!("{value:?}"),
            None => "none".into(),
        };
        let with = |inside: u64| match inside {
            0 => String::new(),
            inside => alloc::format!(", with {} in it", counted(inside as usize, "element")),
        };
        match self {
            Self::OnlyFirst { element, inside } => {
                write!(f, "- {element}{}", with(*inside))
            }
            Self::OnlySecond { element, inside } => {
                write!(f, "+ {element}{}", with(*inside))
            }
            Self::Attribute { element, attribute, first, second } => {
                write!(f, "~ {element}: {attribute} {} -> {}", value(first), value(second))
            }
            Self::Path { from, to, first, second } => {
                write!(f, "~ path {from} to {to}: {} -> {}", shown(first), shown(second))
            }
            Self::NotCompared { compared, first, second } => write!(
                f,
                "{compared} paths are compared; {first} of the first and {second} of the second are not, for an end has no like"
            ),
            Self::LeftOut { count } => write!(f, "… and {count} more"),
        }
    }
}

/// How two descriptions differ. Elements are the same that are alike in what [`crate::xml::merge`] goes
/// by; order and comments make no difference. Of more than [`MOST_TOLD`] differences the last is
/// [`Difference::LeftOut`].
///
/// # Errors
///
/// Where one is too large for a table of its paths.
pub fn diff(first: &Topology, second: &Topology) -> Result<Vec<Difference>, TooLarge> {
    let mut found = Found::default();
    {
        let roots = [first, second].map(|topology| topology.document().canonical().root);
        compare(&roots[0], &roots[1], "", &mut found);
    }
    let not_compared = compare_paths(first, second, &mut found)?;
    let Found { mut told, left_out } = found;
    told.extend(not_compared);
    if left_out > 0 {
        told.push(Difference::LeftOut { count: left_out });
    }
    Ok(told)
}

#[derive(Default)]
struct Found {
    told: Vec<Difference>,
    left_out: u64,
}

impl Found {
    fn add(&mut self, difference: impl FnOnce() -> Difference) {
        match self.told.len() < MOST_TOLD {
            true => self.told.push(difference()),
            false => self.left_out += 1,
        }
    }
}

/// The end of a long way, the beginning of a long value: what tells it from others.
fn cut_way(way: String) -> String {
    let length = way.chars().count();
    match length > LONGEST {
        true => ['…'].into_iter().chain(way.chars().skip(length - LONGEST)).collect(),
        false => way,
    }
}

fn cut_value(value: &str) -> String {
    let mut cut: String = value.chars().take(LONGEST).collect();
    if cut.len() < value.len() {
        cut.push('…');
    }
    cut
}

/// Elements that are told apart by nothing are paired in their canonical order.
fn compare(first: &Element, second: &Element, way: &str, found: &mut Found) {
    let element = || if way.is_empty() { "system".into() } else { way.to_string() };
    let values = |of| -> BTreeMap<&str, &str> {
        let of: &Element = of;
        let pairs = of.attributes.iter();
        pairs.map(|attribute| (attribute.name.as_str(), attribute.value.as_str())).collect()
    };
    let (a, b) = (values(first), values(second));
    let names: BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
    for attribute in names.into_iter().filter(|&name| a.get(name) != b.get(name)) {
        found.add(|| Difference::Attribute {
            element: element(),
            attribute: cut_value(attribute),
            first: a.get(attribute).copied().map(cut_value),
            second: b.get(attribute).copied().map(cut_value),
        });
    }
    let mut pairs: BTreeMap<_, (Vec<&Element>, Vec<&Element>)> = BTreeMap::new();
    for inner in first.elements() {
        pairs.entry(key(&first.name, inner)).or_default().0.push(inner);
    }
    for inner in second.elements() {
        pairs.entry(key(&second.name, inner)).or_default().1.push(inner);
    }
    for (left, right) in pairs.into_values() {
        let both = left.len().min(right.len());
        let way = |inner: &Element| match way {
            "" => title(inner),
            way => cut_way(alloc::format!("{way} / {}", title(inner))),
        };
        for (left, right) in left.iter().zip(&right) {
            compare(left, right, &way(left), found);
        }
        for left in &left[both..] {
            found.add(|| Difference::OnlyFirst { element: way(left), inside: inside(left) });
        }
        for right in &right[both..] {
            found.add(|| Difference::OnlySecond { element: way(right), inside: inside(right) });
        }
    }
}

/// How many elements are inside one.
fn inside(element: &Element) -> u64 {
    let mut count = 0;
    let mut rest: Vec<&Element> = element.elements().collect();
    while let Some(inner) = rest.pop() {
        count += 1;
        rest.extend(inner.elements());
    }
    count
}

/// Says what was not compared.
fn compare_paths(
    first: &Topology,
    second: &Topology,
    found: &mut Found,
) -> Result<Option<Difference>, TooLarge> {
    let (a, b) = (Paths::of(first)?, Paths::of(second)?);
    let named = |topology: &Topology, paths: &Paths| -> BTreeMap<String, VertexId> {
        paths.ends().iter().map(|&id| (topology.label(id).to_string(), id)).collect()
    };
    let theirs = named(second, &b);
    let ours = named(first, &a);
    let known = [ours.len(), theirs.len()];
    let ends: Vec<(String, VertexId, VertexId)> = {
        let ours = ours.into_iter();
        ours.filter_map(|(name, id)| Some((name.clone(), id, *theirs.get(&name)?))).collect()
    };
    for (from, a_from, b_from) in &ends {
        for (to, a_to, b_to) in &ends {
            let first = a.send(*a_from, *a_to).or_else(|| a.between(*a_from, *a_to));
            let second = b.send(*b_from, *b_to).or_else(|| b.between(*b_from, *b_to));
            let told = |path: Option<Path>| path.map(|path| (path.kind, path.bandwidth));
            if told(first) != told(second) {
                found.add(|| Difference::Path {
                    from: from.clone(),
                    to: to.clone(),
                    first,
                    second,
                });
            }
        }
    }
    let pairs = |ends: usize| (ends as u64).saturating_mul(ends.saturating_sub(1) as u64);
    let compared = pairs(ends.len());
    let [first, second] = known.map(|ends| pairs(ends) - compared);
    let all = first == 0 && second == 0;
    Ok((!all).then_some(Difference::NotCompared { compared, first, second }))
}
