//! Each pass alone, each class of difference, and what counts as code.

use super::{CompareVector, assert_vectors, compare_vector};
use crate::build_tar::{Entry, clean_entries, clean_tar, gzip, gzip_with, tar};
use crate::build_zip::{Frame, Header, Member, clean, clean_members, framed, zip, zip64_end};
use crate::tampered_wheel::{METADATA, WHEEL, files, record, wheel};

fn against_clean(title: &str, published: &[u8]) -> CompareVector {
    compare_vector(title, "p.zip", published, &clean())
}

/// Every member of the clean archive, changed.
fn each(title: &str, change: impl Fn(&mut Member)) -> CompareVector {
    against_clean(title, &zip(&clean_members().into_iter().map(|member| member.with(&change)).collect::<Vec<_>>()))
}

fn headers(title: &str, change: impl Fn(&mut Header)) -> CompareVector {
    each(title, |member| *member = member.clone().both(&change))
}

fn zip_passes() -> Vec<CompareVector> {
    let stored = [Member::stored("pkg/a.py", b"print('a')\n"), clean_members()[1].clone()];
    let zip64 = framed(&clean_members(), &Frame { zip64: Some(zip64_end), ..Frame::default() });
    let ids = |tag: u8| move |header: &mut Header| header.extra = vec![tag, 0x78, 1, 0, 1];
    let three = |order: [&str; 3]| zip(&order.map(|name| Member::stored(name, name.as_bytes())));
    vec![
        headers("zip-times", |header| (header.time, header.date) = (0, 0x21)),
        each("zip-host-and-version: made by", |member| member.made_by = 0x031e),
        each("zip-host-and-version: needed, in the local header alone", |member| member.local.needed = 10),
        each("zip-host-and-version: internal attributes", |member| member.internal = 1),
        each("zip-layout: data descriptors", |member| *member = member.clone().streamed()),
        headers("zip-layout: flag bit 11", |header| header.flags = 1 << 11),
        against_clean("zip-layout: zip64 end record", &zip64),
        against_clean("zip-compression: stored", &zip(&stored)),
        headers("zip-compression: flag bit 1", |header| header.flags = 2),
        headers("zip-extra-timestamps", |header| header.extra = b"\x55\x54\x05\0\x01abcd".to_vec()),
        headers("zip-extra-owner: new", ids(0x75)),
        headers("zip-extra-owner: old", ids(0x55)),
        against_clean("member-order: turned", &zip(&clean_members().into_iter().rev().collect::<Vec<_>>())),
        compare_vector("member-order: one of three moved", "p.zip", &three(["a", "b", "c"]), &three(["c", "a", "b"])),
        compare_vector(
            "member-order: not by what one side alone has",
            "p.zip",
            &three(["x", "b", "c"]),
            &zip(&["b", "c"].map(|name| Member::stored(name, name.as_bytes()))),
        ),
        each("mode-bits: without the executable bit", |member| member.external = 0o100_600 << 16),
        each("mode-bits: with an executable bit that one side lacks", |member| member.external = 0o100_755 << 16),
    ]
}

