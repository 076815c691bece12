//! `quorate-coordinator run`: builds the parts, joins them, and says when they are ready.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use quorate_gossip::{LimitedAddresses, Mesh, MeshConfig, Reach};
use quorate_proto::SecretKey;
use quorate_tally::Policy;
use quorate_tlog::Signer;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{Config, MeshSection, load_key, make_key};
use crate::door::Door;
use crate::drill::{self, Desk};
use crate::ingest::{Ingest, Watchers};
use crate::mesh::{MeshStore, tell_checkpoints};
use crate::metrics::Metrics;
use crate::serve::{App, Limits, Site, router};
use crate::store::files::{Paths, Publication};
use crate::store::leaf::POLICY_LEAF_BYTES_MAX;
use crate::store::{LogKey, StoreError, Writer};
use crate::verdicts::{Dirty, Teller};
use crate::views::Views;
use crate::witnesses::{Cosigning, Witnesses};

/// Time that open requests get when the process is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a coordinator is made of, without sockets: for tests and benchmarks too.
pub struct Parts {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The log's origin.
    pub origin: String,
    /// Signs checkpoints.
    pub log_key: SecretKey,
    /// Signs verdicts.
    pub statement_key: SecretKey,
    /// The policy's exact bytes.
    pub policy: Vec<u8>,
    /// How long an HTTP answer may take.
    pub request_timeout: Duration,
    /// Who has to cosign a checkpoint before it is published.
    pub witnesses: Option<Witnesses>,
}

/// A coordinator that runs, but does not listen.
pub struct Core {
    /// Everything that answers are made of.
    pub app: App,
    /// Resolves when the writer has ended.
    pub ended: oneshot::Receiver<Result<(), StoreError>>,
    dirty: Arc<Dirty>,
    tally: std::thread::JoinHandle<()>,
    cosigning: Option<Cosigning>,
}

/// `ready.json`.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    http: String,
    mesh: Vec<String>,
    vkey: &'a str,
    pid: u32,
}

impl Core {
    /// Takes the store up and starts the writer and the tally. Blocks; call within a tokio runtime.
    pub fn start(parts: Parts) -> anyhow::Result<Self> {
        anyhow::ensure!(
            parts.policy.len() <= POLICY_LEAF_BYTES_MAX,
            "the policy has {} bytes, a log entry holds {POLICY_LEAF_BYTES_MAX}",
            parts.policy.len()
        );
        let text = std::str::from_utf8(&parts.policy).context("reading the policy as text")?;
        let policy = Arc::new(Policy::parse(text).context("reading the policy")?);
        let signer = Signer::from_seed(parts.origin.parse().context("reading the log's origin as a key name")?, &parts.log_key.seed());
        let vkey = signer.verifier().to_string();
        let key = LogKey { origin: parts.origin.parse().context("reading the log's origin")?, signer };
        if let Some(witnesses) = &parts.witnesses {
            witnesses.check(key.signer.verifier()).context("reading the witnesses")?;
        }
        let publication = if parts.witnesses.is_some() { Publication::Witnessed } else { Publication::AtOnce };
        let paths = Paths::new(&parts.data_dir).publishing(publication);
        let (mut writer, rung) = Writer::open(paths, key).context("taking the store up")?;
        tracing::info!(?rung, size = writer.store().log().published().head.size, "the store is open");
        std::fs::write(writer.store().paths().vkey(), format!("{vkey}\n")).context("writing the log's verifier key")?;
        writer.log_policies(&[&parts.policy]).context("logging the policy")?;
        let adopted = writer.adopt_blobs().context("indexing evidence")?;
        let dirty = Arc::new(Dirty::default());
        let untallied = writer.untallied(policy.digest()).context("looking for results without a verdict")?;
        tracing::info!(adopted, untallied = untallied.len(), "what a stop left open is taken up");
        dirty.mark(untallied);
        for (slot, until) in writer.store().open_commitments().context("looking for commitments that wait")? {
            dirty.later(slot, until);
        }
        for (slot, until) in writer.store().vouched_slots().context("looking for vouches that end")? {
            dirty.later(slot, until);
        }

        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let views = Arc::new(Views::default());
        let door = Arc::new(Door::new(policy.enrolled().clone()));
        let watchers = Watchers { dirty: Arc::clone(&dirty), views: Arc::clone(&views), policy: policy.digest() };
        let cosigning = match parts.witnesses {
            Some(witnesses) => Some(Cosigning::start(witnesses, Arc::clone(writer.store()), metrics.clone()).context("asking witnesses")?),
            None => None,
        };
        let (ingest, ended) = Ingest::start(writer, door, watchers, metrics).context("starting the writer")?;
        let id = format!("urn:quorate:coordinator:{}", parts.origin);
        let teller = Teller { policy: Arc::clone(&policy), key: parts.statement_key, id };
        let tally = teller.start(ingest.clone(), Arc::clone(&dirty)).context("starting the tally")?;
        let site = Site {
            ingest,
            views,
            policy,
            policy_bytes: Bytes::from(parts.policy),
            vkey,
            registry,
            mesh: OnceLock::new(),
            request_timeout: parts.request_timeout,
            limits: Limits::default(),
        };
        Ok(Self { app: Arc::new(site), ended, dirty, tally, cosigning })
    }

    /// Stops the tally, and the writer once nobody holds the app any more. Blocks.
    pub fn stop(self) {
        drop(self.cosigning);
        self.dirty.stop();
        drop(self.app);
        // A tally that panicked has said so already.
        let _ = self.tally.join();
        let _ = self.ended.blocking_recv();
    }
}

