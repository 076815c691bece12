//! The durable queue of jobs: a folder of files, so that it works whether or not the node runs.
//!
//! A job is `queue/<id>.job`, its id the digest of package and file: the same job twice is one job. What
//! came out lies beside it as `<id>.staged` before anything is signed, so that a killed node builds
//! nothing twice. `<id>.retry` says when to try again, `<id>.rejected` why never. A job is done when the
//! own feed holds a result for the very bytes that its build looked at; then its files go. Every file is written whole or not at all.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_proto::{ArtifactId, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::attest::Finding;
use crate::durable;
use crate::pipeline::Job;

/// Pause after the first failure; it doubles.
const RETRY_MIN: Duration = Duration::from_secs(30);

/// Longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_hours(1);

/// Names a job: SHA-256 of its package URL, a line feed, and its file name, which may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Digest);

/// The folder of jobs.
#[derive(Clone, Debug)]
pub struct Queue {
    dir: PathBuf,
}

/// A job that is not done.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its name.
    pub id: JobId,
    /// What to rebuild.
    pub job: Job,
    /// What to do with it.
    pub state: State,
}

/// What is to be done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be built.
    Ready,
    /// Built: to be signed.
    Staged,
    /// Failed for a reason that passes: not to be touched before then.
    Resting {
        /// When.
        until: Timestamp,
    },
}

/// Whether a job was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the queue from now on.
    New,
    /// It was there already.
    Already,
}

/// A queue whose folder fails.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The disk.
    #[error("queue file `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A job without a version: nothing that can be rebuilt.
    #[error("package URL `{0}` names no version")]
    NoVersion(String),
}

/// Why and when to try again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Retry {
    attempts: u32,
    not_before: Timestamp,
    reason: String,
}

