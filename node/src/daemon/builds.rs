//! The builds that are under way, each with its job, however it ends.

use std::collections::HashMap;

use tokio::task::{self, JoinError, JoinSet};

use crate::attest::Finding;
use crate::queue::JobId;

/// A build that has ended.
pub(super) struct Built {
    pub(super) id: JobId,
    pub(super) outcome: Result<Finding, Failure>,
}

/// Why nothing came out.
pub(super) enum Failure {
    /// It may go better later.
    Passing(String),
    /// It never will.
    Final(String),
}

/// Tasks that build.
#[derive(Default)]
pub(super) struct Builds {
    tasks: JoinSet<Result<Finding, Failure>>,
    jobs: HashMap<task::Id, JobId>,
}

impl Builds {
    pub(super) fn begin(&mut self, id: JobId, build: impl Future<Output = Result<Finding, Failure>> + Send + 'static) {
        let task = self.tasks.spawn(build);
        self.jobs.insert(task.id(), id);
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.jobs.values().any(|building| *building == id)
    }

    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// The next one that ends; nothing while none is under way. One that panicked is tried again later: if
    /// its job were lost instead, the release would never be spoken of.
    pub(super) async fn next(&mut self) -> Option<Built> {
        loop {
            let (task, outcome) = match self.tasks.join_next_with_id().await? {
                Ok((task, outcome)) => (task, outcome),
                Err(error) => (error.id(), Err(Failure::Passing(describe(error)))),
            };
            if let Some(id) = self.jobs.remove(&task) {
                return Some(Built { id, outcome });
            }
        }
    }

    pub(super) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

fn describe(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the build panicked: {}", text.unwrap_or_default())
        }
        Err(error) => format!("the build was stopped: {error}"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::pipeline::Job;

    #[tokio::test]
    async fn a_build_that_panics_is_tried_again_later_and_keeps_no_place() {
        let id = |package: &str| JobId::of(&Job { package: package.parse().unwrap(), file: None, artifact_path: None });
        let (poison, other) = (id("pkg:pypi/poison@1"), id("pkg:pypi/other@1"));
        let mut builds = Builds::default();
        builds.begin(poison, async { panic!("an archive of {} parts", 0) });
        builds.begin(other, std::future::pending());
        let built = builds.next().await.unwrap();
        assert_eq!(built.id, poison);
        assert!(matches!(built.outcome, Err(Failure::Passing(reason)) if reason.contains("an archive of 0 parts")));
        assert!(!builds.contains(poison) && builds.contains(other));
        assert_eq!(builds.count(), 1);
    }
}
