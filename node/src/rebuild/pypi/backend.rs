//! Calls the PEP 517 hooks of a build backend, each in a process of its own inside of the sandbox.

use std::collections::BTreeMap;

use quorate_proto::FileName;
use quorate_proto::result::Phase;
use serde::{Deserialize, Serialize};

use crate::plan::pypi::BuildPlan;
use crate::sandbox::{Mode, Network, SandboxError};
use crate::source::tree;
use crate::source::unpack::is_ours;
use crate::workshop::{BuildError, Failure, OUT, SOURCE, TOOLS, Task, Workshop, violations};

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
if spec['backend'] == 'flit.sdist' and spec['hook'] == 'build_sdist':
    import inspect, pathlib
    maker = backend.SdistBuilder.from_ini_path(pathlib.Path('pyproject.toml'))
    options = {'gen_setup_py': False} if 'gen_setup_py' in inspect.signature(maker.build).parameters else {}
    answer = maker.build(pathlib.Path(spec['out']), **options).name
elif hook is None and spec['hook'].startswith('get_requires'):
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

/// Asks for more requirements.
pub async fn requires(workshop: &Workshop, plan: &BuildPlan, hook: Hook) -> Result<Answer<Vec<String>>, BuildError> {
    call(workshop, plan, hook).await
}

/// Builds, and names the file that was made in the workshop's `out`.
pub async fn build(workshop: &Workshop, plan: &BuildPlan, hook: Hook) -> Result<Answer<FileName>, BuildError> {
    call(workshop, plan, hook).await
}

async fn call<T: for<'de> Deserialize<'de>>(workshop: &Workshop, plan: &BuildPlan, hook: Hook) -> Result<Answer<T>, BuildError> {
    let spec = Spec {
        directory: inside(plan),
        backend: &plan.build.backend,
        backend_path: &plan.build.backend_path,
        hook: hook.name(),
        settings: &plan.settings,
        out: OUT,
    };
    let spec = serde_json::to_string(&spec).expect("text and lists of text always serialise");
    let mut variables = python_variables();
    variables.extend(plan.variables.clone());
    variables.insert("SOURCE_DATE_EPOCH".to_owned(), plan.epoch.to_string());
    let argv = [&format!("{TOOLS}/bin/python"), "-c", RUNNER, &spec].map(ToString::to_string).into();
    let task = Task { argv, variables, network: Network::None, folders: plan.python.folders.clone(), tools: Mode::ReadOnly };
    let finished = match workshop.run(task).await {
        // The interpreter in the virtual environment is a build's own to break.
        Err(error @ SandboxError::NotStarted { .. }) => return Err(BuildError::Failed(Failure::found(Phase::Build, error.to_string()))),
        finished => finished?,
    };
    if finished.exit != crate::sandbox::Exit::Code(0) {
        return Err(BuildError::Failed(Failure::of(Phase::Build, &finished, workshop.limits())));
    }
    let violations = violations(&finished);
    let failed = |summary: String| BuildError::Failed(Failure { violations: violations.clone(), ..Failure::found(Phase::Build, summary) });
    let bytes = tree::read(&workshop.out(), ANSWER, ANSWER_BYTES_MAX).map_err(|error| match error {
        error if is_ours(&error) => BuildError::Disk(error),
        error => failed(format!("no readable answer: {error}")),
    })?;
    let bytes = bytes.ok_or_else(|| failed(format!("{} left no answer", hook.name())))?;
    let value = serde_json::from_slice(&bytes).map_err(|error| failed(format!("{} answered oddly: {error}", hook.name())))?;
    Ok(Answer { value, violations })
}

/// What keeps a Python to itself and its output the same.
pub fn python_variables() -> BTreeMap<String, String> {
    [
        ("PYTHONHASHSEED", "0"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONNOUSERSITE", "1"),
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn inside(plan: &BuildPlan) -> String {
    let folder = plan.folder.to_string_lossy();
    if folder.is_empty() { SOURCE.to_owned() } else { format!("{SOURCE}/{folder}") }
}
