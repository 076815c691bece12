//! The gzip wrapper (RFC 1952), read field by field around one deflate stream.
//!
//! Dropped by passes: time, name, flags and level in the header; the deflate bytes. Wrong: extra
//! fields, comments, reserved flags, checksums that do not match, and whatever follows.

use flate2::Decompress;
use quorate_proto::comparison::AnomalyKind;

use super::Decoder;
use crate::fields::{Fields, len64, span};
use crate::pass::Pass;
use crate::reading::{Codec, Reading, describe};
use crate::unpack::{self, Step};

const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Longest file name that systems know.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of checksum and size behind the deflate stream.
const TRAILER_BYTES: u64 = 8;

/// A gzip stream behind its header.
pub(super) struct Gzip<'a> {
    header_bytes: u64,
    /// From the first byte of deflate on.
    body: &'a [u8],
    engine: Decompress,
    crc: crc32fast::Hasher,
    trailer_bytes: u64,
}

impl<'a> Gzip<'a> {
    pub(super) fn open(bytes: &'a [u8], reading: &mut Reading<'a>) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        read_header(bytes, &mut fields, reading)?;
        let body = fields.rest();
        let header_bytes = len64(bytes) - len64(body);
        Some(Self { header_bytes, body, engine: Decompress::new(false), crc: crc32fast::Hasher::new(), trailer_bytes: 0 })
    }
}

impl<'a> Decoder<'a> for Gzip<'a> {
    fn step(&mut self, buffer: &mut [u8]) -> Step {
        let step = unpack::step(&mut self.engine, self.body, buffer);
        self.crc.update(buffer.get(..step.produced).unwrap_or_default());
        step
    }

    fn consumed(&self) -> u64 {
        self.header_bytes + self.engine.total_in() + self.trailer_bytes
    }

    fn close(&mut self, produced_bytes: u64, reading: &mut Reading<'a>) -> Option<()> {
        let deflated = self.engine.total_in();
        reading.facts.add(Pass::GzipCompression, span(self.body, 0, deflated));
        let mut trailer = Fields::at(self.body, deflated);
        let (crc, size) = (trailer.u32()?, trailer.u32()?);
        self.trailer_bytes = TRAILER_BYTES;
        let computed = self.crc.clone().finalize();
        if crc != computed {
            let detail = format!("gzip checksum {crc:08x}, contents have {computed:08x}");
            reading.findings.add(AnomalyKind::ChecksumMismatch, None, detail);
        }
        if u64::from(size) != produced_bytes & u64::from(u32::MAX) {
            let detail = format!("gzip size field {size}, contents have {produced_bytes} bytes");
            reading.findings.add(AnomalyKind::ChecksumMismatch, None, detail);
        }
        Some(())
    }
}

fn read_header<'a>(bytes: &'a [u8], fields: &mut Fields<'a>, reading: &mut Reading<'a>) -> Option<()> {
    fields.expect(Codec::Gzip.magic())?;
    fields.expect(&[METHOD_DEFLATE])?;
    let flags = *fields.take(1)?.first()?;
    let fixed = fields.take(6)?;
    reading.facts.add(Pass::GzipHeader, vec![flags]);
    reading.facts.add(Pass::GzipHeader, fixed);
    if flags & FLAGS_RESERVED != 0 {
        reading.findings.add(AnomalyKind::UnsupportedFeature, None, format!("reserved gzip flags {flags:#04x}"));
    }
    if flags & FLAG_EXTRA != 0 {
        let len = fields.u16()?;
        let extra = fields.take(usize::from(len))?;
        reading.findings.add(AnomalyKind::NonCanonical, None, format!("extra field in the gzip header: {}", describe(extra)));
    }
    if flags & FLAG_NAME != 0 {
        let name = zero_terminated(fields)?;
        reading.facts.add(Pass::GzipHeader, name);
        lint_name(name, reading);
    }
    if flags & FLAG_COMMENT != 0 {
        let comment = zero_terminated(fields)?;
        reading.findings.add(AnomalyKind::NonCanonical, None, format!("comment in the gzip header: {}", describe(comment)));
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let header = span(bytes, 0, len64(bytes) - len64(fields.rest()));
        let [low, high, ..] = crc32fast::hash(header).to_le_bytes();
        let stored = fields.u16()?;
        if stored != u16::from_le_bytes([low, high]) {
            reading.findings.add(AnomalyKind::ChecksumMismatch, None, format!("gzip header checksum {stored:04x}"));
        }
    }
    Some(())
}

/// The name that some readers give to the contents.
fn lint_name(name: &[u8], reading: &mut Reading<'_>) {
    let mut add = |kind, what: &str| reading.findings.add(kind, None, format!("name in the gzip header: {what}, {}", describe(name)));
    if name.len() > NAME_BYTES_MAX {
        add(AnomalyKind::NonCanonical, "longer than any file name");
    }
    if name.first() == Some(&b'/') || name.split(|&byte| byte == b'/').any(|part| part == b"..") {
        add(AnomalyKind::PathEscape, "leads elsewhere");
    }
    if name.iter().any(u8::is_ascii_control) {
        add(AnomalyKind::MalformedName, "control character");
    }
}

fn zero_terminated<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let len = fields.rest().iter().position(|&byte| byte == 0)?;
    let text = fields.take(len)?;
    fields.take(1)?;
    Some(text)
}
