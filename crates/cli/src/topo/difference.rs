//! Owns how the difference of two machines is told: first what each is, then what changed, with paths
//! that changed alike counted together.

use std::collections::BTreeMap;
use std::fmt::Write;

use crosstie_topo::{Difference, Path, Topology, render};

/// The most devices and attributes, and kinds of changed paths, that are told unless all are asked for.
const MOST: usize = 24;

/// The whole of it. `names` are what the user calls the two.
pub fn text(
    found: &[Difference],
    machines: [&Topology; 2],
    names: [&str; 2],
    full: bool,
) -> String {
    let [first, second] = machines.map(render::headline);
    let mut text = match first == second {
        true => format!("A {}, B {}: both {first}\n", names[0], names[1]),
        false => format!("A {}: {first}\nB {}: {second}\n", names[0], names[1]),
    };
    if found.is_empty() {
        text.push_str("no difference: the same devices, attributes and paths\n");
        return text;
    }
    let left_out = found.iter().find_map(|difference| match difference {
        Difference::LeftOut { count } => Some(*count),
        _ => None,
    });
    let not_compared = found.iter().find_map(|difference| match difference {
        Difference::NotCompared { compared, first, second } => Some((*compared, *first, *second)),
        _ => None,
    });
    let is_told = |it: &&Difference| {
        !matches!(it, Difference::LeftOut { .. } | Difference::NotCompared { .. })
    };
    let (paths, devices): (Vec<_>, Vec<_>) = found
        .iter()
        .filter(is_told)
        .partition(|difference| matches!(difference, Difference::Path { .. }));
    add_devices(&mut text, &devices, full);
    if let Some(count) = left_out {
        let _ = writeln!(
            text,
            "\n{count} more differences, of which some may be of paths, are not looked at"
        );
    }
    if full {
        let _ = writeln!(text, "\n{} paths differ (A -> B):", paths.len());
        text.extend(paths.iter().map(|path| format!("{path}\n")));
    } else if !paths.is_empty() {
        add_paths(&mut text, &paths);
    } else if left_out.is_none() {
        text.push_str(match not_compared {
            None => "\nno path differs\n",
            Some((0, ..)) => "\nno path is compared\n",
            Some(_) => "\nno path that both have differs\n",
        });
    }
    if let Some((compared, first, second)) = not_compared {
        let _ = writeln!(
            text,
            "{compared} paths are compared, {first} of A and {second} of B are not: the other has no end of that name"
        );
    }
    text
}

fn add_devices(text: &mut String, devices: &[&Difference], full: bool) {
    if devices.is_empty() {
        return;
    }
    let (mut gone, mut new, mut changed) = (0, 0, 0);
    for device in devices {
        match device {
            Difference::OnlyFirst { inside, .. } => gone += 1 + inside,
            Difference::OnlySecond { inside, .. } => new += 1 + inside,
            _ => changed += 1,
        }
    }
    let told =
        [(gone, "only in A (-)"), (new, "only in B (+)"), (changed, "with another value (~)")];
    let told: Vec<String> =
        told.into_iter().filter(|&(n, _)| n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let _ = writeln!(text, "\ndevices and attributes: {}", told.join(", "));
    let most = if full { devices.len() } else { MOST };
    text.extend(devices.iter().take(most).map(|it| format!("{it}\n")));
    if devices.len() > most {
        let _ = writeln!(text, "… and {} more: --full", devices.len() - most);
    }
}

fn add_paths(text: &mut String, paths: &[&Difference]) {
    let shown = |path: &Option<Path>| match path {
        Some(path) => format!("{} {}", path.kind, path.bandwidth),
        None => "none".into(),
    };
    let mut kinds: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
    for path in paths {
        if let Difference::Path { from, to, first, second } = path {
            let kind = kinds.entry((shown(first), shown(second))).or_default();
            kind.0 += 1;
            if kind.0 <= 3 {
                let comma = if kind.0 > 1 { ", " } else { "" };
                let _ = write!(kind.1, "{comma}{from} to {to}");
            }
        }
    }
    let _ = writeln!(text, "\npaths: {} differ (A -> B)", paths.len());
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for ((first, second), (count, names)) in kinds.iter().take(MOST) {
        let more = if *count > 3 { format!(", … {} more", count - 3) } else { String::new() };
        let _ = writeln!(text, "{count:6}  {first} -> {second}: {names}{more}");
    }
    if kinds.len() > MOST {
        let _ = writeln!(text, "… and {} more kinds: --full", kinds.len() - MOST);
    }
}
