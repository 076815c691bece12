//! Calls the PEP 517 hooks of a build backend, each in a process of its own inside of the sandbox.

use std::collections::BTreeMap;

use quorate_proto::FileName;
use quorate_proto::result::Phase;
use serde::{Deserialize, Serialize};

use crate::plan::BuildPlan;
use crate::sandbox::{Mode, Network, SandboxError};
use crate::source::tree;
use crate::source::unpack::is_ours;
use crate::workshop::{Failure, OUT, SOURCE, Task, VENV, Workshop, violations};

/// The file in which the runner leaves the hook's answer.
const ANSWER: &str = "answer.json";
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The runner. The source folder must not be importable by accident: `-c` puts it on the path, PEP 517
/// wants it off, and `backend-path` is the declared way back on.
const RUNNER: &str = "\
import importlib, json, os, sys
spec = json.loads(sys.argv[1])
os.chdir(spec['directory'])
sys.path[:] = [os.path.join(spec['directory'], p) for p in spec['backendPath']] + [p for p in sys.path if p not in ('', os.getcwd())]
name, _, attributes = spec['backend'].partition(':')
backend = importlib.import_module(name)
for attribute in filter(None, attributes.split('.')):
    backend = getattr(backend, attribute)
sys.argv = ['setup.py']
hook = getattr(backend, spec['hook'], None)
if hook is None and spec['hook'].startswith('get_requires'):
    answer = []
elif spec['hook'].startswith('get_requires'):
    answer = list(hook(spec['settings']))
else:
    answer = hook(spec['out'], spec['settings'])
with open(os.path.join(spec['out'], 'answer.json'), 'w') as file:
    json.dump(answer, file)
";

/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What building a wheel needs besides the static requirements.
    RequiresForWheel,
    /// What building a source distribution needs besides the static requirements.
    RequiresForSdist,
    /// Builds a wheel.
    Wheel,
    /// Builds a source distribution.
    Sdist,
}

/// A hook that did not answer.
#[derive(Debug)]
pub enum HookError {
    /// The build is at fault.
    Failed(Failure),
    /// The machine is at fault.
    Sandbox(SandboxError),
    /// The machine's disk is at fault.
    Disk(std::io::Error),
}

/// A hook's answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// What it returned.
    pub value: T,
    /// What it tried and may not, although it came to an end.
    pub violations: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    directory: String,
    backend: &'a str,
    backend_path: &'a [String],
    hook: &'static str,
    settings: &'a BTreeMap<String, Vec<String>>,
    out: &'static str,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::RequiresForWheel => "get_requires_for_build_wheel",
            Self::RequiresForSdist => "get_requires_for_build_sdist",
            Self::Wheel => "build_wheel",
            Self::Sdist => "build_sdist",
        }
    }
}

impl From<SandboxError> for HookError {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(error)
    }
}

/// Asks for more requirements.
pub async fn requires(workshop: &Workshop, plan: &BuildPlan, hook: Hook) -> Result<Answer<Vec<String>>, HookError> {
    call(workshop, plan, hook).await
}

/// Builds, and names the file that was made in the workshop's `out`.
pub async fn build(workshop: &Workshop, plan: &BuildPlan, hook: Hook) -> Result<Answer<FileName>, HookError> {
    call(workshop, plan, hook).await
}

async fn call<T: for<'de> Deserialize<'de>>(workshop: &Workshop, plan: &BuildPlan, hook: Hook) -> Result<Answer<T>, HookError> {
    let spec = Spec {
        directory: inside(plan),
        backend: &plan.build.backend,
        backend_path: &plan.build.backend_path,
        hook: hook.name(),
        settings: &plan.settings,
        out: OUT,
    };
    let spec = serde_json::to_string(&spec).expect("text and lists of text always serialise");
    let mut variables = plan.variables.clone();
    variables.insert("SOURCE_DATE_EPOCH".to_owned(), plan.epoch.to_string());
    let argv = [&format!("{VENV}/bin/python"), "-c", RUNNER, &spec].map(ToString::to_string).into();
    let finished = match workshop.run(Task { argv, variables, network: Network::None, venv: Mode::ReadOnly }).await {
        // The interpreter in the virtual environment is a build's own to break.
        Err(error @ SandboxError::NotStarted { .. }) => return Err(HookError::Failed(Failure::found(Phase::Build, error.to_string()))),
        finished => finished?,
    };
    if finished.exit != crate::sandbox::Exit::Code(0) {
        return Err(HookError::Failed(Failure::of(Phase::Build, &finished, workshop.limits())));
    }
    let violations = violations(&finished);
    let failed = |summary: String| HookError::Failed(Failure { violations: violations.clone(), ..Failure::found(Phase::Build, summary) });
    let bytes = tree::read(&workshop.out(), ANSWER, ANSWER_BYTES_MAX).map_err(|error| match error {
        error if is_ours(&error) => HookError::Disk(error),
        error => failed(format!("no readable answer: {error}")),
    })?;
    let bytes = bytes.ok_or_else(|| failed(format!("{} left no answer", hook.name())))?;
    let value = serde_json::from_slice(&bytes).map_err(|error| failed(format!("{} answered oddly: {error}", hook.name())))?;
    Ok(Answer { value, violations })
}

fn inside(plan: &BuildPlan) -> String {
    let folder = plan.folder.to_string_lossy();
    if folder.is_empty() { SOURCE.to_owned() } else { format!("{SOURCE}/{folder}") }
}
