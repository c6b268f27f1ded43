//! Owns what is told of the wires between nodes: which pairs of ranks are joined by verbs, which by TCP and why, and by
//! which ports ranks send.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crosstie::{Communicator, Error, Metrics, Over};
use crosstie_planner::explain::numbers;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What one rank tells. Of each pair the lower one tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Told {
    /// The ports that it sends over verbs by.
    ports: Vec<(String, u8)>,
    /// How many pairs are joined by verbs, and how many by TCP.
    verbs: u32,
    tcp: u32,
    /// Why none of its wires can be over verbs.
    lacks: Option<String>,
    /// With whom it has no wire over verbs, though both could have some, and why.
    apart: Vec<(u32, String)>,
}

impl Told {
    fn of(rank: u32, metrics: &Metrics) -> Self {
        let mut told = Self { ports: metrics.ports.clone(), ..Self::default() };
        for Over { peer, transport, whose, why, .. } in &metrics.over {
            if *whose == Some(rank) {
                told.lacks.clone_from(why);
            }
            if *peer < rank {
                continue;
            }
            match *transport {
                "verbs" => told.verbs += 1,
                _ => told.tcp += 1,
            }
            if let (None, Some(why)) = (whose, why) {
                told.apart.push((*peer, why.clone()));
            }
        }
        told
    }
}

/// What all ranks tell, by rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wires(Vec<Told>);

/// What every rank tells; every rank gets it.
pub fn of_world(comm: &mut Communicator) -> Result<Wires, Error> {
    let own = Told::of(comm.rank(), &comm.metrics());
    // Numbers and strings alone: it can be written, and read again.
    let own = serde_json::to_vec(&own).unwrap_or_default();
    let mut lengths = vec![0; comm.size() as usize];
    comm.all_gather(&[own.len() as u64], &mut lengths)?;
    let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
    let mut all = vec![0u8; lengths.iter().sum()];
    comm.all_gather_v(&own, &mut all, &lengths)?;
    let mut rest = all.as_slice();
    let told = lengths.into_iter().map(|length| {
        let (told, behind) = rest.split_at(length);
        rest = behind;
        serde_json::from_slice(told).unwrap_or_default()
    });
    Ok(Wires(told.collect()))
}

impl Wires {
    /// Pairs that are joined by verbs, and by TCP.
    fn pairs(&self) -> (u32, u32) {
        self.0.iter().fold((0, 0), |(verbs, tcp), told| (verbs + told.verbs, tcp + told.tcp))
    }

    fn by_rank(&self) -> impl Iterator<Item = (u32, &Told)> {
        (0..).zip(&self.0)
    }

    /// Ranks none of whose wires can be over verbs, by the reason.
    fn lacking(&self) -> BTreeMap<&str, Vec<u32>> {
        let mut lacking = BTreeMap::<_, Vec<u32>>::new();
        for (rank, told) in self.by_rank() {
            if let Some(why) = &told.lacks {
                lacking.entry(why.as_str()).or_default().push(rank);
            }
        }
        lacking
    }

    /// Pairs that have no wire over verbs, though both ranks could have some.
    fn apart(&self) -> impl Iterator<Item = (u32, u32, &str)> {
        let of = |(rank, told)| -> _ {
            let Told { apart, .. }: &Told = told;
            apart.iter().map(move |(peer, why)| (rank, *peer, why.as_str()))
        };
        self.by_rank().flat_map(of)
    }

    /// Ports with the ranks that send over verbs by them.
    fn ports(&self) -> BTreeMap<&(String, u8), Vec<u32>> {
        let mut ports = BTreeMap::<_, Vec<u32>>::new();
        for (rank, told) in self.by_rank() {
            for port in &told.ports {
                ports.entry(port).or_default().push(rank);
            }
        }
        ports
    }

