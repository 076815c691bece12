//! Opening what a build left behind, from the privileged side.
//!
//! Hostile code chose every name in a read-write bind: a link called `dist/x.whl` may point at the node's
//! key, a FIFO may never answer, and a folder may be exchanged for a link between two looks.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Opens the regular file `relative` below `root` for reading. Follows no link in any part of `relative`,
/// never leaves `root`, and refuses everything that is not a regular file.
pub fn open_output(root: &Path, relative: &Path) -> io::Result<File> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, folder, Mode::empty())?;
    // Without NONBLOCK the open of a FIFO waits for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(rustix::fs::openat2(&root, relative, flags, Mode::empty(), resolve)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
}
