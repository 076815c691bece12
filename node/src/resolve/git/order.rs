//! How well a commit fits the published file, before anything is built: which published members stand in
//! the commit's tree byte for byte. Pure.

use std::collections::HashSet;

use crate::source::git::Entry;

/// A member of the published archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedMember {
    /// Its path below the archive's top folder.
    pub path: String,
    /// The name that git gives its content: SHA-1 of `blob <length>`, a NUL and the bytes, in hex.
    pub blob: String,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The name of an empty file: it stands in every other repository and tells nothing.
pub(super) const EMPTY_BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
/// Folders that packaging takes off a path.
const LAYOUTS: [&str; 3] = ["", "src/", "lib/"];

impl PublishedMember {
    /// A member by its content.
    pub fn of(path: impl Into<String>, content: &[u8], executable: bool) -> Self {
        Self { path: path.into(), blob: blob_id(content), executable }
    }
}

/// The name that git gives a file's content, in repositories that name objects by SHA-1.
pub fn blob_id(content: &[u8]) -> String {
    let mut hasher = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hasher.update(format!("blob {}\0", content.len()).as_bytes());
    hasher.update(content);
    data_encoding::HEXLOWER.encode(hasher.finish().as_ref())
}

/// How well a commit's tree fits the published members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    /// Members whose content stands in the tree.
    pub(super) matched: usize,
    /// Members that tell anything.
    pub(super) of: usize,
    /// Contents of members whose path stands in the tree with another content.
    pub(super) changed: Vec<String>,
    /// Contents of members that are not in the tree at all.
    pub(super) absent: Vec<String>,
}

/// Compares published members with a tree whose package lies in `directory`.
pub(super) fn fit(members: &[PublishedMember], entries: &[Entry], directory: &str) -> Fit {
    let ids: HashSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    let paths: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    let base = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let mut fit = Fit::default();
    for member in members.iter().filter(|member| member.blob != EMPTY_BLOB) {
        fit.of += 1;
        if ids.contains(member.blob.as_str()) {
            fit.matched += 1;
        } else if LAYOUTS.iter().any(|layout| paths.contains(format!("{base}{layout}{}", member.path).as_str())) {
            fit.changed.push(member.blob.clone());
        } else {
            fit.absent.push(member.blob.clone());
        }
    }
    fit
}

impl Fit {
    /// Whether nothing that stands in the tree was published otherwise.
    pub(super) fn is_whole(&self) -> bool {
        self.changed.is_empty() && (self.matched > 0 || self.of == 0)
    }

    /// Whether more of what stands in the tree was published as it is than otherwise: a licence alone tells nothing.
    pub(super) fn is_telling(&self) -> bool {
        self.matched > self.changed.len()
    }

    /// How many members fewer another commit may match and still count as fitting alike: none beside a
    /// commit that explains everything, else a few, because what was changed before publishing fits nowhere.
    pub(super) fn slack(&self) -> usize {
        if self.is_whole() { 0 } else { (self.matched / 20).max(1) }
    }

    /// What is said of it in the result.
    pub(super) fn words(&self) -> Option<String> {
        (self.of > 0).then(|| format!("matched {} of {} members", self.matched, self.of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::git::EntryKind;

    #[test]
    fn contents_are_named_as_git_names_them() {
        assert_eq!(blob_id(b""), EMPTY_BLOB);
        assert_eq!(blob_id(b"what is up, doc?"), "bd9dbf5aae1a3862dd1526723246b20206e5fc37");
    }

    #[test]
    fn a_changed_file_is_told_from_a_generated_one() {
        let entry = |path: &str, content: &[u8]| Entry { kind: EntryKind::File, id: blob_id(content), path: path.to_owned() };
        let entries = [entry("pkg/src/demo/a.py", b"a"), entry("pkg/setup.py", b"old"), entry("pkg/LICENSE", b"licence")];
        let members = [("demo/a.py", "a"), ("setup.py", "new"), ("PKG-INFO", "generated"), ("demo/LICENSE", "licence"), ("demo/e.py", "")]
            .map(|(path, content)| PublishedMember::of(path, content.as_bytes(), false));
        let fit = fit(&members, &entries, "pkg");
        assert_eq!((fit.matched, fit.of), (2, 4));
        assert_eq!((fit.changed.clone(), fit.absent.clone()), (vec![blob_id(b"new")], vec![blob_id(b"generated")]));
        assert!(!fit.is_whole() && fit.is_telling());
        assert_eq!(fit.words().as_deref(), Some("matched 2 of 4 members"));
    }
}
