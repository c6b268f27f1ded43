//! Gives the shared library the name by which programs that were linked with NCCL look for it.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libnccl.so.2");
}
