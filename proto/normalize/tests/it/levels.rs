//! Which level and which passes honest differences reach.

use quorate_normalize::{Codec, Container, Detail, FormError, Input, Limits, Unshown, compare, normal_form};
use quorate_proto::comparison::{DifferenceClass, Level, Risk};

use crate::attack::compared;
use crate::build_tar::{Entry, clean_entries, clean_tar, gzip, gzip_with, tar};
use crate::build_zip::{Frame, Member, clean, clean_members, framed, zip, zip64_end};
use crate::tampered_wheel::{METADATA, WHEEL, files, record, wheel};

/// Asserts level and passes, both ways round.
fn assert_level(published: &[u8], rebuilt: &[u8], file_name: &str, level: Level, passes: &[(&str, u32)]) {
    for (published, rebuilt) in [(published, rebuilt), (rebuilt, published)] {
        let comparison = compared(published, rebuilt, file_name);
        assert_eq!(comparison.level, level, "{comparison:#?}");
        let used: Vec<(&str, u32)> = comparison.passes.iter().map(|pass| (pass.name.as_str(), pass.members)).collect();
        assert_eq!(used, passes);
        assert!(comparison.differences.is_empty() || level == Level::Different);
        if [Level::Byte, Level::Stream, Level::Normal].contains(&level) {
            assert_eq!(comparison.published.normal, comparison.rebuilt.normal);
            assert!(comparison.published.normal.is_some());
        }
    }
}

fn changed(change: impl Fn(Member) -> Member) -> Vec<u8> {
    zip(&clean_members().into_iter().map(change).collect::<Vec<_>>())
}

#[test]
fn equal_bytes_are_byte() {
    assert_level(&clean(), &clean(), "p.zip", Level::Byte, &[]);
}

#[test]
fn each_zip_pass_is_reported_alone() {
    let cases: [(&str, u32, Vec<u8>); 8] = [
        ("zip-times", 2, changed(|member| member.both(|header| header.time ^= 1))),
        ("zip-host-and-version", 2, changed(|member| member.with(|member| member.made_by = 0x031e))),
        ("zip-layout", 1, framed(&clean_members(), &Frame { zip64: Some(zip64_layout), ..Frame::default() })),
        ("zip-compression", 1, zip(&[Member::stored("pkg/a.py", b"print('a')\n"), clean_members()[1].clone()])),
        ("zip-extra-timestamps", 2, changed(|member| member.with(|member| member.central.extra = b"\x55\x54\x05\0\x01abcd".to_vec()))),
        ("zip-extra-owner", 2, changed(|member| member.with(|member| member.local.extra = b"\x75\x78\x01\0\x01".to_vec()))),
        ("member-order", 2, zip(&clean_members().into_iter().rev().collect::<Vec<_>>())),
        ("mode-bits", 2, changed(|member| member.with(|member| member.external = 0o100_600 << 16))),
    ];
    for (pass, members, bytes) in cases {
        if pass == "zip-layout" {
            // The version fields of the zip64 record are facts of another pass.
            assert_level(&bytes, &clean(), "p.zip", Level::Normal, &[("zip-host-and-version", 1), (pass, members)]);
        } else {
            assert_level(&bytes, &clean(), "p.zip", Level::Normal, &[(pass, members)]);
        }
    }
    let streamed = changed(Member::streamed);
    assert_level(&streamed, &clean(), "p.zip", Level::Normal, &[("zip-layout", 2)]);
}

fn zip64_layout(count: u64, size: u64, start: u64) -> Vec<u8> {
    zip64_end(count, size, start)
}

#[test]
fn each_tar_pass_is_reported_alone() {
    let changed = |change: fn(&mut Entry)| tar(&clean_entries().into_iter().map(|entry| entry.with(change)).collect::<Vec<_>>());
    let commented = |comment| tar(&[&[Entry::pax(b'g', &[("comment", comment)])], &clean_entries()[..]].concat());
    assert_level(&changed(|entry| entry.mtime[5] = b'7'), &clean_tar(), "p.tar", Level::Normal, &[("tar-times", 2)]);
    assert_level(&changed(|entry| entry.user = b"me".to_vec()), &clean_tar(), "p.tar", Level::Normal, &[("tar-owner", 2)]);
    assert_level(&changed(|entry| entry.magic = b"ustar  \0".to_vec()), &clean_tar(), "p.tar", Level::Normal, &[("tar-format", 2)]);
    assert_level(&changed(|entry| entry.mode[6] = b'0'), &clean_tar(), "p.tar", Level::Normal, &[("mode-bits", 2)]);
    assert_level(&commented("a"), &commented("b"), "p.tar", Level::Normal, &[("tar-comment", 1)]);
    let padded = [clean_tar(), vec![0; 512]].concat();
    assert_level(&padded, &clean_tar(), "p.tar", Level::Normal, &[("tar-format", 1)]);
}

