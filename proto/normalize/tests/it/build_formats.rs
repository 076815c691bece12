//! Writers of the other containers, in which every part can be wrong.

use std::io::Write as _;

use crate::build_tar::{Entry, gzip, tar};

pub(crate) fn xz(content: &[u8]) -> Vec<u8> {
    xz_at(content, 6)
}

pub(crate) fn xz_at(content: &[u8], preset: u32) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(preset)).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

/// A frame of raw blocks: what any compressor may write.
pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Uncompressed)
}

pub(crate) fn zstd_packed(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(crate) fn skippable(content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap();
    [&[0x50, 0x2a, 0x4d, 0x18][..], &len.to_le_bytes(), content].concat()
}

pub(crate) fn bzip2(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// One member of a Unix archive.
#[derive(Clone)]
pub(crate) struct ArMember {
    pub(crate) name: String,
    pub(crate) mtime: String,
    pub(crate) mode: String,
    pub(crate) size: Option<String>,
    pub(crate) end: &'static [u8],
    pub(crate) padding: &'static [u8],
    pub(crate) data: Vec<u8>,
}

impl ArMember {
    pub(crate) fn new(name: &str, data: &[u8]) -> Self {
        let (mtime, mode) = ("0".to_owned(), "100644".to_owned());
        Self { name: name.to_owned(), mtime, mode, size: None, end: b"`\n", padding: b"\n", data: data.to_vec() }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let size = self.size.clone().unwrap_or_else(|| self.data.len().to_string());
        bytes.extend(format!("{:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}", self.name, self.mtime, 0, 0, self.mode).bytes());
        bytes.extend(self.end);
        bytes.extend(&self.data);
        if self.data.len() % 2 == 1 {
            bytes.extend(self.padding);
        }
    }
}

pub(crate) fn ar(members: &[ArMember]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for member in members {
        member.write(&mut bytes);
    }
    bytes
}

/// The entries of a small package, as dpkg writes them.
pub(crate) fn deb_files() -> Vec<Entry> {
    let root = |entry: &mut Entry| (entry.uid, entry.user) = (b"0000000\0".to_vec(), b"root".to_vec());
    let folder = |name| Entry::new(name, b'5', b"").with(root).with(|entry| entry.mode = b"0000755\0".to_vec());
    vec![
        folder("./"),
        folder("./usr/"),
        Entry::file("./usr/x", b"#!/bin/sh\n").with(root).with(|entry| entry.mode = b"0000755\0".to_vec()),
        Entry::link("./usr/y", b'2', "/etc/alternatives/y").with(root),
    ]
}

pub(crate) fn deb_control() -> Vec<u8> {
    tar(&[Entry::new("./", b'5', b""), Entry::file("./control", b"Package: x\n")])
}

pub(crate) fn deb_members() -> Vec<ArMember> {
    vec![
        ArMember::new("debian-binary", b"2.0\n"),
        ArMember::new("control.tar.xz", &xz(&deb_control())),
        ArMember::new("data.tar.xz", &xz(&tar(&deb_files()))),
    ]
}

pub(crate) fn deb() -> Vec<u8> {
    ar(&deb_members())
}

pub(crate) fn deb_of(files: &[Entry]) -> Vec<u8> {
    let mut members = deb_members();
    members[2].data = xz(&tar(files));
    ar(&members)
}

/// Files below one root in a tar in gzip.
pub(crate) fn tar_gz(root: &str, files: &[(&str, &str)], mtime: &str) -> Vec<u8> {
    let entry = |(name, content): &(&str, &str)| {
        Entry::file(&format!("{root}/{name}"), content.as_bytes()).with(|entry| entry.mtime = mtime.as_bytes().to_vec())
    };
    gzip(&tar(&files.iter().map(entry).collect::<Vec<_>>()), 6)
}
