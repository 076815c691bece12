//! Decoys: files that stand where the node keeps its secrets, and an alarm when one is opened.
//!
//! The watch is on the inode, so it sees an open through any mount and any path; the run shows the file
//! read-only and the kernel allows no link to it from elsewhere.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::inotify;

const CONTENT: &[u8] = b"this is not a key\n";

/// The decoys of one run.
pub(super) struct Decoys {
    /// Host file and path inside.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    watch: Option<OwnedFd>,
    _dir: Option<tempfile::TempDir>,
}

impl Decoys {
    /// Makes one file for each path inside and watches it.
    pub(super) fn plant(inside: &[PathBuf]) -> io::Result<Self> {
        if inside.is_empty() {
            return Ok(Self { files: Vec::new(), watch: None, _dir: None });
        }
        let dir = tempfile::Builder::new().prefix("quorate-decoy-").tempdir()?;
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let mut files = Vec::new();
        for (number, inside) in inside.iter().enumerate() {
            let host = dir.path().join(number.to_string());
            fs::write(&host, CONTENT)?;
            // Readable by all: an open that the kernel refused would not be told.
            fs::set_permissions(&host, fs::Permissions::from_mode(0o444))?;
            inotify::add_watch(&watch, &host, inotify::WatchFlags::OPEN)?;
            files.push((host, inside.clone()));
        }
        Ok(Self { files, watch: Some(watch), _dir: Some(dir) })
    }

    /// The paths inside that were opened since they were planted.
    pub(super) fn opened(&self) -> io::Result<Vec<PathBuf>> {
        let Some(watch) = &self.watch else { return Ok(Vec::new()) };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        let mut opened = std::collections::BTreeSet::new();
        loop {
            match events.next() {
                // Watch numbers start at 1 and follow the order of planting; overflow has none and names all.
                Ok(event) => match usize::try_from(event.wd()).ok().and_then(|wd| self.files.get(wd.checked_sub(1)?)) {
                    Some((_, inside)) => drop(opened.insert(inside.clone())),
                    None => opened.extend(self.files.iter().map(|(_, inside)| inside.clone())),
                },
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(opened.into_iter().collect()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
