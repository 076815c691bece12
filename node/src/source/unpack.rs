//! Unpacks a source archive into an empty folder, with every path checked.
//!
//! The one folder at the top of a source archive is left out. Links are made last, so that nothing is ever
//! written through one; devices and the like are refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use tar::{Entry, EntryType};

use super::meter::{HEADERS_BYTES_MAX, Meter};

/// Most entries of a source archive.
pub const ENTRIES_MAX: usize = 200_000;
/// Most bytes that a source archive may unpack to.
pub const UNPACKED_BYTES_MAX: u64 = 4 << 30;
/// Most memory for unpacking xz, whose header alone can ask for gigabytes; its highest level takes 65 MiB.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;
/// 9999-12-31: later times are no times.
const TIME_MAX: u64 = 253_402_300_799;

/// An archive that is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Not a compression that is known here.
    #[error("{0} is neither .tar, .tar.gz nor .tar.xz")]
    UnknownCompression(String),
    /// Broken, or the disk failed.
    #[error("unpacking failed")]
    Io(#[from] io::Error),
    /// A path that leads out, or an entry that is neither file, folder nor link.
    #[error("entry {entry:?} is refused: {reason}")]
    Refused {
        /// Its name.
        entry: String,
        /// Why.
        reason: &'static str,
    },
    /// Too much.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
}

impl UnpackError {
    /// Whether the disk or this process failed, which says nothing about the archive.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Io(error) if is_ours(error))
    }
}

/// Whether an error is of this machine rather than of the data: a full disk, a broken one, no more handles.
pub fn is_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    use rustix::io::Errno;
    let by_number = |number| [Errno::IO, Errno::MFILE, Errno::NFILE].iter().any(|errno| errno.raw_os_error() == number);
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | OutOfMemory) || error.raw_os_error().is_some_and(by_number)
}

/// What is taken of one archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries.
    pub entries: usize,
    /// Most bytes that it may unpack to.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: ENTRIES_MAX, bytes: UNPACKED_BYTES_MAX }
    }
}

/// What an archive says besides its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The newest file's time, in Unix seconds.
    pub newest: Option<i64>,
}

/// Opens a compressed tar by its file name.
pub fn reader(path: &Path, name: &str) -> Result<Box<dyn Read>, UnpackError> {
    let file = BufReader::new(File::open(path)?);
    match name.rsplit('.').next() {
        Some("gz" | "tgz") => Ok(Box::new(MultiGzDecoder::new(file))),
        Some("xz") => Ok(Box::new(xz(file))),
        Some("tar") => Ok(Box::new(file)),
        _ => Err(UnpackError::UnknownCompression(name.to_owned())),
    }
}

/// Unpacks xz within a bound of memory.
pub fn xz(packed: impl Read) -> impl Read {
    Bounded(XzReader::new_mem_limit(packed, true, XZ_MEMORY_KIB_MAX))
}

/// Memory that an archive asks for past the bound says something about the archive, not about this machine.
struct Bounded<R>(R);

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let of_archive = |error: io::Error| match error.kind() {
            io::ErrorKind::OutOfMemory => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => error,
        };
        self.0.read(buffer).map_err(of_archive)
    }
}

/// Unpacks the archive `path`, whose name is `name`, into the empty folder `into`.
pub fn unpack(path: &Path, name: &str, into: &Path) -> Result<Unpacked, UnpackError> {
    unpack_within(path, name, into, Limits::default())
}

/// [`unpack`] with limits of one's own.
pub fn unpack_within(path: &Path, name: &str, into: &Path, limits: Limits) -> Result<Unpacked, UnpackError> {
    let mut unpacking = Unpacking { into, left: limits.bytes, limits, links: BTreeMap::new(), newest: None };
    walk_within(path, name, limits, |entry| unpacking.entry(entry))?;
    unpacking.link()?;
    super::tree::reset_modes(into)?;
    Ok(Unpacked { newest: unpacking.newest })
}