impl JobId {
    /// The id of a job.
    pub fn of(job: &Job) -> Self {
        let file = job.file.as_ref().map_or("", |file| file.as_str());
        Self(Digest::of(format!("{}\n{file}", job.package).as_bytes()))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl Queue {
    /// Opens the queue of a data folder, making it where it is missing.
    pub fn open(data_dir: &Path) -> Result<Self, QueueError> {
        let dir = data_dir.join("queue");
        // What a build left stands in staged outcomes, unsalted.
        durable::private_dir(&dir).map_err(|source| QueueError::Io { path: dir.clone(), source })?;
        Ok(Self { dir })
    }

    /// Removes what a killed node left: outcomes of jobs that are gone. For the one process that holds
    /// the data folder; others may be adding jobs, whose unfinished files are not touched.
    pub fn recover(&self) -> Result<(), QueueError> {
        for path in self.files()? {
            let stem = path.with_extension("job");
            let ours = matches!(extension(&path), Some("staged" | "retry"));
            if ours && !stem.exists() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Adds a job, durably.
    pub fn enqueue(&self, job: &Job) -> Result<(JobId, Enqueued), QueueError> {
        if job.package.version().is_none() {
            return Err(QueueError::NoVersion(job.package.to_string()));
        }
        let id = JobId::of(job);
        let path = self.path(id, "job");
        match durable::create(&path, &json(job), 0o644) {
            Ok(()) => Ok((id, Enqueued::New)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok((id, Enqueued::Already)),
            Err(source) => Err(QueueError::Io { path, source }),
        }
    }

    /// The jobs in the folder, in the order of their ids.
    pub fn pending(&self, now: Timestamp) -> Result<Vec<Pending>, QueueError> {
        let mut pending = Vec::new();
        for path in self.files()?.into_iter().filter(|path| extension(path) == Some("job")) {
            if let Some(job) = self.job(&path)? {
                let id = JobId::of(&job);
                pending.push(Pending { id, state: self.state(id, now)?, job });
            }
        }
        pending.sort_by_key(|pending| pending.id);
        Ok(pending)
    }

    /// The job in this file. Nothing when it has gone since the folder was listed, or was put aside.
    fn job(&self, path: &Path) -> Result<Option<Job>, QueueError> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let job = serde_json::from_slice::<Job>(&bytes).ok();
        let named = job.filter(|job| path == self.path(JobId::of(job), "job"));
        if named.is_none() {
            tracing::warn!(path = %path.display(), "not a job, or under another name than its own; put aside");
            put_aside(path)?;
        }
        Ok(named)
    }

    fn state(&self, id: JobId, now: Timestamp) -> Result<State, QueueError> {
        if self.path(id, "staged").exists() {
            return Ok(State::Staged);
        }
        let retry = read_json::<Retry>(&self.path(id, "retry"))?;
        Ok(match retry {
            Some(retry) if retry.not_before > now => State::Resting { until: retry.not_before },
            _ => State::Ready,
        })
    }

    /// Keeps what came out, durably: from here on the job is signed, and not built again.
    pub fn stage(&self, id: JobId, finding: &Finding) -> Result<(), QueueError> {
        let path = self.path(id, "staged");
        durable::replace(&path, &json(finding)).map_err(|source| QueueError::Io { path, source })
    }

    /// What came out, if it can be read. A damaged outcome is removed: the job is built again.
    pub fn staged(&self, id: JobId) -> Result<Option<Finding>, QueueError> {
        let path = self.path(id, "staged");
        let finding = read_json(&path)?;
        if finding.is_none() && path.exists() {
            tracing::warn!(job = %id, "staged outcome is damaged; it is built again");
            remove(&path)?;
        }
        Ok(finding)
    }

    /// Lets a job rest after a failure that passes; every time for longer. Returns until when.
    pub fn postpone(&self, id: JobId, reason: String, now: Timestamp) -> Result<Timestamp, QueueError> {
        let path = self.path(id, "retry");
        let attempts = read_json::<Retry>(&path)?.map_or(0, |retry| retry.attempts);
        let pause = RETRY_MIN.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(RETRY_MAX);
        let not_before = now.plus(pause);
        let retry = Retry { attempts: attempts.saturating_add(1), not_before, reason };
        durable::replace(&path, &json(&retry)).map_err(|source| QueueError::Io { path, source })?;
        Ok(not_before)
    }

    /// Puts a job aside that can never be done, with the reason.
    pub fn reject(&self, id: JobId, reason: &str) -> Result<(), QueueError> {
        let path = self.path(id, "rejected");
        durable::replace(&path, format!("{reason}\n").as_bytes()).map_err(|source| QueueError::Io { path, source })?;
        self.finish(id)
    }

    /// Forgets a job that is done. The job goes first: what is left of a finish that was cut short is
    /// either a job that the feed shows as done, or files without a job.
    pub fn finish(&self, id: JobId) -> Result<(), QueueError> {
        ["job", "staged", "retry"].into_iter().try_for_each(|ending| remove(&self.path(id, ending)))
    }

    fn path(&self, id: JobId, ending: &str) -> PathBuf {
        self.dir.join(format!("{id}.{ending}"))
    }

    fn files(&self) -> Result<Vec<PathBuf>, QueueError> {
        let failed = |source| QueueError::Io { path: self.dir.clone(), source };
        let entries = fs::read_dir(&self.dir).map_err(failed)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
    }
}

/// Whether the feed shows that a job was done once: that there is a result for the file that it names, or
/// for any file of the release when it names none. What the registry serves now, only a build tells.
pub fn is_done(job: &Job, signed: &BTreeSet<ArtifactId>) -> bool {
    let is_of_job = |file| job.file.as_ref().is_none_or(|wanted| wanted == file);
    signed.iter().any(|artifact| artifact.slot.package == job.package && is_of_job(&artifact.slot.file))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("jobs and findings hold nothing that JSON cannot say")
}

/// The content, or nothing when there is no file or it is not what it should be.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, QueueError> {
    Ok(read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The content, or nothing when there is no file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, QueueError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(QueueError::Io { path: path.to_owned(), source }),
    }
}

fn remove(path: &Path) -> Result<(), QueueError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(QueueError::Io { path: path.to_owned(), source: e }),
        _ => Ok(()),
    }
}

fn put_aside(path: &Path) -> Result<(), QueueError> {
    match fs::rename(path, path.with_extension("malformed")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(QueueError::Io { path: path.to_owned(), source: e }),
        _ => Ok(()),
    }
}

fn extension(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::ArtifactSlot;

    fn job(package: &str, file: Option<&str>) -> Job {
        Job { package: package.parse().unwrap(), file: file.map(|file| file.parse().unwrap()), artifact_path: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn the_same_job_twice_is_one_job() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::open(dir.path()).unwrap();
        let (id, first) = queue.enqueue(&job("pkg:pypi/Click@8.1.8", Some("a.whl"))).unwrap();
        let (again, second) = queue.enqueue(&job("pkg:pypi/click@8.1.8", Some("a.whl"))).unwrap();
        assert_eq!((id, first, second), (again, Enqueued::New, Enqueued::Already));
        assert_eq!(queue.pending(at(0)).unwrap().len(), 1);
        assert!(matches!(queue.enqueue(&job("pkg:pypi/click", None)), Err(QueueError::NoVersion(_))));
    }

    #[test]
    fn a_job_that_fails_rests_longer_each_time_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::open(dir.path()).unwrap();
        let (id, _) = queue.enqueue(&job("pkg:pypi/a@1", None)).unwrap();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            pauses.push(queue.postpone(id, "registry".to_owned(), at(1000)).unwrap().unix_seconds() - 1000);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        let again = Queue::open(dir.path()).unwrap();
        again.recover().unwrap();
        assert_eq!(again.pending(at(1000)).unwrap()[0].state, State::Resting { until: at(4600) });
        assert_eq!(again.pending(at(4600)).unwrap()[0].state, State::Ready);
    }

    #[test]
    fn a_finish_that_was_cut_short_leaves_nothing_that_is_built_again() {
        for left in [&["staged"][..], &["retry"], &["staged", "retry"]] {
            let dir = tempfile::tempdir().unwrap();
            let queue = Queue::open(dir.path()).unwrap();
            let (id, _) = queue.enqueue(&job("pkg:pypi/a@1", None)).unwrap();
            for ending in left {
                fs::write(queue.path(id, ending), b"{}").unwrap();
            }
            fs::remove_file(queue.path(id, "job")).unwrap();
            queue.recover().unwrap();
            assert_eq!(queue.files().unwrap().len(), 0, "{left:?}");
        }
    }

    #[test]
    fn damaged_files_are_put_aside_and_stop_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::open(dir.path()).unwrap();
        let (id, _) = queue.enqueue(&job("pkg:pypi/a@1", None)).unwrap();
        fs::write(queue.dir.join("x.job"), b"{").unwrap();
        fs::write(queue.path(id, "staged"), b"{\"half\":").unwrap();
        assert_eq!(queue.pending(at(0)).unwrap()[0].state, State::Staged);
        assert!(queue.staged(id).unwrap().is_none());
        assert_eq!(queue.pending(at(0)).unwrap()[0].state, State::Ready);
        assert!(queue.dir.join("x.malformed").exists());
    }

