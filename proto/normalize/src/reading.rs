//! What a reader finds in one archive: members, what normalising drops of them, and findings.
//!
//! Everything that a reader sees ends in one of three places: in a [`Member`] (it counts), in the
//! facts of a [`Pass`] (it is dropped, and its difference is reported), or in [`Findings`] (it is
//! wrong). Nothing is looked at and forgotten.

use std::borrow::Cow;

use quorate_proto::Digest;
use quorate_proto::comparison::{Anomaly, AnomalyKind, Side};
use sha2::{Digest as _, Sha256};

use crate::names;
use crate::pass::Pass;

/// How a file is read. The file name decides, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// A zip archive, such as a wheel.
    Zip,
    /// A plain tar archive.
    Tar,
    /// A tar archive in gzip.
    TarGzip,
    /// Anything else in gzip.
    Gzip,
    /// A file that is not looked into.
    Opaque,
}

impl Container {
    /// The container that a file of this name is read as.
    pub fn of(file_name: &str) -> Self {
        let name = file_name.to_ascii_lowercase();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        if ends(&[".whl", ".zip", ".egg", ".jar"]) {
            Self::Zip
        } else if ends(&[".tar.gz", ".tgz", ".crate"]) {
            Self::TarGzip
        } else if ends(&[".tar"]) {
            Self::Tar
        } else if ends(&[".gz"]) {
            Self::Gzip
        } else {
            Self::Opaque
        }
    }

    /// The word for it in the first line of a listing.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar | Self::TarGzip => "tar",
            Self::Gzip => "gzip",
            Self::Opaque => "opaque",
        }
    }
}

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Everything was read.
    Complete,
    /// The structure was read, but some content could not be.
    Partial,
    /// The structure cannot be followed.
    Broken,
}

/// One archive as a reader found it.
pub(crate) struct Reading<'a> {
    pub(crate) container: Container,
    pub(crate) members: Vec<Member<'a>>,
    pub(crate) facts: Facts<'a>,
    pub(crate) findings: Findings,
    pub(crate) state: State,
    /// Identifies the decompressed stream, where there is one: headers and padding as they are,
    /// contents by their digest.
    pub(crate) stream: Option<[u8; 32]>,
}

impl Reading<'_> {
    pub(crate) fn new(container: Container, anomalies_max: usize) -> Self {
        Self {
            container,
            members: Vec::new(),
            facts: Facts::default(),
            findings: Findings::new(anomalies_max),
            state: State::Complete,
            stream: None,
        }
    }

    /// Notes that some content could not be read.
    pub(crate) fn partial(&mut self) {
        self.state = self.state.max(State::Partial);
    }

    /// Notes a fault after which the structure cannot be followed.
    pub(crate) fn broken(&mut self, kind: AnomalyKind, member: Option<&[u8]>, detail: impl Into<String>) {
        self.state = State::Broken;
        self.findings.add(kind, member, detail);
    }
}

/// One member of an archive.
pub(crate) struct Member<'a> {
    /// Raw name; a directory's without its final slash.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// Whether any executable bit is set; always false for what is not a file.
    pub(crate) executable: bool,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) content: Content,
    /// Size and digest in the normal form: the content's, unless a pass reads the member.
    pub(crate) normal: Summary,
    /// Size and digest once all manifest passes have read the member.
    pub(crate) manifest: Summary,
    pub(crate) facts: Facts<'a>,
    /// Rank of its bytes in the file, where that is not the order of the members.
    pub(crate) position: u64,
    pub(crate) packed: Option<Packed<'a>>,
}

impl<'a> Member<'a> {
    pub(crate) fn new(name: &[u8], kind: Kind, content: Content) -> Self {
        let name = match kind {
            Kind::Directory => trim_slashes(name),
            _ => name,
        };
        let summary = content.summary;
        Self {
            name: name.to_vec(),
            kind,
            executable: false,
            link: None,
            content,
            normal: summary,
            manifest: summary,
            facts: Facts::default(),
            position: 0,
            packed: None,
        }
    }

    pub(crate) fn fact(&mut self, pass: Pass, value: impl Into<Cow<'a, [u8]>>) {
        self.facts.add(pass, value);
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
    /// Its first bytes, for the magic numbers of programs.
    pub(crate) head: Vec<u8>,
    /// All of it, if it was asked for and is not too long.
    pub(crate) held: Option<Vec<u8>>,
    /// False if it was not, or could not be, read.
    pub(crate) is_read: bool,
}

impl Content {
    /// Stands for a content that is not known.
    pub(crate) fn unread() -> Self {
        Self { summary: Summary::of(&[]), head: Vec::new(), held: None, is_read: false }
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

/// What normalising drops, by pass, in the order in which the reader met it.
#[derive(Default)]
pub(crate) struct Facts<'a>(Vec<(Pass, Cow<'a, [u8]>)>);

impl<'a> Facts<'a> {
    pub(crate) fn add(&mut self, pass: Pass, value: impl Into<Cow<'a, [u8]>>) {
        self.0.push((pass, value.into()));
    }

    pub(crate) fn append(&mut self, mut other: Facts<'a>) {
        self.0.append(&mut other.0);
    }

    /// Whether both sides have the same facts for `pass`.
    pub(crate) fn agree(&self, other: &Facts<'_>, pass: Pass) -> bool {
        self.of(pass).eq(other.of(pass))
    }

    fn of(&self, pass: Pass) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(of, _)| *of == pass).map(|(_, value)| value.as_ref())
    }
}

/// Faults, up to a number; what comes after is counted and hashed, so that two long lists still
/// compare.
pub(crate) struct Findings {
    list: Vec<Finding>,
    list_max: usize,
    more: u64,
    more_hash: Sha256,
}

/// A fault, before it is known to which side it belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    kind: AnomalyKind,
    member: Option<String>,
    detail: String,
}

impl Findings {
    fn new(list_max: usize) -> Self {
        Self { list: Vec::new(), list_max, more: 0, more_hash: Sha256::new() }
    }

    pub(crate) fn add(&mut self, kind: AnomalyKind, member: Option<&[u8]>, detail: impl Into<String>) {
        let finding = Finding { kind, member: member.map(names::display), detail: detail.into() };
        if self.list.len() < self.list_max {
            self.list.push(finding);
        } else {
            self.more += 1;
            self.more_hash.update(format!("{finding:?}\n"));
        }
    }

    /// The anomalies of one side, in the order in which they were met.
    pub(crate) fn anomalies(&self, side: Side) -> Vec<Anomaly> {
        let listed = self.list.iter().cloned();
        listed.chain(self.rest()).map(|Finding { kind, member, detail }| Anomaly { side, kind, member, detail }).collect()
    }

    fn rest(&self) -> Option<Finding> {
        let digest = Digest::from_bytes(self.more_hash.clone().finalize().into());
        (self.more > 0).then(|| Finding {
            kind: AnomalyKind::AbsurdSize,
            member: None,
            detail: format!("{} more anomalies, {digest}", self.more),
        })
    }
}

/// Describes bytes that should not be there, so that two sides with other bytes are told apart.
pub(crate) fn describe(bytes: &[u8]) -> String {
    format!("{} bytes, {}", bytes.len(), Digest::of(bytes))
}
