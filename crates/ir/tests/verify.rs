//! Each kind of bad plan is refused for its own reason, by name of all that has to do with it.

use crosstie_ir::{
    Access, After, Block, BlockId, BuildError, ChannelId, Chunk, Collective, ConnId, Connection,
    End, Event, Fault, Instr, MergeError, Options, Plan, PlanBuilder, Rank, Reject, Site, WaitFor,
    verify,
};

/// all_gather of two ranks, one block each: copy and send the own part, receive the other's.
fn two_ranks() -> Plan {
    let mut builder = PlanBuilder::new(Collective::AllGather, 2);
    for rank in 0..2 {
        let (own, other) = (Rank(rank), Rank(1 - rank));
        let to = builder.connection(own, other, ChannelId(0));
        let from = builder.connection(other, own, ChannelId(0));
        let block = builder.block(own);
        builder.push(block, Instr::copy_send(Chunk::input(0), Chunk::output(rank), to));
        builder.push(block, Instr::recv(from, Chunk::output(1 - rank)));
    }
    builder.finish().expect("one block per end")
}

const THERE: ConnId = ConnId(0);
const BACK: ConnId = ConnId(1);

fn site(rank: u32, block: u32, step: u32) -> Site {
    Site { rank: Rank(rank), block: BlockId(block), step }
}

/// Why `two_ranks`, changed, is refused.
fn refused(change: impl FnOnce(&mut Plan)) -> Reject {
    let mut plan = two_ranks();
    assert!(verify(&plan, &Options::copy(1)).is_ok());
    change(&mut plan);
    verify(&plan, &Options::copy(1)).expect_err("the change makes it wrong")
}

/// Replaces rank 0's instruction `step`.
fn with(step: usize, instr: Instr) -> Reject {
    refused(|plan| plan.blocks[0].instrs[step] = instr)
}

#[test]
fn bad_forms_are_refused_by_name() {
    let ranks = refused(|plan| plan.ranks = 0);
    assert_eq!(ranks, Reject::Ranks { ranks: 0 });
    let huge = refused(|plan| plan.ranks = u32::MAX);
    assert_eq!(huge, Reject::Ranks { ranks: u32::MAX });
    let itself = refused(|plan| plan.connections[0].dst = Rank(0));
    let endpoints = Reject::Endpoints { connection: THERE, src: Rank(0), dst: Rank(0) };
    assert_eq!(itself, endpoints);
    let twice = refused(|plan| plan.connections.push(plan.connections[0]));
    assert_eq!(twice, Reject::ConnectionTwice { first: THERE, second: ConnId(2) });
    let unused = Connection { src: Rank(0), dst: Rank(1), channel: ChannelId(1) };
    let unused = refused(|plan| plan.connections.push(unused));
    assert_eq!(unused, Reject::UnusedConnection { connection: ConnId(2) });
    let nowhere = refused(|plan| plan.blocks[1].rank = Rank(2));
    assert_eq!(nowhere, Reject::BlockRank { block: BlockId(1), rank: Rank(2), ranks: 2 });
}

#[test]
fn bad_instructions_are_refused_by_name() {
    let at = site(0, 0, 1);
    let (out, output) = (Chunk::output(1), Chunk::output(2));
    let connection = ConnId(9);
    assert_eq!(with(1, Instr::recv(connection, out)), Reject::NoSuchConnection { at, connection });
    let foreign = Reject::ForeignEnd { at, connection: THERE, end: End::Recv };
    assert_eq!(with(1, Instr::recv(THERE, out)), foreign);
    let chunk = Reject::NoSuchChunk { at, chunk: output, chunks: 2 };
    assert_eq!(with(1, Instr::recv(BACK, output)), chunk);
    let chunk = Chunk::input(0);
    assert_eq!(with(1, Instr::recv(BACK, chunk)), Reject::WritesInput { at, chunk });
    assert_eq!(with(1, Instr::new(None, None, Some(out), None)), Reject::NoValue { at });
    assert_eq!(with(1, Instr::new(Some(BACK), None, None, None)), Reject::NoEffect { at });
    let slice = Reject::BadSlice { at, slice: 0, slices: 2, expected: 1 };
    assert_eq!(with(1, Instr::recv(BACK, out).sliced(0, 2)), slice);
    for (block, step) in [(0, 0), (1, 0), (7, 0)] {
        let after = After { block: BlockId(block), step };
        assert_eq!(with(1, Instr::recv(BACK, out).after(after)), Reject::BadAfter { at, after });
    }
}

