//! The correct plans that mutants are made from.

use core::num::NonZero;

use crosstie_ir::{
    After, BlockId, ChannelId, Chunk, Collective, Instr, Lowering, Plan, PlanBuilder, Rank, lower,
    open_early,
};
use crosstie_planner::{Algorithm, Nodes, PlanRequest, plan_world};

pub struct Base {
    pub name: &'static str,
    pub plan: Plan,
    /// Whether the plan is right in place.
    pub in_place: bool,
}

/// Rings, direct forms and exchanges of 2 to 4 ranks: whole, in two channels, in slices; a ring whose ranks
/// receive and send in two blocks, which lives on waits for steps; and a plan where each rank reduces
/// in an order of its own; and all of them with receives that are opened early.
pub fn all() -> Vec<Base> {
    let mut bases = Vec::new();
    for ranks in 2..=4 {
        for collective in [Collective::ReduceScatter, Collective::AllGather, Collective::AllReduce]
        {
            let ring = |channels| planned(collective, Algorithm::Ring, ranks, channels, false);
            let plan = planned(collective, Algorithm::Direct, ranks, 1, true);
            bases.push(Base { name: "direct", plan, in_place: true });
            bases.push(Base { name: "ring", plan: ring(1), in_place: true });
            bases.push(Base { name: "ring in two channels", plan: ring(2), in_place: true });
            let plan = lower(&ring(1), &Lowering { slices: 2 });
            bases.push(Base { name: "sliced ring", plan, in_place: true });
        }
        for collective in Collective::ALL.map(|c| c.with_root(Rank(ranks / 2))) {
            for &algorithm in Algorithm::of(collective) {
                let nodes = Nodes::new((0..ranks).map(|rank| rank % 2).collect()).expect("ranks");
                let others = [Algorithm::Ring, Algorithm::Direct];
                let known = !collective.is_whole() || collective == Collective::AllReduce;
                if algorithm.suits(collective, &nodes) && !(known && others.contains(&algorithm)) {
                    let plan = on_nodes(collective, algorithm, &nodes, 1, true);
                    bases.push(Base { name: algorithm.name(), plan, in_place: true });
                }
            }
        }
        bases.push(Base { name: "own orders", plan: own_orders(ranks), in_place: false });
        let plan = planned(Collective::AllToAll, Algorithm::Direct, ranks, 1, false);
        bases.push(Base { name: "exchange", plan, in_place: false });
        for slices in [1, 2] {
            let plan = lower(
                &planned(Collective::AllToAll, Algorithm::Direct, ranks, 1, true),
                &Lowering { slices },
            );
            bases.push(Base { name: "exchange in place", plan, in_place: true });
            let plan = lower(&two_block_ring(ranks), &Lowering { slices });
            bases.push(Base { name: "ring of two blocks", plan, in_place: true });
        }
    }
    let early = |base: &Base| {
        let plan =
            open_early(&base.plan, 1 + base.plan.ranks as usize % 3, base.in_place, &|_| true);
        Base { name: "opened early", plan, ..*base }
    };
    let early: Vec<Base> = bases.iter().map(early).collect();
    bases.extend(early);
    bases
}

fn planned(
    collective: Collective,
    algorithm: Algorithm,
    ranks: u32,
    channels: u16,
    in_place: bool,
) -> Plan {
    let nodes = Nodes::new(vec![0; ranks as usize]).expect("ranks");
    on_nodes(collective, algorithm, &nodes, channels, in_place)
}

fn on_nodes(
    collective: Collective,
    algorithm: Algorithm,
    nodes: &Nodes,
    channels: u16,
    in_place: bool,
) -> Plan {
    let channels = NonZero::new(channels).expect("a channel");
    plan_world(&PlanRequest { collective, algorithm, nodes, channels, in_place })
}

/// all_reduce by a ring where one block of each rank receives and another sends: partial sums lie
/// in the output, and each block waits for the other's steps.
fn two_block_ring(n: u32) -> Plan {
    let mut builder = PlanBuilder::new(Collective::AllReduce, n);
    for rank in 0..n {
        let chunk = |back: u32| (rank + n - back % n) % n;
        let output = |back: u32| Chunk::output(chunk(back));
        let prev = builder.connection(Rank((rank + n - 1) % n), Rank(rank), ChannelId(0));
        let next = builder.connection(Rank(rank), Rank((rank + 1) % n), ChannelId(0));
        let (recv, send) = (builder.block(Rank(rank)), builder.block(Rank(rank)));
        let step = |block: BlockId, step: u32| After { block, step };
        for back in 2..=n {
            let source = Chunk::input(chunk(back));
            let instr = Instr::recv_reduce_copy(prev, source, output(back));
            builder.push(recv, if back == n { instr.finishing() } else { instr });
        }
        builder.push(send, Instr::send(Chunk::input(chunk(1)), next));
        for back in 2..=n {
            let reduced = step(recv, back - 2);
            builder.push(send, Instr::send(output(back), next).after(reduced));
        }
        for back in 1..n {
            let instr = Instr::recv(prev, output(back));
            let sent = step(send, back - 1);
            // The partial sum that lies there must have left; the farthest chunk had none.
            builder.push(recv, if back == 1 { instr } else { instr.after(sent) });
        }
        for back in 1..n - 1 {
            let arrived = step(recv, n - 1 + back - 1);
            builder.push(send, Instr::send(output(back), next).after(arrived));
        }
    }
    builder.finish().expect("one block per end")
}

/// all_reduce where everyone sends everything to everyone, and adds up from its own rank on: the
/// sums are right, but from three ranks on their bits differ.
fn own_orders(n: u32) -> Plan {
    let mut builder = PlanBuilder::new(Collective::AllReduce, n);
    for rank in 0..n {
        let peers = || (1..n).map(move |ahead| Rank((rank + ahead) % n));
        for peer in peers() {
            let (send, to) =
                (builder.block(Rank(rank)), builder.connection(Rank(rank), peer, ChannelId(0)));
            for chunk in 0..n {
                builder.push(send, Instr::send(Chunk::input(chunk), to));
            }
        }
        let recv = builder.block(Rank(rank));
        for chunk in 0..n {
            let mut sum = Chunk::input(chunk);
            for peer in peers() {
                let from = builder.connection(peer, Rank(rank), ChannelId(0));
                let next = Chunk::output(chunk);
                let instr = Instr::recv_reduce_copy(from, sum, next);
                let is_last = peer == Rank((rank + n - 1) % n);
                builder.push(recv, if is_last { instr.finishing() } else { instr });
                sum = next;
            }
        }
    }
    builder.finish().expect("one block per end")
}
