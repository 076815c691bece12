//! Attacks on the files that Python's packaging tools generate, which passes read by their meaning.

use crate::attack::attacks;
use crate::build_formats::tar_gz;
use crate::tampered_wheel::{METADATA, WHEEL, clean, files, record, wheel};

const SDIST: &str = "a-1.tar.gz";
const INFO: &str = "Metadata-Version: 2.1\nName: a\nVersion: 1\nLicense: MIT\nClassifier: A\nClassifier: B\nRequires-Dist: x\n\nbody\n";
const SOURCES: &str = "a.py\nsetup.py\n";
const REQUIRES: &str = "x\ny>=1\n\n[test]\nz\n";

/// A source distribution, with one change of its texts.
fn sdist(from: &str, to: &str) -> Vec<u8> {
    let texts = [INFO, INFO, SOURCES, REQUIRES, "[egg_info]\ntag_build = \n", "a = 1\n"].map(|text| text.replacen(from, to, 1));
    let names = ["PKG-INFO", "a.egg-info/PKG-INFO", "a.egg-info/SOURCES.txt", "a.egg-info/requires.txt", "setup.cfg", "a.py"];
    let files: Vec<(&str, &str)> = names.into_iter().zip(texts.iter().map(String::as_str)).collect();
    tar_gz("a-1", &files, "0\0")
}

fn honest() -> Vec<u8> {
    sdist("Classifier: A\nClassifier: B", "Classifier: B\nClassifier: A")
}

fn and(name: &str, content: &str) -> Vec<u8> {
    let names = ["PKG-INFO", "a.egg-info/SOURCES.txt", name];
    tar_gz("a-1", &names.into_iter().zip([INFO, SOURCES, content]).collect::<Vec<_>>(), "0\0")
}

fn without() -> Vec<u8> {
    tar_gz("a-1", &[("PKG-INFO", INFO), ("a.egg-info/SOURCES.txt", SOURCES)], "0\0")
}

/// A wheel whose `METADATA` has one change, with the hashes that belong to it.
fn metadata(from: &str, to: &str) -> Vec<u8> {
    let text = METADATA.replacen(from, to, 1);
    let files = [files()[0], ("p-1.dist-info/METADATA", text.as_str()), files()[2]];
    wheel(&files, &record(&files))
}

fn turned() -> Vec<u8> {
    metadata("Classifier: A\nClassifier: B", "Classifier: B\nClassifier: A")
}

fn more(name: &'static str, content: &'static str) -> Vec<u8> {
    let files = [&files()[..], &[(name, content)]].concat();
    wheel(&files, &record(&files))
}

/// An added file, and a `RECORD` that does not list it.
fn hidden(row: &str) -> Vec<u8> {
    wheel(&[&files()[..], &[("p/evil.py", "evil\n")]].concat(), &(record(&files()) + row))
}

