//! Debian packages: real ones from the archive that apt uses here, and an archive on loopback that is signed
//! and misbehaves. Every way in which an archive misbehaves has its own class.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "debian/again.rs"]
mod again;
#[path = "debian/archive.rs"]
mod archive;
#[path = "counting/counted.rs"]
mod counted;
#[path = "debian/misbehaviour.rs"]
mod misbehaviour;
#[path = "debian/real.rs"]
mod real;
#[path = "debian/roots.rs"]
mod roots;

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_node::attest::Finding;
use quorate_node::cache::Reuse;
use quorate_node::ecosystem::ToolchainUse;
use quorate_node::pipeline::{DebianUse, Engine, EngineConfig, Job, RebuildError, Silent};
use quorate_node::registry::deb::address::ArchiveSettings;
use quorate_node::resolve::GitAccess;
use quorate_node::sandbox::{self, Limits};

/// An engine whose downloads and roots lie in `cache`.
fn config(work: &Path, cache: PathBuf) -> EngineConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    EngineConfig {
        work_dir: work.join("work"),
        cache_dir: cache,
        reuse: Reuse::Kept,
        registries: [].into(),
        deb: ArchiveSettings::default(),
        toolchains: ToolchainUse::Exact,
        toolchain_wait: Some(quorate_node::toolchain::WAIT),
        git: GitAccess::default(),
        debian: DebianUse::Off,
        definitions: None,
        python: PathBuf::from("python3"),
        sandbox: sandbox::Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..sandbox::Config::default() },
        limits: Limits { wall: Duration::from_mins(10), ..Limits::default() },
        secrets: vec!["/var/lib/quorate/node.key".into()],
    }
}

async fn rebuild(engine: &Engine, package: &str) -> Result<Finding, RebuildError> {
    let job = Job { package: package.parse().unwrap(), file: None, artifact_path: None };
    Box::pin(engine.rebuild(&job, &Silent)).await
}
