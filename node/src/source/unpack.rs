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

/// Most entries of a source archive.
pub const ENTRIES_MAX: usize = 200_000;
/// Most bytes that a source archive may unpack to.
pub const UNPACKED_BYTES_MAX: u64 = 4 << 30;

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
        Some("xz") => Ok(Box::new(XzReader::new(file, true))),
        Some("tar") => Ok(Box::new(file)),
        _ => Err(UnpackError::UnknownCompression(name.to_owned())),
    }
}

/// Unpacks the archive `path`, whose name is `name`, into the empty folder `into`.
pub fn unpack(path: &Path, name: &str, into: &Path) -> Result<Unpacked, UnpackError> {
    let mut archive = tar::Archive::new(reader(path, name)?.take(UNPACKED_BYTES_MAX));
    let mut unpacking = Unpacking { into, bytes: 0, links: BTreeMap::new(), newest: None };
    for (count, entry) in archive.entries()?.enumerate() {
        if count >= ENTRIES_MAX {
            return Err(UnpackError::TooLarge { what: "entries", limit: ENTRIES_MAX as u64 });
        }
        unpacking.entry(entry?)?;
    }
    unpacking.link()?;
    Ok(Unpacked { newest: unpacking.newest })
}

struct Unpacking<'a> {
    into: &'a Path,
    bytes: u64,
    links: BTreeMap<PathBuf, PathBuf>,
    newest: Option<i64>,
}

impl Unpacking<'_> {
    fn entry(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), UnpackError> {
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
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&mut entry, &path)?,
            EntryType::Symlink => {
                let target = entry.link_name()?.ok_or_else(|| refused("a link to nothing"))?.into_owned();
                stays_inside(&inside, &target).then_some(()).ok_or_else(|| refused("a link that leads out"))?;
                self.links.insert(inside, target);
            }
            EntryType::Link => {
                let target = entry.link_name()?.ok_or_else(|| refused("a link to nothing"))?.into_owned();
                let target = below_top(&target).ok_or_else(|| refused("a link that leads out"))?;
                make_parent(&path)?;
                fs::copy(self.into.join(target), &path)?;
            }
            _ => return Err(refused("neither file, folder nor link")),
        }
        Ok(())
    }

    fn file(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> Result<(), UnpackError> {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.bytes > UNPACKED_BYTES_MAX {
            return Err(UnpackError::TooLarge { what: "bytes", limit: UNPACKED_BYTES_MAX });
        }
        make_parent(path)?;
        let mode = entry.header().mode().unwrap_or(0o644);
        let mtime = entry.header().mtime().ok();
        let mut file = File::create(path)?;
        io::copy(entry, &mut file)?;
        file.set_permissions(fs::Permissions::from_mode(if mode & 0o100 == 0 { 0o644 } else { 0o755 }))?;
        if let Some(mtime) = mtime {
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(mtime))?;
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
fn below_top(name: &Path) -> Option<PathBuf> {
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
            header.set_size(if is_link { 0 } else { content.len() as u64 });
            header.set_cksum();
            builder.append(&header, if is_link { &b""[..] } else { content.as_bytes() }).unwrap();
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
    fn paths_and_links_that_lead_out_are_refused() {
        for entries in [
            &[("demo/../../x", EntryType::Regular, "")][..],
            &[("/demo/x", EntryType::Regular, "")],
            &[("demo/x", EntryType::Symlink, "../../etc")],
            &[("demo/x", EntryType::Symlink, "/etc")],
            &[("demo/x", EntryType::Link, "/etc/passwd")],
            &[("demo/x", EntryType::Fifo, "")],
            &[("demo/a", EntryType::Symlink, "b"), ("demo/a/x", EntryType::Symlink, "..")],
            &[("demo/a", EntryType::Symlink, "b"), ("demo/a/x", EntryType::Regular, "")],
        ] {
            assert!(matches!(unpacked(entries), Err(UnpackError::Refused { .. })), "{entries:?}");
        }
    }
}
