//! `quorate-node links`: what this node rebuilt of one artifact, as in-toto links. Reads the feed; signs with the
//! node's key; the node may run meanwhile.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::{feed, key};
use quorate_proto::dsse::Envelope;
use quorate_proto::entry::EntryStatement;
use quorate_proto::key::PublicKey as _;
use quorate_proto::{Digest, link};

/// Not enough evidence.
const NOTHING_REBUILT: u8 = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node's data folder.
    #[arg(long)]
    dir: PathBuf,
    /// The node's key; `node.key` in the data folder when absent.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Where the link goes: an existing folder.
    #[arg(long)]
    out: PathBuf,
    /// The published file's digest.
    #[arg(value_name = "sha256:…")]
    artifact: Digest,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let key = key::load(&args.key.clone().unwrap_or_else(|| args.dir.join("node.key"))).context("loading the node's key")?;
    let entries = feed::read(&args.dir, key.node_id()).context("reading the feed")?;
    let mut results = entries.iter().filter_map(|entry| match entry {
        EntryStatement::Result(result) => Some(result),
        EntryStatement::Commitment(_) | EntryStatement::Check(_) => None,
    });
    // The newest: it is the one that counts.
    let newest = results.rfind(|result| result.artifact().digest == args.artifact);
    let Some(payload) = newest.and_then(|result| link::payload(result)) else {
        eprintln!("this node has rebuilt nothing for {}", args.artifact);
        return Ok(ExitCode::from(NOTHING_REBUILT));
    };
    let path = args.out.join(format!("{}.{}.link", link::STEP, &key.node_id().key_id()[..8]));
    std::fs::write(&path, Envelope::sign(payload, &key).bytes()).with_context(|| format!("writing `{}`", path.display()))?;
    writeln!(std::io::stdout(), "{}", path.display())?;
    Ok(ExitCode::SUCCESS)
}
