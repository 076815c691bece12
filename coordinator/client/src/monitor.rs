//! `quorate monitor`: reads the whole log, makes every verdict again, and compares the checkpoint with what others
//! were shown.
//!
//! One pass or one after the other; between passes only what is new is read. The log's key comes from the
//! user's policy. What convicts the log is written to a file that anybody can check.

mod audit;
mod course;
mod due;
mod history;
#[cfg(test)]
mod honest_run;
mod kept;
mod occasion;
mod opened;
pub(crate) mod own;
mod recompute;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use quorate_proto::Timestamp;
use quorate_tally::Policy;
use quorate_tlog::{BundlePath, Checkpoint, Cosignature, LogEquivocation, SignedNote};

use crate::answer::{Answer, write_file};
use crate::cli::{Format, Monitor};
use crate::exit::Exit;
use crate::log_files::LogFiles;
use crate::server::Server;
use crate::text::json_line;
use crate::trust::Trust;
use crate::trusted_log::TrustedLog;
use audit::Audit;
use view::{PassView, Standing, ViewOf};

/// The longest checkpoint that is asked for.
const NOTE_BYTES_MAX: usize = quorate_tlog::note::NOTE_BYTES_MAX;

/// A checkpoint that somebody was shown.
struct Seen {
    from: String,
    note: SignedNote,
}

/// Runs passes until one finds something, or once.
pub(crate) async fn run(trust: &Trust, files: &LogFiles<'_>, args: &Monitor, format: Format) -> anyhow::Result<Answer> {
    let log = trust.log.as_ref().context("the policy names no log: `[log]` says whose checkpoints are believed")?;
    let names = &trust.policy;
    let mut pass = Pass { files, args, log, names, audit: Audit::new(log.key().clone())?, last: remembered(args)? };
    loop {
        let report = pass.run().await;
        // What is missing of one's own may be on its way: it is said, and does not end the watch.
        let stays = !args.once && report.as_ref().map_or(true, |report| report.exit() != Exit::Violated);
        if !stays {
            let report = report?;
            let stdout = match format {
                Format::Human => report.human(),
                Format::Json => json_line(&report),
            };
            return Ok(Answer { stdout, notes: Vec::new(), exit: report.exit() });
        }
        match report {
            Ok(report) => eprint!("{}", report.human()),
            Err(error) => eprintln!("this pass failed and is tried again: {}", crate::text::plain(&format!("{error:#}"))),
        }
        tokio::time::sleep(Duration::from_secs(args.every.max(1))).await;
    }
}

/// What passes have in common.
struct Pass<'s> {
    files: &'s LogFiles<'s>,
    args: &'s Monitor,
    log: &'s TrustedLog,
    /// Has names for operators.
    names: &'s Policy,
    audit: Audit,
    /// The checkpoint of the pass before, or of an earlier run.
    last: Option<Seen>,
}

