//! Attacks on what a wheel says about itself.

use data_encoding::BASE64URL_NOPAD;
use quorate_proto::comparison::{DifferenceClass, Executable};
use sha2::{Digest as _, Sha256};

use crate::attack::{assert_difference_is_seen, attacks, compared};
use crate::build_zip::{Member, zip};

pub(crate) const WHEEL: &str = "p-1-py3-none-any.whl";
pub(crate) const METADATA: &str = "Metadata-Version: 2.1\nName: p\nVersion: 1\nClassifier: A\nClassifier: B\n\nbody\n";

pub(crate) fn row(name: &str, content: &str) -> String {
    format!("{name},sha256={},{}\n", BASE64URL_NOPAD.encode(&Sha256::digest(content)), content.len())
}

pub(crate) fn files() -> Vec<(&'static str, &'static str)> {
    vec![("p/__init__.py", "x = 1\n"), ("p-1.dist-info/METADATA", METADATA), ("p-1.dist-info/WHEEL", "Wheel-Version: 1.0\n")]
}

pub(crate) fn record(files: &[(&str, &str)]) -> String {
    files.iter().map(|(name, content)| row(name, content)).collect::<String>() + "p-1.dist-info/RECORD,,\n"
}

/// A wheel of these files with this `RECORD`.
pub(crate) fn wheel(files: &[(&str, &str)], record: &str) -> Vec<u8> {
    let files = files.iter().copied().chain([("p-1.dist-info/RECORD", record)]);
    zip(&files.map(|(name, content)| Member::deflated(name, content.as_bytes())).collect::<Vec<_>>())
}

pub(crate) fn clean() -> Vec<u8> {
    wheel(&files(), &record(&files()))
}

fn with_record(change: impl Fn(String) -> String) -> Vec<u8> {
    wheel(&files(), &change(record(&files())))
}

fn unlisted() -> Vec<u8> {
    let mut more = files();
    more.push(("p/evil.py", "evil\n"));
    wheel(&more, &record(&files()))
}

attacks! {
    wheel_file_missing_from_record_is_named: WHEEL, unlisted(), clean() => ManifestMismatch;
    wheel_hash_lie_is_named: WHEEL, wheel(&[("p/__init__.py", "x = 2\n"), files()[1], files()[2]], &record(&files())), clean() => ManifestMismatch;
    wheel_size_lie_is_named: WHEEL, with_record(|record| record.replace(",6\n", ",7\n")), clean() => ManifestMismatch;
    wheel_listed_file_that_is_missing_is_named: WHEEL, with_record(|record| record + &row("p/gone.py", "")), clean() => ManifestMismatch;
    wheel_file_without_hash_is_named: WHEEL, with_record(|record| record.replace("p-1.dist-info/WHEEL,sha256=", "p-1.dist-info/WHEEL,,\nx,sha256=")), clean() => ManifestMismatch;
    wheel_weak_hash_is_named: WHEEL, with_record(|record| record.replacen("sha256=", "md5=", 1)), clean() => ManifestMismatch;
    wheel_file_listed_twice_is_named: WHEEL, with_record(|record| record + &row("p/__init__.py", "x = 1\n")), clean() => ManifestMismatch;
    wheel_record_that_is_no_list_is_named: WHEEL, with_record(|_| "evil\n".to_owned()), clean() => ManifestMismatch;
    wheel_record_that_hashes_itself_is_named: WHEEL, with_record(|record| record.replace("RECORD,,", "RECORD,sha256=AA,1")), clean() => ManifestMismatch;
    wheel_without_record_is_named: WHEEL, zip(&[Member::deflated("p/__init__.py", b"x = 1\n")]), clean() => ManifestMismatch;
    wheel_with_two_records_is_named: WHEEL, wheel(&[&files()[..], &[("q-1.dist-info/RECORD", "")]].concat(), &record(&[&files()[..], &[("q-1.dist-info/RECORD", "")]].concat())), clean() => ManifestMismatch;
}

#[test]
fn wheel_backdoor_with_a_right_record_is_a_difference_of_code() {
    let mut more = files();
    more.push(("p/evil.py", "evil\n"));
    let backdoored = wheel(&more, &record(&more));
    assert_difference_is_seen(&backdoored, &clean(), WHEEL, DifferenceClass::OnlyPublished);
    let comparison = compared(&backdoored, &clean(), WHEEL);
    assert!(comparison.anomalies.is_empty());
    let added = comparison.differences.iter().find(|found| found.difference.member == "p/evil.py").unwrap();
    assert_eq!(added.difference.executable, Executable::Code);
    assert!(added.difference.published.is_some() && added.difference.rebuilt.is_none());
}

#[test]
fn wheel_changed_metadata_field_is_seen() {
    let metadata = METADATA.replace("Classifier: B", "Requires-Dist: evil");
    let changed = [files()[0], ("p-1.dist-info/METADATA", &metadata), files()[2]];
    assert_difference_is_seen(&wheel(&changed, &record(&changed)), &clean(), WHEEL, DifferenceClass::Content);
}
