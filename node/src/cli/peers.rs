//! `quorate-node peers` and `quorate-node sync-status`: what a running node says of its peers, feeds and logs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use quorate_node::mesh::status::{self, Log, MeshStatus, Peer};
use serde_json::json;

use super::Format;

/// Exit code where a node or a log was caught with two histories, or the log lacks an own entry.
const CONVICTED: u8 = 1;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node's data folder.
    #[arg(long)]
    dir: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

/// The peers: one line each, connected ones first.
pub(crate) fn peers(args: &Args) -> anyhow::Result<ExitCode> {
    let mut status = read(&args.dir)?;
    status.peers.sort_by_key(|peer| (peer.connection.is_none(), peer.peer.clone()));
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        let view = json!({
            "schema": "quorate-peers/v1",
            "reach": status.reach,
            "listening": status.listening,
            "external": status.external,
            "holes": status.holes,
            "peers": status.peers,
        });
        writeln!(out, "{view:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    for peer in &status.peers {
        writeln!(out, "{}", peer_line(peer))?;
    }
    let connected = status.peers.iter().filter(|peer| peer.connection.is_some()).count();
    let banned = status.peers.iter().filter(|peer| peer.banned).count();
    eprintln!("{} peers, {connected} connected, {banned} banned; reach: {}", status.peers.len(), status.reach);
    Ok(ExitCode::SUCCESS)
}

/// How far feeds are held and how far peers say that they are; what logs show.
pub(crate) fn sync_status(args: &Args) -> anyhow::Result<ExitCode> {
    let status = read(&args.dir)?;
    let missing = status.own.and_then(|own| own.missing);
    let convicted = !status.equivocations.is_empty() || status.logs.iter().any(|log| log.conviction.is_some()) || missing.is_some();
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        let view = json!({
            "schema": "quorate-sync-status/v1",
            "entriesMissing": status.missing(),
            "filesMissing": status.files_wanted,
            "feeds": status.feeds,
            "syncBytes": status.sync_bytes,
            "logs": status.logs,
            "own": status.own,
            "equivocations": status.equivocations,
        });
        writeln!(out, "{view:#}")?;
        return Ok(code(convicted));
    }
    for feed in &status.feeds {
        let missing = feed.told.saturating_sub(feed.held);
        let state = if missing == 0 { "complete".to_owned() } else { format!("{missing} missing") };
        writeln!(out, "feed  {}  {:>8} entries  {state}", feed.node, feed.held)?;
    }
    for log in &status.logs {
        writeln!(out, "log   {}", log_line(log))?;
    }
    if let Some(own) = status.own {
        writeln!(out, "own   {:>8} entries acknowledged, the next to look for in the log is {}", own.acknowledged, own.next)?;
    }
    if let Some(sequence) = missing {
        writeln!(
            out,
            "MISSING  own entry {sequence}: acknowledged, and the log has grown without it. Make sure with `quorate monitor --own`, and tell others"
        )?;
    }
    for proof in &status.equivocations {
        writeln!(out, "TWO HISTORIES  node {}, sequence number {}, of operator {}", proof.node, proof.sequence, proof.operator)?;
    }
    let (entries, files) = (status.missing(), status.files_wanted);
    let bytes = status.sync_bytes;
    eprintln!("{entries} entries and {files} files are missing; {} bytes received, {} sent", bytes.received, bytes.sent);
    Ok(code(convicted))
}

fn read(dir: &Path) -> anyhow::Result<MeshStatus> {
    let path = status::path(dir);
    let hint = "hint: the file is there while the node runs; is this its data folder?";
    status::read(dir).with_context(|| format!("reading `{}`; {hint}", path.display()))
}

fn code(convicted: bool) -> ExitCode {
    if convicted { ExitCode::from(CONVICTED) } else { ExitCode::SUCCESS }
}

fn peer_line(peer: &Peer) -> String {
    let state = match &peer.connection {
        _ if peer.banned => format!("banned ({} points)", peer.points),
        Some(connection) => {
            let way = if connection.relayed { "through a relay" } else { "direct" };
            format!("{:<3} {way}  {}  {}", connection.direction, connection.address, connection.agent)
        }
        None => {
            let reached = peer.reached_at.map_or_else(|| "never reached".to_owned(), |at| format!("reached at {at}"));
            format!("not connected, {reached}, {} failed dials", peer.failures)
        }
    };
    format!("{}  {state}", peer.peer)
}

fn log_line(log: &Log) -> String {
    let size = log.size.map_or_else(|| "nothing heard yet".to_owned(), |size| format!("{size} entries"));
    let state = match (&log.conviction, log.unlinked) {
        (Some(_), _) => "HAS SHOWN TWO VIEWS: the proof is in --format json".to_owned(),
        (None, 0) => "one history".to_owned(),
        (None, open) => format!("{open} checkpoints not yet shown to continue the ones before"),
    };
    format!("{}  {size}  {state}", log.origin)
}
