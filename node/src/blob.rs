//! Content-addressed files: provenance, difference reports, environment inventories.
//!
//! `DIR/<first two hex digits>/<64 hex digits>`, written whole or not at all, checked when read: a
//! damaged file counts as absent, is removed, and is fetched again from a peer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_proto::Digest;
use quorate_proto::provenance::BLOB_BYTES_MAX;

use crate::durable;

/// A folder of content-addressed files.
#[derive(Clone, Debug)]
pub struct BlobStore {
    dir: PathBuf,
}

/// A file that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Too large for any peer to serve.
    #[error("file of {got} bytes, limit {BLOB_BYTES_MAX}")]
    TooLarge {
        /// Bytes given.
        got: usize,
    },
    /// The disk failed.
    #[error("content store `{path}`")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl BlobStore {
    /// Opens the folder, making it where it is missing.
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        fs::create_dir_all(dir).map_err(|source| BlobError::Io { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Keeps `bytes`, durably, and names them.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge { got: bytes.len() });
        }
        let digest = Digest::of(bytes);
        if self.get(digest)?.is_none() {
            self.write(&self.path(digest), bytes)?;
        }
        Ok(digest)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), BlobError> {
        let failed = |source| BlobError::Io { path: path.to_owned(), source };
        if let Some(shelf) = path.parent().filter(|shelf| !shelf.exists()) {
            fs::create_dir_all(shelf).and_then(|()| durable::sync_dir(&self.dir)).map_err(failed)?;
        }
        durable::replace(path, bytes).map_err(failed)
    }

    /// The file of this digest, if it is there and undamaged.
    pub fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BlobError::Io { path, source }),
        };
        if Digest::of(&bytes) == digest {
            return Ok(Some(bytes));
        }
        tracing::warn!(%digest, "content store: file is damaged and is removed");
        fs::remove_file(&path).map_err(|source| BlobError::Io { path, source })?;
        Ok(None)
    }

    /// Whether a file of this name is there; it is not read.
    pub fn has(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let hex = digest.to_hex();
        self.dir.join(&hex[..2]).join(hex)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_comes_back_by_its_digest_and_a_damaged_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let digest = store.put(b"provenance").unwrap();
        assert_eq!(store.get(digest).unwrap().as_deref(), Some(&b"provenance"[..]));
        fs::write(store.path(digest), b"pr0venance").unwrap();
        assert_eq!(store.get(digest).unwrap(), None);
        assert!(!store.has(digest), "so that it is fetched again");
        assert_eq!(store.put(b"provenance").unwrap(), digest);
        assert!(store.has(digest));
    }

    #[test]
    fn a_file_that_no_peer_could_serve_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        assert!(matches!(store.put(&vec![0; BLOB_BYTES_MAX + 1]), Err(BlobError::TooLarge { .. })));
    }
}
