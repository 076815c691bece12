//! cargo as the Rust project publishes it, where a server of its archives is named.

use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use quorate_proto::Digest;
use serde::Deserialize;
use url::Url;

use super::{How, Provenance, Toolchain, ToolchainCache, ToolchainError, keep};
use crate::cache::Currency;
use crate::ecosystem::Facilities;
use crate::proxy::describe;
use crate::source::meter::Meter;

/// The variable that rustup itself goes by.
const SERVER: &str = "RUSTUP_DIST_SERVER";
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
const ARCHIVE_BYTES_MAX: u64 = 256 << 20;
const ENTRIES_MAX: usize = 10_000;

#[derive(Deserialize)]
struct Channel {
    pkg: Packages,
}

#[derive(Deserialize)]
struct Packages {
    cargo: Package,
}

#[derive(Deserialize)]
struct Package {
    target: std::collections::BTreeMap<String, Target>,
}

#[derive(Deserialize)]
struct Target {
    url: Option<String>,
    hash: Option<String>,
}

/// Fetches a version; `None` where no server is named or it has no such version.
pub(super) async fn fetch(minor: u64, facilities: &Facilities, cache: &ToolchainCache) -> Result<Option<Toolchain>, ToolchainError> {
    let Some(server) = std::env::var(SERVER).ok().and_then(|text| Url::parse(&format!("{}/", text.trim_end_matches('/'))).ok()) else {
        return Ok(None);
    };
    let version = format!("1.{minor}.0");
    match from(&server, &version, facilities).await {
        Ok((url, digest, path)) => {
            let provenance = Provenance { how: How::Unpacked, uri: url.to_string(), digest, built_with: Vec::new(), replaced: Vec::new() };
            Ok(Some(unpacked(&path, |program| keep(program, &version, provenance, cache))?))
        }
        Err(reason) => {
            tracing::info!(version, reason, "not fetched from {SERVER}");
            Ok(None)
        }
    }
}

async fn from(server: &Url, version: &str, facilities: &Facilities) -> Result<(Url, Digest, std::path::PathBuf), String> {
    let http = &facilities.http;
    let manifest = server.join(&format!("dist/channel-rust-{version}.toml")).map_err(|error| error.to_string())?;
    let body = http.bytes(&manifest, "*/*", Currency::Now, MANIFEST_BYTES_MAX).await.map_err(|error| describe(&error))?;
    let (path, digest) = archive_of(&String::from_utf8_lossy(&body.bytes), &triple())?;
    let url = server.join(&path).map_err(|error| error.to_string())?;
    let download = http.download(&url, Some(digest), ARCHIVE_BYTES_MAX, &facilities.cache).await.map_err(|error| describe(&error))?;
    Ok((url, digest, download.path))
}

fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The archive's path on its server and its SHA-256, by a channel's manifest.
fn archive_of(manifest: &str, triple: &str) -> Result<(String, Digest), String> {
    let channel: Channel = toml::from_str(manifest).map_err(|error| error.message().to_owned())?;
    let target = channel.pkg.cargo.target.get(triple).ok_or_else(|| format!("none for {triple}"))?;
    let (url, hash) = target.url.as_deref().zip(target.hash.as_deref()).ok_or_else(|| format!("none for {triple}"))?;
    // The server that was named stands in for the one that the manifest names.
    let (_, path) = url.split_once("/dist/").ok_or_else(|| format!("{url} is below no dist"))?;
    Ok((format!("dist/{path}"), Digest::from_hex(hash).map_err(|error| error.to_string())?))
}

fn unpacked<T>(path: &Path, take: impl FnOnce(&mut dyn Read) -> Result<T, ToolchainError>) -> Result<T, ToolchainError> {
    let (reader, meter) = Meter::before(GzDecoder::new(std::fs::File::open(path)?).take(ARCHIVE_BYTES_MAX * 4), ARCHIVE_BYTES_MAX * 4);
    let mut archive = tar::Archive::new(reader);
    let mut entries = archive.entries()?;
    for _ in 0..ENTRIES_MAX {
        meter.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        meter.content(entry.size())?;
        if entry.path()?.ends_with("cargo/bin/cargo") && entry.header().entry_type().is_file() {
            return take(&mut entry);
        }
        io::copy(&mut entry, &mut io::sink())?;
    }
    Err(io::Error::other("the archive has no cargo/bin/cargo").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_taken_from_the_server_that_was_named() {
        let hash = "0".repeat(64);
        let manifest =
            format!("[pkg.cargo.target.x]\nurl = 'https://elsewhere.example/dist/2025-02-20/cargo-1.85.0-x.tar.gz'\nhash = '{hash}'\n");
        assert_eq!(archive_of(&manifest, "x").map(|(path, _)| path).as_deref(), Ok("dist/2025-02-20/cargo-1.85.0-x.tar.gz"));
        assert!(archive_of(&manifest, "y").is_err());
        assert!(archive_of("[pkg]\n", "x").is_err());
    }
}