#[test]
fn an_end_in_two_blocks_is_refused() {
    let shared = refused(|plan| {
        let instrs = vec![Instr::send(Chunk::input(0), THERE)];
        plan.blocks.push(Block { rank: Rank(0), instrs });
    });
    let (first, second) = (BlockId(0), BlockId(2));
    assert_eq!(shared, Reject::SharedEnd { connection: THERE, end: End::Send, first, second });
}

#[test]
fn a_message_that_nobody_receives_is_refused() {
    let unreceived = refused(|plan| plan.blocks[1].instrs.truncate(1));
    assert_eq!(unreceived, Reject::Unbalanced { connection: THERE, sent: 1, received: 0 });
    let slice = verify(&two_ranks().slice(Rank(0)), &Options::copy(1));
    assert!(matches!(slice, Err(Reject::Unbalanced { .. })), "a slice is no whole plan: {slice:?}");
}

#[test]
fn a_deadlock_lists_who_waits_for_what() {
    let reject = refused(|plan| plan.blocks.iter_mut().for_each(|block| block.instrs.swap(0, 1)));
    let Reject::Deadlock { slots: 1, waits } = &reject else { panic!("{reject}") };
    let waits: Vec<_> = waits.iter().map(|wait| (wait.event.site, wait.wait_for)).collect();
    let expected =
        vec![(site(0, 0, 0), WaitFor::Message(BACK)), (site(1, 1, 0), WaitFor::Message(THERE))];
    assert_eq!(waits, expected);
    assert!(reject.to_string().contains("rank 1 block 1 step 0 window 0 waits for a message"));
}

#[test]
fn a_race_names_both_accesses() {
    let mut builder = PlanBuilder::new(Collective::AllReduce, 1);
    for _ in 0..2 {
        let block = builder.block(Rank(0));
        builder.push(block, Instr::copy(Chunk::input(0), Chunk::output(0)));
    }
    let plan = builder.finish().unwrap();
    let access = |block| Access {
        event: Event { site: site(0, block, 0), window: 0 },
        chunk: Chunk::output(0),
        writes: true,
    };
    let race = Reject::Race { first: access(0), second: access(1) };
    assert_eq!(verify(&plan, &Options::copy(1)), Err(race));
}

#[test]
fn wrong_contents_name_chunk_and_contribution() {
    let at = |reject| match reject {
        Reject::Result { rank, chunk, fault, .. } => (rank.0, chunk.index, fault),
        other => panic!("{other}"),
    };
    let other = Instr::send(Chunk::input(0), THERE);
    assert_eq!(at(with(0, other)), (0, 0, Fault::Undefined));
}

/// Blocks of different ranks may differ in length, as they do in the v-forms.
#[test]
fn a_block_in_the_place_of_another_is_refused() {
    let reject = with(1, Instr::recv(BACK, Chunk::output(0)));
    assert!(matches!(reject, Reject::Sizes { .. }), "{reject}");
}

/// reduce_scatter of two ranks, where each rank ends with `last`: what it receives, the chunk it
/// reduces that with, and where that goes.
fn scattered(last: impl Fn(ConnId, u32) -> Vec<Instr>) -> Option<Fault> {
    match scattered_form(last) {
        Err(Reject::Result { rank: Rank(0), fault, .. }) => Some(fault),
        other => other.map(|()| None).expect("only the result may be wrong"),
    }
}

