//! The JSON form holds every plan exactly, and refuses whatever is no plan.

use crosstie_ir::schema::SchemaError;
use crosstie_ir::{
    After, Block, BlockId, ChannelId, Chunk, Collective, ConnId, Connection, Instr, JsonError,
    Plan, Rank, fingerprint, from_json, to_json,
};

/// One of everything: all ports, both kinds of slice, a wait, every space.
fn sample() -> Plan {
    let after = After { block: BlockId(1), step: 0 };
    let (there, back) = (ConnId(0), ConnId(1));
    Plan {
        collective: Collective::AllToAll,
        ranks: 2,
        parts: 1,
        scratch_chunks: 3,
        connections: vec![
            Connection { src: Rank(0), dst: Rank(1), channel: ChannelId(0) },
            Connection { src: Rank(1), dst: Rank(0), channel: ChannelId(7) },
        ],
        blocks: vec![
            Block {
                rank: Rank(0),
                instrs: vec![
                    Instr::send(Chunk::input(1), there),
                    Instr::recv_reduce_copy_send(back, Chunk::scratch(2), Chunk::output(0), there)
                        .sliced(1, 4)
                        .after(after),
                    Instr::reduce(Chunk::input(0), Chunk::scratch(1)).finishing(),
                    Instr::send(Chunk::scratch(1), there).copied(),
                ],
            },
            Block { rank: Rank(1), instrs: vec![Instr::recv(there, Chunk::output(0))] },
        ],
    }
}

const SAMPLE: &str = concat!(
    r#"{"schema":"crosstie.plan","version":2,"collective":"all_to_all","ranks":2,"parts":1,"#,
    r#""scratch_chunks":3,"connections":[[0,1,0],[1,0,7]],"blocks":["#,
    r#"{"rank":0,"instrs":[{"src":["input",1],"send":0},"#,
    r#"{"recv":1,"src":["scratch",2],"dst":["output",0],"send":0,"after":[1,0],"slice":[1,4]},"#,
    r#"{"src":["input",0],"dst":["scratch",1],"accumulate":true,"finish":true},"#,
    r#"{"src":["scratch",1],"send":0,"copied":true}]},"#,
    r#"{"rank":1,"instrs":[{"recv":0,"dst":["output",0]}]}]}"#,
);

#[test]
fn the_form_is_stable() {
    assert_eq!(to_json(&sample()), SAMPLE);
    assert_eq!(from_json(SAMPLE.as_bytes()).unwrap(), sample());
}

/// Ranks of different builds compare these, so they may not drift.
#[test]
fn the_fingerprint_is_stable() {
    assert_eq!(fingerprint(&sample()).to_string(), "c291f597e2949a71");
}

#[test]
fn each_part_of_a_plan_shows_in_its_fingerprint() {
    let changes: [fn(&mut Plan); 12] = [
        |plan| plan.parts += 1,
        |plan| plan.blocks[0].instrs[0] = plan.blocks[0].instrs[0].copied(),
        |plan| plan.blocks[0].instrs[0] = plan.blocks[0].instrs[0].finishing(),
        |plan| plan.collective = Collective::AllReduce,
        |plan| plan.ranks += 1,
        |plan| plan.scratch_chunks += 1,
        |plan| plan.connections[0].channel.0 += 1,
        |plan| plan.blocks[1].rank.0 = 0,
        |plan| plan.blocks[0].instrs.swap(0, 1),
        |plan| plan.blocks[0].instrs[1] = plan.blocks[0].instrs[1].sliced(2, 4),
        |plan| plan.blocks[0].instrs[1] = plan.blocks[0].instrs[1].without_after(),
        |plan| plan.blocks.swap(0, 1),
    ];
    for change in changes {
        let mut other = sample();
        change(&mut other);
        assert_ne!(fingerprint(&other), fingerprint(&sample()), "{other:?}");
    }
}

fn error(from: &str, to: &str) -> JsonError {
    assert!(SAMPLE.contains(from), "{from}");
    from_json(SAMPLE.replacen(from, to, 1).as_bytes()).expect_err("the change makes it no plan")
}

#[test]
fn what_is_no_plan_is_refused_by_name() {
    let syntax = |error| matches!(error, JsonError::Schema(SchemaError::Syntax { .. }));
    assert!(syntax(error(r#""ranks":2"#, r#""ranks":2,"color":1"#)), "unknown field");
    assert!(syntax(error(r#""ranks":2"#, r#""ranks":2,"ranks":2"#)), "field twice");
    assert!(syntax(error(r#""ranks":2,"#, "")), "missing field");
    assert!(syntax(error(r#""ranks":2"#, r#""ranks":-2"#)), "negative");
    assert!(syntax(error(r#"["input",1]"#, r#"["input",1,2]"#)), "too long");
    assert!(syntax(error(r#"["input",1]"#, r#"["inputs",1]"#)), "unknown space");
    assert!(syntax(from_json(&SAMPLE.as_bytes()[..100]).unwrap_err()), "cut short");
    assert!(syntax(from_json(format!("{SAMPLE}{{}}").as_bytes()).unwrap_err()), "more after it");
    let version = error(r#""version":2"#, r#""version":3,"new":0"#);
    assert!(matches!(&version, JsonError::Schema(SchemaError::Version { version: 3, .. })));
    assert!(
        version.to_string().starts_with("a \"crosstie.plan\" of version 3; this library reads")
    );
    let collective = JsonError::Collective { name: "all".into() };
    assert_eq!(error("all_to_all", "all"), collective);
}

#[test]
fn numbers_that_a_plan_has_no_room_for_are_refused() {
    let out_of_range = |from, to, expected_limit| match error(from, to) {
        JsonError::OutOfRange { limit, .. } => assert_eq!(limit, expected_limit),
        other => panic!("{other:?}"),
    };
    out_of_range(r#""ranks":2"#, r#""ranks":65537"#, 65536);
    out_of_range(r#""send":0"#, r#""send":2"#, 1);
    out_of_range(r#""send":0"#, r#""send":4294967295"#, 1);
    out_of_range(r#"["input",1]"#, r#"["input",1073741823]"#, (1 << 30) - 2);
    out_of_range(r#""after":[1,0]"#, r#""after":[2,0]"#, 1);
}

#[test]
fn a_root_belongs_to_rooted_collectives_alone() {
    let rooted = |root| Plan { collective: Collective::Reduce { root: Rank(root) }, ..sample() };
    let text = to_json(&rooted(1));
    assert!(text.contains(r#""collective":"reduce","root":1,"#), "{text}");
    assert_eq!(from_json(text.as_bytes()).unwrap(), rooted(1));
    assert!(matches!(
        from_json(to_json(&rooted(2)).as_bytes()),
        Err(JsonError::OutOfRange { what: "the root", value: 2, limit: 1 })
    ));
    for (wrong, given) in [
        (text.replace(r#""root":1,"#, ""), None),
        (SAMPLE.replace(r#""ranks":2"#, r#""root":0,"ranks":2"#), Some(0)),
    ] {
        match from_json(wrong.as_bytes()) {
            Err(JsonError::Root { given: found, .. }) => assert_eq!(found, given),
            other => panic!("{other:?}"),
        }
    }
    assert_ne!(fingerprint(&rooted(0)), fingerprint(&rooted(1)));
}