#[test]
fn long_names_are_one_name_however_they_are_written() {
    let name = format!("p-1/{}", "n".repeat(120));
    let gnu = [Entry::new("././@LongLink", b'L', format!("{name}\0").as_bytes()), Entry::file(&name[..100], b"x")];
    let pax = [Entry::pax(b'x', &[("path", &name)]), Entry::file(&name[..100], b"x")];
    let comparison = compared(&tar(&gnu), &tar(&pax), "p.tar");
    assert_eq!((comparison.level, comparison.anomalies.len()), (Level::Normal, 0));
    assert_eq!(comparison.passes.iter().map(|pass| pass.name.as_str()).collect::<Vec<_>>(), ["tar-format"]);
}

#[test]
fn an_equal_stream_in_other_gzip_is_stream() {
    let named = gzip_with(&clean_tar(), 6, b"\x1f\x8b\x08\x08\0\0\0\x07\0\x03p-1.tar\0");
    assert_level(&named, &gzip(&clean_tar(), 6), "p.tar.gz", Level::Stream, &[("gzip-header", 1)]);
    let slow = gzip(&clean_tar(), 0);
    assert_level(&slow, &gzip(&clean_tar(), 9), "p.tar.gz", Level::Stream, &[("gzip-compression", 1)]);
    assert_level(&gzip(b"xx", 0), &gzip(b"xx", 9), "p.gz", Level::Stream, &[("gzip-compression", 1)]);
}

#[test]
fn record_in_another_order_is_normal() {
    let rows = record(&files());
    let turned = rows.lines().rev().map(|line| line.replace("sha256", "SHA256")).collect::<Vec<_>>().join(
        "
",
    ) + "
";
    let comparison = compared(&wheel(&files(), &turned), &wheel(&files(), &rows), WHEEL);
    assert_eq!(comparison.level, Level::Normal);
    let pass = comparison.passes.iter().find(|pass| pass.name == "wheel-record").unwrap();
    assert_eq!((pass.risk, pass.members), (Risk::Low, 1));
}

#[test]
fn metadata_in_another_order_is_manifest() {
    let metadata = METADATA.replace("Classifier: A\nClassifier: B", "Classifier: B\nClassifier: A");
    let turned = [files()[0], ("p-1.dist-info/METADATA", &metadata), files()[2]];
    let comparison = compared(&wheel(&turned, &record(&turned)), &wheel(&files(), &record(&files())), WHEEL);
    assert_eq!(comparison.level, Level::Manifest, "{comparison:#?}");
    assert_ne!(comparison.published.normal, comparison.rebuilt.normal);
    let pass = comparison.passes.iter().find(|pass| pass.name == "wheel-metadata").unwrap();
    assert_eq!((pass.risk, pass.members), (Risk::Medium, 2));
    assert!(comparison.differences.is_empty());
}

#[test]
fn pkg_info_in_another_order_is_manifest() {
    let sdist = |text: &str| gzip(&tar(&[Entry::file("p-1/PKG-INFO", text.as_bytes())]), 6);
    let comparison = compared(&sdist("Name: p\nVersion: 1\n\nbody\n"), &sdist("Version: 1\nName: p\n\nbody\n"), "p-1.tar.gz");
    assert_eq!(comparison.level, Level::Manifest);
    assert!(comparison.passes.iter().any(|pass| pass.name == "sdist-metadata"));
}

