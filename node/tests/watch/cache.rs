//! Registry servers and their tools, brought from the package registries at first use and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;

/// Where servers are kept: in the user's cache, for all runs.
fn root() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let root = cache.join("quorate-tests");
    fs::create_dir_all(&root).ok()?;
    Some(root)
}

/// The folder of an installed server, installing it if it is not there. `None`, saying why, when the registry
/// lacks it or a tool is missing.
pub(crate) fn installed(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let root = root()?;
    let lock = File::create(root.join(format!("{name}.lock"))).ok()?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).ok()?;
    let folder = root.join(name);
    if folder.join("installed").exists() {
        return Some(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).ok()?;
    eprintln!("installing {name} into {}", folder.display());
    match install(&folder) {
        Ok(()) => {
            fs::write(folder.join("installed"), b"").ok()?;
            Some(folder)
        }
        Err(reason) => {
            skip(&format!("{name} cannot be installed: {reason}"));
            None
        }
    }
}

/// Says that a test is not run, and why.
pub(crate) fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// Runs a command to its end, for at most half an hour: building a server takes two minutes of an idle
/// machine. Its last words when it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let mut limited = Command::new("timeout");
    limited.arg("1800").arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(key, value),
            None => limited.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    let output = limited.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let words = text(&output.stderr) + &text(&output.stdout);
    let from = words.floor_char_boundary(words.len().saturating_sub(600));
    Err(format!("{command:?}: {}", &words[from..]))
}

/// Whether a tool is in `PATH`.
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
