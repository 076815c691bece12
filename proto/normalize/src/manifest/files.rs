//! The files of a crate, and whether a path in its manifest can be one of them.

use std::collections::{BTreeSet, HashSet};

use crate::names;

/// Names of files relative to the root of the package.
pub(super) struct Files<'r> {
    names: BTreeSet<&'r str>,
    /// As file systems that fold names see them.
    folded: HashSet<Vec<u8>>,
}

impl<'r> FromIterator<&'r str> for Files<'r> {
    fn from_iter<I: IntoIterator<Item = &'r str>>(names: I) -> Self {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let folded = names.iter().map(|name| names::fold(name.as_bytes()).into_owned()).collect();
        Self { names, folded }
    }
}

impl<'r> Files<'r> {
    pub(super) fn contains(&self, path: &str) -> bool {
        self.names.contains(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'r str> {
        self.names.iter().copied()
    }

    /// Whether nobody, on whatever system, finds a file at this path: it is inside of the package, has no
    /// spelling that systems read as another one, and no file of the package is at it or above it.
    pub(super) fn lack(&self, path: &str) -> bool {
        let folded = |path: &str| self.folded.contains(&*names::fold(path.as_bytes()));
        let mut parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        is_plain(path) && !folded(path) && !parents.any(folded)
    }
}

/// Whether a path can only be what it says: relative, without parts that mean another one anywhere.
fn is_plain(path: &str) -> bool {
    let is_odd = |character: char| matches!(character, '\\' | ':' | '~') || names::is_hidden(character);
    !path.contains(is_odd) && path.split('/').all(|part| !part.is_empty() && !part.ends_with(['.', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_some_system_finds_is_not_lacking() {
        let files: Files<'_> = ["src/Lib.rs", "caf\u{e9}.rs", "link"].into_iter().collect();
        for path in ["tests/t.rs", "src/main.rs"] {
            assert!(files.lack(path), "{path}");
        }
        for path in [
            "src/Lib.rs",
            "src/lib.rs",
            "SRC/LIB.RS",
            "cafe\u{301}.rs",
            "link/x.rs",
            "../t.rs",
            "/t.rs",
            "t.rs.",
            "t.rs ",
            "T~1.RS",
            "a\\b",
            "C:t",
            "",
        ] {
            assert!(!files.lack(path), "{path}");
        }
    }
}
