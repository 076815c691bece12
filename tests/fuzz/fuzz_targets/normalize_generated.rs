//! Generated files of every ecosystem, two contents of each: no panic, the level is the same both
//! ways round, and equal contents are never different.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_normalize::{Input, Limits, compare};
use quorate_proto::comparison::Level;

const FILES: [(&str, &str); 7] = [
    ("p-1.crate", "p-1/Cargo.toml"),
    ("p-1.crate", "p-1/Cargo.lock"),
    ("p-1.crate", "p-1/.cargo_vcs_info.json"),
    ("p-1.tar.gz", "p-1/PKG-INFO"),
    ("p-1.tar.gz", "p-1/p.egg-info/SOURCES.txt"),
    ("p-1.tar.gz", "p-1/p.egg-info/requires.txt"),
    ("p-1.tgz", "package/inner.tar"),
];

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (file_name, member) = FILES[usize::from(input.0) % FILES.len()];
    let (published, rebuilt) = (archive(member, &input.1), archive(member, &input.2));
    let limits = Limits { total_bytes_max: 16 << 20, ..Limits::default() };
    let level = |published: &[u8], rebuilt: &[u8]| compare(&Input { published, rebuilt, file_name }, &limits).map(|found| found.level).ok();
    let forward = level(&published, &rebuilt);
    assert_eq!(forward, level(&rebuilt, &published));
    assert_eq!(forward == Some(Level::Byte), input.1 == input.2);
});

/// The member, and the file that cargo leaves beside a manifest, in a tar in gzip.
fn archive(member: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in [("p-1/Cargo.toml.orig", &b""[..]), (member, content)] {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000644");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = b'0';
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(block);
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend([0; 1024]);
    stored(&tar)
}

/// A gzip file of stored blocks.
fn stored(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = content.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        let len = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        bytes.push(u8::from(chunks.peek().is_none()));
        bytes.extend(len.to_le_bytes());
        bytes.extend((!len).to_le_bytes());
        bytes.extend(chunk);
    }
    bytes.extend(crc32(content).to_le_bytes());
    bytes.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}

fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
