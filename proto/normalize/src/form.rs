//! The normal form: a canonical listing of members, and its digest.
//!
//! One line a member, sorted by name; two archives are equal at the level `normal` exactly when
//! these bytes are. SPEC normal-form: The listing.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use quorate_proto::comparison::{Anomaly, Side};
use quorate_proto::{Digest, NormalDigest};
use sha2::{Digest as _, Sha256};

use crate::archive;
use crate::limits::{LimitError, Limits};
use crate::names;
use crate::reading::{Kind, Member, Reading, State, Summary};

/// First word of every listing: the domain of the digest and the version of the profile.
const DOMAIN: &str = "quorate-normal-form/1";

/// The same for listings with generated files in canonical form.
const MANIFEST_DOMAIN: &str = "quorate-manifest-form/1";

/// The normal form of one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalForm {
    /// The canonical listing, ASCII text.
    pub listing: Vec<u8>,
    /// SHA-256 over the listing.
    pub digest: NormalDigest,
    /// What the lint found. A normal form does not excuse it.
    pub anomalies: Vec<Anomaly>,
}

/// Why an archive has no normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It goes past a limit.
    #[error("archive goes past a limit")]
    Limit(#[from] LimitError),
    /// It is of a kind that is not looked into.
    #[error("`{file_name}` is not an archive that is looked into")]
    Opaque {
        /// The file's name.
        file_name: String,
    },
    /// Some of it cannot be read.
    #[error("archive cannot be read to its end ({} anomalies)", anomalies.len())]
    Unreadable {
        /// What the lint found.
        anomalies: Vec<Anomaly>,
    },
}

/// Reads one archive into its normal form. The file name decides how it is read.
pub fn normal_form(bytes: &[u8], file_name: &str, limits: &Limits) -> Result<NormalForm, FormError> {
    let reading = archive::read(bytes, file_name, limits, None)?;
    let anomalies = reading.findings.anomalies(Side::Published);
    match (listing(&reading), reading.state) {
        (Some(listing), _) => Ok(NormalForm { digest: digest(&listing), listing, anomalies }),
        (None, State::Complete) => Err(FormError::Opaque { file_name: names::display(file_name.as_bytes()) }),
        (None, _) => Err(FormError::Unreadable { anomalies }),
    }
}

/// Digests of the bytes of every file in one archive, as far as it can be read. The file name decides how; both
/// parts of a Debian package are looked into, other archives in an archive are files.
pub fn content_digests(bytes: &[u8], file_name: &str, limits: &Limits) -> Result<BTreeSet<Digest>, LimitError> {
    Ok(archive::read(bytes, file_name, limits, None)?.members.iter().filter_map(content_digest).collect())
}

/// The digest of a listing.
pub(crate) fn digest(listing: &[u8]) -> NormalDigest {
    NormalDigest::from_bytes(Sha256::digest(listing).into())
}

/// The listing of what was read, if all of it was.
pub(crate) fn listing(reading: &Reading<'_>) -> Option<Vec<u8>> {
    let mut listing = Vec::new();
    write_listing(reading, DOMAIN, in_normal, |line| listing.extend_from_slice(line)).then_some(listing)
}

/// The digest of the listing, without the listing.
pub(crate) fn normal_digest(reading: &Reading<'_>) -> Option<NormalDigest> {
    digest_of(reading, DOMAIN, in_normal)
}

/// The digest of the listing with generated files in canonical form.
pub(crate) fn manifest_digest(reading: &Reading<'_>) -> Option<NormalDigest> {
    digest_of(reading, MANIFEST_DOMAIN, in_manifest)
}

fn digest_of(reading: &Reading<'_>, domain: &str, summary: fn(&Member<'_>) -> Summary) -> Option<NormalDigest> {
    let mut hash = Sha256::new();
    write_listing(reading, domain, summary, |line| hash.update(line)).then(|| NormalDigest::from_bytes(hash.finalize().into()))
}

/// Hands out the lines. False, with none of them, if there is no listing.
fn write_listing(reading: &Reading<'_>, domain: &str, summary: fn(&Member<'_>) -> Summary, mut out: impl FnMut(&[u8])) -> bool {
    if reading.state != State::Complete || reading.container == crate::Container::Opaque {
        return false;
    }
    let mut line = format!("{domain} {}\n", reading.container.word());
    out(line.as_bytes());
    for (_, member) in reading.by_name() {
        line.clear();
        write_line(member, summary(member), &mut line);
        out(line.as_bytes());
    }
    true
}

fn write_line(member: &Member<'_>, Summary { size, digest }: Summary, line: &mut String) {
    line.push(letter(member.kind));
    line.push_str(if member.executable { " x" } else { " -" });
    if let Some(access) = &member.access {
        line.push(':');
        escape(access.as_bytes(), line);
    }
    // Writing to a String cannot fail.
    let _ = write!(line, " {size} ");
    data_encoding::HEXLOWER.encode_append(digest.as_bytes(), line);
    match &member.link {
        Some(target) => {
            line.push_str(" =");
            escape(target, line);
        }
        None => line.push_str(" -"),
    }
    line.push(' ');
    escape(&member.name, line);
    line.push('\n');
}

fn in_normal(member: &Member<'_>) -> Summary {
    member.normal()
}

fn in_manifest(member: &Member<'_>) -> Summary {
    member.manifest()
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => 'f',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Hardlink => 'h',
        Kind::Special => 's',
        Kind::Archive => 'a',
    }
}

/// Printable ASCII as it is; the space, `%` and all else as `%XX`.
fn escape(bytes: &[u8], text: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// The members of two archives side by side, by name, and by order among members of one name.
pub(crate) struct Pairing<'r, 'a> {
    pub(crate) both: Vec<Pair<'r, 'a>>,
    pub(crate) only_published: Vec<&'r Member<'a>>,
    pub(crate) only_rebuilt: Vec<&'r Member<'a>>,
}

/// A member that both sides have.
pub(crate) struct Pair<'r, 'a> {
    pub(crate) published: &'r Member<'a>,
    pub(crate) rebuilt: &'r Member<'a>,
    pub(crate) published_index: u32,
    pub(crate) rebuilt_index: u32,
}

impl<'r, 'a> Pairing<'r, 'a> {
    pub(crate) fn of(published: &'r Reading<'a>, rebuilt: &'r Reading<'a>) -> Self {
        let mut pairing = Self { both: Vec::new(), only_published: Vec::new(), only_rebuilt: Vec::new() };
        let (mut ours, mut theirs) = (published.by_name().peekable(), rebuilt.by_name().peekable());
        loop {
            // Among members of one name the first of each side stand together, then the second.
            let order = match (ours.peek(), theirs.peek()) {
                (Some((_, one)), Some((_, other))) => one.name.cmp(&other.name),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let one = if order == Ordering::Greater { None } else { ours.next() };
            let other = if order == Ordering::Less { None } else { theirs.next() };
            match (one, other) {
                (Some((published_index, published)), Some((rebuilt_index, rebuilt))) => {
                    pairing.both.push(Pair { published, rebuilt, published_index, rebuilt_index });
                }
                (one, other) => {
                    pairing.only_published.extend(one.map(|(_, member)| member));
                    pairing.only_rebuilt.extend(other.map(|(_, member)| member));
                }
            }
        }
        pairing
    }
}

/// Digest of a member's content as results state it: none for what has no content
/// or one that cannot be read.
pub(crate) fn content_digest(member: &Member<'_>) -> Option<Digest> {
    (member.kind == Kind::File && member.content.is_read).then_some(member.content.summary.digest)
}
