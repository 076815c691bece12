//! The bzip2 container: one stream of blocks, each with a checksum, and one over all.

use ::bzip2::{Decompress, Status};

use super::Decoder;
use crate::fields::{len64, span};
use crate::pass::Pass;
use crate::reading::{Codec, Reading};
use crate::unpack::{End, Step};

/// A bzip2 stream from its first byte on.
pub(super) struct Bzip2<'a> {
    bytes: &'a [u8],
    engine: Decompress,
}

impl<'a> Bzip2<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(Codec::Bzip2.magic()).then(|| Self { bytes, engine: Decompress::new(false) })
    }
}

impl<'a> Decoder<'a> for Bzip2<'a> {
    fn step(&mut self, buffer: &mut [u8]) -> Step {
        let (in_before, out_before) = (self.engine.total_in(), self.engine.total_out());
        let rest = span(self.bytes, in_before, len64(self.bytes));
        let status = self.engine.decompress(rest, buffer);
        let produced = usize::try_from(self.engine.total_out().saturating_sub(out_before)).unwrap_or(0);
        let stuck = self.engine.total_in() == in_before && produced == 0;
        let end = match status {
            Ok(Status::StreamEnd) => Some(End::Finished),
            Err(_) => Some(End::Malformed),
            Ok(_) if stuck => Some(End::Truncated),
            Ok(_) => None,
        };
        Step { produced, end }
    }

    fn consumed(&self) -> u64 {
        self.engine.total_in()
    }

    fn close(&mut self, _produced_bytes: u64, reading: &mut Reading<'a>) -> Option<()> {
        reading.facts.add(Pass::Bzip2Compression, span(self.bytes, 0, self.consumed()));
        Some(())
    }
}
