//! The four registries, each a real server with its ordinary client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cache::{has, installed, run, skip};
use crate::server::Server;

/// A registry that something can be published to.
pub(crate) trait Registry {
    /// The lines of a node's configuration that watch the package `watched-demo` of it.
    fn watch(&self) -> String;
    /// Publishes a version of `watched-demo` with the ordinary client. Gives back its files, as jobs name them.
    fn publish(&self, version: &str) -> Vec<String>;
}

/// verdaccio, with `npm publish`.
pub(crate) struct Npm {
    dir: TempDir,
    server: Server,
}

impl Npm {
    pub(crate) fn start() -> Option<Self> {
        if !has("npm") || !has("node") {
            skip("npm is not installed");
            return None;
        }
        let installed = installed("verdaccio-5.33.0", |folder| {
            // The registry may lack the tag that one of its dependencies asks for.
            let manifest = r#"{"name":"servers","private":true,"dependencies":{"verdaccio":"5.33.0"},"overrides":{"node-fetch":"^2.7.0"}}"#;
            fs::write(folder.join("package.json"), manifest).map_err(|error| error.to_string())?;
            run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder)).map(drop)
        })?;
        let dir = tempfile::tempdir().unwrap();
        let config = "storage: ./storage\nuplinks: {}\nauth:\n  htpasswd:\n    file: ./htpasswd\npackages:\n  '**':\n    access: $all\n    publish: $anonymous\nlog: {type: stdout, level: fatal}\n";
        fs::write(dir.path().join("config.yaml"), config).unwrap();
        let server = Server::start(|port| {
            let mut command = Command::new(installed.join("node_modules/.bin/verdaccio"));
            command.args(["--config", "config.yaml", "--listen", &format!("127.0.0.1:{port}")]).current_dir(dir.path());
            command
        });
        Some(Self { dir, server })
    }
}

impl Registry for Npm {
    fn watch(&self) -> String {
        format!(
            "[registry.npm]\nindex_url = \"{}\"\n[watch]\nevery_seconds = 1\npackages = [\"pkg:npm/watched-demo\"]\n",
            self.server.url("")
        )
    }

    fn publish(&self, version: &str) -> Vec<String> {
        let folder = self.dir.path().join(format!("package-{version}"));
        fs::create_dir_all(&folder).unwrap();
        let manifest = format!("{{\"name\":\"watched-demo\",\"version\":\"{version}\",\"license\":\"MIT\"}}");
        fs::write(folder.join("package.json"), manifest).unwrap();
        let token = format!("{}:_authToken=\"none\"\n", self.server.url("").trim_start_matches("http:"));
        fs::write(folder.join(".npmrc"), token).unwrap();
        run(Command::new("npm").args(["publish", "--registry", &self.server.url("")]).current_dir(&folder)).unwrap();
        vec![format!("pkg:npm/watched-demo@{version} watched-demo-{version}.tgz")]
    }
}

/// devpi, with `twine upload`.
pub(crate) struct Pypi {
    dir: TempDir,
    server: Server,
    tools: PathBuf,
}

impl Pypi {
    pub(crate) fn start() -> Option<Self> {
        let installed = installed("devpi-server-6", |folder| {
            run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
            run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "devpi-server<7", "twine", "setuptools", "wheel"]))
                .map(drop)
        })?;
        let tools = installed.join("bin");
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        run(Command::new(tools.join("devpi-init")).arg("--serverdir").arg(&state).args(["--no-root-pypi", "--root-passwd", "none"]))
            .unwrap();
        let server = Server::start(|port| {
            let mut command = Command::new(tools.join("devpi-server"));
            command.arg("--serverdir").arg(&state).args(["--port", &port.to_string(), "--offline-mode"]);
            command
        });
        let index = Self { dir, server, tools };
        index.make_index();
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
}

