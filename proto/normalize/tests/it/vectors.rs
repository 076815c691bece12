//! Golden vectors that a stranger can implement against; `QUORATE_UPDATE_VECTORS=1` writes them.

use std::path::PathBuf;

use data_encoding::BASE64;
use quorate_normalize::{Comparison, Limits, lint, normal_form};
use quorate_proto::comparison::{Anomaly, Level, PassUse, Side};
use serde::{Deserialize, Serialize};

use crate::attack::{Attack, compared};
use crate::build_tar::{Entry, clean_entries, clean_tar, gzip, gzip_with, tar};
use crate::build_zip::{Frame, Member, clean, clean_members, framed, zip};
use crate::{tampered_wheel, tampered_wheel::WHEEL};

mod comparison_rows;
mod format_rows;
mod name_rows;
mod tar_rows;
mod zip_rows;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FormVector {
    name: String,
    file_name: String,
    archive_base64: String,
    /// ASCII, lines end in LF. Absent if the archive has no normal form.
    #[serde(skip_serializing_if = "Option::is_none")]
    listing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normal_digest: Option<String>,
    /// `side` is always `published`; `detail` is not normative.
    anomalies: Vec<Anomaly>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CompareVector {
    name: String,
    file_name: String,
    published_base64: String,
    rebuilt_base64: String,
    level: Level,
    passes: Vec<PassUse>,
    anomalies: Vec<Anomaly>,
    /// Member, class, executable and digests of each difference.
    differences: Vec<quorate_proto::comparison::Difference>,
}

fn form_vector(name: &str, file_name: &str, bytes: &[u8]) -> FormVector {
    let limits = Limits::default();
    let form = normal_form(bytes, file_name, &limits).ok();
    FormVector {
        name: name.to_owned(),
        file_name: file_name.to_owned(),
        archive_base64: BASE64.encode(bytes),
        listing: form.as_ref().map(|form| String::from_utf8(form.listing.clone()).unwrap()),
        normal_digest: form.map(|form| form.digest.to_string()),
        anomalies: lint(bytes, file_name, Side::Published, &limits).unwrap(),
    }
}

fn compare_vector(name: &str, file_name: &str, published: &[u8], rebuilt: &[u8]) -> CompareVector {
    let Comparison { level, anomalies, passes, differences, .. } = compared(published, rebuilt, file_name);
    CompareVector {
        name: name.to_owned(),
        file_name: file_name.to_owned(),
        published_base64: BASE64.encode(published),
        rebuilt_base64: BASE64.encode(rebuilt),
        level,
        passes,
        anomalies,
        differences: differences.into_iter().map(|found| found.difference).collect(),
    }
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(file)
}

/// A vector that can be computed anew from the archives that it carries.
trait Vector: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug {
    fn name(&self) -> &str;
    fn again(&self) -> Self;
}

impl Vector for FormVector {
    fn name(&self) -> &str {
        &self.name
    }

    fn again(&self) -> Self {
        form_vector(&self.name, &self.file_name, &decode(&self.archive_base64))
    }
}

impl Vector for CompareVector {
    fn name(&self) -> &str {
        &self.name
    }

