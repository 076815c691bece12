//! Removing what a build left, whatever it left.
//!
//! A folder nested a hundred thousand deep has no path that the kernel takes, and removing it level by level
//! runs out of descriptors or stack; a folder without permissions stops an ordinary user. So folders are
//! opened up and moved to the top before they are emptied: no path is ever longer than two names.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Removes the folder `dir` and all below it. Links are removed and never followed. Only for trees in which
/// no build runs any more. What is not there is removed already.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::symlink_metadata(dir) {
        Ok(data) if data.is_dir() => {}
        Ok(_) => return fs::remove_file(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    open_up(dir)?;
    let mut moved = Moved { top: dir.to_owned(), count: 0 };
    let mut rest = vec![dir.to_owned()];
    while let Some(folder) = rest.pop() {
        moved.empty(&folder, &mut rest)?;
        if folder != dir {
            fs::remove_dir(&folder)?;
        }
    }
    fs::remove_dir(dir)
}

struct Moved {
    top: PathBuf,
    count: u64,
}

impl Moved {
    /// Removes the files of a folder and moves its folders to the top, where they wait in `rest`.
    fn empty(&mut self, folder: &Path, rest: &mut Vec<PathBuf>) -> io::Result<()> {
        let children = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        for child in children {
            let path = child.path();
            if !child.file_type()?.is_dir() {
                fs::remove_file(&path)?;
                continue;
            }
            // Moving a folder changes its `..`, for which it must be writable.
            open_up(&path)?;
            if folder == self.top {
                rest.push(path);
            } else {
                let place = self.place();
                fs::rename(&path, &place)?;
                rest.push(place);
            }
        }
        Ok(())
    }

    /// A name that nothing at the top has.
    fn place(&mut self) -> PathBuf {
        loop {
            self.count += 1;
            let place = self.top.join(format!(".removed-{}", self.count));
            if fs::symlink_metadata(&place).is_err() {
                return place;
            }
        }
    }
}

/// Fails for what another user owns; then the removal itself tells whether that matters.
fn open_up(folder: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(folder)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_tree_that_no_path_reaches_to_the_end_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        for _ in 0..3000 {
            // Grown at the top, because nothing can be named at the bottom.
            let (grown, inner) = (dir.path().join("grown"), dir.path().join("tree"));
            fs::create_dir(&grown).unwrap();
            if inner.exists() {
                fs::rename(&inner, grown.join(&name)).unwrap();
            }
            fs::rename(&grown, &inner).unwrap();
        }
        remove_tree(&dir.path().join("tree")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn folders_without_permission_and_links_to_elsewhere_are_removed_and_elsewhere_stays() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("kept"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/.removed-1"), "x").unwrap();
        fs::create_dir(tree.join(".removed-1")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), tree.join("a/b/link")).unwrap();
        for folder in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(tree.join(folder), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && elsewhere.path().join("kept").exists());
        remove_tree(&tree).unwrap();
    }
}