impl Registry for Pypi {
    fn watch(&self) -> String {
        let index = self.server.url("root/dev/+simple/");
        format!("[registry.pypi]\nindex_url = \"{index}\"\n[watch]\nevery_seconds = 1\npackages = [\"pkg:pypi/Watched.Demo\"]\n")
    }

    fn publish(&self, version: &str) -> Vec<String> {
        let folder = self.dir.path().join(format!("project-{version}"));
        fs::create_dir_all(folder.join("demo")).unwrap();
        fs::write(folder.join("demo/__init__.py"), "").unwrap();
        let setup = format!("from setuptools import setup\nsetup(name=\"watched-demo\", version=\"{version}\", packages=[\"demo\"])\n");
        fs::write(folder.join("setup.py"), setup).unwrap();
        run(Command::new(self.tools.join("python")).args(["setup.py", "-q", "sdist", "bdist_wheel"]).current_dir(&folder)).unwrap();
        let files: Vec<_> = fs::read_dir(folder.join("dist")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut twine = Command::new(self.tools.join("twine"));
        twine.args(["upload", "--non-interactive", "-u", "root", "-p", "none", "--repository-url", &self.server.url("root/dev/")]);
        run(twine.args(&files).env("HOME", self.dir.path())).unwrap();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        files.iter().map(|file| format!("pkg:pypi/watched-demo@{version} {}", name(file))).collect()
    }
}

/// cargo-http-registry, with `cargo publish`. Its index is a git repository whose files it serves as well: a
/// sparse index.
pub(crate) struct Cargo {
    dir: TempDir,
    server: Server,
}

impl Cargo {
    pub(crate) fn start() -> Option<Self> {
        if !has("cargo") || !has("git") {
            skip("cargo or git is not installed");
            return None;
        }
        let installed = installed("cargo-http-registry-0.1.8", |folder| {
            let mut command = Command::new("cargo");
            command.args(["install", "--quiet", "--debug", "--root"]).arg(folder).arg("cargo-http-registry@0.1.8");
            run(command.env_remove("CARGO_TARGET_DIR").env("CARGO_PROFILE_DEV_DEBUG", "0").current_dir(folder)).map(drop)
        })?;
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|port| {
            let mut command = Command::new(installed.join("bin/cargo-http-registry"));
            command.arg(dir.path().join("registry")).args(["-a", &format!("127.0.0.1:{port}")]);
            command.env("GIT_AUTHOR_NAME", "t").env("GIT_AUTHOR_EMAIL", "t@registry.example");
            command
        });
        fs::create_dir_all(dir.path().join("home")).unwrap();
        let config = format!("[registries.local]\nindex = \"{}\"\ntoken = \"none\"\n[net]\ngit-fetch-with-cli = true\n", server.url("git"));
        fs::write(dir.path().join("home/config.toml"), config).unwrap();
        let registry = Self { dir, server };
        // Until there is a first release its server answers nothing for the package.
        registry.publish("0.1.0");
        Some(registry)
    }
}

impl Registry for Cargo {
    fn watch(&self) -> String {
        let index = self.server.url("crates/");
        format!(
            "[registry.cargo]\nindex_url = \"sparse+{index}\"\n[watch]\nevery_seconds = 1\nbacklog = \"none\"\npackages = [\"pkg:cargo/watched-demo\"]\n"
        )
    }

