//! Owns which Rust types can be elements of a buffer.

use crosstie_ir::{DataType, F8E4M3, F8E5M2};

/// A Rust type that buffers can hold.
///
/// Sealed: each implementation is a promise that the bytes are laid out as [`DataType`] says.
pub trait Element: bytemuck::Pod + Send + Sync + sealed::Sealed {
    /// Its type in plans and on wires.
    const TYPE: DataType;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! element {
    ($($rust:ty => $variant:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: DataType = DataType::$variant;
        }
    )*};
}

element! {
    i8 => I8,
    u8 => U8,
    i16 => I16,
    u16 => U16,
    i32 => I32,
    u32 => U32,
    i64 => I64,
    u64 => U64,
    half::f16 => F16,
    half::bf16 => Bf16,
    F8E4M3 => F8E4M3,
    F8E5M2 => F8E5M2,
    f32 => F32,
    f64 => F64,
}
