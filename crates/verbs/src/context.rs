//! Owns an open device: what it can do, its ports, their addresses, and what happens to it.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use crosstie_transport::ForkMark;

use crate::sys::{self, Symbols, Zeroed};
use crate::{Device, Event, Gid, Port, VerbsError};

/// An open device; clones are the same one. It is closed with the last of them, and of what was made on it.
#[derive(Debug, Clone)]
pub struct Context(Arc<Open>);

#[derive(Debug)]
struct Open {
    device: Device,
    raw: NonNull<sys::ibv_context>,
    attributes: Attributes,
    /// The kernel knows its objects by a descriptor that forked children share: only their parent destroys them.
    fork: ForkMark,
}

// SAFETY: calls on one context may come from any thread, and at the same time (rdma-core's promise).
unsafe impl Send for Open {}
// SAFETY: as above.
unsafe impl Sync for Open {}

impl Drop for Open {
    fn drop(&mut self) {
        if self.fork.is_forked() {
            return;
        }
        // SAFETY: it was opened once, by this process, and all that was made on it held this value.
        unsafe { (self.device.symbols().ibv_close_device)(self.raw.as_ptr()) };
    }
}

/// What a device has, as far as it bounds what can be made on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Queue pairs.
    pub queue_pairs: u32,
    /// Work requests that wait in one queue of a queue pair.
    pub work_requests: u32,
    /// Completion queues.
    pub completion_queues: u32,
    /// Entries of one completion queue.
    pub completions: u32,
    /// Memory regions.
    pub regions: u32,
    /// Bytes of one memory region.
    pub region_bytes: u64,
    /// Reads and atomic operations that wait at one queue pair.
    pub reads: u8,
    /// Ports.
    pub ports: u8,
    /// Whether it is made of software (soft-RoCE), and answers when the scheduler lets it.
    pub is_software: bool,
}

/// The vendor that soft-RoCE gives itself.
const NO_VENDOR: u32 = 0x00ff_ffff;

impl Attributes {
    fn of(raw: &sys::ibv_device_attr) -> Self {
        let count = |number: c_int| u32::try_from(number).unwrap_or(0);
        Self {
            queue_pairs: count(raw.max_qp),
            work_requests: count(raw.max_qp_wr),
            completion_queues: count(raw.max_cq),
            completions: count(raw.max_cqe),
            regions: count(raw.max_mr),
            region_bytes: raw.max_mr_size,
            reads: u8::try_from(raw.max_qp_rd_atom).unwrap_or(u8::MAX),
            ports: raw.phys_port_cnt,
            is_software: raw.vendor_id == NO_VENDOR,
        }
    }
}

impl Context {
    pub(crate) fn open(device: &Device) -> Result<Self, VerbsError> {
        let symbols = device.symbols();
        // SAFETY: the device is an entry of a list that lives.
        let raw = unsafe { (symbols.ibv_open_device)(device.raw()) };
        let raw = made(raw, "opening the device", device)?;
        let mut attributes = sys::ibv_device_attr::zeroed();
        // SAFETY: the context was just opened; the structure is the one that the call fills in.
        let queried = unsafe { (symbols.ibv_query_device)(raw.as_ptr(), &raw mut attributes) };
        let attributes = Attributes::of(&attributes);
        let open = Open { device: device.clone(), raw, attributes, fork: ForkMark::new() };
        let context = Self(Arc::new(open));
        context.checked(queried, "asking what it can do")?;
        let nonblocking = rustix::io::ioctl_fionbio(context.event_fd(), true);
        nonblocking.map_err(|e| context.refused("asking for its events", e.into()))?;
        Ok(context)
    }