    fn again(&self) -> Self {
        compare_vector(&self.name, &self.file_name, &decode(&self.published_base64), &decode(&self.rebuilt_base64))
    }
}

fn decode(text: &str) -> Vec<u8> {
    BASE64.decode(text.as_bytes()).unwrap()
}

/// Computes each stored vector from the archives in it, which another compressor would not make
/// again byte for byte.
fn assert_vectors<T: Vector>(file: &str, vectors: &[T]) {
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(path(file), serde_json::to_string_pretty(vectors).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(path(file)).unwrap();
    let stored: Vec<T> = serde_json::from_str(&text).unwrap();
    let names = |vectors: &[T]| vectors.iter().map(|vector| vector.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&stored), names(vectors));
    for vector in &stored {
        assert_eq!(&vector.again(), vector, "a changed vector is a change of the protocol");
    }
}

/// A vector of each attack in the list but the bombs, which are too large for a text file.
fn attack_vectors(attacks: Vec<Attack>) -> Vec<FormVector> {
    let small = attacks.into_iter().filter(|attack| !attack.name.contains("bomb"));
    small.map(|attack| attack_vector(&attack)).collect()
}

/// A tar goes into gzip, where its zeros take no room.
fn attack_vector(attack: &Attack) -> FormVector {
    let name = attack.name.trim_end_matches("_is_named").replace('_', " ");
    let archive = (attack.archive)();
    if attack.file_name == "p.tar" {
        return form_vector(&name, "p.tar.gz", &gzip(&archive, 9));
    }
    form_vector(&name, attack.file_name, &archive)
}

#[test]
fn zip_forms_are_those_of_the_vectors() {
    let first = |change: &dyn Fn(&mut Member)| {
        let mut members = clean_members();
        change(&mut members[0]);
        zip(&members)
    };
    let typed = [
        Member::stored("bin/run", b"#!/bin/sh\n").with(|member| member.external = 0o100_755 << 16),
        Member::stored("bin/", b"").with(|member| member.external = 0o040_755 << 16 | 0x10),
        Member::stored("bin/link", b"run").with(|member| member.external = 0o120_777 << 16),
        Member::stored("a b%\u{e9}", b"").both(|header| header.flags |= 1 << 11),
    ];
    assert_vectors(
        "normalize-zip.json",
        &[
            form_vector("two plain members", "p.zip", &clean()),
            form_vector("types, executable bit, link target and escaped name", "p.zip", &zip(&typed)),
            form_vector("data descriptors", "p.zip", &zip(&clean_members().into_iter().map(Member::streamed).collect::<Vec<_>>())),
            form_vector("no members", "p.zip", &zip(&[])),
            form_vector("duplicate name", "p.zip", &zip(&[clean_members(), clean_members()].concat())),
            form_vector("local name disagrees", "p.zip", &first(&|member| member.local.name = b"pkg/e.py".to_vec())),
            form_vector(
                "data before and after",
                "p.zip",
                &framed(&clean_members(), &Frame { prefix: b"x".to_vec(), suffix: b"y".to_vec(), ..Frame::default() }),
            ),
            form_vector(
                "escaping names",
                "p.zip",
                &zip(&[Member::stored("../a", b""), Member::stored("/b", b""), Member::stored("C:c\\d", b"")]),
            ),
            form_vector("encrypted member", "p.zip", &first(&|member| member.central.flags |= 1)),
            form_vector("cut off", "p.zip", &clean()[..40]),
            form_vector("wheel", WHEEL, &tampered_wheel::clean()),
            form_vector("wheel whose RECORD lies", WHEEL, &tampered_wheel::wheel(&tampered_wheel::files(), "p/gone.py,,\n")),
        ],
    );
}

#[test]
fn tar_forms_are_those_of_the_vectors() {
    let long = format!("p-1/{}", "n".repeat(120));
    let typed = [
        Entry::file("p-1/run", b"#!/bin/sh\n").with(|entry| entry.mode = b"0000755\0".to_vec()),
        Entry::link("p-1/link", b'2', "run"),
        Entry::link("p-1/hard", b'1', "p-1/run"),
        Entry::pax(b'x', &[("path", &long)]),
        Entry::file(&long[..100], b""),
    ];
    let gnu = [Entry::new("././@LongLink", b'L', format!("{long}\0").as_bytes()), Entry::file(&long[..100], b"")];
    assert_vectors(
        "normalize-tar.json",
        &[
            form_vector("directory and file", "p.tar", &clean_tar()),
            form_vector("the same in gzip", "p.tar.gz", &gzip(&clean_tar(), 6)),
            form_vector("types, executable bit, link targets and a pax path", "p.tar", &tar(&typed)),
            form_vector("GNU long name", "p.tar", &tar(&gnu)),
            form_vector("pax path that overrides", "p.tar", &tar(&[Entry::pax(b'x', &[("path", "evil")]), Entry::file("good", b"")])),
            form_vector("data after the end", "p.tar", &[clean_tar(), b"evil".to_vec()].concat()),
            form_vector("escaping link", "p.tar", &tar(&[Entry::link("a", b'2', "../b")])),
            form_vector("two gzip streams", "p.tar.gz", &[gzip(&clean_tar(), 6), gzip(b"x", 6)].concat()),
            form_vector("gzip alone", "p.gz", &gzip(b"content", 6)),
            form_vector("header checksum", "p.tar", &tar(&[clean_entries()[1].clone().with(|entry| entry.checksum_error = 1)])),
        ],
    );
}

#[test]
fn comparisons_are_those_of_the_vectors() {
    let later = zip(&clean_members().into_iter().rev().map(|member| member.both(|header| header.time ^= 1)).collect::<Vec<_>>());
    let files = tampered_wheel::files();
    let record = tampered_wheel::record(&files);
    let metadata = tampered_wheel::METADATA.replace("Classifier: A\nClassifier: B", "Classifier: B\nClassifier: A");
    let turned = [files[0], (files[1].0, &metadata), files[2]];
    let backdoored = [files[0], files[1], files[2], ("p/evil.py", "evil\n")];
    let sorted = record.lines().rev().collect::<Vec<_>>().join(
        "
",
    ) + "
";
    assert_vectors(
        "normalize-compare.json",
        &[
            compare_vector("equal bytes", "p.zip", &clean(), &clean()),
            compare_vector("order and times", "p.zip", &later, &clean()),
            compare_vector("gzip header", "p.tar.gz", &gzip_with(&clean_tar(), 6, b"\x1f\x8b\x08\0abcd\x02\x03"), &gzip(&clean_tar(), 6)),
            compare_vector("order of RECORD", WHEEL, &tampered_wheel::wheel(&files, &sorted), &tampered_wheel::wheel(&files, &record)),
            compare_vector(
                "order of METADATA",
                WHEEL,
                &tampered_wheel::wheel(&turned, &tampered_wheel::record(&turned)),
                &tampered_wheel::clean(),
            ),
            compare_vector(
                "added code",
                WHEEL,
                &tampered_wheel::wheel(&backdoored, &tampered_wheel::record(&backdoored)),
                &tampered_wheel::clean(),
            ),
            compare_vector(
                "anomaly of the published side",
                "p.zip",
                &framed(&clean_members(), &Frame { suffix: b"x".to_vec(), ..Frame::default() }),
                &clean(),
            ),
            compare_vector("opaque", "p.bin", b"a", b"b"),
        ],
    );
}
