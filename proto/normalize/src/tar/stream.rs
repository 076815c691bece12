//! The bytes of a tar, from a slice or out of a compressed stream, in pieces and with their offset.

use crate::fields::len64;
use crate::limits::LimitError;
use crate::packed::PackedStream;
use crate::reading::Summary;
use crate::tape::Tape;

/// A source of tar bytes.
pub(crate) struct Stream<'a> {
    source: Source<'a>,
    offset: u64,
    tape: Option<Tape>,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Packed(Box<PackedStream<'a>>),
}

impl<'a> Stream<'a> {
    pub(crate) fn plain(bytes: &'a [u8]) -> Self {
        Self { source: Source::Plain(bytes), offset: 0, tape: None }
    }

    pub(crate) fn packed(stream: PackedStream<'a>) -> Self {
        Self { source: Source::Packed(Box::new(stream)), offset: 0, tape: None }
    }

    /// Lets `tape` hear everything that is handed out.
    pub(crate) fn with_tape(self, tape: Option<Tape>) -> Self {
        Self { tape, ..self }
    }

    /// The compressed stream below, if there is one, and the tape.
    pub(crate) fn into_parts(self) -> (Option<PackedStream<'a>>, Option<Tape>) {
        let packed = match self.source {
            Source::Plain(_) => None,
            Source::Packed(stream) => Some(*stream),
        };
        (packed, self.tape)
    }

    /// Says that the next `size` bytes are the content of a member, and whether a pass may read it.
    pub(super) fn begin_content(&mut self, size: u64, name: &[u8], is_generated: bool) {
        if let Some(tape) = self.tape.as_mut().filter(|_| size > 0) {
            tape.begin_content(name, is_generated);
        }
    }

    /// Says that a content is at its end.
    pub(super) fn end_content(&mut self, content: Summary) {
        if let Some(tape) = self.tape.as_mut().filter(|_| content.size > 0) {
            tape.end_content(content);
        }
    }

    /// How many bytes have been handed out.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, at most `len_max`; empty at the end.
    pub(crate) fn chunk(&mut self, len_max: usize) -> Result<&[u8], LimitError> {
        let piece = match &mut self.source {
            Source::Plain(bytes) => {
                let (piece, rest) = bytes.split_at_checked(len_max).unwrap_or((bytes, &[]));
                *bytes = rest;
                piece
            }
            Source::Packed(stream) => stream.chunk(len_max)?,
        };
        self.offset = self.offset.saturating_add(len64(piece));
        if let Some(tape) = &mut self.tape {
            tape.pass(piece);
        }
        Ok(piece)
    }

    /// Fills `buffer` as far as the stream goes, and says how far that was.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, LimitError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let piece = self.chunk(rest.len())?;
            if piece.is_empty() {
                break;
            }
            let (head, _) = rest.split_at_mut(piece.len());
            head.copy_from_slice(piece);
            filled += piece.len();
        }
        Ok(filled)
    }
}
