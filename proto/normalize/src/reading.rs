//! What a reader finds in one archive: members, what normalising drops of them, and findings.
//!
//! Everything that a reader sees ends in one of three places: in a [`Member`] (it counts), in the
//! facts of a [`Pass`] (it is dropped, and its difference is reported), or in [`Findings`] (it is
//! wrong). Nothing is looked at and forgotten.

use std::borrow::Cow;
use std::collections::BTreeMap;

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
    /// A tar archive, maybe compressed.
    Tar(Option<Codec>),
    /// Anything else that is compressed.
    Packed(Codec),
    /// A Unix archive, such as a static library.
    Ar,
    /// A Debian binary package: two tar archives in a Unix archive.
    Deb,
    /// A file that is not looked into.
    Opaque,
}

/// A format of compressed streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// RFC 1952.
    Gzip,
    /// The format of XZ Utils.
    Xz,
    /// RFC 8878.
    Zstd,
    /// The format of bzip2.
    Bzip2,
}

impl Codec {
    /// The word for it in the first line of a listing.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// First bytes of every stream.
    pub(crate) fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => b"\x1f\x8b",
            Self::Xz => b"\xfd7zXZ\0",
            Self::Zstd => b"\x28\xb5\x2f\xfd",
            Self::Bzip2 => b"BZh",
        }
    }
}

/// Endings of file names, in lower case, with how such files are read. The first that fits counts.
const CONTAINERS: [(&str, Container); 29] = [
    (".whl", Container::Zip),
    (".zip", Container::Zip),
    (".egg", Container::Zip),
    (".jar", Container::Zip),
    (".war", Container::Zip),
    (".aar", Container::Zip),
    (".nupkg", Container::Zip),
    (".conda", Container::Zip),
    (".tar.gz", Container::Tar(Some(Codec::Gzip))),
    (".tgz", Container::Tar(Some(Codec::Gzip))),
    (".crate", Container::Tar(Some(Codec::Gzip))),
    (".tar.xz", Container::Tar(Some(Codec::Xz))),
    (".txz", Container::Tar(Some(Codec::Xz))),
    (".tar.zst", Container::Tar(Some(Codec::Zstd))),
    (".tzst", Container::Tar(Some(Codec::Zstd))),
    (".tar.bz2", Container::Tar(Some(Codec::Bzip2))),
    (".tbz2", Container::Tar(Some(Codec::Bzip2))),
    (".tbz", Container::Tar(Some(Codec::Bzip2))),
    (".tar", Container::Tar(None)),
    (".gem", Container::Tar(None)),
    (".deb", Container::Deb),
    (".udeb", Container::Deb),
    (".ddeb", Container::Deb),
    (".ar", Container::Ar),
    (".a", Container::Ar),
    (".gz", Container::Packed(Codec::Gzip)),
    (".xz", Container::Packed(Codec::Xz)),
    (".zst", Container::Packed(Codec::Zstd)),
    (".bz2", Container::Packed(Codec::Bzip2)),
];

impl Container {
    /// The container that a file of this name is read as.
    pub fn of(file_name: &str) -> Self {
        let name = file_name.to_ascii_lowercase();
        let found = CONTAINERS.iter().find(|(suffix, _)| name.ends_with(suffix));
        found.map_or(Self::Opaque, |(_, container)| *container)
    }

    /// The word for it in the first line of a listing.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar(_) => "tar",
            Self::Packed(codec) => codec.word(),
            Self::Ar => "ar",
            Self::Deb => "deb",
            Self::Opaque => "opaque",
        }
    }
}

/// Whose conventions an archive follows: which of its files are generated, and how it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A Python wheel.
    Wheel,
    /// A Python source distribution.
    Sdist,
    /// A package of crates.io.
    Crate,
    /// An npm package.
    Npm,
    /// Nobody's in particular.
    Other,
}

