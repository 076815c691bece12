//! Attacks on the structure of a zip. Each is a published file; the rebuilt one is clean.

use quorate_proto::comparison::{DifferenceClass, Level};

use crate::attack::{assert_difference_is_seen, attacks, compared};
use crate::build_zip::{Frame, Member, clean, clean_members, deflate, framed, zip, zip64_end};

const ZIP: &str = "p.zip";

/// The clean archive with its first member changed.
pub(crate) fn first(change: impl FnOnce(&mut Member)) -> Vec<u8> {
    let mut members = clean_members();
    change(&mut members[0]);
    zip(&members)
}

/// The clean archive with one member more.
pub(crate) fn with(member: Member) -> Vec<u8> {
    zip(&[clean_members(), vec![member]].concat())
}

pub(crate) fn frame(change: impl FnOnce(&mut Frame)) -> Vec<u8> {
    let mut frame = Frame::default();
    change(&mut frame);
    framed(&clean_members(), &frame)
}

pub(crate) fn named(name: &str) -> Vec<u8> {
    with(Member::stored(name, b"x"))
}

pub(crate) fn typed(mode: u32) -> Vec<u8> {
    with(Member::stored("pkg/s", b"x").with(|member| member.external = mode << 16))
}

pub(crate) fn link(target: &str) -> Vec<u8> {
    with(Member::stored("pkg/l", target.as_bytes()).with(|member| member.external = 0o120_777 << 16))
}

pub(crate) fn extra(tag: u16, value: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &u16::try_from(value.len()).unwrap().to_le_bytes(), value].concat()
}

/// The end record of another directory, hidden in the archive comment.
fn shadow_end_record() -> Vec<u8> {
    let hidden = zip(&[Member::stored("evil.py", b"evil")]);
    frame(|frame| frame.comment = hidden[hidden.len() - 22..].to_vec())
}

fn overlapping() -> Vec<u8> {
    let mut members = clean_members();
    members[1].offset = Some(0);
    zip(&members)
}

/// Several central records over one block of data: the classic non-recursive bomb.
fn overlap_bomb() -> Vec<u8> {
    let kernel = Member::deflated("0", &vec![0; 1 << 20]);
    let copies = (1..200).map(|n| {
        kernel.clone().with(|member| {
            member.central.name = n.to_string().into_bytes();
            member.offset = Some(0);
            member.data = Vec::new();
        })
    });
    zip(&std::iter::once(kernel.clone()).chain(copies).collect::<Vec<_>>())
}

fn ratio_bomb() -> Vec<u8> {
    with(Member::deflated("zeros", &vec![0; 80 << 20]))
}

