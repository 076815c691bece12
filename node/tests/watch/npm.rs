//! A registry of npm packages.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::cache::{has, installed, run, skip};
use crate::node::Builds;
use crate::origin::{Content, Origin};
use crate::registry::Registry;
use crate::server::Server;

/// verdaccio, with `npm publish`.
pub(crate) struct Npm {
    origin: Origin,
    server: Server,
    _dir: TempDir,
}

impl Npm {
    pub(crate) fn start() -> Option<Self> {
        if let Some(tool) = ["npm", "node", "git"].into_iter().find(|tool| !has(tool)) {
            skip(&format!("{tool} is not installed"));
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
        Some(Self { origin: Origin::new(dir.path()), server, _dir: dir })
    }
}

impl Registry for Npm {
    const ONE_FILE_MORE: &str = "package/extra.js";

    fn watch(&self, builds: Builds) -> String {
        let registry = self.server.url("");
        // The registry has no versions of node and npm.
        let build = match builds {
            Builds::Run => format!("[build]\ntoolchains = \"machine\"\n{}", self.origin.source()),
            Builds::Wait => String::new(),
        };
        format!("[registry.npm]\nindex_url = \"{registry}\"\n[watch]\nevery_seconds = 1\npackages = [\"pkg:npm/watched-demo\"]\n{build}")
    }

    fn release(&self, version: &str, content: Content) -> Vec<String> {
        let manifest = format!(
            "{{\"name\":\"watched-demo\",\"version\":\"{version}\",\"license\":\"MIT\",\"repository\":\"github:example/watched-demo\"}}"
        );
        let clone = self.origin.tag(version, &[("package.json", manifest), ("index.js", "module.exports = 1;\n".to_owned())]);
        if content == Content::OneFileMore {
            fs::write(clone.join("extra.js"), "require('child_process');\n").unwrap();
        }
        let token = format!("{}:_authToken=\"none\"\n", self.server.url("").trim_start_matches("http:"));
        fs::write(clone.join(".npmrc"), token).unwrap();
        run(Command::new("npm").args(["publish", "--registry", &self.server.url("")]).current_dir(&clone)).unwrap();
        vec![format!("pkg:npm/watched-demo@{version} watched-demo-{version}.tgz")]
    }
}
