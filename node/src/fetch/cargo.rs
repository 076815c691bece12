//! Prepares a tree for cargo and lets cargo look at the index, through the recording proxy.
//!
//! cargo packs a crate without a network once its home has the index files that it asks for. Which those
//! are only cargo knows: it packs a copy of the tree once with the proxy at hand, and that copy is thrown
//! away.

mod git_index;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use quorate_proto::result::Phase;

use super::Inputs;
use crate::plan::cargo::{BuildPlan, IndexKind};
use crate::proxy::cargo::TimeMachine;
use crate::proxy::{Proxy, Served};
use crate::sandbox::{Exit, Mode, Network};
use crate::workshop::{BuildError, Failure, OUT, SOURCE, TOOLS, Task, Workshop, violations};

/// The proxy's port inside.
pub const PORT: u16 = 3141;
/// cargo's home, below the tools, and the git index beside it.
const HOME: &str = "cargo-home";
const GIT_INDEX: &str = "index";
/// Where the copy lies, inside; gone with the run.
const REHEARSAL: &str = "/tmp/src";
const REHEARSE: &str = "cp -a /build/src /tmp/src && export CARGO_TARGET_DIR=/tmp/target && exec \"$@\"";
/// The first cargo that reads `config.toml` and would complain about the older name.
const CONFIG_TOML_SINCE: u64 = 70;
/// The first cargo that knows `--offline`.
const OFFLINE_SINCE: u64 = 36;

/// Lays out what the plan needs and lets cargo ask for the rest.
pub async fn fetch(workshop: &Workshop, plan: &BuildPlan, machine: TimeMachine) -> Result<Inputs, BuildError> {
    if let Some((repository, commit)) = &plan.head {
        let adopted = repository.adopt(commit, &workshop.source()).await;
        adopted.map_err(|error| Failure::found(Phase::Fetch, crate::proxy::describe(&error)))?;
    }
    lay_lock(workshop, plan)?;
    let minor = plan.cargo.version.minor;
    let mut pages = BTreeMap::new();
    let mut unfiltered = Vec::new();
    let address = match &plan.index {
        IndexKind::Sparse => format!("sparse+http://127.0.0.1:{PORT}/index/"),
        IndexKind::Git(names) => {
            let folder = workshop.tools().join(GIT_INDEX);
            (pages, unfiltered) = git_index::make(&folder, names, &machine).await?;
            format!("file://{TOOLS}/{GIT_INDEX}")
        }
    };
    write_home(&workshop.tools(), &address, minor)?;
    workshop.hand_over()?;
    let proxy = Proxy::start(|recorder| machine.routes(recorder))?;
    let seen = rehearse(workshop, plan, &proxy).await?;
    let Served { files, unfiltered: more, .. } = proxy.served();
    pages.extend(files);
    unfiltered.extend(more);
    Ok(Inputs { files: pages, unfiltered, violations: seen, surroundings: None })
}

/// Puts a lock file in place that git is told to overlook: cargo refuses to pack what is not committed.
fn lay_lock(workshop: &Workshop, plan: &BuildPlan) -> io::Result<()> {
    use std::io::Write as _;
    let Some(lock) = &plan.lock else { return Ok(()) };
    let path = workshop.source().join(&plan.workspace).join("Cargo.lock");
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(lock)?;
    let info = workshop.source().join(".git/info");
    if plan.head.is_some() {
        std::fs::create_dir_all(&info)?;
        let mut exclude = std::fs::File::options().create(true).append(true).open(info.join("exclude"))?;
        exclude.write_all(b"Cargo.lock\n")?;
    }
    Ok(())
}

/// Writes a home for cargo whose usual index is `address`.
pub fn write_home(tools: &Path, address: &str, minor: u64) -> io::Result<()> {
    let home = tools.join(HOME);
    std::fs::create_dir_all(&home)?;
    let name = if minor >= CONFIG_TOML_SINCE { "config.toml" } else { "config" };
    let config = format!(
        "[source.crates-io]\nreplace-with = \"recorded\"\n[source.recorded]\nregistry = \"{address}\"\n[net]\nretry = 1\ngit-fetch-with-cli = false\n"
    );
    std::fs::write(home.join(name), config)
}

/// The command that packs the crate in the tree `source`, inside.
pub fn package(plan: &BuildPlan, source: &str) -> Vec<String> {
    let manifest = Path::new(source).join(&plan.folder).join("Cargo.toml").to_string_lossy().into_owned();
    let program = plan.cargo.program.to_string_lossy().into_owned();
    let fixed = ["package", "--no-verify", "--manifest-path", &manifest].map(str::to_owned);
    [program].into_iter().chain(fixed).chain(plan.arguments.iter().cloned()).collect()
}

/// The command that packs the crate without a network.
pub fn package_offline(plan: &BuildPlan) -> Vec<String> {
    let mut argv = package(plan, SOURCE);
    if plan.cargo.version.minor >= OFFLINE_SINCE {
        argv.push("--offline".to_owned());
    }
    argv
}

/// Variables that cargo runs with.
pub fn variables(plan: &BuildPlan) -> BTreeMap<String, String> {
    let folders = plan.cargo.path.iter().map(|folder| folder.to_string_lossy().into_owned());
    let path = folders.chain(["/usr/local/bin:/usr/bin:/bin".to_owned()]).collect::<Vec<_>>().join(":");
    let home = format!("{TOOLS}/{HOME}");
    let target = format!("{OUT}/target");
    // A dependency in a repository elsewhere fails at the proxy and not in a search for a way out.
    let proxy = format!("http://127.0.0.1:{PORT}");
    [("PATH", path.as_str()), ("CARGO_HOME", &home), ("CARGO_TARGET_DIR", &target), ("CARGO_TERM_COLOR", "never"), ("https_proxy", &proxy)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

async fn rehearse(workshop: &Workshop, plan: &BuildPlan, proxy: &Proxy) -> Result<Vec<String>, BuildError> {
    let shell = ["/bin/sh", "-c", REHEARSE, "sh"].map(str::to_owned);
    let argv = shell.into_iter().chain(package(plan, REHEARSAL)).collect();
    let network = Network::Proxy { socket: proxy.socket().to_owned(), port: PORT };
    let task = Task { argv, variables: variables(plan), network, folders: plan.cargo.folders.clone(), tools: Mode::ReadWrite };
    let finished = workshop.run(task).await?;
    if finished.exit == Exit::Code(0) {
        return Ok(violations(&finished));
    }
    let failure = Failure::of(Phase::Fetch, &finished, workshop.limits());
    let failures = proxy.served().failures;
    let passing: Vec<_> = failures.values().filter(|failed| failed.is_passing).map(|failed| failed.reason.as_str()).collect();
    if passing.is_empty() || !failure.violations.is_empty() { Err(failure.into()) } else { Err(BuildError::Registry(passing.join("; "))) }
}
