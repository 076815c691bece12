//! Debian binary packages: a version, the control archive and the files, in this order.
//!
//! Both archives are parts of the package and read with it; their members are named as
//! `data.tar.xz!/usr/bin/x`. Files are installed as root with their modes and owners, so neither is
//! dropped. SPEC normal-form: Debian packages.

use std::collections::BTreeSet;

use quorate_proto::comparison::AnomalyKind;
use sha2::{Digest as _, Sha256};

use crate::ar::{self, Raw};
use crate::archive;
use crate::fields::{count64, len64};
use crate::limits::{LimitError, Limits, Quantity};
use crate::names::{self, Target};
use crate::reading::{Codec, Container, Kind, Member, Reading, State, describe};
use crate::tar::Style;
use crate::unpack::{Hold, Sink};

/// What stands between the name of an archive and that of a member in it.
pub(crate) const JOINT: &[u8] = b"!/";

const VERSION_NAME: &[u8] = b"debian-binary";
const VERSION: &[u8] = b"2.0\n";

/// Names of the three members but for how they are compressed, in their order.
const ORDER: [&[u8]; 3] = [VERSION_NAME, b"control.tar", b"data.tar"];

/// Reads a whole package into `reading`.
pub(crate) fn read<'a>(bytes: &'a [u8], limits: &Limits, hold: Hold<'_>, reading: &mut Reading<'a>) -> Result<(), LimitError> {
    let members = ar::walk(bytes, limits, reading)?;
    lint_order(&members, reading);
    let mut skeleton = Sha256::new();
    let mut parts = Vec::new();
    for raw in members {
        skeleton.update(len64(&raw.name).to_le_bytes());
        skeleton.update(&raw.name);
        if let Some((style, codec)) = part_of(&raw.name) {
            let part = read_part(&raw, style, codec, limits, hold, reading)?;
            skeleton.update(part.stream.unwrap_or_default());
            reading.members.push(outer_member(&raw, Kind::Archive, hold));
            parts.push(part);
        } else {
            let member = outer_member(&raw, Kind::File, hold);
            skeleton.update(member.content.summary.digest.as_bytes());
            reading.members.push(member);
        }
    }
    names::lint(reading, Target::Folder);
    let names: Vec<Vec<u8>> = archives(reading).collect();
    for ((rank, name), part) in (1..).zip(names).zip(parts) {
        reading.absorb(&[name.as_slice(), JOINT].concat(), rank, part);
    }
    reading.stream = Some(skeleton.finalize().into());
    Ok(())
}

fn archives(reading: &Reading<'_>) -> impl Iterator<Item = Vec<u8>> {
    reading.members.iter().filter(|member| member.kind == Kind::Archive).map(|member| member.name.to_vec())
}

/// The version, the control archive, the files, and nothing else: other readers take the first of
/// each that they find, or refuse.
fn lint_order(members: &[Raw<'_>], reading: &mut Reading<'_>) {
    for (at, raw) in members.iter().enumerate() {
        let expected = ORDER.get(at).copied();
        let is_right = expected.is_some_and(|stem| raw.name == stem || (at > 0 && stem_of(&raw.name) == stem));
        if !is_right {
            let what = expected.map_or("nothing".to_owned(), names::display);
            reading.findings.add(AnomalyKind::NonCanonical, Some(&raw.name), format!("stands where {what} should, {}", describe(raw.data)));
        }
        if raw.name == VERSION_NAME && raw.data != VERSION {
            reading.findings.add(
                AnomalyKind::UnsupportedFeature,
                Some(&raw.name),
                format!("format other than 2.0: {}", describe(raw.data)),
            );
        }
        if ORDER.iter().skip(1).any(|stem| raw.name.starts_with(stem)) && part_of(&raw.name).is_none() {
            reading.partial();
            reading.findings.add(AnomalyKind::UnsupportedFeature, Some(&raw.name), "compressed in an unknown way");
        }
    }
    for stem in ORDER.iter().skip(members.len()) {
        reading.partial();
        reading.findings.add(AnomalyKind::Truncated, None, format!("package without {}", names::display(stem)));
    }
}

/// The name without the ending that says how it is compressed.
fn stem_of(name: &[u8]) -> &[u8] {
    let endings: [&[u8]; 4] = [b".gz", b".xz", b".zst", b".bz2"];
    endings.iter().find_map(|ending| name.strip_suffix(*ending)).unwrap_or(name)
}

/// How a member is read that is an archive.
fn part_of(name: &[u8]) -> Option<(Style, Option<Codec>)> {
    let stem = stem_of(name);
    let style = match ORDER.iter().position(|known| *known == stem)? {
        1 => Style::DebPart,
        2 => Style::DebFiles,
        _ => return None,
    };
    let Container::Tar(codec) = Container::of(std::str::from_utf8(name).ok()?) else { return None };
    Some((style, codec))
}

fn outer_member<'a>(raw: &Raw<'a>, kind: Kind, hold: Hold<'_>) -> Member<'a> {
    let mut sink = Sink::new(hold.bytes_max(&raw.name));
    if kind == Kind::File {
        sink.write(raw.data);
    }
    let mut member = Member::new(&raw.name, kind, sink.finish());
    member.executable = kind == Kind::File && raw.mode & 0o111 != 0;
    member.position = raw.offset;
    member.facts = raw.facts.seal();
    member
}

fn read_part<'a>(
    raw: &Raw<'a>,
    style: Style,
    codec: Option<Codec>,
    limits: &Limits,
    hold: Hold<'_>,
    whole: &Reading<'_>,
) -> Result<Reading<'a>, LimitError> {
    let mut part = Reading::new(Container::Tar(codec), limits.anomalies_max);
    let prefix = [&raw.name, JOINT].concat();
    let inner: BTreeSet<Vec<u8>>;
    let hold = match hold {
        Hold::Only(names, bytes_max) => {
            inner = names.iter().filter_map(|name| name.strip_prefix(prefix.as_slice())).map(<[u8]>::to_vec).collect();
            Hold::Only(&inner, bytes_max)
        }
        Hold::Manifests(..) => hold,
    };
    archive::read_tar((raw.data, codec), (style, None), limits, hold, &mut part)?;
    Quantity::Members.check(raw.offset, count64(&whole.members) + count64(&part.members), limits.members_max)?;
    let target = if style == Style::DebFiles { Target::Root } else { Target::Folder };
    lint_part(&mut part, target);
    Ok(part)
}

/// The root of the archive has a name that would be odd anywhere else.
fn lint_part(part: &mut Reading<'_>, target: Target) {
    let roots: Vec<usize> =
        (0..part.members.len()).filter(|&at| part.members.get(at).is_some_and(|member| *member.name == *b".")).collect();
    match roots.as_slice() {
        [at] if part.members.get(*at).is_some_and(|member| member.kind == Kind::Directory) => {
            let root = part.members.remove(*at);
            names::lint(part, target);
            part.members.insert(*at, root);
        }
        _ => names::lint(part, target),
    }
    if part.state == State::Complete && part.members.is_empty() {
        part.findings.add(AnomalyKind::NonCanonical, None, "archive without members");
    }
}
