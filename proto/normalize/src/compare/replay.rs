//! Header replay: the rebuilt contents under the published headers, byte for byte.
//!
//! Where the contents are in one order, this is done while both files are read for the first time. Where
//! they are not, both are read once more if they are small: headers, padding and end come from the
//! published one, contents from the rebuilt one. SPEC normal-form: Header replay.

use std::collections::BTreeMap;

use quorate_proto::Digest;
use sha2::{Digest as _, Sha256};

use super::{HeaderReplay, Input, ReplayOutcome};
use crate::fields::{len64, span};
use crate::limits::{LimitError, Limits};
use crate::packed::PackedStream;
use crate::reading::{Codec, Container, Kind, Reading, Summary};
use crate::tape::Tape;
use crate::tar::{BLOCK_BYTES_64, Stream};

/// Contents that are held where the rebuilt archive has its members in another order.
const HELD_BYTES_MAX: u64 = 32 << 20;

/// Contents of one side up to which both files are read again.
const REREAD_BYTES_MAX: u64 = 32 << 20;

/// Where a content stands in the decompressed stream.
struct Span {
    name: Vec<u8>,
    start: u64,
    content: Summary,
}

/// Something to record the published file with, where a replay says something.
pub(super) fn blank(input: &Input<'_>, depth: u32) -> Option<Tape> {
    let is_tar = matches!(Container::of(input.file_name), Container::Tar(_));
    (is_tar && depth == 0).then(|| Tape::Record(Box::default()))
}

/// The recording, made ready to be played with the rebuilt file.
pub(super) fn turn(tape: Option<Tape>) -> Option<Tape> {
    match tape? {
        Tape::Record(recording) => recording.into_playback().map(|playback| Tape::Play(Box::new(playback))),
        Tape::Play(_) => None,
    }
}

/// What was played; or, for tar archives in another order that are small, replayed now.
pub(super) fn of(tape: Option<Tape>, input: &Input<'_>, limits: &Limits, readings: [&Reading<'_>; 2]) -> Option<HeaderReplay> {
    if let Some(Tape::Play(playback)) = tape
        && let Some(played) = playback.finish()
    {
        return Some(told(played.recorded, played.replayed, played.kept_members));
    }
    let Container::Tar(codec) = Container::of(input.file_name) else { return None };
    let bytes = |reading: &Reading<'_>| reading.members.iter().fold(0u64, |sum, member| sum.saturating_add(member.content.summary.size));
    if readings.iter().any(|reading| bytes(reading) > REREAD_BYTES_MAX) {
        return None;
    }
    let [published, rebuilt] = readings.map(spans_of);
    Replay { input, limits, codec, kept: 0 }.run(&published, &rebuilt).ok().flatten()
}

fn told(published: Digest, replayed: Digest, kept_members: u32) -> HeaderReplay {
    let outcome = if published == replayed { ReplayOutcome::Proven } else { ReplayOutcome::Failed };
    HeaderReplay { outcome, published, replayed, kept_members }
}

/// The contents that are not empty, in the order of the stream.
fn spans_of(reading: &Reading<'_>) -> Vec<Span> {
    let files = reading.members.iter().filter(|member| member.kind == Kind::File && member.content.summary.size > 0);
    files
        .map(|member| Span {
            name: member.name.to_vec(),
            start: member.position.saturating_add(BLOCK_BYTES_64),
            content: member.content.summary,
        })
        .collect()
}

struct Replay<'r, 'a> {
    input: &'r Input<'a>,
    limits: &'r Limits,
    codec: Option<Codec>,
    kept: u32,
}