    /// The device that it is.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.device.name()
    }

    /// Whether this is the copy of it in a forked child, which must not touch what its parent made.
    pub(crate) fn is_forked(&self) -> bool {
        self.0.fork.is_forked()
    }

    /// What it has.
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }

    /// The state of a port, whose numbers begin at 1.
    ///
    /// # Errors
    /// [`VerbsError::Refused`], such as where there is no such port.
    pub fn port(&self, number: u8) -> Result<Port, VerbsError> {
        let mut raw = sys::ibv_port_attr::zeroed();
        let to = &raw mut raw;
        // SAFETY: the context is open; the newer call is told how much room there is, the older one has a
        // structure that is a beginning of this one.
        let code = unsafe {
            match self.query_port() {
                Some(query) => query(self.raw(), number, to, size_of::<sys::ibv_port_attr>()),
                None => (self.symbols().ibv_query_port)(self.raw(), number, to.cast()),
            }
        };
        self.checked(code, "asking for a port's state")?;
        Ok(Port::of(number, &raw))
    }

    /// The device's own call, where it has one: the library's symbol of that name is of an older, shorter
    /// structure (`verbs_get_ctx_op` of the header).
    fn query_port(&self) -> Option<sys::QueryPort> {
        use std::mem::offset_of;
        // SAFETY: the context is open.
        if unsafe { self.0.raw.as_ref() }.abi_compat.addr() != usize::MAX {
            return None;
        }
        // SAFETY: such a context is the last field of a larger structure, all of which the library made.
        let around =
            unsafe { self.0.raw.as_ptr().byte_sub(offset_of!(sys::verbs_context, context)) };
        let around = around.cast::<sys::verbs_context>();
        // SAFETY: `sz` lies just before the context in every version; and what it says is there is there.
        unsafe {
            let reaches = (*around).sz >= size_of::<sys::verbs_context>();
            if reaches { (*around).query_port } else { None }
        }
    }

    /// The addresses of all ports, without the empty places of their tables.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn gids(&self) -> Result<Vec<Gid>, VerbsError> {
        let ports = (1..=self.0.attributes.ports).map(|port| self.port(port));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let most = ports.iter().map(|port| port.gid_places).sum::<u32>() as usize;
        let mut entries = vec![sys::ibv_gid_entry::zeroed(); most];
        // SAFETY: there is room for as many entries as the call is told.
        let found = unsafe {
            (self.symbols()._ibv_query_gid_table)(
                self.raw(),
                entries.as_mut_ptr(),
                most,
                0,
                size_of::<sys::ibv_gid_entry>(),
            )
        };
        let found = usize::try_from(found).map_err(|_| {
            let source = io::Error::from_raw_os_error(found.unsigned_abs() as i32);
            self.refused("asking for its addresses", source)
        })?;
        Ok(entries[..found.min(most)].iter().map(Gid::of).collect())
    }

    /// A descriptor that is readable when [`next_event`](Self::next_event) has one.
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the context is.
        unsafe { BorrowedFd::borrow_raw(self.0.raw.as_ref().async_fd) }
    }

    /// What has happened to the device or its ports, if anything; never waits.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn next_event(&self) -> Result<Option<Event>, VerbsError> {
        let mut raw = sys::ibv_async_event::zeroed();
        // SAFETY: the context is open; the structure is the one that the call fills in.
        if unsafe { (self.symbols().ibv_get_async_event)(self.raw(), &raw mut raw) } != 0 {
            let source = io::Error::last_os_error();
            if matches!(source.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                return Ok(None);
            }
            return Err(self.refused("asking for its events", source));
        }
        let event = Event::of(&raw);
        // SAFETY: it came from `ibv_get_async_event`, and is acknowledged once. What it points to is not
        // looked at, and may be destroyed only after this, as the library wants it.
        unsafe { (self.symbols().ibv_ack_async_event)(&raw mut raw) };
        Ok(Some(event))
    }

    pub(crate) fn symbols(&self) -> &Symbols {
        self.0.device.symbols()
    }

    pub(crate) fn raw(&self) -> *mut sys::ibv_context {
        self.0.raw.as_ptr()
    }

    /// The calls that go straight to the device's driver.
    pub(crate) fn ops(&self) -> &sys::ibv_context_ops {
        // SAFETY: the context is open, and nobody changes its calls after that.
        unsafe { &(*self.0.raw.as_ptr()).ops }
    }

    #[cold]
    pub(crate) fn refused(&self, call: &'static str, source: io::Error) -> VerbsError {
        VerbsError::Refused { call, device: self.name().to_owned(), source }
    }

    /// What a call that makes something gave.
    pub(crate) fn made<T>(
        &self,
        raw: *mut T,
        call: &'static str,
    ) -> Result<NonNull<T>, VerbsError> {
        made(raw, call, &self.0.device)
    }

    /// What a call that gives a number meant: zero, an error's number, or -1 with it in `errno`.
    pub(crate) fn checked(&self, code: c_int, call: &'static str) -> Result<(), VerbsError> {
        match code {
            0 => Ok(()),
            code if code > 0 => Err(self.refused(call, io::Error::from_raw_os_error(code))),
            _ => Err(self.refused(call, io::Error::last_os_error())),
        }
    }
}

fn made<T>(raw: *mut T, call: &'static str, device: &Device) -> Result<NonNull<T>, VerbsError> {
    NonNull::new(raw).ok_or_else(|| {
        let source = io::Error::last_os_error();
        VerbsError::Refused { call, device: device.name().to_owned(), source }
    })
}