#[test]
fn opaque_files_are_byte_or_different() {
    assert_eq!(compared(b"a", b"a", "p.bin").level, Level::Byte);
    let comparison = compared(b"a", b"b", "p.bin");
    assert_eq!(comparison.level, Level::Different);
    assert_eq!(comparison.differences[0].difference.class, DifferenceClass::Opaque);
    assert!(matches!(normal_form(b"a", "p.bin", &Limits::default()), Err(FormError::Opaque { .. })));
}

#[test]
fn an_added_text_is_shown_whole() {
    let published = gzip(&tar(&[Entry::file("p/a.py", b"one\n"), Entry::file("p/evil.py", b"import os\n")]), 6);
    let rebuilt = gzip(&tar(&[Entry::file("p/a.py", b"one\n")]), 6);
    for (published, rebuilt, line) in [(&published, &rebuilt, "-import os\n"), (&rebuilt, &published, "+import os\n")] {
        let comparison = compared(published, rebuilt, "p.tar.gz");
        let Some(Detail::Diff(text)) = &comparison.differences[0].detail else { panic!("no diff") };
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_changed_text_comes_with_its_diff() {
    let published = gzip(&tar(&[Entry::file("p/a.py", b"one\ntwo\n")]), 6);
    let rebuilt = gzip(&tar(&[Entry::file("p/a.py", b"one\n2\n")]), 6);
    let comparison = compared(&published, &rebuilt, "p.tar.gz");
    let Some(Detail::Diff(text)) = &comparison.differences[0].detail else { panic!("no diff") };
    assert!(text.contains("-two\n+2\n"), "{text}");
}

#[test]
fn diffs_go_to_changed_code_first_and_what_has_none_says_why() {
    let long = "line\n".repeat(60_000);
    let files = |changed: &[u8], rest: &[(&str, &[u8])]| {
        let entries = [
            ("p/z.py", changed),
            ("p/y.txt", changed),
            ("p/b.bin", &[b"\0", changed].concat()),
            ("p/l.py", &[long.as_bytes(), changed].concat()),
        ];
        gzip(&tar(&entries.iter().chain(rest).map(|(name, content)| Entry::file(name, content)).collect::<Vec<_>>()), 6)
    };
    let (published, rebuilt) = (files(b"a\n", &[("p/alone.py", b"x\n")]), files(b"b\n", &[]));
    let input = Input { published: &published, rebuilt: &rebuilt, file_name: "p.tar.gz" };
    let shown = |diffs_max| {
        let comparison = compare(&input, &Limits { diffs_max, ..Limits::default() }).unwrap();
        let details = comparison.differences.into_iter().map(|found| match found.detail {
            Some(Detail::Diff(_)) => None,
            Some(Detail::Unshown(reason)) => Some(reason),
            detail => panic!("{detail:?}"),
        });
        details.collect::<Vec<_>>()
    };
    let [many, binary, too_long] = [Unshown::Many, Unshown::Binary, Unshown::Long].map(Some);
    // In the order of the names: alone.py, b.bin, l.py, y.txt, z.py.
    assert_eq!(shown(1), [many, binary, too_long, many, None]);
    assert_eq!(shown(2), [many, binary, too_long, None, None]);
    assert_eq!(shown(3), [None, binary, too_long, None, None]);
}

#[test]
fn a_comparison_survives_json() {
    let comparison = compared(&clean(), &zip(&clean_members()[..1]), "p.zip");
    let json = serde_json::to_string(&comparison).unwrap();
    assert_eq!(serde_json::from_str::<quorate_normalize::Comparison>(&json).unwrap(), comparison);
}

#[test]
fn the_file_name_decides_the_container() {
    for (name, container) in [
        ("a.WHL", Container::Zip),
        ("a.tar.gz", Container::Tar(Some(Codec::Gzip))),
        ("a.crate", Container::Tar(Some(Codec::Gzip))),
        ("a.tgz", Container::Tar(Some(Codec::Gzip))),
        ("a.tar", Container::Tar(None)),
        ("a.gz", Container::Packed(Codec::Gzip)),
        ("a.tar.xz", Container::Tar(Some(Codec::Xz))),
        ("a.txt.zst", Container::Packed(Codec::Zstd)),
        ("liba.a", Container::Ar),
        ("a_1_all.deb", Container::Deb),
        ("a.rpm", Container::Opaque),
    ] {
        assert_eq!(Container::of(name), container, "{name}");
    }
}
