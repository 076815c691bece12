//! The xz container: one stream of blocks with its index and footer.
//!
//! The decoder is strict about every field of it: reserved bits, padding, checks, and an index that
//! agrees with the blocks. What is left is how the contents were compressed.

use lzma_rust2::{Action, Status, XzStream};

use super::Decoder;
use crate::fields::{len64, span};
use crate::pass::Pass;
use crate::reading::{Codec, Reading};
use crate::unpack::{End, Step};

/// Memory for one block: the dictionary of the highest preset (64 MiB) and what decoding it needs.
const MEMORY_KIB_MAX: u32 = 80 << 10;

/// An xz stream from its first byte on.
pub(super) struct Xz<'a> {
    bytes: &'a [u8],
    stream: XzStream,
}

impl<'a> Xz<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(Codec::Xz.magic()).then(|| Self { bytes, stream: XzStream::new_mem_limit(false, MEMORY_KIB_MAX) })
    }
}

impl<'a> Decoder<'a> for Xz<'a> {
    fn step(&mut self, buffer: &mut [u8]) -> Step {
        let rest = span(self.bytes, self.stream.total_in(), len64(self.bytes));
        match self.stream.process(rest, buffer, Action::Finish) {
            Ok(result) => {
                let stuck = result.bytes_consumed == 0 && result.bytes_produced == 0;
                let end = match result.status {
                    Status::StreamEnd => Some(End::Finished),
                    Status::Ok if stuck => Some(End::Truncated),
                    Status::Ok => None,
                };
                Step { produced: result.bytes_produced, end }
            }
            Err(error) => Step { produced: 0, end: Some(end_of(&error)) },
        }
    }

    fn consumed(&self) -> u64 {
        self.stream.total_in()
    }

    fn close(&mut self, _produced_bytes: u64, reading: &mut Reading<'a>) -> Option<()> {
        reading.facts.add(Pass::XzCompression, span(self.bytes, 0, self.consumed()));
        Some(())
    }
}

fn end_of(error: &std::io::Error) -> End {
    match error.kind() {
        std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::Unsupported => End::Unsupported,
        std::io::ErrorKind::UnexpectedEof => End::Truncated,
        _ => End::Malformed,
    }
}
