//! A list of artifacts, rebuilt several at a time; every row is durable before the next one is counted.
//!
//! A toolchain that has to be built first takes longer than most rows. So all rows are built with what is at hand; then
//! what they lacked is brought in, the most wanted first, and after each the rows that made do with another are built again.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quorate_node::pipeline::{Disposition, Engine, Job, Silent};
use quorate_node::plan::NEAREST_TOOLCHAIN;
use quorate_proto::{Digest, Purl};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::Format;
use super::{print, table, view};

/// How fast, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Artifacts at a time; one more than there are cores when absent: while one waits, for a registry or for its own
    /// processes to begin and end, the cores have work.
    pub(super) jobs: Option<NonZeroUsize>,
    /// Longest that one artifact may take.
    pub(super) time_limit: Duration,
}

/// One artifact of a list. Other fields are notes of whoever made the list, and are not looked at.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Entry {
    ecosystem: String,
    name: String,
    version: String,
    artifact: String,
    sha256: Option<String>,
    expected: Option<String>,
}

/// Rows that are done, in the file and in memory.
struct Results {
    path: PathBuf,
    rows: Mutex<Vec<Value>>,
}

pub(super) async fn run(engine: Arc<Engine>, list: &Path, out: &Path, pace: Pace, format: Format) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(list).with_context(|| format!("reading {}", list.display()))?;
    let entries: Vec<Entry> = serde_json::from_str(&text).with_context(|| format!("reading {} as a list of artifacts", list.display()))?;
    let results = Results::open(out)?;
    let left: Vec<_> = entries.iter().filter(|entry| !results.has(entry)).collect();
    let bar = bar(entries.len(), entries.len() - left.len());
    let usual = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get) + 1;
    let jobs = pace.jobs.map_or_else(usual, NonZeroUsize::get);
    let batch = Batch { engine, results: &results, bar: &bar, jobs, time_limit: pace.time_limit };
    batch.build(left).await.with_context(|| format!("writing {}", out.display()))?;
    batch.bring_what_was_lacking(&entries).await.with_context(|| format!("writing {}", out.display()))?;
    bar.finish_and_clear();
    let rows = results.of(&entries);
    match format {
        Format::Human => print(&table::table(&rows))?,
        Format::Json => print(&(serde_json::to_string(&table::counts(&rows))? + "\n"))?,
    }
    Ok(ExitCode::from(table::exit_code(&rows)))
}

/// A list that is being built.
struct Batch<'a> {
    engine: Arc<Engine>,
    results: &'a Results,
    bar: &'a ProgressBar,
    jobs: usize,
    time_limit: Duration,
}

