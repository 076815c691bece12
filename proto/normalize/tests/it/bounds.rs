//! Limits: each is an error that says what, where, how much and how much is allowed.

use std::error::Error as _;

use quorate_normalize::{CompareError, Input, Limits, Quantity, compare, lint};
use quorate_proto::comparison::{Level, Side};

use crate::build_tar::{Entry, clean_tar, gzip, tar};
use crate::build_zip::{Member, clean, zip};

fn quantity(bytes: &[u8], file_name: &str, limits: &Limits) -> Quantity {
    lint(bytes, file_name, Side::Published, limits).unwrap_err().quantity
}

#[test]
fn every_limit_is_an_error_of_its_own() {
    let limits = Limits::default();
    let wheel = crate::tampered_wheel::clean();
    let pax = tar(&[Entry::pax(b'x', &[("mtime", "1")]), Entry::file("a", b"")]);
    let cases = [
        (Quantity::FileBytes, clean(), "p.zip", Limits { file_bytes_max: 10, ..limits }),
        (Quantity::Members, clean(), "p.zip", Limits { members_max: 1, ..limits }),
        (Quantity::Members, clean_tar(), "p.tar", Limits { members_max: 1, ..limits }),
        (Quantity::MemberBytes, clean(), "p.zip", Limits { member_bytes_max: 3, ..limits }),
        (Quantity::MemberBytes, clean_tar(), "p.tar", Limits { member_bytes_max: 3, ..limits }),
        (Quantity::TotalBytes, clean(), "p.zip", Limits { total_bytes_max: 11, ..limits }),
        (Quantity::TotalBytes, gzip(&clean_tar(), 6), "p.tar.gz", Limits { total_bytes_max: 1000, ..limits }),
        (Quantity::ExtensionBytes, pax, "p.tar", Limits { extension_bytes_max: 5, ..limits }),
        (Quantity::ManifestBytes, wheel, crate::tampered_wheel::WHEEL, Limits { manifest_bytes_max: 5, ..limits }),
    ];
    for (expected, bytes, file_name, limits) in cases {
        assert_eq!(quantity(&bytes, file_name, &limits), expected);
    }
}

#[test]
fn a_limit_names_its_side_and_its_numbers() {
    let (published, rebuilt) = (clean(), zip(&[Member::stored("big", &[0; 4000])]));
    let limits = Limits { member_bytes_max: 3999, ..Limits::default() };
    let error = compare(&Input { published: &published, rebuilt: &rebuilt, file_name: "p.zip" }, &limits).unwrap_err();
    let CompareError::Limit { side, .. } = &error else { panic!("{error}") };
    assert_eq!(*side, Side::Rebuilt);
    assert_eq!(error.source().unwrap().to_string(), "member size at offset 0: got 4000, limit 3999");
}

#[test]
fn equal_bytes_are_byte_even_past_a_limit() {
    let bytes = clean();
    let limits = Limits { members_max: 1, ..Limits::default() };
    let comparison = compare(&Input { published: &bytes, rebuilt: &bytes, file_name: "p.zip" }, &limits).unwrap();
    assert_eq!((comparison.level, comparison.published.normal), (Level::Byte, None));
}

#[test]
fn a_broken_rebuilt_file_is_our_own_fault() {
    let error = compare(&Input { published: &clean(), rebuilt: b"x", file_name: "p.zip" }, &Limits::default()).unwrap_err();
    assert!(matches!(error, CompareError::UnreadableRebuilt { anomalies } if !anomalies.is_empty()));
}

#[test]
fn a_flood_of_anomalies_is_counted_and_still_compared() {
    let flood = |last: &str| {
        let mut members: Vec<Member> = (0..300).map(|_| Member::stored("same", b"")).collect();
        members.push(Member::stored(last, b""));
        members.push(Member::stored(last, b""));
        zip(&members)
    };
    let limits = Limits { anomalies_max: 100, ..Limits::default() };
    let anomalies = lint(&flood("x"), "p.zip", Side::Published, &limits).unwrap();
    assert_eq!(anomalies.len(), 101);
    assert!(anomalies[100].detail.starts_with("200 more anomalies"), "{}", anomalies[100].detail);
    assert_ne!(anomalies, lint(&flood("y"), "p.zip", Side::Published, &limits).unwrap());
}

#[test]
fn every_truncation_of_an_archive_is_refused_or_different() {
    for (file_name, bytes) in [("p.zip", clean()), ("p.tar", clean_tar()), ("p.tar.gz", gzip(&clean_tar(), 6))] {
        for len in 0..bytes.len() {
            let comparison = crate::attack::compared(&bytes[..len], &bytes, file_name);
            assert_eq!(comparison.level, Level::Different, "{file_name} cut to {len}");
        }
    }
}

#[test]
fn names_of_a_thousand_parts_are_absurd_and_quick() {
    let deep = |n: u32| Member::stored(&format!("{n}{}", "/a".repeat(30_000)), b"");
    let bytes = zip(&(0..100).map(deep).collect::<Vec<_>>());
    let anomalies = lint(&bytes, "p.zip", Side::Published, &Limits::default()).unwrap();
    assert_eq!(anomalies.len(), 100, "{anomalies:?}");
}
