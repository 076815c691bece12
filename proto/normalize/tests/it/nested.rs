//! Archives inside archives.

use quorate_normalize::{Input, Limits, compare};
use quorate_proto::comparison::{AnomalyKind, DifferenceClass, Level, Risk};

use crate::attack::compared;
use crate::build_formats::{deb_files, deb_of};
use crate::build_tar::{Entry, gzip, tar};
use crate::build_zip::{Member, zip};

/// A zip with one file, packed at some time.
pub(crate) fn inner(content: &[u8], time: u16) -> Vec<u8> {
    zip(&[Member::stored("a.py", content).both(|header| header.time = time)])
}

pub(crate) fn outer(inner: &[u8]) -> Vec<u8> {
    gzip(&tar(&[Entry::file("p-1/lib/inner.zip", inner), Entry::file("p-1/b", b"b")]), 6)
}

#[test]
fn an_archive_inside_is_compared_as_what_it_is() {
    let comparison = compared(&outer(&inner(b"a", 1)), &outer(&inner(b"a", 2)), "p-1.tar.gz");
    assert_eq!(comparison.level, Level::Manifest, "{comparison:#?}");
    let names: Vec<&str> = comparison.passes.iter().map(|used| used.name.as_str()).collect();
    assert_eq!(names, ["zip-times", "gzip-compression", "nested-archive"]);
    assert_eq!(comparison.passes[2].risk, Risk::Low);
    assert_eq!(comparison.published.shared(), comparison.rebuilt.shared());
}

#[test]
fn a_difference_inside_is_named_by_its_path() {
    let comparison = compared(&outer(&inner(b"evil", 1)), &outer(&inner(b"a", 1)), "p-1.tar.gz");
    assert_eq!(comparison.level, Level::Different);
    let found: Vec<_> = comparison.differences.iter().map(|found| (found.difference.member.as_str(), found.difference.class)).collect();
    assert_eq!(found, [("p-1/lib/inner.zip!/a.py", DifferenceClass::Content)]);
    assert!(comparison.differences[0].detail.is_some());
}

#[test]
fn an_anomaly_inside_is_an_anomaly() {
    let hidden = [inner(b"a", 1), b"evil".to_vec()].concat();
    for (published, rebuilt) in [(&hidden, &inner(b"a", 1)), (&inner(b"a", 1), &hidden)] {
        let comparison = compared(&outer(published), &outer(rebuilt), "p-1.tar.gz");
        assert_eq!(comparison.level, Level::Different);
        let named = comparison.anomalies.iter().find(|anomaly| anomaly.kind == AnomalyKind::TrailingData).unwrap();
        assert_eq!(named.member.as_deref(), Some("p-1/lib/inner.zip"));
    }
    let both = compared(&outer(&[inner(b"a", 1), b"x".to_vec()].concat()), &outer(&[inner(b"a", 2), b"x".to_vec()].concat()), "p-1.tar.gz");
    assert_eq!((both.level, both.anomalies.len()), (Level::Manifest, 2));
}

#[test]
fn the_depth_is_bounded() {
    let wrap = |bytes: Vec<u8>| zip(&[Member::stored("x.zip", &bytes)]);
    let deep = |depth: u32, time| (0..depth).fold(inner(b"a", time), |bytes, _| wrap(bytes));
    for (depth, level) in [(1, Level::Manifest), (3, Level::Different), (40, Level::Different)] {
        assert_eq!(compared(&deep(depth, 1), &deep(depth, 2), "p.zip").level, level, "{depth}");
    }
}

#[test]
fn limits_count_what_is_inside() {
    let many = |time| {
        let members: Vec<Member> = (0..20).map(|n| Member::stored(&format!("{n}.zip"), &inner(&[b'a'; 100], time))).collect();
        zip(&members)
    };
    let (published, rebuilt) = (many(1), many(2));
    let input = Input { published: &published, rebuilt: &rebuilt, file_name: "p.zip" };
    assert_eq!(compare(&input, &Limits::default()).unwrap().level, Level::Manifest);
    assert!(compare(&input, &Limits { members_max: 30, ..Limits::default() }).is_err());
    assert!(compare(&input, &Limits { total_bytes_max: 5000, ..Limits::default() }).is_err());
}

#[test]
fn an_archive_that_cannot_be_read_inside_counts_by_its_bytes() {
    let comparison = compared(&outer(b"no zip"), &outer(b"nor this"), "p-1.tar.gz");
    assert_eq!(comparison.level, Level::Different);
    assert_eq!(comparison.differences[0].difference.member, "p-1/lib/inner.zip");
}

#[test]
fn archives_in_debian_packages_are_looked_into() {
    let with = |time| {
        let mut files = deb_files();
        files.push(Entry::file("./usr/doc.gz", &crate::build_tar::gzip_with(b"doc", 6, &[0x1f, 0x8b, 8, 0, time, 0, 0, 0, 2, 255])));
        deb_of(&files)
    };
    assert_eq!(compared(&with(1), &with(2), "x.deb").level, Level::Manifest);
}