attacks! {
    zip_duplicate_name_is_named: ZIP, with(Member::stored("pkg/a.py", b"evil")), clean() => DuplicateName;
    zip_directory_and_file_of_one_name_are_duplicates: ZIP, with(Member::stored("pkg/a.py/", b"")), clean() => DuplicateName;
    zip_case_collision_is_named: ZIP, named("pkg/A.py"), clean() => CollidingName;
    zip_unicode_collision_is_named: ZIP, zip(&[clean_members(), vec![
        Member::stored("caf\u{e9}", b"1").both(|header| header.flags |= 1 << 11),
        Member::stored("cafe\u{301}", b"2").both(|header| header.flags |= 1 << 11)]].concat()), clean() => CollidingName;
    zip_parent_case_collision_is_named: ZIP, named("PKG/c.py"), clean() => CollidingName;
    zip_file_below_a_file_is_named: ZIP, named("pkg/a.py/x"), clean() => CollidingName;
    zip_leading_data_is_named: ZIP, frame(|frame| frame.prefix = b"#!/bin/sh\n".to_vec()), clean() => LeadingData;
    zip_leading_data_inside_offsets_is_named: ZIP, first(|member| member.gap = b"#!/bin/sh\n".to_vec()), clean() => LeadingData;
    zip_data_between_members_is_named: ZIP, zip(&{ let mut members = clean_members(); members[1].gap = b"evil".to_vec(); members }), clean() => InteriorData;
    zip_data_before_directory_is_named: ZIP, frame(|frame| frame.before_directory = b"evil".to_vec()), clean() => InteriorData;
    zip_data_in_directory_is_named: ZIP, frame(|frame| frame.in_directory = b"evil".to_vec()), clean() => InteriorData;
    zip_trailing_data_is_named: ZIP, frame(|frame| frame.suffix = b"evil".to_vec()), clean() => TrailingData;
    zip_comment_is_named: ZIP, frame(|frame| frame.comment = b"evil".to_vec()), clean() => NonCanonical;
    zip_member_comment_is_named: ZIP, first(|member| member.comment = b"evil".to_vec()), clean() => NonCanonical;
    zip_data_behind_deflate_stream_is_named: ZIP, zip(&[Member::packed(b"pkg/a.py", b"print('a')\n", 8, [deflate(b"print('a')\n", 6), b"evil".to_vec()].concat()), clean_members()[1].clone()]), clean() => InteriorData;
    zip_local_name_disagreement_is_named: ZIP, first(|member| member.local.name = b"pkg/e.py".to_vec()), clean() => HeaderMismatch;
    zip_local_size_disagreement_is_named: ZIP, first(|member| member.local.size += 1), clean() => HeaderMismatch;
    zip_local_packed_size_disagreement_is_named: ZIP, first(|member| member.local.packed -= 1), clean() => HeaderMismatch;
    zip_local_method_disagreement_is_named: ZIP, first(|member| member.local.method = 0), clean() => HeaderMismatch;
    zip_local_flags_disagreement_is_named: ZIP, first(|member| member.local.flags = 2), clean() => HeaderMismatch;
    zip_local_crc_disagreement_is_named: ZIP, first(|member| member.local.crc ^= 1), clean() => HeaderMismatch;
    zip_local_time_disagreement_is_named: ZIP, first(|member| member.local.time ^= 1), clean() => HeaderMismatch;
    zip_missing_local_header_is_named: ZIP, first(|member| member.offset = Some(1)), clean() => HeaderMismatch;
    zip_offset_beyond_the_file_is_named: ZIP, first(|member| member.offset = Some(u32::MAX - 1)), clean() => HeaderMismatch;
    zip_descriptor_disagreement_is_named: ZIP, zip(&[clean_members()[0].clone().streamed().with(|member| member.descriptor[8] ^= 1), clean_members()[1].clone()]), clean() => HeaderMismatch;
    zip_missing_descriptor_is_named: ZIP, first(|member| { *member = member.clone().streamed(); member.descriptor.clear(); }), clean() => HeaderMismatch;
    zip_declared_size_too_small_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.size -= 1), clean_members()[1].clone()]), clean() => HeaderMismatch;
    zip_declared_size_too_large_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.size += 1), clean_members()[1].clone()]), clean() => HeaderMismatch;
    zip_stored_size_lie_is_named: ZIP, zip(&[clean_members()[0].clone(), clean_members()[1].clone().both(|header| header.size += 1)]), clean() => HeaderMismatch;
    zip_checksum_lie_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.crc ^= 1), clean_members()[1].clone()]), clean() => ChecksumMismatch;
    zip_overlap_is_named: ZIP, overlapping(), clean() => OverlappingMembers;
    zip_overlap_bomb_is_named: ZIP, overlap_bomb(), clean() => OverlappingMembers;
    zip_data_running_into_directory_is_named: ZIP, zip(&[clean_members()[0].clone(), clean_members()[1].clone().both(|header| { header.packed += 40; header.size += 40; })]), clean() => OverlappingMembers;
    zip_ratio_bomb_is_named: ZIP, ratio_bomb(), clean() => AbsurdSize;
    zip_declared_size_beyond_deflate_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.size = u32::MAX - 1), clean_members()[1].clone()]), clean() => AbsurdSize;
    zip64_size_lie_is_named: ZIP, first(|member| { member.central.size = u32::MAX; member.central.extra = extra(1, &(1u64 << 60).to_le_bytes()); }), clean() => AbsurdSize;
    zip_encrypted_flag_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.flags |= 1), clean_members()[1].clone()]), clean() => Encrypted;
    zip_unknown_method_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.method = 12), clean_members()[1].clone()]), clean() => UnsupportedFeature;
    zip_unknown_flag_is_named: ZIP, zip(&[clean_members()[0].clone().both(|header| header.flags |= 1 << 5), clean_members()[1].clone()]), clean() => UnsupportedFeature;
    zip_absolute_name_is_named: ZIP, named("/etc/passwd"), clean() => PathEscape;
    zip_parent_name_is_named: ZIP, named("pkg/../../evil"), clean() => PathEscape;
    zip_drive_name_is_named: ZIP, named("C:evil"), clean() => PathEscape;
    zip_backslash_name_is_named: ZIP, named("..\\evil"), clean() => MalformedName;
    zip_nul_name_is_named: ZIP, named("evil.py\0.txt"), clean() => MalformedName;
    zip_control_character_name_is_named: ZIP, named("a\x1b[2Jb"), clean() => MalformedName;
    zip_right_to_left_name_is_named: ZIP, with(Member::stored("a\u{202e}yp.b", b"").both(|header| header.flags |= 1 << 11)), clean() => MalformedName;
    zip_name_without_utf8_flag_is_named: ZIP, named("caf\u{e9}"), clean() => MalformedName;
    zip_name_that_is_not_utf8_is_named: ZIP, with(Member::packed(b"\xff\xfe", b"", 0, Vec::new())), clean() => MalformedName;
    zip_empty_name_is_named: ZIP, named(""), clean() => MalformedName;
    zip_dot_name_is_named: ZIP, named("pkg/./c"), clean() => NonCanonical;
    zip_link_out_of_the_tree_is_named: ZIP, link("../../evil"), clean() => EscapingLink;
    zip_absolute_link_is_named: ZIP, link("/etc/passwd"), clean() => EscapingLink;
    zip_member_written_through_link_is_named: ZIP, zip(&[clean_members(), vec![
        Member::stored("d", b"pkg").with(|member| member.external = 0o120_777 << 16), Member::stored("d/x", b"x")]].concat()), clean() => EscapingLink;
    zip_device_is_named: ZIP, typed(0o020_644), clean() => SpecialFile;
    zip_fifo_is_named: ZIP, typed(0o010_644), clean() => SpecialFile;
    zip_set_user_id_is_named: ZIP, typed(0o104_755), clean() => SpecialFile;
    zip_directory_bit_on_a_file_is_named: ZIP, typed(0o040_755), clean() => HeaderMismatch;
    zip_unknown_extra_field_is_named: ZIP, first(|member| member.central.extra = extra(0xcafe, b"x")), clean() => NonCanonical;
    zip_unicode_path_extra_field_is_named: ZIP, first(|member| member.local.extra = extra(0x7075, b"\x01\0\0\0\0evil.py")), clean() => NonCanonical;
    zip_cut_off_extra_field_is_named: ZIP, first(|member| member.central.extra = b"\x55\x54\xff\0x".to_vec()), clean() => NonCanonical;
    zip_needless_zip64_value_is_named: ZIP, first(|member| member.central.extra = extra(1, &9u64.to_le_bytes())), clean() => HeaderMismatch;
    zip_missing_zip64_value_is_named: ZIP, first(|member| member.offset = Some(u32::MAX)), clean() => HeaderMismatch;
    zip64_end_record_that_disagrees_is_named: ZIP, frame(|frame| frame.zip64 = Some(|count, size, start| zip64_end(count, size, start).into_iter().enumerate().map(|(at, byte)| if at == 24 { byte - 1 } else { byte }).collect())), clean() => HeaderMismatch;
    zip64_locator_without_record_is_named: ZIP, frame(|frame| frame.zip64 = Some(|count, size, start| zip64_end(count, size, start)[56..].to_vec())), clean() => HeaderMismatch;
    zip64_locator_elsewhere_is_named: ZIP, frame(|frame| frame.zip64 = Some(|count, size, start| { let mut end = zip64_end(count, size, start); end[64] ^= 1; end })), clean() => HeaderMismatch;
    zip_end_record_in_comment_is_named: ZIP, shadow_end_record(), clean() => HeaderMismatch;
    zip_two_end_records_are_named: ZIP, frame(|frame| { frame.suffix = clean()[clean().len() - 22..].to_vec(); frame.comment = Vec::new(); }), clean() => Truncated;
    zip_split_over_disks_is_named: ZIP, frame(|frame| frame.count_here = Some(1)), clean() => HeaderMismatch;
    zip_member_on_another_disk_is_named: ZIP, first(|member| member.disk = 1), clean() => UnsupportedFeature;
    zip_count_too_small_hides_no_member: ZIP, frame(|frame| { frame.count = Some(1); frame.count_here = Some(1); }), clean() => InteriorData;
    zip_count_too_large_is_named: ZIP, frame(|frame| { frame.count = Some(3); frame.count_here = Some(3); }), clean() => Truncated;
    zip_directory_size_lie_is_named: ZIP, frame(|frame| frame.directory_size = Some(u32::MAX)), clean() => Truncated;
    zip_directory_offset_lie_is_named: ZIP, frame(|frame| frame.directory_offset = Some(3)), clean() => LeadingData;
    zip_without_end_is_named: ZIP, clean()[..clean().len() - 1], clean() => Truncated;
    zip_that_is_no_zip_is_named: ZIP, b"hello"[..], clean() => Truncated;
    zip_that_is_empty_is_named: ZIP, b""[..], clean() => Truncated;
}

