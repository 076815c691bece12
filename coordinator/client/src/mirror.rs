//! `quorate mirror`: keeps a copy of a log, in the files that the log itself is served as.
//!
//! The copy is checked from its own files each time before anything is added, and nothing is added that does not
//! continue it. Entries are written first, then tiles, the checkpoint last: what no checkpoint covers is not in the
//! mirror yet. Any server of static files can serve it. What entries mean is [`crate::monitor`]'s question.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use quorate_tlog::{BundlePath, Checkpoint, Entry, EntryBundle, Hash, SignedNote, Tree};
use serde::Serialize;

use crate::answer::{Answer, write_file};
use crate::cli::{Format, Mirror};
use crate::exit::Exit;
use crate::gather::Session;
use crate::log_files::LogFiles;
use crate::text::{json_line, plain};
use crate::trust::Trust;
use crate::trusted_log::TrustedLog;
use crate::view::SCHEMA_VERSION;

/// What came of it; its JSON is `docs/spec/cli.md`'s.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MirrorView {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    origin: String,
    size: u64,
    copied: u64,
    findings: Vec<String>,
}

/// What a folder holds, by its checkpoint.
#[derive(Default)]
struct Held {
    tree: Tree,
    /// Leaf hashes of the last bundle, if it is not full: it is read again with what follows.
    tail: Vec<Hash>,
    findings: Vec<String>,
}

/// Checks the copy, and adds what is new.
pub(crate) async fn run(session: &Session<'_>, args: &Mirror, format: Format) -> anyhow::Result<Answer> {
    let log = trusted(session.trust)?;
    let served = LogFiles::Served(session.server);
    let note = served.checkpoint().await?.context("the coordinator has no checkpoint yet")?;
    let checkpoint = Checkpoint::from_note(&note, log.key()).context("checking the checkpoint")?;
    let held = held(log, &args.folder).await?;
    let mut view = MirrorView::new(log, held.tree.size(), held.findings.clone());
    if let Some(witnesses) = log.witnesses()
        && let Err(error) = witnesses.accept_of(log.key(), &note)
    {
        view.find(error.to_string());
    }
    if held.tree.size() > checkpoint.size() {
        view.find(format!("the coordinator went back to size {}: `quorate monitor --view` can tell which it is", checkpoint.size()));
    }
    if view.findings.is_empty() {
        copy(&mut view, &held, &args.folder, served, (&checkpoint, &note)).await?;
    }
    Ok(view.answer(format))
}

/// Checks the copy.
pub(crate) async fn check(trust: &Trust, args: &Mirror, format: Format) -> anyhow::Result<Answer> {
    let log = trusted(trust)?;
    let held = held(log, &args.folder).await?;
    let mut view = MirrorView::new(log, held.tree.size(), held.findings);
    if held.tree.size() == 0 && view.findings.is_empty() {
        view.exit = Exit::NotEnoughEvidence.code();
    }
    Ok(view.answer(format))
}

fn trusted(trust: &Trust) -> anyhow::Result<&TrustedLog> {
    trust.log.as_ref().context("the policy names no log: `[log]` says whose checkpoints are believed")
}

/// Reads a folder: the entries lead to the root of its checkpoint, and each tile is the one that they give.
async fn held(log: &TrustedLog, folder: &Path) -> anyhow::Result<Held> {
    let files = LogFiles::Folder(folder);
    let Some(note) = files.checkpoint().await? else { return Ok(Held::default()) };
    let mut findings = Vec::new();
    let checkpoint = Checkpoint::from_note(&note, log.key()).context("checking the mirror's checkpoint")?;
    if let Some(witnesses) = log.witnesses()
        && let Err(error) = witnesses.accept_of(log.key(), &note)
    {
        findings.push(error.to_string());
    }
    let leaves = leaves(files, 0, checkpoint.size(), |_, _| Ok(())).await.context("reading the mirror")?;
    let appended = Tree::new().append(&leaves)?;
    if appended.tree.head() != *checkpoint.head() {
        findings.push("the entries in the folder do not lead to its checkpoint's root".to_owned());
        return Ok(Held { tree: appended.tree, tail: Vec::new(), findings });
    }
    for tile in &appended.tiles {
        let path = tile.path.path();
        match files.file(&path, tile.bytes.len()).await {
            Ok(Some(bytes)) if bytes == tile.bytes => {}
            Ok(None) => findings.push(format!("{path} is missing")),
            Ok(Some(_)) | Err(_) => findings.push(format!("{path} is not the tile that the entries give")),
        }
    }
    Ok(Held { tree: appended.tree, tail: leaves[leaves.len() / 256 * 256..].to_vec(), findings })
}

