//! Measures the time that a message takes between two processes on two processors over shared memory.
//!
//! `cargo run --release -p crosstie-transport --example ping_pong` starts the second process by
//! itself. One way is half a round trip; the best of the batches is what the hardware does, the
//! median what a busy machine makes of it.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use crosstie_net::Secret;
use crosstie_transport::doorbell::Doorbell;
use crosstie_transport::seam::{Endpoint, Grant, Limits, SendSpace};
use crosstie_transport::shm::{ShmOptions, connect};
use crosstie_transport::{Driver, LocalEndpoint};
use rustix::thread::{CpuSet, sched_setaffinity};

const SIZES: [usize; 6] = [0, 8, 48, 64, 1024, 65536];
const BATCHES: usize = 400;
const ROUNDS_PER_BATCH: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(passphrase) => play(1, &passphrase),
        None => {
            let passphrase = format!("ping pong {}", std::process::id());
            let mut child = Command::new(std::env::current_exe()?).arg(&passphrase).spawn()?;
            play(0, &passphrase)?;
            child.wait()?;
            Ok(())
        }
    }
}

fn play(rank: u32, passphrase: &str) -> Result<(), Box<dyn Error>> {
    let mut processors = CpuSet::new();
    processors.set(rank as usize);
    sched_setaffinity(None, &processors)?;
    let doorbell = Doorbell::new()?;
    let mut endpoint = connect(
        &ShmOptions {
            secret: Secret::from_passphrase(passphrase),
            rank,
            local_ranks: vec![0, 1],
            channels: 1,
            limits: Limits { slots: 4, slot_bytes: 128 << 10 },
            heap_bytes: 1 << 20,
            pull: false,
            boxes: None,
            deadline: Instant::now() + Duration::from_secs(10),
        },
        &doorbell,
        &|| false,
    )?;
    assert!(doorbell.take(Driver::Application), "nobody else drives");
    for bytes in SIZES {
        let mut batches = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            let start = Instant::now();
            for _ in 0..ROUNDS_PER_BATCH {
                if rank == 0 {
                    send(&mut endpoint, 1, bytes)?;
                    receive(&mut endpoint, 1, bytes)?;
                } else {
                    receive(&mut endpoint, 0, bytes)?;
                    send(&mut endpoint, 0, bytes)?;
                }
            }
            batches.push(start.elapsed() / ROUNDS_PER_BATCH / 2);
        }
        batches.sort_unstable();
        if rank == 0 {
            let (best, median) = (batches[0], batches[BATCHES / 2]);
            println!("{bytes:>6} bytes: one way {best:?} at best, {median:?} in the median");
        }
    }
    doorbell.leave();
    Ok(())
}

fn send(endpoint: &mut LocalEndpoint, peer: u32, bytes: usize) -> Result<(), Box<dyn Error>> {
    let sender = endpoint.sender(peer, 0).ok_or("no connection")?;
    loop {
        if let Some(SendSpace::Slot(slot)) = endpoint.begin_send(sender, bytes)? {
            // SAFETY: the slot has so many bytes, and is this rank's until committed.
            unsafe { slot.as_ptr().write_bytes(1, slot.len()) };
            return Ok(endpoint.commit(sender)?);
        }
        endpoint.progress()?;
    }
}

/// As an engine does: posts, then polls and makes progress in turn.
fn receive(endpoint: &mut LocalEndpoint, peer: u32, bytes: usize) -> Result<(), Box<dyn Error>> {
    let receiver = endpoint.receiver(peer, 0).ok_or("no connection")?;
    endpoint.post(&[Grant { receiver, limit: bytes, place: None }])?;
    loop {
        endpoint.progress()?;
        if let Some(arrival) = endpoint.poll(receiver)? {
            // Touches every line, as a reader would.
            for offset in (0..arrival.bytes.len()).step_by(64) {
                // SAFETY: inside the message, which is this rank's until released.
                unsafe { arrival.bytes.as_ptr().add(offset).read_volatile() };
            }
            endpoint.release(receiver);
            return Ok(());
        }
    }
}
