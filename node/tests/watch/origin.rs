//! A publisher's git repository: the bare one that a node has as its mirror, and a clone for each release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::run;

/// The address that packages name as their source.
pub(crate) const ADDRESS: &str = "https://github.com/example/watched-demo";

/// What a release ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// What its source holds.
    AsTagged,
    /// One file more, of which its source knows nothing.
    OneFileMore,
}

/// A repository below a folder.
pub(crate) struct Origin {
    folder: PathBuf,
}

impl Origin {
    /// A new and empty one.
    pub(crate) fn new(dir: &Path) -> Self {
        let folder = dir.join("git");
        fs::create_dir_all(&folder).unwrap();
        git(&folder, &["init", "--quiet", "--bare", "--initial-branch=main", "example+watched-demo.git"]);
        Self { folder }
    }

    /// The lines of a node's configuration that lead to it, and nowhere else.
    pub(crate) fn source(&self) -> String {
        format!("[source]\ngit_mirrors = [\"https://github.com/={}/{{owner}}+{{name}}.git\"]\ndebian = \"off\"\n", self.folder.display())
    }

    /// Commits these files as a version, tags it, and pushes both. Gives back the publisher's clone.
    pub(crate) fn tag(&self, version: &str, files: &[(&str, String)]) -> PathBuf {
        let clone = self.folder.join(version);
        git(&self.folder, &["clone", "--quiet", "example+watched-demo.git", version]);
        for (name, text) in files {
            fs::create_dir_all(clone.join(name).parent().unwrap()).unwrap();
            fs::write(clone.join(name), text).unwrap();
        }
        let tag = format!("v{version}");
        git(&clone, &["add", "--all"]);
        git(&clone, &["commit", "--quiet", "--message", &tag]);
        git(&clone, &["tag", &tag]);
        git(&clone, &["push", "--quiet", "origin", "HEAD:refs/heads/main", &tag]);
        clone
    }
}

fn git(folder: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=T", "-c", "user.email=t@registry.example"]).args(args).current_dir(folder);
    run(command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1")).unwrap();
}
