//! What a published file says about its own making: generator, repository, times.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::{Target, setuptools, zip};
use crate::release::repository::repository;
use crate::source::meter::Meter;

/// Most bytes of an archive that are read for metadata.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
const METADATA_BYTES_MAX: u64 = 8 << 20;

/// What a published file says about its own making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `Generator:` of a wheel, such as `flit 3.10.1`.
    pub generator: Option<String>,
    /// Addresses from the metadata that may be the repository, best first.
    pub repositories: Vec<String>,
    /// What a requirement of setuptools has to say if setuptools wrote the metadata, such as `>=57,<62`.
    pub setuptools: Option<String>,
    /// The one time that all members carry, in Unix seconds; `None` when they differ.
    pub uniform_time: Option<i64>,
}

/// A published file that cannot be read for metadata.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The disk.
    #[error("reading the published file failed")]
    Disk(#[source] std::io::Error),
    /// Not the archive that its name says.
    #[error("the published file is not readable as a {0}")]
    Malformed(&'static str),
}

/// Reads the facts of a published file.
pub fn read_facts(path: &Path, target: Target) -> Result<Metadata, FactsError> {
    match target {
        Target::Wheel => {
            let mut bytes = Vec::new();
            let file = fs::File::open(path).map_err(FactsError::Disk)?;
            file.take(ARCHIVE_BYTES_MAX).read_to_end(&mut bytes).map_err(FactsError::Disk)?;
            wheel_facts(&bytes).ok_or(FactsError::Malformed("wheel"))
        }
        Target::SourceDistribution => {
            let file = fs::File::open(path).map_err(FactsError::Disk)?;
            sdist_facts(GzDecoder::new(file)).ok_or(FactsError::Malformed("source distribution"))
        }
    }
}

/// The members of a wheel with their contents, as far as they are plainly packed; at most `count_max` of
/// them and `bytes_max` bytes.
pub fn wheel_members(path: &Path, count_max: usize, bytes_max: u64) -> Option<Vec<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(ARCHIVE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    members_of(&bytes, count_max, bytes_max)
}

/// [`wheel_members`] of a wheel in memory.
pub fn members_of(bytes: &[u8], count_max: usize, bytes_max: u64) -> Option<Vec<(String, Vec<u8>)>> {
    let mut left = bytes_max;
    let mut members = Vec::new();
    for entry in zip::entries(bytes)?.iter().filter(|entry| !entry.name.ends_with('/')).take(count_max) {
        let Some(content) = zip::content(bytes, entry) else { continue };
        let Some(rest) = left.checked_sub(content.len() as u64) else { break };
        left = rest;
        members.push((entry.name.clone(), content));
    }
    Some(members)
}

/// The facts of a wheel.
pub fn wheel_facts(bytes: &[u8]) -> Option<Metadata> {
    let entries = zip::entries(bytes)?;
    let in_dist_info = |name: &str| {
        let of = |entry: &&zip::Entry| entry.name.split_once('/').is_some_and(|(dir, file)| dir.ends_with(".dist-info") && file == name);
        let content = entries.iter().find(of).and_then(|entry| zip::content(bytes, entry))?;
        Some(String::from_utf8_lossy(&content).into_owned())
    };
    let first = entries.first()?.dos_time;
    let metadata = in_dist_info("METADATA").unwrap_or_default();
    let has_licence = entries
        .iter()
        .any(|entry| entry.name.split_once('/').is_some_and(|(dir, file)| dir.ends_with(".dist-info") && setuptools::is_licence(file)));
    Some(Metadata {
        generator: in_dist_info("WHEEL").and_then(|text| fields(&text, "generator").next()),
        repositories: repositories(&metadata),
        setuptools: setuptools::bounds(&metadata, Target::Wheel, has_licence),
        uniform_time: entries.iter().all(|entry| entry.dos_time == first).then(|| dos_seconds(first)).flatten(),
    })
}

/// The facts of a source distribution, unpacked to a tar.
pub fn sdist_facts(tar: impl Read) -> Option<Metadata> {
    let (reader, meter) = Meter::before(tar.take(ARCHIVE_BYTES_MAX), ARCHIVE_BYTES_MAX);
    let mut archive = tar::Archive::new(reader);
    let mut metadata = Metadata::default();
    let mut times = std::collections::BTreeSet::new();
    let mut entries = archive.entries().ok()?;
    let (mut has_licence, mut own) = (false, None);
    loop {
        meter.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.ok()?;
        meter.content(entry.size()).ok()?;
        if times.len() < 2 {
            times.insert(entry.header().mtime().ok()?);
        }
        let path = entry.path().ok()?.into_owned();
        if path.components().count() == 2 && path.ends_with("PKG-INFO") {
            let mut text = Vec::new();
            (&mut entry).take(METADATA_BYTES_MAX).read_to_end(&mut text).ok()?;
            let text = String::from_utf8_lossy(&text).into_owned();
            metadata.repositories = repositories(&text);
            own = Some(text);
        }
        has_licence |=
            path.components().count() == 2 && path.file_name().is_some_and(|name| setuptools::is_licence(&name.to_string_lossy()));
        std::io::copy(&mut entry, &mut std::io::sink()).ok()?;
    }
    metadata.setuptools = setuptools::bounds(&own.unwrap_or_default(), Target::SourceDistribution, has_licence);
    metadata.uniform_time = times.first().filter(|_| times.len() == 1).and_then(|time| i64::try_from(*time).ok());
    Some(metadata)
}

/// The values of a field of an RFC 822 header, as far as the header goes.
fn fields<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let header = text.lines().take_while(|line| !line.is_empty());
    header.filter_map(move |line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// Addresses that may be the repository: those labelled as source first, then the home page, then the rest.
fn repositories(metadata: &str) -> Vec<String> {
    let mut ranked = Vec::new();
    for url in fields(metadata, "project-url") {
        let Some((label, url)) = url.split_once(',') else { continue };
        let label: String = label.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        let rank = match label.as_str() {
            "source" | "sourcecode" | "repository" | "code" | "github" | "gitlab" | "git" | "repo" => 0,
            "homepage" | "home" => 1,
            _ => 2,
        };
        ranked.push((rank, url.trim().to_owned()));
    }
    ranked.extend(fields(metadata, "home-page").map(|url| (1, url)));
    ranked.extend(fields(metadata, "download-url").map(|url| (2, url)));
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut seen = std::collections::BTreeSet::new();
    ranked.into_iter().filter_map(|(_, url)| repository(&url)).filter(|url| seen.insert(url.to_lowercase())).collect()
}

/// MS-DOS time as if it were UTC, which is what builds with a fixed epoch write.
fn dos_seconds(dos: u32) -> Option<i64> {
    let part = |shift: u32, bits: u32| i8::try_from((dos >> shift) & ((1 << bits) - 1)).ok();
    let year = i16::try_from(1980 + (dos >> 25)).ok()?;
    let date = jiff::civil::Date::new(year, part(21, 4)?, part(16, 5)?).ok()?;
    let time = jiff::civil::Time::new(part(11, 5)?, part(5, 6)?, part(0, 5)?.checked_mul(2)?, 0).ok()?;
    Some(date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io::{Cursor, Write as _};

    fn wheel(times: [u16; 2]) -> Vec<u8> {
        let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
        let contents = [
            "Wheel-Version: 1.0\nGenerator: flit 3.10.1\n",
            "Name: demo\nProject-URL: Source, https://github.com/o/demo/\n\nGenerator: no\n",
        ];
        for ((name, year), text) in ["WHEEL", "METADATA"].into_iter().zip(times).zip(contents) {
            let time = ::zip::DateTime::from_date_and_time(year, 12, 21, 18, 38, 40).unwrap();
            let options = ::zip::write::SimpleFileOptions::default().last_modified_time(time);
            writer.start_file(format!("demo-1.0.dist-info/{name}"), options).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_wheel_names_its_generator_its_repository_and_its_time() {
        let metadata = wheel_facts(&wheel([2024, 2024])).unwrap();
        assert_eq!(metadata.generator.as_deref(), Some("flit 3.10.1"));
        assert_eq!(metadata.repositories, ["https://github.com/o/demo"]);
        assert_eq!(metadata.uniform_time, Some(1_734_806_320));
        assert_eq!(wheel_facts(&wheel([2024, 2023])).unwrap().uniform_time, None);
    }

    #[test]
    fn a_long_name_of_megabytes_ends_the_reading_of_facts() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(3 << 20);
        header.set_cksum();
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(tempfile::tempfile().unwrap(), flate2::Compression::fast()));
        builder.append(&header, std::io::repeat(b'a').take(3 << 20)).unwrap();
        let mut file = builder.into_inner().unwrap().finish().unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(sdist_facts(GzDecoder::new(file)), None);
    }

    #[test]
    fn a_hole_of_exabytes_ends_the_reading_of_facts() {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        let size = [0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
        (fields.realsize, fields.sparse[0].offset, fields.sparse[0].numbytes) = (size, size, *b"00000000000\0");
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_path("demo-1.0/a").unwrap();
        header.set_size(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, std::io::empty()).unwrap();
        assert_eq!(sdist_facts(builder.into_inner().unwrap().as_slice()), None);
    }

    #[test]
    fn bytes_that_are_no_wheel_are_refused() {
        assert_eq!(wheel_facts(b"PK"), None);
        let whole = wheel([2024, 2024]);
        for cut in 0..whole.len() {
            let _ = wheel_facts(&whole[..cut]);
        }
    }

    #[test]
    fn a_folded_licence_with_blank_lines_does_not_end_the_header() {
        let text = "License: Copyright\n        \n        All rights\nProject-URL: source, https://github.com/o/demo\n\nProject-URL: source, https://github.com/o/no\n";
        assert_eq!(repositories(text), ["https://github.com/o/demo"]);
    }

    #[test]
    fn the_address_labelled_as_source_comes_first() {
        let text = "Home-page: https://example.org\nProject-URL: Documentation, https://github.com/o/docs/wiki\nProject-URL: Source Code, https://github.com/o/real.git\nProject-URL: Funding, https://github.com/sponsors/o\n";
        assert_eq!(repositories(text), ["https://github.com/o/real", "https://github.com/o/docs"]);
        assert_eq!(repository("https://github.com/-upload/x"), None);
        assert_eq!(repository("https://gitlab.attacker.example/o/x"), None);
        assert_eq!(repository("https://gitlab.gnome.org/o/x").as_deref(), Some("https://gitlab.gnome.org/o/x"));
    }
}
