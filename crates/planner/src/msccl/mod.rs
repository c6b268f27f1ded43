//! Reads programs for MSCCL, Microsoft's runtime for custom collectives, as plans.
//!
//! A program lists for each GPU its thread blocks, each with one peer to send to, one to receive from, and
//! steps: `s` send, `r` receive, `cpy` copy, `re` reduce, the fused `rcs`, `rrs`, `rrc`, `rrcs`, and `nop`,
//! which only waits. The form is that of `msccl-tools` (`msccl/language/ir.py`), and what a step means that
//! of the runtime (`RunInterpreter`):
//!
//! | step | value | to |
//! |---|---|---|
//! | `s` | src | the peer |
//! | `r`, `rcs` | what came | dst; `rcs` the peer too |
//! | `rrc`, `rrs`, `rrcs` | what came + src | dst, the peer, both |
//! | `cpy` | src | dst |
//! | `re` | src + dst | dst |
//!
//! As there, a step that others wait for has `hasdep`: else they wait for the next one that has; and a `nop`
//! only adds to what the step after it waits for, which waits for something itself.
//!
//! A thread block is a block, a step over `cnt` chunks as many instructions, each with a message of its own,
//! so that more chunks than a connection has slots are sent only while somebody receives. Where a collective's buffer is
//! whole, its chunks are the plan's parts; where it is made of a block for each rank, a program's chunks
//! are slices of blocks. MSCCL runs a program only where its chunks divide the count, so a plan that is
//! made here is right for such counts ([`crosstie_ir::Options::even`]).

mod lower;
mod read;
mod scratch;
mod shape;
mod waits;

pub use read::Forms;

use alloc::string::String;
use alloc::vec::Vec;

use crosstie_ir::{Options, Plan, Reject, Report, SLOTS, Site, verify};
use crosstie_topo::ReadError;
use crosstie_topo::xml::Position;

/// A program as a plan.
#[derive(Debug)]
#[non_exhaustive]
pub struct Program {
    /// What its author calls it; may be empty.
    pub name: String,
    /// For which calls it is.
    pub forms: Forms,
    /// What all ranks do.
    pub plan: Plan,
    origins: Vec<Vec<Origin>>,
}

/// The step of a program from which an instruction was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The GPU, which is the rank.
    pub gpu: u32,
    /// The thread block's id.
    pub thread_block: u32,
    /// The step's number.
    pub step: u32,
    /// The line of the file where it stands.
    pub line: u32,
}

/// What holds of a program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Proof {
    /// Its figures.
    pub report: Report,
    /// Whether it stays right where the plan is repeated over parts of a long buffer, as this library does:
    /// scratch memory is then used again.
    pub repeats: bool,
}

/// Why a text is no program that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no XML, or larger than any program.
    #[error("line {}, column {}: {}", .0.at.line, .0.at.column, .0.fault)]
    Xml(ReadError),
    /// The outermost element is another.
    #[error(
        "line {}, column {}: the outermost element is <{found}>, expected <algo>: an MSCCL program",
        at.line, at.column
    )]
    Root {
        /// Where.
        at: Position,
        /// Its name.
        found: String,
    },
    /// An attribute is missing, or holds what it cannot.
    #[error(
        "line {}, column {}: {attribute}={value:?} of <{element}>, expected {expected}",
        at.line, at.column
    )]
    Value {
        /// Where.
        at: Position,
        /// The element.
        element: &'static str,
        /// The attribute.
        attribute: &'static str,
        /// What it holds; empty where it is missing.
        value: String,
        /// What it should hold.
        expected: String,
    },
    /// A number that counts or names things contradicts what is there.
    #[error("line {}, column {}: {what}", at.line, at.column)]
    Contradiction {
        /// Where.
        at: Position,
        /// What contradicts what.
        what: String,
    },
    /// A plan cannot say what it says, though it may be right.
    #[error("line {}, column {}: {what}", at.line, at.column)]
    Beyond {
        /// Where.
        at: Position,
        /// What no plan says.
        what: String,
    },
    /// The plan that it would make has no room.
    #[error("the program makes more than {limit} instructions")]
    TooLong {
        /// The most.
        limit: usize,
    },
    /// What it makes is no plan, or stands still.
    #[error("{0}")]
    Plan(Refused),
}

/// A program whose plan is refused, and where in the file the cause is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reject: Reject,
    /// The steps that it is about.
    pub origins: Vec<Origin>,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        /// A deadlock of a large world would fill pages.
        const SHOWN: usize = 8;
        write!(f, "{}", self.reject)?;
        for origin in self.origins.iter().take(SHOWN) {
            write!(f, "\n  {origin}")?;
        }
        Ok(())
    }
}

impl core::fmt::Display for Origin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { gpu, thread_block, step, line } = self;
        write!(f, "line {line}: gpu {gpu}, tb {thread_block}, step {step}")
    }
}

impl Program {
    /// Reads a program.
    ///
    /// # Errors
    /// Where the text is none, with the place; where its form is no plan's, or its steps stand still with
    /// [`SLOTS`] slots a connection, with the steps. Whether it computes its collective is for
    /// [`crosstie_ir::verify()`] to say.
    pub fn read(text: &str) -> Result<Self, Error> {
        let algo = read::algo(text)?;
        lower::program(&algo)
    }

    /// Where an instruction of the plan comes from.
    pub fn origin(&self, site: Site) -> Option<Origin> {
        self.origins.get(site.block.0 as usize)?.get(site.step as usize).copied()
    }

    /// Proves that it computes its collective in every call that it is for, and in no order of its blocks
    /// anything else.
    ///
    /// # Errors
    /// What is wrong, with the places in the file.
    pub fn prove(&self) -> Result<Proof, Refused> {
        let Forms { in_place, out_of_place } = self.forms;
        let prove = |windows, inside| {
            let options = Options { windows, in_place: inside, ..Options::copy(SLOTS).even() };
            verify(&self.plan, &options)
        };
        let forms = [in_place.then_some(true), out_of_place.then_some(false)];
        let mut report = None;
        // One window decides: the runtime has scratch memory for a whole call.
        for form in forms.into_iter().flatten() {
            report = Some(prove(1, form).map_err(|reject| self.refused(reject))?);
        }
        let report = report.ok_or_else(|| self.refused(Reject::Ranks { ranks: 0 }))?;
        let repeats = forms.into_iter().flatten().all(|form| prove(2, form).is_ok());
        Ok(Proof { report, repeats })
    }

    /// Why the plan is refused, with the places in the file.
    pub fn refused(&self, reject: Reject) -> Refused {
        let origins = reject.sites().into_iter().filter_map(|site| self.origin(site)).collect();
        Refused { reject, origins }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Xml(error)
    }
}