/// Runs a coordinator until it is told to stop.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let parts = parts_of(&config)?;
    let data_dir = parts.data_dir.clone();
    let log_key = SecretKey::from_seed(&parts.log_key.seed());
    // What an earlier process left would send people to a port where nobody listens.
    let _ = std::fs::remove_file(Paths::new(&data_dir).ready());
    let core = tokio::task::spawn_blocking(move || Core::start(parts)).await??;
    let mesh = match &config.mesh {
        Some(section) => Some(start_mesh(&config, section, &core.app)?),
        None => None,
    };
    let desk =
        Desk { ingest: core.app.ingest.clone(), key: log_key, origin: config.log.origin.clone(), policy: Arc::clone(&core.app.policy) };
    let drills = drill::serve(desk, &Paths::new(&data_dir)).context("listening for drills")?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listening on {}", config.listen))?;
    let address = listener.local_addr().context("reading the address that we listen on")?;
    announce(&data_dir, address, mesh.as_ref().map(|(mesh, _)| mesh), &core.app).await?;

    let Core { app, mut ended, dirty, tally, cosigning } = core;
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = quorate_listen::Limits { connections_max: config.limits.connections_max, ..Default::default() };
    let serving = quorate_listen::serve(listener, router(&app), limits, async { drop(stopped.await) });
    let mut serving = tokio::spawn(serving);
    let failed = tokio::select! {
        outcome = &mut ended => Some(outcome),
        signal = stop_signal() => { signal?; None }
    };
    tracing::info!("stopping");
    drop(stop);
    dirty.stop();
    if let Some((mesh, task)) = mesh {
        mesh.stop().await;
        task.abort();
    }
    if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
        serving.abort();
    }
    drop(cosigning);
    drills.abort();
    let _ = drills.await;
    drop(app);
    let _ = tokio::task::spawn_blocking(move || tally.join()).await;
    if failed.is_none() {
        // The writer settles what is published; without that the next start does.
        let _ = tokio::time::timeout(GRACE, ended).await;
    }
    match failed {
        Some(Ok(Err(error))) => Err(error).context("the store is in doubt: start again, which settles it"),
        Some(_) => anyhow::bail!("the writer ended"),
        None => Ok(()),
    }
}

fn parts_of(config: &Config) -> anyhow::Result<Parts> {
    let log_key = load_key(&config.log.key_file).context("loading the log's key")?;
    let statement_key = match &config.statement_key_file {
        Some(path) => load_key(path).context("loading the statement key")?,
        None => SecretKey::from_seed(&log_key.seed()),
    };
    let policy = std::fs::read(&config.policy).with_context(|| format!("loading policy `{}`", config.policy.display()))?;
    let witnesses = config.witnesses.as_ref().map(Witnesses::load).transpose().context("loading the witnesses")?;
    Ok(Parts {
        data_dir: config.data_dir.clone(),
        origin: config.log.origin.clone(),
        log_key,
        statement_key,
        policy,
        request_timeout: Duration::from_secs(config.limits.request_seconds.max(1)),
        witnesses,
    })
}

fn start_mesh(config: &Config, section: &MeshSection, app: &App) -> anyhow::Result<(Mesh, JoinHandle<()>)> {
    let path = section.key_file.clone().unwrap_or_else(|| config.data_dir.join("mesh.key"));
    let key = if path.exists() { load_key(&path) } else { make_key(&path) }.context("loading the mesh key")?;
    let mesh_config = MeshConfig {
        listen: MeshSection::addresses(&section.listen)?,
        bootstrap: MeshSection::addresses(&section.bootstrap)?,
        peers_wanted: section.peers_wanted,
        external: MeshSection::addresses(&section.external)?,
        // A coordinator is where everybody finds it.
        reach: Reach::Open,
        relay: section.relay,
        connections_max: config.limits.mesh_connections_max,
        limited: LimitedAddresses::Public,
        memory_bytes_max: config.limits.memory_bytes_max,
        seed: u64::from_be_bytes(key.node_id().as_bytes()[..8].try_into().expect("eight of 32 bytes")),
    };
    let log = app.vkey.parse().context("reading the log's own key")?;
    let store = Arc::new(MeshStore::new(app.ingest.clone(), app.policy.enrolled().clone(), &log));
    let (mesh, task) = Mesh::start(&key, mesh_config, store).context("starting the mesh")?;
    tokio::spawn(tell_checkpoints(mesh.clone(), Arc::clone(app.ingest.store())));
    // Set once, here.
    let _ = app.mesh.set(mesh.counters().clone());
    Ok((mesh, task))
}

/// Writes `ready.json`, whole or not at all.
async fn announce(data_dir: &std::path::Path, address: SocketAddr, mesh: Option<&Mesh>, app: &App) -> anyhow::Result<()> {
    let mesh = match mesh {
        Some(mesh) => mesh.listening().await.context("waiting for the mesh to listen")?,
        None => Vec::new(),
    };
    let mesh: Vec<String> = mesh.iter().map(ToString::to_string).collect();
    let ready = Ready { http: format!("http://{address}"), mesh, vkey: &app.vkey, pid: std::process::id() };
    tracing::info!(http = %ready.http, mesh = ?ready.mesh, "ready");
    let path = Paths::new(data_dir).ready();
    let scratch = path.with_extension("json.new");
    std::fs::write(&scratch, serde_json::to_vec(&ready)?).context("writing ready.json")?;
    std::fs::rename(scratch, path).context("writing ready.json")
}

async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("waiting for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for signals")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
