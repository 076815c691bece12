//! Brings a Python build's requirements in through the recording proxy.
//!
//! Two rounds: what the source declares, then what the backend asks for when it is called. The commands
//! that install run in the sandbox and reach the proxy alone.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use pep440_rs::Version;
use pep508_rs::VersionOrUrl;
use quorate_proto::result::Phase;

use super::Inputs;
use crate::plan::pypi::{BuildPlan, PlanError, REQUIREMENTS_MAX, Route, checked_requirement, requirement};
use crate::proxy::pypi::TimeMachine;
use crate::proxy::{Failed, FetchedFile, Proxy, describe};
use crate::rebuild::pypi::backend::{self, Hook, python_variables};
use crate::release::pypi::Target;
use crate::sandbox::{Exit, Mode, Network, SandboxError};
use crate::source::git::adopt::Head;
use crate::workshop::{BuildError, Failure, TOOLS, Task, Workshop, violations};

/// The proxy's port inside.
const PORT: u16 = 3141;

/// Makes the virtual environment and goes on as pip, if there is anything to install.
const MAKE_VENV: &str = "\
import os, sys
if not os.path.exists('/build/tools/pyvenv.cfg'):
    import venv
    venv.EnvBuilder(with_pip=False, symlinks=True).create('/build/tools')
with open('/tmp/constraints.txt', 'w') as file:
    file.write(sys.argv[1])
if sys.argv[2:]:
    os.execv(sys.executable, [sys.executable, '-I', '-m', 'pip'] + sys.argv[2:])
";

/// Makes the tree a checkout where it comes from a repository, and installs what the plan needs. One proxy serves
/// all rounds, so that what a build may fetch is bounded as a whole.
pub async fn fetch(workshop: &Workshop, plan: &BuildPlan, machine: TimeMachine) -> Result<Inputs, BuildError> {
    if let Some(head) = &plan.head {
        check_out(workshop, head).await?;
    }
    if plan.route == Route::IntoDist {
        // Nothing of the source has run yet, so its folders are what they seem.
        std::fs::create_dir_all(workshop.source().join(&plan.folder).join("dist"))?;
        workshop.hand_over()?;
    }
    let proxy = Proxy::start(|recorder| machine.routes(recorder))?;
    let mut seen = Vec::new();
    match rounds(workshop, plan, &proxy, &mut seen).await {
        Ok(()) => {
            let served = proxy.served();
            let unfiltered = served.unfiltered.into_iter().collect();
            Ok(Inputs { files: served.files, unfiltered, violations: seen, surroundings: None })
        }
        Err(BuildError::Failed(failure)) => {
            seen.extend(failure.violations);
            Err(BuildError::Failed(Failure { violations: seen, ..failure }))
        }
        // What was tried and may not comes before what the world did.
        Err(BuildError::Registry(summary)) if !seen.is_empty() => {
            Err(BuildError::Failed(Failure { violations: seen, ..Failure::found(Phase::Fetch, summary) }))
        }
        Err(error) => Err(error),
    }
}

async fn check_out(workshop: &Workshop, head: &Head) -> Result<(), BuildError> {
    head.check_out(&workshop.source()).await.map_err(|error| match error {
        error if error.is_passing() => BuildError::Disk(std::io::Error::other(error)),
        error => BuildError::Failed(Failure::found(Phase::Fetch, describe(&error))),
    })?;
    Ok(workshop.hand_over()?)
}

async fn rounds(workshop: &Workshop, plan: &BuildPlan, proxy: &Proxy, seen: &mut Vec<String>) -> Result<(), BuildError> {
    install(workshop, plan, proxy, &plan.build.requires, seen).await?;
    let mut more = Vec::new();
    for hook in hooks(plan) {
        let answer = backend::requires(workshop, plan, *hook).await?;
        seen.extend(answer.violations);
        for text in answer.value {
            let text = checked_requirement(&text).map_err(|error| BuildError::Failed(Failure::found(Phase::Plan, error.to_string())))?;
            if !more.contains(&text) && !is_met(&text, &proxy.served().files) {
                more.push(text);
            }
            if more.len() > REQUIREMENTS_MAX {
                let error = PlanError::Requirements { got: more.len() };
                return Err(BuildError::Failed(Failure::found(Phase::Plan, error.to_string())));
            }
        }
    }
    if !more.is_empty() {
        install(workshop, plan, proxy, &more, seen).await?;
    }
    Ok(())
}

fn hooks(plan: &BuildPlan) -> &'static [Hook] {
    match (plan.target, plan.route) {
        (Target::Wheel, Route::Direct | Route::FlitCommand | Route::IntoDist) => &[Hook::RequiresForWheel],
        (Target::Wheel, Route::ThroughSourceDistribution) => &[Hook::RequiresForSdist, Hook::RequiresForWheel],
        (Target::SourceDistribution, _) => &[Hook::RequiresForSdist],
    }
}

