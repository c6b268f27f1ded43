//! Owns `crosstie plan verify`: what a plan computes, proved, or what is wrong in it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use crosstie_ir::{Options, Plan, Report, SLOTS, from_json, verify};
use crosstie_planner::msccl::{self, Error, Forms, Origin, Program, Refused};
use crosstie_topo::shown;
use serde_json::{Value, json};

use crate::args::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::file;
use crate::kind::Kind;

const WANTED: &str = "a plan (JSON, schema crosstie.plan) or a program for MSCCL (XML, <algo>)";

/// What a file holds.
enum Subject {
    Plan(Plan),
    Program(Program),
}

impl Subject {
    /// # Errors
    /// Where it is neither; what is wrong in a program comes as the second kind.
    fn read(path: &Path) -> Result<Result<Self, Wrong>, Failure> {
        let bad = |error: String| {
            Failure::usage(
                format!("{}: {error}", crate::file::shown(path)),
                format!("give {WANTED}"),
            )
        };
        let bytes = file::read(path).map_err(|error| bad(error.to_string()))?;
        let kind = Kind::of(&bytes);
        // What only ends early, or is nothing, is better told by its reader.
        if !matches!(kind, Kind::Plan | Kind::Program | Kind::Topology | Kind::Json) {
            return Err(kind.refusal("", path, WANTED));
        }
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'<') {
            let plan = from_json(&bytes).map_err(|error| bad(error.to_string()))?;
            return Ok(Ok(Self::Plan(plan)));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| bad(error.to_string()))?;
        match Program::read(text) {
            Ok(program) => Ok(Ok(Self::Program(program))),
            Err(Error::Plan(refused)) => Ok(Err(refused.into())),
            Err(error @ Error::Contradiction { .. }) => Ok(Err(Wrong::without_place(error))),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    fn plan(&self) -> &Plan {
        match self {
            Self::Plan(plan) => plan,
            Self::Program(program) => &program.plan,
        }
    }

    /// What holds for the calls that it is for; a plan is for all, or for those in place alone.
    fn verified(&self) -> Result<Proof, Wrong> {
        let plan = match self {
            Self::Plan(plan) => plan,
            Self::Program(program) => {
                let msccl::Proof { report, repeats, .. } = program.prove()?;
                return Ok(Proof { report, repeats, forms: program.forms });
            }
        };
        let options = Options::copy(SLOTS);
        let outside = verify(plan, &options);
        let out_of_place = outside.is_ok();
        let report = outside.or_else(|reject| {
            verify(plan, &options.in_place()).map_err(|_| Wrong::without_place(reject))
        });
        report.map(|report| {
            // Where it also works in place, the report of the other calls says so.
            let in_place = !out_of_place || report.in_place_safe;
            Proof { report, repeats: true, forms: Forms { in_place, out_of_place } }
        })
    }
}

/// What was proved.
struct Proof {
    report: Report,
    /// Whether calls longer than a window may take it.
    repeats: bool,
    forms: Forms,
}

impl Wrong {
    fn without_place(reason: impl std::fmt::Display) -> Self {
        Self { reason: reason.to_string(), origins: Vec::new() }
    }
}

impl From<Refused> for Wrong {
    fn from(refused: Refused) -> Self {
        Self { reason: refused.reject.to_string(), origins: refused.origins }
    }
}

/// What is wrong, and where in the file, where that is known.
struct Wrong {
    reason: String,
    origins: Vec<Origin>,
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let subject = Subject::read(&args.file)?;
    let (text, exit) = match subject.and_then(|subject| Ok((subject.verified()?, subject))) {
        Ok((proof, subject)) if args.json => {
            (format!("{}\n", right_object(&subject, &proof)), Exit::Good)
        }
        Ok((proof, subject)) => (right(&args.file, &subject, &proof, paint(args)), Exit::Good),
        Err(wrong) if args.json => (format!("{}\n", wrong_object(&wrong)), Exit::WrongResult),
        Err(wrong) => (wrong_text(&args.file, &wrong, paint(args)), Exit::WrongResult),
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map(|()| exit).map_err(|e| Failure::host("write the verdict", e))
}

fn paint(args: &VerifyArgs) -> bool {
    crate::args::color(args.color, io::stdout().is_terminal())
}

/// Most bytes that a rank sends, in parts of its buffer or blocks.
fn busiest(report: &Report) -> f64 {
    let slices = report.sent.iter().map(|sent| sent.slices).max().unwrap_or(0);
    slices as f64 / f64::from(report.slices.max(1))
}

fn right(path: &Path, subject: &Subject, proof: &Proof, color: bool) -> String {
    let (plan, report) = (subject.plan(), &proof.report);
    let (bold, plain) = if color { ("\x1b[1;32m", "\x1b[0m") } else { ("", "") };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}: {bold}right{plain}: {} of {} ranks{}",
        crate::file::shown(path),
        plan.collective.name(),
        plan.ranks,
        match (proof.forms.in_place, proof.forms.out_of_place) {
            (true, true) => "",
            (true, false) => ", for calls in place alone",
            _ => ", for calls with two buffers alone",
        },
    );
    if let Subject::Program(Program { name, .. }) = subject
        && !name.is_empty()
    {
        let _ = writeln!(text, "  name                  {}", shown(name));
    }
    let parts = if plan.collective.is_whole() { plan.parts } else { u32::from(report.slices) };
    let messages = report.sent.iter().map(|sent| sent.messages).max().unwrap_or(0);
    let unit = if plan.collective.is_whole() { "parts" } else { "blocks" };
    let rows = [
        (
            "chunks",
            format!(
                "{parts} in each {}",
                if plan.collective.is_whole() { "buffer" } else { "block" }
            ),
        ),
        ("steps", format!("{} messages, each after the one before", report.steps)),
        ("sent by a rank", format!("at most {messages} messages, {} {unit}", busiest(report))),
        ("slots", format!("{} of the {SLOTS} of each connection", report.min_slots)),
        ("scratch", format!("{} chunks", report.scratch_chunks)),
        ("in place", if proof.forms.in_place { "yes" } else { "no" }.to_owned()),
        ("longer than scratch", repeats(proof).to_owned()),
        ("same bits everywhere", if report.bits_agree { "yes" } else { "no" }.to_owned()),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<21} {value}");
    }
    text
}

