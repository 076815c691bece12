//! Brings in what a Debian build requires: apt, inside of the suite's own root, chooses and downloads through
//! the recording proxy; the root that is built in then gets what was handed out, and nothing else.
//!
//! The source package is unpacked in the same root: its files are a stranger's, and so are its patches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use quorate_proto::result::Phase;

use super::Inputs;
use crate::cache::Cache;
use crate::ecosystem::Surroundings;
use crate::environment::{Rootfs, RootfsError, RootfsSpec};
use crate::plan::deb::{BuildPlan, PLACE};
use crate::proxy::deb::OpenSuites;
use crate::proxy::{FetchedFile, Proxy, Served};
use crate::sandbox::{Exit, Mode, Network, Root};
use crate::workshop::{BuildError, Failure, Place, TOOLS, Task, Workshop, violations};

/// The proxy's port inside.
const PORT: u16 = 3142;
/// What Debian's own builders have besides `build-essential`.
const CORE: &[&str] = &["fakeroot"];

/// Everything that apt is told. It works as an ordinary user, in folders of its own, from nothing but the
/// signed lists of the proxy.
const APT_CONF: &str = r#"Dir::State "/build/tools/apt/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "/build/tools/apt/cache";
Dir::Etc::sourcelist "/build/tools/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "0";
Acquire::Check-Date "false";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "DIRECT";
"#;

/// Unpacks the source, makes the root, and remembers it in the plan.
pub async fn fetch(workshop: &Workshop, plan: &BuildPlan, suites: OpenSuites) -> Result<Inputs, BuildError> {
    let cache = suites.cache.clone();
    let spec = spec(&suites)?;
    let base = Rootfs::make(&cache, &spec).await.map_err(|error| told(error, "making the suite's root"))?;
    let place = Place { root: Root::Folder(base.folder.clone()), source: PLACE.into() };
    let mut seen = Vec::new();
    step(workshop, &place, Phase::Plan, &unpack(plan), Network::None, &mut seen).await?;
    prepare(workshop, &suites)?;
    let proxy = Proxy::start(|recorder| suites.routes(recorder))?;
    let chosen = choose(workshop, plan, &place, &proxy, &mut seen).await;
    let served = proxy.served();
    chosen.map_err(|error| blame(error, &served, &seen))?;
    let debs = debs(&served, &cache)?;
    // The build sees installed packages and no package file: it could otherwise copy what it should make.
    fs::remove_dir_all(workshop.tools().join("apt"))?;
    let root = if debs.is_empty() {
        base
    } else {
        base.extend(&cache, &spec, &debs).await.map_err(|error| told(error, "installing build requirements"))?
    };
    let surroundings = Surroundings { environment: root.environment.clone(), inventory: root.inventory.clone() };
    let _ = plan.root.set(root);
    Ok(Inputs { files: served.files, unfiltered: Vec::new(), violations: seen, surroundings: Some(surroundings) })
}

/// The release's own suite, as it is now; what else there is takes part in what apt chooses.
fn spec(suites: &OpenSuites) -> Result<RootfsSpec, BuildError> {
    let first = suites.all.first().ok_or_else(|| BuildError::Registry("the suite is gone from the archive".to_owned()))?;
    let suite = &first.suite;
    Ok(RootfsSpec {
        suite: suite.name.clone(),
        archives: vec![format!("deb {} {} main", suite.archive.as_str().trim_end_matches('/'), suite.name)],
        keyring: suite.keyring.clone(),
        include: CORE.iter().map(ToString::to_string).collect(),
        // What the index is, and not what the clock says: the same index makes the same root.
        day: first.digest.to_hex(),
    })
}

/// A root that cannot be made says nothing about the package; requirements that cannot be installed do.
fn told(error: RootfsError, activity: &str) -> BuildError {
    match error {
        RootfsError::Unmet { message } => BuildError::Failed(Failure::found(Phase::Fetch, format!("{activity}: {message}"))),
        RootfsError::Failed { suite, message } => BuildError::Registry(format!("{activity}: {suite}: {message}")),
        error => BuildError::Disk(io::Error::other(format!("{activity}: {}", crate::proxy::describe(&error)))),
    }
}

fn unpack(plan: &BuildPlan) -> Vec<String> {
    ["dpkg-source", "--no-copy", "--extract", &plan.dsc, &plan.folder].map(str::to_owned).into()
}

