//! Attacks that change what an archive holds, with each structure as honest as before.

use crate::attack::attacks;
use crate::build_formats::{ArMember, ar, deb, deb_control, deb_files, deb_members, deb_of, tar_gz, xz, zstd_packed};
use crate::build_tar::{Entry, clean_entries, clean_tar, gzip, tar};
use crate::build_zip::{Member, clean, clean_members, zip};
use crate::tampered_tar::{last, with};
use crate::tampered_zip::{first, link, named};

fn deb_part(at: usize, name: &str, data: &[u8]) -> Vec<u8> {
    let mut members = deb_members();
    members[at] = ArMember::new(name, data);
    ar(&members)
}

fn deb_and(name: &str, data: &[u8]) -> Vec<u8> {
    let mut members = deb_members();
    members.push(ArMember::new(name, data));
    ar(&members)
}

fn control(files: &[Entry]) -> Vec<u8> {
    deb_part(1, "control.tar.xz", &xz(&tar(&[&[Entry::new("./", b'5', b""), Entry::file("./control", b"Package: x\n")], files].concat())))
}

fn script(name: &str, content: &[u8]) -> Entry {
    Entry::file(name, content).with(|entry| entry.mode = b"0000755\0".to_vec())
}

fn data(change: impl FnOnce(&mut Vec<Entry>)) -> Vec<u8> {
    let mut files = deb_files();
    change(&mut files);
    deb_of(&files)
}

fn library(members: &[(&str, &[u8])]) -> Vec<u8> {
    ar(&members.iter().map(|(name, data)| ArMember::new(name, data)).collect::<Vec<_>>())
}

fn npm(files: &[(&str, &str)]) -> Vec<u8> {
    tar_gz("package", &[&[("package.json", "{\"name\":\"p\"}"), ("index.js", "1\n")], files].concat(), "0\0")
}

fn npm_json(json: &str) -> Vec<u8> {
    tar_gz("package", &[("package.json", json), ("index.js", "1\n")], "0\0")
}

