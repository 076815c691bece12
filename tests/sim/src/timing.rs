//! The intervals of the daemons that the simulator goes by, and the costs that it assumes.
//!
//! The daemons' own constants are private to them; a test reads their sources and compares.

use std::time::Duration;

/// How long a sync request may take (`node/gossip/src/behaviour.rs`).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of entries in one sync answer (`node/gossip/src/actor/serve.rs`).
pub const ENTRIES_BYTES_MAX: usize = 1 << 20;

/// How often a store is looked at when nothing else causes it (`node/gossip/src/actor.rs`).
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often a node looks at what there is to check (`node/src/daemon.rs`).
pub const QUEUE_EVERY: Duration = Duration::from_millis(150);

/// Checks that are signed in one round (`node/src/daemon/work/checks.rs`).
pub const CHECKS_A_ROUND: usize = 16;

/// How long a batch of the coordinator waits for more, at most (`coordinator/src/ingest/writing.rs`).
pub const GROUP_FOR: Duration = Duration::from_millis(50);

/// How long a tally round lets items pass (`coordinator/src/verdicts.rs`).
pub const YIELD: Duration = Duration::from_millis(600);

/// How long a witness may take (`coordinator/src/config.rs`).
pub const WITNESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses after a round of witnesses without a quorum (`coordinator/src/witnesses.rs`).
pub const WITNESS_RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest of them.
pub const WITNESS_RETRY_LAST: Duration = Duration::from_secs(15);

/// Questions for one checkpoint to one witness (`coordinator/src/witnesses/ask.rs`).
pub const WITNESS_QUESTIONS_MAX: u8 = 3;

/// Assumed: one durable write of a node.
pub const WRITE: Duration = Duration::from_millis(5);

/// Assumed: the coordinator's batch, with its two durable writes.
pub const BATCH: Duration = Duration::from_millis(15);

/// Assumed: one look into a store.
pub const LOOK: Duration = Duration::from_millis(2);

/// Assumed: after this long a silent connection is seen to be dead (libp2p's ping: 15 s, and 20 s for an answer).
pub const DEAD_AFTER: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    #[test]
    fn the_intervals_are_those_of_the_daemons() {
        let lines = [
            ("node/gossip/src/behaviour.rs", "REQUEST_TIMEOUT: Duration = Duration::from_secs(20);"),
            ("node/gossip/src/actor/serve.rs", "ENTRIES_BYTES_MAX: usize = 1 << 20;"),
            ("node/gossip/src/actor.rs", "LOOK_EVERY: Duration = Duration::from_secs(5);"),
            ("node/src/daemon.rs", "QUEUE_EVERY: Duration = Duration::from_millis(150);"),
            ("node/src/daemon/work/checks.rs", "CHECKS_A_ROUND: usize = 16;"),
            ("coordinator/src/ingest/writing.rs", "GROUP_MAX: Duration = Duration::from_millis(50);"),
            ("coordinator/src/verdicts.rs", "YIELD: Duration = Duration::from_millis(600);"),
            ("coordinator/src/config.rs", "5_000"),
            ("coordinator/src/witnesses.rs", "RETRY_FIRST: Duration = Duration::from_millis(250);"),
            ("coordinator/src/witnesses.rs", "RETRY_LAST: Duration = Duration::from_secs(15);"),
            ("coordinator/src/witnesses/ask.rs", "QUESTIONS_MAX: usize = 3;"),
        ];
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (file, line) in lines {
            assert!(std::fs::read_to_string(root.join(file)).unwrap().contains(line), "{file} has no `{line}`: timing.rs follows it");
        }
    }
}
