//! One 512-byte tar header: its fields, what is wrong with them, and what passes drop of them.

use std::borrow::Cow;

use quorate_proto::comparison::AnomalyKind;

use crate::pass::Pass;
use crate::reading::{Kind, describe};

/// Size of a tar block.
pub(super) const BLOCK_BYTES: usize = 512;

/// A tar block.
pub(super) type Block = [u8; BLOCK_BYTES];

/// Bytes of the name field.
pub(super) const NAME_LEN: usize = 100;

/// Largest size that eleven octal digits can say.
pub(super) const OCTAL_SIZE_MAX: u64 = 0o777_7777_7777;

const MODE: Field = Field { at: 100, len: 8 };
const UID: Field = Field { at: 108, len: 8 };
const GID: Field = Field { at: 116, len: 8 };
const SIZE: Field = Field { at: 124, len: 12 };
const MTIME: Field = Field { at: 136, len: 12 };
const CHECKSUM: Field = Field { at: 148, len: 8 };
const TYPE: Field = Field { at: 156, len: 1 };
const NAME: Field = Field { at: 0, len: NAME_LEN };
const LINK: Field = Field { at: 157, len: 100 };
const MAGIC: Field = Field { at: 257, len: 8 };
const USER: Field = Field { at: 265, len: 32 };
const GROUP: Field = Field { at: 297, len: 32 };
const MAJOR: Field = Field { at: 329, len: 8 };
const MINOR: Field = Field { at: 337, len: 8 };
const PREFIX: Field = Field { at: 345, len: 155 };
const REST: Field = Field { at: 500, len: 12 };

const MAGIC_USTAR: &[u8] = b"ustar\x0000";
const MAGIC_GNU: &[u8] = b"ustar  \0";
const MAGIC_NONE: &[u8] = &[0; 8];

#[derive(Clone, Copy)]
struct Field {
    at: usize,
    len: usize,
}

/// A header whose checksum and size are right.
pub(super) struct Header<'b> {
    block: &'b Block,
}

/// Why a block is no header.
pub(super) struct Fault {
    pub(super) kind: AnomalyKind,
    pub(super) detail: &'static str,
}

impl<'b> Header<'b> {
    /// Takes a block whose checksum matches and whose size can be read.
    pub(super) fn parse(block: &'b Block) -> Result<Self, Fault> {
        let header = Self { block };
        let sum: u64 = block.iter().enumerate().map(|(at, byte)| if CHECKSUM.covers(at) { 0x20 } else { u64::from(*byte) }).sum();
        if header.number(CHECKSUM) != Some(sum) {
            return Err(Fault { kind: AnomalyKind::ChecksumMismatch, detail: "header checksum does not match" });
        }
        if header.size().is_none() {
            return Err(Fault { kind: AnomalyKind::NonCanonical, detail: "size is no number" });
        }
        Ok(header)
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.raw(TYPE).first().copied().unwrap_or_default()
    }

    pub(super) fn is_link(&self) -> bool {
        matches!(self.type_flag(), b'1' | b'2')
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.number(SIZE)
    }

    pub(super) fn mode(&self) -> u64 {
        self.number(MODE).unwrap_or_default()
    }

