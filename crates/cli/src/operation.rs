//! Owns the operations that can be measured: one value for each, with its name, what its size counts,
//! and the factor that makes a bus bandwidth of it, as nccl-tests has them.

use crosstie::Collective;
use crosstie_ir::Rank;

/// An operation as it is measured.
#[derive(Debug)]
pub struct Operation {
    /// The name that the command line, tables and JSON use.
    pub name: &'static str,
    /// What its size counts.
    pub size: Size,
    /// Bus bandwidth over algorithm bandwidth: what each rank's link must carry per byte of size.
    pub bus: Bus,
    /// How it is called.
    pub kind: Kind,
}

/// What an operation's size counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One buffer, whose elements are the count.
    Whole,
    /// Parts, one for each rank; the count is the elements of one.
    Parts,
    /// Nothing: no bytes are carried.
    Nothing,
}

/// Bus bandwidth over algorithm bandwidth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// 1.
    One,
    /// (n − 1) / n: all parts but a rank's own.
    Others,
    /// 2 (n − 1) / n: the same, there and back.
    OthersTwice,
}

/// How an operation is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As one of the library's collectives; around another root where it has one.
    Collective(Collective),
    /// The same with blocks of different lengths.
    Ragged(Collective),
    /// As a send to the next rank and a receive from the one before.
    SendRecv,
}

const fn collective(collective: Collective, size: Size, bus: Bus) -> Operation {
    Operation { name: collective.name(), size, bus, kind: Kind::Collective(collective) }
}

const fn ragged(name: &'static str, collective: Collective) -> Operation {
    Operation { name, size: Size::Parts, bus: Bus::Others, kind: Kind::Ragged(collective) }
}

const ROOT: Rank = Rank(0);

/// Every operation, in the order in which help lists them.
pub static ALL: &[Operation] = &[
    collective(Collective::AllReduce, Size::Whole, Bus::OthersTwice),
    collective(Collective::AllGather, Size::Parts, Bus::Others),
    collective(Collective::ReduceScatter, Size::Parts, Bus::Others),
    collective(Collective::AllToAll, Size::Parts, Bus::Others),
    collective(Collective::Broadcast { root: ROOT }, Size::Whole, Bus::One),
    collective(Collective::Reduce { root: ROOT }, Size::Whole, Bus::One),
    collective(Collective::Gather { root: ROOT }, Size::Parts, Bus::Others),
    collective(Collective::Scatter { root: ROOT }, Size::Parts, Bus::Others),
    Operation { name: "send_recv", size: Size::Whole, bus: Bus::One, kind: Kind::SendRecv },
    ragged("all_gather_v", Collective::AllGather),
    ragged("reduce_scatter_v", Collective::ReduceScatter),
    ragged("all_to_all_v", Collective::AllToAll),
    collective(Collective::Barrier, Size::Nothing, Bus::One),
];

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Operation {}

impl Operation {
    /// The operation of that name, also without its underscores.
    pub fn named(text: &str) -> Option<&'static Self> {
        ALL.iter().find(|operation| plain(operation.name) == plain(text))
    }

    /// The collective that it calls, with blocks of equal lengths or not.
    pub fn collective(&self) -> Collective {
        match self.kind {
            Kind::Collective(collective) | Kind::Ragged(collective) => collective,
            Kind::SendRecv => Collective::SendRecv,
        }
    }

    /// Whether blocks differ in length.
    pub fn is_ragged(&self) -> bool {
        matches!(self.kind, Kind::Ragged(_))
    }

    /// Whether elements are combined, so that there is a reduction to choose.
    pub fn reduces(&self) -> bool {
        self.collective().reduces()
    }

    /// Whether one rank differs from the others.
    pub fn rooted(&self) -> bool {
        self.collective().root().is_some()
    }

    /// Whether there are elements, whose type can be chosen.
    pub fn carries(&self) -> bool {
        self.size != Size::Nothing
    }

    /// Whether it can be called with one buffer for what is sent and received.
    pub fn in_place(&self) -> bool {
        let never = [Kind::Ragged(Collective::AllToAll), Kind::SendRecv];
        self.carries() && !never.contains(&self.kind)
    }

    /// Into how many parts its size falls, on so many ranks.
    pub fn parts(&self, ranks: u32) -> u32 {
        match self.size {
            Size::Whole | Size::Nothing => 1,
            Size::Parts => ranks,
        }
    }

    /// Bus bandwidth over algorithm bandwidth, on so many ranks.
    pub fn bus_factor(&self, ranks: u32) -> f64 {
        let others = f64::from(ranks - 1) / f64::from(ranks);
        match self.bus {
            Bus::One => 1.0,
            Bus::Others => others,
            Bus::OthersTwice => 2.0 * others,
        }
    }
}

/// A name without what people leave out.
pub fn plain(name: &str) -> String {
    name.replace(['_', '-'], "").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_factors_are_those_of_nccl_tests() {
        let factor = |name| Operation::named(name).unwrap().bus_factor(4);
        assert_eq!(factor("all_reduce"), 1.5);
        for name in
            ["all_gather", "reduce_scatter", "all_to_all", "gather", "scatter", "all_to_all_v"]
        {
            assert_eq!(factor(name), 0.75, "{name}");
        }
        for name in ["broadcast", "reduce", "send_recv"] {
            assert_eq!(factor(name), 1.0, "{name}");
        }
    }
}
