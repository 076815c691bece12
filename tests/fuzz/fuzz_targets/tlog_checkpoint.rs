//! Checkpoint texts: no panic, and what is read is written back byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_tlog::Checkpoint;

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
});
