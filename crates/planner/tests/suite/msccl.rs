//! Programs for MSCCL become plans that compute what they say, and errors that name the step.

use crosstie_ir::{
    ChunkMap, DataType, Fault, Layout, Options, Plan, Rank, ReduceOp, Reject, SLOTS, Space, replay,
    verify,
};
use crosstie_planner::msccl::{Error, Forms, Program};
use crosstie_testkit::msccl;

fn programs() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for gpus in [2, 3, 4, 8] {
        all.push((format!("ring {gpus}"), msccl::ring_all_reduce(gpus)));
        for parts in [1, 3] {
            all.push((format!("pairs {gpus} {parts}"), msccl::pairs_all_reduce(gpus, parts)));
            all.push((format!("gather {gpus} {parts}"), msccl::ring_all_gather(gpus, parts)));
            all.push((format!("direct {gpus} {parts}"), msccl::direct_all_to_all(gpus, parts)));
        }
    }
    all
}

fn read(text: &str) -> Program {
    Program::read(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn accepted(program: &Program) -> Result<u32, Reject> {
    program.prove().map(|proof| proof.report.min_slots).map_err(|refused| refused.reject)
}

#[test]
fn programs_of_every_kind_are_proved() {
    for (name, text) in programs() {
        let program = read(&text);
        let proved = accepted(&program);
        assert!(proved.is_ok(), "{name}: {}", program.refused(proved.unwrap_err()));
    }
}

#[test]
fn a_program_in_place_serves_other_calls_too() {
    for gpus in [2, 4, 5] {
        let program = read(&msccl::ring_all_reduce(gpus));
        assert_eq!(program.forms, Forms { in_place: true, out_of_place: false });
        let report = verify(&program.plan, &Options::copy(8).even());
        assert!(report.is_ok(), "{}", program.refused(report.unwrap_err()));
    }
}

/// 6 elements in each chunk of the program.
fn map(plan: &Plan, chunks: u64) -> ChunkMap {
    match plan.collective.is_whole() {
        true => ChunkMap::new(Layout::Split { chunks: plan.parts }, 4, 6 * chunks, 3 * chunks),
        false => {
            let block = 6 * chunks / u64::from(plan.ranks);
            ChunkMap::new(Layout::Blocks { stride: block }, 4, block, block)
        }
    }
}

#[test]
fn what_they_compute_is_what_the_collective_means() {
    for gpus in [2_u32, 3, 5] {
        for (parts, text) in [
            (1, msccl::ring_all_reduce(gpus)),
            (3, msccl::pairs_all_reduce(gpus, 3)),
            (2, msccl::ring_all_gather(gpus, 2)),
            (3, msccl::direct_all_to_all(gpus, 3)),
        ] {
            let plan = read(&text).plan;
            let map = map(&plan, u64::from(gpus * parts));
            let words =
                |rank| map.buffer_bytes(Space::Input, plan.input_chunks(Rank(rank))) as i32 / 4;
            let value = |rank: u32, at: i32| 1000 * (rank as i32 + 1) + at;
            let input =
                |rank| (0..words(rank)).flat_map(|at| value(rank, at).to_le_bytes()).collect();
            let inputs: Vec<Vec<u8>> = (0..gpus).map(input).collect();
            let outputs = replay(&plan, &map, DataType::I32, ReduceOp::Sum, inputs, false);
            let outputs = outputs.expect("a right plan and whole inputs");
            for (rank, output) in (0..gpus).zip(outputs) {
                let got: Vec<i32> = output
                    .chunks(4)
                    .map(|b| i32::from_le_bytes(b.try_into().expect("4 bytes")))
                    .collect();
                let block = words(0) / gpus as i32;
                let wanted = |at: i32| match plan.collective.name() {
                    "all_reduce" => (0..gpus).map(|rank| value(rank, at)).sum(),
                    "all_gather" => value((at / words(0)) as u32, at % words(0)),
                    _ => value((at / block) as u32, rank as i32 * block + at % block),
                };
                let wanted: Vec<i32> = (0..got.len() as i32).map(wanted).collect();
                assert_eq!(got, wanted, "{} of {gpus} GPUs, rank {rank}", plan.collective.name());
            }
        }
    }
}

/// Replaces the `nth` occurrence.
fn with(text: &str, nth: usize, from: &str, to: &str) -> String {
    let at = text.match_indices(from).nth(nth).expect("it occurs").0;
    format!("{}{to}{}", &text[..at], &text[at + from.len()..])
}

#[test]
fn a_wrong_sum_a_race_and_a_deadlock_are_told_apart_and_placed() {
    let ring = msccl::ring_all_reduce(4);
    // Passes on what came without adding its own.
    let lacking = with(&ring, 0, "\"rrs\"", "\"rcs\"");
    let reject = accepted(&read(&lacking)).expect_err("it lacks a contribution");
    assert!(matches!(reject, Reject::Result { fault: Fault::Missing { .. }, .. }), "{reject}");

    // Does not wait for what its peers sent.
    let pairs = msccl::pairs_all_reduce(4, 1);
    let early = with(
        &pairs,
        0,
        "type=\"nop\" srcbuf=\"i\" srcoff=\"0\" dstbuf=\"o\" dstoff=\"0\" cnt=\"0\" depid=\"1\" deps=\"1\"",
        "type=\"nop\" srcbuf=\"i\" srcoff=\"0\" dstbuf=\"o\" dstoff=\"0\" cnt=\"0\" depid=\"2\" deps=\"1\"",
    );
    let program = read(&early);
    let reject = accepted(&program).expect_err("it reads too early");
    assert!(matches!(reject, Reject::Race { .. }), "{reject}");
    let refused = program.refused(reject).to_string();
    assert!(refused.contains("gpu 0, tb 3, step"), "{refused}");

    // Every GPU receives before it sends.
    let sends = msccl::direct_all_to_all(2, 1);
    let waiting = sends.replace("type=\"s\"", "type=\"?\"").replace("type=\"r\"", "type=\"s\"");
    let waiting = waiting.replace("type=\"?\"", "type=\"r\"");
    let error = Program::read(&waiting).expect_err("both wait").to_string();
    assert!(error.contains("deadlock") && error.contains("gpu 0, tb 1, step 0"), "{error}");
    assert!(error.contains("gpu 1, tb 0, step 0"), "{error}");
}

#[test]
fn what_is_no_program_is_refused_with_its_line() {
    let ring = msccl::ring_all_reduce(3);
    let refused = |text: &str| Program::read(text).expect_err(text).to_string();
    let cases = [
        (
            "coll=\"allreduce\"",
            "coll=\"custom\"",
            "line 1: coll=\"custom\" of <algo>, expected allreduce",
        ),
        ("ngpus=\"3\"", "ngpus=\"4\"", "line 1: ngpus is 4, but there are 3 <gpu>"),
        ("id=\"1\"", "id=\"0\"", "line 11: a second <gpu id=\"0\">"),
        ("send=\"1\"", "send=\"0\"", "line 3: send=\"0\" of <tb>, expected another GPU than 0"),
        ("send=\"1\"", "send=\"-1\"", "line 4: the step sends, but its <tb> has send=\"-1\""),
        ("type=\"s\"", "type=\"x\"", "line 4: type=\"x\" of <step>, expected s, r, cpy"),
        (
            " s=\"1\"",
            " s=\"7\"",
            "line 5: s=\"7\" of <step>, expected 1: steps stand in their order",
        ),
        ("srcoff=\"0\"", "srcoff=\"3\"", "line 4: chunks 3 to 3 of gpu 0's buffer, which has 3"),
        (
            "srcoff=\"0\"",
            "srcoff=\"-1\"",
            "line 4: srcoff=\"-1\" of <step>, expected a number from 0",
        ),
        (
            "cnt=\"1\"",
            "cnt=\"4000000000\"",
            "line 4: cnt=\"4000000000\" of <step>, expected a number",
        ),
        ("cnt=\"1\"", "cnt=\"2\"", "chunks where gpu 0 sends 2 to gpu 1 on channel 0 (line 4)"),
        (
            "depid=\"-1\" deps=\"-1\"",
            "depid=\"4\" deps=\"0\"",
            "line 4: waits for tb 4 of gpu 0, which is not there",
        ),
        (
            "depid=\"-1\" deps=\"-1\"",
            "depid=\"0\" deps=\"0\"",
            "line 4: waits for step 0 of its own block",
        ),
    ];
    for (from, to, expected) in cases {
        let error = refused(&with(&ring, 0, from, to));
        let (line, what) = expected.split_once(": ").unwrap_or(("", expected));
        assert!(error.starts_with(line) && error.contains(what), "{error}\nexpected: {expected}");
    }
    assert!(refused("<system/>").contains("<system>, expected <algo>"));
    assert!(matches!(Program::read("{}"), Err(Error::Xml(_))));
    let apart = with(
        &msccl::ring_all_gather(2, 2),
        0,
        "type=\"cpy\" srcbuf=\"i\" srcoff=\"0\" dstbuf=\"o\" dstoff=\"0\" cnt=\"2\"",
        "type=\"cpy\" srcbuf=\"i\" srcoff=\"0\" dstbuf=\"o\" dstoff=\"1\" cnt=\"1\"",
    );
    let place = "step 0 of tb 1 of gpu 0: chunk 0 meets another part of a block";
    assert!(refused(&apart).contains(place), "{}", refused(&apart));
}

/// One chunk, two GPUs; a thread block for each list of steps (type, buffers, what it waits for).
fn small(coll: &str, forms: &str, gpus: [&[(&str, &[&str])]; 2]) -> String {
    let mut text = format!(
        "<algo name=\"\" nchannels=\"1\" nchunksperloop=\"1\" ngpus=\"2\" coll=\"{coll}\" {forms}>\n"
    );
    for (blocks, gpu) in gpus.iter().zip(0..) {
        text += &format!("<gpu id=\"{gpu}\" i_chunks=\"1\" o_chunks=\"1\" s_chunks=\"1\">\n");
        for ((peers, steps), id) in blocks.iter().zip(0..) {
            text += &format!("<tb id=\"{id}\" {peers} chan=\"0\">\n");
            for (step, number) in steps.iter().zip(0..) {
                let fields: Vec<&str> = step.split(' ').collect();
                let (src, dst) = (fields[1], fields[2]);
                let rest = if fields.len() > 3 { fields[3..].join(" ") } else { String::new() };
                text += &format!(
                    "<step s=\"{number}\" type=\"{}\" srcbuf=\"{src}\" srcoff=\"0\" dstbuf=\"{dst}\" dstoff=\"0\" cnt=\"1\" {rest}/>\n",
                    fields[0]
                );
            }
            text += "</tb>\n";
        }
        text += "</gpu>\n";
    }
    text + "</algo>"
}

const IN_PLACE: &str = "inplace=\"1\" outofplace=\"0\"";
const BOTH: &str = "inplace=\"1\" outofplace=\"1\"";
const OUTSIDE: &str = "inplace=\"0\" outofplace=\"1\"";

#[test]
fn a_program_is_proved_in_every_form_that_it_is_for() {
    let to = |peer: u32| format!("send=\"{peer}\" recv=\"-1\"");
    let from = |peer: u32| format!("send=\"-1\" recv=\"{peer}\"");
    let (to, from) = ([to(1), to(0)], [from(1), from(0)]);
    let gpu = |i: usize, steps: &'static [&'static str]| {
        [(from[i].as_str(), steps), (to[i].as_str(), &["s i i"][..])]
    };
    // What is sent may be reduced already, where that is the same memory.
    let apart = |forms| small("allreduce", forms, [&gpu(0, &["rrc i i"]), &gpu(1, &["rrc i i"])]);
    assert!(matches!(accepted(&read(&apart(IN_PLACE))), Err(Reject::Race { .. })));
    let apart = |forms| small("allreduce", forms, [&gpu(0, &["rrc i o"]), &gpu(1, &["rrc i o"])]);
    assert!(accepted(&read(&apart(OUTSIDE))).is_ok());
    assert!(matches!(accepted(&read(&apart(BOTH))), Err(Reject::Race { .. })));
    assert!(
        Program::read(&apart("inplace=\"0\" outofplace=\"0\""))
            .unwrap_err()
            .to_string()
            .contains("both 0")
    );
}

#[test]
fn waits_are_those_of_the_runtime() {
    let (send, receive) = ("send=\"1\" recv=\"-1\"", "send=\"-1\" recv=\"0\"");
    let none = "send=\"-1\" recv=\"-1\"";
    let first: &[(&str, &[&str])] = &[(send, &["s i o"]), (none, &["cpy i o"])];
    let program = |receives: &[&str], waits: &[&str]| {
        small("broadcast", OUTSIDE, [first, &[(receive, receives), (none, waits)]])
    };
    let after = "depid=\"0\" deps=\"0\"";
    let waits = format!("cpy s o {after}");
    let right = read(&program(&["r s s hasdep=\"1\""], &[&waits])).prove().unwrap();
    assert!(!right.repeats, "the next part's message may come while this one is copied");
    let refused = |receives: &[&str], waits: &[&str]| {
        Program::read(&program(receives, waits)).unwrap_err().to_string()
    };
    let untold = refused(&["r s s hasdep=\"0\""], &[&waits]);
    assert!(untold.contains("hasdep") && untold.contains("for ever"), "{untold}");
    let nop = format!("nop i o {after}");
    assert!(refused(&["r s s hasdep=\"1\""], &[&nop, "cpy s o"]).contains("follows a nop"));
    let awaits_nop = refused(&["nop i o hasdep=\"1\"", "r s s hasdep=\"1\""], &[&waits]);
    assert!(awaits_nop.contains("a nop, of which nobody is told"), "{awaits_nop}");
    // Told of later than it waits for, and of what comes in between too.
    let later = program(&["r s s", "cpy s s hasdep=\"1\""], &[&waits]);
    assert!(read(&later).prove().is_ok());
}

#[test]
fn one_gpu_alone_reduces_by_copying() {
    let text = "<algo nchunksperloop=\"1\" ngpus=\"1\" coll=\"allreduce\" inplace=\"0\"><gpu id=\"0\"><tb id=\"0\" send=\"-1\" recv=\"-1\" chan=\"0\">\
        <step s=\"0\" type=\"cpy\" srcbuf=\"i\" srcoff=\"0\" dstbuf=\"o\" dstoff=\"0\" cnt=\"1\"/></tb></gpu></algo>";
    assert!(read(text).prove().is_ok());
}

/// An exchange of two GPUs, each with one thread block that sends all its chunks and then receives.
fn exchange(chunks: u32) -> String {
    msccl::direct_all_to_all(2, chunks)
}

#[test]
fn a_program_that_needs_more_slots_than_connections_have_is_refused_with_the_step_that_fills_them()
{
    assert_eq!(accepted(&read(&exchange(SLOTS))), Ok(SLOTS));
    let error = Program::read(&exchange(20)).expect_err("each sends 20 before it receives");
    let Error::Plan(refused) = &error else { panic!("{error}") };
    let Reject::Slots { needed: 20, there: SLOTS, waits } = &refused.reject else {
        panic!("{error}")
    };
    assert_eq!(waits.len(), 2);
    assert!(error.to_string().contains("20 slots a connection are needed, and there are 8"));
    assert!(error.to_string().contains("gpu 0, tb 1, step 0"), "{error}");
}

#[test]
fn calls_that_no_runtime_takes_are_refused_with_their_place() {
    let ring = msccl::ring_all_reduce(3);
    for (from, to, expected) in [
        ("proto=\"Simple\"", "proto=\"Nonsense\"", "proto=\"Nonsense\" of <algo>, expected Simple"),
        (
            "minBytes=\"0\"",
            "minBytes=\"-1\"",
            "minBytes=\"-1\" of <algo>, expected a number from 0",
        ),
        (
            "minBytes=\"0\" maxBytes=\"0\"",
            "minBytes=\"9\" maxBytes=\"8\"",
            "minBytes is 9 and maxBytes 8",
        ),
        ("nchannels=\"1\"", "nchannels=\"0\"", "nchannels=\"0\" of <algo>, expected a number"),
        ("s_chunks=\"0\"", "s_chunks=\"x\"", "s_chunks=\"x\" of <gpu>, expected a number"),
        ("chan=\"0\"", "chan=\"1\"", "chan=\"1\" of <tb>, expected a number from 0 to 0"),
        ("dstbuf=\"i\"", "dstbuf=\"q\"", "dstbuf=\"q\" of <step>, expected i, o or s"),
        ("deps=\"-1\"", "deps=\"-2\"", "deps=\"-2\" of <step>, expected a number"),
        ("hasdep=\"1\"", "hasdep=\"2\"", "hasdep=\"2\" of <step>, expected a number from 0 to 1"),
    ] {
        let text = with(&ring, 0, from, to);
        let error = Program::read(&text).expect_err(to).to_string();
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
        let (before, _) = text.split_at(text.find(to).expect("it is there"));
        let line = before.lines().count().max(1);
        let column = before.lines().last().map_or(0, str::len) + 1;
        assert!(error.starts_with(&format!("line {line}, column {column}: ")), "{error}");
    }
}
