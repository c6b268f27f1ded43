//! Owns protection domains, and the memory that is registered in them.

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use crosstie_transport::Region;

use crate::pages::PAGE_BYTES;
use crate::sys;
use crate::{Context, Pages, VerbsError};

/// What a device may do with memory, besides reading it for what this process posts.
const ACCESS: u32 = sys::IBV_ACCESS_LOCAL_WRITE | sys::IBV_ACCESS_REMOTE_WRITE;

/// Queue pairs, and the memory that they may reach; clones are the same one.
#[derive(Debug, Clone)]
pub struct Domain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Context,
    raw: NonNull<sys::ibv_pd>,
}

// SAFETY: calls on one domain may come from any thread, and at the same time (rdma-core's promise).
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.context.is_forked() {
            return;
        }
        // SAFETY: it was made once, by this process, and all that was made in it held this value.
        unsafe { (self.context.symbols().ibv_dealloc_pd)(self.raw.as_ptr()) };
    }
}

impl Domain {
    /// An empty one.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn new(context: &Context) -> Result<Self, VerbsError> {
        // SAFETY: the context is open.
        let raw = unsafe { (context.symbols().ibv_alloc_pd)(context.raw()) };
        let raw = context.made(raw, "making a protection domain")?;
        Ok(Self(Arc::new(Inner { context: context.clone(), raw })))
    }

    /// The device that it is of.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    pub(crate) fn raw(&self) -> *mut sys::ibv_pd {
        self.0.raw.as_ptr()
    }

    /// Registers pages, which live as long as their registration.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn register_pages(&self, pages: Pages) -> Result<Registration, VerbsError> {
        let region = pages.region();
        // SAFETY: the pages go with the registration, and are reached by raw pointers alone.
        unsafe { self.register(region, Box::new(pages)) }
    }

    /// Registers memory. `owner` is kept until the registration has ended.
    ///
    /// # Safety
    /// The memory is there as long as `owner` is. Peers that are told the remote key may write all of it at any
    /// time: nobody holds references to bytes of it that they may write, nor relies on what these are.
    ///
    /// # Errors
    /// [`VerbsError::Refused`], such as when more memory would be pinned than the host allows.
    pub unsafe fn register(
        &self,
        region: Region,
        owner: Box<dyn Any + Send>,
    ) -> Result<Registration, VerbsError> {
        let (start, len) = (region.as_ptr(), region.len());
        // SAFETY: the memory is there, by the caller's promise; the kernel refuses what is not mapped.
        let raw =
            unsafe { (self.symbols().ibv_reg_mr)(self.raw(), start.cast(), len, ACCESS as i32) };
        self.registration(raw, owner, "registering memory")
    }

    /// Registers memory of another device: `len` bytes at `offset` of what `memory` stands for, which peers and
    /// work requests call by addresses from `address` on.
    ///
    /// # Safety
    /// As for [`register`](Self::register).
    ///
    /// # Errors
    /// [`VerbsError::NoDmaBuf`] where library, kernel or device cannot; [`VerbsError::Refused`].
    pub unsafe fn register_dmabuf(
        &self,
        memory: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        address: u64,
        owner: Box<dyn Any + Send>,
    ) -> Result<Registration, VerbsError> {
        self.takes_dmabuf()?;
        let Some(call) = self.symbols().ibv_reg_dmabuf_mr else {
            return Err(self.no_dmabuf(TOO_OLD));
        };
        let fd = memory.as_raw_fd();
        // SAFETY: the domain lives; the kernel checks the descriptor and the range.
        let raw = unsafe { call(self.raw(), offset, len, address, fd, ACCESS as i32) };
        self.registration(raw, owner, "registering a dma-buf")
    }

    /// Whether memory of other devices can be registered: asks for it with a descriptor that is none.
    ///
    /// # Errors
    /// [`VerbsError::NoDmaBuf`], with the reason why not.
    pub fn takes_dmabuf(&self) -> Result<(), VerbsError> {
        let Some(call) = self.symbols().ibv_reg_dmabuf_mr else {
            return Err(self.no_dmabuf(TOO_OLD));
        };
        // SAFETY: the domain lives; with this descriptor the kernel registers nothing.
        let raw = unsafe { call(self.raw(), 0, PAGE_BYTES, 0, -1, ACCESS as i32) };
        let reason = io::Error::last_os_error();
        if raw.is_null() {
            dmabuf_refusal(reason.raw_os_error())
                .map_or(Ok(()), |reason| Err(self.no_dmabuf(reason)))
        } else {
            // SAFETY: it was just made, and nobody has it.
            unsafe { (self.symbols().ibv_dereg_mr)(raw) };
            Ok(())
        }
    }

    #[cold]
    fn no_dmabuf(&self, reason: &'static str) -> VerbsError {
        VerbsError::NoDmaBuf { device: self.0.context.name().to_owned(), reason }
    }

    fn registration(
        &self,
        raw: *mut sys::ibv_mr,
        owner: Box<dyn Any + Send>,
        call: &'static str,
    ) -> Result<Registration, VerbsError> {
        let raw = self.0.context.made(raw, call)?;
        // SAFETY: it was just made, and the library changes no key later.
        let (local, remote) = unsafe { (raw.as_ref().lkey, raw.as_ref().rkey) };
        let keys = Keys { local, remote };
        Ok(Registration { domain: self.clone(), raw, keys, _owner: owner })
    }

    fn symbols(&self) -> &sys::Symbols {
        self.0.context.symbols()
    }
}

const TOO_OLD: &str = "libibverbs has no ibv_reg_dmabuf_mr: install rdma-core 34 or newer";

/// Why memory of other devices cannot be registered, told from the answer to a descriptor that is none; `None` where
/// the descriptor is all that the kernel minds.
fn dmabuf_refusal(code: Option<i32>) -> Option<&'static str> {
    match code {
        Some(libc::EBADF) => None,
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT) => {
            Some("its driver, or this kernel (Linux 5.12 is the first that can), does not")
        }
        _ => Some("the kernel refuses the question; see its log"),
    }
}

/// By which a device knows memory: work requests of this process name the local key, those of peers the
/// remote one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys {
    /// For work requests of this process.
    pub local: u32,
    /// For those of peers.
    pub remote: u32,
}

/// Memory that a device may reach. When it is dropped, no device reaches the memory any more, and then its owner
/// is let go.
#[derive(Debug)]
pub struct Registration {
    domain: Domain,
    raw: NonNull<sys::ibv_mr>,
    keys: Keys,
    _owner: Box<dyn Any + Send>,
}

// SAFETY: the library's structure is only read, until it is freed with this value.
unsafe impl Send for Registration {}
impl Registration {
    /// By which the device knows the memory.
    pub const fn keys(&self) -> Keys {
        self.keys
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.domain.context().is_forked() {
            return;
        }
        // SAFETY: it was made once, by this process. A device that is told of the memory later refuses.
        let code = unsafe { (self.domain.symbols().ibv_dereg_mr)(self.raw.as_ptr()) };
        if code != 0 {
            tracing::warn!(device = self.domain.context().name(), code, "memory stays registered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_minds_the_descriptor_takes_memory_of_other_devices() {
        assert_eq!(dmabuf_refusal(Some(libc::EBADF)), None);
        for code in [libc::EOPNOTSUPP, libc::EPROTONOSUPPORT, libc::EINVAL] {
            assert!(dmabuf_refusal(Some(code)).is_some(), "{code}");
        }
        assert!(dmabuf_refusal(None).is_some());
    }
}