/// Whether a source archive is a source distribution: those, and nothing else, have `PKG-INFO` at the top.
pub fn is_source_distribution(path: &Path, name: &str) -> Result<bool, UnpackError> {
    let mut found = false;
    walk(path, name, |entry| {
        found |= below_top(&entry.path()?).is_some_and(|inside| inside == Path::new("PKG-INFO"));
        Ok(())
    })?;
    Ok(found)
}

/// Every entry in turn, with what it and its headers may take up bounded.
pub(crate) fn walk(
    path: &Path,
    name: &str,
    take: impl FnMut(&mut Entry<'_, Box<dyn Read>>) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    walk_within(path, name, Limits::default(), take)
}

fn walk_within(
    path: &Path,
    name: &str,
    limits: Limits,
    mut take: impl FnMut(&mut Entry<'_, Box<dyn Read>>) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let (reader, meter) = Meter::before(reader(path, name)?.take(limits.bytes), limits.bytes);
    let mut archive = tar::Archive::new(Box::new(reader) as Box<dyn Read>);
    let mut entries = archive.entries()?;
    for count in 0.. {
        meter.headers();
        let Some(entry) = entries.next() else { break };
        if count >= limits.entries {
            return Err(UnpackError::TooLarge { what: "entries", limit: limits.entries as u64 });
        }
        let mut entry = entry?;
        let is_headers = matches!(entry.header().entry_type(), EntryType::XGlobalHeader | EntryType::XHeader);
        if is_headers && entry.size() > HEADERS_BYTES_MAX {
            return Err(UnpackError::TooLarge { what: "bytes of headers", limit: HEADERS_BYTES_MAX });
        }
        meter.content(entry.size()).map_err(|_| UnpackError::TooLarge { what: "bytes", limit: limits.bytes })?;
        take(&mut entry)?;
        io::copy(&mut entry, &mut io::sink())?;
    }
    Ok(())
}

struct Unpacking<'a> {
    into: &'a Path,
    left: u64,
    limits: Limits,
    links: BTreeMap<PathBuf, PathBuf>,
    newest: Option<i64>,
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let name = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        let refused = |reason| UnpackError::Refused { entry: name.display().to_string(), reason };
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let inside = below_top(&name).ok_or_else(|| refused("its path leads out"))?;
        if inside.as_os_str().is_empty() {
            return Ok(());
        }
        let path = self.into.join(&inside);
        match kind {
            EntryType::Directory => fs::create_dir_all(&path)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, &path)?,
            EntryType::Symlink => {
                let target = entry.link_name()?.ok_or_else(|| refused("a link to nothing"))?.into_owned();
                stays_inside(&inside, &target).then_some(()).ok_or_else(|| refused("a link that leads out"))?;
                self.links.insert(inside, target);
            }
            EntryType::Link => {
                let target = entry.link_name()?.ok_or_else(|| refused("a link to nothing"))?.into_owned();
                let target = below_top(&target).ok_or_else(|| refused("a link that leads out"))?;
                let target = self.into.join(target);
                let met = target.symlink_metadata().ok().filter(fs::Metadata::is_file);
                self.count(met.ok_or_else(|| refused("a link to no file before it"))?.len())?;
                // Copied onto itself, a file would be emptied.
                (target != path).then_some(()).ok_or_else(|| refused("a link to itself"))?;
                make_parent(&path)?;
                fs::copy(target, &path)?;
            }
            _ => return Err(refused("neither file, folder nor link")),
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.left = self.left.checked_sub(bytes).ok_or(UnpackError::TooLarge { what: "bytes", limit: self.limits.bytes })?;
        Ok(())
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> Result<(), UnpackError> {
        self.count(entry.size())?;
        make_parent(path)?;
        let mode = entry.header().mode().unwrap_or(0o644);
        let mtime = entry.header().mtime().ok().filter(|mtime| *mtime <= TIME_MAX);
        let mut file = File::create(path)?;
        io::copy(entry, &mut file)?;
        file.set_permissions(fs::Permissions::from_mode(if mode & 0o100 == 0 { 0o644 } else { 0o755 }))?;
        if let Some(time) = mtime.and_then(|mtime| std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(mtime))) {
            file.set_modified(time)?;
        }
        self.newest = self.newest.max(mtime.and_then(|mtime| i64::try_from(mtime).ok()));
        Ok(())
    }

    fn link(&self) -> Result<(), UnpackError> {
        for (inside, target) in &self.links {
            let refused = |reason| UnpackError::Refused { entry: inside.display().to_string(), reason };
            // A link below a link could resolve elsewhere than its text says.
            if inside.ancestors().skip(1).any(|parent| self.links.contains_key(parent)) {
                return Err(refused("a link below a link"));
            }
            if goes_up_through(inside, target, |path| self.links.contains_key(path)) {
                return Err(refused("a link that goes up behind another link"));
            }
            let path = self.into.join(inside);
            make_parent(&path)?;
            if path.symlink_metadata().is_ok() {
                return Err(refused("both a link and something else"));
            }
            symlink(target, &path)?;
        }
        Ok(())
    }
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The path below the archive's top folder, empty for the top itself; `None` if it leads out.
pub(crate) fn below_top(name: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in name.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.iter().skip(1).collect())
}

