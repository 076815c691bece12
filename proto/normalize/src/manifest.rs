//! Generated files: what the packaging tools of each ecosystem write beside the sources.
//!
//! Checks a wheel's `RECORD` against the contents (lint), then gives each generated file that can be
//! read its size and digest in canonical form. `RECORD` is canonical in the normal form already; all
//! others only at the level `manifest`, where `RECORD` lists the canonical metadata too.
//! SPEC normal-form: Generated files.

use quorate_proto::comparison::AnomalyKind;

use crate::limits::{LimitError, Limits, Quantity};
use crate::pass::Pass;
use crate::reading::{Format, Kind, Member, Reading, Summary};
use files::Files;
use record::Record;

mod cargo_lock;
mod cargo_manifest;
mod files;
mod lines;
mod metadata;
mod record;
mod targets;
mod value;
mod vcs_info;

/// A kind of generated file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generated {
    /// A wheel's list of contents.
    Record,
    /// `METADATA` or `PKG-INFO`.
    Metadata(Pass),
    /// `SOURCES.txt`.
    SourcesList,
    /// `requires.txt`.
    Requires,
    /// The `Cargo.toml` that cargo writes into a package.
    CargoManifest,
    /// `Cargo.lock`.
    CargoLock,
    /// `.cargo_vcs_info.json`.
    VcsInfo,
}

/// Whether, and as what, a member of this name is read by [`apply`].
pub(crate) fn generated(format: Format, name: &[u8]) -> Option<Generated> {
    match format {
        Format::Wheel if is_dist_info(name, b"RECORD") => Some(Generated::Record),
        Format::Wheel if is_dist_info(name, b"METADATA") => Some(Generated::Metadata(Pass::WheelMetadata)),
        Format::Sdist => generated_in_sdist(name),
        Format::Crate => match below_root(name)? {
            b"Cargo.toml" => Some(Generated::CargoManifest),
            b"Cargo.lock" => Some(Generated::CargoLock),
            b".cargo_vcs_info.json" => Some(Generated::VcsInfo),
            _ => None,
        },
        Format::Wheel | Format::Npm | Format::Other => None,
    }
}

/// `<root>/PKG-INFO`, and what setuptools writes into a folder whose name ends in `.egg-info`.
fn generated_in_sdist(name: &[u8]) -> Option<Generated> {
    let slash = name.iter().rposition(|&byte| byte == b'/')?;
    let (folder, file) = (name.get(..slash)?, name.get(slash + 1..)?);
    let is_egg_info = folder.ends_with(b".egg-info");
    match file {
        b"PKG-INFO" if is_egg_info || !folder.contains(&b'/') => Some(Generated::Metadata(Pass::SdistMetadata)),
        b"SOURCES.txt" if is_egg_info => Some(Generated::SourcesList),
        b"requires.txt" if is_egg_info => Some(Generated::Requires),
        _ => None,
    }
}

/// `<one part>.dist-info/<file>`.
fn is_dist_info(name: &[u8], file: &[u8]) -> bool {
    let folder = name.strip_suffix(file).and_then(|rest| rest.strip_suffix(b".dist-info/"));
    folder.is_some_and(|folder| !folder.is_empty() && !folder.contains(&b'/'))
}

/// The name without its first part.
fn below_root(name: &[u8]) -> Option<&[u8]> {
    let slash = name.iter().position(|&byte| byte == b'/')?;
    name.get(slash + 1..)
}

/// Lints and canonicalises the generated files of a format, and lets go of their contents.
pub(crate) fn apply(reading: &mut Reading<'_>, format: Format, limits: &Limits) -> Result<(), LimitError> {
    let found: Vec<(usize, Generated)> =
        (0..).zip(&reading.members).filter_map(|(at, member)| Some((at, known(format, member)?))).collect();
    for &(at, _) in &found {
        let size = reading.members.get(at).map_or(0, |member| member.content.summary.size);
        Quantity::ManifestBytes.check(0, size, limits.manifest_bytes_max)?;
    }
    for (at, generated) in found {
        let Some((pass, canonical)) = canonical(reading, at, generated) else { continue };
        if let Some(member) = reading.members.get_mut(at) {
            member.set_manifest(Summary::of(&canonical), pass);
        }
    }
    if format == Format::Wheel {
        apply_record(reading);
    }
    for member in reading.members.iter_mut().filter(|member| !is_vcs_info(format, member)) {
        member.content.held = None;
    }
    Ok(())
}

fn known(format: Format, member: &Member<'_>) -> Option<Generated> {
    generated(format, &member.name).filter(|_| member.kind == Kind::File)
}