attacks! {
    zip_member_added: "p.zip", named("pkg/evil.py"), clean() => seen OnlyPublished;
    zip_member_dropped: "p.zip", zip(&clean_members()[..1]), clean() => seen OnlyRebuilt;
    zip_content_changed_by_one_byte: "p.zip", zip(&[Member::deflated("pkg/a.py", b"print('b')\n"), clean_members()[1].clone()]), clean() => seen Content;
    zip_executable_bit_set: "p.zip", first(|member| member.external = 0o100_755 << 16), clean() => seen Metadata;
    zip_executable_bit_under_a_dos_host: "p.zip", first(|member| (member.external, member.made_by) = (0o100_755 << 16, 20)), clean() => seen Metadata;
    zip_link_swapped_for_its_file: "p.zip", link("a.py"), zip(&[clean_members(), vec![Member::stored("pkg/l", b"a.py")]].concat()) => seen Metadata;
    zip_link_to_another_file: "p.zip", link("a.py"), link("b.txt") => seen Metadata;
    zip_empty_folder_added: "p.zip", named("pkg/evil/"), clean() => seen OnlyPublished;
    zip_startup_file_added: "p.whl.zip", named("evil.pth"), clean() => seen OnlyPublished;
    zip_compiled_file_beside_its_source: "p.zip", named("pkg/__pycache__/a.cpython-311.pyc"), clean() => seen OnlyPublished;
    zip_name_with_a_trailing_dot: "p.zip", named("pkg/a.py."), clean() => seen OnlyPublished;
    zip_name_with_a_trailing_space: "p.zip", named("pkg/a.py "), clean() => seen OnlyPublished;
    zip_name_of_a_device: "p.zip", named("pkg/CON"), clean() => seen OnlyPublished;
    zip_lookalike_name: "p.zip", zip(&[clean_members(), vec![Member::stored("pkg/\u{430}.py", b"x").both(|header| header.flags |= 1 << 11)]].concat()), clean() => seen OnlyPublished;
    tar_member_added: "p.tar", with(&[Entry::file("p-1/evil.py", b"evil")]), clean_tar() => seen OnlyPublished;
    tar_member_dropped: "p.tar", tar(&clean_entries()[..1]), clean_tar() => seen OnlyRebuilt;
    tar_content_changed: "p.tar", last(|entry| entry.data[7] = b'b'), clean_tar() => seen Content;
    tar_executable_bit_set: "p.tar", last(|entry| entry.mode = b"0000755\0".to_vec()), clean_tar() => seen Metadata;
    tar_executable_bit_for_others_alone: "p.tar", last(|entry| entry.mode = b"0000645\0".to_vec()), clean_tar() => seen Metadata;
    tar_file_swapped_for_a_link: "p.tar", with(&[Entry::link("p-1/b", b'2', "a.py")]), with(&[Entry::file("p-1/b", b"")]) => seen Metadata;
    tar_file_swapped_for_a_hard_link: "p.tar", with(&[Entry::link("p-1/b", b'1', "p-1/a.py")]), with(&[Entry::file("p-1/b", b"print('a')\n")]) => seen Metadata;
    tar_link_to_another_file: "p.tar", with(&[Entry::link("p-1/b", b'2', "a.py")]), with(&[Entry::link("p-1/b", b'2', "c.py")]) => seen Metadata;
    tar_folder_swapped_for_a_file: "p.tar", with(&[Entry::file("p-1/d", b"")]), with(&[Entry::new("p-1/d/", b'5', b"")]) => seen Metadata;
    tar_name_in_another_prefix: "p.tar", last(|entry| entry.prefix = b"x".to_vec()), clean_tar() => seen OnlyPublished;
    tar_long_name_that_differs_at_its_end: "p.tar.gz", gzip(&crate::tampered_tar::long_name(&[&[b'n'; 120][..], b"a\0"].concat(), &"n".repeat(100)), 6), gzip(&crate::tampered_tar::long_name(&[&[b'n'; 120][..], b"b\0"].concat(), &"n".repeat(100)), 6) => seen OnlyPublished;
    zstd_content_changed: "p.tar.zst", zstd_packed(&last(|entry| entry.data[7] = b'b')), zstd_packed(&clean_tar()) => seen Content;
    xz_content_changed: "p.xz", xz(b"evil"), xz(b"good") => seen Content;
    opaque_bytes_changed: "p.bin", b"evil"[..], b"good"[..] => seen Opaque;
    ar_member_added: "p.a", library(&[("a.o/", b"aa"), ("evil.o/", b"evil")]), library(&[("a.o/", b"aa")]) => seen OnlyPublished;
    ar_object_changed: "p.a", library(&[("a.o/", b"ab")]), library(&[("a.o/", b"aa")]) => seen Content;
    ar_symbols_changed: "p.a", library(&[("/", b"\0\0\0\x01"), ("a.o/", b"aa")]), library(&[("/", b"\0\0\0\0"), ("a.o/", b"aa")]) => seen Content;
    deb_second_data_of_another_compression: "p.deb", deb_and("data.tar.gz", &gzip(&tar(&deb_files()), 6)), deb() => NonCanonical;
    deb_second_data_that_is_not_compressed: "p.deb", deb_and("data.tar", &tar(&deb_files())), deb() => NonCanonical;
    deb_second_control_of_another_compression: "p.deb", deb_and("control.tar.gz", &gzip(&deb_control(), 6)), deb() => NonCanonical;
    deb_member_behind_the_files: "p.deb", deb_and("_gpgorigin", b"signature"), deb() => NonCanonical;
    deb_bytes_behind_the_last_member: "p.deb", [deb(), b"evil".to_vec()].concat(), deb() => Truncated;
    deb_maintainer_script_added: "p.deb", control(&[script("./postinst", b"#!/bin/sh\nevil\n")]), deb() => seen OnlyPublished;
    deb_maintainer_script_changed: "p.deb", control(&[script("./postinst", b"evil\n")]), control(&[script("./postinst", b"good\n")]) => seen Content;
    deb_maintainer_script_made_executable: "p.deb", control(&[script("./postinst", b"x\n")]), control(&[Entry::file("./postinst", b"x\n")]) => seen Metadata;
    deb_conffiles_changed: "p.deb", control(&[Entry::file("./conffiles", b"/etc/evil\n")]), control(&[Entry::file("./conffiles", b"/etc/x\n")]) => seen Content;
    deb_trigger_added: "p.deb", control(&[Entry::file("./triggers", b"interest /usr\n")]), deb() => seen OnlyPublished;
    deb_dependency_added: "p.deb", deb_part(1, "control.tar.xz", &xz(&tar(&[Entry::new("./", b'5', b""), Entry::file("./control", b"Package: x\nDepends: evil\n")]))), deb() => seen Content;
    deb_control_twice: "p.deb", control(&[Entry::file("./control", b"Package: evil\n")]), deb() => DuplicateName;
    deb_control_without_its_dot: "p.deb", control(&[Entry::file("control", b"Package: evil\n")]), deb() => DuplicateName;
    deb_file_made_writable_for_all: "p.deb", data(|files| files[2].mode = b"0000777\0".to_vec()), deb() => seen Metadata;
    deb_folder_made_writable_for_all: "p.deb", data(|files| files[1].mode = b"0000777\0".to_vec()), deb() => seen Metadata;
    deb_file_given_to_another_user: "p.deb", data(|files| files[2].uid = b"0001750\0".to_vec()), deb() => seen Metadata;
    deb_link_to_another_alternative: "p.deb", data(|files| files[3].link = b"/tmp/evil".to_vec()), deb() => seen Metadata;
    deb_device_added: "p.deb", data(|files| files.push(Entry::new("./dev0", b'3', b""))), deb() => SpecialFile;
    deb_capability_added: "p.deb", data(|files| files.insert(2, Entry::pax(b'x', &[("SCHILY.xattr.security.capability", "x")]))), deb() => UnsupportedFeature;
    deb_file_below_a_link: "p.deb", data(|files| files.push(Entry::file("./usr/y/x", b""))), deb() => EscapingLink;
    deb_root_twice: "p.deb", data(|files| files.push(files[0].clone())), deb() => DuplicateName;
    deb_version_with_a_second_line: "p.deb", deb_part(0, "debian-binary", b"2.0\nevil\n"), deb() => UnsupportedFeature;
    deb_files_in_another_compression: "p.deb", deb_part(2, "data.tar.gz", &gzip(&tar(&deb_files()), 6)), deb() => seen OnlyPublished;
    npm_install_script_added: "p-1.tgz", npm_json("{\"name\":\"p\",\"scripts\":{\"install\":\"evil\"}}"), npm_json("{\"name\":\"p\"}") => seen Content;
    npm_key_twice: "p-1.tgz", npm_json("{\"name\":\"p\",\"name\":\"q\"}"), npm_json("{\"name\":\"p\"}") => seen Content;
    npm_keys_in_another_order: "p-1.tgz", npm_json("{\"a\":1,\"b\":2}"), npm_json("{\"b\":2,\"a\":1}") => seen Content;
    npm_build_file_added: "p-1.tgz", npm(&[("binding.gyp", "{}")]), npm(&[]) => seen OnlyPublished;
    npm_settings_added: "p-1.tgz", npm(&[(".npmrc", "ignore-scripts=false")]), npm(&[]) => seen OnlyPublished;
    npm_bundled_package_added: "p-1.tgz", npm(&[("node_modules/evil/index.js", "evil")]), npm(&[]) => seen OnlyPublished;
    npm_lock_changed: "p-1.tgz", npm(&[("npm-shrinkwrap.json", "{\"integrity\":\"evil\"}")]), npm(&[("npm-shrinkwrap.json", "{\"integrity\":\"good\"}")]) => seen Content;
}
