//! Owns the table of the library's calls: found at run time, or (feature `rdma-sys`) linked.

use std::ffi::{c_int, c_uint, c_void};

use super::types::*;
use crate::VerbsError;

/// Declares the table once, for both ways of filling it. The names are the library's own.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        /// The calls of libibverbs, and the library that has them.
        #[allow(missing_docs, reason = "each is documented by the manual page of its name")]
        pub struct Symbols {
            $($(#[$doc])* pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
            /// Registers memory behind a dma-buf; since rdma-core 34.
            pub ibv_reg_dmabuf_mr: Option<RegDmabufMr>,
            #[cfg(not(feature = "rdma-sys"))]
            _library: libloading::os::unix::Library,
        }

        #[cfg(not(feature = "rdma-sys"))]
        impl Symbols {
            fn of(library: libloading::os::unix::Library) -> Result<Self, VerbsError> {
                Ok(Self {
                    $($name: symbol(&library, stringify!($name))?,)+
                    ibv_reg_dmabuf_mr: symbol(&library, "ibv_reg_dmabuf_mr").ok(),
                    _library: library,
                })
            }
        }

        #[cfg(feature = "rdma-sys")]
        impl Symbols {
            /// The calls that were linked.
            ///
            /// # Errors
            /// None.
            pub fn open() -> Result<Self, VerbsError> {
                Ok(Self {
                    // SAFETY: the declarations differ in the names of their structures alone, whose layouts
                    // `layout` holds against each other.
                    $($name: unsafe { std::mem::transmute::<*const (), _>(linked::$name as *const ()) },)+
                    // SAFETY: as above.
                    ibv_reg_dmabuf_mr: Some(unsafe {
                        std::mem::transmute::<*const (), RegDmabufMr>(linked::ibv_reg_dmabuf_mr as *const ())
                    }),
                })
            }
        }
    };
}

/// `ibv_reg_dmabuf_mr`.
pub type RegDmabufMr =
    unsafe extern "C" fn(*mut ibv_pd, u64, usize, u64, c_int, c_int) -> *mut ibv_mr;

calls! {
    ibv_get_device_list: fn(*mut c_int) -> *mut *mut ibv_device;
    ibv_free_device_list: fn(*mut *mut ibv_device);
    ibv_get_device_guid: fn(*mut ibv_device) -> u64;
    ibv_open_device: fn(*mut ibv_device) -> *mut ibv_context;
    ibv_close_device: fn(*mut ibv_context) -> c_int;
    ibv_query_device: fn(*mut ibv_context, *mut ibv_device_attr) -> c_int;
    /// Of an old structure, shorter than [`ibv_port_attr`]: only for devices without a newer call of their own.
    ibv_query_port: fn(*mut ibv_context, u8, *mut c_void) -> c_int;
    /// Since rdma-core 32.
    _ibv_query_gid_table: fn(*mut ibv_context, *mut ibv_gid_entry, usize, u32, usize) -> isize;
    ibv_get_async_event: fn(*mut ibv_context, *mut ibv_async_event) -> c_int;
    ibv_ack_async_event: fn(*mut ibv_async_event);
    ibv_alloc_pd: fn(*mut ibv_context) -> *mut ibv_pd;
    ibv_dealloc_pd: fn(*mut ibv_pd) -> c_int;
    ibv_reg_mr: fn(*mut ibv_pd, *mut c_void, usize, c_int) -> *mut ibv_mr;
    ibv_dereg_mr: fn(*mut ibv_mr) -> c_int;
    ibv_create_comp_channel: fn(*mut ibv_context) -> *mut ibv_comp_channel;
    ibv_destroy_comp_channel: fn(*mut ibv_comp_channel) -> c_int;
    ibv_create_cq: fn(*mut ibv_context, c_int, *mut c_void, *mut ibv_comp_channel, c_int) -> *mut ibv_cq;
    ibv_destroy_cq: fn(*mut ibv_cq) -> c_int;
    ibv_get_cq_event: fn(*mut ibv_comp_channel, *mut *mut ibv_cq, *mut *mut c_void) -> c_int;
    ibv_ack_cq_events: fn(*mut ibv_cq, c_uint);
    ibv_create_qp: fn(*mut ibv_pd, *mut ibv_qp_init_attr) -> *mut ibv_qp;
    ibv_modify_qp: fn(*mut ibv_qp, *mut ibv_qp_attr, c_int) -> c_int;
    ibv_destroy_qp: fn(*mut ibv_qp) -> c_int;
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").finish_non_exhaustive()
    }
}

#[cfg(feature = "rdma-sys")]
mod linked {
    pub use rdma_sys::*;

    unsafe extern "C" {
        /// Which the crate leaves out, for its name.
        pub fn _ibv_query_gid_table(
            context: *mut ibv_context,
            entries: *mut ibv_gid_entry,
            room: usize,
            flags: u32,
            entry_bytes: usize,
        ) -> isize;
    }
}

#[cfg(not(feature = "rdma-sys"))]
mod found {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

    use super::Symbols;
    use crate::VerbsError;

    /// The name by which programs that link the library ask for it.
    const LIBRARY: &str = "libibverbs.so.1";

    impl Symbols {
        /// The calls of the library where the system's loader finds it.
        ///
        /// # Errors
        /// [`VerbsError::NoLibrary`]; [`VerbsError::NoSymbol`] for one that is too old.
        pub fn open() -> Result<Self, VerbsError> {
            Self::named(LIBRARY)
        }

        pub(super) fn named(name: &str) -> Result<Self, VerbsError> {
            // It loads drivers of devices that keep threads and memory: once loaded it stays.
            let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
            // SAFETY: the library's initialisation is that of rdma-core, which has no requirements.
            let library = unsafe { Library::open(Some(name), flags) };
            let missing = |source: libloading::Error| VerbsError::NoLibrary {
                library: name.to_owned(),
                reason: source.to_string(),
            };
            Self::of(library.map_err(missing)?)
        }
    }

    pub(super) fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, VerbsError> {
        // SAFETY: the table declares each call as the library's header does.
        let found = unsafe { library.get::<T>(name.as_bytes()) };
        found.map(|found| *found).map_err(|_| VerbsError::NoSymbol { symbol: name.to_owned() })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_library_that_is_not_there_is_an_error_that_says_what_to_install() {
            let missing = Symbols::named("libcrosstie-none.so.1").unwrap_err().to_string();
            assert!(missing.contains("libcrosstie-none.so.1"), "{missing}");
            assert!(missing.contains("install"), "{missing}");
        }

        #[test]
        fn a_library_without_the_calls_is_an_error_that_names_the_first_of_them() {
            // Any library does that is surely there.
            let missing = Symbols::named("libc.so.6").unwrap_err();
            let VerbsError::NoSymbol { symbol } = &missing else { panic!("{missing:?}") };
            assert_eq!(symbol, "ibv_get_device_list");
        }
    }
}
#[cfg(not(feature = "rdma-sys"))]
use found::symbol;
