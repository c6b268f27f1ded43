//! Nothing that reads plans panics, or takes memory out of proportion, whatever the plan says.

use crosstie_ir::{
    After, Block, BlockId, ChannelId, Chunk, Collective, ConnId, Connection, Instr, Lowering,
    Options, Plan, Rank, Space, fingerprint, from_json, lower, to_json, verify,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Mostly small numbers, so that a good part of the references hold.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..3u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn small() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0..3u16, 1 => any::<u16>()]
}

fn chunk() -> impl Strategy<Value = Chunk> {
    let space = prop_oneof![Just(Space::Input), Just(Space::Output), Just(Space::Scratch)];
    (space, number()).prop_map(|(space, index)| Chunk { space, index })
}

fn instr() -> impl Strategy<Value = Instr> {
    let ports =
        (option::of(number()), option::of(chunk()), option::of(chunk()), option::of(number()));
    let after = option::weighted(0.2, (number(), number()));
    (ports, small(), small(), after, 0..4u8).prop_map(|(ports, slice, slices, after, marks)| {
        let (recv, src, dst, send) = ports;
        let instr = Instr::new(recv.map(ConnId), src, dst, send.map(ConnId)).sliced(slice, slices);
        let instr = if marks & 1 == 1 { instr.accumulating() } else { instr };
        let instr = if marks & 2 == 2 { instr.finishing() } else { instr };
        match after {
            Some((block, step)) => instr.after(After { block: BlockId(block), step }),
            None => instr,
        }
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let collective = (0..Collective::ALL.len()).prop_map(|at| Collective::ALL[at]);
    let connection = (number(), number(), 0..2u16).prop_map(|(src, dst, channel)| Connection {
        src: Rank(src),
        dst: Rank(dst),
        channel: ChannelId(channel),
    });
    let block = (number(), vec(instr(), 0..5))
        .prop_map(|(rank, instrs)| Block { rank: Rank(rank), instrs });
    let sizes = (number(), number(), number());
    (collective, number(), sizes, vec(connection, 0..4), vec(block, 0..4)).prop_map(
        |(collective, root, (ranks, parts, scratch_chunks), connections, blocks)| Plan {
            collective: collective.with_root(Rank(root)),
            ranks,
            parts,
            scratch_chunks,
            connections,
            blocks,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_can_be_judged_cut_and_lowered(plan in plan(), slices in small()) {
        let _ = verify(&plan, &Options::copy(u32::MAX));
        let _ = verify(&plan, &Options::copy(2).lending());
        let _ = verify(&lower(&plan, &Lowering { slices }), &Options::copy(2).in_place());
        let slices: Vec<Plan> = (0..4).map(|rank| plan.slice(Rank(rank))).collect();
        let _ = Plan::merge(&slices);
        let _ = fingerprint(&plan);
    }

    #[test]
    fn a_plan_that_can_be_read_back_is_the_same(plan in plan()) {
        if let Ok(back) = from_json(to_json(&plan).as_bytes()) {
            prop_assert_eq!(back, plan);
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in vec(any::<u8>(), 0..200)) {
        let _ = from_json(&bytes);
    }

    #[test]
    fn any_damage_to_a_text_can_be_read(plan in plan(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = to_json(&plan).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(plan) = from_json(&text) {
            let _ = verify(&plan, &Options::copy(1));
        }
    }
}
