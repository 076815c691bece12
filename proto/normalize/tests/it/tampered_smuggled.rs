//! Attacks that carry data in what passes drop: fields of times, owners and names that no reader shows.

use crate::attack::attacks;
use crate::build_formats::{bzip2, xz, zstd};
use crate::build_tar::{Entry, clean_entries, clean_tar, gzip, gzip_with, tar};
use crate::build_zip::{clean, clean_members, zip};
use crate::tampered_zip::{extra, first};

const PAYLOAD: [u8; 3000] = [b'x'; 3000];

fn pax(key: &str, value: &str) -> Vec<u8> {
    tar(&[clean_entries()[0].clone(), Entry::pax(b'x', &[(key, value)]), clean_entries()[1].clone()])
}

fn payload() -> String {
    String::from_utf8_lossy(&PAYLOAD).into_owned()
}

fn in_extra(tag: u16) -> Vec<u8> {
    first(|member| member.central.extra = extra(tag, &PAYLOAD))
}

fn in_local_extra(tag: u16) -> Vec<u8> {
    first(|member| member.local.extra = extra(tag, &PAYLOAD))
}

fn gzip_named(name: &[u8]) -> Vec<u8> {
    gzip_with(&clean_tar(), 6, &[&b"\x1f\x8b\x08\x08\0\0\0\0\x02\xff"[..], name, b"\0"].concat())
}

attacks! {
    zip_payload_in_a_time_field: "p.zip", in_extra(0x5455), clean() => NonCanonical;
    zip_payload_in_a_local_time_field: "p.zip", in_local_extra(0x5455), clean() => NonCanonical;
    zip_payload_in_a_file_time_field: "p.zip", in_extra(0x000a), clean() => NonCanonical;
    zip_payload_in_an_old_time_field: "p.zip", in_extra(0x5855), clean() => NonCanonical;
    zip_payload_in_an_owner_field: "p.zip", in_extra(0x7855), clean() => NonCanonical;
    zip_payload_in_a_new_owner_field: "p.zip", in_local_extra(0x7875), clean() => NonCanonical;
    zip_payload_in_many_time_fields: "p.zip", first(|member| member.central.extra = extra(0x5455, b"\x01evil").repeat(600)), clean() => NonCanonical;
    zip_payload_in_a_zip64_field: "p.zip", first(|member| member.central.extra = extra(1, &PAYLOAD)), clean() => HeaderMismatch;
    zip_payload_in_padding: "p.zip", first(|member| member.local.extra = extra(0xd935, &PAYLOAD)), clean() => NonCanonical;
    zip_payload_of_one_side_in_local_and_central: "p.zip", first(|member| (member.local.extra, member.central.extra) = (extra(0x5455, &PAYLOAD), extra(0x5455, &PAYLOAD))), clean() => NonCanonical;
    zip_payload_in_a_descriptor: "p.zip", zip(&[clean_members()[0].clone().streamed().with(|member| member.descriptor.extend(PAYLOAD)), clean_members()[1].clone()]), clean() => InteriorData;
    tar_payload_in_a_pax_time: "p.tar", pax("mtime", &payload()), clean_tar() => NonCanonical;
    tar_payload_behind_a_pax_time: "p.tar", pax("mtime", &format!("1.{}", "7".repeat(3000))), clean_tar() => NonCanonical;
    tar_payload_in_a_pax_owner: "p.tar", pax("uname", &payload()), clean_tar() => NonCanonical;
    tar_payload_in_a_pax_number: "p.tar", pax("uid", &payload()), clean_tar() => NonCanonical;
    tar_payload_in_a_comment: "p.tar", pax("comment", &payload()), clean_tar() => NonCanonical;
    tar_payload_in_a_comment_for_all: "p.tar", tar(&[&[Entry::pax(b'g', &[("comment", &payload())])], &clean_entries()[..]].concat()), clean_tar() => NonCanonical;
    tar_payload_in_many_comments_for_all: "p.tar", tar(&[vec![Entry::pax(b'g', &[("comment", "evil")]); 50], clean_entries()].concat()), clean_tar() => NonCanonical;
    tar_payload_in_the_link_target_of_a_file: "p.tar", pax("linkpath", &payload()), clean_tar() => HeaderMismatch;
    tar_payload_in_the_long_link_of_a_file: "p.tar", tar(&[clean_entries()[0].clone(), Entry::new("././@LongLink", b'K', &[&PAYLOAD[..], b"\0"].concat()), clean_entries()[1].clone()]), clean_tar() => HeaderMismatch;
    tar_payload_in_an_unknown_key: "p.tar", pax("evil", &payload()), clean_tar() => UnsupportedFeature;
    gzip_payload_in_its_name: "p.tar.gz", gzip_named(&PAYLOAD), gzip(&clean_tar(), 6) => NonCanonical;
    gzip_name_that_climbs: "p.tar.gz", gzip_named(b"../../evil"), gzip(&clean_tar(), 6) => PathEscape;
    gzip_name_with_control_characters: "p.tar.gz", gzip_named(b"\x1b[2Jx"), gzip(&clean_tar(), 6) => MalformedName;
    xz_payload_in_an_empty_stream: "p.tar.xz", [xz(&clean_tar()), xz(b"")].concat(), xz(&clean_tar()) => ExtraStream;
    zstd_payload_in_an_empty_frame: "p.tar.zst", [zstd(&clean_tar()), zstd(b"")].concat(), zstd(&clean_tar()) => ExtraStream;
    bzip2_payload_in_an_empty_stream: "p.tar.bz2", [bzip2(&clean_tar(), 9), bzip2(b"", 9)].concat(), bzip2(&clean_tar(), 9) => ExtraStream;
    gzip_payload_in_an_empty_stream: "p.tar.gz", [gzip(&clean_tar(), 6), gzip(b"", 6)].concat(), gzip(&clean_tar(), 6) => ExtraStream;
}
