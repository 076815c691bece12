//! Rows of the page about other compression, Unix archives, Debian packages, the files that
//! ecosystems generate, and archives inside archives.

use super::{assert_vectors, attack_vectors, compare_vector, form_vector};
use crate::build_formats::{ArMember, ar, bzip2, deb, deb_files, deb_of, tar_gz, xz, xz_at, zstd};
use crate::build_tar::{Entry, clean_tar, tar};
use crate::{ecosystems, nested, tampered_formats};

#[test]
fn format_attacks_are_those_of_the_vectors() {
    assert_vectors("normalize-formats-attacks.json", &attack_vectors(tampered_formats::attack_list()));
}

#[test]
fn formats_are_those_of_the_vectors() {
    let members = [
        ArMember::new("/", b"\0\0\0\0"),
        ArMember::new("//", b"a_rather_long_name.o/\n"),
        ArMember::new("/0", b"x"),
        ArMember::new("b.o/", b"yy").with(|member| member.mode = "100755".to_owned()),
    ];
    assert_vectors(
        "normalize-formats.json",
        &[
            form_vector("tar in xz", "p.tar.xz", &xz(&clean_tar())),
            form_vector("tar in zstd", "p.tar.zst", &crate::build_formats::zstd_packed(&clean_tar())),
            form_vector("tar in bzip2", "p.tar.bz2", &bzip2(&clean_tar(), 9)),
            form_vector("xz alone", "p.xz", &xz(b"content")),
            form_vector("zstd alone", "p.zst", &zstd(b"content")),
            form_vector("bzip2 alone", "p.bz2", &bzip2(b"content", 9)),
            form_vector("Unix archive with a table of names", "p.a", &ar(&members)),
            form_vector("Unix archive without members", "p.a", b"!<arch>\n"),
            form_vector("Debian package", "x_1_all.deb", &deb()),
            form_vector("Debian package without files", "x_1_all.deb", &deb_of(&[])),
        ],
    );
}

#[test]
fn ecosystem_comparisons_are_those_of_the_vectors() {
    let npm = |json| tar_gz("package", &[("package.json", json)], "1\0");
    let sources = |lines| tar_gz("a-1", &[("a.egg-info/SOURCES.txt", lines)], "1\0");
    let requires = |lines| tar_gz("a-1", &[("a.egg-info/requires.txt", lines)], "1\0");
    let mut owned = deb_files();
    owned[2].uid = b"0001750\0".to_vec();
    let later: Vec<Entry> = deb_files().into_iter().map(|entry| entry.with(|entry| entry.mtime = b"1\0".to_vec())).collect();
    assert_vectors(
        "normalize-ecosystems.json",
        &[
            compare_vector("crates of two cargos", "a-1.0.0.crate", &ecosystems::old_package(), &ecosystems::new_package()),
            compare_vector("package.json in another order", "p-1.tgz", &npm("{\"a\":1,\"b\":2}"), &npm("{\"b\":2,\"a\":1}")),
            compare_vector("SOURCES.txt in another order", "a-1.tar.gz", &sources("a\nb"), &sources("b\na")),
            compare_vector("SOURCES.txt with another line", "a-1.tar.gz", &sources("a\nb"), &sources("a\nc")),
            compare_vector("requires.txt in another order", "a-1.tar.gz", &requires("b\na\n[x]\nc\n"), &requires("a\nb\n\n[x]\nc\n")),
            compare_vector(
                "xz at another preset",
                "p.tar.xz",
                &xz_at(&tar(&[Entry::file("a", b"a")]), 0),
                &xz_at(&tar(&[Entry::file("a", b"a")]), 9),
            ),
            compare_vector("Debian package built later", "x_1_all.deb", &deb(), &deb_of(&later)),
            compare_vector("Debian package with another owner", "x_1_all.deb", &deb(), &deb_of(&owned)),
            compare_vector(
                "nested archive packed later",
                "p-1.tar.gz",
                &nested::outer(&nested::inner(b"a", 1)),
                &nested::outer(&nested::inner(b"a", 2)),
            ),
            compare_vector(
                "nested archive with another content",
                "p-1.tar.gz",
                &nested::outer(&nested::inner(b"a", 1)),
                &nested::outer(&nested::inner(b"b", 1)),
            ),
        ],
    );
}
