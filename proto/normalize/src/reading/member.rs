//! One member of an archive, in as few bytes as a million of them ask for.

use quorate_proto::Digest;

use super::facts::Seals;
use crate::pass::Pass;

/// How many first bytes of a content are kept.
pub(crate) const HEAD_BYTES: usize = 4;

/// One member of an archive.
pub(crate) struct Member<'a> {
    /// Raw name; a directory's without its final slash.
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: Kind,
    /// Whether any executable bit is set; always false for what is not a file.
    pub(crate) executable: bool,
    /// Mode and owner, where unpacking restores both and no pass may drop them.
    pub(crate) access: Option<Box<str>>,
    pub(crate) link: Option<Box<[u8]>>,
    pub(crate) content: Content,
    /// What stands for its content, where a pass reads the member.
    pub(super) canonical: Option<Box<Canonical>>,
    pub(crate) facts: Seals,
    /// Rank of its bytes in the file, where that is not the order of the members.
    pub(crate) position: u64,
    pub(crate) packed: Option<Box<Packed<'a>>>,
}

/// Size and digest of what stands for a content.
#[derive(Clone, Copy)]
pub(super) struct Canonical {
    /// In the normal form.
    normal: Summary,
    /// Once all manifest passes have read the member.
    manifest: Summary,
    /// The pass that made `manifest` of `normal`.
    pass: Option<Pass>,
}

impl<'a> Member<'a> {
    pub(crate) fn new(name: &[u8], kind: Kind, content: Content) -> Self {
        let name = match kind {
            Kind::Directory => trim_slashes(name),
            _ => name,
        };
        Self {
            name: name.into(),
            kind,
            executable: false,
            access: None,
            link: None,
            content,
            canonical: None,
            facts: Seals::default(),
            position: 0,
            packed: None,
        }
    }

    /// Size and digest in the normal form: the content's, unless a pass reads the member.
    pub(crate) fn normal(&self) -> Summary {
        self.canonical.as_ref().map_or(self.content.summary, |canonical| canonical.normal)
    }

    /// Size and digest once all manifest passes have read the member.
    pub(crate) fn manifest(&self) -> Summary {
        self.canonical.as_ref().map_or(self.content.summary, |canonical| canonical.manifest)
    }

    /// The pass that made the one of the other.
    pub(crate) fn manifest_pass(&self) -> Option<Pass> {
        self.canonical.as_ref().and_then(|canonical| canonical.pass)
    }

    /// Puts something in place of the content, in every form.
    pub(crate) fn set_normal(&mut self, normal: Summary) {
        self.canonical = Some(Box::new(Canonical { normal, manifest: normal, pass: None }));
    }

    /// Puts something in place of the content, in the form of manifests.
    pub(crate) fn set_manifest(&mut self, manifest: Summary, pass: Pass) {
        self.canonical = Some(Box::new(Canonical { normal: self.normal(), manifest, pass: Some(pass) }));
    }

    /// The compressed bytes, if there are any.
    pub(crate) fn deflated(&self) -> Option<&'a [u8]> {
        self.packed.as_ref().filter(|packed| packed.method != 0).map(|packed| packed.data)
    }
}

fn trim_slashes(name: &[u8]) -> &[u8] {
    let end = name.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    name.get(..end).unwrap_or_default()
}

/// The type of a member, which no pass drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    /// A device, FIFO or socket.
    Special,
    /// An archive whose members follow it under its name.
    Archive,
}

/// Size and digest of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

impl Summary {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { size: crate::fields::len64(bytes), digest: Digest::of(bytes) }
    }
}

/// What was seen of a member's content while it streamed by.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) summary: Summary,
    /// Its first bytes, for the magic numbers of programs; zeros behind its end.
    pub(crate) head: [u8; HEAD_BYTES],
    /// All of it, if it was asked for and is not too long.
    pub(crate) held: Option<Box<[u8]>>,
    /// Whether there is a NUL near its beginning: no text has one.
    pub(crate) is_binary: bool,
    /// False if it was not, or could not be, read.
    pub(crate) is_read: bool,
}

impl Content {
    /// Stands for a content that is not known.
    pub(crate) fn unread() -> Self {
        Self { summary: Summary::of(&[]), head: [0; HEAD_BYTES], held: None, is_binary: false, is_read: false }
    }
}

/// A member's compressed bytes and what came of them, so that the other side need not inflate the
/// same bytes again.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) method: u16,
    pub(crate) data: &'a [u8],
    pub(crate) declared_bytes: u64,
    pub(crate) outcome: crate::unpack::Outcome,
}
