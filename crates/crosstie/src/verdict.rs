//! Owns the way from what one rank saw to the verdict that all ranks share.

use std::time::Duration;

use crosstie_bootstrap::{Cause, Monitor, Report, Verdict, Wait, WaitOn};
use crosstie_exec::{ExecError, Waiting, WaitingFor, Watch};
use crosstie_ir::Collective;
use crosstie_transport::TransportError;

use crate::error::Failure;
use crate::{Communicator, Error};

impl Communicator {
    /// Turns what this rank saw into the verdict that all ranks share.
    #[cold]
    pub(crate) fn fail(&mut self, operation: Collective, seen: ExecError) -> Error {
        let local = seen.to_string();
        let cause = match &seen {
            ExecError::Deadline { .. } => Cause::Deadline,
            ExecError::CallMismatch { .. } | ExecError::LengthMismatch { .. } => Cause::Protocol,
            ExecError::Transport { source, .. }
                if matches!(**source, TransportError::PeerGone { .. }) =>
            {
                Cause::Died
            }
            _ => Cause::Protocol,
        };
        let report =
            Report { culprit: seen.peer(), cause, detail: local.clone(), sequence: self.sequence };
        let verdict = match &self.monitor {
            Some(monitor) => {
                if !matches!(seen, ExecError::Interrupted { .. }) {
                    monitor.report(report);
                }
                monitor.verdict(VERDICT_LIMIT)
            }
            None => Verdict::provisional(report, self.world.rank, String::new()),
        };
        let (rank, operation) = (self.world.rank, Some(operation));
        let failure = Failure::new(verdict, rank, operation, self.sequence, local);
        self.failed = Some(failure.to_string());
        Error::Failed(Box::new(failure))
    }
}

/// Ties one call to this rank's monitor, in whatever thread drives it.
pub(crate) struct Watched<'a> {
    pub monitor: Option<&'a Monitor>,
    pub sequence: u64,
}

impl Watch for Watched<'_> {
    fn interrupted(&self) -> bool {
        self.monitor.is_some_and(|monitor| monitor.interrupts(self.sequence))
    }

    fn moved(&self) {
        if let Some(monitor) = self.monitor {
            monitor.call_moved();
        }
    }

    fn asks(&self) -> bool {
        self.monitor.is_some_and(Monitor::asks)
    }

    #[cold]
    fn tell(&self, waiting: Vec<Waiting>) {
        if let Some(monitor) = self.monitor {
            monitor.testify(waiting.into_iter().map(wait).collect());
        }
    }
}

/// The same, as monitors tell it each other.
fn wait(waiting: Waiting) -> Wait {
    let Waiting { block, step, window, on } = waiting;
    let on = match on {
        WaitingFor::Message { peer, channel } => WaitOn::Message { peer, channel, slot: None },
        WaitingFor::Room { peer, channel } => WaitOn::Room { peer, channel, slot: None },
        WaitingFor::Step { block, step } => WaitOn::Step { block, step },
        _ => WaitOn::Step { block, step },
    };
    Wait { block, step, window, on }
}

/// How long a rank waits for the verdict before it judges alone (design: two seconds).
pub(crate) const VERDICT_LIMIT: Duration = Duration::from_secs(2);