fn scattered_form(last: impl Fn(ConnId, u32) -> Vec<Instr>) -> Result<(), Reject> {
    let mut builder = PlanBuilder::new(Collective::ReduceScatter, 2);
    for rank in 0..2 {
        let (own, other) = (Rank(rank), Rank(1 - rank));
        let to = builder.connection(own, other, ChannelId(0));
        let from = builder.connection(other, own, ChannelId(0));
        let block = builder.block(own);
        builder.push(block, Instr::send(Chunk::input(other.0), to));
        for instr in last(from, rank) {
            builder.push(block, instr);
        }
    }
    let plan = builder.finish().expect("one block per end");
    verify(&plan, &Options::copy(1)).map(|_| ())
}

#[test]
fn a_contribution_that_is_missing_is_named() {
    let reduce = |from, rank| Instr::recv_reduce_copy(from, Chunk::input(rank), Chunk::output(0));
    assert_eq!(scattered(|from, rank| vec![reduce(from, rank).finishing()]), None);
    let missing = scattered(|from, _| vec![Instr::recv(from, Chunk::output(0)).finishing()]);
    assert_eq!(missing, Some(Fault::Missing { rank: Rank(0), index: 0 }));
}

/// An average is divided once, when its sum is complete.
#[test]
fn a_reduction_is_finished_once_and_at_its_end() {
    let reduce = |from, rank| Instr::recv_reduce_copy(from, Chunk::input(rank), Chunk::output(0));
    assert_eq!(scattered(|from, rank| vec![reduce(from, rank)]), Some(Fault::Unfinished));
    let again = Instr::copy(Chunk::output(0), Chunk::output(0)).finishing();
    let twice = scattered(|from, rank| vec![reduce(from, rank).finishing(), again]);
    assert_eq!(twice, Some(Fault::Unfinished));
    let early = scattered(|from, rank| {
        let sum = Instr::reduce(Chunk::input(rank), Chunk::scratch(0)).finishing();
        vec![Instr::recv(from, Chunk::scratch(0)).finishing(), sum, copied_out()]
    });
    assert_eq!(early, Some(Fault::Unfinished));
}

fn copied_out() -> Instr {
    Instr::copy(Chunk::scratch(0), Chunk::output(0))
}

#[test]
fn what_is_reduced_in_place_counts_each_operand_once() {
    let sum = scattered(|from, rank| {
        let sum = Instr::reduce(Chunk::input(rank), Chunk::scratch(0)).finishing();
        vec![Instr::recv(from, Chunk::scratch(0)), sum, copied_out()]
    });
    assert_eq!(sum, None);
    let without_source = scattered_form(|from, _| {
        vec![Instr::recv(from, Chunk::output(0)).accumulating().finishing()]
    });
    assert!(matches!(without_source, Err(Reject::BadAccumulate { .. })), "{without_source:?}");
}

/// In place, each rank sends its own chunk, then overwrites it with what the other sends, which waits
/// for nothing: copied messages have left by then, lent ones are still being read.
#[test]
fn what_is_lent_may_not_be_overwritten_before_it_is_known_to_be_read() {
    let mut builder = PlanBuilder::new(Collective::AllToAll, 2);
    for rank in 0..2 {
        let (own, other) = (Rank(rank), Rank(1 - rank));
        let to = builder.connection(own, other, ChannelId(0));
        let from = builder.connection(other, own, ChannelId(0));
        let block = builder.block(own);
        builder.push(block, Instr::copy(Chunk::input(rank), Chunk::output(rank)));
        builder.push(block, Instr::send(Chunk::input(other.0), to));
        builder.push(block, Instr::recv(from, Chunk::output(other.0)));
    }
    let plan = builder.finish().unwrap();
    let copy = Options::copy(1).in_place();
    assert!(verify(&plan, &copy).is_ok());
    assert!(matches!(verify(&plan, &copy.lending()), Err(Reject::Race { .. })));
    assert!(verify(&plan, &Options::copy(1).lending()).is_ok(), "apart, nothing is overwritten");
    let copied = |instr: &Instr| if instr.send_port().is_some() { instr.copied() } else { *instr };
    let mut kept = plan;
    for block in &mut kept.blocks {
        block.instrs = block.instrs.iter().map(copied).collect();
    }
    assert!(verify(&kept, &copy.lending()).is_ok());
}

