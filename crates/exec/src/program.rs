//! Owns a plan slice whose connections are resolved to endpoints: what the interpreter walks.

use crosstie_ir::{Collective, ConnId, Plan, Rank, open_early};
use crosstie_transport::seam::{Endpoint, Expect, Receiver, Sender};

use crate::ExecError;

/// One rank's slice of a plan, ready to be run any number of times.
#[derive(Debug)]
pub struct Program {
    pub(crate) plan: Plan,
    ends: Vec<End>,
    /// What the other ranks of the node are likely to send in the same operation.
    pub(crate) expect: Expect,
    /// Whether a window opens places for the next.
    pub(crate) opens_ahead: bool,
}

/// What is known of the calls that a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether send and receive buffers may coincide.
    pub in_place: bool,
    /// How many receives of a connection over a network are opened before the one that is waited for.
    pub ahead: usize,
    /// The number of a transport's channels, if messages go past relays wherever there is a way past them.
    pub past_relays: Option<u16>,
}

/// This rank's end of one connection of the plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// Which endpoint carries it.
    pub endpoint: usize,
    /// The rank at the other end.
    pub peer: u32,
    /// The connection's channel.
    pub channel: u16,
    pub port: EndPort,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum EndPort {
    Sending(Sender),
    Receiving(Receiver),
}

impl Program {
    /// Resolves `plan`, the slice of `rank`, against the endpoints of that rank.
    ///
    /// # Errors
    /// [`ExecError::NoConnection`] when no endpoint has one of the plan's connections.
    pub fn resolve(
        plan: Plan,
        rank: Rank,
        endpoints: &[Box<dyn Endpoint>],
        known: Known,
    ) -> Result<Self, ExecError> {
        let Known { in_place, ahead, past_relays } = known;
        let ends = plan
            .connections
            .iter()
            .map(|c| {
                let channel = c.channel.0;
                let sending = c.src == rank;
                let peer = if sending { c.dst.0 } else { c.src.0 };
                endpoints
                    .iter()
                    .enumerate()
                    .find_map(|(endpoint, e)| {
                        let past = past_relays.map(|channels| channels + channel);
                        let on = past.into_iter().chain([channel]);
                        let port = match sending {
                            true => {
                                on.into_iter().find_map(|c| e.sender(peer, c)).map(EndPort::Sending)
                            }
                            false => on
                                .into_iter()
                                .find_map(|c| e.receiver(peer, c))
                                .map(EndPort::Receiving),
                        }?;
                        Some(End { endpoint, peer, channel, port })
                    })
                    .ok_or(ExecError::NoConnection { peer, channel })
            })
            .collect::<Result<Vec<_>, _>>()?;
        // Past relays no rank's messages wait for another's: on a rank's own rail they would in vain.
        let expect = past_relays.map_or_else(|| expected(&plan, rank), |_| Expect::Nothing);
        let plan = open_early(&plan, ahead, in_place, &|ConnId(conn)| {
            let end: Option<&End> = ends.get(conn as usize);
            end.is_some_and(|end| endpoints[end.endpoint].most_posted() > ahead)
        });
        let mut instrs = plan.blocks.iter().flat_map(|block| &block.instrs);
        let opens_ahead = instrs.any(|instr| instr.is_granted() && instr.is_ahead());
        Ok(Self { plan, ends, expect, opens_ahead })
    }

    /// The plan it was made from, with grants placed early.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn end(&self, conn: ConnId) -> &End {
        &self.ends[conn.0 as usize]
    }
}

/// What the slice of one rank tells of the others'. In an all_to_all each rank sends to each. Where this
/// rank sends to all others the rest probably do, too; and so where it sends a group of several messages,
/// for that is how programs write an all_to_all.
fn expected(plan: &Plan, rank: Rank) -> Expect {
    let receivers = plan.connections.iter().filter(|c| c.src == rank && c.channel.0 == 0).count();
    match plan.collective {
        Collective::AllToAll => Expect::All,
        Collective::SendRecv if receivers >= FEWEST_OF_MANY => Expect::Perhaps,
        _ if receivers as u32 + 1 == plan.ranks => Expect::Perhaps,
        _ => Expect::Nothing,
    }
}

/// Receivers of a group from which on it is taken for a rank's part of an exchange of all.
const FEWEST_OF_MANY: usize = 3;
