//! Owns the pointers that a program hands over, and is the one place that follows them.
//!
//! The types here have no constructor: only a call from C makes them. What the C function's
//! declaration asks of its caller is therefore what each `unsafe` block rests on.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{NonNull, with_exposed_provenance, with_exposed_provenance_mut};

use crate::device;
use crate::errors::{Answer, Refusal};

/// Where a result goes.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Refuses the null pointer, before anything is done.
    pub fn check(&self, name: &str) -> Answer {
        if self.0.is_null() { Err(null(name)) } else { Ok(()) }
    }

    /// Writes the result.
    pub fn put(&self, name: &str, value: T) -> Answer {
        self.check(name)?;
        // SAFETY: it is not null, and the caller of the C function gives a place for a `T`, which is
        // nobody else's until the function returns.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// The place of element `index` of the array that this points to.
    pub fn element(&self, index: usize) -> Self {
        Self(self.0.wrapping_add(index))
    }
}

/// A value, or an array, to be read; null where there is none.
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: Copy> In<T> {
    /// The value, if there is one.
    pub fn read(&self) -> Option<T> {
        let place = NonNull::new(self.0.cast_mut())?;
        // SAFETY: the caller of the C function gives null or a `T` that nobody changes meanwhile.
        Some(unsafe { place.as_ptr().read_unaligned() })
    }

    /// The first `count` elements of an array; none where there is no array.
    pub fn array(&self, count: usize) -> Option<Vec<T>> {
        let first = NonNull::new(self.0.cast_mut())?;
        // SAFETY: the caller of the C function gives null or at least `count` elements, as the
        // declaration of the function asks, that nobody changes meanwhile.
        let read = |index| unsafe { first.as_ptr().add(index).read_unaligned() };
        Some((0..count).map(read).collect())
    }
}

impl In<u8> {
    /// Nothing to be read.
    pub const NONE: Self = Self(std::ptr::null());

    /// Bytes that a test has; they must outlive it.
    #[cfg(test)]
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.as_ptr())
    }

    /// A field of a struct of which `size` bytes are there; none where it would lie beyond them.
    pub fn field<const N: usize>(&self, offset: usize, size: usize) -> Option<[u8; N]> {
        let first = NonNull::new(self.0.cast_mut())?;
        if offset.checked_add(N)? > size {
            return None;
        }
        // SAFETY: the caller of the C function gives a struct that says itself that it has `size`
        // bytes, and the field ends within them.
        Some(unsafe { first.as_ptr().add(offset).cast::<[u8; N]>().read_unaligned() })
    }
}

/// A string that ends with a zero byte; null where there is none.
pub fn text(address: usize) -> Option<String> {
    let first = NonNull::new(with_exposed_provenance_mut::<c_char>(address))?;
    // SAFETY: the address comes from a field of a struct whose declaration says that it is null or
    // points to such a string.
    let text = unsafe { CStr::from_ptr(first.as_ptr()) };
    Some(text.to_string_lossy().into_owned())
}

/// Memory of the program: where a buffer begins.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Memory(*mut c_void);

impl Memory {
    /// The buffer of `count` elements of `size` bytes that begins here.
    pub fn span(self, name: &str, count: usize, size: usize) -> Answer<Span> {
        let bytes = count.checked_mul(size).filter(|&bytes| isize::try_from(bytes).is_ok());
        let Some(bytes) = bytes else {
            let what = format!("{name}: {count} elements of {size} bytes are more than memory has");
            return Err(Refusal::argument(what));
        };
        if bytes > 0 && self.0.is_null() {
            return Err(null(name));
        }
        if bytes > 0 && device::is_of_a_gpu(self.address()) {
            return Err(of_a_gpu(name));
        }
        Ok(Span { address: self.0.expose_provenance(), bytes })
    }

    pub fn address(self) -> usize {
        self.0.expose_provenance()
    }
}

/// A buffer of the program. As a call says, it is the library's until the call is complete.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    address: usize,
    bytes: usize,
}

impl Span {
    pub const NONE: Self = Self { address: 0, bytes: 0 };

    pub fn is_at(self, other: Self, offset: usize) -> bool {
        self.address == other.address.wrapping_add(offset)
    }

    /// Whether the two share a byte.
    pub fn meets(self, other: Self) -> bool {
        let ends = [self, other].map(|span| span.address.saturating_add(span.bytes));
        self.bytes > 0 && other.bytes > 0 && self.address < ends[1] && other.address < ends[0]
    }

    /// Its bytes, to be read by the call that `Span` was made for.
    pub fn bytes<'a>(self) -> &'a [u8] {
        if self.bytes == 0 {
            return &[];
        }
        let first = with_exposed_provenance(self.address);
        // SAFETY: the program hands over so many bytes with the call, and neither frees nor changes
        // them before it is complete; nobody here keeps the slice longer than that.
        unsafe { std::slice::from_raw_parts(first, self.bytes) }
    }

    /// Its bytes, to be written by the call that `Span` was made for.
    pub fn bytes_mut<'a>(self) -> &'a mut [u8] {
        if self.bytes == 0 {
            return &mut [];
        }
        let first = with_exposed_provenance_mut(self.address);
        // SAFETY: as above, and the program does not look at them either; the buffers of one
        // collective do not overlap, for that was checked, and those of a group's messages must not.
        unsafe { std::slice::from_raw_parts_mut(first, self.bytes) }
    }
}

#[cold]
fn of_a_gpu(name: &str) -> Refusal {
    Refusal::usage(format!(
        "{name} is memory of a GPU, for which there is no support yet: copy it to memory of the host (ncclMemAlloc) first"
    ))
}

fn null(name: &str) -> Refusal {
    Refusal::argument(format!("{name} is the null pointer"))
}
