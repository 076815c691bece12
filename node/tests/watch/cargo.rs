//! A registry of crates.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::cache::{has, installed, run, skip};
use crate::node::Builds;
use crate::origin::{ADDRESS, Content, Origin};
use crate::registry::Registry;
use crate::server::Server;

/// cargo-http-registry, with `cargo publish`. Its index is a git repository whose files it serves as well: a
/// sparse index.
pub(crate) struct Cargo {
    origin: Origin,
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
        let registry = Self { origin: Origin::new(dir.path()), dir, server };
        // Until there is a first release its server answers nothing for the package.
        registry.publish("0.1.0");
        Some(registry)
    }
}

impl Registry for Cargo {
    const ONE_FILE_MORE: &str = "src/extra.rs";

    fn watch(&self, builds: Builds) -> String {
        let index = self.server.url("crates/");
        let source = if builds == Builds::Run { self.origin.source() } else { String::new() };
        format!(
            "[registry.cargo]\nindex_url = \"sparse+{index}\"\n[watch]\nevery_seconds = 1\nbacklog = \"none\"\n\
             packages = [\"pkg:cargo/watched-demo\"]\n{source}"
        )
    }

    fn release(&self, version: &str, content: Content) -> Vec<String> {
        let manifest = format!(
            "[package]\nname = \"watched-demo\"\nversion = \"{version}\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"d\"\n\
             repository = \"{ADDRESS}\"\n[workspace]\n"
        );
        let library = "pub fn one() -> u8 { 1 }\n".to_owned();
        let clone =
            self.origin.tag(version, &[("Cargo.toml", manifest), ("src/lib.rs", library), (".gitignore", "Cargo.lock\n".to_owned())]);
        let mut command = Command::new("cargo");
        command.args(["publish", "--no-verify", "--registry", "local"]).current_dir(&clone);
        if content == Content::OneFileMore {
            fs::write(clone.join("src/extra.rs"), "pub use std::process::Command;\n").unwrap();
            command.arg("--allow-dirty");
        }
        command.env("CARGO_HOME", self.dir.path().join("home")).env("CARGO_TARGET_DIR", self.dir.path().join("target"));
        run(&mut command).unwrap();
        vec![format!("pkg:cargo/watched-demo@{version} watched-demo-{version}.crate")]
    }
}
