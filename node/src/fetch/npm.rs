//! Lays out an npm build's tools and installs its requirements through the recording proxy. No script runs while
//! the proxy can be reached.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use quorate_proto::result::Phase;

use super::Inputs;
use crate::plan::npm::{Install, InstalledBy, Work, inside};
use crate::proxy::Proxy;
use crate::proxy::npm::{PORT, TimeMachine};
use crate::rebuild::npm::bench::{Bench, Equipment};
use crate::sandbox::{Exit, Mode, Network};
use crate::source::tree;
use crate::workshop::{BuildError, Failure, Workshop, violations};

/// The folder of copies that [`Work::kept`] names, below the tools.
pub const KEPT: &str = "kept";

/// Hides the lock file of another tool, which npm would write anew, and installs.
const INSTALL: &str = r#"
umask 022
cd "$1"; hidden="$2"; versions="$3"; shift 3
[ -z "$hidden" ] || mv -- "$hidden" /build/tools/hidden-lock
node /build/tools/manifests.js change "$versions"
"$@"; code=$?
node /build/tools/manifests.js restore
[ -z "$hidden" ] || mv -- /build/tools/hidden-lock "$hidden"
exit $code
"#;

/// Manifests as npm can install from them, for that time alone: without what comes from addresses, and with the words
/// of pnpm and yarn for packages of the same workspace in npm's.
const MANIFESTS: &str = include_str!("npm/manifests.js");

/// Installs a few packages where no manifest asks for more, and puts them into their place.
const INSTALL_CALLED: &str = r#"
umask 022
root="$1"; shift 3
mkdir /build/tools/called && cd /build/tools/called && echo '{}' > package.json || exit 1
"$@" && mv node_modules "$root/node_modules"
"#;

/// Stands in for yarn, pnpm and bun where scripts call them: their scripts are npm's.
const STAND_IN: &str = r#"#!/bin/sh
QUORATE_CALLS=$((${QUORATE_CALLS:-0} + 1)); export QUORATE_CALLS
[ "$QUORATE_CALLS" -lt 20 ] || { echo "a script calls itself: $*" >&2; exit 1; }
where=
while [ $# -gt 0 ]; do case "$1" in
  -r|--recursive) where=--workspaces; shift;;
  -F|--filter) where=--workspace=$2; shift 2;;
  -C|--dir|--cwd) cd "$2" || exit 1; shift 2;;
  --filter=*) where=--workspace=${1#--filter=}; shift;;
  -*) shift;;
  workspaces) where=--workspaces; shift; case "$1" in foreach) shift;; esac;;
  workspace) where=--workspace=$2; shift 2;;
  run|run-script) shift;;
  *) break;;
esac; done
case "$1" in exec|dlx) shift; exec npx --no-install "$@";; install|"") exit 0;; esac
if [ -n "$where" ]; then
  case "$where" in *[{}*!^.]*) where=--workspaces;; esac
  name="$1"; shift
  exec npm run --silent "$where" --if-present "$name" -- "$@"
fi
name="$1"; [ $# -gt 0 ] && shift
if node -e 'process.exit((JSON.parse(require("fs").readFileSync("package.json")).scripts||{})[process.argv[1]]?0:1)' "$name"; then
  exec npm run --silent "$name" -- "$@"
fi
exec npx --no-install "$name" "$@"
"#;

/// Lays out the build's tools, the files that scripts are not to change, and the source's commit where scripts may ask
/// git for it.
pub fn lay_out(workshop: &Workshop, build: &Equipment, work: &Work, commit: Option<&str>) -> Result<(), BuildError> {
    lay_out_tools(&workshop.tools(), build)?;
    lay_out_kept(&workshop.source(), &workshop.tools().join(KEPT), work)?;
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
    let versions = if install.is_lowest { "lowest" } else { "" };
    argv.extend([inside(&install.root), install.hidden().unwrap_or_default().to_owned(), versions.to_owned()]);
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

/// Copies of the files that are packed as they stand in the source.
fn lay_out_kept(source: &Path, kept: &Path, work: &Work) -> io::Result<()> {
    for name in &work.kept {
        let Some(mut file) = tree::open(source, &work.folder.join(name))? else { continue };
        let copy = kept.join(name);
        fs::create_dir_all(copy.parent().unwrap_or(kept))?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        io::copy(&mut file, &mut fs::File::create(&copy)?)?;
        fs::set_permissions(&copy, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The programs that scripts find in their path.
fn lay_out_tools(tools: &Path, build: &Equipment) -> io::Result<()> {
    let bin = tools.join("bin");
    fs::create_dir_all(&bin)?;
    symlink(&build.node, bin.join("node"))?;
    let [node, script] = [&build.node, &build.npm].map(|path| path.display().to_string());
    fs::write(tools.join("manifests.js"), MANIFESTS)?;
    program(&bin.join("npm"), &format!("#!/bin/sh\nexec {node} {script} \"$@\"\n"))?;
    program(&bin.join("npx"), &format!("#!/bin/sh\nexec {node} {} \"$@\"\n", script.replace("npm-cli.js", "npx-cli.js")))?;
    ["yarn", "pnpm", "bun"].iter().try_for_each(|name| program(&bin.join(name), STAND_IN))
}

fn program(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}