impl Pass<'_> {
    async fn run(&mut self) -> anyhow::Result<PassView> {
        let note = self.files.checkpoint().await?.context("the log has no checkpoint yet")?;
        let checkpoint = Checkpoint::from_note(&note, self.log.key()).context("checking the checkpoint")?;
        let mut report = PassView::new(&checkpoint);
        let cosigned = self.cosigned(&mut report, &note);
        if self.read_to(&checkpoint).await? {
            if let Some(at) = cosigned {
                self.audit.cosigned(at);
            }
        } else {
            report.find(None, "the entries that are served do not lead to the checkpoint's root".to_owned());
        }
        report.count(&self.audit);
        let now = now();
        report.name(&mut self.audit, self.names, now)?;
        report.miss(self.audit.due(now)?);
        for own in &self.args.own {
            report.look_for(own.find_in(&self.audit)?);
        }
        let views = self.views(&checkpoint).await;
        self.compare(&mut report, &note, views)?;
        self.remember(note)?;
        Ok(report)
    }

    /// By when all the witnesses that were asked for, and have cosigned, had seen the checkpoint.
    fn cosigned(&self, report: &mut PassView, note: &SignedNote) -> Option<Timestamp> {
        match self.log.witnesses()?.accept_of(self.log.key(), note) {
            Ok(accepted) => {
                let latest = accepted.cosignatures.iter().map(Cosignature::timestamp).max()?;
                Some(Timestamp::from_unix_seconds(i64::try_from(latest).ok()?))
            }
            Err(error) => {
                report.find(None, error.to_string());
                None
            }
        }
    }

    /// Reads what is new. If that does not lead to the root, the log may have changed what was read before: once
    /// more from the beginning. Whether the root was reached.
    async fn read_to(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<bool> {
        if self.audit.size() <= checkpoint.size() {
            self.read_from(checkpoint).await?;
        }
        if self.audit.head() == *checkpoint.head() {
            return Ok(true);
        }
        self.audit = Audit::new(self.log.key().clone())?;
        self.read_from(checkpoint).await?;
        Ok(self.audit.head() == *checkpoint.head())
    }

    async fn read_from(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        self.audit.now_is(now());
        while self.audit.size() < checkpoint.size() {
            let begun = self.audit.size();
            let path = BundlePath::in_tree(begun / 256, checkpoint.size()).context("the log is too large")?;
            let bundle = self.files.bundle(&path).await?;
            let from = usize::try_from(begun % 256)?;
            let entries = bundle.entries().get(from..usize::from(path.width().get())).context("an entry bundle is too short")?;
            if let Err(error) = self.audit.take(entries) {
                self.audit = Audit::new(self.log.key().clone())?;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What others were shown: earlier passes, files, witnesses.
    async fn views(&self, checkpoint: &Checkpoint) -> Vec<Result<Seen, (String, String)>> {
        let mut views: Vec<Result<Seen, (String, String)>> = Vec::new();
        views.extend(self.last.as_ref().map(|seen| Ok(Seen { from: seen.from.clone(), note: seen.note.clone() })));
        for path in &self.args.view {
            let from = path.display().to_string();
            views.push(read_note(path).map(|note| Seen { from: from.clone(), note }).map_err(|error| (from, format!("{error:#}"))));
        }
        let origin = quorate_tlog::witness::origin_hash(checkpoint.origin());
        for url in &self.args.witness {
            views.push(ask_witness(url, &origin).await.map_err(|error| (url.clone(), format!("{error:#}"))));
        }
        views
    }

    fn compare(&self, report: &mut PassView, note: &SignedNote, views: Vec<Result<Seen, (String, String)>>) -> anyhow::Result<()> {
        for view in views {
            let seen = match view {
                Ok(seen) => seen,
                Err((from, why)) => {
                    report.views.push(ViewOf { from, size: None, standing: Standing::Unreadable, why: Some(why) });
                    continue;
                }
            };
            let (size, standing) = match Checkpoint::from_note(&seen.note, self.log.key()) {
                Err(_) => (None, Standing::NotOfThisLog),
                Ok(other) if other.size() > report.size => (Some(other.size()), Standing::Ahead),
                Ok(other) => (Some(other.size()), self.standing(report, note, &seen)?),
            };
            report.views.push(ViewOf { from: seen.from, size, standing, why: None });
        }
        Ok(())
    }

    fn standing(&self, report: &mut PassView, note: &SignedNote, seen: &Seen) -> anyhow::Result<Standing> {
        if self.audit.head().size != report.size {
            return Ok(Standing::Unreadable);
        }
        match LogEquivocation::find(self.log.key(), &seen.note, note, self.audit.tiles()) {
            Ok(None) => Ok(Standing::Consistent),
            Ok(Some(proof)) => {
                write_file(&self.args.proof, proof.to_string().as_bytes())?;
                let said =
                    format!("the log has shown two histories: {} contradicts it; proof in `{}`", seen.from, self.args.proof.display());
                report.find(None, said);
                Ok(Standing::Contradicts)
            }
            // The tiles are not the checkpoint's: that has been said already.
            Err(_) => Ok(Standing::Unreadable),
        }
    }

    fn remember(&mut self, note: SignedNote) -> anyhow::Result<()> {
        if let Some(path) = &self.args.state {
            write_file(path, note.to_string().as_bytes())?;
        }
        self.last = Some(Seen { from: "the pass before".to_owned(), note });
        Ok(())
    }
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

fn remembered(args: &Monitor) -> anyhow::Result<Option<Seen>> {
    let Some(path) = args.state.as_ref().filter(|path| path.exists()) else { return Ok(None) };
    Ok(Some(Seen { from: path.display().to_string(), note: read_note(path)? }))
}

fn read_note(path: &Path) -> anyhow::Result<SignedNote> {
    let read = std::fs::read(path).with_context(|| format!("reading `{}`", path.display()))?;
    SignedNote::parse(&read).with_context(|| format!("reading `{}`", path.display()))
}

async fn ask_witness(url: &str, origin: &str) -> anyhow::Result<Seen> {
    let path = format!("{origin}/checkpoint");
    let bytes = Server::at(Some(url))?.log_file(&path, NOTE_BYTES_MAX).await?.context("it has not cosigned this log")?;
    Ok(Seen { from: url.to_owned(), note: SignedNote::parse(&bytes)? })
}

/// Where the proof goes when nobody says so.
pub(crate) fn default_proof() -> PathBuf {
    PathBuf::from("log-equivocation.proof")
}
