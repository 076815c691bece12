//! A tar and gzip writer in which every field can be wrong.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// One header with its data.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) mode: Vec<u8>,
    pub(crate) uid: Vec<u8>,
    pub(crate) size: Vec<u8>,
    pub(crate) mtime: Vec<u8>,
    pub(crate) flag: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) magic: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) prefix: Vec<u8>,
    pub(crate) rest: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) padding: u8,
    /// Added to the right checksum.
    pub(crate) checksum_error: u64,
}

impl Entry {
    pub(crate) fn new(name: &str, flag: u8, data: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            mode: b"0000644\0".to_vec(),
            uid: b"0001750\0".to_vec(),
            size: format!("{:011o}\0", data.len()).into_bytes(),
            mtime: b"14000000000\0".to_vec(),
            flag,
            link: Vec::new(),
            magic: b"ustar\x0000".to_vec(),
            user: b"user".to_vec(),
            prefix: Vec::new(),
            rest: Vec::new(),
            data: data.to_vec(),
            padding: 0,
            checksum_error: 0,
        }
    }

    pub(crate) fn file(name: &str, content: &[u8]) -> Self {
        Self::new(name, b'0', content)
    }

    pub(crate) fn link(name: &str, flag: u8, target: &str) -> Self {
        Self::new(name, flag, b"").with(|entry| entry.link = target.as_bytes().to_vec())
    }

    pub(crate) fn pax(flag: u8, records: &[(&str, &str)]) -> Self {
        let data: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        Self::new("pax", flag, data.as_bytes())
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let mut block = [0u8; 512];
        let fields = [
            (0, 100, &self.name),
            (100, 8, &self.mode),
            (108, 8, &self.uid),
            (116, 8, &self.uid),
            (124, 12, &self.size),
            (136, 12, &self.mtime),
            (157, 100, &self.link),
            (257, 8, &self.magic),
            (265, 32, &self.user),
            (297, 32, &self.user),
            (345, 155, &self.prefix),
            (500, 12, &self.rest),
        ];
        for (at, len, value) in fields {
            let len = value.len().min(len);
            block[at..at + len].copy_from_slice(&value[..len]);
        }
        block[156] = self.flag;
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum::<u64>() + self.checksum_error;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(block);
        bytes.extend(&self.data);
        let padding = self.data.len().next_multiple_of(512) - self.data.len();
        bytes.extend(std::iter::repeat_n(self.padding, padding));
    }
}

fn pax_record(key: &str, value: &str) -> String {
    let body = format!(" {key}={value}\n");
    let mut len = body.len();
    while len != body.len() + len.to_string().len() {
        len = body.len() + len.to_string().len();
    }
    format!("{len}{body}")
}

/// The entries without an end of archive.
pub(crate) fn open_tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        entry.write(&mut bytes);
    }
    bytes
}

pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = open_tar(entries);
    bytes.extend([0; 1024]);
    bytes
}

pub(crate) fn gzip(content: &[u8], level: u32) -> Vec<u8> {
    gzip_with(content, level, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255])
}

pub(crate) fn gzip_with(content: &[u8], level: u32, header: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(header.to_vec(), Compression::new(level));
    encoder.write_all(content).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.extend(crc32fast::hash(content).to_le_bytes());
    bytes.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    bytes
}

pub(crate) fn clean_entries() -> Vec<Entry> {
    vec![Entry::new("p-1/", b'5', b"").with(|entry| entry.mode = b"0000755\0".to_vec()), Entry::file("p-1/a.py", b"print('a')\n")]
}

pub(crate) fn clean_tar() -> Vec<u8> {
    tar(&clean_entries())
}