async fn install(
    workshop: &Workshop,
    plan: &BuildPlan,
    proxy: &Proxy,
    requirements: &[String],
    seen: &mut Vec<String>,
) -> Result<(), BuildError> {
    let before = proxy.served().asked;
    let mut last = pip(workshop, plan, proxy, requirements, Kinds::WheelsOnly).await?;
    // Until here only pip itself has run in this round: what it asked for it needs.
    let mut needed: BTreeSet<_> = proxy.served().asked.difference(&before).cloned().collect();
    needed.extend(requirements.iter().filter_map(|text| Some(requirement(text)?.name.to_string())));
    // A requirement that was only published as source is built by pip, still with the proxy alone.
    if last.is_err() && !requirements.is_empty() {
        seen.extend(last.err().map(|failure| failure.violations).unwrap_or_default());
        last = pip(workshop, plan, proxy, requirements, Kinds::All).await?;
    }
    match last {
        Ok(violations) => {
            seen.extend(violations);
            Ok(())
        }
        Err(failure) => Err(told(failure, &needed, &proxy.served().failures)),
    }
}

/// A failure of pip is the registry's when the registry failed for a project that pip needed, and may not
/// fail again. Anything else that was asked for was a build's own idea.
fn told(failure: Failure, needed: &BTreeSet<String>, failures: &BTreeMap<String, Failed>) -> BuildError {
    let passing: Vec<_> = failures
        .iter()
        .filter(|(project, failed)| failed.is_passing && needed.contains(*project))
        .map(|(_, failed)| failed.reason.as_str())
        .collect();
    if !failure.violations.is_empty() || passing.is_empty() {
        return BuildError::Failed(failure);
    }
    BuildError::Registry(passing.join("; "))
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
    let python = plan.python.executable.to_string_lossy().into_owned();
    let mut argv = vec![python, "-I".to_owned(), "-c".to_owned(), MAKE_VENV.to_owned(), plan.constraints.join("\n") + "\n"];
    if !requirements.is_empty() {
        let index = format!("http://127.0.0.1:{PORT}/simple/");
        let interpreter = format!("{TOOLS}/bin/python");
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
    let task = Task { argv, variables: python_variables(), network, folders: plan.python.folders.clone(), tools: Mode::ReadWrite };
    let finished = workshop.run(task).await?;
    Ok(match finished.exit {
        Exit::Code(0) => Ok(violations(&finished)),
        _ => Err(Failure::of(Phase::Fetch, &finished, workshop.limits())),
    })
}

/// Whether a requirement is plainly met by what was installed. In doubt it is not: pip then decides.
fn is_met(text: &str, files: &BTreeMap<String, FetchedFile>) -> bool {
    let Some(wanted) = requirement(text) else { return false };
    let name = wanted.name.to_string();
    let Some(file) = files.values().find(|file| file.project == name) else { return false };
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
    use quorate_proto::{Digest, FileName};

    #[test]
    fn a_requirement_is_met_by_an_installed_version_only() {
        let name: FileName = "wheel-0.43.0-py3-none-any.whl".parse().unwrap();
        let url = "https://registry.example/w".parse().unwrap();
        let file = FetchedFile {
            name: name.clone(),
            project: "wheel".into(),
            version: "0.43.0".into(),
            uri: String::new(),
            url,
            digest: Digest::of(b""),
            size_bytes: 0,
        };
        let files = [(name.to_string(), file)].into();
        for (text, met) in [("wheel", true), ("Wheel >= 0.40", true), ("wheel>=0.44", false), ("cython", false), ("wheel[test]", false)] {
            assert_eq!(is_met(text, &files), met, "{text}");
        }
    }

    #[test]
    fn a_build_cannot_turn_its_failure_into_one_of_the_registry() {
        let failure = |violations: &[&str]| Failure {
            violations: violations.iter().map(ToString::to_string).collect(),
            ..Failure::found(Phase::Fetch, "ended with code 1")
        };
        let needed = ["needed".to_owned(), "huge".to_owned()].into();
        let failed = |project: &str, is_passing| (project.to_owned(), Failed { reason: project.to_owned(), is_passing });
        let failures = |all: &[(&str, bool)]| all.iter().map(|(project, is_passing)| failed(project, *is_passing)).collect();
        let is_registry = |violations: &[&str], all: &[(&str, bool)]| {
            matches!(told(failure(violations), &needed, &failures(all)), BuildError::Registry(_))
        };
        assert!(is_registry(&[], &[("needed", true)]));
        assert!(!is_registry(&[], &[("poked", true), ("huge", false)]));
        assert!(!is_registry(&["network: 1"], &[("needed", true)]));
    }
}