impl Format {
    pub(crate) fn of(file_name: &str) -> Self {
        let name = file_name.to_ascii_lowercase();
        let ends = |suffix: &str| name.ends_with(suffix);
        if ends(".whl") {
            Self::Wheel
        } else if ends(".tar.gz") || ends(".zip") {
            Self::Sdist
        } else if ends(".crate") {
            Self::Crate
        } else if ends(".tgz") {
            Self::Npm
        } else {
            Self::Other
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
    /// Faults of archives inside this one that were compared as what they are.
    pub(crate) nested: Findings,
    pub(crate) state: State,
    /// Identifies the decompressed stream, where there is one: headers and padding as they are,
    /// contents by their digest.
    pub(crate) stream: Option<[u8; 32]>,
}

/// Parts of an archive are ordered by bits that no offset in a file reaches.
const PART_RANK_SHIFT: u32 = 56;

impl Reading<'_> {
    pub(crate) fn new(container: Container, anomalies_max: usize) -> Self {
        Self {
            container,
            members: Vec::new(),
            facts: Facts::default(),
            findings: Findings::new(anomalies_max),
            nested: Findings::new(anomalies_max),
            state: State::Complete,
            stream: None,
        }
    }

    /// Takes the members of an archive that is part of this one, under `prefix`. `rank` orders the parts.
    pub(crate) fn absorb(&mut self, prefix: &[u8], rank: u64, part: Reading<'_>) {
        for member in part.members {
            let name = [prefix, &member.name].concat();
            let position = member.position.saturating_add(rank << PART_RANK_SHIFT);
            self.members.push(Member { name, position, packed: None, facts: member.facts.into_owned(), ..member });
        }
        self.facts.append(part.facts.into_owned());
        self.findings.absorb(prefix, part.findings);
        self.state = self.state.max(part.state);
    }

    /// The anomalies of one side, those of nested archives last.
    pub(crate) fn anomalies(&self, side: Side) -> impl Iterator<Item = Anomaly> {
        self.findings.anomalies(side).into_iter().chain(self.nested.anomalies(side))
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
    /// Mode and owner, where unpacking restores both and no pass may drop them.
    pub(crate) access: Option<String>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) content: Content,
    /// Size and digest in the normal form: the content's, unless a pass reads the member.
    pub(crate) normal: Summary,
    /// Size and digest once all manifest passes have read the member.
    pub(crate) manifest: Summary,
    /// The pass that made `manifest` of `normal`.
    pub(crate) manifest_pass: Option<Pass>,
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
            access: None,
            link: None,
            content,
            normal: summary,
            manifest: summary,
            manifest_pass: None,
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
pub(crate) struct Facts<'a>(Vec<(Pass, Fact<'a>)>);

#[derive(PartialEq, Eq)]
enum Fact<'a> {
    Bytes(Cow<'a, [u8]>),
    /// All facts of one pass, hashed.
    Sealed([u8; 32]),
}

impl<'a> Facts<'a> {
    pub(crate) fn add(&mut self, pass: Pass, value: impl Into<Cow<'a, [u8]>>) {
        self.0.push((pass, Fact::Bytes(value.into())));
    }

    pub(crate) fn append(&mut self, mut other: Facts<'a>) {
        self.0.append(&mut other.0);
    }

    /// Whether both sides have the same facts for `pass`.
    pub(crate) fn agree(&self, other: &Facts<'_>, pass: Pass) -> bool {
        self.of(pass).eq(other.of(pass))
    }

    /// Hashes the facts of each pass into one, so that an archive of many members fits in memory.
    pub(crate) fn seal(self) -> Facts<'static> {
        let mut hashes: BTreeMap<Pass, Sha256> = BTreeMap::new();
        for (pass, fact) in self.0 {
            let hash = hashes.entry(pass).or_default();
            match fact {
                Fact::Bytes(bytes) => {
                    hash.update(crate::fields::len64(&bytes).to_le_bytes());
                    hash.update(bytes);
                }
                Fact::Sealed(digest) => hash.update(digest),
            }
        }
        Facts(hashes.into_iter().map(|(pass, hash)| (pass, Fact::Sealed(hash.finalize().into()))).collect())
    }

    /// The same facts, without the bytes that they were read from.
    pub(crate) fn into_owned(self) -> Facts<'static> {
        let own = |(pass, fact)| match fact {
            Fact::Bytes(Cow::Owned(bytes)) => (pass, Fact::Bytes(Cow::Owned(bytes))),
            Fact::Bytes(Cow::Borrowed(bytes)) => (pass, Fact::Sealed(Sha256::digest(bytes).into())),
            Fact::Sealed(digest) => (pass, Fact::Sealed(digest)),
        };
        Facts(self.0.into_iter().map(own).collect())
    }

    fn of(&self, pass: Pass) -> impl Iterator<Item = &Fact<'a>> {
        self.0.iter().filter(move |(of, _)| *of == pass).map(|(_, fact)| fact)
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
        self.push(Finding { kind, member: member.map(names::display), detail: detail.into() });
    }

    /// Adds a fault of a member whose name is written for people already.
    pub(crate) fn add_shown(&mut self, kind: AnomalyKind, member: String, detail: String) {
        self.push(Finding { kind, member: Some(member), detail });
    }

    fn push(&mut self, finding: Finding) {
        if self.list.len() < self.list_max {
            self.list.push(finding);
        } else {
            self.more += 1;
            self.more_hash.update(format!("{finding:?}\n"));
        }
    }

    /// Takes the findings of a part of the archive, under `prefix`.
    pub(crate) fn absorb(&mut self, prefix: &[u8], part: Findings) {
        let rest = part.rest();
        for Finding { kind, member, detail } in part.list.into_iter().chain(rest) {
            let shown = names::display(prefix);
            let member = member.map_or_else(|| shown.trim_end_matches("!/").to_owned(), |member| format!("{shown}{member}"));
            self.push(Finding { kind, member: Some(names::clip(member)), detail });
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
