//! Rows of the page about tar and gzip that go beyond the attacks, and their honest neighbours.

use super::{FormVector, assert_vectors, attack_vectors, form_vector};
use crate::build_tar::{Entry, clean_tar, gzip, gzip_with, open_tar, tar};
use crate::tampered_tar;

/// A tar in gzip, where its zeros take no room.
fn packed(title: &str, bytes: &[u8]) -> FormVector {
    form_vector(title, "p.tar.gz", &gzip(bytes, 9))
}

fn entries(title: &str, entries: &[Entry]) -> FormVector {
    packed(title, &tar(entries))
}

fn one(title: &str, change: impl FnOnce(&mut Entry)) -> FormVector {
    entries(title, &[Entry::file("a", b"aa").with(change)])
}

fn pax(title: &str, records: &[(&str, &str)], name: &str) -> FormVector {
    entries(title, &[Entry::pax(b'x', records), Entry::file(name, b"aa")])
}

fn raw_pax(title: &str, data: &[u8]) -> FormVector {
    entries(title, &[Entry::new("pax", b'x', data), Entry::file("a", b"aa")])
}

fn fields() -> Vec<FormVector> {
    vec![
        one("magic of zeros", |entry| entry.magic = vec![0; 8]),
        one("magic of GNU", |entry| entry.magic = b"ustar  \0".to_vec()),
        one("magic of ustar with another version", |entry| entry.magic = b"ustar\x0001"[..].to_vec()),
        one("prefix under ustar", |entry| entry.prefix = b"p/q".to_vec()),
        one("prefix under zeros", |entry| (entry.magic, entry.prefix) = (vec![0; 8], b"p".to_vec())),
        one("data behind the prefix", |entry| entry.prefix = b"p\0q".to_vec()),
        one("data behind the link name", |entry| entry.link = b"\0q".to_vec()),
        one("link name of a file", |entry| entry.link = b"q".to_vec()),
        one("mode that is blank", |entry| entry.mode = vec![b' '; 8]),
        one("mode with spaces before and behind", |entry| entry.mode = b"  644 \0 ".to_vec()),
        one("mode with a digit 8", |entry| entry.mode = b"0000648\0".to_vec()),
        one("uid of zeros", |entry| entry.uid = vec![0; 8]),
        one("uid in binary", |entry| entry.uid = b"\x80\0\0\0\0\x20\0\0".to_vec()),
        one("uid in binary below zero", |entry| entry.uid = vec![0xff; 8]),
        one("uid that begins with 0x81", |entry| entry.uid = b"\x81\0\0\0\0\0\0\0".to_vec()),
        one("mtime below zero in digits", |entry| entry.mtime = b"-0000000001\0".to_vec()),
        one("size with spaces before", |entry| entry.size = b"          2\0".to_vec()),
        one("size that is blank", |entry| entry.size = vec![0; 12]),
        one("size in binary below zero", |entry| entry.size = vec![0xff; 12]),
        one("set-group-id", |entry| entry.mode = b"0002755\0".to_vec()),
        one("sticky", |entry| entry.mode = b"0001644\0".to_vec()),
        entries("set-group-id of a directory", &[Entry::new("d/", b'5', b"").with(|entry| entry.mode = b"0002755\0".to_vec())]),
    ]
}

fn types() -> Vec<FormVector> {
    let long = "n".repeat(120);
    vec![
        one("type NUL", |entry| entry.flag = 0),
        one("type 7", |entry| entry.flag = b'7'),
        entries("type NUL with a directory's name", &[Entry::new("d/", 0, b"")]),
        entries("type 0 with a directory's name and data", &[Entry::new("d/", b'0', b"x")]),
        entries("type 5 without a slash", &[Entry::new("d", b'5', b"")]),
        entries("block device", &[Entry::new("b", b'4', b"")]),
        entries("hard link to a later member", &[Entry::link("h", b'1', "a"), Entry::file("a", b"")]),
        entries("hard link to an earlier member", &[Entry::file("a", b""), Entry::link("h", b'1', "a")]),
        entries(
            "GNU long link target",
            &[Entry::new("././@LongLink", b'K', format!("{long}\0").as_bytes()), Entry::link("l", b'2', &long[..100])],
        ),
        entries("pax link target", &[Entry::pax(b'x', &[("linkpath", &long)]), Entry::link("l", b'2', &long[..100])]),
        entries("pax link target that overrides", &[Entry::pax(b'x', &[("linkpath", "b")]), Entry::link("l", b'2', "a")]),
        entries("pax link target of a file", &[Entry::pax(b'x', &[("linkpath", "b")]), Entry::file("a", b"")]),
        entries("sparse file of data", &[Entry::new("s", b'S', b"x")]),
        entries("pax sparse file of the old kind", &[Entry::pax(b'x', &[("GNU.sparse.size", "1")]), Entry::file("s", b"")]),
        entries("pax sparse file for all", &[Entry::pax(b'g', &[("GNU.sparse.size", "1")]), Entry::file("s", b"")]),
    ]
}