fn tar_passes() -> Vec<CompareVector> {
    let other = |title: &str, bytes: &[u8]| compare_vector(title, "p.tar.gz", &gzip(bytes, 9), &gzip(&clean_tar(), 9));
    let each = |title: &str, change: fn(&mut Entry)| {
        other(title, &tar(&clean_entries().into_iter().map(|entry| entry.with(change)).collect::<Vec<_>>()))
    };
    let before = |records: &[(&str, &str)]| tar(&[clean_entries()[0].clone(), Entry::pax(b'x', records), clean_entries()[1].clone()]);
    let commented = |comment| gzip(&tar(&[&[Entry::pax(b'g', &[("comment", comment)])], &clean_entries()[..]].concat()), 9);
    let compared = |title: &str, one: &[u8], two: &[u8]| compare_vector(title, "p.tar.gz", one, two);
    let pax = |title: &str, one: &[(&str, &str)], two: &[(&str, &str)]| compared(title, &gzip(&before(one), 9), &gzip(&before(two), 9));
    let turned: Vec<Entry> = clean_entries().into_iter().rev().collect();
    vec![
        each("tar-times", |entry| entry.mtime[5] = b'7'),
        pax("tar-times: pax", &[("mtime", "1")], &[("mtime", "2")]),
        each("tar-owner: name", |entry| entry.user = b"me".to_vec()),
        each("tar-owner: number", |entry| entry.uid[6] = b'1'),
        pax("tar-owner: pax", &[("uname", "a")], &[("uname", "b")]),
        each("tar-format: magic", |entry| entry.magic = b"ustar  \0".to_vec()),
        other("tar-format: type NUL", &tar(&[clean_entries()[0].clone(), clean_entries()[1].clone().with(|entry| entry.flag = 0)])),
        other(
            "tar-format: directory without its slash",
            &tar(&[clean_entries()[0].clone().with(|entry| entry.name = b"p-1".to_vec()), clean_entries()[1].clone()]),
        ),
        each("tar-format: size with a space", |entry| entry.size[11] = b' '),
        other("tar-format: zero blocks", &[clean_tar(), vec![0; 512]].concat()),
        pax("tar-format: keys", &[("uid", "1")], &[("gid", "1")]),
        compared("tar-comment", &commented("a"), &commented("b")),
        pax("tar-comment: of a member", &[("comment", "a")], &[("comment", "b")]),
        each("mode-bits", |entry| entry.mode[6] = b'0'),
        other("member-order", &tar(&turned)),
        compared("gzip-header", &gzip_with(&clean_tar(), 9, b"\x1f\x8b\x08\x08\0\0\0\x07\0\x03p-1.tar\0"), &gzip(&clean_tar(), 9)),
        compared("gzip-compression", &gzip(&clean_tar(), 6), &gzip(&clean_tar(), 0)),
    ]
}

const PKG_INFO: &str = "Name: p\nClassifier: B\nX-Other: 1\nclassifier: A\n  more\nX-Other: 0\n\nbody\n";

fn generated() -> Vec<CompareVector> {
    let sdist = |name: &str, text: &str| gzip(&tar(&[Entry::file(name, text.as_bytes())]), 9);
    let moved = |title: &str, name: &str, text: &str| compare_vector(title, "p-1.tar.gz", &sdist(name, PKG_INFO), &sdist(name, text));
    let turned = "X-Other: 1\nclassifier: A\n  more\nClassifier: B\nX-Other: 0\nName: p\n\nbody\n";
    let rows = record(&files());
    let spelt = rows.replace("sha256", "SHA256").replace('\n', "\r\n");
    let metadata = METADATA.replace("Name: p\nVersion: 1\n", "Version: 1\nName: p\n");
    let other = [files()[0], (files()[1].0, &metadata), files()[2]];
    vec![
        moved("sdist-metadata: order of fields", "p-1/PKG-INFO", turned),
        moved("sdist-metadata: below egg-info", "p-1/src/p.egg-info/PKG-INFO", turned),
        moved("no sdist-metadata: in another folder", "p-1/src/PKG-INFO", turned),
        moved("no sdist-metadata: order of a single-use field", "p-1/PKG-INFO", &PKG_INFO.replace("X-Other: 1", "X-Other: 2")),
        moved("no sdist-metadata: another body", "p-1/PKG-INFO", &turned.replace("body", "Body")),
        moved("no sdist-metadata: carriage returns", "p-1/PKG-INFO", &turned.replace("p\n", "p\r\n")),
        compare_vector("wheel-record: spelling and line ends", WHEEL, &wheel(&files(), &spelt), &wheel(&files(), &rows)),
        compare_vector("wheel-metadata: order of single-use fields", WHEEL, &wheel(&other, &record(&other)), &wheel(&files(), &rows)),
    ]
}

