//! The gzip wrapper (RFC 1952), read field by field around one deflate stream.
//!
//! Dropped by passes: time, name, flags and level in the header; the deflate bytes. Wrong: extra
//! fields, comments, reserved flags, checksums that do not match, and whatever follows.

use flate2::Decompress;
use quorate_proto::comparison::AnomalyKind;

use crate::fields::{Fields, len64, span};
use crate::limits::{LimitError, Limits, Quantity, is_absurd};
use crate::pass::Pass;
use crate::reading::{Reading, describe};
use crate::unpack::{self, BUFFER_BYTES, End};

/// First bytes of a gzip stream.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

const METHOD_DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// A gzip stream that is being inflated, piece by piece.
pub(crate) struct GzipStream<'a> {
    /// From the first byte of deflate on.
    body: &'a [u8],
    engine: Decompress,
    buffer: Vec<u8>,
    /// What of the buffer was not handed out yet.
    ready: std::ops::Range<usize>,
    crc: crc32fast::Hasher,
    produced_bytes: u64,
    produced_max: u64,
    end: Option<End>,
    absurd: bool,
}

impl<'a> GzipStream<'a> {
    /// Reads the header. `None` if it cannot be followed; the reading says why.
    pub(crate) fn open(bytes: &'a [u8], limits: &Limits, reading: &mut Reading<'a>) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if read_header(bytes, &mut fields, reading).is_none() {
            reading.broken(AnomalyKind::Truncated, None, "not a gzip header");
            return None;
        }
        Some(Self {
            body: fields.rest(),
            engine: Decompress::new(false),
            buffer: vec![0; BUFFER_BYTES],
            ready: 0..0,
            crc: crc32fast::Hasher::new(),
            produced_bytes: 0,
            produced_max: limits.total_bytes_max,
            end: None,
            absurd: false,
        })
    }

    /// The next bytes, at most `len_max` of them; empty at the end.
    pub(crate) fn chunk(&mut self, len_max: usize) -> Result<&[u8], LimitError> {
        while self.ready.is_empty() && self.end.is_none() {
            self.fill()?;
        }
        let end = self.ready.end.min(self.ready.start.saturating_add(len_max));
        let piece = self.ready.start..end;
        self.ready.start = end;
        Ok(self.buffer.get(piece).unwrap_or_default())
    }

    fn fill(&mut self) -> Result<(), LimitError> {
        let step = unpack::step(&mut self.engine, self.body, &mut self.buffer);
        let piece = self.buffer.get(..step.produced).unwrap_or_default();
        self.crc.update(piece);
        self.produced_bytes = self.produced_bytes.saturating_add(len64(piece));
        self.ready = 0..step.produced;
        self.end = step.end;
        if is_absurd(self.produced_bytes, self.engine.total_in()) {
            self.absurd = true;
            self.end = Some(End::TooLong);
        }
        Quantity::TotalBytes.check(self.engine.total_in(), self.produced_bytes, self.produced_max)
    }

    /// Checks the end of the stream, once everything was read, and returns what follows it.
    pub(crate) fn close(self, bytes: &'a [u8], reading: &mut Reading<'a>) -> &'a [u8] {
        if self.absurd {
            reading.broken(AnomalyKind::AbsurdSize, None, "gzip stream inflates beyond any honest ratio");
            return &[];
        }
        if self.end != Some(End::Finished) {
            let at = len64(bytes) - len64(self.body) + self.engine.total_in();
            reading.broken(AnomalyKind::Truncated, None, format!("deflate stream cannot be read from offset {at}"));
            return &[];
        }
        let consumed = self.engine.total_in();
        reading.facts.add(Pass::GzipCompression, span(self.body, 0, consumed));
        let mut trailer = Fields::at(self.body, consumed);
        let (Some(crc), Some(size)) = (trailer.u32(), trailer.u32()) else {
            reading.broken(AnomalyKind::Truncated, None, "gzip trailer cut off");
            return &[];
        };
        let computed = self.crc.finalize();
        if crc != computed {
            let detail = format!("gzip checksum {crc:08x}, contents have {computed:08x}");
            reading.findings.add(AnomalyKind::ChecksumMismatch, None, detail);
        }
        if u64::from(size) != self.produced_bytes & u64::from(u32::MAX) {
            let detail = format!("gzip size field {size}, contents have {} bytes", self.produced_bytes);
            reading.findings.add(AnomalyKind::ChecksumMismatch, None, detail);
        }
        trailer.rest()
    }
}

fn read_header<'a>(bytes: &'a [u8], fields: &mut Fields<'a>, reading: &mut Reading<'a>) -> Option<()> {
    fields.expect(&MAGIC)?;
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
        reading.facts.add(Pass::GzipHeader, zero_terminated(fields)?);
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

fn zero_terminated<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let len = fields.rest().iter().position(|&byte| byte == 0)?;
    let text = fields.take(len)?;
    fields.take(1)?;
    Some(text)
}
