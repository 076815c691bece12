//! The lint of names and links, the same for every container.
//!
//! Decides whether a name could be written outside of the folder it is unpacked to, could be read
//! in two ways, or could collide with another one on a file system that folds names. The fold is
//! deliberately coarse: a collision too many shows up on both sides and costs nothing.
//! SPEC normal-form: Names, Links.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use quorate_proto::comparison::AnomalyKind;
use sha2::{Digest as _, Sha256};

use crate::reading::{Findings, Kind, Member, Reading};

mod fold;

/// How many characters of a name are shown; longer ones end in their digest instead.
const SHOWN_CHARS_MAX: usize = 300;

/// Characters of a longer name that are shown before the digest.
const SHOWN_CHARS_CUT: usize = 200;

/// A name for people: what is not valid or not printable UTF-8 is escaped, and so is the
/// backslash; longer names are cut and end in the SHA-256 of the whole.
pub(crate) fn display(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || is_hidden(character) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.extend(byte.escape_ascii().map(char::from));
        }
    }
    cut(text, name)
}

/// A name that was put together of shown ones, cut like any other.
pub(crate) fn clip(shown: String) -> String {
    let whole = shown.clone();
    cut(shown, whole.as_bytes())
}

fn cut(text: String, whole: &[u8]) -> String {
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(SHOWN_CHARS_CUT).collect();
    format!("{cut}\u{2026}{}", data_encoding::HEXLOWER.encode(&Sha256::digest(whole)))
}

/// Where an archive is unpacked to, as far as it changes what a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A folder.
    Folder,
    /// A folder, without the first part of each name.
    StrippedFolder,
    /// The root of a system, where absolute links are ordinary.
    Root,
}

/// Parts of a path beyond which its parents are not looked at: what honest archives never have,
/// and what would make the lint quadratic.
const PARTS_MAX: usize = 64;

/// Adds what is wrong with the names and links of all members.
pub(crate) fn lint(reading: &mut Reading<'_>, target: Target) {
    let Reading { members, findings, .. } = reading;
    for member in members.iter() {
        lint_name(&member.name, findings);
        lint_type(member, findings);
    }
    lint_duplicates(members, findings);
    lint_collisions(members, findings);
    lint_links(members, target, findings);
    if target == Target::StrippedFolder {
        lint_stripped(members, findings);
    }
}

/// The key under which file systems that fold names confuse them.
pub(crate) fn fold(name: &[u8]) -> Cow<'_, [u8]> {
    fold::fold(name)
}

/// Finds members that a tool writes to the same place because it drops the first part of names.
fn lint_stripped(members: &[Member<'_>], findings: &mut Findings) {
    let mut places: HashMap<&[u8], &[u8]> = HashMap::new();
    for member in members.iter().filter(|member| member.kind != Kind::Directory) {
        let first = member.name.iter().position(|&byte| byte == b'/').map_or(0, |at| at + 1);
        let place = member.name.get(first..).unwrap_or_default();
        if *places.entry(place).or_insert(&*member.name) != &*member.name {
            let detail = "the same as another member but for the first part of the name, which npm drops";
            findings.add(AnomalyKind::CollidingName, Some(&member.name), detail);
        }
    }
}

fn lint_name(name: &[u8], findings: &mut Findings) {
    let mut add = |kind, detail: &str| findings.add(kind, Some(name), detail);
    if let Some(fault) = malformation(name) {
        add(AnomalyKind::MalformedName, fault);
    }
    if name.first() == Some(&b'/') {
        add(AnomalyKind::PathEscape, "absolute name");
    }
    if has_drive(name) {
        add(AnomalyKind::PathEscape, "name with a drive letter");
    }
    if name.split(|&byte| byte == b'/').count() > PARTS_MAX {
        add(AnomalyKind::AbsurdSize, "more parts than any honest name has");
    }
    let parts = || name.split(|&byte| byte == b'/' || byte == b'\\');
    if parts().any(|part| part == b"..") {
        add(AnomalyKind::PathEscape, "`..` in the name");
    }
    if parts().any(|part| part == b".") || name.split(|&byte| byte == b'/').skip(1).any(<[u8]>::is_empty) {
        add(AnomalyKind::NonCanonical, "`.` or an empty part in the name");
    }
}

fn malformation(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("empty name");
    }
    let Ok(text) = std::str::from_utf8(name) else {
        return Some("name that is not UTF-8");
    };
    if text.contains('\\') {
        return Some("backslash in the name");
    }
    text.contains(is_hidden).then_some("NUL, control or invisible character in the name")
}

/// Control characters, and those that change how the text around them is shown.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}')
}

