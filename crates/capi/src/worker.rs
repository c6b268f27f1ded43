//! Owns the thread that carries out, in order, what a communicator is asked for and its program does
//! not wait for.

use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::errors::{Answer, Code, Refusal, lock};

type Job = Box<dyn FnOnce() + Send>;

/// Starts its thread with its first job; the thread ends when this is dropped and no job is left.
#[derive(Default)]
pub struct Worker(Mutex<Option<Sender<Job>>>);

impl Worker {
    /// Has `job` carried out after those before it.
    pub fn submit(&self, job: Job) -> Answer {
        let mut sender = lock(&self.0);
        let jobs = match &mut *sender {
            Some(jobs) => jobs,
            none => none.insert(start()?),
        };
        jobs.send(job).map_err(|_| failed("its thread has ended".to_owned()))
    }

    /// Has its thread end after the jobs that it was given.
    pub fn end(&self) {
        lock(&self.0).take();
    }
}

fn start() -> Answer<Sender<Job>> {
    let (sender, jobs): (_, Receiver<Job>) = mpsc::channel();
    let thread = std::thread::Builder::new().name("crosstie-calls".to_owned());
    let run = move || jobs.into_iter().for_each(|job| job());
    thread.spawn(run).map_err(|error| failed(error.to_string()))?;
    Ok(sender)
}

fn failed(why: String) -> Refusal {
    let text = format!("no thread to carry the call out: {why}");
    Refusal { code: Code::SystemError, text }
}
