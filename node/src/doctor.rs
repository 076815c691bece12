//! What this machine lacks for rebuilding, and the command that installs it.
//!
//! Every need is tried, not looked up: a bubblewrap that is installed and may not make namespaces is as bad
//! as none. Only machines with Debian packages get an install command. Nothing is installed or changed here,
//! and the exit code is the caller's.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::sandbox::{self, Finished, Limits, Network, Sandbox, SandboxError, find_in_path};

/// The version of the JSON that [`render_json`] gives.
const SCHEMA: &str = "quorate-doctor/v1";
/// A trivial sandbox takes milliseconds; this is for machines in distress.
const TRIAL: Duration = Duration::from_secs(20);

/// What to examine.
#[derive(Clone, Debug)]
pub struct DoctorConfig {
    /// How sandboxes would be made.
    pub sandbox: sandbox::Config,
    /// The Python that builds use.
    pub python: PathBuf,
}

impl Default for DoctorConfig {
    fn default() -> Self {
        Self { sandbox: sandbox::Config::default(), python: "python3".into() }
    }
}

/// Whether a machine can rebuild anything without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It cannot.
    Required,
    /// It can; some ecosystem or environment is out of reach.
    Optional,
}

/// One need, and whether the machine meets it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What is needed.
    pub need: &'static str,
    /// How much it is needed.
    pub weight: Weight,
    /// What was found, such as a version, or what is wrong.
    pub found: Result<String, String>,
    /// The command that mends it; absent when nothing is wrong or no command is known.
    pub install: Option<String>,
    /// What it is needed for.
    pub why: &'static str,
}

/// True when every required need is met.
pub fn is_ready(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.found.is_ok() || finding.weight == Weight::Optional)
}

/// Tries every need. Blocks for about a tenth of a second; may be called from anywhere.
pub fn examine(config: &DoctorConfig) -> Vec<Finding> {
    let python = config.python.as_path();
    vec![
        bubblewrap(&config.sandbox),
        tool("git", Path::new("git"), &["--version"], "git", "fetches sources by tag and commit"),
        tool("python3", python, &["--version"], "python3", "builds wheels and source distributions"),
        // `ensurepip` is what Debian splits off: without it `venv` makes no usable environment.
        tool(
            "python3 venv",
            python,
            &["-c", "import venv, ensurepip; print(ensurepip.version())"],
            "python3-venv",
            "gives each build an environment of its own",
        ),
        tool("pip", python, &["-m", "pip", "--version"], "python3-pip", "installs build requirements"),
        tool("gpgv", Path::new("gpgv"), &["--version"], "gpgv", "checks signatures of Debian indexes and sources"),
        Finding {
            weight: Weight::Optional,
            ..tool("mmdebstrap", Path::new("mmdebstrap"), &["--version"], "mmdebstrap", "makes Debian roots to build in")
        },
    ]
}

/// Lines for people, with one command at the end that mends all.
pub fn render_human(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a string cannot fail.
        let _ = match &finding.found {
            Ok(found) => writeln!(text, "ok       {:<13} {found}", finding.need),
            Err(wrong) => {
                let mark = if finding.weight == Weight::Required { "missing" } else { "without" };
                writeln!(text, "{mark}  {:<13} {wrong}\n         {:<13} {}", finding.need, "", finding.why)
            }
        };
    }
    let mut commands: Vec<&str> = findings.iter().filter_map(|finding| finding.install.as_deref()).collect();
    commands.dedup();
    text.push_str(match (is_ready(findings), commands.is_empty()) {
        (true, true) => "this machine can rebuild\n",
        (true, false) => "this machine can rebuild; for the rest:\n",
        (false, true) => "this machine cannot rebuild, and no command is known that mends it\n",
        (false, false) => "to mend it:\n",
    });
    for command in commands {
        let _ = writeln!(text, "  {command}");
    }
    text
}

/// The same as JSON.
pub fn render_json(findings: &[Finding]) -> String {
    #[derive(Serialize)]
    struct View<'a> {
        need: &'a str,
        ok: bool,
        optional: bool,
        found: &'a str,
        install: Option<&'a str>,
        why: &'a str,
    }
    let view = |finding: &Finding| {
        serde_json::json!(View {
            need: finding.need,
            ok: finding.found.is_ok(),
            optional: finding.weight == Weight::Optional,
            found: finding.found.as_ref().unwrap_or_else(|wrong| wrong),
            install: finding.install.as_deref(),
            why: finding.why,
        })
    };
    let findings_json: Vec<_> = findings.iter().map(view).collect();
    serde_json::json!({ "schema": SCHEMA, "ready": is_ready(findings), "findings": findings_json }).to_string()
}

