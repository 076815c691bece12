//! Tar and gzip files: no panic, and a listing is the same whenever it is made.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_normalize::{Limits, normal_form};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { total_bytes_max: 16 << 20, ..Limits::default() };
    for file_name in ["p.tar", "p-1.tar.gz", "p.gz"] {
        if let Ok(form) = normal_form(bytes, file_name, &limits) {
            assert!(form.listing.is_ascii());
            assert_eq!(normal_form(bytes, file_name, &limits), Ok(form));
        }
    }
});
