//! What a published tarball says about its own making: its gzip header, its tar headers, its manifest, and
//! which files it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use quorate_proto::Digest;
use serde_json::Value;

use crate::cache::digest_of;
use crate::source::meter::Meter;

/// Most bytes that are read of a tarball's content, and of its manifest.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Most members that are remembered.
const MEMBERS_MAX: usize = 50_000;
/// What npm writes as every file's time since version 6: 1985-10-26T08:15:00Z.
const NPM_TIME: u64 = 499_162_500;

/// What a published tarball says about its own making.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Archive {
    /// The gzip header.
    pub gzip: GzipHeader,
    /// Whether all times are the one that npm writes.
    pub has_npm_times: bool,
    /// `package.json`; null when there is none.
    pub manifest: Value,
    /// The bytes of `package.json`.
    pub manifest_text: Vec<u8>,
    /// The files, by their paths in the package.
    pub members: BTreeMap<String, Member>,
}

/// Bytes of a gzip header that tell compressors apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GzipHeader {
    /// 2 for the strongest compression, 4 for the fastest, 0 for others.
    pub extra_flags: u8,
    /// Where it was made: 3 Unix, 19 Darwin, 255 not said.
    pub system: u8,
}

/// A file in a tarball.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256 of its content.
    pub digest: Digest,
}

impl GzipHeader {
    /// The level that npm's own clients wrote this with: 9, or zlib's default.
    pub fn is_strongest(self) -> bool {
        self.extra_flags == 2
    }

    /// Whether no Linux machine writes such a header.
    pub fn is_foreign(self) -> bool {
        !matches!(self.system, 3 | 255)
    }
}

/// Reads a published tarball.
pub fn read_archive(path: &Path) -> io::Result<Archive> {
    let mut header = [0; 10];
    File::open(path)?.read_exact(&mut header)?;
    let gzip = GzipHeader { extra_flags: header[8], system: header[9] };
    let mut archive = Archive { gzip, ..read_members(MultiGzDecoder::new(File::open(path)?))? };
    archive.gzip = gzip;
    Ok(archive)
}

/// Reads the tar of a tarball.
pub fn read_members(tar: impl Read) -> io::Result<Archive> {
    let (reader, meter) = Meter::before(tar.take(ARCHIVE_BYTES_MAX), ARCHIVE_BYTES_MAX);
    let mut tar = tar::Archive::new(reader);
    let mut archive = Archive::default();
    let mut times = BTreeSet::new();
    let mut entries = tar.entries()?;
    loop {
        meter.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        meter.content(entry.size())?;
        if times.len() < 2 {
            times.insert(entry.header().mtime().unwrap_or_default());
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // The folder at the top may have any name.
        let inside = name.split_once('/').map(|(_, inside)| inside).filter(|inside| !inside.is_empty() && !inside.ends_with('/'));
        if let Some(inside) = inside.filter(|_| entry.header().entry_type().is_file() && archive.members.len() < MEMBERS_MAX) {
            let mut text = Vec::new();
            if inside == "package.json" {
                (&mut entry).take(MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
                archive.manifest = manifest(&text);
                archive.manifest_text.clone_from(&text);
            }
            let (digest, size_bytes) = digest_of(text.as_slice().chain(&mut entry))?;
            archive.members.insert(inside.to_owned(), Member { size_bytes, digest });
        }
        io::copy(&mut entry, &mut io::sink())?;
    }
    archive.has_npm_times = times.len() == 1 && times.contains(&NPM_TIME);
    Ok(archive)
}

/// A `package.json`, which may begin with a byte order mark; null when it is no object.
pub fn manifest(text: &[u8]) -> Value {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    serde_json::from_slice(text).ok().filter(Value::is_object).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use flate2::{Compression, GzBuilder};

    fn tarball(mtime: u64, files: &[(&str, &str)]) -> Vec<u8> {
        let encoder = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::best());
        let mut builder = tar::Builder::new(encoder);
        for (name, text) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mtime(mtime);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<Archive> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_archive(file.path())
    }

    #[test]
    fn a_tarball_tells_its_compressor_its_manifest_and_its_files() {
        let files = [("package/package.json", "\u{feff}{\"name\":\"demo\",\"scripts\":{\"prepare\":\"x\"}}"), ("package/lib/a.js", "1")];
        let archive = read(&tarball(NPM_TIME, &files)).unwrap();
        assert!(archive.gzip.is_strongest() && !archive.gzip.is_foreign() && archive.has_npm_times);
        assert_eq!(archive.manifest["scripts"]["prepare"], "x");
        assert_eq!(archive.members.keys().collect::<Vec<_>>(), ["lib/a.js", "package.json"]);
        assert!(!read(&tarball(5, &files)).unwrap().has_npm_times);
    }

    #[test]
    fn a_tarball_that_is_cut_anywhere_is_no_panic() {
        let whole = tarball(1, &[("package/package.json", "{}"), ("package/a", "text")]);
        for cut in 0..whole.len() {
            let read = read(&whole[..cut]);
            assert!(cut > whole.len() / 2 || read.is_err(), "{cut}");
        }
    }

    #[test]
    fn a_large_file_outside_of_the_folder_hides_nothing() {
        let large = "x".repeat(3 << 20);
        let archive = read(&tarball(1, &[("readme", &large), ("package/package.json", "{\"name\":\"demo\"}")])).unwrap();
        assert_eq!(archive.manifest["name"], "demo");
    }

    #[test]
    fn a_hole_of_exabytes_is_refused_before_it_is_read_through() {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        let size = [0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
        (fields.realsize, fields.sparse[0].offset, fields.sparse[0].numbytes) = (size, size, *b"00000000000\0");
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_path("package/a").unwrap();
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, io::empty()).unwrap();
        assert!(read_members(builder.into_inner().unwrap().as_slice()).is_err());
    }

    #[test]
    fn a_manifest_that_is_no_object_says_nothing() {
        for text in ["", "[]", "7", "{", "\"x\""] {
            assert!(manifest(text.as_bytes()).is_null(), "{text}");
        }
    }
}
