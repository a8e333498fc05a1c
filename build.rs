//! Passes two arguments to the linker so that our rings are set up the way we want.
//!
//! glommio 0.9 carries its own liburing and has no way to ask for ring flags. With `--wrap`, calls
//! of liburing's system call wrapper reach `src/runtime/ring.rs` instead, which adds the flag; see
//! there for what it is worth. `--undefined` pulls that function out of our library also where a
//! linker reads archives once and in order (GNU ld), before liburing asks for it.
//!
//! Applies to every binary, test and bench of this package. A binary of another package that links
//! the library without these arguments works too: its rings just lack the flag.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg=-Wl,--wrap=__sys_io_uring_setup");
    println!("cargo:rustc-link-arg=-Wl,--undefined=__wrap___sys_io_uring_setup");
}
