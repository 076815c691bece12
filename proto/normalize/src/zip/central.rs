//! One record of the central directory.

use quorate_proto::comparison::AnomalyKind;

use super::extra::{self, Extra};
use super::{METHOD_DEFLATED, METHOD_STORED};
use crate::fields::Fields;
use crate::pass::Pass;
use crate::reading::{Facts, Findings, Kind, describe};

const SIGNATURE: &[u8; 4] = b"PK\x01\x02";

pub(super) const FLAG_ENCRYPTED: u16 = 1;
pub(super) const FLAGS_LEVEL: u16 = 0b110;
pub(super) const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_STRONG_ENCRYPTION: u16 = 1 << 6;
pub(super) const FLAG_UTF8: u16 = 1 << 11;
const FLAG_MASKED: u16 = 1 << 13;
const FLAGS_KNOWN: u16 = FLAG_ENCRYPTED | FLAGS_LEVEL | FLAG_DESCRIPTOR | FLAG_STRONG_ENCRYPTION | FLAG_UTF8 | FLAG_MASKED;

const TYPE_MASK: u32 = 0o170_000;
const TYPE_FIFO: u32 = 0o010_000;
const TYPE_CHARACTER: u32 = 0o020_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_BLOCK: u32 = 0o060_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;
const TYPE_SOCKET: u32 = 0o140_000;
const SET_ID_BITS: u32 = 0o6000;

/// DOS attribute of a directory.
const DOS_DIRECTORY: u32 = 0x10;

/// What the central directory says of a member.
pub(super) struct Central<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) crc: u32,
    pub(super) packed_size: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
    external: u32,
    pub(super) facts: Facts<'a>,
}

/// Reads one record, or `None` if it is cut off or none.
pub(super) fn parse<'a>(fields: &mut Fields<'a>, findings: &mut Findings) -> Option<Central<'a>> {
    fields.expect(SIGNATURE)?;
    let (made_by, needed) = (fields.u16()?, fields.u16()?);
    let (flags, method, time, date) = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
    let (crc, packed_size, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let (disk, internal, external, offset) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    let name = fields.take(usize::from(name_len))?;
    let extra = extra::parse(fields.take(usize::from(extra_len))?, name, findings);
    let comment = fields.take(usize::from(comment_len))?;
    let mut wide = [u64::from(size), u64::from(packed_size), u64::from(offset)];
    let mut central =
        Central { name, flags, method, time, date, crc, packed_size: 0, size: 0, offset: 0, external, facts: Facts::default() };
    central.add_facts(made_by, needed, internal);
    central.resolve_zip64(&mut wide, &extra, findings);
    [central.size, central.packed_size, central.offset] = wide;
    central.facts.append(extra.facts);
    central.lint(disk, comment, findings);
    Some(central)
}

impl<'a> Central<'a> {
    /// The Unix mode. Read whatever the host field says, because installers do.
    pub(super) fn mode(&self) -> u32 {
        self.external >> 16
    }

    /// Whether the content can be read at all.
    pub(super) fn is_readable(&self) -> bool {
        !self.is_encrypted() && [METHOD_STORED, METHOD_DEFLATED].contains(&self.method)
    }

