//! Watching: registries' feeds and watch lists become jobs in the node's queue.
//!
//! A release is noticed once, whatever is killed when: its jobs are durable before the cursor moves, and
//! what was dealt with is known by package, file and checksum. `docs/spec/watching.md` says how, with
//! every write and its faults.
//!
//! One direction: [`source`] (what is polled, through [`wire`]) → [`machine`] (the pure core: what is news,
//! what is owed, when the cursor moves) → queue and [`store`]. [`pypi`], [`npm`], [`cargo`] and [`debian`]
//! read what registries say into one [`listing`]. Nothing here rebuilds anything.

mod actor;
pub mod backoff;
pub mod cargo;
pub mod debian;
pub mod listing;
pub mod machine;
pub mod npm;
pub mod problem;
pub mod pypi;
pub mod settings;
pub mod source;
pub mod status;
pub mod store;
pub mod wire;
pub mod xml;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};

use crate::config::{Config, WatchConfig};
use crate::queue::Queue;
pub use actor::IsSigned;
use actor::{Actor, now};
use backoff::Jitter;
use machine::Machine;
use source::{Places, Plan, Source, plans};
use store::Store;
use wire::Wire;

/// Why watching does not begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The folder.
    #[error("watch folder of `{path}`")]
    Folder {
        /// The data folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client.
    #[error("making an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// The watches of a node. They end when this is dropped.
#[derive(Debug)]
pub struct Watches {
    tasks: JoinSet<()>,
}

impl Watches {
    /// Begins, or goes on, with what a configuration wants watched. For the one process that holds the data
    /// folder.
    pub fn start(config: &Config, queue: &Queue, is_signed: &IsSigned) -> Result<Self, WatchError> {
        let folder = |source| WatchError::Folder { path: config.data_dir.clone(), source };
        store::sweep(&config.data_dir).map_err(folder)?;
        let wire = Wire::new().map_err(WatchError::Client)?;
        let places = Places { watch: watched(config), registries: config.registry.by_type(), python: config.build.python.clone() };
        let mut tasks = JoinSet::new();
        for plan in plans(&config.watch) {
            let watch = Watch {
                plan,
                places: places.clone(),
                data_dir: config.data_dir.clone(),
                wire: wire.clone(),
                queue: queue.clone(),
                is_signed: IsSigned::clone(is_signed),
            };
            tasks.spawn(watch.run());
        }
        Ok(Self { tasks })
    }

    /// Waits until a watch has ended, which only a fault in this program brings about. While all run, or
    /// none was wanted, this waits for ever.
    pub async fn ended(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_panic() => return,
                // A watch whose files are damaged has said so and ended: the others go on.
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// `[watch]`; what it leaves out of Debian's archive is as in `[registry.deb]`.
fn watched(config: &Config) -> WatchConfig {
    let (mut watch, archive) = (config.watch.clone(), &config.registry.deb);
    watch.deb.keyring = watch.deb.keyring.or_else(|| archive.keyring.clone());
    if watch.deb.suites.is_empty() {
        watch.deb.suites.clone_from(&archive.suites);
    }
    watch
}

/// One registry on its way to being watched.
struct Watch {
    plan: Plan,
    places: Places,
    data_dir: PathBuf,
    wire: Wire,
    queue: Queue,
    is_signed: IsSigned,
}

impl Watch {
    /// Finds the registry, however long it takes, and watches it.
    async fn run(self) {
        let seed = Self::seed();
        let sources = self.sources(seed).await;
        let watches = sources.into_iter().map(|registry| self.watch(registry, seed));
        futures::future::join_all(watches).await;
    }

    async fn sources(&self, seed: u64) -> Vec<Source> {
        let mut jitter = Jitter::new(seed);
        let mut failures = 0;
        loop {
            match self.plan.resolve(&self.places).await {
                Ok(sources) => return sources,
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(
                            kind = self.plan.kind.as_str(),
                            error = &error as &dyn std::error::Error,
                            "watch: no registry is known; asked again, ever more seldom"
                        );
                    }
                    failures += 1;
                    let rest: Duration = backoff::rest(self.places.watch.every(), failures);
                    tokio::time::sleep(jitter.spread(rest)).await;
                }
            }
        }
    }

    async fn watch(&self, source: Source, seed: u64) {
        let (data_dir, watched) = (self.data_dir.clone(), source.watched());
        let opened = spawn_blocking(move || Store::open(&data_dir, watched)).await;
        match opened {
            Ok(Ok((store, saved, keys))) => {
                let machine = Machine::new(self.plan.settings(&self.places.watch, seed), saved, keys, now());
                Actor::new(source, self.wire.clone(), machine, store, self.queue.clone(), IsSigned::clone(&self.is_signed)).run().await;
            }
            Ok(Err(error)) => tracing::error!(error = &error as &dyn std::error::Error, "watch: this registry is not watched"),
            Err(error) => tracing::error!(%error, "watch: this registry is not watched"),
        }
    }

    /// Different for each node and registry, so that nodes that start together do not poll together.
    fn seed() -> u64 {
        let mut bytes = [0; 8];
        match getrandom::fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => u64::from(std::process::id()),
        }
    }
}

/// What the watches of a data folder say of themselves.
pub fn status(data_dir: &Path) -> std::io::Result<status::Status> {
    status::Status::read(data_dir)
}
