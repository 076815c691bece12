//! Rows of the page about zip and wheels that go beyond the attacks, and their honest neighbours.

use super::{FormVector, assert_vectors, attack_vectors, form_vector};
use crate::build_zip::{Frame, Member, Zip64, clean, clean_members, deflate, zip, zip64_end};
use crate::tampered_wheel::{WHEEL, files, record, wheel};
use crate::tampered_zip::{extra, first, frame};
use crate::{tampered_wheel, tampered_zip};

/// An archive of one small member, changed.
fn one(title: &str, change: impl FnOnce(&mut Member)) -> FormVector {
    form_vector(title, "p.zip", &zip(&[Member::stored("a", b"aa").with(change)]))
}

fn both(title: &str, change: impl Fn(&mut crate::build_zip::Header)) -> FormVector {
    form_vector(title, "p.zip", &zip(&[Member::stored("a", b"aa").both(change)]))
}

fn around(title: &str, change: impl FnOnce(&mut Frame)) -> FormVector {
    form_vector(title, "p.zip", &frame(change))
}

/// The clean archive with one byte, counted from the end, changed.
fn patched(title: &str, from_end: usize, value: u8) -> FormVector {
    let mut bytes = clean();
    let at = bytes.len() - from_end;
    bytes[at] = value;
    form_vector(title, "p.zip", &bytes)
}

fn ends() -> Vec<FormVector> {
    let zip64 = |title, zip64: Zip64| around(title, |frame| frame.zip64 = Some(zip64));
    vec![
        patched("end record: disk 1", 18, 1),
        patched("end record: directory on disk 1", 16, 1),
        patched("end record: comment cut off", 2, 1),
        zip64("zip64 end record that agrees", zip64_end),
        around("zip64 end record that is needed", |frame| {
            frame.zip64 = Some(zip64_end);
            (frame.count, frame.count_here) = (Some(u16::MAX), Some(u16::MAX));
            (frame.directory_size, frame.directory_offset) = (Some(u32::MAX), Some(u32::MAX));
        }),
        around("zip64 end record and data before the archive", |frame| {
            frame.zip64 = Some(zip64_end);
            frame.prefix = b"x".to_vec();
        }),
        zip64("zip64 end record of another size", |count, size, start| changed(zip64_end(count, size, start), 4, 45)),
        zip64("zip64 end record on disk 1", |count, size, start| changed(zip64_end(count, size, start), 16, 1)),
        zip64("zip64 locator on disk 1", |count, size, start| changed(zip64_end(count, size, start), 60, 1)),
        zip64("zip64 locator of two disks", |count, size, start| changed(zip64_end(count, size, start), 72, 2)),
        zip64("zip64 end record with unequal counts", |count, size, start| changed(zip64_end(count, size, start), 24, 1)),
        zip64("zip64 end record without a locator", |count, size, start| zip64_end(count, size, start)[..56].to_vec()),
    ]
}

fn changed(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    bytes
}

fn modes() -> Vec<FormVector> {
    let moded = |title: &str, name: &str, mode: u32, dos: u32| {
        form_vector(title, "p.zip", &zip(&[Member::stored(name, b"").with(|member| member.external = mode << 16 | dos)]))
    };
    vec![
        moded("mode: file with a directory's name", "a/", 0o100_644, 0),
        moded("mode: directory with a file's name", "a", 0o040_755, 0),
        moded("mode: DOS directory with a file's name", "a", 0o100_644, 0x10),
        moded("mode: directory that DOS does not know", "a/", 0o040_755, 0),
        moded("mode: directory by its name alone", "a/", 0, 0),
        moded("mode: link with a directory's name", "a/", 0o120_777, 0),
        moded("mode: none at all", "a", 0, 0x20),
        moded("mode: executable bits without a type", "a", 0o755, 0),
        moded("mode: set-user-id without a type", "a", 0o4644, 0),
        moded("mode: set-group-id", "a", 0o102_755, 0),
        moded("mode: set-group-id of a directory", "a/", 0o042_755, 0x10),
        moded("mode: sticky", "a", 0o101_644, 0),
        moded("mode: unknown type", "a", 0o150_644, 0),
        moded("mode: socket", "a", 0o140_644, 0),
        moded("mode: block device", "a", 0o060_644, 0),
        one("mode: directory with contents", |member| {
            for header in [&mut member.central, &mut member.local] {
                header.name = b"a/".to_vec();
            }
        }),
        one("mode: executable whatever the host", |member| (member.external, member.made_by) = (0o100_755 << 16, 0x0014)),
        one("mode: executable by the owner's class of others", |member| member.external = 0o100_645 << 16),
    ]
}

