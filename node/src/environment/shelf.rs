//! The roots that a cache keeps: which are in use, and which go when there are too many.
//!
//! Two locks a root. *Making* is held alone while a root is looked for or made. *Using* is shared by everybody
//! who builds in it, is taken under the first, and its file's time is when the root was last wanted. A root
//! goes only under both, alone, so never from under a build of any process.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::cache::{Cache, CacheLock};
use crate::sandbox::remove_tree;

/// Roots that are kept: half a gigabyte each. More distinct sets of build requirements than this in turn
/// make each root anew.
const ROOTS_MAX: usize = 12;
const PREFIX: &str = "rootfs-";
/// Ends the names of what is not, or no longer, a whole root.
const PARTIAL: &str = ".partial";

/// The place of one root.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    cache: Cache,
    name: String,
}

impl Shelf {
    pub(super) fn new(cache: &Cache, key: &str) -> Self {
        Self { cache: cache.clone(), name: format!("{PREFIX}{key}") }
    }

    /// Where the root lies once it is whole.
    pub(super) fn whole(&self) -> PathBuf {
        self.cache.derived(&self.name)
    }

    /// Where it is made.
    pub(super) fn partial(&self) -> PathBuf {
        self.cache.derived(&format!("{}{PARTIAL}", self.name))
    }

    /// Waits until nobody else looks for this root, or makes it. Blocks.
    pub(super) fn lock_for_making(&self) -> io::Result<CacheLock> {
        self.cache.lock(&self.name)
    }

    /// Keeps the root from going away. Only under the other lock.
    pub(super) fn use_it(&self) -> io::Result<CacheLock> {
        self.cache.lock_shared(&using(&self.name))
    }

    /// Removes the roots that were not wanted for the longest time, and what was never finished. Blocks.
    pub(super) fn tidy(&self) -> io::Result<()> {
        self.tidy_to(ROOTS_MAX)
    }

    fn tidy_to(&self, kept: usize) -> io::Result<()> {
        let mut roots: Vec<(SystemTime, String)> = Vec::new();
        for entry in fs::read_dir(self.cache.derived(""))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            match name.strip_suffix(PARTIAL) {
                _ if !name.starts_with(PREFIX) => {}
                Some(whole) => self.remove(whole, &name)?,
                None => roots.push((self.cache.locked_at(&using(&name)), name)),
            }
        }
        roots.sort();
        let excess = roots.len().saturating_sub(kept);
        roots[..excess].iter().try_for_each(|(_, name)| self.remove(name, name))
    }

    /// Removes `folder`, which is the root `name` or what there is of it, unless somebody has it.
    fn remove(&self, name: &str, folder: &str) -> io::Result<()> {
        let (Some(_making), Some(_using)) = (self.cache.try_lock(name)?, self.cache.try_lock(&using(name))?) else { return Ok(()) };
        let gone = self.cache.derived(&format!("{name}{PARTIAL}"));
        if folder == name {
            remove_tree(&gone)?;
            fs::rename(self.cache.derived(folder), &gone)?;
        }
        remove_tree(&gone)
    }
}

fn using(name: &str) -> String {
    format!("{name}.used")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_root_that_was_not_wanted_longest_goes_unless_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let shelves: Vec<Shelf> = ["a", "b", "c", "d"].map(|key| Shelf::new(&cache, key)).into();
        for (age, shelf) in shelves.iter().rev().enumerate() {
            fs::create_dir_all(shelf.whole().join("root/usr")).unwrap();
            drop(shelf.use_it().unwrap());
            let then = SystemTime::now() - Duration::from_hours(1 + age as u64);
            fs::File::options().write(true).open(dir.path().join("locks").join(using(&shelf.name))).unwrap().set_modified(then).unwrap();
        }
        fs::create_dir(Shelf::new(&cache, "e").partial()).unwrap();
        fs::write(cache.derived("other"), "").unwrap();
        // The oldest is in use, and its time is now.
        let in_use = shelves[0].use_it().unwrap();
        shelves[0].tidy_to(2).unwrap();
        let left: Vec<bool> = shelves.iter().map(|shelf| shelf.whole().exists()).collect();
        assert_eq!(left, [true, false, false, true]);
        shelves[0].tidy_to(0).unwrap();
        assert!(shelves[0].whole().exists() && !shelves[3].whole().exists());
        drop(in_use);
        shelves[0].tidy_to(0).unwrap();
        let mut rest: Vec<_> = fs::read_dir(cache.derived("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        rest.sort();
        assert_eq!(rest, ["other"]);
    }
}