fn repeats(proof: &Proof) -> &'static str {
    match proof.repeats {
        true => "calls of any length may repeat it",
        false => {
            "no: repeated over parts of a long buffer, its blocks would race for scratch memory"
        }
    }
}

fn wrong_text(path: &Path, wrong: &Wrong, color: bool) -> String {
    /// A deadlock of a large world would fill pages.
    const SHOWN: usize = 8;
    let (bold, plain) = if color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let mut text = format!("{}: {bold}wrong{plain}: {}\n", crate::file::shown(path), wrong.reason);
    for origin in wrong.origins.iter().take(SHOWN) {
        let _ = writeln!(text, "  {origin}");
    }
    text
}

fn right_object(subject: &Subject, proof: &Proof) -> Value {
    let (plan, report) = (subject.plan(), &proof.report);
    json!({
        "schema": 1,
        "right": true,
        "collective": plan.collective.name(),
        "ranks": plan.ranks,
        "parts": plan.parts,
        "slices": report.slices,
        "steps": report.steps,
        "messages": report.sent.iter().map(|sent| sent.messages).max(),
        "min_slots": report.min_slots,
        "scratch_chunks": report.scratch_chunks,
        "in_place": proof.forms.in_place,
        "out_of_place": proof.forms.out_of_place,
        "repeats": proof.repeats,
        "bits_agree": report.bits_agree,
    })
}

fn wrong_object(wrong: &Wrong) -> Value {
    let place = |origin: &Origin| {
        json!({
            "line": origin.line,
            "gpu": origin.gpu,
            "thread_block": origin.thread_block,
            "step": origin.step,
        })
    };
    json!({
        "schema": 1,
        "right": false,
        "reason": wrong.reason,
        "places": wrong.origins.iter().map(place).collect::<Vec<_>>(),
    })
}
