//! Owns the library as a whole, and the list of devices.

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::sys::{self, Symbols};
use crate::{Context, VerbsError};

/// libibverbs; clones are the same one.
#[derive(Debug, Clone)]
pub struct Library(Arc<Symbols>);

/// What a device is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeType {
    /// InfiniBand, or Ethernet with RoCE.
    ChannelAdapter,
    /// Ethernet with iWARP.
    Iwarp,
    /// Anything else, by the library's number.
    Other(c_int),
}

/// An RDMA device of this host.
#[derive(Debug, Clone)]
pub struct Device {
    list: Arc<List>,
    raw: NonNull<sys::ibv_device>,
    name: String,
}

// SAFETY: a device is an entry of the library's list, which the library reads under its own locks.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

#[derive(Debug)]
struct List {
    symbols: Arc<Symbols>,
    first: NonNull<*mut sys::ibv_device>,
}

// SAFETY: the array is only read, until it is freed with its last user.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: it came from `ibv_get_device_list`, and nobody has it any more.
        unsafe { (self.symbols.ibv_free_device_list)(self.first.as_ptr()) };
    }
}

impl Library {
    /// Finds the library.
    ///
    /// # Errors
    /// [`VerbsError::NoLibrary`]; [`VerbsError::NoSymbol`].
    pub fn open() -> Result<Self, VerbsError> {
        Ok(Self(Arc::new(Symbols::open()?)))
    }

    /// Whether the kernel has devices, without loading the library.
    pub fn has_devices() -> bool {
        std::fs::read_dir("/sys/class/infiniband").is_ok_and(|mut devices| devices.next().is_some())
    }

    /// The devices of this host, which may be none.
    ///
    /// # Errors
    /// [`VerbsError::NoKernelSupport`]; [`VerbsError::Refused`].
    pub fn devices(&self) -> Result<Vec<Device>, VerbsError> {
        let mut count: c_int = 0;
        // SAFETY: `count` is where the library puts the length.
        let first = unsafe { (self.0.ibv_get_device_list)(&raw mut count) };
        let Some(first) = NonNull::new(first) else {
            return Err(no_list(io::Error::last_os_error()));
        };
        let list = Arc::new(List { symbols: self.0.clone(), first });
        let device = |index| {
            // SAFETY: the array has `count` entries, and lives as long as `list`.
            let raw = NonNull::new(unsafe { *first.as_ptr().add(index) })?;
            // SAFETY: entries of the list are devices until it is freed.
            let name = text(unsafe { &raw.as_ref().name });
            Some(Device { list: list.clone(), raw, name })
        };
        Ok((0..count.max(0) as usize).filter_map(device).collect())
    }

    /// The device of that name.
    ///
    /// # Errors
    /// As [`devices`](Self::devices); [`VerbsError::NoDevice`].
    pub fn device(&self, name: &str) -> Result<Device, VerbsError> {
        let mut devices = self.devices()?;
        let at = devices.iter().position(|device| device.name == name).ok_or_else(|| {
            let names: Vec<_> = devices.iter().map(Device::name).collect();
            VerbsError::NoDevice { name: name.to_owned(), present: names.join(" ") }
        })?;
        Ok(devices.swap_remove(at))
    }

    /// Whether it can register memory behind a dma-buf.
    pub fn has_dmabuf(&self) -> bool {
        self.0.ibv_reg_dmabuf_mr.is_some()
    }
}

fn no_list(source: io::Error) -> VerbsError {
    match source.raw_os_error() {
        Some(libc::ENOSYS | libc::EOPNOTSUPP) => VerbsError::NoKernelSupport,
        _ => {
            VerbsError::Refused { call: "listing devices", device: "this host".to_owned(), source }
        }
    }
}

fn text(bytes: &[c_char]) -> String {
    let bytes: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
    let end = CStr::from_bytes_until_nul(&bytes).map_or(bytes.len(), |text| text.count_bytes());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Device {
    /// Its name, such as `mlx5_0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own number.
    pub fn guid(&self) -> u64 {
        // SAFETY: an entry of a list that lives.
        u64::from_be(unsafe { (self.symbols().ibv_get_device_guid)(self.raw.as_ptr()) })
    }

    /// What it is attached to.
    pub fn node_type(&self) -> NodeType {
        // SAFETY: an entry of a list that lives.
        match unsafe { self.raw.as_ref() }.node_type {
            sys::IBV_NODE_CA => NodeType::ChannelAdapter,
            sys::IBV_NODE_RNIC => NodeType::Iwarp,
            other => NodeType::Other(other),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`VerbsError::Refused`].
    pub fn open(&self) -> Result<Context, VerbsError> {
        Context::open(self)
    }

    pub(crate) fn symbols(&self) -> &Arc<Symbols> {
        &self.list.symbols
    }

    pub(crate) fn raw(&self) -> *mut sys::ibv_device {
        self.raw.as_ptr()
    }
}
