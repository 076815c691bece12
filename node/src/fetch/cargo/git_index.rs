//! A crate index as a git repository, for cargo before 1.68: the crates that a tree names and all that
//! those depend on, as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use futures::StreamExt as _;

use crate::proxy::cargo::{Page, TimeMachine};
use crate::proxy::{FetchedFile, describe};
use crate::registry::cargo::CrateName;
use crate::source::git::adopt::commit_all;
use crate::workshop::BuildError;

/// Most crates of an index. One that needs more is cut: cargo then says which it misses.
const CRATES_MAX: usize = 1500;
const PAGES_AT_ONCE: usize = 24;

/// Makes the index in `folder`; gives its pages and the crates that could not be filtered by time.
pub(super) async fn make(
    folder: &Path,
    names: &BTreeSet<CrateName>,
    machine: &TimeMachine,
) -> Result<(BTreeMap<String, FetchedFile>, Vec<String>), BuildError> {
    std::fs::create_dir_all(folder)?;
    // Nothing is ever downloaded from it: an address that leads nowhere.
    std::fs::write(folder.join("config.json"), r#"{"dl":"http://127.0.0.1:9/crates"}"#)?;
    let (mut files, mut unfiltered) = (BTreeMap::new(), Vec::new());
    let mut known: BTreeSet<CrateName> = names.iter().take(CRATES_MAX).cloned().collect();
    let mut round: Vec<CrateName> = known.iter().cloned().collect();
    while !round.is_empty() {
        let pages = futures::stream::iter(round.drain(..)).map(|name| async move { (machine.page(&name).await, name) });
        let pages: Vec<_> = pages.buffered(PAGES_AT_ONCE).collect().await;
        for (page, name) in pages {
            let page = page.map_err(|error| BuildError::Registry(describe(&error)))?;
            let Some(page) = page else { continue };
            write(folder, &name, &page)?;
            if !page.is_filtered {
                unfiltered.push(name.to_string());
            }
            for dependency in page.dependencies {
                if known.len() < CRATES_MAX && known.insert(dependency.clone()) {
                    round.push(dependency);
                }
            }
            files.insert(format!("index/{name}"), page.fetched);
        }
    }
    commit_all(folder).await.map_err(io::Error::other)?;
    Ok((files, unfiltered))
}

fn write(folder: &Path, name: &CrateName, page: &Page) -> io::Result<()> {
    let path = folder.join(name.index_path());
    std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
    std::fs::write(path, &page.text)
}
