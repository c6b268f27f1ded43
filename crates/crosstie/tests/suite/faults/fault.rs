//! Owns which fault happens to which world, and what must come of it.

use std::time::Duration;

use crosstie_testkit::random::Random;

/// How often monitors say that they live, and after what silence a rank is given up: short, but long enough for
/// monitors whose host runs some fifteen busy processes on two cores.
pub const HEARTBEAT: Duration = Duration::from_millis(300);
pub const SILENCE: Duration = Duration::from_secs(3);
/// How long calls wait for a rank that makes none, where one does.
pub const ARRIVAL: Duration = Duration::from_secs(2);

/// Over what the ranks of a world exchange their data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wires {
    SharedMemory,
    Tcp,
    /// Two nodes: shared memory inside, TCP between.
    Mixed,
    /// The same, and messages go by way of the rank on their receiver's rail.
    Relayed,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// It is killed while the ranks meet and connect.
    KillEarly,
    /// It is killed, and another up to some milliseconds later: amid the succession of hubs, often.
    KillTwo {
        /// The other.
        second: u32,
        /// How much later.
        gap: Duration,
    },
    /// It is stopped for longer than the silence.
    Stop,
    /// It is stopped for less than that: no fault.
    Delay,
    /// A socket of the data between two ranks is shut down; where one of them is rank 0, that of their monitors, too.
    Cut {
        /// The rank at the other end.
        peer: u32,
    },
    /// The socket between its monitor and that of rank 0 is shut down: no fault, for it is made anew.
    CutMonitor,
    /// Its sockets take a few bytes at a time: no fault.
    ShortWrites,
    /// It leaves in order, earlier than the others.
    Leave,
    /// Its program panics.
    Panic,
    /// Its program makes no more calls: its process lives, and takes what is sent to it, but answers nothing.
    Swallow,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::KillEarly => "early kill",
            Fault::KillTwo { .. } => "two kills",
            Fault::Stop => "stop",
            Fault::Delay => "delay",
            Fault::Cut { .. } => "cut",
            Fault::CutMonitor => "cut monitor",
            Fault::ShortWrites => "short writes",
            Fault::Leave => "leave",
            Fault::Panic => "panic",
            Fault::Swallow => "swallow",
        }
    }
}

/// A world, and what happens to it.
#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub ranks: u32,
    pub wires: Wires,
    pub fault: Fault,
    pub victim: u32,
    /// How long after its ranks are ready (for [`Fault::KillEarly`]: were started).
    pub after: Duration,
}

impl Case {
    /// A random one, over `wanted` if the fault can happen there.
    pub fn of(random: &mut Random, wanted: Option<Wires>) -> Case {
        let seed = random.bits();
        let ranks = 2 + random.below(4) as u32;
        let wires = [Wires::SharedMemory, Wires::Tcp, Wires::Mixed, Wires::Relayed]
            [random.below(4) as usize];
        let wires = wanted.unwrap_or(wires);
        let victim = random.below(u64::from(ranks)) as u32;
        let other = (victim + 1 + random.below(u64::from(ranks) - 1) as u32) % ranks;
        let fault = match random.below(13) {
            1 if ranks > 2 => {
                let gap = Duration::from_micros(random.below(5000));
                Fault::KillTwo { second: other, gap }
            }
            2 => Fault::KillEarly,
            3 => Fault::Stop,
            4 => Fault::Delay,
            5 => Fault::ShortWrites,
            6 => Fault::Leave,
            7 => Fault::Panic,
            8 => Fault::CutMonitor,
            9 | 10 => Fault::Cut { peer: other },
            11 => Fault::Swallow,
            _ => Fault::Kill,
        };
        let after = Duration::from_micros(random.below(300_000));
        let case = Case { seed, ranks, wires, fault, victim, after };
        match fault {
            Fault::Cut { .. } => Case { wires: Wires::Tcp, ..case },
            // They have no other socket.
            Fault::CutMonitor => {
                let victim = 1 + victim % (ranks - 1);
                Case { wires: Wires::SharedMemory, victim, ..case }
            }
            Fault::ShortWrites if wires == Wires::SharedMemory => {
                Case { wires: Wires::Tcp, ..case }
            }
            Fault::KillEarly => Case { after: after / 3, ..case },
            _ => case,
        }
    }

    /// Whether all ranks are to go on as if nothing had happened.
    pub fn is_harmless(&self) -> bool {
        matches!(self.fault, Fault::Delay | Fault::ShortWrites | Fault::CutMonitor)
    }

    /// Whether it happens to others than this rank, so that it must end as all others do.
    pub fn spares(&self, rank: u32) -> bool {
        match self.fault {
            Fault::Cut { .. } => true,
            _ if self.is_harmless() => true,
            Fault::KillTwo { second, .. } => rank != self.victim && rank != second,
            _ => rank != self.victim,
        }
    }

    /// Whether it happens to the hub of the verdict, for whom no other answers.
    pub fn is_of_the_hub(&self) -> bool {
        match self.fault {
            Fault::Cut { .. } => false,
            Fault::KillTwo { second: 0, .. } => true,
            _ => self.victim == 0,
        }
    }

    /// Whether a verdict may blame this rank, or the link between these.
    pub fn may_blame(&self, culprit: &str) -> bool {
        let victim = self.victim;
        match self.fault {
            Fault::Cut { peer } => culprit == format!("{}-{}", victim.min(peer), victim.max(peer)),
            Fault::KillTwo { second, .. } => {
                [victim, second].iter().any(|rank| culprit == rank.to_string())
            }
            _ => culprit == victim.to_string(),
        }
    }

    /// The codes of which a survivor's error must have one.
    pub fn codes(&self) -> &'static [&'static str] {
        match self.fault {
            Fault::Kill | Fault::KillTwo { .. } => &["CT-060"],
            // Wherever the ranks happen to be: in the meeting, at its end, while connecting.
            Fault::KillEarly => &["CT-010", "CT-014", "CT-050", "CT-060"],
            Fault::Stop => &["CT-061"],
            Fault::Cut { .. } => &["CT-071"],
            Fault::Leave => &["CT-066"],
            Fault::Panic => &["CT-064"],
            Fault::Swallow => &["CT-062"],
            Fault::Delay | Fault::ShortWrites | Fault::CutMonitor => &[],
        }
    }
}
