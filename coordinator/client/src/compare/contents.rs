//! What the normal form says of every member of one file: its type, size and link target, and
//! which folders there are. SPEC normal-form: The listing.

use std::collections::{BTreeMap, BTreeSet};

use quorate_normalize::{Limits, normal_form};

/// Folders of a name that are looked at: enough for people, and deep names cost no more.
const FOLDERS_MAX: usize = 16;

/// One file's members.
#[derive(Debug, Default)]
pub(super) struct Contents {
    members: BTreeMap<String, Member>,
    paths: BTreeSet<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) shape: Shape,
    pub(super) size_bytes: u64,
    pub(super) link: Option<String>,
}

/// Type of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    File,
    Folder,
    Link,
    Special,
}

impl Contents {
    /// Reads `bytes`; `None` for what has no normal form.
    pub(super) fn of(bytes: &[u8], file_name: &str, limits: &Limits) -> Option<Self> {
        let form = normal_form(bytes, file_name, limits).ok()?;
        let listing = String::from_utf8(form.listing).ok()?;
        let mut contents = Self::default();
        for (name, member) in listing.lines().skip(1).filter_map(read_line) {
            contents.paths.extend(folders(&name).map(str::to_owned));
            contents.paths.insert(name.clone());
            contents.members.insert(name, member);
        }
        Some(contents)
    }

    /// The member of this name, as it is shown.
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// Whether something lies at this path, or below it.
    pub(super) fn has_path(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// The one folder in which everything lies, if there is one.
    pub(super) fn top(&self) -> Option<&str> {
        let first = self.members.keys().next()?;
        let top = first.split('/').next().filter(|top| !top.is_empty())?;
        let is_in = |name: &String| name.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_folder = self.members.get(top).map_or(first.len() > top.len(), |member| member.shape == Shape::Folder);
        (is_folder && self.members.keys().all(is_in)).then_some(top)
    }
}

/// The folders above `name`, the highest first.
pub(super) fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter(|(at, _)| *at > 0).take(FOLDERS_MAX).filter_map(|(at, _)| name.get(..at))
}

/// `TYPE EXECUTABLE SIZE SHA256 LINK NAME`
fn read_line(line: &str) -> Option<(String, Member)> {
    let mut fields = line.split(' ');
    let shape = match fields.next()? {
        "f" => Shape::File,
        "d" => Shape::Folder,
        "l" | "h" => Shape::Link,
        _ => Shape::Special,
    };
    let size_bytes = fields.nth(1)?.parse().ok()?;
    let target = fields.nth(1)?.strip_prefix('=').map(unescaped);
    Some((unescaped(fields.next()?), Member { shape, size_bytes, link: target }))
}

/// `%XX` back to bytes; what is no UTF-8 then only has to be unlike any name that is shown.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(b'%'));
        rest = code.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_listing_is_a_member() {
        let (name, member) = read_line("l - 0 e3b0 =a%20b/%25 caf%C3%A9/x").expect("a member");
        assert_eq!(name, "café/x");
        assert_eq!(member, Member { shape: Shape::Link, size_bytes: 0, link: Some("a b/%".to_owned()) });
    }

    #[test]
    fn folders_stand_from_the_top_down() {
        assert_eq!(folders("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(folders("/a").count(), 0);
        assert_eq!(folders(&"x/".repeat(1000)).count(), FOLDERS_MAX);
    }
}