    /// The name field alone.
    pub(super) fn short_name(&self) -> &'b [u8] {
        text(self.raw(NAME))
    }

    pub(super) fn short_link(&self) -> &'b [u8] {
        text(self.raw(LINK))
    }

    /// The name, with the prefix where the dialect has one.
    pub(super) fn name(&self) -> Vec<u8> {
        let prefix = text(self.raw(PREFIX));
        if self.raw(MAGIC) != MAGIC_USTAR || prefix.is_empty() {
            return self.short_name().to_vec();
        }
        [prefix, self.short_name()].join(&b'/')
    }

    /// What is wrong with fields that decide nothing else.
    pub(super) fn lint(&self) -> Vec<(AnomalyKind, String)> {
        let mut faults = Vec::new();
        let mut add = |detail: String| faults.push((AnomalyKind::NonCanonical, detail));
        let magic = self.raw(MAGIC);
        if ![MAGIC_USTAR, MAGIC_GNU, MAGIC_NONE].contains(&magic) {
            add(format!("magic `{}`", magic.escape_ascii()));
        }
        let texts = [("name", NAME), ("link name", LINK), ("user name", USER), ("group name", GROUP)];
        for (what, field) in texts {
            let raw = self.raw(field);
            if raw.iter().skip(text(raw).len()).any(|&byte| byte != 0) {
                add(format!("data behind the {what}: {}", describe(raw)));
            }
        }
        let prefix = self.raw(PREFIX);
        let prefix_len = if magic == MAGIC_USTAR { text(prefix).len() } else { 0 };
        let hides_in_prefix = prefix.iter().skip(prefix_len).any(|&byte| byte != 0);
        if hides_in_prefix {
            add(format!("data in or behind the prefix: {}", describe(prefix)));
        }
        if self.raw(REST).iter().any(|&byte| byte != 0) {
            add(format!("data behind the header: {}", describe(self.raw(REST))));
        }
        let numbers = [("mode", MODE), ("uid", UID), ("gid", GID), ("mtime", MTIME), ("device major", MAJOR), ("device minor", MINOR)];
        for (what, field) in numbers.into_iter().filter(|(_, field)| !self.is_number(*field)) {
            add(format!("{what} is no number: `{}`", self.raw(field).escape_ascii()));
        }
        if self.raw(SIZE).first().is_some_and(|byte| byte & 0x80 != 0) && self.size().is_some_and(|size| size <= OCTAL_SIZE_MAX) {
            add("binary size that octal digits could say".to_owned());
        }
        faults
    }

    /// What passes drop of this header.
    pub(super) fn facts(&self) -> impl Iterator<Item = (Pass, Cow<'b, [u8]>)> + use<'b> {
        let mode = (Pass::ModeBits, Cow::Borrowed(trimmed(self.raw(MODE))));
        self.shared_facts().chain([mode])
    }

    /// Mode and owner in one word, and the numbers of a device.
    pub(super) fn access(&self, kind: Kind) -> String {
        let [mode, uid, gid, major, minor] = [MODE, UID, GID, MAJOR, MINOR].map(|field| self.number(field).unwrap_or_default());
        let [user, group] = [USER, GROUP].map(|field| text(self.raw(field)).escape_ascii().to_string());
        let access = format!("{mode:04o}:{uid}:{gid}:{user}:{group}");
        if kind == Kind::Special { format!("{access}:{major}:{minor}") } else { access }
    }

    /// What passes drop of an extension header: all but its time and owner is format.
    pub(super) fn extension_facts(&self) -> impl Iterator<Item = (Pass, Vec<u8>)> + use<'b> {
        let mode = (Pass::TarFormat, Cow::Borrowed(trimmed(self.raw(MODE))));
        self.shared_facts().chain([mode]).map(|(pass, fact)| (pass, fact.into_owned()))
    }

    /// Fields have one length, so the zeros behind them say nothing.
    fn shared_facts(&self) -> impl Iterator<Item = (Pass, Cow<'b, [u8]>)> + use<'b> {
        let time = [(Pass::TarTimes, trimmed(self.raw(MTIME)))];
        let owner = [UID, GID, USER, GROUP, MAJOR, MINOR].map(|field| (Pass::TarOwner, trimmed(self.raw(field))));
        let format = [MAGIC, NAME, LINK, PREFIX, REST, TYPE].map(|field| (Pass::TarFormat, trimmed(self.raw(field))));
        let spelling = [SIZE, CHECKSUM].map(|field| (Pass::TarFormat, Cow::Owned(form(self.raw(field)))));
        let fields = time.into_iter().chain(owner).chain(format).map(|(pass, field)| (pass, Cow::Borrowed(field)));
        fields.chain(spelling)
    }

    fn raw(&self, field: Field) -> &'b [u8] {
        self.block.get(field.at..field.at + field.len).unwrap_or_default()
    }

    fn number(&self, field: Field) -> Option<u64> {
        parse_number(self.raw(field))
    }

    /// A number, a blank field, or binary of any sign.
    fn is_number(&self, field: Field) -> bool {
        let raw = self.raw(field);
        let is_binary = matches!(raw.first(), Some(0x80 | 0xff));
        is_binary || raw.iter().all(|byte| matches!(byte, 0 | b' ')) || self.number(field).is_some()
    }
}

impl Field {
    fn covers(self, at: usize) -> bool {
        (self.at..self.at + self.len).contains(&at)
    }
}

/// Up to the first NUL.
fn text(raw: &[u8]) -> &[u8] {
    raw.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Without the zeros at the end.
fn trimmed(raw: &[u8]) -> &[u8] {
    let len = raw.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    raw.get(..len).unwrap_or_default()
}

/// Octal digits after spaces and before NUL or spaces; or, after a byte of 0x80, a binary number.
fn parse_number(raw: &[u8]) -> Option<u64> {
    if let [0x80, binary @ ..] = raw {
        let (high, low) = binary.split_at_checked(binary.len().checked_sub(8)?).unwrap_or((&[], binary));
        let low: Option<[u8; 8]> = low.try_into().ok();
        return low.filter(|_| high.iter().all(|&byte| byte == 0)).map(u64::from_be_bytes);
    }
    let start = raw.iter().position(|&byte| byte != b' ')?;
    let digits = raw.get(start..)?;
    let len = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(len)?;
    if digits.is_empty() || rest.iter().any(|&byte| byte != 0 && byte != b' ') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// A number with its digits made alike, so that only the way of writing it is left.
fn form(raw: &[u8]) -> Vec<u8> {
    raw.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_and_nothing_else() {
        assert_eq!(parse_number(b"0000644\0"), Some(0o644));
        assert_eq!(parse_number(b"   644 \0"), Some(0o644));
        assert_eq!(parse_number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        for raw in [&b"0000648\0"[..], b"\0\0\0\0\0\0\0\0", b"-000644\0", b"644\0x\0\0\0", b"\x80\x01\0\0\0\0\0\0\0\0\0\0", b"        "] {
            assert_eq!(parse_number(raw), None, "{raw:?}");
        }
    }
}
