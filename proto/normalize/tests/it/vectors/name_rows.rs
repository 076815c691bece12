//! Names and links: the fold rule by rule, and every row of the page about them.

use super::{FormVector, assert_vectors, form_vector};
use crate::build_zip::{Member, zip};
use crate::tampered_zip::link;

fn utf8(name: &str) -> Member {
    Member::stored(name, b"").both(|header| header.flags |= 1 << 11)
}

fn names(title: &str, names: &[&str]) -> FormVector {
    form_vector(title, "p.zip", &zip(&names.iter().map(|name| utf8(name)).collect::<Vec<_>>()))
}

/// Pairs that fold to one key, a rule each, and pairs that do not.
const FOLDS: [(&str, &[&str]); 22] = [
    ("ASCII case", &["a", "A"]),
    ("Unicode case", &["\u{416}", "\u{436}"]),
    ("combining accent", &["e\u{301}", "e"]),
    ("combining marks of the later blocks", &["a", "a\u{1ab0}", "a\u{1dc0}", "a\u{20d0}", "a\u{fe20}"]),
    ("variation selector", &["a", "a\u{fe0f}"]),
    ("sharp s", &["ss", "\u{df}", "\u{1e9e}"]),
    ("letters of Latin-1", &["\u{e9}", "e", "\u{c9}"]),
    ("ligatures and letters of the north", &["\u{e6}", "a", "\u{153}", "o", "\u{fe}", "t", "\u{f0}", "d"]),
    ("Latin Extended-A", &["\u{142}", "l", "\u{17f}", "s", "\u{131}", "i", "\u{111}", "d"]),
    ("dotted capital i", &["\u{130}", "i"]),
    ("Latin Extended Additional", &["\u{1e0a}", "d", "\u{1ef3}", "y", "\u{1ea5}", "a"]),
    ("full width", &["\u{ff21}", "a", "\u{ff0e}x", ".x"]),
    ("Hangul of two and of three letters", &["\u{ac00}", "\u{1100}\u{1161}", "\u{ac01}", "\u{1100}\u{1161}\u{11a8}"]),
    ("Kelvin sign", &["\u{212a}", "k"]),
    ("final sigma", &["\u{3c2}", "\u{3c3}"]),
    ("a parent in another case", &["a/x", "A/y"]),
    ("a parent and a name in another case", &["a/", "A"]),
    ("three spellings", &["ab", "Ab", "AB"]),
    ("two parents of many names", &["a/1", "a/2", "A/1", "A/3"]),
    ("no collision: multiplication and division sign", &["\u{d7}", "x", "\u{f7}"]),
    ("no collision: other scripts", &["\u{3b1}", "a", "\u{430}"]),
    ("no collision: compatibility forms that are not folded", &["\u{2460}", "1", "\u{fb01}", "fi"]),
];

fn malformed() -> Vec<FormVector> {
    let hidden = ["\0", "\x7f", "\u{85}", "\u{ad}", "\u{200b}", "\u{200f}", "\u{2028}", "\u{202e}", "\u{2060}", "\u{206f}", "\u{feff}"];
    let all: Vec<String> = hidden.iter().enumerate().map(|(at, character)| format!("{at}{character}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let not_utf8 = |name: &[u8]| Member::packed(name, b"", 0, Vec::new()).both(|header| header.flags |= 1 << 11);
    vec![
        names("hidden characters", &all),
        names("characters beside the hidden ones", &["a\u{200a}", "a\u{2010}", "a\u{2027}", "a\u{202f}", "a\u{205f}", "a\u{2070}"]),
        form_vector(
            "not UTF-8, in two cases of its ASCII",
            "p.zip",
            &zip(&[not_utf8(b"a\xff"), not_utf8(b"A\xff"), not_utf8(b"a\xc0\x80")]),
        ),
        names("empty name, slash alone and slashes at the end", &["", "/", "a//"]),
        names("backslashes", &["a\\b", "a\\..\\b", "a\\.\\b"]),
    ]
}

fn paths() -> Vec<FormVector> {
    let deep = |parts: usize| vec!["a"; parts].join("/");
    let far = |last: &str| format!("{}/{last}", deep(70));
    vec![
        names("drive letters, and colons that are none", &["c:d", "Z:", "1:d", "ab:c", "a/c:d"]),
        names("parts of dots", &["..", "a/..", "a/../b", "...", "a/..b", "./a", "a/.", "a//b", "a/..\\b"]),
        names("64 parts", &[&deep(64)]),
        names("65 parts", &[&deep(65)]),
        names("a collision below the parents that are looked at", &[&far("A/x"), &far("a/y")]),
        names("a member name of more than 300 characters", &[&format!("{}\\", "n".repeat(300))]),
        names("a member name of 300 characters with its escape", &[&format!("{}\\", "n".repeat(298))]),
        names("one name three times", &["a", "a", "a"]),
        names("a file and a directory of one name", &["a", "a/"]),
        names("a parent that is a file, and its parent that is none", &["a/b", "a/b/c/d"]),
        names("a parent that is a directory", &["a/", "a/b"]),
    ]
}

fn links() -> Vec<FormVector> {
    let made = |name: &str, target: &str, mode: u32| Member::stored(name, target.as_bytes()).with(|member| member.external = mode << 16);
    let symlink = |name: &str, target: &str| made(name, target, 0o120_777);
    vec![
        form_vector("links that stay inside", "p.zip", &zip(&[symlink("l", "a"), symlink("d/e/l", "../../a"), symlink("m", "./a/.")])),
        form_vector("links that climb too high", "p.zip", &zip(&[symlink("l", ".."), symlink("d/l", "../../a")])),
        form_vector("links that climb after a name", "p.zip", &zip(&[symlink("d/l", "a/.."), symlink("d/m", "./../a")])),
        form_vector("links to an absolute place", "p.zip", &zip(&[symlink("l", "/"), symlink("m", "c:d"), symlink("n", "c/d:")])),
        form_vector(
            "links with malformed targets",
            "p.zip",
            &zip(&[symlink("l", "a\\b"), symlink("m", ""), symlink("n", "a\0"), symlink("o", "a\u{202e}")]),
        ),
        form_vector("a parent that is a link", "p.zip", &zip(&[symlink("d", "e"), utf8("d/x/y")])),
        form_vector("a parent that is a link, later", "p.zip", &zip(&[utf8("d/x"), symlink("d", "e")])),
        form_vector("a parent that is a FIFO", "p.zip", &zip(&[made("d", "", 0o010_644), utf8("d/x")])),
        form_vector("a link target of 4096 bytes", "p.zip", &link_of(4096)),
        form_vector("a link target of 4097 bytes", "p.zip", &link_of(4097)),
        form_vector("a link beside plain members", "p.zip", &link("a.py")),
    ]
}

fn link_of(len: usize) -> Vec<u8> {
    zip(&[Member::deflated("l", &vec![b'a'; len]).with(|member| member.external = 0o120_777 << 16)])
}

#[test]
fn name_rows_are_those_of_the_vectors() {
    let folds = FOLDS.iter().map(|(title, all)| names(&format!("fold: {title}"), all));
    let vectors: Vec<FormVector> = folds.chain(malformed()).chain(paths()).chain(links()).collect();
    assert_vectors("normalize-names.json", &vectors);
}
