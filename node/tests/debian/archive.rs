//! A small Debian archive on loopback, signed with a key that was made for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lzma_rust2::{XzOptions, XzWriter};
use quorate_node::release::deb::machine;
use quorate_proto::Digest;

use super::counted::Counted;

/// The one package of the archive.
pub(crate) const PACKAGE: &str = "pkg:deb/debian/demo@1.0?distro=demo";

/// Files by their paths; `None` answers 500.
pub(crate) type Files = BTreeMap<String, Option<Vec<u8>>>;

/// A key that signs, and the keyring that trusts it.
pub(crate) struct Key {
    home: tempfile::TempDir,
}

impl Key {
    /// Nothing where there is no gpg.
    pub(crate) fn make() -> Option<Self> {
        let key = Self { home: tempfile::Builder::new().prefix("gpg").tempdir().unwrap() };
        let made = key.gpg(&["--passphrase", "", "--quick-gen-key", "demo <demo@example>", "ed25519", "sign", "never"], b"");
        if made.is_none() {
            eprintln!("SKIPPED: gpg is missing (apt-get install gpg)");
        }
        let public = made.and_then(|_| key.gpg(&["--export"], b""))?;
        std::fs::write(key.keyring(), public).unwrap();
        Some(key)
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.home.path().join("keyring.gpg")
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        self.gpg(&["--clearsign"], text.as_bytes()).unwrap()
    }

    fn gpg(&self, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path()).args(["--batch", "--yes", "--pinentry-mode", "loopback"]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        output.status.success().then_some(output.stdout)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]).status();
    }
}

/// What an archive is made of; change it, then [`Parts::files`].
pub(crate) struct Parts {
    pub(crate) packages: String,
    pub(crate) sources: String,
    pub(crate) dsc: String,
}

/// The published file.
pub(crate) const DEB: &[u8] = b"the published bytes";

impl Parts {
    pub(crate) fn honest() -> Self {
        let tar = Digest::of(b"tar").to_hex();
        let dsc =
            format!("Format: 3.0 (native)\nSource: demo\nVersion: 1.0\nArchitecture: all\nChecksums-Sha256:\n {tar} 3 demo_1.0.tar.xz\n");
        let deb = Digest::of(DEB).to_hex();
        let packages = format!(
            "Package: demo\nVersion: 1.0\nArchitecture: all\nFilename: pool/demo_1.0_all.deb\nSize: {}\nSHA256: {deb}\n\n",
            DEB.len()
        );
        let sources = sources(&dsc);
        Self { packages, sources, dsc }
    }

    /// The files, signed by `key`.
    pub(crate) fn files(&self, key: &Key) -> Files {
        let indexes =
            [(format!("main/binary-{}/Packages.xz", machine()), &self.packages), ("main/source/Sources.xz".to_owned(), &self.sources)];
        let mut release = "Suite: demo\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n".to_owned();
        let mut files = Files::new();
        for (name, text) in indexes {
            let bytes = xz(text);
            writeln!(release, " {} {} {name}", Digest::of(&bytes).to_hex(), bytes.len()).unwrap();
            files.insert(format!("dists/demo/{name}"), Some(bytes));
        }
        files.insert("dists/demo/InRelease".to_owned(), Some(key.sign(&release)));
        files.insert("pool/demo_1.0_all.deb".to_owned(), Some(DEB.to_vec()));
        files.insert("pool/demo_1.0.dsc".to_owned(), Some(self.dsc.clone().into_bytes()));
        files.insert("pool/demo_1.0.tar.xz".to_owned(), Some(b"tar".to_vec()));
        files
    }
}

/// A `Sources` index that names this `.dsc`.
pub(crate) fn sources(dsc: &str) -> String {
    let (own, tar) = (Digest::of(dsc.as_bytes()).to_hex(), Digest::of(b"tar").to_hex());
    let size = dsc.len();
    format!("Package: demo\nVersion: 1.0\nDirectory: pool\nChecksums-Sha256:\n {own} {size} demo_1.0.dsc\n {tar} 3 demo_1.0.tar.xz\n\n")
}

fn xz(text: &str) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

/// Serves the files; gives the base address.
pub(crate) async fn serve(files: Files) -> String {
    serve_counted(files, &Counted::default()).await
}

/// The same, and writes down what it is asked for.
pub(crate) async fn serve_counted(files: Files, counted: &Counted) -> String {
    let router = Router::new().route("/{*path}", get(answer)).with_state(Arc::new(files));
    let router = counted.layer(router);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/")
}

async fn answer(State(files): State<Arc<Files>>, UrlPath(path): UrlPath<String>) -> Response {
    match files.get(&path) {
        Some(Some(bytes)) => bytes.clone().into_response(),
        Some(None) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A native source package made by the ordinary tool: its `.dsc` and its archive. Nothing where there is no
/// dpkg-dev.
pub(crate) fn native(folder: &Path, control: &str) -> Option<[PathBuf; 2]> {
    let tree = folder.join("demo-1.0");
    std::fs::create_dir_all(tree.join("debian/source")).unwrap();
    let changelog = "demo (1.0) bookworm; urgency=low\n\n  * First.\n\n -- A B <a@b.example>  Sat, 11 Jul 2026 10:16:37 +0000\n";
    let rules = "#!/usr/bin/make -f\n%:\n\ttrue\n";
    for (name, text) in [("control", control), ("changelog", changelog), ("rules", rules), ("source/format", "3.0 (native)\n")] {
        std::fs::write(tree.join("debian").join(name), text).unwrap();
    }
    let made = Command::new("dpkg-source").args(["--build", "demo-1.0"]).current_dir(folder).stdout(Stdio::null()).status();
    made.is_ok_and(|made| made.success()).then(|| ["demo_1.0.dsc", "demo_1.0.tar.xz"].map(|name| folder.join(name)))
}
