//! An index of Python packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cache::{has, installed, run, skip};
use crate::node::Builds;
use crate::origin::{ADDRESS, Content, Origin};
use crate::registry::Registry;
use crate::server::Server;

const SETUPTOOLS: &str = "setuptools==80.9.0";

/// devpi, with `twine upload`. It has the one build tool that its packages need.
pub(crate) struct Pypi {
    origin: Origin,
    dir: TempDir,
    server: Server,
    tools: PathBuf,
    setuptools: PathBuf,
}

impl Pypi {
    pub(crate) fn start() -> Option<Self> {
        if !has("git") {
            skip("git is not installed");
            return None;
        }
        let installed = installed("devpi-server-6", |folder| {
            run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
            run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "devpi-server<7", "twine", "setuptools", "wheel"]))
                .map(drop)
        })?;
        let tools = installed.join("bin");
        let setuptools = setuptools(&tools.join("pip"))?;
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        run(Command::new(tools.join("devpi-init")).arg("--serverdir").arg(&state).args(["--no-root-pypi", "--root-passwd", "none"]))
            .unwrap();
        let server = Server::start(|port| {
            let mut command = Command::new(tools.join("devpi-server"));
            command.arg("--serverdir").arg(&state).args(["--port", &port.to_string(), "--offline-mode"]);
            command
        });
        let index = Self { origin: Origin::new(dir.path()), dir, server, tools, setuptools };
        index.make_index();
        index.upload(&index.setuptools.join("wheel"));
        Some(index)
    }

    /// An index of its own, by devpi's HTTP interface.
    fn make_index(&self) {
        let script = "import base64, json, sys, urllib.request\n\
            url, body = sys.argv[1], json.dumps({'type': 'stage', 'bases': [], 'volatile': True}).encode()\n\
            request = urllib.request.Request(url, body, {'content-type': 'application/json'}, method='PUT')\n\
            request.add_header('authorization', 'Basic ' + base64.b64encode(b'root:none').decode())\n\
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)\n";
        run(Command::new(self.tools.join("python")).args(["-c", script, &self.server.url("root/dev")])).unwrap();
    }

    /// Uploads all files of a folder. Gives back their names.
    fn upload(&self, folder: &Path) -> Vec<String> {
        let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut twine = Command::new(self.tools.join("twine"));
        twine.args(["upload", "--non-interactive", "-u", "root", "-p", "none", "--repository-url", &self.server.url("root/dev/")]);
        run(twine.args(&files).env("HOME", self.dir.path())).unwrap();
        files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

/// The wheel of setuptools, and its content where an interpreter can find it.
fn setuptools(pip: &Path) -> Option<PathBuf> {
    installed(SETUPTOOLS, |folder| {
        let (wheel, lib) = (folder.join("wheel"), folder.join("lib"));
        let pip = |args: &[&str], into: &Path| run(Command::new(pip).args(args).arg(into).args(["--quiet", "--no-deps", SETUPTOOLS]));
        pip(&["download", "--only-binary=:all:", "--dest"], &wheel)?;
        pip(&["install", "--no-index", "--find-links", &wheel.to_string_lossy(), "--target"], &lib).map(drop)
    })
}

impl Registry for Pypi {
    const ONE_FILE_MORE: &str = "demo/extra.py";

    fn watch(&self, builds: Builds) -> String {
        let index = self.server.url("root/dev/+simple/");
        let source = if builds == Builds::Run { self.origin.source() } else { String::new() };
        format!("[registry.pypi]\nindex_url = \"{index}\"\n[watch]\nevery_seconds = 1\npackages = [\"pkg:pypi/Watched.Demo\"]\n{source}")
    }

    fn release(&self, version: &str, content: Content) -> Vec<String> {
        let project = format!(
            "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\
             [project]\nname = \"watched-demo\"\nversion = \"{version}\"\n[project.urls]\nSource = \"{ADDRESS}\"\n\
             [tool.setuptools]\npackages = [\"demo\"]\n"
        );
        let clone = self.origin.tag(version, &[("pyproject.toml", project), ("demo/__init__.py", "ONE = 1\n".to_owned())]);
        if content == Content::OneFileMore {
            fs::write(clone.join("demo/extra.py"), "import subprocess\n").unwrap();
        }
        let build = "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')";
        let mut python = Command::new(self.tools.join("python"));
        run(python.args(["-c", build]).current_dir(&clone).env("PYTHONPATH", self.setuptools.join("lib"))).unwrap();
        let files = self.upload(&clone.join("dist"));
        files.iter().map(|file| format!("pkg:pypi/watched-demo@{version} {file}")).collect()
    }
}
