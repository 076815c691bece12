//! cargo built here from its crate: version 0.(N+1) of the crate is cargo 1.N.
//!
//! Built in the sandbox like anything else that strangers wrote: its dependencies come through the recording
//! proxy, and the build itself reaches nothing. Without debugging information and without optimising: what
//! cargo packs does not depend on how fast it is.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_proto::result::{Phase, Tool};

use super::{How, Installed, Provenance, Toolchain, ToolchainCache, ToolchainError, keep};
use crate::ecosystem::Facilities;
use crate::fetch::cargo::{PORT, write_home};
use crate::proxy::Proxy;
use crate::proxy::cargo::TimeMachine;
use crate::registry::cargo::{CrateName, Line, Registry};
use crate::sandbox::{Exit, Limits, Mode, Network, open_output};
use crate::source::unpack;
use crate::workshop::{BuildError, Failure, OUT, SOURCE, TOOLS, Task, Tools, Workshop};

/// Longest that one command may run: building takes minutes, on a busy machine many.
const WALL_MAX: Duration = Duration::from_hours(2);
/// Largest crate of cargo, in bytes.
const CRATE_BYTES_MAX: u64 = 64 << 20;

/// Most dependencies of an old lock file that are replaced.
const REPLACED_MAX: usize = 12;

/// Builds a minor version and keeps it.
pub(super) async fn build(
    minor: u64,
    registry: &Registry,
    rust: &Installed,
    facilities: &Facilities,
    cache: &ToolchainCache,
) -> Result<Toolchain, ToolchainError> {
    let line = line_of(minor, registry).await?;
    let failed = |source| ToolchainError::Build { minor, source: Box::new(source) };
    let site = Site { rust, registry, facilities, line: &line };
    let workshop = site.run().await.map_err(failed)?;
    let uri = format!("pkg:cargo/cargo@{}", line.version);
    let built_with = vec![rust.rustc()?, Tool { name: "cargo".to_owned(), version: rust.version.to_string(), digest: None }];
    let provenance = Provenance { how: How::Built, uri, digest: line.checksum, built_with };
    let program = open_output(&workshop.out(), "target/debug/cargo".as_ref())?;
    keep(program, &format!("1.{minor}.{}", line.version.patch), provenance, cache)
}

/// The newest patch of the crate that is this version; yanked only if there is no other.
async fn line_of(minor: u64, registry: &Registry) -> Result<Line, ToolchainError> {
    let not_offered = |reason: String| ToolchainError::NotOffered { minor, reason };
    let name = "cargo".parse().map_err(|_| not_offered("no name".to_owned()))?;
    let lines = registry.lines(&name).await.map_err(|error| not_offered(crate::proxy::describe(&error)))?;
    let fitting = lines.into_iter().filter(|line| {
        let version = &line.version;
        version.major == 0 && version.minor == minor + 1 && version.pre.is_empty()
    });
    let newest = fitting.max_by(|a, b| (!a.is_yanked, &a.version).cmp(&(!b.is_yanked, &b.version)));
    newest.ok_or_else(|| not_offered(format!("the index has no cargo 0.{}", minor + 1)))
}

struct Site<'a> {
    rust: &'a Installed,
    registry: &'a Registry,
    facilities: &'a Facilities,
    line: &'a Line,
}

/// A command of cargo's that failed, and the crate that it names.
struct Stuck {
    failure: Failure,
    culprit: Option<CrateName>,
}

