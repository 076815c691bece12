//! What a watch keeps on disk: its cursor, and the keys of what it dealt with. Section 5 of
//! `docs/spec/watching.md` has the faults.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listing::{KEY_BYTES, Key};
use super::machine::Saved;
use crate::durable;

/// The version of the files.
const SCHEMA: &str = "quorate-watch/v1";

/// What is watched, in words that people know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watched {
    /// A package URL's type.
    pub kind: String,
    /// The registry's base address.
    pub address: String,
    /// The suite, of a Debian archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
}

/// A watch's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateFile {
    schema: String,
    /// What is watched.
    pub watched: Watched,
    /// How far.
    pub state: Saved,
}

/// The folder of one node's watches.
#[derive(Debug)]
pub struct Store {
    watched: Watched,
    state: PathBuf,
    seen: PathBuf,
    file: File,
    length: u64,
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk.
    #[error("watch file `{path}`")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A cursor that cannot be read: to begin anew would be to miss what came since.
    #[error("watch file `{path}` is damaged; remove it to begin this watch anew, from now on")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

impl Watched {
    /// The name of its files.
    pub fn file_stem(&self) -> String {
        let text = format!("{}\n{}\n{}", self.kind, self.address, self.suite.as_deref().unwrap_or_default());
        format!("{}-{}", self.kind, quorate_proto::Digest::of(text.as_bytes()).to_hex())
    }
}

impl Store {
    /// Opens the files of a watch in a data folder, and reads them.
    pub fn open(data_dir: &Path, watched: Watched) -> Result<(Self, Option<Saved>, HashSet<Key>), StoreError> {
        let dir = folder(data_dir);
        let (state, seen) = (dir.join(watched.file_stem() + ".json"), dir.join(watched.file_stem() + ".seen"));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let saved = match fs::read(&state) {
            Ok(bytes) => Some(
                read_state(&bytes).filter(|file| file.watched == watched).ok_or_else(|| StoreError::Damaged { path: state.clone() })?.state,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(StoreError::Io { path: state, source }),
        };
        let (file, keys) = open_seen(&seen).map_err(failed(&seen))?;
        durable::sync_dir(&dir).map_err(failed(&dir))?;
        let length = (keys.len() * KEY_BYTES) as u64;
        Ok((Self { watched, state, seen, file, length }, saved, keys.into_iter().collect()))
    }

    /// Makes keys durable. A failure leaves the file as it was, or no more keys are taken.
    pub fn remember(&mut self, keys: &[Key]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = keys.iter().flat_map(|key| *key.as_bytes()).collect();
        let written = self.file.set_len(self.length).and_then(|()| self.file.write_all(&bytes)).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            // Cut at the next call, before anything else is written.
            Err(source) => Err(StoreError::Io { path: self.seen.clone(), source }),
        }
    }

    /// Makes the cursor durable.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        let file = StateFile { schema: SCHEMA.to_owned(), watched: self.watched.clone(), state: saved.clone() };
        let bytes = serde_json::to_vec(&file).expect("cursors and texts always serialise");
        durable::replace(&self.state, &bytes).map_err(|source| StoreError::Io { path: self.state.clone(), source })
    }
}

/// All watches of a data folder, each with what is wrong with its file if it cannot be read.
pub fn read_all(data_dir: &Path) -> io::Result<Vec<Result<StateFile, PathBuf>>> {
    let dir = folder(data_dir);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    Ok(paths.into_iter().map(|path| fs::read(&path).ok().as_deref().and_then(read_state).ok_or(path)).collect())
}

/// Reads a watch's file.
pub fn read_state(bytes: &[u8]) -> Option<StateFile> {
    serde_json::from_slice::<StateFile>(bytes).ok().filter(|file| file.schema == SCHEMA)
}

/// Removes what was never finished. For the one process that holds the data folder, before any watch starts.
pub fn sweep(data_dir: &Path) -> io::Result<()> {
    let dir = folder(data_dir);
    if dir.exists() { durable::sweep(&dir) } else { Ok(()) }
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("watch")
}

/// The keys; a torn one at the end is cut off.
fn open_seen(path: &Path) -> io::Result<(File, Vec<Key>)> {
    let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let mut bytes = fs::read(path)?;
    let whole = bytes.len() - bytes.len() % KEY_BYTES;
    if whole < bytes.len() {
        bytes.truncate(whole);
        file.set_len(whole as u64)?;
        file.sync_data()?;
    }
    let (keys, _) = bytes.as_chunks::<KEY_BYTES>();
    Ok((file, keys.iter().map(|bytes| Key::from_bytes(*bytes)).collect()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::Timestamp;

    fn watched() -> Watched {
        Watched { kind: "npm".to_owned(), address: "http://registry.example/".to_owned(), suite: None }
    }

    fn saved() -> Saved {
        let now = Timestamp::from_unix_seconds(1000);
        let settings = crate::watch::machine::Settings {
            feed: crate::watch::machine::Feed::None,
            list: [].into(),
            backlog: crate::watch::machine::Backlog::None,
            every: std::time::Duration::from_secs(1),
            seed: 0,
        };
        let mut machine = crate::watch::machine::Machine::new(settings, None, HashSet::new(), now);
        let effects = machine.handle(crate::watch::machine::Event::Wake, now);
        match &effects[0] {
            crate::watch::machine::Effect::Save(saved) => (**saved).clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cursor_and_its_keys_survive_and_a_torn_key_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let key = |name: &str| Key::begun(&format!("pkg:npm/{name}").parse().unwrap());
        let (mut store, none, keys) = Store::open(dir.path(), watched()).unwrap();
        assert!(none.is_none() && keys.is_empty());
        store.remember(&[key("a"), key("b")]).unwrap();
        store.save(&saved()).unwrap();
        drop(store);
        for torn in 0..=KEY_BYTES {
            let path = dir.path().join("watch").join(watched().file_stem() + ".seen");
            let whole = fs::read(&path).unwrap();
            fs::write(&path, [&whole[..64], &[7; KEY_BYTES][..torn % KEY_BYTES]].concat()).unwrap();
            let (mut store, state, keys) = Store::open(dir.path(), watched()).unwrap();
            assert_eq!(state.unwrap(), saved());
            assert_eq!(keys, [key("a"), key("b")].into(), "{torn}");
            store.remember(&[key("c")]).unwrap();
            assert_eq!(fs::read(&path).unwrap().len(), 96);
        }
    }

    #[test]
    fn a_damaged_cursor_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path(), watched()).unwrap().0.save(&saved()).unwrap();
        let path = dir.path().join("watch").join(watched().file_stem() + ".json");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(Store::open(dir.path(), watched()), Err(StoreError::Damaged { .. })), "{cut}");
            assert!(matches!(read_all(dir.path()).unwrap().as_slice(), [Err(_)]));
        }
    }
}
