//! Owns whether memory is a GPU's: CUDA's driver is asked, where the program has loaded it; where it has not, there is
//! no such memory.
//!
//! This is where support for GPUs would take over: until there is some, their memory is refused, and not followed.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LAZY};

/// `cuPointerGetAttribute(data, attribute, pointer)` of CUDA's driver API.
type PointerGetAttribute = unsafe extern "C" fn(*mut c_void, c_uint, u64) -> c_int;

/// `CU_POINTER_ATTRIBUTE_MEMORY_TYPE`, and `CU_MEMORYTYPE_DEVICE` as its value.
const MEMORY_TYPE: c_uint = 2;
const OF_A_DEVICE: u64 = 2;
/// `CU_POINTER_ATTRIBUTE_IS_MANAGED`: the host can follow such pointers, too.
const IS_MANAGED: c_uint = 8;
/// Only a library that is loaded already.
const RTLD_NOLOAD: c_int = 4;

struct Driver {
    attribute: PointerGetAttribute,
    /// The function is there as long as this is.
    _library: Library,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

/// Looks whether the program has loaded CUDA's driver: before it makes a communicator, for whoever has memory of a GPU
/// by then has got it from there.
pub fn look() {
    if DRIVER.get().is_some() {
        return;
    }
    // SAFETY: nothing is loaded, so no initialiser runs; the name is that of CUDA's driver alone.
    let Ok(library) = (unsafe { Library::open(Some("libcuda.so.1"), RTLD_LAZY | RTLD_NOLOAD) })
    else {
        return;
    };
    // SAFETY: the driver API declares the function so since CUDA 4.0, and changes none.
    let found = unsafe { library.get::<PointerGetAttribute>(b"cuPointerGetAttribute\0") };
    if let Ok(attribute) = found.map(|symbol| *symbol) {
        let _ = DRIVER.set(Driver { attribute, _library: library });
    }
}

/// Whether only a GPU can follow this pointer.
pub fn is_of_a_gpu(address: usize) -> bool {
    DRIVER.get().is_some_and(|driver| {
        driver.tells(MEMORY_TYPE, address) == Some(OF_A_DEVICE)
            && driver.tells(IS_MANAGED, address) == Some(0)
    })
}

impl Driver {
    /// What the driver says of the memory; nothing of what it does not know, such as most of the host's.
    fn tells(&self, attribute: c_uint, address: usize) -> Option<u64> {
        let mut value = 0_u64;
        // SAFETY: both attributes are of at most 8 bytes; the driver looks the address up, and does not follow it.
        let code = unsafe {
            (self.attribute)((&raw mut value).cast::<c_void>(), attribute, address as u64)
        };
        (code == 0).then_some(value)
    }
}
