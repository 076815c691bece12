//! Compressed streams and tar archives in them: no panic, and a listing is the same whenever it is made.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_normalize::{Limits, normal_form};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { total_bytes_max: 16 << 20, ..Limits::default() };
    for file_name in ["p.xz", "p.zst", "p.bz2", "p.tar.xz", "p.tar.zst", "p.tar.bz2"] {
        if let Ok(form) = normal_form(bytes, file_name, &limits) {
            assert_eq!(normal_form(bytes, file_name, &limits), Ok(form));
        }
    }
});