#[test]
fn an_input_that_was_overwritten_is_no_input_any_more() {
    let mut builder = PlanBuilder::in_parts(Collective::Broadcast { root: Rank(0) }, 1, 2);
    let block = builder.block(Rank(0));
    builder.push(block, Instr::copy(Chunk::input(1), Chunk::scratch(1)));
    builder.push(block, Instr::copy(Chunk::scratch(1), Chunk::output(1)));
    builder.push(block, Instr::copy(Chunk::input(0), Chunk::output(0)));
    assert!(verify(&builder.finish().unwrap(), &Options::copy(1).in_place()).is_ok());

    let mut builder = PlanBuilder::new(Collective::AllReduce, 1);
    let block = builder.block(Rank(0));
    let (input, output) = (Chunk::input(0), Chunk::output(0));
    builder.push(block, Instr::copy(input, output).finishing());
    builder.push(block, Instr::copy(input, output).finishing());
    let reject = verify(&builder.finish().unwrap(), &Options::copy(1).in_place()).unwrap_err();
    assert!(matches!(reject, Reject::StaleInput { .. }), "{reject}");
}

#[test]
fn lengths_that_may_differ_are_refused() {
    let mut builder = PlanBuilder::new(Collective::AllReduce, 2);
    let conn = builder.connection(Rank(0), Rank(1), ChannelId(0));
    let (send, recv) = (builder.block(Rank(0)), builder.block(Rank(1)));
    builder.push(send, Instr::send(Chunk::input(0), conn));
    builder.push(recv, Instr::recv(conn, Chunk::output(1)));
    let reject = verify(&builder.finish().unwrap(), &Options::copy(1)).unwrap_err();
    assert!(matches!(reject, Reject::Sizes { .. }), "{reject}");
}

#[test]
fn the_builder_keeps_an_end_in_one_block() {
    let mut builder = PlanBuilder::new(Collective::AllGather, 2);
    let conn = builder.connection(Rank(0), Rank(1), ChannelId(0));
    let (first, second) = (builder.block(Rank(0)), builder.block(Rank(0)));
    builder.push(first, Instr::send(Chunk::input(0), conn));
    builder.push(second, Instr::send(Chunk::input(0), conn));
    let shared = BuildError::SharedEnd { first, second, src: Rank(0), dst: Rank(1) };
    assert_eq!(builder.finish(), Err(shared));

    let mut builder = PlanBuilder::new(Collective::AllGather, 2);
    let conn = builder.connection(Rank(0), Rank(1), ChannelId(0));
    let block = builder.block(Rank(0));
    builder.push(block, Instr::recv(conn, Chunk::output(0)));
    let foreign = BuildError::ForeignEnd { block, rank: Rank(0), src: Rank(0), dst: Rank(1) };
    assert_eq!(builder.finish(), Err(foreign));
}

#[test]
fn slices_of_different_plans_do_not_merge() {
    let [zero, one] = [0, 1].map(|rank| two_ranks().slice(Rank(rank)));
    assert_eq!(Plan::merge(&[one.clone(), zero.clone()]).unwrap(), two_ranks());
    assert_eq!(Plan::merge(&[]), Err(MergeError::Empty));
    let twice = MergeError::RankTwice { index: 1, rank: Rank(0) };
    assert_eq!(Plan::merge(&[zero.clone(), zero.clone()]), Err(twice));
    let other = Plan { ranks: 3, ..one };
    assert_eq!(Plan::merge(&[zero, other]), Err(MergeError::Mismatch { index: 1 }));
}
