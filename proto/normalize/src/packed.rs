//! Compressed streams: gzip, xz, zstd and bzip2, each one stream that is unpacked piece by piece.
//!
//! The container around each stream is read field by field. A second stream, padding, frames that
//! readers skip and bytes behind the end are findings; how the contents were compressed is dropped
//! by a pass of each. SPEC normal-form: Compressed streams.

use quorate_proto::comparison::AnomalyKind;

use crate::fields::{len64, span};
use crate::limits::{LimitError, Limits, Quantity, is_absurd};
use crate::reading::{Codec, Reading, describe};
use crate::unpack::{BUFFER_BYTES, End, Step};

mod bzip2;
mod gzip;
mod xz;
mod zstd;

/// A compressed stream that is being unpacked.
pub(crate) struct PackedStream<'a> {
    codec: Codec,
    decoder: Box<dyn Decoder<'a> + 'a>,
    buffer: Vec<u8>,
    /// What of the buffer was not handed out yet.
    ready: std::ops::Range<usize>,
    produced_bytes: u64,
    produced_max: u64,
    end: Option<End>,
    absurd: bool,
}

/// The stream of one format, behind its header.
trait Decoder<'a> {
    /// Unpacks into `buffer` until it is full or there is no more.
    fn step(&mut self, buffer: &mut [u8]) -> Step;

    /// How many bytes of the file were read.
    fn consumed(&self) -> u64;

    /// Checks what stands at the end of a stream that was read whole. `None` if it cannot be read.
    fn close(&mut self, produced_bytes: u64, reading: &mut Reading<'a>) -> Option<()>;
}

impl<'a> PackedStream<'a> {
    /// Reads the header. `None` if it cannot be followed; the reading says why.
    pub(crate) fn open(codec: Codec, bytes: &'a [u8], limits: &Limits, reading: &mut Reading<'a>) -> Option<Self> {
        let decoder: Option<Box<dyn Decoder<'a> + 'a>> = match codec {
            Codec::Gzip => gzip::Gzip::open(bytes, reading).map(|decoder| Box::new(decoder) as _),
            Codec::Xz => xz::Xz::open(bytes).map(|decoder| Box::new(decoder) as _),
            Codec::Zstd => zstd::Zstd::open(bytes, reading).map(|decoder| Box::new(decoder) as _),
            Codec::Bzip2 => bzip2::Bzip2::open(bytes).map(|decoder| Box::new(decoder) as _),
        };
        let Some(decoder) = decoder else {
            reading.broken(AnomalyKind::Truncated, None, format!("not a {} header", codec.word()));
            return None;
        };
        let buffer = vec![0; BUFFER_BYTES];
        let produced_max = limits.total_bytes_max;
        Some(Self { codec, decoder, buffer, ready: 0..0, produced_bytes: 0, produced_max, end: None, absurd: false })
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
        let step = self.decoder.step(&mut self.buffer);
        let produced = step.produced.min(self.buffer.len());
        self.produced_bytes = self.produced_bytes.saturating_add(u64::try_from(produced).unwrap_or(u64::MAX));
        self.ready = 0..produced;
        self.end = step.end;
        let consumed = self.decoder.consumed();
        if is_absurd(self.produced_bytes, consumed) {
            self.absurd = true;
            self.end = Some(End::TooLong);
        }
        Quantity::TotalBytes.check(consumed, self.produced_bytes, self.produced_max)
    }

    /// Checks the end of the stream, once everything was read, and what follows it in the file.
    pub(crate) fn close(mut self, bytes: &'a [u8], reading: &mut Reading<'a>) {
        let (word, at) = (self.codec.word(), self.decoder.consumed());
        let (kind, detail) = match self.end {
            _ if self.absurd => (AnomalyKind::AbsurdSize, format!("{word} stream inflates beyond any honest ratio")),
            Some(End::Finished) => {
                if self.decoder.close(self.produced_bytes, reading).is_some() {
                    let rest = span(bytes, self.decoder.consumed(), len64(bytes));
                    lint_rest(self.codec, rest, reading);
                    return;
                }
                (AnomalyKind::Truncated, format!("{word} trailer cut off"))
            }
            Some(End::Unsupported) => {
                (AnomalyKind::UnsupportedFeature, format!("{word} stream that needs too much memory, or a dictionary"))
            }
            _ => {
                let what = if self.codec == Codec::Gzip { "deflate" } else { word };
                (AnomalyKind::Truncated, format!("{what} stream cannot be read from offset {at}"))
            }
        };
        reading.broken(kind, None, detail);
    }
}

/// Adds what follows the one stream that there should be.
fn lint_rest(codec: Codec, rest: &[u8], reading: &mut Reading<'_>) {
    if rest.is_empty() {
        return;
    }
    let word = codec.word();
    let next = match codec {
        Codec::Gzip | Codec::Bzip2 => rest,
        // Padding between streams is part of the format, and readers go on behind it.
        Codec::Xz => without_leading_zeros(rest),
        Codec::Zstd => zstd::skip_skippable(rest),
    };
    let (kind, what) = if next.starts_with(codec.magic()) {
        reading.partial();
        (AnomalyKind::ExtraStream, format!("another {word} stream follows"))
    } else {
        (AnomalyKind::TrailingData, format!("data after the {word} stream"))
    };
    reading.findings.add(kind, None, format!("{what}: {}", describe(rest)));
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}