    /// In lines; none where there is no wire.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let (verbs, tcp) = self.pairs();
        // Writing to a String cannot fail.
        let _ = match (verbs, tcp) {
            (0, 0) => return text,
            (0, tcp) => writeln!(text, "Over the network {}: all by TCP.", wired(tcp)),
            (verbs, 0) => writeln!(text, "Over the network {}: all by verbs.", wired(verbs)),
            (verbs, tcp) => {
                let all = wired(verbs + tcp);
                writeln!(text, "Over the network {all}: {verbs} by verbs, {tcp} by TCP.")
            }
        };
        for (why, ranks) in self.lacking() {
            let _ = writeln!(text, "TCP: {} ({why}).", counted(&ranks));
        }
        for (rank, peer, why) in self.apart().take(MOST_APART) {
            let _ = writeln!(text, "TCP: ranks {rank} and {peer} ({why}).");
        }
        let more = self.apart().skip(MOST_APART).count();
        if more > 0 {
            let _ = writeln!(text, "TCP: {more} more pairs (--json tells all).");
        }
        for ((device, port), ranks) in self.ports() {
            let s = if ranks.len() == 1 { "s" } else { "" };
            let who = counted(&ranks).replacen('r', "R", 1);
            let _ = writeln!(text, "{who} send{s} by port {port} of {device}.");
        }
        text
    }

    /// The same for scripts.
    pub fn object(&self) -> Value {
        let (verbs, tcp) = self.pairs();
        let lacking = self.lacking().into_iter();
        let apart =
            self.apart().map(|(rank, peer, why)| json!({ "ranks": [rank, peer], "why": why }));
        let ports = self.ports().into_iter();
        json!({
            "pairs": verbs + tcp,
            "verbs": verbs,
            "tcp": tcp,
            "ranks_without_verbs": lacking.map(|(why, ranks)| json!({ "ranks": ranks, "why": why })).collect::<Value>(),
            "pairs_without_verbs": apart.collect::<Value>(),
            "ports": ports.map(|((device, port), ranks)| json!({ "device": device, "port": port, "ranks": ranks })).collect::<Value>(),
        })
    }
}

/// More lines would hide the others.
const MOST_APART: usize = 8;

fn wired(pairs: u32) -> String {
    match pairs {
        1 => "1 pair of ranks has a wire".to_owned(),
        pairs => format!("{pairs} pairs of ranks have a wire"),
    }
}

fn counted(ranks: &[u32]) -> String {
    let s = if ranks.len() == 1 { "" } else { "s" };
    format!("rank{s} {}", numbers(ranks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(port: Option<&str>, (verbs, tcp): (u32, u32), lacks: Option<&str>) -> Told {
        let ports = port.map(|device| (device.to_owned(), 1)).into_iter().collect();
        Told { ports, verbs, tcp, lacks: lacks.map(str::to_owned), apart: Vec::new() }
    }

    #[test]
    fn what_is_not_by_verbs_is_told_with_its_reason_and_whom_it_concerns() {
        let mut all = vec![
            told(Some("mlx5_0"), (1, 1), None),
            told(Some("mlx5_1"), (0, 2), None),
            told(Some("mlx5_0"), (0, 0), None),
            told(None, (0, 0), Some("CROSSTIE_VERBS is off")),
        ];
        all[1].apart.push((2, "no answer".to_owned()));
        let wires = Wires(all);
        assert_eq!(
            wires.text(),
            "Over the network 4 pairs of ranks have a wire: 1 by verbs, 3 by TCP.\n\
             TCP: rank 3 (CROSSTIE_VERBS is off).\n\
             TCP: ranks 1 and 2 (no answer).\n\
             Ranks 0 2 send by port 1 of mlx5_0.\n\
             Rank 1 sends by port 1 of mlx5_1.\n"
        );
        let object = wires.object();
        assert_eq!((&object["pairs"], &object["verbs"]), (&4.into(), &1.into()));
        assert_eq!(object["ranks_without_verbs"][0]["ranks"], json!([3]));
        assert_eq!(object["pairs_without_verbs"][0]["ranks"], json!([1, 2]));
        assert_eq!(object["ports"][0], json!({ "device": "mlx5_0", "port": 1, "ranks": [0, 2] }));
    }

    #[test]
    fn a_rank_with_two_nics_sends_by_both_ports() {
        let mut both = told(Some("mlx5_0"), (1, 0), None);
        both.ports.push(("mlx5_1".to_owned(), 2));
        let wires = Wires(vec![both, told(Some("mlx5_1"), (0, 0), None)]);
        let text = wires.text();
        let ports = "Rank 0 sends by port 1 of mlx5_0.\n\
                     Rank 1 sends by port 1 of mlx5_1.\n\
                     Rank 0 sends by port 2 of mlx5_1.\n";
        assert!(text.ends_with(ports), "{text}");
        let all = wires.object();
        let of_rank_0 = all["ports"]
            .as_array()
            .map(|ports| ports.iter().filter(|port| port["ranks"] == json!([0])).count());
        assert_eq!(of_rank_0, Some(2));
    }

    #[test]
    fn many_pairs_do_not_hide_the_rest() {
        let mut first = told(None, (0, 20), None);
        first.apart = (1..=20).map(|peer| (peer, "no answer".to_owned())).collect();
        let text = Wires(vec![first]).text();
        assert!(text.contains("all by TCP") && text.contains("12 more pairs"), "{text}");
        assert_eq!(Wires(vec![Told::default()]).text(), "", "one node has no wires");
        let one = Wires(vec![told(None, (1, 0), None)]).text();
        assert_eq!(one, "Over the network 1 pair of ranks has a wire: all by verbs.\n");
    }
}
