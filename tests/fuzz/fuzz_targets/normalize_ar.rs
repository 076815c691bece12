//! Unix archives and Debian packages: no panic, and every anomaly can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_normalize::{Limits, lint, normal_form};
use quorate_proto::comparison::Side;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { total_bytes_max: 16 << 20, ..Limits::default() };
    for file_name in ["p.a", "p_1_all.deb"] {
        let _ = normal_form(bytes, file_name, &limits);
        for anomaly in lint(bytes, file_name, Side::Published, &limits).unwrap_or_default() {
            assert!(anomaly.member.unwrap_or_default().chars().count() <= 300);
        }
    }
});
