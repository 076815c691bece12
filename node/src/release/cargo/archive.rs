//! What a published `.crate` says about its own making: commit, repositories, lock file, and how cargo
//! wrote it. Parses foreign bytes, all bounded.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::fingerprint::{Fingerprint, Stamp};
use crate::release::repository::repository;
use crate::source::commit_id::is_commit;
use crate::source::meter::Meter;

/// Most bytes of an archive that are read, unpacked.
const ARCHIVE_BYTES_MAX: u64 = 1 << 30;
const ENTRIES_MAX: usize = 200_000;
/// Most bytes of one file that is looked into.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Most bytes of a folder's name in a repository.
const FOLDER_BYTES_MAX: usize = 1000;

/// What the published bytes say. Those that cannot be read say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The commit that the publisher's cargo wrote down.
    pub commit: Option<String>,
    /// The folder of the package in its repository; `None` where cargo did not write it down.
    pub folder: Option<String>,
    /// Addresses that may be the repository, best first.
    pub repositories: Vec<String>,
    /// The lock file.
    pub lock: Option<Vec<u8>>,
    /// How cargo wrote the archive.
    pub fingerprint: Fingerprint,
}

#[derive(Deserialize)]
struct VcsInfo {
    git: GitInfo,
    path_in_vcs: Option<String>,
}

#[derive(Deserialize)]
struct GitInfo {
    sha1: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CargoToml {
    package: PackageTable,
    lib: Option<toml::Table>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PackageTable {
    repository: Option<toml::Value>,
    homepage: Option<toml::Value>,
    autobins: Option<toml::Value>,
    autolib: Option<toml::Value>,
}

/// Reads a published file.
pub fn read(path: &Path) -> io::Result<Published> {
    read_from(GzDecoder::new(fs::File::open(path)?))
}

/// Reads an uncompressed `.crate`.
pub fn read_from(tar: impl Read) -> io::Result<Published> {
    let (reader, meter) = Meter::before(tar.take(ARCHIVE_BYTES_MAX), ARCHIVE_BYTES_MAX);
    let mut archive = tar::Archive::new(reader);
    let mut published = Published::default();
    let mut entries = archive.entries()?;
    for _ in 0..ENTRIES_MAX {
        meter.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        meter.content(entry.size())?;
        let header = entry.header();
        let stamp = Stamp { time: header.mtime()?, is_gnu: header.as_gnu().is_some() };
        let path = entry.path()?.into_owned();
        let mut parts = path.components().skip(1);
        let name = match (parts.next(), parts.next()) {
            (Some(first), None) => first.as_os_str().to_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        published.fingerprint.see(&name, stamp);
        if matches!(name.as_str(), "Cargo.toml" | "Cargo.lock" | ".cargo_vcs_info.json") {
            let mut bytes = Vec::new();
            (&mut entry).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            published.take(&name, bytes);
        }
        io::copy(&mut entry, &mut io::sink())?;
    }
    Ok(published)
}

impl Published {
    fn take(&mut self, name: &str, bytes: Vec<u8>) {
        match name {
            "Cargo.lock" => self.lock = Some(bytes),
            ".cargo_vcs_info.json" => {
                let Ok(info) = serde_json::from_slice::<VcsInfo>(&bytes) else { return };
                self.fingerprint.has_path_in_vcs = Some(info.path_in_vcs.is_some());
                self.commit = Some(info.git.sha1).filter(|commit| is_commit(commit));
                self.folder = info.path_in_vcs.filter(|folder| is_plain_folder(folder));
            }
            _ => {
                let Ok(manifest) = toml::from_str::<CargoToml>(&String::from_utf8_lossy(&bytes)) else { return };
                let package = manifest.package;
                self.fingerprint.has_autobins = Some(package.autobins.is_some());
                self.fingerprint.has_autolib = Some(package.autolib.is_some());
                self.fingerprint.has_lib = manifest.lib.is_some();
                let addresses = [package.repository, package.homepage].into_iter().flatten();
                let mut found: Vec<_> = addresses.filter_map(|value| repository(value.as_str()?)).collect();
                found.dedup();
                self.repositories = found;
            }
        }
    }
}

/// A folder that leads nowhere else.
fn is_plain_folder(text: &str) -> bool {
    text.len() <= FOLDER_BYTES_MAX
        && !text.chars().any(char::is_control)
        && Path::new(text).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn archive(files: &[(&str, u64, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, time, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(*time);
            builder.append_data(&mut header, format!("demo-1.0.0/{name}"), content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_crate_names_its_commit_and_its_repository() {
        let commit = "e2766b868e4ac1ae2bf5bea1ac43d4c0da23b899";
        let info = format!(r#"{{"git":{{"sha1":"{commit}"}},"path_in_vcs":"crates/demo"}}"#);
        let manifest =
            "[package]\nrepository = \"https://github.com/o/demo.git\"\nhomepage = \"https://demo.example/\"\nautobins = false\n";
        let files = [(".cargo_vcs_info.json", 1, info.as_str()), ("Cargo.toml", 1, manifest), ("src/lib.rs", 1_153_704_088, "")];
        let published = read_from(archive(&files).as_slice()).unwrap();
        assert_eq!(published.commit.as_deref(), Some(commit));
        assert_eq!(published.folder.as_deref(), Some("crates/demo"));
        assert_eq!(published.repositories, ["https://github.com/o/demo"]);
        assert_eq!(published.fingerprint.bounds(), 80..=82);
    }

    #[test]
    fn folders_and_commits_that_lead_elsewhere_are_not_taken() {
        for (commit, folder) in [("main", "../x"), ("--upload-pack=x", "/etc"), ("ABC", "a\u{0}b")] {
            let info = serde_json::json!({ "git": { "sha1": commit }, "path_in_vcs": folder }).to_string();
            let published = read_from(archive(&[(".cargo_vcs_info.json", 1, &info)]).as_slice()).unwrap();
            assert_eq!((published.commit, published.folder), (None, None));
        }
    }

    #[test]
    fn an_archive_that_cannot_be_read_is_an_error_and_no_panic() {
        assert!(read_from(&[0x41; 700][..]).is_err());
        assert_eq!(read_from(&[][..]).unwrap(), Published::default());
        let files = [("Cargo.toml", 1, "not toml ["), (".cargo_vcs_info.json", 1, "[]")];
        assert_eq!(read_from(archive(&files).as_slice()).unwrap().commit, None);
    }
}
