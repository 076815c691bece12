//! Reading from a folder that somebody else filled.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// How deep a tree is searched for packages.
const DEPTH_MAX: usize = 4;

/// Opens a regular file below `root`; links that lead out of `root` are not followed. `None` when there
/// is no such file.
pub fn open(root: &Path, relative: &Path) -> io::Result<Option<File>> {
    let folder = openat(CWD, root, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = match openat2(&folder, relative, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
        Ok(opened) => File::from(opened),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::XDEV | rustix::io::Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(opened.metadata()?.is_file().then_some(opened))
}

/// Reads a file below `root`, up to `limit` bytes; a longer one is an error.
pub fn read(root: &Path, relative: impl AsRef<Path>, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(root, relative.as_ref())? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("{} has more than {limit} bytes", relative.as_ref().display())));
    }
    Ok(Some(bytes))
}

/// Folders of `root`, itself first, that hold a Python package's manifest; relative, nearest first.
pub fn package_folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![PathBuf::new()];
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for folder in level {
            let here = root.join(&folder);
            if ["pyproject.toml", "setup.py", "setup.cfg"].iter().any(|name| here.join(name).symlink_metadata().is_ok()) {
                found.push(folder.clone());
            }
            let entries = fs::read_dir(&here).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            next.extend(folders.map(|entry| folder.join(entry.file_name())).filter(|path| !path.ends_with(".git")));
        }
        next.sort();
        level = next;
    }
    found
}

/// Gives every file and folder below `root` the mode that git knows of it, whatever umask it was written
/// under: packers copy modes into archives. Links stay as they are.
pub fn reset_modes(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_symlink() {
            continue;
        }
        let is_open = kind.is_dir() || entry.metadata()?.permissions().mode() & 0o100 != 0;
        fs::set_permissions(&path, fs::Permissions::from_mode(if is_open { 0o755 } else { 0o644 }))?;
        if kind.is_dir() {
            reset_modes(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_link_out_of_the_tree_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), b"key").unwrap();
        let root = dir.path().join("tree");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("plain"), b"text").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        std::os::unix::fs::symlink("plain", root.join("in")).unwrap();
        assert_eq!(read(&root, "plain", 10).unwrap().as_deref(), Some(b"text".as_slice()));
        assert_eq!(read(&root, "in", 10).unwrap().as_deref(), Some(b"text".as_slice()));
        assert_eq!(read(&root, "out", 10).unwrap(), None);
        assert_eq!(read(&root, "absent", 10).unwrap(), None);
        assert!(read(&root, "plain", 3).is_err());
    }

    #[test]
    fn modes_are_git_s_whatever_umask_the_tree_was_written_under() {
        let dir = tempfile::tempdir().unwrap();
        let [folder, program, text, link] = ["folder", "folder/program", "folder/text", "folder/link"].map(|name| dir.path().join(name));
        fs::create_dir(&folder).unwrap();
        fs::write(&program, b"").unwrap();
        fs::write(&text, b"").unwrap();
        std::os::unix::fs::symlink("/nowhere", link).unwrap();
        for (path, mode) in [(&program, 0o700), (&text, 0o640), (&folder, 0o750)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        reset_modes(dir.path()).unwrap();
        let modes = [&folder, &program, &text].map(|path| path.metadata().unwrap().permissions().mode() & 0o7777);
        assert_eq!(modes, [0o755, 0o755, 0o644]);
    }
}