/// The leaf hashes from the bundle `first` on to the end of a tree of `size`. `keep` gets each bundle.
async fn leaves(
    files: LogFiles<'_>,
    first: u64,
    size: u64,
    mut keep: impl FnMut(&BundlePath, &[Entry]) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Hash>> {
    let mut leaves = Vec::new();
    for index in first..size.div_ceil(256) {
        let path = BundlePath::in_tree(index, size).context("the log is too large")?;
        let bundle = files.bundle(&path).await?;
        let entries = bundle.entries().get(..usize::from(path.width().get())).context("an entry bundle is too short")?;
        keep(&path, entries)?;
        leaves.extend(entries.iter().map(Entry::leaf_hash));
    }
    Ok(leaves)
}

/// Adds what is served beyond what is held, if it leads to the checkpoint's root.
async fn copy(
    view: &mut MirrorView,
    held: &Held,
    folder: &Path,
    served: LogFiles<'_>,
    (checkpoint, note): (&Checkpoint, &SignedNote),
) -> anyhow::Result<()> {
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        let parent = path.parent().context("a file of the log has a folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("making `{}`", parent.display()))?;
        write_file(&path, bytes)
    };
    let keep = |path: &BundlePath, entries: &[Entry]| write(&path.path(), &EntryBundle::new(entries.to_vec())?.encode());
    let leaves = leaves(served, held.tree.size() / 256, checkpoint.size(), keep).await?;
    let (again, new) = leaves.split_at_checked(held.tail.len()).context("an entry bundle is too short")?;
    let appended = held.tree.append(new)?;
    if again != held.tail || appended.tree.head() != *checkpoint.head() {
        view.find("what is served does not continue the mirror to the checkpoint's root; the mirror is as it was".to_owned());
        return Ok(());
    }
    for tile in &appended.tiles {
        write(&tile.path.path(), &tile.bytes)?;
    }
    write("checkpoint", note.to_string().as_bytes())?;
    view.copied = checkpoint.size() - held.tree.size();
    view.size = checkpoint.size();
    Ok(())
}

impl MirrorView {
    fn new(log: &TrustedLog, size: u64, findings: Vec<String>) -> Self {
        let exit = if findings.is_empty() { Exit::Met } else { Exit::Violated }.code();
        Self { schema_version: SCHEMA_VERSION, command: "mirror", exit, origin: log.key().name().to_string(), size, copied: 0, findings }
    }

    fn find(&mut self, says: String) {
        self.findings.push(says);
        self.exit = Exit::Violated.code();
    }

    fn answer(self, format: Format) -> Answer {
        let exit = match self.exit {
            0 => Exit::Met,
            3 => Exit::NotEnoughEvidence,
            _ => Exit::Violated,
        };
        let stdout = match format {
            Format::Json => json_line(&self),
            Format::Human => self.human(),
        };
        Answer { stdout, notes: Vec::new(), exit }
    }

    fn human(&self) -> String {
        let outcome = if self.findings.is_empty() { "holds" } else { "DOES NOT HOLD" };
        let mut text = format!("{outcome}  mirror of {} at size {}, {} entries copied\n", plain(&self.origin), self.size, self.copied);
        for finding in &self.findings {
            let _ = writeln!(text, "  {}", plain(finding));
        }
        text
    }
}
