//! Tiny releases made in code: wheels, and sources whose own backend makes them again without any tool.

use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::Command;

use data_encoding::BASE64URL_NOPAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use quorate_proto::Digest;

pub(crate) const WHEEL: &str = "demo-1.0-py3-none-any.whl";
pub(crate) const SDIST: &str = "demo-1.0.tar.gz";

/// A backend that hands out the wheel that lies in the source.
pub(crate) const COPY: &str = "import shutil
def build_wheel(out, *_):
    shutil.copy('payload.bin', out + '/demo-1.0-py3-none-any.whl')
    return 'demo-1.0-py3-none-any.whl'
";

/// A backend that gives up.
pub(crate) const BROKEN: &str = "def build_wheel(out, *_):\n    raise RuntimeError('no luck today')\n";

pub(crate) fn wheel(code: &str) -> Vec<u8> {
    wheel_of("demo", "1.0", code)
}

pub(crate) fn wheel_of(name: &str, version: &str, code: &str) -> Vec<u8> {
    let info = format!("{name}-{version}.dist-info");
    let metadata =
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProject-URL: Source, https://github.com/example/{name}\n");
    let members = [
        (format!("{name}/__init__.py"), code.to_owned()),
        (format!("{info}/METADATA"), metadata),
        (format!("{info}/WHEEL"), "Wheel-Version: 1.0\nGenerator: by-hand 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned()),
    ];
    let line = |(name, text): &(String, String)| {
        let digest = BASE64URL_NOPAD.encode(Digest::of(text.as_bytes()).as_bytes());
        format!("{name},sha256={digest},{}\n", text.len())
    };
    let record = members.iter().map(line).collect::<String>() + &format!("{info}/RECORD,,\n");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members.into_iter().chain([(format!("{info}/RECORD"), record)]) {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn members(backend: &str, payload: &[u8], requires: &[&str]) -> Vec<(&'static str, Vec<u8>)> {
    let pyproject = format!(
        "[build-system]\nrequires = {requires:?}\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n[project]\nname = \"demo\"\nversion = \"1.0\"\n"
    );
    vec![("pyproject.toml", pyproject.into_bytes()), ("backend.py", backend.as_bytes().to_vec()), ("payload.bin", payload.to_vec())]
}

/// A source distribution whose backend lies in it.
pub(crate) fn sdist(backend: &str, payload: &[u8]) -> Vec<u8> {
    sdist_requiring(backend, payload, &[])
}

pub(crate) fn sdist_requiring(backend: &str, payload: &[u8], requires: &[&str]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in members(backend, payload, requires) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, format!("demo-1.0/{name}"), content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A repository with the same source at the tag `v1.0`.
pub(crate) fn repository(folder: &Path, backend: &str, payload: &[u8]) {
    std::fs::create_dir(folder).unwrap();
    git(folder, &["init", "--quiet"]);
    for (name, content) in members(backend, payload, &[]) {
        std::fs::write(folder.join(name), content).unwrap();
    }
    commit(folder, COMMITTED);
    git(folder, &["tag", "v1.0"]);
}

/// Before every upload.
pub(crate) const COMMITTED: &str = "2024-05-01T00:00:00Z";

/// Commits what lies in the folder, and says the commit.
pub(crate) fn commit(folder: &Path, at: &str) -> String {
    git(folder, &["add", "--all"]);
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "one"]).current_dir(folder);
    assert!(command.env("GIT_AUTHOR_DATE", at).env("GIT_COMMITTER_DATE", at).status().unwrap().success());
    head(folder)
}

pub(crate) fn head(folder: &Path) -> String {
    git(folder, &["rev-parse", "HEAD"])
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(folder).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