fn extras() -> Vec<FormVector> {
    let central = |title: &str, field: Vec<u8>| one(title, |member| member.central.extra = field);
    let wide = |values: &[u64]| extra(1, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
    let known = [0x000a, 0x5455, 0x5855, 0x7855, 0x7875].map(|tag| extra(tag, b"abcde")).concat();
    vec![
        both("extra: times and owners", |header| header.extra.clone_from(&known)),
        central("extra: a tag alone", vec![0x55, 0x54, 0]),
        central("extra: times twice", [extra(0x5455, b"a"), extra(0x5455, b"b")].concat()),
        central("extra: zip64 empty", extra(1, b"")),
        central("extra: zip64 of seven bytes", extra(1, b"1234567")),
        one("extra: zip64 twice", |member| {
            member.central.size = u32::MAX;
            member.central.extra = [wide(&[2]), wide(&[2])].concat();
        }),
        one("extra: zip64 size in the directory", |member| {
            member.central.size = u32::MAX;
            member.central.extra = wide(&[2]);
        }),
        one("extra: zip64 size, packed size and offset", |member| {
            (member.central.size, member.central.packed, member.offset) = (u32::MAX, u32::MAX, Some(u32::MAX));
            member.central.extra = wide(&[2, 2, 0]);
        }),
        one("extra: zip64 with one value too many", |member| {
            member.central.size = u32::MAX;
            member.central.extra = wide(&[2, 2]);
        }),
        one("extra: zip64 sizes in the local header", |member| {
            (member.local.size, member.local.packed) = (u32::MAX, u32::MAX);
            member.local.extra = wide(&[2, 2]);
        }),
        one("extra: zip64 size alone in the local header", |member| {
            member.local.size = u32::MAX;
            member.local.extra = wide(&[2]);
        }),
        one("extra: zip64 in the local header that is not asked for", |member| member.local.extra = wide(&[2, 2])),
    ]
}

fn contents() -> Vec<FormVector> {
    let bits = [4u16, 5, 7, 8, 9, 10, 12, 14, 15];
    let declared = |title: &str, members: u32, size: u32| {
        let member = |n: u32| Member::stored(&n.to_string(), b"").both(|header| (header.method, header.size) = (8, size));
        form_vector(title, "p.zip", &zip(&(0..members).map(member).collect::<Vec<_>>()))
    };
    let mut vectors: Vec<FormVector> = bits.iter().map(|bit| both(&format!("flag bit {bit}"), |header| header.flags = 1 << bit)).collect();
    vectors.extend([0u16, 6, 13].map(|bit| both(&format!("encryption bit {bit}"), |header| header.flags = 1 << bit)));
    vectors.extend([
        both("flag bits 1 and 2", |header| header.flags = 6),
        both("method 9", |header| header.method = 9),
        one("date in the local header", |member| member.local.date ^= 1),
        one("version in the local header", |member| member.local.needed = 45),
        form_vector("deflate stream cut off", "p.zip", &zip(&[Member::packed(b"a", b"aaaa", 8, deflate(b"abcd", 6)[..3].to_vec())])),
        form_vector("deflate stream that is none", "p.zip", &zip(&[Member::packed(b"a", b"aaaa", 8, vec![0xff; 4])])),
        form_vector("deflate stream with an empty content", "p.zip", &zip(&[Member::deflated("a", b"")])),
        declared("a member declared of 64 MiB and no compressed bytes", 1, 64 << 20),
        declared("a member declared above 64 MiB and no compressed bytes", 1, (64 << 20) + 1),
        declared("an archive declared above 64 MiB and no compressed bytes", 3, 30 << 20),
    ]);
    vectors
}

fn descriptors() -> Vec<FormVector> {
    let streamed = || Member::stored("a", b"aa").streamed();
    let form = |title: &str, skipped: usize, is_wide: bool| {
        let member = streamed().with(|member| {
            let wide = [member.central.packed, member.central.size].map(|size| u64::from(size).to_le_bytes()).concat();
            if is_wide {
                member.descriptor.splice(8.., wide);
            }
            member.descriptor.drain(..skipped);
        });
        form_vector(title, "p.zip", &zip(&[member]))
    };
    vec![
        form("descriptor without a signature", 4, false),
        form("descriptor of eight-byte sizes", 0, true),
        form("descriptor of eight-byte sizes without a signature", 4, true),
        form_vector(
            "descriptor and sizes in the local header",
            "p.zip",
            &zip(&[streamed().with(|member| {
                (member.local.crc, member.local.packed, member.local.size) = (member.central.crc, 2, 2);
            })]),
        ),
        form_vector(
            "descriptor and the checksum in the local header",
            "p.zip",
            &zip(&[streamed().with(|member| member.local.crc = member.central.crc)]),
        ),
        form_vector(
            "sizes of 0 in the local header without a descriptor",
            "p.zip",
            &first(|member| {
                (member.local.crc, member.local.packed, member.local.size) = (0, 0, 0);
            }),
        ),
    ]
}

#[test]
fn zip_attacks_are_those_of_the_vectors() {
    assert_vectors("normalize-zip-attacks.json", &attack_vectors(tampered_zip::attack_list()));
}

#[test]
fn zip_rows_are_those_of_the_vectors() {
    let rows = [ends(), modes(), extras(), contents(), descriptors()];
    assert_vectors("normalize-zip-rows.json", &rows.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn wheel_rows_are_those_of_the_vectors() {
    let rows = record(&files());
    let said = |title: &str, record: &str| form_vector(title, WHEEL, &wheel(&files(), record));
    let more = |title: &str, name: &'static str| form_vector(title, WHEEL, &wheel(&[&files()[..], &[(name, "")]].concat(), &rows));
    let mut vectors = attack_vectors(tampered_wheel::attack_list());
    vectors.extend([
        said("RECORD quoted, in CR LF, with an upper-case hash name", &quoted(&rows)),
        said("RECORD without its last line end", rows.trim_end()),
        said("RECORD with a blank row", &format!("{rows}\n")),
        said("RECORD with four fields", &rows.replace("RECORD,,", "RECORD,,,")),
        said("RECORD with a sign in a size", &rows.replace(",6\n", ",+6\n")),
        said("RECORD without a size", &rows.replace(",6\n", ",\n")),
        said("RECORD that does not list itself", &rows.replace("p-1.dist-info/RECORD,,\n", "")),
        said("RECORD that gives itself a size", &rows.replace("RECORD,,", "RECORD,,1")),
        said("RECORD with text behind a quote", &rows.replace("p/__init__.py,", "\"p/__init__.py\"x,")),
        more("signature beside RECORD that is not listed", "p-1.dist-info/RECORD.jws"),
        more("directory that is not listed", "p/d/"),
        more("RECORD in a folder below", "p/p-1.dist-info/RECORD"),
    ]);
    assert_vectors("normalize-wheel.json", &vectors);
}

fn quoted(rows: &str) -> String {
    let row = |line: &str| format!("\"{}\"\r\n", line.replace("sha256", "SHA256").replace(',', "\",\""));
    rows.lines().map(row).collect()
}

#[test]
fn clean_members_have_no_anomalies() {
    assert!(form_vector("clean", "p.zip", &zip(&clean_members())).anomalies.is_empty());
}