fn records() -> Vec<FormVector> {
    let plain =
        [("mtime", "1.5"), ("atime", "1"), ("ctime", "1"), ("uid", "1"), ("gid", "1"), ("uname", "u"), ("gname", "g"), ("comment", "c")];
    vec![
        pax("pax: every key that is dropped", &plain, "a"),
        pax("pax: an empty value", &[("uname", "")], "a"),
        pax("pax: an unknown key", &[("SCHILY.dev", "1")], "a"),
        pax("pax: a size that is the header's", &[("size", "2")], "a"),
        pax("pax: a size that is another", &[("size", "1")], "a"),
        pax("pax: a size that is no number", &[("size", "0x2")], "a"),
        pax("pax: a size with a zero before", &[("size", "02")], "a"),
        raw_pax("pax: a length with a zero before", b"010 uid=1\n"),
        raw_pax("pax: a record without its line end", b"8 uid=1 "),
        raw_pax("pax: a record without an equals sign", b"8 uid-1\n"),
        raw_pax("pax: a record without a key", b"5 =1\n"),
        raw_pax("pax: a good record and half of one", b"8 uid=1\n8 gid"),
        raw_pax("pax: no records", b""),
        entries(
            "pax: two headers for one member",
            &[Entry::pax(b'x', &[("uid", "1")]), Entry::pax(b'x', &[("gid", "1")]), Entry::file("a", b"")],
        ),
        entries(
            "pax: one key in two headers",
            &[Entry::pax(b'x', &[("uid", "1")]), Entry::pax(b'x', &[("uid", "2")]), Entry::file("a", b"")],
        ),
        entries("pax: a comment for all", &[Entry::pax(b'g', &[("comment", "c")]), Entry::file("a", b"")]),
        entries("pax: a time for all", &[Entry::pax(b'g', &[("mtime", "1")]), Entry::file("a", b"")]),
        entries("pax: for all and without a member", &[Entry::file("a", b""), Entry::pax(b'g', &[("comment", "c")])]),
        entries(
            "pax: a bad field in its header",
            &[Entry::pax(b'x', &[("uid", "1")]).with(|entry| entry.rest = b"x".to_vec()), Entry::file("a", b"")],
        ),
    ]
}

fn long_names() -> Vec<FormVector> {
    let long = "n".repeat(101);
    let gnu = |title: &str, data: &[u8], short: &str| entries(title, &[Entry::new("././@LongLink", b'L', data), Entry::file(short, b"")]);
    let terminated = format!("{long}\0");
    vec![
        pax("name: non-ASCII with question marks", &[("path", "caf\u{e9}/a")], "caf??/a"),
        pax("name: non-ASCII with one question mark", &[("path", "caf\u{e9}/a")], "caf?/a"),
        pax("name: non-ASCII as it is", &[("path", "caf\u{e9}")], "caf\u{e9}"),
        pax("name: non-ASCII with another beginning", &[("path", "caf\u{e9}")], "tea"),
        pax("name: a beginning that is shorter than the field", &[("path", &long)], "nnn"),
        pax("name: an empty beginning", &[("path", &long)], ""),
        pax("name: 100 bytes in the field and in pax", &[("path", &long[1..])], &long[1..]),
        pax("name: 4096 bytes", &[("path", &"n".repeat(4096))], &long[1..]),
        pax("name: 4097 bytes", &[("path", &"n".repeat(4097))], &long[1..]),
        gnu("name: GNU without its NUL", long.as_bytes(), &long[..100]),
        gnu("name: GNU with two NULs", format!("{long}\0\0").as_bytes(), &long[..100]),
        gnu("name: GNU that is empty", b"\0", "a"),
        gnu("name: GNU equal to the header's", b"a\0", "a"),
        entries(
            "name: GNU twice",
            &[Entry::new("L", b'L', terminated.as_bytes()), Entry::new("L", b'L', terminated.as_bytes()), Entry::file(&long[..100], b"")],
        ),
        entries(
            "name: GNU and pax that agree",
            &[Entry::new("L", b'L', terminated.as_bytes()), Entry::pax(b'x', &[("path", &long)]), Entry::file(&long[..100], b"")],
        ),
    ]
}

