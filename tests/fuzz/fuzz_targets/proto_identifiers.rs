//! Identifiers: the canonical text of whatever is read reads as the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_proto::{Digest, FileName, NodeId, NormalDigest, Purl, Timestamp};

fuzz_target!(|text: &str| {
    if let Ok(purl) = text.parse::<Purl>() {
        assert_eq!(purl.to_string().parse::<Purl>().expect("canonical"), purl);
    }
    let _ = text.parse::<Digest>();
    let _ = text.parse::<NormalDigest>();
    let _ = text.parse::<NodeId>();
    let _ = text.parse::<FileName>();
    let _ = text.parse::<Timestamp>();
});
