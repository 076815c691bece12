//! The operator that lies: it signs `identical` without building. No protocol can forbid that; the tally must not be
//! fooled by it.

use std::path::Path;

use anyhow::Context as _;
use quorate_devnet::stage::{self, Release, Says};
use quorate_proto::Timestamp;

use crate::cases::Case;

/// Stages an `identical` outcome for `case` in the queue of the node whose data folder is `data`.
pub(crate) fn stage(data: &Path, case: &Case) -> anyhow::Result<()> {
    let release = Release {
        package: &case.package.to_string(),
        file: &case.file,
        published: case.digest,
        size_bytes: case.size_bytes,
        registry: case.package.qualifier("repository_url"),
        left: None,
        at: Timestamp::from(std::time::SystemTime::now()).whole_seconds(),
    };
    let says = Says::Identical { repository: "https://github.com/example/never-looked-at" };
    stage::stage(data, &release, says).with_context(|| format!("staging a lie in `{}`", data.display()))
}
