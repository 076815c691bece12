//! The operator that lies: it signs `identical` without building.
//!
//! A node signs whatever outcome stands staged in its queue, because a node that was killed between
//! building and signing must not build again. Its own operator can put anything there. No protocol can
//! forbid that; the tally must not be fooled by it.

use std::path::Path;

use anyhow::Context as _;
use quorate_proto::{Digest, Timestamp};
use serde_json::json;

use crate::cases::Case;

/// Stages an `identical` outcome for `case` in the queue of the node whose data folder is `data`.
pub(crate) fn stage(data: &Path, case: &Case) -> anyhow::Result<()> {
    let now = Timestamp::from(std::time::SystemTime::now()).whole_seconds();
    let finding = json!({
        "file": case.file,
        "published": case.digest,
        "package": case.package,
        "registry": {
            "url": case.package.qualifier("repository_url"),
            "sizeBytes": case.size_bytes,
            "observedAt": now,
        },
        "source": {
            "kind": "git",
            "uri": "https://github.com/example/never-looked-at",
            "foundBy": "tag",
        },
        "outcome": { "result": "identical", "rebuilt": { "digest": case.digest, "sizeBytes": case.size_bytes } },
        "anomalies": [],
        "assists": [],
        "violations": [],
        "toolchain": [],
        "environment": { "class": "host", "digest": Digest::of(b"nothing was built") },
        "startedAt": now,
        "finishedAt": now,
        "blobs": [],
        "seconds": {},
    });
    let id = Digest::of(format!("{}\n", case.package).as_bytes()).to_hex();
    let queue = data.join("queue");
    std::fs::create_dir_all(&queue)
        .and_then(|()| std::fs::write(queue.join(format!("{id}.staged")), finding.to_string()))
        .with_context(|| format!("staging a lie in `{}`", queue.display()))
}