fn canonical(reading: &Reading<'_>, at: usize, generated: Generated) -> Option<(Pass, Vec<u8>)> {
    let member = reading.members.get(at)?;
    let content = member.content.held.as_deref()?;
    match generated {
        Generated::Record | Generated::VcsInfo => None,
        Generated::Metadata(pass) => Some((pass, metadata::canonical(content)?)),
        Generated::SourcesList => Some((Pass::SdistMetadata, lines::canonical_list(content)?)),
        Generated::Requires => Some((Pass::SdistMetadata, lines::canonical_sections(content)?)),
        Generated::CargoManifest => {
            let files = files_beside(reading, &member.name)?;
            Some((Pass::CrateManifest, cargo_manifest::canonical(content, &files)?))
        }
        Generated::CargoLock => Some((Pass::CrateLock, cargo_lock::canonical(content)?)),
    }
}

/// The files of the package whose manifest has this name, if cargo packaged it: it keeps the
/// manifest that it was given beside the one that it writes.
fn files_beside<'r>(reading: &'r Reading<'_>, manifest: &[u8]) -> Option<Files<'r>> {
    let root = manifest.strip_suffix(b"Cargo.toml")?;
    let files = reading.members.iter().filter(|member| member.kind != Kind::Directory);
    let names = files.filter_map(|member| std::str::from_utf8(member.name.strip_prefix(root)?).ok());
    Some(names.collect::<Files<'_>>()).filter(|files| files.contains("Cargo.toml.orig"))
}

fn is_vcs_info(format: Format, member: &Member<'_>) -> bool {
    known(format, member) == Some(Generated::VcsInfo)
}

/// Generated files that can only be compared with each other, because one side may leave out what the
/// other one says.
pub(crate) fn reconcile<'a>(published: &mut Reading<'a>, rebuilt: &mut Reading<'a>, format: Format) {
    let one = published.members.iter_mut().find(|member| is_vcs_info(format, member));
    let other = rebuilt.members.iter_mut().find(|member| is_vcs_info(format, member));
    let (Some(one), Some(other)) = (one, other) else { return };
    let contents = one.content.held.take().zip(other.content.held.take());
    let Some(canonical) = contents.and_then(|(one, other)| vcs_info::common(&one, &other)) else { return };
    for member in [one, other] {
        member.set_manifest(Summary::of(&canonical), Pass::CrateVcsInfo);
    }
}

fn apply_record(reading: &mut Reading<'_>) {
    let mut records = reading.members.iter().enumerate().filter(|(_, member)| is_dist_info(&member.name, b"RECORD"));
    let (first, second) = (records.next(), records.next());
    let Some((at, member)) = first else {
        reading.findings.add(AnomalyKind::ManifestMismatch, None, "wheel without a RECORD");
        return;
    };
    if second.is_some() {
        reading.findings.add(AnomalyKind::ManifestMismatch, None, "wheel with several RECORD files");
        return;
    }
    let name = member.name.clone();
    let parsed = member.content.held.as_deref().ok_or("content not readable").and_then(Record::parse);
    let record = match parsed {
        Ok(record) => record,
        Err(fault) => {
            reading.findings.add(AnomalyKind::ManifestMismatch, Some(&name), format!("RECORD cannot be read: {fault}"));
            return;
        }
    };
    record.lint(&name, &reading.members, &mut reading.findings);
    let (normal, manifest) = (record.canonical(), record.canonical_with(&reading.members));
    if let Some(member) = reading.members.get_mut(at) {
        member.set_normal(Summary::of(&normal));
        member.set_manifest(Summary::of(&manifest), Pass::WheelMetadata);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_generated(format: Format, names: &[&str], others: &[&str]) {
        for name in names {
            assert!(generated(format, name.as_bytes()).is_some(), "{name}");
        }
        for name in others {
            assert!(generated(format, name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn only_the_manifests_of_a_distribution_are_manifests() {
        let wheel = ["a-1.dist-info/RECORD", "a-1.dist-info/METADATA"];
        let not_wheel = ["RECORD", "x/a-1.dist-info/RECORD", ".dist-info/RECORD", "a-1.dist-info/WHEEL", "a-1/PKG-INFO"];
        assert_generated(Format::Wheel, &wheel, &not_wheel);
        let sdist = ["a-1/PKG-INFO", "a-1/a.egg-info/PKG-INFO", "a-1/src/a.egg-info/PKG-INFO", "a-1/a.egg-info/SOURCES.txt"];
        assert_generated(Format::Sdist, &sdist, &["a/b/PKG-INFO", "PKG-INFO", "a-1/setup.cfg", "a-1/SOURCES.txt", "a-1/requires.txt"]);
        let package = ["a-1/Cargo.toml", "a-1/Cargo.lock", "a-1/.cargo_vcs_info.json"];
        assert_generated(Format::Crate, &package, &["a-1/Cargo.toml.orig", "a-1/b/Cargo.toml", "Cargo.toml", "a-1/build.rs"]);
        assert_generated(Format::Npm, &[], &["package/package.json", "package/npm-shrinkwrap.json"]);
    }
}
