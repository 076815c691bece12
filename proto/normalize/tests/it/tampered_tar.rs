//! Attacks on the structure of a tar and of gzip. Each is a published file; the rebuilt one is clean.

use quorate_proto::comparison::DifferenceClass;

use crate::attack::{assert_difference_is_seen, attacks};
use crate::build_tar::{Entry, clean_entries, clean_tar, gzip, gzip_with, open_tar, tar};

const TAR: &str = "p.tar";
const TAR_GZ: &str = "p.tar.gz";

pub(crate) fn with(entries: &[Entry]) -> Vec<u8> {
    tar(&[&clean_entries(), entries].concat())
}

pub(crate) fn last(change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entries = clean_entries();
    change(&mut entries[1]);
    tar(&entries)
}

pub(crate) fn packed() -> Vec<u8> {
    gzip(&clean_tar(), 6)
}

pub(crate) fn long_name(data: &[u8], short: &str) -> Vec<u8> {
    let header = Entry::new("././@LongLink", b'L', data).with(|entry| entry.magic = b"ustar  \0".to_vec());
    with(&[header, Entry::file(short, b"x").with(|entry| entry.magic = b"ustar  \0".to_vec())])
}

fn patched_trailer(from_end: usize) -> Vec<u8> {
    let mut bytes = packed();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

attacks! {
    tar_duplicate_name_is_named: TAR, with(&[Entry::file("p-1/a.py", b"evil")]), clean_tar() => DuplicateName;
    tar_case_collision_is_named: TAR, with(&[Entry::file("p-1/A.PY", b"evil")]), clean_tar() => CollidingName;
    tar_parent_name_is_named: TAR, with(&[Entry::file("p-1/../../evil", b"")]), clean_tar() => PathEscape;
    tar_absolute_name_is_named: TAR, with(&[Entry::file("/evil", b"")]), clean_tar() => PathEscape;
    tar_parent_in_prefix_is_named: TAR, with(&[Entry::file("evil", b"").with(|entry| entry.prefix = b"../..".to_vec())]), clean_tar() => PathEscape;
    tar_link_out_of_the_tree_is_named: TAR, with(&[Entry::link("p-1/l", b'2', "../../evil")]), clean_tar() => EscapingLink;
    tar_absolute_link_is_named: TAR, with(&[Entry::link("p-1/l", b'2', "/etc")]), clean_tar() => EscapingLink;
    tar_hard_link_to_nothing_is_named: TAR, with(&[Entry::link("p-1/h", b'1', "../etc/passwd")]), clean_tar() => EscapingLink;
    tar_member_written_through_link_is_named: TAR, with(&[Entry::link("p-1/d", b'2', "."), Entry::file("p-1/d/x", b"")]), clean_tar() => EscapingLink;
    tar_device_is_named: TAR, with(&[Entry::new("p-1/dev", b'3', b"")]), clean_tar() => SpecialFile;
    tar_fifo_is_named: TAR, with(&[Entry::new("p-1/fifo", b'6', b"")]), clean_tar() => SpecialFile;
    tar_set_user_id_is_named: TAR, last(|entry| entry.mode = b"0004644\0".to_vec()), clean_tar() => SpecialFile;
    tar_sparse_file_is_named: TAR, with(&[Entry::new("p-1/s", b'S', b"")]), clean_tar() => UnsupportedFeature;
    tar_pax_sparse_file_is_named: TAR, with(&[Entry::pax(b'x', &[("GNU.sparse.major", "1")]), Entry::file("p-1/s", b"")]), clean_tar() => UnsupportedFeature;
    tar_unknown_type_is_named: TAR, with(&[Entry::new("p-1/s", b'Z', b"")]), clean_tar() => UnsupportedFeature;
    tar_data_on_a_link_is_named: TAR, with(&[Entry::new("p-1/l", b'2', b"data").with(|entry| entry.link = b"a.py".to_vec())]), clean_tar() => HeaderMismatch;
    tar_data_on_a_directory_is_named: TAR, with(&[Entry::new("p-1/d", b'5', &open_tar(&[Entry::file("evil", b"evil")]))]), clean_tar() => HeaderMismatch;
    tar_pax_path_that_overrides_is_named: TAR, with(&[Entry::pax(b'x', &[("path", "p-1/evil.py")]), Entry::file("p-1/good.txt", b"")]), clean_tar() => HeaderMismatch;
    tar_pax_size_that_overrides_is_named: TAR, with(&[Entry::pax(b'x', &[("size", "0")]), Entry::file("p-1/g", &open_tar(&[Entry::file("evil", b"evil")]))]), clean_tar() => HeaderMismatch;
    tar_pax_size_beyond_the_file_is_named: TAR, with(&[Entry::pax(b'x', &[("size", "99999999")]), Entry::file("p-1/g", b"x")]), clean_tar() => HeaderMismatch;
    tar_needless_pax_path_is_named: TAR, with(&[Entry::pax(b'x', &[("path", "p-1/g")]), Entry::file("p-1/g", b"")]), clean_tar() => NonCanonical;
    tar_repeated_pax_record_is_named: TAR, with(&[Entry::pax(b'x', &[("mtime", "1"), ("mtime", "2")]), Entry::file("p-1/g", b"")]), clean_tar() => NonCanonical;
    tar_broken_pax_record_is_named: TAR, with(&[Entry::new("pax", b'x', b"99 path=x\n"), Entry::file("p-1/g", b"")]), clean_tar() => NonCanonical;
    tar_unknown_pax_record_is_named: TAR, with(&[Entry::pax(b'x', &[("SCHILY.xattr.security.capability", "x")]), Entry::file("p-1/g", b"")]), clean_tar() => UnsupportedFeature;
    tar_global_pax_path_is_named: TAR, tar(&[&[Entry::pax(b'g', &[("path", "evil")])], &clean_entries()[..]].concat()), clean_tar() => UnsupportedFeature;
    tar_long_name_with_hidden_rest_is_named: TAR, long_name(&[&b"p-1/"[..], &[b'n'; 120], b"\0evil\0"].concat(), &format!("p-1/{}", "n".repeat(96))), clean_tar() => NonCanonical;
    tar_long_name_that_overrides_is_named: TAR, long_name(&[&b"p-1/"[..], &[b'n'; 120], b"\0"].concat(), "p-1/other"), clean_tar() => HeaderMismatch;
    tar_short_long_name_is_named: TAR, long_name(b"p-1/evil.py\0", "p-1/good.txt"), clean_tar() => HeaderMismatch;
    tar_pax_and_gnu_name_together_are_named: TAR, with(&[
        Entry::new("././@LongLink", b'L', &[&b"p-1/"[..], &[b'n'; 120], b"\0"].concat()),
        Entry::pax(b'x', &[("path", &format!("p-1/{}", "n".repeat(121)))]),
        Entry::file(&format!("p-1/{}", "n".repeat(96)), b"")]), clean_tar() => HeaderMismatch;
    tar_extension_without_member_is_named: TAR, with(&[Entry::pax(b'x', &[("mtime", "1")])]), clean_tar() => InteriorData;
    tar_data_behind_a_name_is_named: TAR, last(|entry| entry.name = b"p-1/a.py\0evil".to_vec()), clean_tar() => NonCanonical;
    tar_data_behind_a_user_name_is_named: TAR, last(|entry| entry.user = b"u\0evil".to_vec()), clean_tar() => NonCanonical;
    tar_data_behind_the_header_is_named: TAR, last(|entry| entry.rest = b"evil".to_vec()), clean_tar() => NonCanonical;
    tar_prefix_under_gnu_magic_is_named: TAR, last(|entry| { entry.magic = b"ustar  \0".to_vec(); entry.prefix = b"evil".to_vec(); }), clean_tar() => NonCanonical;
    tar_unknown_magic_is_named: TAR, last(|entry| entry.magic = b"evil\0\0\0\0".to_vec()), clean_tar() => NonCanonical;
    tar_binary_size_is_named: TAR, last(|entry| entry.size = b"\x80\0\0\0\0\0\0\0\0\0\0\x0b".to_vec()), clean_tar() => NonCanonical;
    tar_number_that_is_none_is_named: TAR, last(|entry| entry.uid = b"evil\0\0\0\0".to_vec()), clean_tar() => NonCanonical;
    tar_size_that_is_no_number_is_named: TAR, last(|entry| entry.size = b"99\0".to_vec()), clean_tar() => NonCanonical;
    tar_size_beyond_the_file_is_named: TAR, last(|entry| entry.size = b"77777777777\0".to_vec()), clean_tar() => Truncated;
    tar_checksum_lie_is_named: TAR, last(|entry| entry.checksum_error = 1), clean_tar() => ChecksumMismatch;
    tar_padding_data_is_named: TAR, last(|entry| entry.padding = b'x'), clean_tar() => InteriorData;
    tar_member_behind_the_end_is_named: TAR, [clean_tar(), open_tar(&[Entry::file("evil", b"evil")])].concat(), clean_tar() => TrailingData;
    tar_lone_zero_block_hides_no_member: TAR, [open_tar(&clean_entries()), vec![0; 512], tar(&[Entry::file("evil", b"")])].concat(), clean_tar() => TrailingData;
    tar_without_end_is_named: TAR, open_tar(&clean_entries()), clean_tar() => Truncated;
    tar_with_half_an_end_is_named: TAR, [open_tar(&clean_entries()), vec![0; 512]].concat(), clean_tar() => NonCanonical;
    tar_cut_in_a_header_is_named: TAR, clean_tar()[..700], clean_tar() => Truncated;
    tar_cut_in_a_content_is_named: TAR, clean_tar()[..1027], clean_tar() => Truncated;
    tar_that_is_no_tar_is_named: TAR, [b'x'; 2048], clean_tar() => ChecksumMismatch;
    tar_that_is_empty_is_named: TAR, b""[..], clean_tar() => Truncated;
    gzip_second_stream_is_named: TAR_GZ, [packed(), gzip(&tar(&[Entry::file("evil", b"")]), 6)].concat(), packed() => ExtraStream;
    gzip_trailing_data_is_named: TAR_GZ, [packed(), b"evil".to_vec()].concat(), packed() => TrailingData;
    gzip_checksum_lie_is_named: TAR_GZ, patched_trailer(8), packed() => ChecksumMismatch;
    gzip_size_lie_is_named: TAR_GZ, patched_trailer(1), packed() => ChecksumMismatch;
    gzip_extra_field_is_named: TAR_GZ, gzip_with(&clean_tar(), 6, b"\x1f\x8b\x08\x04\0\0\0\0\x02\xff\x04\0evil"), packed() => NonCanonical;
    gzip_comment_is_named: TAR_GZ, gzip_with(&clean_tar(), 6, b"\x1f\x8b\x08\x10\0\0\0\0\x02\xffevil\0"), packed() => NonCanonical;
    gzip_reserved_flag_is_named: TAR_GZ, gzip_with(&clean_tar(), 6, b"\x1f\x8b\x08\x20\0\0\0\0\x02\xff"), packed() => UnsupportedFeature;
    gzip_header_checksum_lie_is_named: TAR_GZ, gzip_with(&clean_tar(), 6, b"\x1f\x8b\x08\x02\0\0\0\0\x02\xff\0\0"), packed() => ChecksumMismatch;
    gzip_cut_in_the_trailer_is_named: TAR_GZ, packed()[..packed().len() - 1], packed() => Truncated;
    gzip_cut_in_the_stream_is_named: TAR_GZ, packed()[..40], packed() => Truncated;
    gzip_that_is_none_is_named: TAR_GZ, clean_tar(), packed() => Truncated;
    gzip_bomb_is_named: TAR_GZ, gzip(&tar(&[Entry::file("zeros", &vec![0; 80 << 20])]), 9), packed() => AbsurdSize;
    gzip_alone_with_trailing_data_is_named: "p.gz", [gzip(b"x", 6), b"y".to_vec()].concat(), gzip(b"x", 6) => TrailingData;
}

#[test]
fn tar_added_member_is_seen() {
    assert_difference_is_seen(&with(&[Entry::file("p-1/evil.py", b"")]), &clean_tar(), TAR, DifferenceClass::OnlyPublished);
}

#[test]
fn tar_empty_directory_is_a_member() {
    assert_difference_is_seen(&with(&[Entry::new("p-1/d/", b'5', b"")]), &clean_tar(), TAR, DifferenceClass::OnlyPublished);
}

#[test]
fn tar_executable_bit_is_never_dropped() {
    let changed = last(|entry| entry.mode = b"0000744\0".to_vec());
    assert_difference_is_seen(&changed, &clean_tar(), TAR, DifferenceClass::Metadata);
}

#[test]
fn tar_link_target_and_type_are_never_dropped() {
    let link = |flag, target| with(&[Entry::link("p-1/l", flag, target)]);
    assert_difference_is_seen(&link(b'2', "a.py"), &link(b'2', "b.py"), TAR, DifferenceClass::Metadata);
    assert_difference_is_seen(&link(b'2', "p-1/a.py"), &link(b'1', "p-1/a.py"), TAR, DifferenceClass::Metadata);
}

#[test]
fn gzip_content_alone_is_seen() {
    assert_difference_is_seen(&gzip(b"x", 6), &gzip(b"y", 6), "p.gz", DifferenceClass::Content);
}