    fn publish(&self, version: &str) -> Vec<String> {
        let folder = self.dir.path().join(format!("crate-{version}"));
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        let manifest = format!(
            "[package]\nname = \"watched-demo\"\nversion = \"{version}\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"d\"\n[workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        let mut command = Command::new("cargo");
        command.args(["publish", "--no-verify", "--allow-dirty", "--registry", "local"]).current_dir(&folder);
        command.env("CARGO_HOME", self.dir.path().join("home")).env("CARGO_TARGET_DIR", self.dir.path().join("target"));
        run(&mut command).unwrap();
        vec![format!("pkg:cargo/watched-demo@{version} watched-demo-{version}.crate")]
    }
}

/// A repository made with dpkg-deb, apt-ftparchive and gpg, served as files.
pub(crate) struct Debian {
    dir: TempDir,
    server: Server,
}

impl Debian {
    pub(crate) fn start() -> Option<Self> {
        if let Some(tool) = ["dpkg-deb", "apt-ftparchive", "gpg", "gpgv", "python3"].into_iter().find(|tool| !has(tool)) {
            skip(&format!("{tool} is not installed (packages dpkg, apt-utils, gnupg, gpgv)"));
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for folder in ["keys", "archive/pool/main", "archive/dists/test/main/binary-amd64"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        run(Command::new("chmod").arg("700").arg(dir.path().join("keys"))).unwrap();
        for name in ["archive@registry.example", "stranger@registry.example"] {
            run(gpg(dir.path()).args(["--quick-gen-key", "--passphrase", "", name, "ed25519", "sign"])).unwrap();
        }
        run(gpg(dir.path()).arg("--output").arg(dir.path().join("archive.gpg")).args(["--export", "archive@registry.example"])).unwrap();
        let server = Server::start(|port| {
            let mut command = Command::new("python3");
            command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"]).arg(dir.path().join("archive"));
            command
        });
        let archive = Self { dir, server };
        archive.publish("0.1");
        Some(archive)
    }

    /// Builds a package into the pool.
    fn build(&self, version: &str) {
        let folder = self.dir.path().join(format!("build-{version}"));
        fs::create_dir_all(folder.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: watched-demo\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@registry.example>\nDescription: demo\n"
        );
        fs::write(folder.join("DEBIAN/control"), control).unwrap();
        let file = self.dir.path().join(format!("archive/pool/main/watched-demo_{version}_all.deb"));
        run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&folder).arg(file)).unwrap();
    }

    /// Makes the indexes anew, and signs them with a key.
    pub(crate) fn sign(&self, key: &str) {
        let archive = self.dir.path().join("archive");
        let packages = run(Command::new("apt-ftparchive").args(["packages", "pool"]).current_dir(&archive)).unwrap();
        fs::write(archive.join("dists/test/main/binary-amd64/Packages"), &packages).unwrap();
        run(Command::new("xz").args(["--keep", "--force"]).arg(archive.join("dists/test/main/binary-amd64/Packages"))).unwrap();
        let release = run(Command::new("apt-ftparchive")
            .args(["-o", "APT::FTPArchive::Release::Suite=test", "release", "dists/test"])
            .current_dir(&archive))
        .unwrap();
        fs::write(self.dir.path().join("Release"), release).unwrap();
        let signed = self.dir.path().join("InRelease");
        let _ = fs::remove_file(&signed);
        run(gpg(self.dir.path())
            .args(["--local-user", key, "--output"])
            .arg(&signed)
            .arg("--clearsign")
            .arg(self.dir.path().join("Release")))
        .unwrap();
        fs::rename(signed, archive.join("dists/test/InRelease")).unwrap();
    }

    /// Signs what is there with a key that nobody trusts.
    pub(crate) fn forge(&self, version: &str) {
        self.build(version);
        self.sign("stranger@registry.example");
    }
}

fn gpg(dir: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(dir.join("keys")).args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
    command
}

impl Registry for Debian {
    fn watch(&self) -> String {
        let keyring = self.dir.path().join("archive.gpg");
        format!(
            "[registry.deb]\nindex_url = \"{}\"\n[watch]\nevery_seconds = 1\nbacklog = \"none\"\npackages = [\"pkg:deb/debian/watched-demo\"]\n\
             [watch.deb]\nsuites = [\"test\"]\narchitectures = [\"amd64\"]\nkeyring = \"{}\"\n",
            self.server.url(""),
            keyring.display()
        )
    }

    fn publish(&self, version: &str) -> Vec<String> {
        self.build(version);
        self.sign("archive@registry.example");
        vec![format!("pkg:deb/debian/watched-demo@{version}?arch=all watched-demo_{version}_all.deb")]
    }
}
