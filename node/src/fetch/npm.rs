//! Lays out an npm build's tools and installs its requirements through the recording proxy. No script runs while
//! the proxy can be reached.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use quorate_proto::result::Phase;

use super::Inputs;
use crate::plan::npm::{Install, InstalledBy, inside};
use crate::proxy::Proxy;
use crate::proxy::npm::{PORT, TimeMachine};
use crate::rebuild::npm::bench::{Bench, Equipment};
use crate::sandbox::{Exit, Mode, Network};
use crate::workshop::{BuildError, Failure, Workshop, violations};

/// Hides the lock file of another tool, which npm would write anew, and installs.
const INSTALL: &str = r#"
umask 022
cd "$1"; hidden="$2"; shift 2
[ -z "$hidden" ] || mv -- "$hidden" /build/tools/hidden-lock
"$@"; code=$?
[ -z "$hidden" ] || mv -- /build/tools/hidden-lock "$hidden"
exit $code
"#;

/// Installs a few packages where no manifest asks for more, and puts them into their place.
const INSTALL_CALLED: &str = r#"
umask 022
root="$1"; shift 2
mkdir /build/tools/called && cd /build/tools/called && echo '{}' > package.json || exit 1
"$@" && mv node_modules "$root/node_modules"
"#;

/// Stands in for yarn, pnpm and bun where scripts call them: their scripts are npm's.
const STAND_IN: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in -s|--silent|-*) shift;; *) break;; esac; done
case "$1" in run|run-script) shift;; exec|dlx) shift; exec npx --no-install "$@";; install|"") exit 0;; esac
name="$1"; [ $# -gt 0 ] && shift
if node -e 'process.exit((JSON.parse(require("fs").readFileSync("package.json")).scripts||{})[process.argv[1]]?0:1)' "$name"; then
  exec npm run --silent "$name" -- "$@"
fi
exec npx --no-install "$name" "$@"
"#;

/// Lays out the build's tools, and the source's commit where scripts may ask git for it.
pub fn lay_out(workshop: &Workshop, build: &Equipment, commit: Option<&str>) -> Result<(), BuildError> {
    lay_out_tools(&workshop.tools(), build)?;
    if let Some(commit) = commit {
        lay_out_head(&workshop.source(), commit)?;
    }
    Ok(workshop.hand_over()?)
}

/// Installs what the work needs.
pub async fn install(workshop: &Workshop, bench: &Bench, install: &Install, machine: TimeMachine) -> Result<Inputs, BuildError> {
    let proxy = Proxy::start(|recorder| machine.routes(recorder))?;
    let network = Network::Proxy { socket: proxy.socket().to_owned(), port: PORT };
    let argv = command(bench, install);
    let task = bench.task(&bench.build, argv, network, Mode::ReadWrite);
    let finished = workshop.run(task).await?;
    let served = proxy.served();
    if finished.exit != Exit::Code(0) {
        let failure = Failure::of(Phase::Fetch, &finished, workshop.limits());
        let passing: Vec<_> = served.failures.values().filter(|failed| failed.is_passing).map(|failed| failed.reason.as_str()).collect();
        return Err(if failure.violations.is_empty() && !passing.is_empty() {
            BuildError::Registry(passing.join("; "))
        } else {
            BuildError::Failed(failure)
        });
    }
    let unfiltered = if machine_sees_time(install) { served.unfiltered.into_iter().collect() } else { Vec::new() };
    Ok(Inputs { files: served.files, unfiltered, violations: violations(&finished), surroundings: None })
}

/// With a lock file of npm's the time decides nothing.
fn machine_sees_time(install: &Install) -> bool {
    install.by != InstalledBy::Lock
}

fn command(bench: &Bench, install: &Install) -> Vec<String> {
    let script = if install.only.is_empty() { INSTALL } else { INSTALL_CALLED };
    let mut argv: Vec<String> = ["sh", "-c", script, "sh"].map(str::to_owned).into();
    argv.extend([inside(&install.root), install.hidden().unwrap_or_default().to_owned()]);
    argv.extend(bench.build.npm_command());
    argv.extend(match install.by {
        InstalledBy::Lock if install.only.is_empty() => ["ci", "--ignore-scripts", "--legacy-peer-deps"].map(str::to_owned).to_vec(),
        _ => ["install", "--ignore-scripts", "--no-save", "--no-package-lock", "--legacy-peer-deps"].map(str::to_owned).to_vec(),
    });
    argv.extend(install.only.iter().cloned());
    argv
}

/// A repository with nothing but its head: scripts stamp the commit into what they make, and some tools look
/// whether they are in a checkout.
fn lay_out_head(source: &Path, commit: &str) -> io::Result<()> {
    let folder = source.join(".git");
    if folder.symlink_metadata().is_ok() {
        return Ok(());
    }
    fs::create_dir_all(folder.join("objects"))?;
    fs::create_dir_all(folder.join("refs/heads"))?;
    fs::write(folder.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = false\n")?;
    fs::write(folder.join("HEAD"), format!("{commit}\n"))
}

/// The programs that scripts find in their path.
fn lay_out_tools(tools: &Path, build: &Equipment) -> io::Result<()> {
    let bin = tools.join("bin");
    fs::create_dir_all(&bin)?;
    symlink(&build.node, bin.join("node"))?;
    let [node, script] = [&build.node, &build.npm].map(|path| path.display().to_string());
    program(&bin.join("npm"), &format!("#!/bin/sh\nexec {node} {script} \"$@\"\n"))?;
    program(&bin.join("npx"), &format!("#!/bin/sh\nexec {node} {} \"$@\"\n", script.replace("npm-cli.js", "npx-cli.js")))?;
    ["yarn", "pnpm", "bun"].iter().try_for_each(|name| program(&bin.join(name), STAND_IN))
}

fn program(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