    #[test]
    fn a_job_file_that_goes_between_listing_and_reading_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::open(dir.path()).unwrap();
        queue.enqueue(&job("pkg:pypi/a@1", None)).unwrap();
        // Listed, but there is nothing to read, as when another process removed it a moment ago.
        std::os::unix::fs::symlink("gone", queue.dir.join("x.job")).unwrap();
        assert_eq!(queue.pending(at(0)).unwrap().len(), 1);
        assert!(queue.job(&queue.dir.join("y.job")).unwrap().is_none());
        assert!(put_aside(&queue.dir.join("y.job")).is_ok(), "not even when it goes a moment later");
    }

    #[test]
    fn the_feed_alone_says_that_a_job_is_done() {
        let slot = ArtifactSlot { package: "pkg:pypi/a@1".parse().unwrap(), file: "a.whl".parse().unwrap() };
        let signed = BTreeSet::from([ArtifactId { slot, digest: Digest::of(b"a") }]);
        assert!(is_done(&job("pkg:pypi/a@1", Some("a.whl")), &signed));
        assert!(is_done(&job("pkg:pypi/a@1", None), &signed));
        assert!(!is_done(&job("pkg:pypi/a@1", Some("b.whl")), &signed));
        assert!(!is_done(&job("pkg:pypi/a@2", None), &signed));
    }
}
