//! Outcomes that stand staged in a node's queue, without anything built.
//!
//! A node signs whatever outcome stands staged, because a node that was killed between building and signing must not
//! build again. Its own operator can put anything there.

use std::fs;
use std::io;
use std::path::Path;

use quorate_proto::build_witness::Intermediates;
use quorate_proto::{Digest, Timestamp};
use serde_json::{Value, json};

/// A release that nobody built.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Its package URL, as it is put into the queue.
    pub package: &'a str,
    /// The published file's name.
    pub file: &'a str,
    /// The published file's digest.
    pub published: Digest,
    /// The published file's size.
    pub size_bytes: usize,
    /// The registry, as the result names it.
    pub registry: Option<&'a str>,
    /// What the build left that is said to have been, if anything.
    pub left: Option<&'a Intermediates>,
    /// When it was looked at, begun and finished.
    pub at: Timestamp,
}

/// What the node is to say of it.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    /// That it rebuilt the very file, from a repository.
    Identical {
        /// The repository.
        repository: &'static str,
    },
    /// That it did not try.
    NotAttempted,
}

/// Stages an outcome in the queue of the node whose data folder is `data`.
pub fn stage(data: &Path, release: &Release<'_>, says: Says) -> io::Result<()> {
    let mut finding = json!({
        "file": release.file,
        "published": release.published,
        "package": release.package,
        "registry": { "url": release.registry, "sizeBytes": release.size_bytes, "observedAt": release.at },
        "anomalies": [],
        "assists": [],
        "violations": [],
        "toolchain": [],
        "environment": { "class": "host", "digest": Digest::of(b"nothing was built") },
        "startedAt": release.at,
        "finishedAt": release.at,
        "blobs": [],
        "seconds": {},
    });
    finding["outcome"] = outcome(release, says);
    if let Says::Identical { repository } = says {
        finding["source"] = json!({ "kind": "git", "uri": repository, "foundBy": "tag" });
    }
    if let Some(left) = release.left {
        let digests: Vec<u8> = left.as_slice().iter().flat_map(|one| *one.digest().as_bytes()).collect();
        finding["intermediates"] = data_encoding::BASE64.encode(&digests).into();
    }
    let id = Digest::of(format!("{}\n", release.package).as_bytes()).to_hex();
    let queue = data.join("queue");
    fs::create_dir_all(&queue)?;
    fs::write(queue.join(format!("{id}.staged")), finding.to_string())
}

fn outcome(release: &Release<'_>, says: Says) -> Value {
    match says {
        Says::Identical { .. } => {
            json!({ "result": "identical", "rebuilt": { "digest": release.published, "sizeBytes": release.size_bytes } })
        }
        Says::NotAttempted => json!({ "result": "not-attempted", "reason": "unsupported-kind" }),
    }
}
