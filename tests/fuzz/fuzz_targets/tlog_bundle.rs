//! Entry bundles and the paths of tiles and bundles: no panic, and what is read is written back byte
//! for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_tlog::{BundlePath, EntryBundle, TilePath};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = EntryBundle::parse(bytes) {
        assert_eq!(bundle.encode(), bytes);
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(path) = text.parse::<BundlePath>() {
        assert_eq!(path.to_string(), text);
    }
});
