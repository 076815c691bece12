//! Attacks in archives that lie in archives.

use crate::attack::attacks;
use crate::build_formats::{deb_files, deb_of, xz};
use crate::build_tar::{Entry, gzip, gzip_with, tar};
use crate::build_zip::{Member, zip};

const OUTER: &str = "p-1.tar.gz";

fn inner(members: &[Member]) -> Vec<u8> {
    zip(members)
}

fn good(time: u16) -> Member {
    Member::stored("a.py", b"good").both(|header| header.time = time)
}

fn outer(name: &str, content: &[u8]) -> Vec<u8> {
    gzip(&tar(&[Entry::file(&format!("p-1/{name}"), content), Entry::file("p-1/b", b"b")]), 6)
}

fn zipped(content: &[u8]) -> Vec<u8> {
    outer("lib/inner.zip", content)
}

/// Packed at another time, so that the pass for nested archives is at work.
fn honest() -> Vec<u8> {
    zipped(&inner(&[good(2)]))
}

fn twice(content: &[u8]) -> Vec<u8> {
    zipped(&zip(&[Member::stored("deep.zip", content)]))
}

fn packed(name: &str, entry: Entry) -> Vec<u8> {
    outer(name, &gzip(&tar(&[entry]), 6))
}

fn in_deb(content: &[u8]) -> Vec<u8> {
    deb_of(&[deb_files(), vec![Entry::file("./usr/share/x.gz", content)]].concat())
}

fn at(time: u8, content: &[u8]) -> Vec<u8> {
    gzip_with(content, 6, &[0x1f, 0x8b, 8, 0, time, 0, 0, 0, 2, 255])
}

attacks! {
    nested_content_changed: OUTER, zipped(&inner(&[Member::stored("a.py", b"evil")])), honest() => seen Content;
    nested_member_added: OUTER, zipped(&inner(&[good(1), Member::stored("evil.py", b"evil")])), honest() => seen OnlyPublished;
    nested_member_dropped: OUTER, zipped(&inner(&[])), honest() => seen OnlyRebuilt;
    nested_executable_bit: OUTER, zipped(&inner(&[good(1).with(|member| member.external = 0o100_755 << 16)])), honest() => seen Metadata;
    nested_duplicate_name: OUTER, zipped(&inner(&[good(1), Member::stored("a.py", b"evil")])), honest() => seen Anomaly;
    nested_local_header_lies: OUTER, zipped(&inner(&[good(1).with(|member| member.local.name = b"e.py".to_vec())])), honest() => seen Anomaly;
    nested_trailing_data: OUTER, zipped(&[inner(&[good(1)]), b"evil".to_vec()].concat()), honest() => seen Anomaly;
    nested_leading_data: OUTER, zipped(&[b"#!/bin/sh\n".to_vec(), inner(&[good(1)])].concat()), honest() => seen Anomaly;
    nested_encrypted_member: OUTER, zipped(&inner(&[good(1).both(|header| header.flags |= 1)])), honest() => seen Anomaly;
    nested_archive_of_another_kind: OUTER, zipped(&gzip(&tar(&[Entry::file("a.py", b"good")]), 6)), honest() => seen Anomaly;
    nested_archive_that_cannot_be_read: OUTER, zipped(b"evil"), honest() => seen Anomaly;
    nested_archive_swapped_for_a_link: OUTER, gzip(&tar(&[Entry::link("p-1/lib/inner.zip", b'2', "../b"), Entry::file("p-1/b", b"b")]), 6), honest() => seen Metadata;
    nested_archive_made_executable: OUTER, gzip(&tar(&[Entry::file("p-1/lib/inner.zip", &inner(&[good(1)])).with(|entry| entry.mode = b"0000755\0".to_vec()), Entry::file("p-1/b", b"b")]), 6), honest() => seen Metadata;
    nested_archive_under_another_name: OUTER, outer("lib/inner.jpg", &inner(&[good(1)])), outer("lib/inner.jpg", &inner(&[good(2)])) => seen Content;
    nested_manifest_pass_is_not_enough: OUTER, packed("x.crate", Entry::file("a-1/Cargo.lock", b"version = 3\n")), packed("x.crate", Entry::file("a-1/Cargo.lock", b"version = 4\n")) => seen Content;
    nested_path_out_of_the_tree: OUTER, packed("x.tar.gz", Entry::file("../evil", b"")), packed("x.tar.gz", Entry::file("evil", b"")) => seen Anomaly;
    nested_link_out_of_the_tree: OUTER, packed("x.tar.gz", Entry::link("l", b'2', "../../evil")), packed("x.tar.gz", Entry::link("l", b'2', "evil")) => seen Anomaly;
    nested_pax_override: OUTER, outer("x.tar.gz", &gzip(&tar(&[Entry::pax(b'x', &[("path", "evil")]), Entry::file("a", b"")]), 6)), packed("x.tar.gz", Entry::file("a", b"")) => seen Anomaly;
    nested_second_stream: OUTER, outer("x.gz", &[at(1, b"good"), at(1, b"evil")].concat()), outer("x.gz", &at(2, b"good")) => seen Anomaly;
    nested_stream_of_another_content: OUTER, outer("x.xz", &xz(b"evil")), outer("x.xz", &xz(b"good")) => seen Content;
    nested_twice_content_changed: OUTER, twice(&inner(&[Member::stored("a.py", b"evil")])), twice(&inner(&[good(2)])) => seen Content;
    nested_twice_trailing_data: OUTER, twice(&[inner(&[good(1)]), b"evil".to_vec()].concat()), twice(&inner(&[good(2)])) => seen Anomaly;
    nested_bomb: OUTER, outer("x.gz", &at(1, &vec![0; 80 << 20])), outer("x.gz", &at(2, b"good")) => seen Anomaly;
    nested_in_a_package_changed: "p.deb", in_deb(&at(1, b"evil")), in_deb(&at(2, b"good")) => seen Content;
    nested_in_a_package_trailing_data: "p.deb", in_deb(&[at(1, b"good"), b"evil".to_vec()].concat()), in_deb(&at(2, b"good")) => seen Anomaly;
}