    /// The type, by name and mode, which have to agree.
    pub(super) fn kind(&self, findings: &mut Findings) -> Kind {
        let named_directory = self.name.last() == Some(&b'/');
        let kind = match self.mode() & TYPE_MASK {
            TYPE_SYMLINK => Kind::Symlink,
            TYPE_FIFO | TYPE_CHARACTER | TYPE_BLOCK | TYPE_SOCKET => Kind::Special,
            0 | TYPE_FILE | TYPE_DIRECTORY if named_directory => Kind::Directory,
            0 | TYPE_FILE | TYPE_DIRECTORY => Kind::File,
            _ => {
                findings.add(AnomalyKind::SpecialFile, Some(self.name), format!("file type {:o}", self.mode() & TYPE_MASK));
                Kind::Special
            }
        };
        let mode_directory = self.mode() & TYPE_MASK == TYPE_DIRECTORY;
        let is_typed = self.mode() & TYPE_MASK != 0;
        let dos_directory = self.external & DOS_DIRECTORY != 0;
        if (is_typed && mode_directory != named_directory) || (dos_directory && !named_directory) {
            findings.add(AnomalyKind::HeaderMismatch, Some(self.name), "name and attributes disagree about being a directory");
        }
        if kind == Kind::File && !is_typed && self.mode() & 0o111 != 0 {
            findings.add(AnomalyKind::NonCanonical, Some(self.name), "executable bit without a file type");
        }
        if kind != Kind::Directory && self.mode() & SET_ID_BITS != 0 {
            findings.add(AnomalyKind::SpecialFile, Some(self.name), "set-user-id or set-group-id bit");
        }
        kind
    }

    fn is_encrypted(&self) -> bool {
        self.flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED) != 0
    }

    fn add_facts(&mut self, made_by: u16, needed: u16, internal: u16) {
        let versions = [made_by, needed, internal].map(u16::to_le_bytes).concat();
        self.facts.add(Pass::ZipHostAndVersion, versions);
        self.facts.add(Pass::ZipTimes, [self.time, self.date].map(u16::to_le_bytes).concat());
        self.facts.add(Pass::ModeBits, self.external.to_le_bytes().to_vec());
        self.facts.add(Pass::ZipCompression, [self.method, self.flags & FLAGS_LEVEL].map(u16::to_le_bytes).concat());
        self.facts.add(Pass::ZipLayout, (self.flags & (FLAG_DESCRIPTOR | FLAG_UTF8)).to_le_bytes().to_vec());
    }

    /// Takes size, packed size and offset from the zip64 field where the small one says so.
    fn resolve_zip64(&mut self, wide: &mut [u64; 3], extra: &Extra<'a>, findings: &mut Findings) {
        let mut values = extra.zip64.iter().flatten().copied();
        let mut used = 0usize;
        for value in wide.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
            match values.next() {
                Some(real) => *value = real,
                None => findings.add(AnomalyKind::HeaderMismatch, Some(self.name), "zip64 value missing in the central record"),
            }
            used += 1;
        }
        if values.next().is_some() {
            findings.add(AnomalyKind::HeaderMismatch, Some(self.name), "zip64 value that the central record does not ask for");
        }
        self.facts.add(Pass::ZipLayout, vec![u8::try_from(used).unwrap_or(u8::MAX)]);
    }

    fn lint(&self, disk: u16, comment: &[u8], findings: &mut Findings) {
        let mut add = |kind, detail: String| findings.add(kind, Some(self.name), detail);
        if disk != 0 {
            add(AnomalyKind::UnsupportedFeature, format!("on disk {disk}"));
        }
        if !comment.is_empty() {
            add(AnomalyKind::NonCanonical, format!("member comment: {}", describe(comment)));
        }
        if self.is_encrypted() {
            add(AnomalyKind::Encrypted, format!("flags {:#06x}", self.flags));
        }
        if self.flags & !FLAGS_KNOWN != 0 {
            add(AnomalyKind::UnsupportedFeature, format!("flags {:#06x}", self.flags));
        }
        if ![METHOD_STORED, METHOD_DEFLATED].contains(&self.method) {
            add(AnomalyKind::UnsupportedFeature, format!("compression method {}", self.method));
        }
        if self.method == METHOD_STORED && self.size != self.packed_size {
            add(AnomalyKind::HeaderMismatch, format!("stored, {} bytes in {}", self.size, self.packed_size));
        }
        if !self.name.is_ascii() && self.flags & FLAG_UTF8 == 0 {
            add(AnomalyKind::MalformedName, "name beyond ASCII without the UTF-8 flag".to_owned());
        }
    }
}