#[test]
fn zip_added_member_is_seen() {
    assert_difference_is_seen(&named("pkg/evil.py"), &clean(), ZIP, DifferenceClass::OnlyPublished);
}

#[test]
fn zip_changed_content_is_seen() {
    let changed = zip(&[Member::deflated("pkg/a.py", b"print('b')\n"), clean_members()[1].clone()]);
    assert_difference_is_seen(&changed, &clean(), ZIP, DifferenceClass::Content);
}

#[test]
fn zip_executable_bit_is_never_dropped() {
    let changed = first(|member| member.external = 0o100_755 << 16);
    assert_difference_is_seen(&changed, &clean(), ZIP, DifferenceClass::Metadata);
}

#[test]
fn zip_executable_bit_is_seen_beside_another_content() {
    let member = Member::deflated("pkg/a.py", b"evil\n").with(|member| member.external = 0o100_755 << 16);
    let changed = zip(&[member, clean_members()[1].clone()]);
    assert_difference_is_seen(&changed, &clean(), ZIP, DifferenceClass::Metadata);
    assert_difference_is_seen(&changed, &clean(), ZIP, DifferenceClass::Content);
}

#[test]
fn zip_executable_bit_counts_whatever_the_host_says() {
    let changed = first(|member| {
        member.external = 0o100_755 << 16;
        member.made_by = 0;
    });
    assert_difference_is_seen(&changed, &clean(), ZIP, DifferenceClass::Metadata);
}

#[test]
fn zip_link_target_is_never_dropped() {
    assert_difference_is_seen(&link("a.py"), &link("b.txt"), ZIP, DifferenceClass::Metadata);
    assert_difference_is_seen(&link("a.py"), &with(Member::stored("pkg/l", b"a.py")), ZIP, DifferenceClass::Content);
}

#[test]
fn zip_empty_directory_is_a_member() {
    assert_difference_is_seen(&named("pkg/empty/"), &clean(), ZIP, DifferenceClass::OnlyPublished);
}

#[test]
fn an_anomaly_of_both_sides_forces_nothing() {
    let published = frame(|frame| frame.comment = b"both".to_vec());
    let mut members = clean_members();
    members[0] = members[0].clone().both(|header| header.time = 1);
    let rebuilt = framed(&members, &Frame { comment: b"both".to_vec(), ..Frame::default() });
    let comparison = compared(&published, &rebuilt, ZIP);
    assert_eq!((comparison.level, comparison.anomalies.len()), (Level::Normal, 2));
    let other = framed(&members, &Frame { comment: b"othr".to_vec(), ..Frame::default() });
    assert_eq!(compared(&published, &other, ZIP).level, Level::Different);
}