/// Whether the target, seen from the link, stays below the root at every step.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count() - 1;
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

/// Whether the target goes up again after it went through a link: then it leads elsewhere than its text says.
fn goes_up_through(link: &Path, target: &Path, is_link: impl Fn(&Path) -> bool) -> bool {
    let mut at = link.parent().map(Path::to_owned).unwrap_or_default();
    for part in target.components() {
        match part {
            Component::ParentDir if at.ancestors().any(&is_link) => return true,
            Component::ParentDir => drop(at.pop()),
            part => at.push(part),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = tar::Builder::new(File::create(dir.path().join("a.tar")).unwrap());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_mtime(1000);
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if is_link {
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let content = if is_link { "" } else { content };
            if let Some(size) = content.strip_prefix("hole ") {
                let fields = header.as_gnu_mut().unwrap();
                let number = [&[0x80, 0, 0, 0][..], &size.parse::<u64>().unwrap().to_be_bytes()].concat();
                fields.realsize.copy_from_slice(&number);
                fields.sparse[0].offset.copy_from_slice(&number);
                fields.sparse[0].numbytes = *b"00000000000\0";
            }
            let content = if *kind == EntryType::GNUSparse { "" } else { content };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
        dir
    }

    fn unpacked(entries: &[(&str, EntryType, &str)]) -> Result<tempfile::TempDir, UnpackError> {
        let dir = archive(entries);
        fs::create_dir(dir.path().join("out")).unwrap();
        unpack(&dir.path().join("a.tar"), "a.tar", &dir.path().join("out")).map(|_| dir)
    }

    #[test]
    fn the_top_folder_is_left_out_and_links_inside_are_kept() {
        let dir = unpacked(&[
            ("demo-1.0/", EntryType::Directory, ""),
            ("demo-1.0/a/b.py", EntryType::Regular, "code"),
            ("demo-1.0/c", EntryType::Symlink, "a/b.py"),
            ("demo-1.0/d", EntryType::Link, "demo-1.0/a/b.py"),
        ])
        .unwrap();
        for name in ["a/b.py", "c", "d"] {
            assert_eq!(fs::read(dir.path().join("out").join(name)).unwrap(), b"code");
        }
    }

    #[test]
    fn hard_links_count_with_the_bytes_that_they_copy() {
        let dir = archive(&[("demo/a", EntryType::Regular, "code"), ("demo/b", EntryType::Link, "demo/a")]);
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut unpacking = Unpacking { into: &out, left: 7, limits: Limits::default(), links: BTreeMap::new(), newest: None };
        let error = walk(&dir.path().join("a.tar"), "a.tar", |entry| unpacking.entry(entry)).unwrap_err();
        assert!(matches!(error, UnpackError::TooLarge { what: "bytes", .. }), "{error:?}");
    }

    #[test]
    fn a_time_past_all_times_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("demo/a").unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.as_gnu_mut().unwrap().mtime = [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        header.set_cksum();
        let mut builder = tar::Builder::new(File::create(dir.path().join("a.tar")).unwrap());
        builder.append(&header, io::empty()).unwrap();
        builder.finish().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let unpacked = unpack(&dir.path().join("a.tar"), "a.tar", &dir.path().join("out")).unwrap();
        assert_eq!(unpacked.newest, None);
        assert!(dir.path().join("out/a").exists());
    }

    #[test]
    fn a_name_or_header_of_megabytes_is_refused_before_it_is_held() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader] {
            let long = "a".repeat(3 << 20);
            let error = unpacked(&[("././@LongLink", kind, &long), ("demo/x", EntryType::Regular, "")]).unwrap_err();
            assert!(error.to_string() == "unpacking failed" || matches!(error, UnpackError::TooLarge { .. }), "{kind:?}: {error:?}");
            assert!(!error.is_ours());
        }
    }

    #[test]
    fn a_hole_of_exabytes_is_refused_before_it_is_read_through() {
        let dir = archive(&[("demo/a", EntryType::GNUSparse, "hole 4611686018427387904")]);
        let error = is_source_distribution(&dir.path().join("a.tar"), "a.tar").unwrap_err();
        assert!(matches!(error, UnpackError::TooLarge { what: "bytes", .. }), "{error:?}");
        let dir = unpacked(&[("demo/a", EntryType::GNUSparse, "hole 8192")]).unwrap();
        assert_eq!(fs::read(dir.path().join("out/a")).unwrap(), [0; 8192]);
    }

    #[test]
    fn xz_that_asks_for_gigabytes_of_memory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        // A stream header, and the header of a block whose dictionary has 4 GiB.
        let mut bytes = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46".to_vec();
        let block = [2, 0, 0x21, 1, 40, 0, 0, 0];
        bytes.extend(block);
        bytes.extend(crc32fast::hash(&block).to_le_bytes());
        fs::write(dir.path().join("a.tar.xz"), bytes).unwrap();
        let mut reader = reader(&dir.path().join("a.tar.xz"), "a.tar.xz").unwrap();
        let error = reader.read(&mut [0]).unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidData && !is_ours(&error), "{error:?}");
    }

    #[test]
    fn an_archive_with_metadata_at_its_top_is_a_source_distribution() {
        for (name, expected) in [("demo-1.0/PKG-INFO", true), ("demo-1.0/x/PKG-INFO", false), ("demo-1.0/setup.py", false)] {
            let dir = archive(&[(name, EntryType::Regular, "x")]);
            assert_eq!(is_source_distribution(&dir.path().join("a.tar"), "a.tar").unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_full_disk_says_nothing_about_an_archive() {
        assert!(is_ours(&rustix::io::Errno::NOSPC.into()));
        assert!(!is_ours(&io::Error::other("corrupt")) && !is_ours(&rustix::io::Errno::NAMETOOLONG.into()));
    }

    #[test]
    fn paths_and_links_that_lead_out_are_refused() {
        for entries in [
            &[("demo/../../x", EntryType::Regular, "")][..],
            &[("/demo/x", EntryType::Regular, "")],
            &[("demo/x", EntryType::Symlink, "../../etc")],
            &[("demo/x", EntryType::Symlink, "/etc")],
            &[("demo/x", EntryType::Link, "/etc/passwd")],
            // Each alone stays inside; the second goes through the first and up again.
            &[("demo/x/y", EntryType::Symlink, ".."), ("demo/x/a", EntryType::Symlink, "y/../secret")],
            &[("demo/x", EntryType::Regular, "code"), ("demo/x", EntryType::Link, "demo/x")],
            &[("demo/x", EntryType::Fifo, "")],
            &[("demo/a", EntryType::Symlink, "b"), ("demo/a/x", EntryType::Symlink, "..")],
            &[("demo/a", EntryType::Symlink, "b"), ("demo/a/x", EntryType::Regular, "")],
        ] {
            assert!(matches!(unpacked(entries), Err(UnpackError::Refused { .. })), "{entries:?}");
        }
    }
}