fn has_drive(name: &[u8]) -> bool {
    matches!(name, [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn lint_type(member: &Member<'_>, findings: &mut Findings) {
    if member.kind == Kind::Special {
        findings.add(AnomalyKind::SpecialFile, Some(&member.name), "device, FIFO or socket");
    }
}

fn lint_duplicates(members: &[Member<'_>], findings: &mut Findings) {
    let mut seen = HashSet::with_capacity(members.len());
    for member in members {
        if !seen.insert(&*member.name) {
            findings.add(AnomalyKind::DuplicateName, Some(&member.name), "name of an earlier member");
        }
    }
}

/// Finds names, and parents of names, that fold to the same key though they differ, and files
/// that are parents of other members.
fn lint_collisions(members: &[Member<'_>], findings: &mut Findings) {
    let mut leaves: Vec<(&[u8], Kind)> = members.iter().map(|member| (&*member.name, member.kind)).collect();
    // Of one name the last counts, which a stable sort leaves at the end of its run.
    leaves.sort_by_key(|(name, _)| *name);
    let obstacles: HashMap<&[u8], Kind> = last_of_each(&leaves).filter(|(_, kind)| *kind != Kind::Directory).collect();
    let mut spellings: HashMap<Cow<'_, [u8]>, &[u8]> = HashMap::with_capacity(leaves.len());
    let mut before: &[u8] = &[];
    for (path, _) in last_of_each(&leaves) {
        // What the name before has as a parent too was the last to be seen of its key.
        for prefix in prefixes(path).filter(|prefix| !is_parent(prefix, before)) {
            let spelling = spellings.entry(fold::fold(prefix)).or_insert(prefix);
            if *spelling != prefix {
                let detail = "folds to the same name as another member or its parent";
                findings.add(AnomalyKind::CollidingName, Some(prefix), detail);
                *spelling = prefix;
            }
        }
        for parent in prefixes(path).filter(|prefix| prefix.len() < path.len()) {
            lint_parent(path, obstacles.get(parent), findings);
        }
        before = path;
    }
}

/// The last of each run of equal names.
fn last_of_each<'l, 'n>(leaves: &'l [(&'n [u8], Kind)]) -> impl Iterator<Item = (&'n [u8], Kind)> + use<'l, 'n> {
    leaves.iter().enumerate().filter(|(at, (name, _))| leaves.get(at + 1).is_none_or(|(next, _)| next != name)).map(|(_, leaf)| *leaf)
}

fn is_parent(prefix: &[u8], path: &[u8]) -> bool {
    path.get(prefix.len()) == Some(&b'/') && path.starts_with(prefix)
}

fn lint_parent(path: &[u8], parent: Option<&Kind>, findings: &mut Findings) {
    match parent {
        None | Some(Kind::Directory) => {}
        Some(Kind::Symlink | Kind::Hardlink) => {
            findings.add(AnomalyKind::EscapingLink, Some(path), "written through a link of the archive");
        }
        Some(Kind::File | Kind::Special | Kind::Archive) => {
            findings.add(AnomalyKind::CollidingName, Some(path), "its parent is a file");
        }
    }
}

/// `a`, `a/b` and `a/b/c` of `a/b/c`, the first [`PARTS_MAX`] of them and the last.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).take(PARTS_MAX);
    ends.chain([path.len()]).filter_map(|end| path.get(..end)).filter(|prefix| !prefix.is_empty())
}

fn lint_links(members: &[Member<'_>], target_folder: Target, findings: &mut Findings) {
    let mut earlier: HashSet<&[u8]> = HashSet::new();
    let has_hardlinks = members.iter().any(|member| member.kind == Kind::Hardlink);
    for member in members {
        if let Some(target) = &member.link {
            let fault = match member.kind {
                Kind::Hardlink => (!earlier.contains(&**target)).then_some("hard link to no earlier member"),
                _ if target_folder == Target::Root && target.first() == Some(&b'/') => None,
                _ => symlink_fault(&member.name, target),
            };
            if let Some(fault) = fault {
                findings.add(AnomalyKind::EscapingLink, Some(&member.name), fault);
            }
            if let Some(fault) = malformation(target) {
                findings.add(AnomalyKind::MalformedName, Some(&member.name), format!("link target: {fault}"));
            }
        }
        if has_hardlinks {
            earlier.insert(&member.name);
        }
    }
}

/// A target may climb with leading `..` as far as the link is deep; anything else is refused,
/// because what `..` means after a name depends on what that name is.
fn symlink_fault(name: &[u8], target: &[u8]) -> Option<&'static str> {
    if target.first() == Some(&b'/') || has_drive(target) {
        return Some("absolute link target");
    }
    let depth = name.split(|&byte| byte == b'/').count().saturating_sub(1);
    let parts: Vec<&[u8]> = target.split(|&byte| byte == b'/').collect();
    let climbs = parts.iter().take_while(|part| **part == b"..").count();
    if climbs > depth {
        return Some("link target outside of the archive");
    }
    parts.iter().skip(climbs).any(|part| *part == b"..").then_some("`..` after a name in a link target")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_control_characters() {
        assert_eq!(display(b"a\x1b[31m\xff\\"), "a\\u{1b}[31m\\xff\\\\");
        assert_eq!(display("caf\u{e9}".as_bytes()), "caf\u{e9}");
    }

    #[test]
    fn long_names_are_cut_and_still_told_apart() {
        let (one, other) = ([b'a'; 400], [&[b'a'; 399][..], b"b"].concat());
        assert_ne!(display(&one), display(&other));
        assert!(display(&one).chars().count() <= SHOWN_CHARS_MAX);
    }

    #[test]
    fn a_link_climbs_no_higher_than_it_is_deep() {
        assert_eq!(symlink_fault(b"a/b/link", b"../../c"), None);
        assert!(symlink_fault(b"a/b/link", b"../../../c").is_some());
        assert!(symlink_fault(b"link", b"/etc/passwd").is_some());
        assert!(symlink_fault(b"a/b/link", b"c/../../../..").is_some());
    }
}
