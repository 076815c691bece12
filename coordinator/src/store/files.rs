//! Files and their durability: the only place that writes to the data directory.
//!
//! Two ways of writing. `Disk::write_durable` returns once the bytes and the name are on disk.
//! `Disk::write_atomic` never shows half a file to a reader, but a power cut may lose or empty it:
//! only for what a stage file can bring back.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
use std::sync::Mutex;

/// The names in a data directory. `docs/spec/coordinator-storage.md`, section "Files".
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
    publication: Publication,
}

/// When a checkpoint may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Once its batch is durable and its tiles are in place.
    AtOnce,
    /// Once a quorum of witnesses has cosigned it, too.
    Witnessed,
}

/// Durable writes that can fail, for the fault table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    /// A batch's leaves into their stage file.
    Stage,
    /// The checkpoint into the index.
    Commit,
    /// Fresh rows into the pages of the index.
    Fold,
    /// An entry bundle, tile or `checkpoint`.
    Publish,
    /// A cosigned checkpoint where it is served.
    Show,
    /// Syncing published files, before their stage file goes.
    Settle,
    /// A content-addressed file.
    Blob,
    /// What a drill is on, before that is announced.
    Drill,
}

/// How a write fails in a test.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing reached the disk.
    Failed,
    /// Everything reached the disk, and an error came back all the same.
    FailedButPersisted,
}

/// Writes files.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    scratch: AtomicU64,
    #[cfg(test)]
    armed: Mutex<Option<(Point, Fault)>>,
}

impl Paths {
    /// The names under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), publication: Publication::AtOnce }
    }

    /// The same, where checkpoints wait for witnesses.
    #[must_use]
    pub fn publishing(self, publication: Publication) -> Self {
        Self { publication, ..self }
    }

    /// When a checkpoint may be seen.
    pub fn publication(&self) -> Publication {
        self.publication
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Held with `flock` by the one process that may write.
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// The log as it is served: `checkpoint` and `tile/`.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The published checkpoint.
    pub fn checkpoint(&self) -> PathBuf {
        self.log().join("checkpoint")
    }

    /// The checkpoint of the newest tiles, which a lost index is rebuilt from. Where it waits for witnesses it
    /// does not lie where it is served.
    pub fn newest_checkpoint(&self) -> PathBuf {
        match self.publication {
            Publication::AtOnce => self.checkpoint(),
            Publication::Witnessed => self.waiting_checkpoint(),
        }
    }

    /// The newest checkpoint while it waits for witnesses.
    pub fn waiting_checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint.waiting")
    }

    /// Batches that are not yet settled, each named by its first leaf's index.
    pub fn stage(&self) -> PathBuf {
        self.root.join("stage")
    }

    /// The sled index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The log's verifier key, for `check`.
    pub fn vkey(&self) -> PathBuf {
        self.root.join("log.vkey")
    }

    /// Where and as whom a running coordinator answers.
    pub fn ready(&self) -> PathBuf {
        self.root.join("ready.json")
    }

    /// What drills are on, for nobody but their owner; and the socket of whoever runs the coordinator.
    pub fn drills(&self) -> PathBuf {
        self.root.join("drills")
    }

    /// The peers that the mesh knows: a hint.
    pub fn peers(&self) -> PathBuf {
        self.root.join("peers")
    }

    /// A content-addressed file.
    pub fn blob(&self, digest: &quorate_proto::Digest) -> PathBuf {
        let hex = digest.to_hex();
        self.root.join("blobs").join(&hex[..2]).join(hex)
    }
}

impl Disk {
    /// Writes a file so that it survives a power cut once this returns.
    pub(crate) fn write_durable(&self, point: Point, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_as(0o666, point, path, bytes)
    }

    /// The same for what nobody but the owner may read.
    pub(crate) fn write_secret(&self, point: Point, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_as(0o600, point, path, bytes)
    }

    fn write_as(&self, mode: u32, point: Point, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.at(point, || {
            let folder = folder_of(path)?;
            create_folders(&folder)?;
            let scratch = self.scratch_in(&folder);
            // A leftover of another process may be readable to others.
            let _ = fs::remove_file(&scratch);
            let mut file = File::options().write(true).create_new(true).mode(mode).open(&scratch)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&scratch, path)?;
            sync_folder(&folder)
        })
    }

    /// Writes a file that readers see whole or not at all.
    pub(crate) fn write_atomic(&self, point: Point, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.at(point, || {
            let folder = folder_of(path)?;
            let scratch = self.scratch_in(&folder);
            if let Err(error) = fs::write(&scratch, bytes) {
                if error.kind() != io::ErrorKind::NotFound {
                    return Err(error);
                }
                fs::create_dir_all(&folder)?;
                fs::write(&scratch, bytes)?;
            }
            fs::rename(&scratch, path)
        })
    }

    /// Syncs files that [`Self::write_atomic`] wrote, and the folders that name them up to `root`.
    pub(crate) fn sync(&self, files: &[PathBuf], root: &Path) -> io::Result<()> {
        self.at(Point::Settle, || {
            let mut folders = std::collections::BTreeSet::new();
            for path in files {
                match File::open(path) {
                    Ok(file) => file.sync_all()?,
                    // A partial tile that a wider one has replaced.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                folders.extend(path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)).map(Path::to_path_buf));
            }
            folders.iter().rev().filter(|folder| folder.exists()).try_for_each(|folder| sync_folder(folder))
        })
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the fault table arms it in tests")]
    pub(crate) fn at<T>(&self, _point: Point, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        write()
    }

    #[cfg(test)]
    pub(crate) fn at<T>(&self, point: Point, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let fault = {
            let mut armed = self.armed.lock().expect("no test panics while it arms");
            if armed.is_some_and(|(at, _)| at == point) { armed.take() } else { None }
        };
        let injected = || io::Error::other("injected");
        match fault {
            None => write(),
            Some((_, Fault::Failed)) => Err(injected()),
            Some((_, Fault::FailedButPersisted)) => write().and(Err(injected())),
        }
    }

    /// The next write at `point` fails.
    #[cfg(test)]
    pub(crate) fn arm(&self, point: Point, fault: Fault) {
        *self.armed.lock().expect("no test panics while it arms") = Some((point, fault));
    }

    fn scratch_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!(".scratch-{}", self.scratch.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Whether a name is a leftover of an interrupted write.
pub(crate) fn is_scratch(name: &str) -> bool {
    name.starts_with(".scratch-")
}

/// Makes names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` with its parents and makes their names durable.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder_of(folder)?;
    create_folders(&parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(&parent),
    }
}

fn folder_of(path: &Path) -> io::Result<PathBuf> {
    let parent = path.parent().ok_or_else(|| io::Error::other("a file without a folder"))?;
    Ok(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() })
}
