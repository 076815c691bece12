//! A zip writer in which every field can be wrong.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// The fields that a local header and a central record share.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) needed: u16,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) time: u16,
    pub(crate) date: u16,
    pub(crate) crc: u32,
    pub(crate) packed: u32,
    pub(crate) size: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) extra: Vec<u8>,
}

/// One member; what is not set stands as an honest writer writes it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) central: Header,
    pub(crate) local: Header,
    pub(crate) data: Vec<u8>,
    /// Bytes before the local header.
    pub(crate) gap: Vec<u8>,
    pub(crate) descriptor: Vec<u8>,
    pub(crate) made_by: u16,
    pub(crate) disk: u16,
    pub(crate) internal: u16,
    pub(crate) external: u32,
    pub(crate) comment: Vec<u8>,
    /// In place of where the local header really is.
    pub(crate) offset: Option<u32>,
}

pub(crate) fn deflate(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

impl Member {
    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        Self::packed(name.as_bytes(), content, 0, content.to_vec())
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        Self::packed(name.as_bytes(), content, 8, deflate(content, 6))
    }

    pub(crate) fn packed(name: &[u8], content: &[u8], method: u16, data: Vec<u8>) -> Self {
        let header = Header {
            needed: 20,
            flags: 0,
            method,
            time: 0x6000,
            date: 0x5621,
            crc: crc32fast::hash(content),
            packed: u32::try_from(data.len()).unwrap(),
            size: u32::try_from(content.len()).unwrap(),
            name: name.to_vec(),
            extra: Vec::new(),
        };
        Self {
            central: header.clone(),
            local: header,
            data,
            gap: Vec::new(),
            descriptor: Vec::new(),
            made_by: 0x0314,
            disk: 0,
            internal: 0,
            external: 0o100_644 << 16,
            comment: Vec::new(),
            offset: None,
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Changes both headers alike.
    pub(crate) fn both(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.central);
        change(&mut self.local);
        self
    }

    /// Moves sizes and checksum to a descriptor behind the data.
    pub(crate) fn streamed(self) -> Self {
        let mut member = self.both(|header| header.flags |= 8);
        member.descriptor = b"PK\x07\x08".to_vec();
        for value in [member.central.crc, member.central.packed, member.central.size] {
            member.descriptor.extend(value.to_le_bytes());
        }
        (member.local.crc, member.local.packed, member.local.size) = (0, 0, 0);
        member
    }
}

/// Makes what stands between directory and end record, of count, directory size and offset.
pub(crate) type Zip64 = fn(u64, u64, u64) -> Vec<u8>;

/// What stands around the members.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    /// Before everything; offsets count from behind it.
    pub(crate) prefix: Vec<u8>,
    pub(crate) before_directory: Vec<u8>,
    pub(crate) in_directory: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    pub(crate) suffix: Vec<u8>,
    pub(crate) count: Option<u16>,
    pub(crate) count_here: Option<u16>,
    pub(crate) directory_size: Option<u32>,
    pub(crate) directory_offset: Option<u32>,
    /// Between the directory and its end record.
    pub(crate) zip64: Option<Zip64>,
}

pub(crate) fn zip(members: &[Member]) -> Vec<u8> {
    framed(members, &Frame::default())
}

pub(crate) fn framed(members: &[Member], frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        bytes.extend(&member.gap);
        let offset = member.offset.unwrap_or(u32::try_from(bytes.len()).unwrap());
        write_header(&mut bytes, b"PK\x03\x04", &member.local);
        bytes.extend(u16::try_from(member.local.name.len()).unwrap().to_le_bytes());
        bytes.extend(u16::try_from(member.local.extra.len()).unwrap().to_le_bytes());
        bytes.extend(member.local.name.iter().chain(&member.local.extra).chain(&member.data).chain(&member.descriptor));
        write_central(&mut directory, member, offset);
    }
    directory.extend(&frame.in_directory);
    bytes.extend(&frame.before_directory);
    let start = u32::try_from(bytes.len()).unwrap();
    let size = u32::try_from(directory.len()).unwrap();
    let count = u16::try_from(members.len()).unwrap();
    bytes.extend(directory);
    if let Some(zip64) = frame.zip64 {
        bytes.extend(zip64(u64::from(count), u64::from(size), u64::from(start)));
    }
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(frame.count_here.unwrap_or(count).to_le_bytes());
    bytes.extend(frame.count.unwrap_or(count).to_le_bytes());
    bytes.extend(frame.directory_size.unwrap_or(size).to_le_bytes());
    bytes.extend(frame.directory_offset.unwrap_or(start).to_le_bytes());
    bytes.extend(u16::try_from(frame.comment.len()).unwrap().to_le_bytes());
    bytes.extend(frame.comment.iter().chain(&frame.suffix));
    [frame.prefix.clone(), bytes].concat()
}

fn write_header(bytes: &mut Vec<u8>, signature: &[u8], header: &Header) {
    bytes.extend(signature);
    for value in [header.needed, header.flags, header.method, header.time, header.date] {
        bytes.extend(value.to_le_bytes());
    }
    for value in [header.crc, header.packed, header.size] {
        bytes.extend(value.to_le_bytes());
    }
}

fn write_central(bytes: &mut Vec<u8>, member: &Member, offset: u32) {
    let mut signature = b"PK\x01\x02".to_vec();
    signature.extend(member.made_by.to_le_bytes());
    write_header(bytes, &signature, &member.central);
    for part in [&member.central.name, &member.central.extra, &member.comment] {
        bytes.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
    }
    bytes.extend(member.disk.to_le_bytes());
    bytes.extend(member.internal.to_le_bytes());
    bytes.extend(member.external.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(member.central.name.iter().chain(&member.central.extra).chain(&member.comment));
}

/// A zip64 end record and its locator, as honest writers write them.
pub(crate) fn zip64_end(count: u64, size: u64, start: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend(44u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [count, count, size, start] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend((start + size).to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes
}

/// Two plain members: what most attacks start from.
pub(crate) fn clean_members() -> Vec<Member> {
    vec![Member::deflated("pkg/a.py", b"print('a')\n"), Member::stored("pkg/b.txt", b"b\n")]
}

pub(crate) fn clean() -> Vec<u8> {
    zip(&clean_members())
}