/// apt's own folders, its configuration and the keys.
fn prepare(workshop: &Workshop, suites: &OpenSuites) -> Result<(), BuildError> {
    let apt = workshop.tools().join("apt");
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    fs::write(apt.join("apt.conf"), APT_CONF)?;
    let mut lines = String::new();
    for (number, opened) in suites.all.iter().enumerate() {
        let keyring = format!("keyring-{number}.gpg");
        fs::copy(&opened.suite.keyring, apt.join(&keyring))?;
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "deb [signed-by={TOOLS}/apt/{keyring}] http://127.0.0.1:{PORT}/{number} {} main", opened.suite.name);
    }
    fs::write(apt.join("sources.list"), lines)?;
    Ok(workshop.hand_over()?)
}

async fn choose(workshop: &Workshop, plan: &BuildPlan, place: &Place, proxy: &Proxy, seen: &mut Vec<String>) -> Result<(), BuildError> {
    let network = || Network::Proxy { socket: proxy.socket().to_owned(), port: PORT };
    step(workshop, place, Phase::Fetch, &["apt-get", "--quiet", "update"].map(str::to_owned), network(), seen).await?;
    step(workshop, place, Phase::Fetch, &requirements(plan), network(), seen).await
}

/// What apt is asked to download. Versions by a `.buildinfo` are asked for one by one, the build's own
/// requirements otherwise.
fn requirements(plan: &BuildPlan) -> Vec<String> {
    let mut argv: Vec<String> = ["apt-get", "--quiet", "--yes", "--download-only", "--no-install-recommends"].map(str::to_owned).into();
    if let Some(buildinfo) = &plan.buildinfo {
        argv.extend(["--allow-downgrades", "install", "--"].map(str::to_owned));
        argv.extend(buildinfo.packages.iter().map(|(name, version)| format!("{name}={version}")));
    } else {
        argv.extend(match plan.build {
            "all" => vec!["--indep-only".to_owned()],
            "any" => vec!["--arch-only".to_owned()],
            _ => Vec::new(),
        });
        argv.extend(["build-dep".to_owned(), format!("./{}", plan.folder)]);
    }
    argv
}

async fn step(
    workshop: &Workshop,
    place: &Place,
    phase: Phase,
    argv: &[String],
    network: Network,
    seen: &mut Vec<String>,
) -> Result<(), BuildError> {
    let variables: BTreeMap<_, _> = [("APT_CONFIG".to_owned(), format!("{TOOLS}/apt/apt.conf"))].into();
    let task = Task { argv: argv.to_vec(), variables, network, folders: Vec::new(), tools: Mode::ReadWrite };
    let finished = workshop.run_in(task, place).await?;
    match finished.exit {
        Exit::Code(0) => {
            seen.extend(violations(&finished));
            Ok(())
        }
        _ => Err(Failure::of(phase, &finished, workshop.limits()).into()),
    }
}

/// A failure of apt is the archive's when the archive failed and may not fail again.
fn blame(error: BuildError, served: &Served, seen: &[String]) -> BuildError {
    let BuildError::Failed(failure) = error else { return error };
    let reasons =
        |is_passing| served.failures.values().filter(move |failed| failed.is_passing == is_passing).map(|failed| failed.reason.as_str());
    let passing: Vec<_> = reasons(true).collect();
    if failure.violations.is_empty() && seen.is_empty() && !passing.is_empty() {
        return BuildError::Registry(passing.join("; "));
    }
    // What the archive did is said before apt's words, which know nothing of it.
    let lasting: Vec<_> = reasons(false).map(str::to_owned).chain([failure.summary]).collect();
    let violations = seen.iter().cloned().chain(failure.violations).collect();
    Failure { violations, ..Failure::found(failure.phase, lasting.join("\n")) }.into()
}

/// The packages among what was handed out, from where the cache has them: the folder that apt filled could
/// hold anything by now.
fn debs(served: &Served, cache: &Cache) -> Result<Vec<(FetchedFile, PathBuf)>, BuildError> {
    let packages = served.files.values().filter(|file| !file.version.is_empty());
    packages
        .map(|file| {
            let lost = || io::Error::other(format!("{} is gone from the cache", file.name));
            Ok((file.clone(), cache.get(file.digest).ok_or_else(lost)?))
        })
        .collect()
}