fn tool(need: &'static str, program: &Path, args: &[&str], package: &str, why: &'static str) -> Finding {
    let found = match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(first_line(&output.stdout)),
        Ok(output) => Err(format!("{} failed: {}", program.display(), last_line(&output.stderr))),
        Err(error) => Err(format!("{}: {error}", program.display())),
    };
    let install = if found.is_err() { install(package) } else { None };
    Finding { need, weight: Weight::Required, found, install, why }
}

fn bubblewrap(config: &sandbox::Config) -> Finding {
    let (found, install) = match try_sandbox(config) {
        Ok(run) if run.is_clean_success() => (Ok(format!("runs; in force: {}", run.limits_in_force.join(" "))), None),
        Ok(run) => (Err(format!("a trivial command ended with {:?}, violations {:?}", run.exit, run.violations)), None),
        Err(SandboxError::NoBubblewrap) => (Err("bwrap is not in PATH".into()), install("bubblewrap")),
        Err(error @ SandboxError::Setup { .. }) => (Err(error.to_string()), namespaces_remedy()),
        Err(error) => (Err(chain(&error)), None),
    };
    Finding { need: "bubblewrap", weight: Weight::Required, found, install, why: "runs builds with a read-only system and no network" }
}

/// In a thread of its own: a runtime cannot be started inside the caller's.
fn try_sandbox(config: &sandbox::Config) -> Result<Finished, SandboxError> {
    let sandbox = Sandbox::detect(config)?;
    let command = sandbox::Command {
        root: sandbox::Root::Host,
        argv: vec!["/bin/true".into()],
        env: [].into(),
        cwd: "/".into(),
        binds: Vec::new(),
        network: Network::None,
        limits: Limits { wall: TRIAL, ..Limits::default() },
        decoys: Vec::new(),
        log: None,
    };
    let failed = |source| SandboxError::Host { activity: "trying the sandbox".into(), source };
    std::thread::scope(|scope| {
        let trial = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            runtime.block_on(sandbox.run(&command))
        });
        trial.join().unwrap_or_else(|_| Err(failed(std::io::Error::other("the trial panicked"))))
    })
}

/// Distributions switch namespaces of ordinary users off in two ways.
fn namespaces_remedy() -> Option<String> {
    let is = |name: &str, value: &str| fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).is_ok_and(|text| text.trim() == value);
    if is("apparmor_restrict_unprivileged_userns", "1") {
        return Some(as_root(
            "sh -c 'apt-get install --yes apparmor-profiles && \
             ln -sf /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && \
             apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict'",
        ));
    }
    is("unprivileged_userns_clone", "0").then(|| as_root("sysctl -w kernel.unprivileged_userns_clone=1"))
}

fn install(package: &str) -> Option<String> {
    find_in_path("apt-get").map(|_| as_root(&format!("apt-get install --yes {package}")))
}

fn as_root(command: &str) -> String {
    if rustix::process::geteuid().is_root() { command.to_owned() } else { format!("sudo {command}") }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
}

fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().last().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_names_its_package_and_its_purpose() {
        let finding = tool("git", Path::new("/no/such/git"), &["--version"], "git", "fetches sources");
        assert!(finding.found.is_err());
        assert!(!is_ready(std::slice::from_ref(&finding)));
        let text = render_human(std::slice::from_ref(&finding));
        assert!(text.contains("missing  git") && text.contains("fetches sources"), "{text}");
        if find_in_path("apt-get").is_some() {
            assert!(text.contains("apt-get install --yes git"), "{text}");
        }
    }

    #[test]
    fn json_has_a_schema_and_one_entry_a_need() {
        let finding = Finding { need: "git", weight: Weight::Required, found: Ok("2.39".into()), install: None, why: "w" };
        let expected = r#"{"findings":[{"found":"2.39","install":null,"need":"git","ok":true,"optional":false,"why":"w"}],"ready":true,"schema":"quorate-doctor/v1"}"#;
        assert_eq!(render_json(&[finding]), expected);
    }

    #[test]
    fn a_machine_without_an_optional_tool_is_ready_and_told_how_to_get_it() {
        let missing = tool("mmdebstrap", Path::new("/no/such/tool"), &[], "mmdebstrap", "w");
        let finding = Finding { weight: Weight::Optional, install: Some("get it".into()), ..missing };
        assert!(is_ready(std::slice::from_ref(&finding)));
        let text = render_human(&[finding]);
        assert!(text.contains("without  mmdebstrap") && text.ends_with("for the rest:\n  get it\n"), "{text}");
    }

    #[test]
    fn a_tool_that_runs_and_fails_is_not_found() {
        let finding = tool("venv", Path::new("/bin/sh"), &["-c", "echo no module >&2; exit 1"], "python3-venv", "w");
        assert_eq!(finding.found, Err("/bin/sh failed: no module".into()));
    }
}
