//! Owns the cables of a lab that are cut and joined while its command runs.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crosstie_lab::{Cluster, Description, Port};

use crate::args::Change;
use crate::exit::Failure;

/// Everything that is to happen to cables, in the order of time.
#[derive(Debug)]
pub struct Cables(Vec<Event>);

#[derive(Debug, Clone, Copy)]
struct Event {
    port: Port,
    after: Duration,
    joins: bool,
}

impl Event {
    /// The flag that asks for it.
    fn flag(&self) -> String {
        let Self { port, after, joins } = self;
        format!("--{} {port}@{}s", if *joins { "up" } else { "down" }, after.as_secs_f64())
    }
}

impl Cables {
    /// What `--down` and `--up` ask for.
    pub fn of(down: &[Change], up: &[Change]) -> Self {
        let event = |joins| move |&Change { port, after }: &Change| Event { port, after, joins };
        let mut all: Vec<Event> =
            down.iter().map(event(false)).chain(up.iter().map(event(true))).collect();
        all.sort_by_key(|event| (event.after, event.joins));
        Self(all)
    }

    /// Refuses ports that are not there, and changes that would change nothing.
    pub fn check(&self, cluster: &Description) -> Result<(), Failure> {
        for (place, event) in self.0.iter().enumerate() {
            event.port.check(cluster)?;
            let same = |earlier: &&Event| earlier.port == event.port;
            let before = self.0[..place].iter().rev().find(same);
            let is_cut = before.is_some_and(|earlier| !earlier.joins);
            let (state, remedy) = match (event.joins, is_cut) {
                (true, false) => {
                    ("whole", "join only what an earlier --down of the same port cuts")
                }
                (false, true) => ("cut", "join it in between with --up, or leave one --down out"),
                _ => continue,
            };
            let what = format!("{}: that cable is {state} at that time already", event.flag());
            return Err(Failure::usage(what, remedy));
        }
        Ok(())
    }

    /// Lets it happen from now on. Nobody waits for it: the process ends with the command.
    pub fn start(self, cluster: &Arc<Cluster>) -> Result<Started, Failure> {
        let began = Instant::now();
        for &Event { port, after, joins } in &self.0 {
            let cluster = Arc::clone(cluster);
            let change = move || {
                thread::sleep((began + after).saturating_duration_since(Instant::now()));
                let told = match cluster.switch(port, joins) {
                    Ok(()) => {
                        format!("the cable at {port} is {}", if joins { "whole" } else { "cut" })
                    }
                    Err(error) => error.to_string(),
                };
                tell(&told);
            };
            let started = thread::Builder::new().name("cables".to_owned()).spawn(change);
            started.map_err(|e| Failure::host("start a thread", e))?;
        }
        Ok(Started { events: self.0, began })
    }
}

/// Changes on their way.
#[derive(Debug)]
pub struct Started {
    events: Vec<Event>,
    began: Instant,
}

impl Started {
    /// Says which of them come too late for the command, which has ended.
    pub fn tell_of_those_to_come(&self) {
        let took = self.began.elapsed();
        for event in self.events.iter().filter(|event| event.after > took) {
            let (flag, took) = (event.flag(), took.as_secs_f64());
            tell(&format!("{flag} did not happen: the command had ended after {took:.1} s"));
        }
    }
}

/// Nothing stands in the way when nobody reads it.
fn tell(what: &str) {
    let _ = writeln!(io::stderr(), "crosstie: {what}");
}

#[cfg(test)]
mod tests {
    use crosstie_lab::Rate;

    use super::*;

    fn refusal(down: &[(&str, u64)], up: &[(&str, u64)]) -> Option<String> {
        let cluster = Description {
            nodes: 2,
            ranks_per_node: 2,
            rails: 2,
            rate: Rate(None),
            oversubscription: Some(1),
            mtu: 1500,
        };
        let changes = |all: &[(&str, u64)]| -> Vec<Change> {
            let change = |(port, after): &(&str, u64)| Change {
                port: port.parse().unwrap(),
                after: Duration::from_secs(*after),
            };
            all.iter().map(change).collect()
        };
        let checked = Cables::of(&changes(down), &changes(up)).check(&cluster);
        checked.err().map(|failure| failure.to_string())
    }

    #[test]
    fn cables_are_joined_only_after_they_were_cut_and_cut_only_while_whole() {
        let flaps = [("n0r1", 1), ("n0r1", 5), ("up0", 2)];
        assert_eq!(refusal(&flaps, &[("n0r1", 3), ("up0", 2)]), None);
        for (down, up, flag, state) in [
            (&[][..], &[("n0r1", 3)][..], "--up n0r1@3s", "whole"),
            (&[("n0r1", 4)], &[("n0r1", 3)], "--up n0r1@3s", "whole"),
            (&[("n0r1", 1)], &[("n1r1", 3)], "--up n1r1@3s", "whole"),
            (&[("up1", 1), ("up1", 2)], &[], "--down up1@2s", "cut"),
        ] {
            let said = refusal(down, up).unwrap_or_default();
            assert!(said.starts_with(flag) && said.contains(state), "{said}");
        }
        assert!(refusal(&[("n2r0", 1)], &[]).is_some_and(|said| said.contains("no port n2r0")));
    }
}
