//! The roots that Debian packages are built in, shared by all tests of all runs.

use std::path::PathBuf;

use quorate_node::environment::{RootfsError, RootfsSpec};

/// Kept between runs: a root is named by the digests of its suite's index and of its packages.
pub(crate) fn roots() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("roots")
}

pub(crate) fn can_make_roots() -> bool {
    let spec = RootfsSpec::of_this_machine("bookworm", "today");
    let has_mmdebstrap = std::process::Command::new("mmdebstrap").arg("--version").output().is_ok_and(|output| output.status.success());
    match (spec, has_mmdebstrap) {
        (Ok(_), true) => true,
        (Err(error), _) => {
            eprintln!("SKIPPED: {error}");
            false
        }
        (_, false) => {
            eprintln!("SKIPPED: {}", RootfsError::NoMmdebstrap);
            false
        }
    }
}
