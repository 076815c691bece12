//! The zstd container (RFC 8878): one frame, its header read field by field.
//!
//! Skippable frames carry anything and readers pass over them, so each is a finding, as are
//! reserved bits, a size or a checksum that is not that of the contents, and a second frame.

use std::io::Read as _;

use quorate_proto::comparison::AnomalyKind;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::Decoder;
use crate::fields::{Fields, len64, span};
use crate::pass::Pass;
use crate::reading::{Codec, Reading, describe};
use crate::unpack::{End, Step};

/// Largest window: what compressing at the highest ordinary level needs four times over.
const WINDOW_BYTES_MAX: u64 = 32 << 20;

/// The last four bits of a skippable frame's magic number are free.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

const RESERVED_BIT: u8 = 1 << 3;
const UNUSED_BIT: u8 = 1 << 4;
const SINGLE_SEGMENT: u8 = 1 << 5;

/// A zstd frame, maybe after skippable ones.
pub(super) struct Zstd<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    frame: FrameDecoder,
    fault: Option<End>,
    declared_bytes: Option<u64>,
}

impl<'a> Zstd<'a> {
    pub(super) fn open(bytes: &'a [u8], reading: &mut Reading<'a>) -> Option<Self> {
        let start = skip_skippable(bytes);
        let skipped = span(bytes, 0, len64(bytes) - len64(start));
        if !skipped.is_empty() {
            reading.findings.add(AnomalyKind::LeadingData, None, format!("zstd skippable frames: {}", describe(skipped)));
        }
        let declared_bytes = read_header(start, reading)?;
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW_BYTES_MAX);
        let mut rest = start;
        let fault = frame.init(&mut rest).err().map(|error| end_of(&error));
        Some(Self { bytes, rest, frame, fault, declared_bytes })
    }

    /// Decodes until there is something to read, or no more.
    fn decode(&mut self, len: usize) -> Option<End> {
        while self.frame.can_collect() == 0 && !self.frame.is_finished() {
            let result = self.frame.decode_blocks(&mut self.rest, BlockDecodingStrategy::UptoBytes(len));
            if let Err(error) = result {
                return Some(end_of(&error));
            }
        }
        None
    }
}

impl<'a> Decoder<'a> for Zstd<'a> {
    fn step(&mut self, buffer: &mut [u8]) -> Step {
        if let Some(end) = self.fault.or_else(|| self.decode(buffer.len())) {
            return Step { produced: 0, end: Some(end) };
        }
        match self.frame.read(buffer) {
            Ok(produced) => {
                let is_done = self.frame.is_finished() && self.frame.can_collect() == 0;
                Step { produced, end: is_done.then_some(End::Finished) }
            }
            Err(_) => Step { produced: 0, end: Some(End::Malformed) },
        }
    }

    fn consumed(&self) -> u64 {
        len64(self.bytes) - len64(self.rest)
    }

    fn close(&mut self, produced_bytes: u64, reading: &mut Reading<'a>) -> Option<()> {
        reading.facts.add(Pass::ZstdCompression, span(self.bytes, 0, self.consumed()));
        if let Some(declared) = self.declared_bytes.filter(|declared| *declared != produced_bytes) {
            let detail = format!("zstd frame declares {declared} bytes, contents have {produced_bytes}");
            reading.findings.add(AnomalyKind::HeaderMismatch, None, detail);
        }
        let (stored, computed) = (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum());
        if let (Some(stored), Some(computed)) = (stored, computed)
            && stored != computed
        {
            let detail = format!("zstd checksum {stored:08x}, contents have {computed:08x}");
            reading.findings.add(AnomalyKind::ChecksumMismatch, None, detail);
        }
        Some(())
    }
}

fn end_of(error: &FrameDecoderError) -> End {
    match error {
        FrameDecoderError::WindowSizeTooBig { .. } | FrameDecoderError::DictNotProvided { .. } => End::Unsupported,
        _ => End::Malformed,
    }
}

/// What is behind skippable frames; a frame that is cut off is no frame.
pub(super) fn skip_skippable(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some(next) = skip_one(rest) {
        rest = next;
    }
    rest
}

fn skip_one(bytes: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(bytes);
    let first = *fields.take(1)?.first()?;
    fields.expect(&SKIPPABLE)?;
    if first & 0xf0 != 0x50 {
        return None;
    }
    let len = fields.u32()?;
    fields.take(usize::try_from(len).ok()?)?;
    Some(fields.rest())
}

/// Lints a frame header. `Some` of the size that it declares, if it does.
#[expect(clippy::option_option, reason = "no header and no size are two things")]
fn read_header(bytes: &[u8], reading: &mut Reading<'_>) -> Option<Option<u64>> {
    let mut fields = Fields::new(bytes);
    fields.expect(Codec::Zstd.magic())?;
    let descriptor = *fields.take(1)?.first()?;
    if descriptor & RESERVED_BIT != 0 {
        reading.findings.add(AnomalyKind::UnsupportedFeature, None, "reserved bit in the zstd frame header");
    }
    if descriptor & UNUSED_BIT != 0 {
        reading.findings.add(AnomalyKind::NonCanonical, None, "unused bit in the zstd frame header");
    }
    let is_single = descriptor & SINGLE_SEGMENT != 0;
    if !is_single {
        fields.take(1)?;
    }
    let dictionary_len = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    if dictionary_len > 0 && fields.take(dictionary_len)?.iter().all(|&byte| byte == 0) {
        reading.findings.add(AnomalyKind::NonCanonical, None, "empty dictionary id in the zstd frame header");
    }
    let size = match (descriptor >> 6, is_single) {
        (0, false) => return Some(None),
        (0, true) => u64::from(*fields.take(1)?.first()?),
        (1, _) => u64::from(fields.u16()?) + 256,
        (2, _) => u64::from(fields.u32()?),
        _ => fields.u64()?,
    };
    Some(Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skippable_frames_are_passed_and_what_is_cut_off_is_not() {
        let frame = [&[0x5f, 0x2a, 0x4d, 0x18, 2, 0, 0, 0][..], b"hi"].concat();
        assert_eq!(skip_skippable(&[&frame[..], &frame, b"rest"].concat()), b"rest");
        assert_eq!(skip_skippable(&frame[..9]), &frame[..9]);
        assert_eq!(skip_skippable(b"rest"), b"rest");
    }
}
