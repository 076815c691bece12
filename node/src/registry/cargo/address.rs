//! Which index is asked when nothing names one: cargo's own answer on this machine.
//!
//! Order: the configuration, a replacement of the usual source in cargo's configuration, then the default
//! that is built into cargo. There is no command that prints the latter; a cargo that is given no way out
//! complains about the very address that it cannot reach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use url::Url;

use crate::registry::address::{AddressError, parse};

/// Most replacements of replacements that are followed.
const REPLACEMENTS_MAX: usize = 5;
const CARGO_MAX: Duration = Duration::from_secs(30);
/// Nobody listens on the discard port of this machine.
const NO_WAY_OUT: &str = "http://127.0.0.1:9";

#[derive(Default, Deserialize)]
#[serde(default)]
struct CargoConfig {
    source: BTreeMap<String, CargoSource>,
    registries: BTreeMap<String, CargoRegistry>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct CargoSource {
    registry: Option<String>,
    replace_with: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CargoRegistry {
    index: Option<String>,
}

/// The index of artifacts whose package URL names no other.
pub async fn default_index(configured: Option<&str>) -> Result<Url, AddressError> {
    if let Some(text) = configured {
        return sparse(text, "the configuration");
    }
    if let Some(text) = cargo_home().and_then(|home| replaced(&config_text(&home)?)) {
        return sparse(&text, "cargo's configuration");
    }
    match built_in().await {
        Some(text) => sparse(&text, "cargo"),
        None => Err(AddressError::Unknown { client: "cargo".to_owned() }),
    }
}

/// Reads an address with or without the `sparse+` that cargo's configuration has.
pub fn sparse(text: &str, origin: &'static str) -> Result<Url, AddressError> {
    parse(text.trim().strip_prefix("sparse+").unwrap_or(text), origin)
}

fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn config_text(home: &Path) -> Option<String> {
    ["config.toml", "config"].iter().find_map(|name| std::fs::read_to_string(home.join(name)).ok())
}

/// The sparse address that a configuration puts in the place of the usual source.
fn replaced(config: &str) -> Option<String> {
    let config: CargoConfig = toml::from_str(config).ok()?;
    let mut name = config.source.get("crates-io")?.replace_with.as_deref()?;
    for _ in 0..REPLACEMENTS_MAX {
        let source = config.source.get(name);
        if let Some(next) = source.and_then(|source| source.replace_with.as_deref()) {
            name = next;
            continue;
        }
        let address = source.and_then(|source| source.registry.as_ref());
        let address = address.or_else(|| config.registries.get(name)?.index.as_ref())?;
        return address.starts_with("sparse+").then(|| address.clone());
    }
    None
}

async fn built_in() -> Option<String> {
    let scratch = tempfile::tempdir().ok()?;
    let package =
        "[package]\nname = \"ask\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n[dependencies]\na = \"*\"\n";
    std::fs::write(scratch.path().join("Cargo.toml"), package).ok()?;
    std::fs::write(scratch.path().join("lib.rs"), "").ok()?;
    let mut command = Command::new("cargo");
    command.args(["fetch", "--quiet"]).current_dir(scratch.path()).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.env("CARGO_HOME", scratch.path().join("home")).env("CARGO_HTTP_PROXY", NO_WAY_OUT).env("CARGO_NET_RETRY", "0");
    let output = tokio::time::timeout(CARGO_MAX, command.output()).await.ok()?.ok()?;
    complained_of(&String::from_utf8_lossy(&output.stderr))
}

/// The base of the address whose `config.json` cargo could not fetch.
fn complained_of(complaint: &str) -> Option<String> {
    let (before, _) = complaint.split_once("/config.json`")?;
    let (_, address) = before.rsplit_once('`')?;
    Some(format!("{address}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_complains_of_its_default_index() {
        let complaint = "error: failed to get `a` as a dependency of package `ask v0.0.0`\n\nCaused by:\n  failed to download from `https://registry.example/x/config.json`\n\nCaused by:\n  [7] Could not connect";
        assert_eq!(complained_of(complaint).as_deref(), Some("https://registry.example/x/"));
        assert_eq!(complained_of("error: no such command"), None);
    }

    #[test]
    fn a_replaced_source_is_followed() {
        let config = "[source.crates-io]\nreplace-with = 'a'\n[source.a]\nreplace-with = 'b'\n[registries.b]\nindex = 'sparse+https://registry.example/'\n";
        assert_eq!(replaced(config).as_deref(), Some("sparse+https://registry.example/"));
        assert_eq!(replaced("[source.crates-io]\nreplace-with = 'crates-io'\n"), None);
        assert_eq!(replaced("[source.crates-io]\nreplace-with = 'a'\n[source.a]\nregistry = 'https://registry.example/git'\n"), None);
        assert_eq!(replaced(""), None);
    }
}
