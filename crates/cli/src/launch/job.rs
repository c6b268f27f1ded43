//! Owns what a world to be started is: its program, and of each rank where it is and what it is told.

use std::env;
use std::ffi::OsString;

use crosstie::Meeting;
use crosstie_lab::Node;
use crosstie_launch::emulated_node;

use crate::exit::Failure;

/// A world to start.
pub struct Job {
    program: Vec<OsString>,
    places: Vec<Place>,
    /// Where the ranks meet, if this process serves it.
    _meeting: Option<Meeting>,
    keeps_going: bool,
}

/// Where one rank is started, and what it is told of its world.
#[derive(Debug)]
pub struct Place {
    /// Names of its environment, and values.
    pub told: Vec<(&'static str, String)>,
    /// Names that it must not find in its environment, whatever they are here.
    pub withheld: &'static [&'static str],
    /// The node of a lab that it is on; none for this host, as it is.
    pub node: Option<Node>,
}

impl Job {
    /// `ranks` ranks of a program on this host, which plays `nodes` nodes, each of consecutive ranks.
    pub fn emulated(ranks: u32, nodes: u32, program: Vec<OsString>) -> Result<Self, Failure> {
        let (meeting, id) = Meeting::open()?;
        let id = id.to_string();
        let place = |rank: u32| {
            let mut told = vec![
                ("CROSSTIE_RANK", rank.to_string()),
                ("CROSSTIE_SIZE", ranks.to_string()),
                ("CROSSTIE_ID", id.clone()),
                ("CROSSTIE_NODE", node_name(rank, ranks, nodes)),
            ];
            if !has_secret() {
                // As good a secret as any, and for as long: who meets elsewhere, as at NCCL_COMM_ID, meets its own job.
                told.push(("CROSSTIE_SECRET", id.clone()));
            }
            Place { told, withheld: &[], node: None }
        };
        let places = (0..ranks).map(place).collect();
        Ok(Self { program, places, _meeting: Some(meeting), keeps_going: false })
    }

    /// A program at these places, whose ranks know themselves where they meet.
    pub fn at(places: Vec<Place>, program: Vec<OsString>) -> Self {
        Self { program, places, _meeting: None, keeps_going: false }
    }

    /// The same, with one more thing that all ranks are told.
    pub fn telling(mut self, name: &'static str, value: &str) -> Self {
        self.places.iter_mut().for_each(|place| place.told.push((name, value.to_owned())));
        self
    }

    /// The same; with `true` a rank that fails ends no other.
    pub fn keep_going(mut self, keeps_going: bool) -> Self {
        self.keeps_going = keeps_going;
        self
    }

    /// Whether ranks go on when another has failed.
    pub fn keeps_going(&self) -> bool {
        self.keeps_going
    }

    /// The program of every rank, and its arguments.
    pub fn program(&self) -> &[OsString] {
        &self.program
    }

    /// Where each rank is, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

/// Whether the user has given the job a secret.
fn has_secret() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("CROSSTIE_SECRET") || is_set("CROSSTIE_SECRET_FILE")
}

/// Refuses to emulate more nodes than there are ranks to be on them.
pub fn refuse_empty_nodes(nodes: u32, ranks: u32) -> Result<(), Failure> {
    if nodes <= ranks {
        return Ok(());
    }
    Err(Failure::usage(
        format!("--nodes {nodes} needs at least as many ranks, and there are {ranks}"),
        format!("give --nodes {ranks} or less, or start more ranks"),
    ))
}

/// The name of the emulated node that `rank` is on.
pub fn node_name(rank: u32, ranks: u32, nodes: u32) -> String {
    format!("emulated-{}", emulated_node(rank, ranks, nodes))
}
