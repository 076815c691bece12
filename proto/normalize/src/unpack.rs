//! Contents while they stream: hashed once, their first bytes kept, the rest held only on request.
//!
//! Knows deflate as a stream of bytes and nothing of the containers around it.

use std::collections::BTreeSet;

use flate2::{Decompress, FlushDecompress, Status};
use quorate_proto::Digest;
use sha2::{Digest as _, Sha256};

use crate::manifest;
use crate::reading::{Content, Format, HEAD_BYTES, Summary};

/// First bytes of a content in which a NUL says that it is no text.
const TEXT_PROBE_BYTES: u64 = 8 << 10;

/// Size of the buffer that inflating writes to. Large enough that per-call costs vanish, small
/// enough to stay in the second-level cache.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// Whose contents are held in memory.
#[derive(Clone, Copy)]
pub(crate) enum Hold<'n> {
    /// The generated manifests of a format, up to so many bytes.
    Manifests(Format, u64),
    /// These members, up to so many bytes each; other contents need not be read at all.
    Only(&'n BTreeSet<Vec<u8>>, u64),
}

impl Hold<'_> {
    /// How many bytes of this member to hold.
    pub(crate) fn bytes_max(&self, name: &[u8]) -> Option<u64> {
        match self {
            Self::Manifests(format, max) => manifest::generated(*format, name).map(|_| *max),
            Self::Only(names, max) => names.contains(name).then_some(*max),
        }
    }

    /// Whether the member's content may be passed over.
    pub(crate) fn skips(&self, name: &[u8]) -> bool {
        matches!(self, Self::Only(names, _) if !names.contains(name))
    }
}

/// Takes a content in pieces.
pub(crate) struct Sink {
    sha: Sha256,
    size: u64,
    head: [u8; HEAD_BYTES],
    has_nul: bool,
    held: Option<Vec<u8>>,
    held_max: u64,
}

impl Sink {
    pub(crate) fn new(held_max: Option<u64>) -> Self {
        Self {
            sha: Sha256::new(),
            size: 0,
            head: [0; HEAD_BYTES],
            has_nul: false,
            held: held_max.map(|_| Vec::new()),
            held_max: held_max.unwrap_or(0),
        }
    }

    pub(crate) fn write(&mut self, piece: &[u8]) {
        self.sha.update(piece);
        if self.size < TEXT_PROBE_BYTES {
            let from = usize::try_from(self.size).unwrap_or(usize::MAX);
            self.head.iter_mut().skip(from).zip(piece).for_each(|(place, byte)| *place = *byte);
            self.has_nul |= piece.contains(&0);
        }
        self.size = self.size.saturating_add(crate::fields::len64(piece));
        if self.size > self.held_max {
            self.held = None;
        } else if let Some(held) = &mut self.held {
            held.extend_from_slice(piece);
        }
    }

    pub(crate) fn finish(self) -> Content {
        let digest = Digest::from_bytes(self.sha.finalize().into());
        Content {
            summary: Summary { size: self.size, digest },
            head: self.head,
            held: self.held.map(Vec::into_boxed_slice),
            is_binary: self.has_nul,
            is_read: true,
        }
    }
}

/// How inflating ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the end of the deflate stream.
    Finished,
    /// At bytes that are not deflate.
    Malformed,
    /// At the end of the input, before that of the stream.
    Truncated,
    /// At the number of bytes that were declared, with more to come.
    TooLong,
    /// At something that the profile has no part of.
    Unsupported,
}

/// What came of some compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) consumed_bytes: u64,
    pub(crate) produced_bytes: u64,
    pub(crate) crc: u32,
}

/// An inflating engine with its buffer, used for one stream after the other.
pub(crate) struct Inflater {
    engine: Decompress,
    buffer: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { engine: Decompress::new(false), buffer: vec![0; BUFFER_BYTES] }
    }

    /// Inflates all of `data`, at most `produced_max` bytes, into `sink`.
    pub(crate) fn run(&mut self, data: &[u8], produced_max: u64, sink: &mut Sink) -> Outcome {
        self.engine.reset(false);
        let mut crc = crc32fast::Hasher::new();
        let mut produced: u64 = 0;
        let end = loop {
            let step = step(&mut self.engine, data, &mut self.buffer);
            let piece = self.buffer.get(..step.produced).unwrap_or_default();
            if produced.saturating_add(crate::fields::len64(piece)) > produced_max {
                break End::TooLong;
            }
            produced += crate::fields::len64(piece);
            crc.update(piece);
            sink.write(piece);
            if let Some(end) = step.end {
                break end;
            }
        };
        Outcome { end, consumed_bytes: self.engine.total_in(), produced_bytes: produced, crc: crc.finalize() }
    }
}

/// What one call of the engine did.
pub(crate) struct Step {
    pub(crate) produced: usize,
    pub(crate) end: Option<End>,
}

/// Inflates from where `engine` stands in `data` until `buffer` is full or there is no more.
pub(crate) fn step(engine: &mut Decompress, data: &[u8], buffer: &mut [u8]) -> Step {
    let (in_before, out_before) = (engine.total_in(), engine.total_out());
    let rest = crate::fields::span(data, in_before, crate::fields::len64(data));
    let status = engine.decompress(rest, buffer, FlushDecompress::None);
    let produced_bytes = engine.total_out().saturating_sub(out_before);
    let produced = usize::try_from(produced_bytes).unwrap_or(0).min(buffer.len());
    let stuck = engine.total_in() == in_before && produced == 0;
    let end = match status {
        Ok(Status::StreamEnd) => Some(End::Finished),
        Err(_) => Some(End::Malformed),
        Ok(_) if stuck => Some(End::Truncated),
        Ok(_) => None,
    };
    Step { produced, end }
}
