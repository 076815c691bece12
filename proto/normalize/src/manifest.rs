//! Generated manifests: a wheel's `RECORD` and `METADATA`, a source distribution's `PKG-INFO`.
//!
//! Checks `RECORD` against the contents (lint), then gives each manifest that can be read its size
//! and digest in canonical form. `RECORD` is canonical in the normal form already; the order of
//! metadata fields only at the level `manifest`, where `RECORD` lists the canonical metadata too.
//! SPEC normal-form: Generated files.

use quorate_proto::comparison::AnomalyKind;

use crate::limits::{LimitError, Limits, Quantity};
use crate::reading::{Reading, Summary};
use record::Record;

mod metadata;
mod record;

/// Whether the content of a member of this name is held for [`apply`].
pub(crate) fn is_manifest(name: &[u8]) -> bool {
    is_dist_info(name, b"RECORD") || is_dist_info(name, b"METADATA") || is_pkg_info(name)
}

/// Lints and canonicalises the manifests of a file of this name, and lets go of their contents.
pub(crate) fn apply(reading: &mut Reading<'_>, file_name: &str, limits: &Limits) -> Result<(), LimitError> {
    for member in reading.members.iter().filter(|member| is_manifest(&member.name)) {
        Quantity::ManifestBytes.check(0, member.content.summary.size, limits.manifest_bytes_max)?;
    }
    let name = file_name.to_ascii_lowercase();
    let ends = |suffix: &str| name.ends_with(suffix);
    if ends(".whl") {
        apply_metadata(reading, |name| is_dist_info(name, b"METADATA"));
        apply_record(reading);
    } else if ends(".tar.gz") || ends(".zip") {
        apply_metadata(reading, is_pkg_info);
    }
    for member in &mut reading.members {
        member.content.held = None;
    }
    Ok(())
}

/// `<one part>.dist-info/<file>`.
fn is_dist_info(name: &[u8], file: &[u8]) -> bool {
    let folder = name.strip_suffix(file).and_then(|rest| rest.strip_suffix(b".dist-info/"));
    folder.is_some_and(|folder| !folder.is_empty() && !folder.contains(&b'/'))
}

/// `<root>/PKG-INFO`, or `PKG-INFO` in a folder whose name ends in `.egg-info`.
fn is_pkg_info(name: &[u8]) -> bool {
    let Some(folder) = name.strip_suffix(b"/PKG-INFO") else { return false };
    !folder.contains(&b'/') || folder.ends_with(b".egg-info")
}

fn apply_metadata(reading: &mut Reading<'_>, is_metadata: impl Fn(&[u8]) -> bool) {
    for member in reading.members.iter_mut().filter(|member| is_metadata(&member.name)) {
        let canonical = member.content.held.as_deref().and_then(metadata::canonical);
        if let Some(canonical) = canonical {
            member.manifest = Summary::of(&canonical);
        }
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
        member.normal = Summary::of(&normal);
        member.manifest = Summary::of(&manifest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_manifests_of_a_distribution_are_manifests() {
        for name in
            ["a-1.dist-info/RECORD", "a-1.dist-info/METADATA", "a-1/PKG-INFO", "a-1/a.egg-info/PKG-INFO", "a-1/src/a.egg-info/PKG-INFO"]
        {
            assert!(is_manifest(name.as_bytes()), "{name}");
        }
        for name in ["RECORD", "x/a-1.dist-info/RECORD", ".dist-info/RECORD", "a/b/PKG-INFO", "PKG-INFO", "a-1.dist-info/WHEEL"] {
            assert!(!is_manifest(name.as_bytes()), "{name}");
        }
    }
}
