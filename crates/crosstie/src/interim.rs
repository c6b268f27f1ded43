//! Stands in for the monitor until it lands.
#![allow(missing_docs, dead_code)]
use crosstie_bootstrap::*;
use crosstie_net::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
pub struct MonitorOptions {
    pub heartbeat: Duration,
    pub silence: Duration,
}
pub struct Monitor;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    Died,
    Silent,
    Deadline,
    Protocol,
    Aborted,
}
pub struct Report {
    pub culprit: Option<u32>,
    pub cause: Cause,
    pub detail: String,
    pub sequence: u64,
}
pub struct Verdict {
    pub culprit: Option<u32>,
    pub culprit_host: String,
    pub cause: Cause,
    pub reporter: u32,
    pub detail: String,
    pub sequence: u64,
    pub provisional: bool,
}
impl Monitor {
    pub fn start(
        _: &World,
        _: &Arc<Listener>,
        _: Arc<Inbox>,
        _: MonitorOptions,
        _: Box<dyn Fn() + Send>,
        _: Instant,
    ) -> Result<Monitor, BootstrapError> {
        Ok(Monitor)
    }
    pub fn failed(&self) -> bool {
        false
    }
    pub fn call_started(&self, _: u64) {}
    pub fn call_finished(&self, _: u64) {}
    pub fn report(&self, _: Report) {}
    pub fn verdict(&self, _: Duration) -> Verdict {
        Verdict {
            culprit: None,
            culprit_host: String::new(),
            cause: Cause::Died,
            reporter: 0,
            detail: String::new(),
            sequence: 0,
            provisional: true,
        }
    }
    pub fn leave(self, _: u64) {}
}