impl<'a> Replay<'_, 'a> {
    fn run(mut self, published: &[Span], rebuilt: &[Span]) -> Result<Option<HeaderReplay>, LimitError> {
        let by_name: BTreeMap<&[u8], &Span> = rebuilt.iter().map(|span| (span.name.as_slice(), span)).collect();
        let wanted: Vec<Option<&Span>> = published.iter().map(|span| same(span, &by_name)).collect();
        self.kept = u32::try_from(wanted.iter().filter(|span| span.is_none()).count()).unwrap_or(u32::MAX);
        let places = || wanted.iter().flatten().map(|span| span.start);
        let Some(mut source) = self.source(places().is_sorted(), rebuilt)? else { return Ok(None) };
        let Some(stream) = self.open(self.input.published) else { return Ok(None) };
        let mut published_stream = Cursor { stream, at: 0 };
        let (mut original, mut replayed) = (Sha256::new(), Sha256::new());
        for (span, wanted) in published.iter().zip(wanted) {
            published_stream.to(span.start, |piece| {
                original.update(piece);
                replayed.update(piece);
            })?;
            let end = span.start.saturating_add(span.content.size);
            match wanted {
                None => published_stream.to(end, |piece| {
                    original.update(piece);
                    replayed.update(piece);
                })?,
                Some(wanted) => {
                    published_stream.to(end, |piece| original.update(piece))?;
                    source.write(wanted, |piece| replayed.update(piece))?;
                }
            }
        }
        published_stream.to(u64::MAX, |piece| {
            original.update(piece);
            replayed.update(piece);
        })?;
        let [published, replayed] = [original, replayed].map(|hash| Digest::from_bytes(hash.finalize().into()));
        Ok(Some(told(published, replayed, self.kept)))
    }

    /// The rebuilt contents: as they stream by, or out of memory where the order is another one.
    fn source(&self, is_same_order: bool, rebuilt: &[Span]) -> Result<Option<Source<'a>>, LimitError> {
        let Some(stream) = self.open(self.input.rebuilt) else { return Ok(None) };
        let mut cursor = Cursor { stream, at: 0 };
        if is_same_order {
            return Ok(Some(Source::Stream(Box::new(cursor))));
        }
        let total = rebuilt.iter().fold(0u64, |sum, span| sum.saturating_add(span.content.size));
        if total > HELD_BYTES_MAX {
            return Ok(None);
        }
        let mut held = BTreeMap::new();
        for span in rebuilt {
            cursor.to(span.start, |_| {})?;
            let mut content = Vec::new();
            cursor.to(span.start.saturating_add(span.content.size), |piece| content.extend_from_slice(piece))?;
            held.insert(span.start, content);
        }
        Ok(Some(Source::Held(held)))
    }

    fn open(&self, bytes: &'a [u8]) -> Option<Stream<'a>> {
        let Some(codec) = self.codec else { return Some(Stream::plain(bytes)) };
        let mut scratch = Reading::new(Container::Tar(Some(codec)), 0);
        PackedStream::open(codec, bytes, self.limits, &mut scratch).map(Stream::packed)
    }
}

/// The rebuilt member of this name, unless only a pass makes it equal.
fn same<'s>(span: &Span, by_name: &BTreeMap<&[u8], &'s Span>) -> Option<&'s Span> {
    by_name.get(span.name.as_slice()).copied().filter(|other| other.content == span.content)
}

enum Source<'a> {
    Stream(Box<Cursor<'a>>),
    /// By the place of each content.
    Held(BTreeMap<u64, Vec<u8>>),
}

impl Source<'_> {
    fn write(&mut self, span: &Span, mut out: impl FnMut(&[u8])) -> Result<(), LimitError> {
        match self {
            Self::Stream(cursor) => {
                cursor.to(span.start, |_| {})?;
                cursor.to(span.start.saturating_add(span.content.size), out)?;
            }
            Self::Held(held) => out(held.get(&span.start).map_or(&[], |content| span_of(content, span))),
        }
        Ok(())
    }
}

fn span_of<'c>(content: &'c [u8], wanted: &Span) -> &'c [u8] {
    span(content, 0, wanted.content.size.min(len64(content)))
}

/// A stream and how much of it was read.
struct Cursor<'a> {
    stream: Stream<'a>,
    at: u64,
}

impl Cursor<'_> {
    /// Reads up to an offset, or to the end.
    fn to(&mut self, offset: u64, mut out: impl FnMut(&[u8])) -> Result<(), LimitError> {
        while self.at < offset {
            let piece = self.stream.chunk(usize::try_from(offset - self.at).unwrap_or(usize::MAX))?;
            if piece.is_empty() {
                break;
            }
            self.at = self.at.saturating_add(len64(piece));
            out(piece);
        }
        Ok(())
    }
}
