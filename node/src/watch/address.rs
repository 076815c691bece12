//! Where registries are when the configuration names none: the machine's own package clients are asked.
//!
//! pip, npm, cargo and apt each know. No registry's address stands in this program.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use url::Url;

use crate::registry::address::{self, AddressError};

/// Longest time that a client is waited for.
const CLIENT_MAX: Duration = Duration::from_secs(30);
/// A port that nothing listens on: what goes through it comes to nothing.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The registry that npm uses.
pub async fn npm(configured: Option<&str>) -> Result<Url, AddressError> {
    crate::registry::npm::address::default_registry(configured).await.map(with_slash)
}

/// The sparse index that cargo uses, also where its configuration replaces the usual one.
///
/// cargo has no command that tells. It names the address in its error when it cannot reach it, so it is kept
/// from reaching anything.
pub async fn cargo(configured: Option<&str>) -> Result<Url, AddressError> {
    if let Some(text) = configured {
        return address::parse(text.trim().trim_start_matches("sparse+"), "the configuration").map(with_slash);
    }
    let mut command = Command::new("cargo");
    command.args(["info", "--registry", "crates-io", "none"]).current_dir("/").env("CARGO_HTTP_PROXY", NOWHERE).env("CARGO_NET_RETRY", "0");
    match complaint(&mut command).await.as_deref().and_then(index_in_error) {
        Some(text) => address::parse(&text, "cargo").map(with_slash),
        None => Err(AddressError::Unknown { client: "cargo info".to_owned() }),
    }
}

/// The changelog beside a simple index: `…/simple/` → `…/pypi`.
pub fn changelog_beside(index: &Url) -> Result<Url, AddressError> {
    index.join("../pypi").map_err(|_| AddressError::Malformed { text: index.to_string(), origin: "the index" })
}

/// The same address, ending in a slash: what is joined to it comes below it.
pub fn with_slash(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}

/// The index that pip uses.
pub async fn pypi(configured: Option<&str>, python: &Path) -> Result<Url, AddressError> {
    crate::registry::pypi::address::default_index(configured, python).await.map(with_slash)
}

/// What a client complains of.
async fn complaint(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(CLIENT_MAX, output).await.ok()?.ok()?;
    String::from_utf8(output.stderr).ok()
}

/// The address in ``failed to download from `https://…/config.json` ``.
fn index_in_error(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("from `")?;
    let (url, _) = rest.split_once('`')?;
    url.strip_suffix("config.json").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn cargo_names_its_index_when_it_cannot_reach_it() {
        let text = "    Updating registry index\nerror: download of config.json failed\n\nCaused by:\n  failed to download from `https://index.registry.example/config.json`\n\nCaused by:\n  [7] Could not connect to server\n";
        assert_eq!(index_in_error(text).as_deref(), Some("https://index.registry.example/"));
        assert_eq!(index_in_error("error: failed to fetch `https://registry.example/index.git`"), None);
    }

    #[test]
    fn the_changelog_lies_beside_the_index() {
        let index = "https://registry.example/simple/".parse().unwrap();
        assert_eq!(changelog_beside(&index).unwrap().as_str(), "https://registry.example/pypi");
    }

    #[tokio::test]
    async fn configured_addresses_are_bases() {
        let url = cargo(Some("sparse+http://registry.example/index")).await.unwrap();
        assert_eq!(url.as_str(), "http://registry.example/index/");
        assert!(npm(Some("file:///etc")).await.is_err());
    }
}
