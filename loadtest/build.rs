//! Link step of `baton-load`: routes liburing's ring set-up through `src/kernel.rs`.
//!
//! glommio offers no way to choose the flags of its rings, and a fork for one flag would have to be
//! kept up to date. The linker can wrap one function instead; `src/kernel.rs` says what is gained.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Not `link-arg-bins`: the unit tests of the binary define the wrapper too and must reach it.
    println!("cargo::rustc-link-arg=-Wl,--wrap=io_uring_queue_init_params");
}
