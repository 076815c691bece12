//! Brings a build's requirements in through the recording proxy, and records what came.
//!
//! Two rounds: what the source declares, then what the backend asks for when it is called. The commands
//! that install run in the sandbox and reach the proxy alone.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use pep440_rs::Version;
use pep508_rs::VersionOrUrl;
use quorate_proto::FileName;
use quorate_proto::result::Phase;

use crate::backend::{self, Hook, HookError};
use crate::plan::{BuildPlan, Route, checked_requirement, requirement};
use crate::proxy::{FetchedFile, Proxy, Served, TimeMachine};
use crate::release::Target;
use crate::sandbox::{Exit, Mode, Network, SandboxError};
use crate::workshop::{Failure, Task, VENV, Workshop, violations};

/// The proxy's port inside.
const PORT: u16 = 3141;

/// Makes the virtual environment and goes on as pip, if there is anything to install.
const MAKE_VENV: &str = "\
import os, sys
if not os.path.exists('/build/venv/pyvenv.cfg'):
    import venv
    venv.EnvBuilder(with_pip=False, symlinks=True).create('/build/venv')
with open('/tmp/constraints.txt', 'w') as file:
    file.write(sys.argv[1])
if sys.argv[2:]:
    os.execv(sys.executable, [sys.executable, '-I', '-m', 'pip'] + sys.argv[2:])
";

/// Everything that a build has besides its source.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The files that were installed, by name.
    pub files: BTreeMap<FileName, FetchedFile>,
    /// Projects that could not be filtered by time.
    pub unfiltered: Vec<String>,
    /// What the fetch phase tried and may not.
    pub violations: Vec<String>,
}

/// Inputs that did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A registry failed; the same may work later.
    #[error("registry failed while build requirements were fetched: {0}")]
    Registry(String),
    /// The build is at fault.
    #[error("build requirements: {}", .0.summary)]
    Failed(Failure),
    /// The machine is at fault.
    #[error("sandbox")]
    Sandbox(#[from] SandboxError),
    /// The proxy could not be started.
    #[error("starting the build proxy")]
    Proxy(#[source] std::io::Error),
}

/// Installs what the plan needs.
pub async fn fetch(workshop: &Workshop, plan: &BuildPlan, machine: &TimeMachine) -> Result<Inputs, FetchError> {
    let mut inputs = Inputs::default();
    install(workshop, plan, machine, &plan.build.requires, &mut inputs).await?;
    let mut more = Vec::new();
    for hook in hooks(plan) {
        let answer = backend::requires(workshop, plan, *hook).await.map_err(|error| match error {
            HookError::Failed(failure) => FetchError::Failed(failure),
            HookError::Sandbox(error) => FetchError::Sandbox(error),
        })?;
        inputs.violations.extend(answer.violations);
        for text in answer.value {
            let text = checked_requirement(&text).map_err(|error| FetchError::Failed(Failure::found(Phase::Plan, error.to_string())))?;
            if !is_met(&text, &inputs) && !more.contains(&text) {
                more.push(text);
            }
        }
    }
    if !more.is_empty() {
        install(workshop, plan, machine, &more, &mut inputs).await?;
    }
    Ok(inputs)
}

fn hooks(plan: &BuildPlan) -> &'static [Hook] {
    match (plan.target, plan.route) {
        (Target::Wheel, Route::Direct) => &[Hook::RequiresForWheel],
        (Target::Wheel, Route::ThroughSourceDistribution) => &[Hook::RequiresForSdist, Hook::RequiresForWheel],
        (Target::SourceDistribution, _) => &[Hook::RequiresForSdist],
    }
}

