//! Any header at all names one sender in three bounded parts, and a header that the peer is not
//! believed names nobody. Whoever finds a way round that sends in another's name.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| baton::targets::identity(data));
