//! A recording of one tar stream, played with the contents of another one while that streams by.
//!
//! The recording keeps what is no content (headers, padding, end) and what a pass may make equal; all
//! other contents come from the second stream, which has to have them in the same order. Both streams
//! are hashed, and none is unpacked for this alone. SPEC normal-form: Header replay.

use quorate_proto::Digest;
use sha2::{Digest as _, Sha256};

use crate::fields::len64;
use crate::reading::Summary;

/// Bytes that a recording keeps.
const KEPT_BYTES_MAX: u64 = 16 << 20;

/// What listens to a stream.
pub(crate) enum Tape {
    /// To the published one.
    Record(Box<Recording>),
    /// To the rebuilt one.
    Play(Box<Playback>),
}

/// What is kept of a stream.
#[derive(Default)]
pub(crate) struct Recording {
    hash: Sha256,
    /// All that is no content.
    frame: Vec<u8>,
    spans: Vec<Span>,
    /// The content that streams by.
    open: Option<Span>,
    kept_bytes: u64,
    /// Whether there was too much to keep.
    is_lost: bool,
}

/// A content that is not empty.
struct Span {
    /// How much of the frame stands before it.
    frame_bytes: usize,
    name: Box<[u8]>,
    content: Option<Summary>,
    /// All of it, where a pass may make it equal to another one.
    kept: Option<Vec<u8>>,
}

/// A recording with the contents of another stream.
pub(crate) struct Playback {
    recording: Recording,
    hash: Sha256,
    /// The hash before the content that streams by.
    before: Option<Sha256>,
    /// How much of the frame was played, and how many contents.
    frame_bytes: usize,
    spans: usize,
    kept_members: u32,
    is_lost: bool,
}

/// What came of it.
pub(crate) struct Played {
    pub(crate) recorded: Digest,
    pub(crate) replayed: Digest,
    pub(crate) kept_members: u32,
}

impl Tape {
    /// Takes the next bytes of the stream.
    pub(crate) fn pass(&mut self, piece: &[u8]) {
        match self {
            Self::Record(recording) => recording.pass(piece),
            Self::Play(playback) if playback.before.is_some() => playback.hash.update(piece),
            Self::Play(_) => {}
        }
    }

    /// What follows is the content of a member. Whether a pass may read it is `is_generated`.
    pub(crate) fn begin_content(&mut self, name: &[u8], is_generated: bool) {
        match self {
            Self::Record(recording) => {
                let kept = is_generated.then(Vec::new);
                recording.open = Some(Span { frame_bytes: recording.frame.len(), name: name.into(), content: None, kept });
            }
            Self::Play(playback) => playback.begin_content(name),
        }
    }

    /// The content is at its end.
    pub(crate) fn end_content(&mut self, content: Summary) {
        match self {
            Self::Record(recording) => {
                let span = recording.open.take().map(|span| Span { content: Some(content), ..span });
                recording.spans.extend(span);
            }
            Self::Play(playback) => playback.end_content(content),
        }
    }
}

impl Recording {
    /// Makes it ready for another stream; nothing if it is not whole.
    pub(crate) fn into_playback(self) -> Option<Playback> {
        let is_whole = !self.is_lost && self.open.is_none();
        let playback = |recording| Playback {
            recording,
            hash: Sha256::new(),
            before: None,
            frame_bytes: 0,
            spans: 0,
            kept_members: 0,
            is_lost: false,
        };
        is_whole.then(|| playback(self))
    }

    fn pass(&mut self, piece: &[u8]) {
        if self.is_lost {
            return;
        }
        self.hash.update(piece);
        let kept = match &mut self.open {
            None => Some(&mut self.frame),
            Some(span) => span.kept.as_mut(),
        };
        if let Some(kept) = kept {
            kept.extend_from_slice(piece);
            self.kept_bytes = self.kept_bytes.saturating_add(len64(piece));
        }
        if self.kept_bytes > KEPT_BYTES_MAX {
            *self = Self { is_lost: true, ..Self::default() };
        }
    }
}

impl Playback {
    /// What came out; nothing if the contents could not be told apart while they streamed by.
    pub(crate) fn finish(mut self) -> Option<Played> {
        if self.is_lost || self.spans != self.recording.spans.len() {
            return None;
        }
        self.play_frame(self.recording.frame.len());
        let [recorded, played] = [self.recording.hash, self.hash].map(|hash| Digest::from_bytes(hash.finalize().into()));
        Some(Played { recorded, replayed: played, kept_members: self.kept_members })
    }

    fn begin_content(&mut self, name: &[u8]) {
        let next = self.recording.spans.get(self.spans).filter(|span| *span.name == *name && !self.is_lost);
        match next.map(|span| span.frame_bytes) {
            Some(frame_bytes) => {
                self.play_frame(frame_bytes);
                self.before = Some(self.hash.clone());
            }
            None => self.is_lost = true,
        }
    }

    fn end_content(&mut self, content: Summary) {
        let (Some(before), Some(span)) = (self.before.take(), self.recording.spans.get(self.spans)) else { return };
        self.spans += 1;
        if span.content == Some(content) {
            return;
        }
        let Some(kept) = &span.kept else {
            self.is_lost = true;
            return;
        };
        self.hash = before;
        self.hash.update(kept);
        self.kept_members += 1;
    }

    fn play_frame(&mut self, to: usize) {
        self.hash.update(self.recording.frame.get(self.frame_bytes..to).unwrap_or_default());
        self.frame_bytes = to;
    }
}