async fn install(
    workshop: &Workshop,
    plan: &BuildPlan,
    machine: &TimeMachine,
    requirements: &[String],
    inputs: &mut Inputs,
) -> Result<(), FetchError> {
    let proxy = Proxy::start(machine.clone()).map_err(FetchError::Proxy)?;
    let first = pip(workshop, plan, &proxy, requirements, Kinds::WheelsOnly).await;
    // A requirement that was only published as source is built by pip, still with the proxy alone.
    let last = match first {
        Ok(Err(_)) if !requirements.is_empty() => pip(workshop, plan, &proxy, requirements, Kinds::All).await,
        other => other,
    };
    let served = proxy.finish();
    match last? {
        Ok(violations) => {
            inputs.violations.extend(violations);
            take(served, inputs);
            Ok(())
        }
        Err(_) if !served.failures.is_empty() => Err(FetchError::Registry(served.failures.join("; "))),
        Err(failure) => Err(FetchError::Failed(failure)),
    }
}

fn take(served: Served, inputs: &mut Inputs) {
    inputs.files.extend(served.files);
    inputs.unfiltered.extend(served.unfiltered);
    inputs.unfiltered.sort();
    inputs.unfiltered.dedup();
}

/// Which kinds of file pip may install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    WheelsOnly,
    All,
}

async fn pip(
    workshop: &Workshop,
    plan: &BuildPlan,
    proxy: &Proxy,
    requirements: &[String],
    kinds: Kinds,
) -> Result<Result<Vec<String>, Failure>, SandboxError> {
    let python = workshop.python().to_string_lossy().into_owned();
    let mut argv = vec![python, "-I".to_owned(), "-c".to_owned(), MAKE_VENV.to_owned(), plan.constraints.join("\n") + "\n"];
    if !requirements.is_empty() {
        let index = format!("http://127.0.0.1:{PORT}/simple/");
        let interpreter = format!("{VENV}/bin/python");
        let fixed = [
            "--python",
            &interpreter,
            "install",
            "--quiet",
            "--index-url",
            &index,
            "--no-compile",
            "--no-cache-dir",
            "--constraint",
            "/tmp/constraints.txt",
        ];
        argv.extend(fixed.map(str::to_owned));
        if kinds == Kinds::WheelsOnly {
            argv.extend(["--only-binary", ":all:"].map(str::to_owned));
        }
        argv.push("--".to_owned());
        argv.extend(requirements.iter().cloned());
    }
    let network = Network::Proxy { socket: proxy.socket().to_owned(), port: PORT };
    let task = Task { argv, variables: BTreeMap::new(), network, venv: Mode::ReadWrite };
    let finished = workshop.run(task).await?;
    Ok(match finished.exit {
        Exit::Code(0) => Ok(violations(&finished)),
        _ => Err(Failure::of(Phase::Fetch, &finished, workshop.limits())),
    })
}

/// Whether a requirement is plainly met by what was installed. In doubt it is not: pip then decides.
fn is_met(text: &str, inputs: &Inputs) -> bool {
    let Some(wanted) = requirement(text) else { return false };
    let name = wanted.name.to_string();
    let Some(file) = inputs.files.values().find(|file| file.project == name) else { return false };
    match (&wanted.version_or_url, Version::from_str(&file.version)) {
        (None, _) => wanted.extras.is_empty(),
        (Some(VersionOrUrl::VersionSpecifier(specifiers)), Ok(version)) => wanted.extras.is_empty() && specifiers.contains(&version),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::Digest;

    #[test]
    fn a_requirement_is_met_by_an_installed_version_only() {
        let name: FileName = "wheel-0.43.0-py3-none-any.whl".parse().unwrap();
        let url = "https://registry.example/w".parse().unwrap();
        let file = FetchedFile {
            name: name.clone(),
            project: "wheel".into(),
            version: "0.43.0".into(),
            url,
            digest: Digest::of(b""),
            size_bytes: 0,
        };
        let inputs = Inputs { files: [(name, file)].into(), ..Inputs::default() };
        for (text, met) in [("wheel", true), ("Wheel >= 0.40", true), ("wheel>=0.44", false), ("cython", false), ("wheel[test]", false)] {
            assert_eq!(is_met(text, &inputs), met, "{text}");
        }
    }
}
