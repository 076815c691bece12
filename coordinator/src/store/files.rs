//! Files and their durability: the only place that writes to the data directory.
//!
//! Two ways of writing. `Disk::write_durable` returns once the bytes and the name are on disk.
//! `Disk::write_atomic` never shows half a file to a reader, but a power cut may lose or empty it:
//! only for what a stage file can bring back.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// Frozen rows into a file of the index.
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

impl Point {
    const COUNT: usize = Self::Drill as usize + 1;
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

/// Files that are kept to be written over: how many, and how large in sum.
const SPARES_MAX: usize = 64;
const SPARE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What is put together is written in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// How often something was made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurableWrites {
    /// Stage files.
    pub stages: u64,
    /// Checkpoints in the index.
    pub commits: u64,
    /// Times that published files were synced.
    pub settlings: u64,
    /// Times that fresh rows went to the index.
    pub folds: u64,
}

/// Writes files.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    scratch: AtomicU64,
    begun: [AtomicU64; Point::COUNT],
    /// Files under scratch names that may be written over.
    spares: Mutex<Vec<Spare>>,
    #[cfg(test)]
    armed: Mutex<Option<(Point, Fault)>>,
}

/// A file whose content means nothing.
#[derive(Debug)]
struct Spare {
    path: PathBuf,
    bytes: u64,
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
        self.put_together_durable(point, path, |file| file.write_all(bytes))
    }

    /// The same for what is put together on the way to the file, so that it need not stand in memory as a whole.
    pub(crate) fn put_together_durable(
        &self,
        point: Point,
        path: &Path,
        put: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_into(|folder| self.begin_in(folder), point, path, put)
    }

    /// Writes what nobody but the owner may read, as [`Self::write_durable`].
    pub(crate) fn write_secret(&self, point: Point, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let begin = |folder: &Path| {
            let scratch = self.scratch_in(folder);
            // A leftover of another process may be readable to others.
            let _ = fs::remove_file(&scratch);
            let file = File::options().write(true).create_new(true).mode(0o600).open(&scratch)?;
            Ok((scratch, file))
        };
        self.write_into(begin, point, path, |file| file.write_all(bytes))
    }

    fn write_into(
        &self,
        begin: impl FnOnce(&Path) -> io::Result<(PathBuf, File)>,
        point: Point,
        path: &Path,
        put: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.at(point, || {
            let folder = folder_of(path)?;
            create_folders(&folder)?;
            let (scratch, mut file) = begin(&folder)?;
            let mut pieces = BufWriter::with_capacity(PIECE_BYTES, &file);
            put(&mut pieces)?;
            pieces.into_inner()?;
            let length = file.stream_position()?;
            file.set_len(length)?;
            file.sync_all()?;
            fs::rename(&scratch, path)?;
            sync_folder(&folder)
        })
    }

    /// A file under a scratch name, new or to be written over.
    fn begin_in(&self, folder: &Path) -> io::Result<(PathBuf, File)> {
        let spare = {
            let mut spares = self.spares();
            let at = spares.iter().position(|spare| spare.path.parent() == Some(folder));
            at.map(|at| spares.swap_remove(at).path)
        };
        if let Some(spare) = spare
            && let Ok(file) = File::options().write(true).open(&spare)
        {
            return Ok((spare, file));
        }
        let scratch = self.scratch_in(folder);
        let file = File::create(&scratch)?;
        Ok((scratch, file))
    }

    /// Takes the names of files in `folder` away. Some files are kept: making and removing them without end
    /// costs ext4 a search among those just removed, each time, and new blocks.
    pub(crate) fn retire(&self, folder: &Path, files: &[PathBuf]) -> io::Result<()> {
        let (mut count, mut room) = {
            let held = self.spares();
            (held.len(), SPARE_BYTES_MAX.saturating_sub(held.iter().map(|spare| spare.bytes).sum()))
        };
        let mut spares = Vec::new();
        for file in files {
            let bytes = fs::metadata(file).map_or(u64::MAX, |held| held.len());
            if count < SPARES_MAX && bytes <= room {
                let path = self.scratch_in(folder);
                fs::rename(file, &path)?;
                (count, room) = (count + 1, room - bytes);
                spares.push(Spare { path, bytes });
                continue;
            }
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if !spares.is_empty() {
            // Before one is written over: a power cut must not bring the old name back with other content.
            sync_folder(folder)?;
            self.spares().extend(spares);
        }
        Ok(())
    }

    /// Forgets the files that could be written over: somebody has removed what has a scratch name.
    pub(crate) fn forget_spares(&self) {
        self.spares().clear();
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Spare>> {
        // Nothing under this lock can panic half-way through a change.
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
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

    pub(crate) fn at<T>(&self, point: Point, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.begun[point as usize].fetch_add(1, Ordering::Relaxed);
        self.unless_armed(point, write)
    }

    /// How often something was made durable so far.
    pub(crate) fn durable_writes(&self) -> DurableWrites {
        let count = |point: Point| self.begun[point as usize].load(Ordering::Relaxed);
        DurableWrites {
            stages: count(Point::Stage),
            commits: count(Point::Commit),
            settlings: count(Point::Settle),
            folds: count(Point::Fold),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the fault table arms it in tests")]
    fn unless_armed<T>(&self, _point: Point, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        write()
    }

    #[cfg(test)]
    fn unless_armed<T>(&self, point: Point, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
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