impl Site<'_> {
    /// Builds with the crate's own lock file, but for those dependencies that this machine's rustc does not
    /// take any more: each is replaced by its newest version that fits.
    async fn run(&self) -> Result<Workshop, BuildError> {
        let workshop = self.lay_out().await?;
        let machine = TimeMachine::of_today(
            Registry::new(self.facilities.http.clone(), self.registry.index().clone()),
            self.facilities.http.clone(),
            self.facilities.cache.clone(),
        );
        let proxy = Proxy::start(|recorder| machine.routes(recorder))?;
        let network = || Network::Proxy { socket: proxy.socket().to_owned(), port: PORT };
        let mut replaced = Vec::new();
        loop {
            self.cargo(&workshop, &["fetch", "--locked"], network(), Phase::Fetch).await?.map_err(|stuck| stuck.failure)?;
            let built = self.cargo(&workshop, &["build", "--bin", "cargo", "--offline", "--locked"], Network::None, Phase::Build).await?;
            let Err(stuck) = built else { return Ok(workshop) };
            let culprit = stuck.culprit.filter(|name| !replaced.contains(name) && replaced.len() < REPLACED_MAX);
            let Some(culprit) = culprit else { return Err(stuck.failure.into()) };
            tracing::info!(%culprit, "does not build here any more: newer versions of what is at fault are taken");
            // cargo itself does not build when its lock file names a dependency that is too old for it.
            let named = ["update", "--recursive", "--package", culprit.as_str()];
            let update = if culprit.as_str() == "cargo" { &named[..1] } else { &named[..] };
            self.cargo(&workshop, update, network(), Phase::Fetch).await?.map_err(|stuck| stuck.failure)?;
            replaced.push(culprit);
        }
    }

    async fn lay_out(&self) -> Result<Workshop, BuildError> {
        let Facilities { sandbox, limits, decoys, work_dir, cache, .. } = self.facilities;
        let limits = Limits { wall: WALL_MAX, ..limits.clone() };
        let tools = Tools { sandbox: sandbox.clone(), limits, decoys: decoys.clone() };
        let workshop = Workshop::new(work_dir, tools)?;
        let download = self.registry.download(self.line, CRATE_BYTES_MAX, cache).await;
        let download = download.map_err(|error| BuildError::Registry(crate::proxy::describe(&error)))?;
        let source = workshop.source();
        let unpacked = tokio::task::spawn_blocking(move || unpack::unpack(&download.path, "cargo.tar.gz", &source)).await;
        unpacked.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
        write_home(&workshop.tools(), &format!("sparse+http://127.0.0.1:{PORT}/index/"), self.rust.version.minor)?;
        workshop.hand_over()?;
        Ok(workshop)
    }

    async fn cargo(&self, workshop: &Workshop, words: &[&str], network: Network, phase: Phase) -> Result<Result<(), Stuck>, BuildError> {
        let program = self.rust.sysroot.join("bin/cargo").to_string_lossy().into_owned();
        let manifest = ["--manifest-path".to_owned(), format!("{SOURCE}/Cargo.toml")];
        let argv = [program].into_iter().chain(words.iter().map(|word| (*word).to_owned())).chain(manifest).collect();
        let task = Task { argv, variables: self.variables(), network, folders: self.rust.folders(), tools: Mode::ReadWrite };
        let finished = workshop.run(task).await?;
        Ok(match finished.exit {
            Exit::Code(0) => Ok(()),
            _ => Err(Stuck { culprit: culprit(&finished.log_tail), failure: Failure::of(phase, &finished, workshop.limits()) }),
        })
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.rust.sysroot.join("bin").display());
        let home = format!("{TOOLS}/cargo-home");
        let target = format!("{OUT}/target");
        let all = [
            ("PATH", path.as_str()),
            ("CARGO_HOME", &home),
            ("CARGO_TARGET_DIR", &target),
            ("CARGO_TERM_COLOR", "never"),
            ("CARGO_INCREMENTAL", "0"),
            ("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback"),
            ("CARGO_PROFILE_DEV_DEBUG", "false"),
            ("CARGO_PROFILE_DEV_STRIP", "true"),
            // The zlib of the crate and not the machine's: its bytes are in every archive.
            ("LIBZ_SYS_STATIC", "1"),
            ("RUSTFLAGS", "--cap-lints=allow"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }
}

/// The crate whose build cargo names as the one that failed.
fn culprit(log: &str) -> Option<CrateName> {
    const WORDS: [&str; 2] = ["could not compile `", "failed to run custom build command for `"];
    let after = WORDS.iter().find_map(|words| log.split_once(words))?.1;
    after.split(['`', ' ']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_dependency_that_does_not_build_is_the_one_that_cargo_names() {
        let culprit = |log: &str| super::culprit(log).map(|name| name.to_string());
        assert_eq!(culprit("error: could not compile `time` (lib) due to 1 previous error").as_deref(), Some("time"));
        assert_eq!(culprit("error: failed to run custom build command for `openssl-sys v0.9.50`\n").as_deref(), Some("openssl-sys"));
        assert_eq!(culprit("error: could not compile `../x`"), None);
        assert_eq!(culprit("error: no such thing"), None);
    }
}