attacks! {
    pkg_info_requirement_added: SDIST, sdist("Requires-Dist: x\n", "Requires-Dist: x\nRequires-Dist: evil\n"), honest() => seen Content;
    pkg_info_requirement_continued: SDIST, sdist("Requires-Dist: x\n", "Requires-Dist: x\n evil\n"), honest() => seen Content;
    pkg_info_name_changed: SDIST, sdist("Name: a", "Name: e"), honest() => seen Content;
    pkg_info_name_twice_in_another_order: SDIST, sdist("Name: a\n", "Name: e\nName: a\n"), sdist("Name: a\n", "Name: a\nName: e\n") => seen Content;
    pkg_info_field_moved_into_the_body: SDIST, sdist("License: MIT\nClassifier: A\nClassifier: B\nRequires-Dist: x\n\nbody\n", "License: MIT\n\nClassifier: A\nClassifier: B\nRequires-Dist: x\nbody\n"), honest() => seen Content;
    pkg_info_case_of_a_field: SDIST, sdist("License: MIT", "LICENSE: MIT"), honest() => seen Content;
    pkg_info_carriage_return: SDIST, sdist("License: MIT\n", "License: MIT\r\n"), honest() => seen Content;
    pkg_info_line_that_is_no_field: SDIST, sdist("License: MIT\n", "License: MIT\nevil\n"), honest() => seen Content;
    pkg_info_body_changed: SDIST, sdist("\n\nbody", "\n\nBODY"), honest() => seen Content;
    pkg_info_blank_that_continues: SDIST, sdist("License: MIT\n", "License: MIT\n \n"), honest() => seen Content;
    pkg_info_lookalike_name: SDIST, sdist("Name: a", "Name: \u{430}"), honest() => seen Content;
    sources_line_added: SDIST, sdist("setup.py\n", "setup.py\nevil.py\n"), honest() => seen Content;
    sources_line_twice: SDIST, sdist("a.py\nsetup", "a.py\na.py\nsetup"), honest() => seen Content;
    sources_last_line_end_dropped: SDIST, sdist("setup.py\n", "setup.py"), honest() => seen Content;
    requires_line_added: SDIST, sdist("y>=1\n", "y>=1\nevil\n"), honest() => seen Content;
    requires_moved_to_another_section: SDIST, sdist("y>=1\n\n[test]\nz\n", "\n[test]\nz\ny>=1\n"), honest() => seen Content;
    requires_moved_out_of_its_section: SDIST, sdist("y>=1\n\n[test]\nz\n", "y>=1\nz\n\n[test]\n"), honest() => seen Content;
    requires_section_twice: SDIST, sdist("[test]\nz\n", "[test]\nz\n[test]\nz\n"), honest() => seen Content;
    requires_section_renamed: SDIST, sdist("[test]", "[:python_version>'3']"), honest() => seen Content;
    requires_section_behind_a_blank: SDIST, sdist("[test]", " [test]"), honest() => seen Content;
    setup_cfg_changed: SDIST, sdist("tag_build = \n", "tag_build = dev\n"), honest() => seen Content;
    setup_py_added: SDIST, and("setup.py", "evil\n"), without() => seen OnlyPublished;
    pyproject_added: SDIST, and("pyproject.toml", "[build-system]\nbackend-path = ['.']\n"), without() => seen OnlyPublished;
    entry_points_added: SDIST, and("a.egg-info/entry_points.txt", "[console_scripts]\n"), without() => seen OnlyPublished;
    second_pkg_info_elsewhere: SDIST, and("src/PKG-INFO", INFO), without() => seen OnlyPublished;
    metadata_requirement_changed: WHEEL, metadata("Classifier: B", "Requires-Dist: evil"), turned() => seen Content;
    metadata_name_changed: WHEEL, metadata("Name: p", "Name: q"), turned() => seen Content;
    metadata_body_changed: WHEEL, metadata("body", "evil"), turned() => seen Content;
    metadata_hash_of_the_other_order: WHEEL, wheel(&[files()[0], ("p-1.dist-info/METADATA", METADATA.replacen("Classifier: A\nClassifier: B", "Classifier: B\nClassifier: A", 1).as_str()), files()[2]], &record(&files())), clean() => ManifestMismatch;
    wheel_tag_changed: WHEEL, wheel(&[files()[0], files()[1], ("p-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")], &record(&[files()[0], files()[1], ("p-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")])), clean() => seen Content;
    wheel_file_added_and_listed: WHEEL, more("p/evil.py", "evil\n"), clean() => seen OnlyPublished;
    wheel_script_added: WHEEL, more("p-1.data/scripts/evil", "#!python\n"), clean() => seen OnlyPublished;
    wheel_startup_file_added: WHEEL, more("evil.pth", "import evil\n"), clean() => seen OnlyPublished;
    wheel_entry_points_added: WHEEL, more("p-1.dist-info/entry_points.txt", "[console_scripts]\npip = evil\n"), clean() => seen OnlyPublished;
    wheel_signature_added: WHEEL, more("p-1.dist-info/RECORD.jws", "{}"), clean() => seen OnlyPublished;
    record_row_of_another_spelling_hides_a_file: WHEEL, hidden("p//evil.py,,\n"), clean() => ManifestMismatch;
    record_row_with_a_dot_hides_a_file: WHEEL, hidden("./p/evil.py,,\n"), clean() => ManifestMismatch;
    record_row_without_hash_hides_a_file: WHEEL, hidden("p/evil.py,,\n"), clean() => ManifestMismatch;
    record_row_of_a_weak_hash_hides_a_file: WHEEL, hidden("p/evil.py,md5=AAAA,5\n"), clean() => ManifestMismatch;
    record_row_of_another_hash_hides_a_file: WHEEL, hidden("p/evil.py,sha256=AAAA,5\n"), clean() => ManifestMismatch;
    record_row_with_a_line_end_in_its_name_hides_a_file: WHEEL, hidden("\"p/evil.py\n\",,\n"), clean() => ManifestMismatch;
    record_row_with_a_fourth_field: WHEEL, hidden("p/evil.py,,,\n"), clean() => ManifestMismatch;
    record_with_a_byte_order_mark: WHEEL, wheel(&files(), &format!("\u{feff}{}", record(&files()))), clean() => ManifestMismatch;
}
