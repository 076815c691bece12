//! Gives a folder tree to the build user. Links are changed themselves and never followed.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::Path;

use super::BuildUser;

pub(super) fn give_to(user: BuildUser, path: &Path) -> io::Result<()> {
    let mut rest = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        match lchown(&path, Some(user.uid), Some(user.gid)) {
            // Only a build makes a path that is too long to be named, and what it made is its own already.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => continue,
            outcome => outcome?,
        }
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        }
    }
    Ok(())
}
