//! The files of a log, from a coordinator or from a folder: both have the same names, and neither is believed.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use quorate_tlog::bundle::BUNDLE_BYTES_MAX;
use quorate_tlog::note::NOTE_BYTES_MAX;
use quorate_tlog::{BundlePath, EntryBundle, SignedNote};

use crate::server::Server;

/// Where a log is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogFiles<'a> {
    /// A coordinator, or any server of static files.
    Served(&'a Server),
    /// A mirror.
    Folder(&'a Path),
}

impl LogFiles<'_> {
    /// A file of at most `limit` bytes by its path in the log; nothing if it is not there.
    pub(crate) async fn file(&self, path: &str, limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Served(server) => Ok(server.log_file(path, limit).await?),
            Self::Folder(folder) => read(&folder.join(path), limit),
        }
    }

    /// The newest checkpoint, not yet opened.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<Option<SignedNote>> {
        let bytes = self.file("checkpoint", NOTE_BYTES_MAX).await?;
        bytes.map(|bytes| SignedNote::parse(&bytes)).transpose().context("reading the checkpoint")
    }

    /// A bundle, or the full one that replaced it.
    pub(crate) async fn bundle(&self, path: &BundlePath) -> anyhow::Result<EntryBundle> {
        let name = path.path();
        let mut bytes = self.file(&name, BUNDLE_BYTES_MAX).await?;
        if bytes.is_none() {
            bytes = self.file(name.split(".p/").next().unwrap_or(&name), BUNDLE_BYTES_MAX).await?;
        }
        let bytes = bytes.with_context(|| format!("there is no {name}"))?;
        EntryBundle::parse(&bytes).with_context(|| format!("reading {name}"))
    }
}

fn read(path: &Path, limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
    let said = || format!("reading `{}`", path.display());
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(said)?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).with_context(said)?;
    if bytes.len() > limit {
        bail!("`{}` has more than {limit} bytes", path.display());
    }
    Ok(Some(bytes))
}
