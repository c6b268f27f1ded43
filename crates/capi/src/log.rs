//! Owns the log of a program that uses the C interface: warnings on standard error, and as much more as `NCCL_DEBUG` or
//! `CROSSTIE_LOG` asks for, there or in the file that `NCCL_DEBUG_FILE` names.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use crosstie::{Origin, Setting};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::errors::caught;

/// Whether the program is ending.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Lets through what is said before the program ends.
struct UntilEnd;

impl<S: Subscriber> Layer<S> for UntilEnd {
    fn enabled(&self, _: &Metadata<'_>, _: Context<'_, S>) -> bool {
        !ENDS.load(Ordering::Relaxed)
    }
}

/// Ends it: the thread in which the program exits has lost its thread-local storage by then, which writing a line needs.
pub fn end() {
    ENDS.store(true, Ordering::Relaxed);
    // Each place that logs is asked again whether it may, and is told so for good.
    tracing::callsite::rebuild_interest_cache();
}

/// Begins it, once.
pub fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        // A program can do without a log.
        let _ = caught(|| {
            start();
            Ok(())
        });
    });
}

fn start() {
    let told = Setting::named("CROSSTIE_LOG").map(Setting::told_here);
    let asked = told.as_ref().is_some_and(|told| told.origin != Origin::Default);
    let text = told.and_then(|told| told.value).unwrap_or_default();
    let filter = EnvFilter::try_new(&text);
    let is_wrong = filter.is_err();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("warn"));
    let file = crosstie::nccl_debug_file().filter(|_| asked);
    let opened = file.as_ref().map(File::create);
    let writer = match opened {
        Some(Ok(file)) => BoxMakeWriter::new(Mutex::new(file)),
        _ => BoxMakeWriter::new(io::stderr),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // This copy of the library has its own; where a Rust program has one already, that stays.
    let _ = log.with_ansi(false).without_time().finish().with(UntilEnd).try_init();
    if is_wrong {
        tracing::warn!("CROSSTIE_LOG={text} is not understood: write a level, as info");
    }
    if let (Some(file), true) = (&file, file.as_ref().is_some_and(|file| !file.exists())) {
        tracing::warn!("NCCL_DEBUG_FILE: {} cannot be written", file.display());
    }
    tracing::info!("crosstie {}, with the interface of NCCL 2.30.7", env!("CARGO_PKG_VERSION"));
}