impl Batch<'_> {
    async fn build(&self, entries: Vec<&Entry>) -> anyhow::Result<()> {
        let begin = |entry: &Entry| begun(Arc::clone(&self.engine), entry.clone(), self.time_limit, self.bar.clone());
        let mut running = stream::iter(entries).map(begin).buffer_unordered(self.jobs);
        while let Some(row) = running.next().await {
            self.say(&table::line(&row));
            self.results.put(row)?;
            self.bar.inc(1);
        }
        Ok(())
    }

    /// Ends when nothing is lacking that could be had: each toolchain is asked for once.
    async fn bring_what_was_lacking(&self, entries: &[Entry]) -> anyhow::Result<()> {
        let cargos = self.engine.crates().cargos();
        let mut asked = BTreeSet::new();
        while self.bring_one(&mut asked, cargos.take_lacked()).await {
            let makeshift: Vec<_> = entries.iter().filter(|entry| self.results.is_makeshift(entry)).collect();
            self.bar.inc_length(makeshift.len() as u64);
            self.build(makeshift).await?;
        }
        Ok(())
    }

    /// Brings in the first cargo that can be had and was not asked for yet. False when there is none.
    async fn bring_one(&self, asked: &mut BTreeSet<u64>, lacked: Vec<u64>) -> bool {
        let crates = self.engine.crates();
        let Ok(registry) = crates.usual().await else { return false };
        for minor in lacked {
            if !asked.insert(minor) {
                continue;
            }
            self.bar.set_message(format!("cargo 1.{minor}"));
            self.say(&format!("bringing in cargo 1.{minor}: to build one takes minutes"));
            match crates.cargos().bring(minor, &registry).await {
                Ok(_) => return true,
                Err(error) => self.say(&format!("cargo 1.{minor} cannot be had: {:#}", anyhow::Error::from(error))),
            }
        }
        false
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

/// A task of its own for each: within one, whatever one rebuild reckons would hold up all the others.
async fn begun(engine: Arc<Engine>, entry: Entry, time_limit: Duration, bar: ProgressBar) -> Value {
    let task = {
        let entry = entry.clone();
        tokio::spawn(async move { row(&engine, &entry, time_limit, &bar).await })
    };
    // It must not go on without anybody who waits for it.
    let mut task = Aborting(task);
    match (&mut task.0).await {
        Ok(row) => row,
        Err(error) => named(failed(&entry, "error", &format!("the rebuild did not end: {error}"), true), &entry),
    }
}

struct Aborting(JoinHandle<Value>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn row(engine: &Engine, entry: &Entry, time_limit: Duration, bar: &ProgressBar) -> Value {
    bar.set_message(entry.artifact.clone());
    let begin = Instant::now();
    let mut row = match entry.job() {
        Err(reason) => failed(entry, "not-attempted", &reason, false),
        Ok(job) => match tokio::time::timeout(time_limit, engine.rebuild(&job, &Silent)).await {
            Ok(Ok(finding)) => view(&finding),
            Ok(Err(error)) => {
                let passing = error.disposition() == Disposition::Retry;
                failed(entry, "error", &format!("{:#}", anyhow::Error::from(error)), passing)
            }
            Err(_) => failed(entry, "time-limit", &format!("not done after {} seconds", time_limit.as_secs()), false),
        },
    };
    let listed = entry.sha256.as_deref().and_then(|hex| Digest::from_hex(hex).ok());
    let served = row["published"].as_str().and_then(|text| text.parse::<Digest>().ok());
    if let (Some(listed), Some(served)) = (listed, served)
        && listed != served
    {
        row["result"] = json!("other-artifact");
        row["level"] = Value::Null;
        row["summary"] = json!(format!("the registry serves {served}, the list says {listed}"));
    }
    row["wallSeconds"] = json!(begin.elapsed().as_secs_f64());
    if let Some(expected) = &entry.expected {
        row["expected"] = json!(expected);
    }
    named(row, entry)
}

/// The row with the names that its list has for it.
fn named(mut row: Value, entry: &Entry) -> Value {
    row["ecosystem"] = json!(entry.ecosystem);
    row["name"] = json!(entry.name);
    row["version"] = json!(entry.version);
    row
}

fn failed(entry: &Entry, result: &str, reason: &str, is_passing: bool) -> Value {
    let package = entry.job().ok().map(|job| job.package);
    json!({
        "schemaVersion": super::SCHEMA_VERSION, "package": package, "artifact": entry.artifact, "result": result, "level": null,
        "summary": reason, "isPassing": is_passing,
    })
}

impl Entry {
    fn job(&self) -> Result<Job, String> {
        let kind = match self.ecosystem.as_str() {
            "crates.io" | "cargo" => "cargo",
            "debian" | "deb" => "deb/debian",
            "npm" => "npm",
            "pypi" => "pypi",
            other => return Err(format!("no ecosystem `{other}` is known")),
        };
        let encoded = |text: &str| text.replace('%', "%25").replace('@', "%40").replace('+', "%2B").replace(':', "%3A");
        let purl = format!("pkg:{kind}/{}@{}", encoded(&self.name), encoded(&self.version));
        let package: Purl = purl.parse().map_err(|error| format!("{purl}: {error}"))?;
        let file = self.artifact.parse().map_err(|error| format!("{}: {error}", self.artifact))?;
        Ok(Job { package, file: Some(file), artifact_path: None })
    }

    fn is(&self, row: &Value) -> bool {
        row["ecosystem"] == *self.ecosystem
            && row["name"] == *self.name
            && row["version"] == *self.version
            && row["artifact"] == *self.artifact
    }
}

impl Results {
    /// What an earlier run left. Rows of failures that pass are forgotten, so that they are tried again.
    fn open(path: &Path) -> anyhow::Result<Self> {
        let rows: Vec<Value> = match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} holds no results", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let rows = rows.into_iter().filter(|row| row["isPassing"] != true).collect();
        Ok(Self { path: path.to_owned(), rows: Mutex::new(rows) })
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether another cargo than the wanted one made the row, which a rebuild with that one may better.
    fn is_makeshift(&self, entry: &Entry) -> bool {
        let is_nearest = |assist: &Value| assist["name"] == NEAREST_TOOLCHAIN;
        let is_crate = |row: &Value| row["package"].as_str().is_some_and(|package| package.starts_with("pkg:cargo/"));
        let nearest =
            |row: &Value| is_crate(row) && row["level"] != "byte" && row["assists"].as_array().into_iter().flatten().any(is_nearest);
        self.rows().iter().any(|row| entry.is(row) && nearest(row))
    }

    fn has(&self, entry: &Entry) -> bool {
        self.rows().iter().any(|row| entry.is(row))
    }

    /// A row takes the place of an earlier one of its artifact; and a new file that of the old one, so that a killed run
    /// leaves one or the other.
    fn put(&self, row: Value) -> anyhow::Result<()> {
        let mut rows = self.rows();
        let is_same = |old: &Value| ["ecosystem", "name", "version", "artifact"].iter().all(|key| old[key] == row[key]);
        rows.retain(|old| !is_same(old));
        rows.push(row);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, &*rows)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    /// The rows of a list, in the list's order.
    fn of(&self, entries: &[Entry]) -> Vec<Value> {
        let rows = self.rows();
        entries.iter().filter_map(|entry| rows.iter().find(|row| entry.is(row)).cloned()).collect()
    }
}

fn bar(all: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::new(all as u64).with_position(done as u64);
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn entry(ecosystem: &str, name: &str, version: &str, artifact: &str) -> Entry {
        let text = |text: &str| text.to_owned();
        Entry {
            ecosystem: text(ecosystem),
            name: text(name),
            version: text(version),
            artifact: text(artifact),
            sha256: None,
            expected: None,
        }
    }

    #[test]
    fn a_row_of_a_list_names_its_release() {
        for (entry, purl) in [
            (entry("crates.io", "itoa", "1.0.15", "itoa-1.0.15.crate"), "pkg:cargo/itoa@1.0.15"),
            (entry("npm", "@scope/a", "1.0.0", "a-1.0.0.tgz"), "pkg:npm/%40scope/a@1.0.0"),
            (entry("debian", "a", "1+deb12u1", "a_1_all.deb"), "pkg:deb/debian/a@1%2Bdeb12u1"),
        ] {
            assert_eq!(entry.job().unwrap().package, purl.parse().unwrap());
        }
        assert!(entry("maven", "a", "1", "a.jar").job().is_err());
        assert!(entry("npm", "a", "1", "../a.tgz").job().is_err());
    }

    #[test]
    fn a_row_that_made_do_with_another_cargo_is_built_again_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::open(&folder.path().join("results.json")).unwrap();
        let entry = entry("crates.io", "a", "1.0.0", "a-1.0.0.crate");
        let row = |level: &str, assists: Value| {
            let row = json!({ "package": "pkg:cargo/a@1.0.0", "artifact": entry.artifact, "level": level, "assists": assists });
            named(row, &entry)
        };
        results.put(row("manifest", json!([{ "name": NEAREST_TOOLCHAIN, "value": "cargo 1.95.0", "reason": "" }]))).unwrap();
        assert!(results.is_makeshift(&entry));
        results.put(row("byte", json!([]))).unwrap();
        assert!(!results.is_makeshift(&entry));
        assert_eq!(Results::open(&folder.path().join("results.json")).unwrap().of(std::slice::from_ref(&entry)), [row("byte", json!([]))]);
    }

    #[test]
    fn a_second_run_builds_only_what_the_first_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        let [done, lost, new] = ["done", "lost", "new"].map(|name| entry("npm", name, "1", &format!("{name}-1.tgz")));
        let row = |entry: &Entry, passing: bool| json!({ "ecosystem": entry.ecosystem, "name": entry.name, "version": entry.version, "artifact": entry.artifact, "isPassing": passing });
        let results = Results::open(&path).unwrap();
        results.put(row(&done, false)).unwrap();
        results.put(row(&lost, true)).unwrap();
        let results = Results::open(&path).unwrap();
        assert!(results.has(&done) && !results.has(&lost) && !results.has(&new));
        assert_eq!(results.of(&[new, done.clone()]), [row(&done, false)]);
    }
}
