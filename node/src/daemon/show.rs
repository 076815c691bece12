//! Shows what the mesh knows: keeps `mesh.json` current while the node runs, and tells the mesh when a log was heard.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_gossip::Mesh;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::feed::Feeds;
use crate::logs::Logs;
use crate::mesh::status::{self, MeshStatus};
use crate::submit::logged::Logged;

/// How often the file may change.
const EVERY: Duration = Duration::from_secs(1);

/// Works until the mesh ends.
pub(super) async fn run(mesh: Mesh, feeds: Feeds, logs: Logs, own: Option<watch::Receiver<Logged>>, data_dir: PathBuf) {
    let path = status::path(&data_dir);
    let mut changed = logs.changed();
    let mut round = tokio::time::interval(EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        tokio::select! {
            heard = changed.changed() => match heard {
                Ok(()) => mesh.nudge(),
                Err(_) => return,
            },
            _ = round.tick() => {
                let Some(snapshot) = mesh.snapshot().await else { return };
                let (logs, proofs) = (logs.clone(), feeds.clone());
                let own = own.as_ref().map(|own| *own.borrow());
                let read = tokio::task::spawn_blocking(move || MeshStatus::new(snapshot, logs.shown(), own, &proofs.equivocations()));
                let Ok(status) = read.await else { return };
                if shown.as_ref() != Some(&status) {
                    write(&path, &status);
                    shown = Some(status);
                }
            }
        }
    }
}

/// Whole or not at all for readers; nothing is lost when the machine goes.
fn write(path: &Path, status: &MeshStatus) {
    let json = serde_json::to_vec_pretty(status).expect("texts and numbers always serialise");
    let aside = path.with_extension("json.new");
    if let Err(error) = std::fs::write(&aside, json).and_then(|()| std::fs::rename(&aside, path)) {
        tracing::warn!(%error, "`mesh.json` could not be written");
    }
}
