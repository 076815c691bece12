//! A coarse key under which names collide on file systems that fold case or Unicode forms.
//!
//! No Unicode tables beyond the standard library's: lower case, full-width forms as ASCII, accents
//! dropped whether they are combined or not, Hangul in its parts. SPEC normal-form: The fold.

use std::borrow::Cow;

/// Base letters of U+00C0 to U+017F, `.` where the character stays as it is.
const LATIN: &[u8; 192] = b"aaaaaaaceeeeiiiidnooooo.ouuuuyts\
aaaaaaaceeeeiiiidnooooo.ouuuuyty\
aaaaaaccccccccddddeeeeeeeeeegggg\
gggghhhhiiiiiiiiiiiijjkkklllllll\
lllnnnnnnnnnoooooooorrrrrrssssss\
ssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

/// The key of `name`. Bytes that are not UTF-8 stay as they are.
pub(super) fn fold(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        let is_folded = !name.iter().any(u8::is_ascii_uppercase);
        return if is_folded { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) };
    }
    let mut key = String::new();
    let Ok(text) = std::str::from_utf8(name) else {
        return Cow::Owned(name.to_ascii_lowercase());
    };
    for character in text.chars().flat_map(char::to_lowercase) {
        fold_character(character, &mut key);
    }
    Cow::Owned(key.into_bytes())
}

fn fold_character(character: char, key: &mut String) {
    let code = u32::from(character);
    match code {
        0x300..=0x36f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0x200c | 0x200d | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => {}
        0xdf | 0x1e9e => key.push_str("ss"),
        0xc0..=0x17f => key.push(latin(code).unwrap_or(character)),
        0x1e00..=0x1eff => key.push(latin_additional(code).unwrap_or(character)),
        0xff01..=0xff5e => key.push(char::from_u32(code - 0xfee0).unwrap_or(character).to_ascii_lowercase()),
        0xac00..=0xd7a3 => fold_hangul(code - 0xac00, key),
        0x212a => key.push('k'),
        0x3c2 => key.push('\u{3c3}'),
        _ => key.push(character),
    }
}

fn latin(code: u32) -> Option<char> {
    let base = usize::try_from(code.checked_sub(0xc0)?).ok().and_then(|at| LATIN.get(at))?;
    (*base != b'.').then(|| char::from(*base))
}

/// Latin Extended Additional, whose letters stand in runs of one base letter.
fn latin_additional(code: u32) -> Option<char> {
    const RUNS: [(u32, char); 35] = [
        (0x1e00, 'a'),
        (0x1e02, 'b'),
        (0x1e08, 'c'),
        (0x1e0a, 'd'),
        (0x1e14, 'e'),
        (0x1e1e, 'f'),
        (0x1e20, 'g'),
        (0x1e22, 'h'),
        (0x1e2c, 'i'),
        (0x1e30, 'k'),
        (0x1e36, 'l'),
        (0x1e3e, 'm'),
        (0x1e44, 'n'),
        (0x1e4c, 'o'),
        (0x1e54, 'p'),
        (0x1e58, 'r'),
        (0x1e60, 's'),
        (0x1e6a, 't'),
        (0x1e72, 'u'),
        (0x1e7c, 'v'),
        (0x1e80, 'w'),
        (0x1e8a, 'x'),
        (0x1e8e, 'y'),
        (0x1e90, 'z'),
        (0x1e96, 'h'),
        (0x1e97, 't'),
        (0x1e98, 'w'),
        (0x1e99, 'y'),
        (0x1e9a, 'a'),
        (0x1e9b, 's'),
        (0x1ea0, 'a'),
        (0x1eb8, 'e'),
        (0x1ec8, 'i'),
        (0x1ecc, 'o'),
        (0x1ee4, 'u'),
    ];
    if code >= 0x1ef2 {
        return Some('y');
    }
    RUNS.iter().rev().find(|(from, _)| code >= *from).map(|(_, base)| *base)
}

/// A Hangul syllable as its leading consonant, vowel and final consonant.
fn fold_hangul(index: u32, key: &mut String) {
    let parts = [Some(0x1100 + index / 588), Some(0x1161 + index % 588 / 28), (!index.is_multiple_of(28)).then_some(0x11a7 + index % 28)];
    key.extend(parts.into_iter().flatten().filter_map(char::from_u32));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_file_systems_confuse_have_one_key() {
        let pairs = [
            ("README", "readme"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{ff41}\u{ff42}", "ab"),
            ("\u{212a}elvin", "kelvin"),
            ("\u{ac01}", "\u{1100}\u{1161}\u{11a8}"),
            ("\u{1ebf}", "e\u{302}\u{301}"),
            ("\u{17f}et", "set"),
            ("\u{153}", "o"),
        ];
        for (one, other) in pairs {
            assert_eq!(fold(one.as_bytes()), fold(other.as_bytes()), "{one} {other}");
        }
    }

    #[test]
    fn names_that_nobody_confuses_have_two_keys() {
        assert_ne!(fold(b"a"), fold(b"b"));
        assert_ne!(fold("\u{3b1}".as_bytes()), fold("\u{3b2}".as_bytes()));
    }
}
