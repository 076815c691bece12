//! Two archives out of one input: no panic, the level is the same both ways round, and whatever is
//! not different has a pass that says why.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_normalize::{Input, Limits, compare};
use quorate_proto::comparison::Level;

const FILES: [&str; 9] =
    ["p.zip", "p-1-py3-none-any.whl", "p.tar", "p-1.tar.gz", "p-1.crate", "p-1.tgz", "p_1_all.deb", "p.tar.xz", "p.tar.zst"];

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (kind, published, rebuilt) = (input.0, input.1.as_slice(), input.2.as_slice());
    let file_name = FILES[usize::from(kind) % FILES.len()];
    let limits = Limits { total_bytes_max: 16 << 20, ..Limits::default() };
    let forward = compare(&Input { published, rebuilt, file_name }, &limits);
    let turned = compare(&Input { published: rebuilt, rebuilt: published, file_name }, &limits);
    if let (Ok(forward), Ok(turned)) = (&forward, &turned) {
        assert_eq!(forward.level, turned.level);
    }
    if let Ok(forward) = forward {
        assert_eq!(forward.level == Level::Byte, published == rebuilt);
        assert!(forward.level == Level::Byte || !forward.passes.is_empty() || !forward.differences.is_empty());
    }
});
