//! Answers that are kept rendered, and the stream of verdicts: both change when a batch is published.

use std::sync::Arc;

use bytes::Bytes;
use quorate_proto::{ArtifactId, Digest};
use tokio::sync::broadcast;

use crate::cache::Bounded;
use crate::store::rows::{ArtifactKey, VerdictRow};
use crate::store::{Store, VerdictView};

/// Rendered answers that are kept: a few KiB each.
const RENDERED_KEPT: usize = 8_192;

/// Verdicts that a slow watcher may be behind. The stream of whoever is further behind ends and says so.
const WATCHERS_BEHIND_MAX: usize = 1_024;

/// Rendered answers and watchers.
#[derive(Debug)]
pub struct Views {
    verdicts: Bounded<Digest, Rendered>,
    stream: broadcast::Sender<VerdictEvent>,
}

/// A rendered answer about an artifact whose digest is published in one slot only.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// What it is about.
    pub artifact: Arc<ArtifactId>,
    /// The answer's body.
    pub body: Bytes,
}

/// What watchers are told.
#[derive(Clone, Debug)]
pub enum VerdictEvent {
    /// A verdict that was just published, as logged.
    Published(Arc<VerdictView>),
    /// Verdicts may have been published that nobody was told of: look at the list of verdicts.
    Gap,
}

impl Default for Views {
    fn default() -> Self {
        Self { verdicts: Bounded::new(RENDERED_KEPT), stream: broadcast::channel(WATCHERS_BEHIND_MAX).0 }
    }
}

impl Views {
    /// The rendered verdict on an artifact.
    pub fn verdict(&self, artifact: &Digest) -> Option<Rendered> {
        self.verdicts.get(artifact)
    }

    /// To be asked for before a verdict is looked up.
    pub fn epoch(&self) -> u64 {
        self.verdicts.epoch()
    }

    /// Keeps a rendered verdict unless something changed since `epoch`.
    pub fn keep_verdict(&self, epoch: u64, rendered: Rendered) {
        self.verdicts.put_since(epoch, rendered.artifact.digest, rendered);
    }

    /// Verdicts from now on.
    pub fn watch(&self) -> broadcast::Receiver<VerdictEvent> {
        self.stream.subscribe()
    }

    pub(crate) fn forget(&self, artifacts: impl Iterator<Item = Digest>) {
        let artifacts: Vec<_> = artifacts.collect();
        self.verdicts.remove(&artifacts);
    }

    pub(crate) fn forget_all(&self) {
        self.verdicts.clear();
    }

    /// After the store was taken up again.
    pub(crate) fn tell_of_a_gap(&self) {
        // Nobody listening is no error.
        let _ = self.stream.send(VerdictEvent::Gap);
    }

    pub(crate) fn announce(&self, store: &Store, verdicts: &[(ArtifactKey, Option<VerdictRow>, VerdictRow)]) {
        if self.stream.receiver_count() == 0 {
            return;
        }
        for (_, _, row) in verdicts {
            match store.verdict_at(row.leaf) {
                Ok(view) => {
                    // Nobody listening any more is no error.
                    let _ = self.stream.send(VerdictEvent::Published(Arc::new(view)));
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a published verdict cannot be read");
                    self.tell_of_a_gap();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watchers_hear_that_verdicts_of_a_recovered_batch_were_not_announced() {
        let views = Views::default();
        let mut watcher = views.watch();
        views.tell_of_a_gap();
        assert!(matches!(watcher.recv().await, Ok(VerdictEvent::Gap)));
    }
}
