//! What one rebuild brings in from elsewhere: requests, bytes, repositories, roots.
//!
//! A rebuild runs many tasks, and many rebuilds share one client. What is counted belongs to the rebuild whose
//! task asks, and not to the client: so it goes with the task. A task that is started for a rebuild, such as a
//! proxy, takes the count along by [`current`] and [`within`]. Work outside of any rebuild is not counted.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

tokio::task_local! {
    static CURRENT: Arc<Traffic>;
}

/// A count that is going on.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    unchanged: AtomicU64,
    bytes: AtomicU64,
    repositories: AtomicU64,
    roots: AtomicU64,
}

/// What was brought in from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fetched {
    /// HTTP requests, repeated ones too.
    pub requests: u64,
    /// Those of them that were answered with "not modified", and so with no content.
    pub unchanged: u64,
    /// Bytes of content that came.
    pub size_bytes: u64,
    /// Conversations of git with repositories that are copied: what they list, and fetches.
    pub repositories: u64,
    /// Roots for which packages were downloaded.
    pub roots: u64,
}

/// Runs `work`, and says what it brought in.
pub async fn counted<T>(work: impl Future<Output = T>) -> (T, Fetched) {
    let traffic = Arc::new(Traffic::default());
    let done = CURRENT.scope(Arc::clone(&traffic), work).await;
    (done, traffic.sum())
}

/// The count that this task belongs to.
pub fn current() -> Option<Arc<Traffic>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Runs `work` as a part of what `traffic` counts.
pub async fn within<T>(traffic: Option<Arc<Traffic>>, work: impl Future<Output = T>) -> T {
    match traffic {
        Some(traffic) => CURRENT.scope(traffic, work).await,
        None => work.await,
    }
}

/// A request goes out.
pub(crate) fn request() {
    add(|traffic| &traffic.requests, 1);
}

/// The answer is that nothing has changed.
pub(crate) fn unchanged() {
    add(|traffic| &traffic.unchanged, 1);
}

/// Content has come.
pub(crate) fn bytes(count: u64) {
    add(|traffic| &traffic.bytes, count);
}

/// git speaks with another repository.
pub(crate) fn repository() {
    add(|traffic| &traffic.repositories, 1);
}

/// A root is made from packages of an archive.
pub(crate) fn root() {
    add(|traffic| &traffic.roots, 1);
}

fn add(slot: impl FnOnce(&Traffic) -> &AtomicU64, count: u64) {
    let _ = CURRENT.try_with(|traffic| slot(traffic).fetch_add(count, Ordering::Relaxed));
}

impl Traffic {
    fn sum(&self) -> Fetched {
        let get = |slot: &AtomicU64| slot.load(Ordering::Relaxed);
        Fetched {
            requests: get(&self.requests),
            unchanged: get(&self.unchanged),
            size_bytes: get(&self.bytes),
            repositories: get(&self.repositories),
            roots: get(&self.roots),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn what_a_task_fetches_belongs_to_the_rebuild_that_started_it() {
        let one = counted(async {
            request();
            let traffic = current();
            tokio::spawn(within(traffic, async { bytes(5) })).await.unwrap();
            tokio::spawn(async { bytes(7) }).await.unwrap();
        });
        let (((), one), ((), other)) = tokio::join!(one, counted(async { unchanged() }));
        assert_eq!(one, Fetched { requests: 1, size_bytes: 5, ..Fetched::default() });
        assert_eq!(other, Fetched { unchanged: 1, ..Fetched::default() });
        assert!(current().is_none());
    }
}
