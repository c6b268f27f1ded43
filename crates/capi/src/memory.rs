//! Owns memory that a program allocates here, or tells of: `ncclMemAlloc`, registration, windows.
//!
//! Here all memory is host memory, and calls take any. So a registration and a window are remembered
//! and given back, and make no call faster. (Device memory would be told here by asking the CUDA
//! driver of a pointer; there is none to ask.)

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use crate::communicator::COMMUNICATORS;
use crate::errors::{Answer, Code, Refusal, lock};
use crate::handles::{Handle, Handles};
use crate::pointer::{Memory, Out};

/// What `ncclMemAlloc` gave and `ncclMemFree` has not taken back, by its address.
static ALLOCATED: Mutex<BTreeMap<usize, Layout>> = Mutex::new(BTreeMap::new());

/// What windows have to begin at a multiple of.
const PAGE_BYTES: usize = 4096;

/// Zeroed memory on pages of its own.
pub fn alloc(out: &Out<usize>, bytes: usize) -> Answer {
    out.check("ptr")?;
    let none = || Refusal {
        code: Code::SystemError,
        text: format!("there is no memory for {bytes} bytes"),
    };
    let layout = Layout::from_size_align(bytes.max(1), PAGE_BYTES).map_err(|_| none())?;
    // SAFETY: the layout has at least one byte.
    let first = unsafe { alloc_zeroed(layout) };
    if first.is_null() {
        return Err(none());
    }
    let address = first.expose_provenance();
    lock(&ALLOCATED).insert(address, layout);
    out.put("ptr", address)
}

pub fn free(memory: Memory) -> Answer {
    let address = memory.address();
    if address == 0 {
        return Ok(());
    }
    let layout = lock(&ALLOCATED).remove(&address);
    let layout = layout.ok_or_else(|| {
        Refusal::argument(format!(
            "{address:#x} is not what ncclMemAlloc gave, or was freed before"
        ))
    })?;
    // SAFETY: `alloc` gave this address with this layout, and as it was on the list nobody has freed
    // it; the program gives it back, so nobody looks at it any more.
    unsafe { dealloc(std::ptr::with_exposed_provenance_mut(address), layout) };
    Ok(())
}

/// Memory that a program told a communicator of.
pub struct Told {
    communicator: Handle,
    address: usize,
}

pub static REGISTERED: Handles<Told> = Handles::new("registration");
pub static WINDOWS: Handles<Told> = Handles::new("window");

/// Remembers memory of a communicator as one of `kind`.
pub fn tell(
    kind: &Handles<Told>,
    communicator: Handle,
    memory: Memory,
    bytes: usize,
    out: &Out<Handle>,
) -> Answer {
    COMMUNICATORS.find(communicator)?;
    out.check("handle")?;
    memory.span("buff", bytes, 1)?;
    let told = Told { communicator, address: memory.address() };
    out.put("handle", kind.insert(Arc::new(told)))
}

/// Forgets it.
pub fn forget(kind: &Handles<Told>, communicator: Handle, handle: Handle) -> Answer {
    COMMUNICATORS.find(communicator)?;
    check(kind, communicator, handle)?;
    kind.remove(handle).map(drop)
}

/// Forgets all memory of a communicator that ends.
pub fn forget_all(communicator: Handle) {
    for kind in [&REGISTERED, &WINDOWS] {
        kind.retain(|told| told.communicator != communicator);
    }
}

/// The address that a window was made of.
pub fn address(communicator: Handle, window: Handle, out: &Out<usize>) -> Answer {
    COMMUNICATORS.find(communicator)?;
    let told = check(&WINDOWS, communicator, window)?;
    out.put("outUserPtr", told.address)
}

fn check(kind: &Handles<Told>, communicator: Handle, handle: Handle) -> Answer<Arc<Told>> {
    let told = kind.find(handle)?;
    match told.communicator == communicator {
        true => Ok(told),
        false => Err(Refusal::argument("it belongs to another communicator")),
    }
}

/// Windows lie on pages of their own. Flags of windows: whether all ranks' are alike, and the order of what is written
/// to them.
pub fn check_window(memory: Memory, flags: c_int) -> Answer {
    let address = memory.address();
    if !address.is_multiple_of(PAGE_BYTES) {
        let what = format!(
            "a window begins at a multiple of {PAGE_BYTES} (NCCL_WIN_REQUIRED_ALIGNMENT), not at {address:#x}: ncclMemAlloc gives such memory"
        );
        return Err(Refusal::argument(what));
    }
    match flags {
        0..=3 => Ok(()),
        _ => Err(Refusal::argument(format!("{flags} are no flags of windows"))),
    }
}