fn differences() -> Vec<CompareVector> {
    let changed = |title: &str, change: fn(&mut Member)| {
        let mut members = clean_members();
        change(&mut members[1]);
        against_clean(title, &zip(&members))
    };
    let commented = |comment: &[u8], time: u16| {
        let members: Vec<Member> = clean_members().into_iter().map(|member| member.both(|header| header.time = time)).collect();
        framed(&members, &Frame { comment: comment.to_vec(), ..Frame::default() })
    };
    let small = zip(&clean_members()[..1]);
    vec![
        compare_vector("only-published", "p.zip", &clean(), &small),
        compare_vector("only-rebuilt", "p.zip", &small, &clean()),
        changed("content", |member| *member = Member::stored("pkg/b.txt", b"c\n")),
        changed("metadata: executable bit", |member| member.external = 0o100_755 << 16),
        changed("content and metadata", |member| {
            *member = Member::stored("pkg/b.txt", b"c\n").with(|member| member.external = 0o100_755 << 16);
        }),
        changed("content and metadata: link for a file", |member| member.external = 0o120_777 << 16),
        changed("anomaly of what cannot be read", |member| *member = member.clone().both(|header| header.flags = 1)),
        compare_vector("anomaly of a published file that is broken", "p.zip", b"x", &clean()),
        compare_vector("anomaly of both sides in the same words", "p.zip", &commented(b"a", 1), &commented(b"a", 2)),
        compare_vector("anomaly of both sides in other words", "p.zip", &commented(b"a", 1), &commented(b"b", 1)),
        against_clean("one name twice", &zip(&[clean_members(), vec![Member::stored("pkg/b.txt", b"c\n")]].concat())),
        against_clean("code by its name", &zip(&[clean_members(), code_names()].concat())),
        against_clean("code by its first bytes and its type", &zip(&[clean_members(), code_contents()].concat())),
    ]
}

/// Every extension and file name that makes code, and names beside them.
fn code_names() -> Vec<Member> {
    let extensions = "a asm asp bash bat beam c cc cjs class cmake cmd com cpp cs csh cts cu cxx dex dll dylib el exe fish fs go gyp gypi h \
        hpp hs htm html inc jar java jl js jsx ko kt lib lua m mjs ml mts node o php pl pm ps1 pth pxd pxi py pyc pyd pyi pyo pyw pyx pyz r \
        rb rs s scala sh so sql svg swift ts tsx wasm txt json md toml css xml";
    let names = "binding.gyp BUILD CMakeLists.txt configure Dockerfile entry_points.txt Gemfile Makefile package.json Rakefile setup.cfg wscript \
        build2 x.configure bin/x d/sbin/x x.data/scripts/x x.data/scripts/d/x x.data/y/scripts/z bin2/x a.so.1 d.so.1/x py X.PY";
    let extended = extensions.split_whitespace().map(|extension| format!("e/x.{extension}"));
    let whole = names.split_whitespace().map(|name| format!("n/{name}"));
    extended.chain(whole).map(|name| Member::stored(&name, b"")).collect()
}

fn code_contents() -> Vec<Member> {
    let magics: [&[u8]; 13] = [
        b"#!",
        b"\x7fELF",
        b"MZ",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"\0asm",
        b"#",
        b" #!",
        b"ELF",
        b"PK\x03\x04",
    ];
    let magics = magics.iter().enumerate().map(|(at, magic)| Member::stored(&format!("m/{at}"), magic));
    let moded =
        [("t/device", 0o020_644), ("t/executable", 0o100_755), ("t/link", 0o120_777), ("t/link.py", 0o120_777), ("t/bin/", 0o040_755)];
    let moded = moded.map(|(name, mode)| Member::stored(name, b"").with(|member| member.external = mode << 16));
    magics.chain(moded).collect()
}

#[test]
fn passes_are_those_of_the_vectors() {
    let rows = [zip_passes(), tar_passes(), generated()];
    assert_vectors("normalize-passes.json", &rows.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn tampered_contents_are_those_of_the_vectors() {
    let lists = [
        crate::tampered_contents::attack_list(),
        crate::tampered_crate::attack_list(),
        crate::tampered_python::attack_list(),
        crate::tampered_nested::attack_list(),
        crate::tampered_smuggled::attack_list(),
    ];
    let small = lists.into_iter().flatten().filter(|attack| !attack.name.contains("bomb"));
    let vector = |attack: crate::attack::Attack| {
        compare_vector(&attack.name.replace('_', " "), attack.file_name, &(attack.archive)(), &(attack.clean)())
    };
    assert_vectors("normalize-tampered.json", &small.map(vector).collect::<Vec<_>>());
}

#[test]
fn differences_are_those_of_the_vectors() {
    assert_vectors("normalize-differences.json", &differences());
}
