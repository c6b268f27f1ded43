//! Owns how findings are told: as text, a line each and a line for what to do, and as JSON.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::finding::{Finding, Verdict};
use super::state::State;

/// For people.
pub fn text(state: &State, findings: &[Finding], color: bool) -> String {
    let world = state.world;
    let mut text = format!(
        "{}, Linux {}: {} ranks on {} {}, {} of them here\n",
        state.host,
        state.kernel,
        world.ranks,
        world.nodes,
        if world.nodes == 1 { "node" } else { "nodes" },
        world.here(),
    );
    let mut group = None;
    for finding in findings {
        if group != Some(finding.group) {
            let _ = writeln!(text, "\n{}", finding.group.name());
            group = Some(finding.group);
        }
        line(&mut text, finding, color);
    }
    let _ = writeln!(text, "\n{}", sum(findings));
    text
}

fn line(text: &mut String, finding: &Finding, color: bool) {
    let style = match finding.verdict {
        _ if !color => Style::new(),
        Verdict::Good => AnsiColor::Green.on_default(),
        Verdict::Warning => AnsiColor::Yellow.on_default().bold(),
        Verdict::WouldFail => AnsiColor::Red.on_default().bold(),
    };
    let verdict = finding.verdict.name();
    let wanted = finding.wanted.as_ref().map(|wanted| format!("; wanted: {wanted}"));
    let _ = writeln!(
        text,
        "  {style}{verdict:<10}{style:#}  {}: {}{}",
        finding.check,
        finding.found,
        wanted.unwrap_or_default()
    );
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(text, "              {remedy}");
    }
}

fn sum(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let warnings = match count(Verdict::Warning) {
        0 => "no warnings".to_owned(),
        1 => "1 warning".to_owned(),
        count => format!("{count} warnings"),
    };
    match count(Verdict::WouldFail) {
        0 => format!("{warnings}; nothing stands in the way"),
        count => format!("{warnings}; {count} of these would make ranks fail"),
    }
}

/// For programs: schema 1.
pub fn json(state: &State, findings: &[Finding]) -> Value {
    let world = state.world;
    json!({
        "schema": 1,
        "host": state.host,
        "kernel": state.kernel,
        "ranks": world.ranks,
        "nodes": world.nodes,
        "ranks_here": world.here(),
        "verdict": findings.iter().map(|finding| finding.verdict).max(),
        "findings": findings,
    })
}