fn ends() -> Vec<FormVector> {
    let open = open_tar(&[Entry::file("a", b"aa")]);
    let end = |zeros: usize| [open.clone(), vec![0; zeros]].concat();
    let extension = open_tar(&[Entry::pax(b'x', &[("uid", "1")])]);
    vec![
        packed("end: no members", &tar(&[])),
        packed("end: half a zero block", &end(100)),
        packed("end: one zero block and a half", &end(768)),
        packed("end: three zero blocks", &end(1536)),
        packed("end: two zero blocks and a byte", &end(1025)),
        packed("end: padding cut off", &open[..700]),
        packed(
            "end: padding of an extension header",
            &tar(&[Entry::pax(b'x', &[("uid", "1")]).with(|entry| entry.padding = 1), Entry::file("a", b"")]),
        ),
        packed("end: extension header cut off", &extension[..515]),
        packed("end: extension header without anything after it", &extension),
        form_vector("end: plain tar with a byte after it", "p.tar", &[tar(&[]), vec![1]].concat()),
    ]
}

fn gzips() -> Vec<FormVector> {
    let with = |title: &str, header: &[u8]| form_vector(title, "p.tar.gz", &gzip_with(&clean_tar(), 9, header));
    let checked = |head: &[u8]| [head, &crc32fast::hash(head).to_le_bytes()[..2]].concat();
    vec![
        with("gzip: name, time and system", b"\x1f\x8b\x08\x08\x01\x02\x03\x04\0\x03p.tar\0"),
        with("gzip: header checksum that is right", &checked(b"\x1f\x8b\x08\x02\0\0\0\0\x02\xff")),
        with("gzip: text flag", b"\x1f\x8b\x08\x01\0\0\0\0\x02\xff"),
        with("gzip: extra field, name, comment and header checksum", &checked(b"\x1f\x8b\x08\x1e\0\0\0\0\x02\xff\x01\0en\0c\0")),
        with("gzip: empty extra field and comment", b"\x1f\x8b\x08\x14\0\0\0\0\x02\xff\0\0\0"),
        with("gzip: all reserved flags", b"\x1f\x8b\x08\xe0\0\0\0\0\x02\xff"),
        with("gzip: another method", b"\x1f\x8b\x07\0\0\0\0\0\x02\xff"),
        form_vector("gzip: name without an end", "p.gz", b"\x1f\x8b\x08\x08\0\0\0\0\x02\xffname"),
        form_vector("gzip: header cut off", "p.gz", b"\x1f\x8b\x08\0\0\0"),
        form_vector("gzip: empty content", "p.gz", &gzip(b"", 9)),
        form_vector("gzip: zeros after the stream", "p.gz", &[gzip(b"x", 9), vec![0; 512]].concat()),
        form_vector("gzip: one byte of magic after the stream", "p.gz", &[gzip(b"x", 9), vec![0x1f]].concat()),
        form_vector("gzip: magic alone after the stream", "p.gz", &[gzip(b"x", 9), vec![0x1f, 0x8b]].concat()),
    ]
}

#[test]
fn tar_attacks_are_those_of_the_vectors() {
    assert_vectors("normalize-tar-attacks.json", &attack_vectors(tampered_tar::attack_list()));
}

#[test]
fn tar_rows_are_those_of_the_vectors() {
    let rows = [fields(), types(), records(), long_names(), ends(), gzips()];
    assert_vectors("normalize-tar-rows.json", &rows.into_iter().flatten().collect::<Vec<_>>());
}
