//! Attacks that hide in xz, zstd, bzip2, Unix archives and Debian packages.

#![expect(clippy::assigning_clones, reason = "tests")]

use crate::attack::attacks;
use crate::build_formats::{ArMember, ar, bzip2, deb, deb_files, deb_members, deb_of, skippable, tar_gz, xz, zstd};
use crate::build_tar::{Entry, clean_tar, tar};

fn changed(bytes: Vec<u8>, at: usize, flip: u8) -> Vec<u8> {
    let mut bytes = bytes;
    bytes[at] ^= flip;
    bytes
}

fn deb_with(change: impl FnOnce(&mut Vec<ArMember>)) -> Vec<u8> {
    let mut members = deb_members();
    change(&mut members);
    ar(&members)
}

fn deb_entry(at: usize, change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut files = deb_files();
    change(&mut files[at]);
    deb_of(&files)
}

fn library(change: impl FnOnce(&mut Vec<ArMember>)) -> Vec<u8> {
    let mut members = vec![
        ArMember::new("/", b"\0\0\0\0"),
        ArMember::new("//", b"a_rather_long_name.o/\n"),
        ArMember::new("/0", b"object"),
        ArMember::new("b.o/", b"odd"),
    ];
    for (field, member) in ["0", "", "0", "0"].iter().zip(&mut members) {
        member.mtime = (*field).to_owned();
    }
    change(&mut members);
    ar(&members)
}

const NPM: [(&str, &str); 2] = [("package.json", "{}"), ("a.js", "1")];

fn npm_twice() -> Vec<u8> {
    let entries = [Entry::file("package/a.js", b"1"), Entry::file("other/a.js", b"evil")];
    crate::build_tar::gzip(&tar(&entries), 6)
}

attacks! {
    xz_second_stream_is_named: "p.tar.xz", [xz(&clean_tar()), xz(b"evil")].concat(), xz(&clean_tar()) => ExtraStream;
    xz_stream_behind_padding_is_named: "p.tar.xz", [xz(&clean_tar()), vec![0; 4], xz(b"evil")].concat(), xz(&clean_tar()) => ExtraStream;
    xz_padding_is_named: "p.tar.xz", [xz(&clean_tar()), vec![0; 4]].concat(), xz(&clean_tar()) => TrailingData;
    xz_trailing_data_is_named: "p.xz", [xz(b"a"), b"evil".to_vec()].concat(), xz(b"a") => TrailingData;
    xz_broken_check_is_named: "p.xz", changed(xz(b"aaaa"), 28, 1), xz(b"aaaa") => Truncated;
    xz_cut_off_is_named: "p.xz", xz(b"aaaa")[..20], xz(b"aaaa") => Truncated;
    zstd_second_frame_is_named: "p.tar.zst", [zstd(&clean_tar()), zstd(b"evil")].concat(), zstd(&clean_tar()) => ExtraStream;
    zstd_skippable_frame_before_is_named: "p.zst", [skippable(b"evil"), zstd(b"a")].concat(), zstd(b"a") => LeadingData;
    zstd_skippable_frame_behind_is_named: "p.zst", [zstd(b"a"), skippable(b"evil")].concat(), zstd(b"a") => TrailingData;
    zstd_frame_behind_skippable_is_named: "p.zst", [zstd(b"a"), skippable(b"x"), zstd(b"evil")].concat(), zstd(b"a") => ExtraStream;
    zstd_checksum_is_named: "p.zst", { let bytes = zstd(b"a"); let last = bytes.len() - 1; changed(bytes, last, 1) }, zstd(b"a") => ChecksumMismatch;
    zstd_unused_bit_is_named: "p.zst", changed(zstd(b"a"), 4, 1 << 4), zstd(b"a") => NonCanonical;
    zstd_cut_off_is_named: "p.zst", zstd(b"aaaaaa")[..10], zstd(b"aaaaaa") => Truncated;
    bzip2_second_stream_is_named: "p.tar.bz2", [bzip2(&clean_tar(), 9), bzip2(b"evil", 9)].concat(), bzip2(&clean_tar(), 9) => ExtraStream;
    bzip2_trailing_data_is_named: "p.bz2", [bzip2(b"a", 9), b"evil".to_vec()].concat(), bzip2(b"a", 9) => TrailingData;
    bzip2_cut_off_is_named: "p.bz2", bzip2(b"aaaa", 9)[..20], bzip2(b"aaaa", 9) => Truncated;
    ar_padding_is_named: "p.a", library(|members| members[3].padding = b"x"), library(|_| {}) => InteriorData;
    ar_mode_is_named: "p.a", library(|members| members[2].mode = "xyz".to_owned()), library(|_| {}) => NonCanonical;
    ar_set_user_id_is_named: "p.a", library(|members| members[2].mode = "104755".to_owned()), library(|_| {}) => SpecialFile;
    ar_link_is_named: "p.a", library(|members| members[2].mode = "120777".to_owned()), library(|_| {}) => SpecialFile;
    ar_size_is_named: "p.a", library(|members| members[2].size = Some("+6".to_owned())), library(|_| {}) => NonCanonical;
    ar_header_end_is_named: "p.a", library(|members| members[2].end = b"xx"), library(|_| {}) => NonCanonical;
    ar_bsd_name_is_named: "p.a", library(|members| members[3].name = "#1/3".to_owned()), library(|_| {}) => UnsupportedFeature;
    ar_hidden_name_is_named: "p.a", library(|members| members[1].data.extend(b"hidden/\n")), library(|_| {}) => NonCanonical;
    ar_duplicate_is_named: "p.a", library(|members| members.push(members[3].clone())), library(|_| {}) => DuplicateName;
    ar_escape_is_named: "p.a", library(|members| members[1].data = b"../a/\n".to_vec()), library(|_| {}) => PathEscape;
    ar_cut_off_is_named: "p.a", { let bytes = library(|_| {}); bytes[..bytes.len() - 3].to_vec() }, library(|_| {}) => Truncated;
    deb_extra_member_is_named: "p.deb", deb_with(|members| members.push(ArMember::new("_evil", b"x"))), deb() => NonCanonical;
    deb_second_data_is_named: "p.deb", deb_with(|members| members.push(members[2].clone())), deb() => DuplicateName;
    deb_order_is_named: "p.deb", deb_with(|members| members.swap(1, 2)), deb() => NonCanonical;
    deb_version_is_named: "p.deb", deb_with(|members| members[0].data = b"2.1\n".to_vec()), deb() => UnsupportedFeature;
    deb_without_files_is_named: "p.deb", deb_with(|members| members.truncate(2)), deb() => Truncated;
    deb_unknown_compression_is_named: "p.deb", deb_with(|members| members[2].name = "data.tar.lzma".to_owned()), deb() => UnsupportedFeature;
    deb_trailing_stream_is_named: "p.deb", deb_with(|members| members[2].data.extend(xz(b"evil"))), deb() => ExtraStream;
    deb_set_user_id_is_named: "p.deb", deb_entry(2, |entry| entry.mode = b"0004755\0".to_vec()), deb() => SpecialFile;
    deb_escape_is_named: "p.deb", deb_entry(2, |entry| entry.name = b"./../x".to_vec()), deb() => PathEscape;
    deb_climbing_link_is_named: "p.deb", deb_entry(3, |entry| entry.link = b"../../x".to_vec()), deb() => EscapingLink;
    npm_two_roots_are_named: "p.tgz", npm_twice(), tar_gz("package", &NPM, "0\0") => CollidingName;
}
