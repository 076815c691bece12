//! Finds the line of zlib that compressed a published tarball, before anything is built: its own content is
//! compressed again by one node of each line and held against the published bytes.
//!
//! The gzip header is left out: it tells the system and the level, and no compressor.

use std::fs;

use super::bench::{Bench, Equipment};
use crate::release::npm::GzipHeader;
use crate::sandbox::{Exit, Mode, Network, SandboxError};
use crate::workshop::{SOURCE, Workshop};

/// Larger tarballs are not replayed.
pub const REPLAYED_BYTES_MAX: u64 = 48 << 20;
/// The exit code that says that the bytes are the same.
const SAME: i32 = 42;

const REPLAY: &str = "\
const zlib = require('zlib'), fs = require('fs');
const published = fs.readFileSync(process.argv[1]);
const options = process.argv[2] === 'strongest' ? { level: 9 } : {};
const again = zlib.gzipSync(zlib.gunzipSync(published, { maxOutputLength: 1 << 29 }), options);
process.exit(again.slice(10).equals(published.slice(10)) ? 42 : 43);
";

/// Whether a node compresses the content of a tarball to the published bytes.
pub async fn fits(workshop: &Workshop, node: &Equipment, published: &[u8], gzip: GzipHeader) -> Result<bool, SandboxError> {
    let write = || fs::write(workshop.source().join("published.tgz"), published);
    write().map_err(|source| SandboxError::Host { activity: "laying out a published tarball".to_owned(), source })?;
    workshop.hand_over()?;
    let level = if gzip.is_strongest() { "strongest" } else { "default" };
    let program = node.node.display().to_string();
    let argv = [program.as_str(), "-e", REPLAY, &format!("{SOURCE}/published.tgz"), level].map(str::to_owned).into();
    let bench = Bench { build: node.clone(), pack: node.clone() };
    let finished = workshop.run(bench.task(node, argv, Network::None, Mode::ReadOnly)).await?;
    Ok(finished.exit == Exit::Code(SAME))
}
