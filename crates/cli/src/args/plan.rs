//! Owns the arguments of `crosstie plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::When;

const VERIFY_HELP: &str = "\
The file is a plan (JSON, schema crosstie.plan) or a program for MSCCL (XML, <algo>).
What holds is proved for every order in which its blocks can run: that none waits for
ever, that no two touch the same memory unordered, that each rank ends with what the
collective demands. A program's chunks divide the count, as MSCCL has it.

Examples:
  crosstie plan verify all_reduce.xml
  crosstie plan verify all_reduce.xml --json | jq .steps

Exit code: 0 it is right; 1 it is not, and the message says where; 2 usage, or a file
that is neither.";

/// Arguments of `crosstie plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to do with a plan.
    #[command(subcommand)]
    pub command: PlanCommand,
}

/// What can be done with a plan.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Prove that a plan, or a program for MSCCL, computes its collective, or tell what is wrong in it
    Verify(VerifyArgs),
}

/// Arguments of `crosstie plan verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// The plan or program
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Print one object of JSON instead of text
    #[arg(long)]
    pub json: bool,

    /// Whether to colour the text
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}
