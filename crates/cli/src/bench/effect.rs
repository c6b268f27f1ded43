//! Owns telling of flags that were given and change nothing.

use std::io::{self, Write};

use clap::ValueEnum;
use crosstie::{Algorithm, DataType, Protocol, Pxn, ReduceOp};

use crate::args::{BenchArgs, BuffersArg, Root, TransportArg};
use crate::matrix::{Lengths, Skew};

/// Warns on standard error, a line for each flag; `nodes` where they are known.
pub fn warn_of_none(args: &BenchArgs, nodes: Option<u32>) {
    let mut error = io::stderr().lock();
    for what in without(args, nodes) {
        // Nothing stands in the way when nobody reads it.
        let _ = writeln!(error, "crosstie: {what}");
    }
}

/// What is without effect, in sentences. A default that was spelled out is no news.
fn without(args: &BenchArgs, nodes: Option<u32>) -> Vec<String> {
    let operations = &args.operations.0;
    let names: Vec<&str> = operations.iter().map(|operation| operation.name).collect();
    let names = names.join(", ");
    let mut found = Vec::new();
    if args.op.0 != [ReduceOp::Sum] && !operations.iter().any(|it| it.reduces()) {
        found.push(format!("--op has no effect: nothing is reduced by {names}"));
    }
    if args.root != Root::One(0) && !operations.iter().any(|it| it.rooted()) {
        found.push(format!("--root has no effect: there is no root in {names}"));
    }
    if args.datatype.0 != [DataType::F32] && !operations.iter().any(|it| it.carries()) {
        found.push(format!("--datatype has no effect: there are no elements in {names}"));
    }
    let uniform = Lengths::Skew(Skew::Uniform);
    if args.matrix != uniform && !operations.iter().any(|it| it.is_ragged()) {
        found.push(format!(
            "--matrix has no effect: blocks are of one length in {names}; all_to_all_v, all_gather_v and \
             reduce_scatter_v have others"
        ));
    }
    if args.settings.proto == Some(Protocol::Lend) && args.buffers == BuffersArg::Private {
        found.push(
            "--proto lend has no effect: private buffers cannot be lent; give --buffers shared"
                .to_owned(),
        );
    }
    let relays = args.settings.pxn.filter(|pxn| *pxn != Pxn::Off);
    let relays_work = matches!(args.transport, TransportArg::Auto | TransportArg::Verbs);
    if let Some(pxn) = relays.filter(|_| !relays_work) {
        let transport = args.transport.to_possible_value();
        let transport = transport.as_ref().map_or("", |value| value.get_name());
        found.push(format!(
            "--pxn {} has no effect with --transport {transport}: relays need memory inside a node and a \
             network between nodes, --transport auto or verbs",
            pxn.name()
        ));
    } else if let Some(pxn) = relays.filter(|_| nodes == Some(1)) {
        found.push(format!("--pxn {} has no effect on one node", pxn.name()));
    }
    if let (Some(_), Some(pxn)) =
        (args.settings.relay_below, args.settings.pxn.filter(|pxn| *pxn != Pxn::Auto))
    {
        found.push(format!(
            "--relay-below has no effect with --pxn {}: give --pxn auto",
            pxn.name()
        ));
    }
    if args.settings.forced() == Some(Algorithm::Hierarchical) && nodes == Some(1) {
        found.push(
            "--algo hierarchical has no effect on one node: as with auto, the fastest is taken"
                .to_owned(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn found(line: &str, nodes: u32) -> Vec<String> {
        let line = format!("crosstie bench {line}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Bench(args) => without(&args, Some(nodes)),
            _ => Vec::new(),
        }
    }

    #[test]
    fn each_flag_that_changes_nothing_is_named() {
        for (line, nodes, flag) in [
            ("all_to_all -o prod", 2, "--op"),
            ("all_reduce -r 1", 2, "--root"),
            ("all_reduce --matrix zipf", 2, "--matrix"),
            ("barrier -d half", 2, "--datatype"),
            ("all_reduce --proto lend", 2, "--proto lend"),
            ("all_reduce --algo hierarchical", 1, "--algo hierarchical"),
            ("all_to_all --pxn on --transport tcp", 2, "--pxn on"),
            ("all_to_all --pxn auto --transport loopback", 1, "--pxn auto"),
            ("all_to_all --pxn on", 1, "--pxn on"),
            ("all_to_all --pxn on --relay-below 4K", 2, "--relay-below"),
        ] {
            let found = found(line, nodes);
            assert_eq!(found.len(), 1, "{line}: {found:?}");
            assert!(found[0].starts_with(&format!("{flag} has no effect")), "{line}: {found:?}");
        }
        for (line, nodes) in [
            ("all_reduce -o prod -d half", 1),
            ("all_reduce,broadcast -r 1", 1),
            ("all_gather_v --matrix zipf", 1),
            ("all_reduce --proto lend --buffers shared", 1),
            ("all_reduce --algo hierarchical", 2),
            ("all_to_all --pxn on", 2),
            ("all_to_all --pxn auto --relay-below 4K", 2),
            ("all_to_all --pxn off --transport tcp", 2),
            ("all_to_all -o sum -r 0 -d float --matrix uniform", 1),
        ] {
            assert_eq!(found(line, nodes), Vec::<String>::new(), "{line}");
        }
    }
}
