//! `quorate-coordinator drill`: what its operator types, and what it reads. The coordinator that runs does the work.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use quorate_proto::{Digest, FileName, Purl};

use super::{Asked, DrillView, Status, Wrong, ask};
use crate::store::files::Paths;

/// What is said where nobody says what is wrong.
const REASON: &str = "its content is not what its source gives";

/// Arguments of `drill`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The data directory of a coordinator that runs.
    #[arg(long, global = true, default_value = ".")]
    dir: PathBuf,
    /// How answers are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(subcommand)]
    step: Step,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Binds a file that is known to be wrong, and logs that there is a drill. To be done before the file is
    /// published.
    Announce(Box<Announce>),
    /// Logs what a drill was on. Whoever agreed is marked from then on.
    Open {
        /// First digits of the drill's id.
        id: String,
    },
    /// Shows all drills.
    List,
}

#[derive(Debug, Args)]
struct Announce {
    /// The file; its name and digest are taken from it.
    file: Option<PathBuf>,
    /// The release that it is published as; `repository_url` names the registry, one of your own.
    #[arg(long)]
    purl: Purl,
    /// The published file's name, if not the file's own.
    #[arg(long)]
    artifact: Option<FileName>,
    /// The published file's SHA-256, if the file is not at hand.
    #[arg(long, conflicts_with = "file", required_unless_present = "file")]
    sha256: Option<String>,
    /// What is wrong with it. Everybody reads it once the drill is opened.
    #[arg(long, default_value = REASON)]
    reason: String,
}

/// Asks, and prints the answer.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let asked = match arguments.step {
        Step::Announce(announce) => Asked::Announce(announce.wrong()?),
        Step::Open { id } => Asked::Open { id },
        Step::List => Asked::List,
    };
    let drills = ask(&Paths::new(&arguments.dir), &asked)?;
    match arguments.format {
        Format::Json => println!("{}", serde_json::json!({ "schemaVersion": 1, "command": "drill", "drills": drills })),
        Format::Human => print!("{}", human(&drills)),
    }
    Ok(())
}

impl Announce {
    fn wrong(self: Box<Self>) -> anyhow::Result<Wrong> {
        let (named, digest) = match (self.file, self.sha256) {
            (Some(path), _) => {
                let bytes = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (Some(name), Digest::of(&bytes))
            }
            (None, Some(text)) => (None, digest(&text)?),
            (None, None) => anyhow::bail!("give the file, or --sha256"),
        };
        let file = match (self.artifact, named) {
            (Some(artifact), _) => artifact,
            (None, Some(name)) => name.parse().context("reading the file's name")?,
            (None, None) => anyhow::bail!("give the published file's name with --artifact"),
        };
        Ok(Wrong { package: self.purl, file, digest, reason: self.reason })
    }
}

/// With or without its prefix.
fn digest(text: &str) -> anyhow::Result<Digest> {
    let whole = if text.starts_with("sha256:") { text.to_owned() } else { format!("sha256:{text}") };
    whole.parse().context("reading --sha256")
}

/// A paragraph a drill.
fn human(drills: &[DrillView]) -> String {
    let mut text = String::new();
    for drill in drills {
        let at = |leaf: Option<u64>| leaf.map_or_else(|| "not logged".to_owned(), |leaf| format!("log entry {leaf}"));
        let _ = match drill.status {
            Status::Kept => writeln!(text, "kept       {}, not logged: announce the same file again", drill.id),
            Status::Announced => writeln!(text, "announced  {}, {}", drill.id, at(drill.announced)),
            Status::Opened => writeln!(text, "opened     {}, {}, announced as {}", drill.id, at(drill.opened), at(drill.announced)),
            Status::Void => writeln!(text, "void       {}, {}", drill.id, at(drill.opened)),
        };
        if let Some(artifact) = &drill.artifact {
            let _ = writeln!(text, "  artifact {} of {}, {}", artifact.slot.file, artifact.slot.package, artifact.digest);
        }
        let rest = [("reason", drill.reason.clone()), ("but", drill.void.clone())];
        for (label, said) in rest.into_iter().filter_map(|(label, said)| Some((label, said?))) {
            let _ = writeln!(text, "  {label:<8} {said}");
        }
        if drill.status == Status::Opened {
            let agreed = if drill.agreed.is_empty() { "nobody".to_owned() } else { drill.agreed.join(", ") };
            let _ = writeln!(text, "  agreed   {agreed}");
        }
    }
    if drills.is_empty() { "no drills\n".to_owned() } else { text }
}
