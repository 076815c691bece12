//! What normalising drops, by pass: of an archive as a whole as it stands, of its members in few bytes.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::pass::Pass;

/// Bytes up to which the facts of a pass are kept as they are.
const SEAL_BYTES: usize = 32;

/// Length of a fact from which on it takes more than one byte to write.
const LONG_FACT: u64 = 0xff;

/// What a reader met, by pass, in its order.
#[derive(Default)]
pub(crate) struct Facts<'a>(Vec<(Pass, Fact<'a>)>);

#[derive(PartialEq, Eq)]
enum Fact<'a> {
    Bytes(Cow<'a, [u8]>),
    /// A fact whose bytes are gone.
    Hashed([u8; 32]),
}

impl<'a> Facts<'a> {
    pub(crate) fn add(&mut self, pass: Pass, value: impl Into<Cow<'a, [u8]>>) {
        self.0.push((pass, Fact::Bytes(value.into())));
    }

    pub(crate) fn append(&mut self, mut other: Facts<'a>) {
        self.0.append(&mut other.0);
    }

    /// Whether both sides have the same facts for `pass`.
    pub(crate) fn agree(&self, other: &Facts<'_>, pass: Pass) -> bool {
        self.of(pass).eq(other.of(pass))
    }

    /// The facts of each pass in at most [`SEAL_BYTES`], so that an archive of many members fits in memory.
    pub(crate) fn seal(&self) -> Seals {
        let mut passes: Vec<Pass> = self.0.iter().map(|(pass, _)| *pass).collect();
        passes.sort_unstable();
        passes.dedup();
        let mut text = Vec::with_capacity(4 * SEAL_BYTES);
        let seal = |pass| {
            text.clear();
            self.of(pass).for_each(|fact| fact.write(&mut text));
            Seal::of(pass, &text)
        };
        Seals(passes.into_iter().map(seal).collect())
    }

    /// The same facts, without the bytes that they were read from.
    pub(crate) fn into_owned(self) -> Facts<'static> {
        let own = |(pass, fact)| match fact {
            Fact::Bytes(Cow::Owned(bytes)) => (pass, Fact::Bytes(Cow::Owned(bytes))),
            Fact::Bytes(Cow::Borrowed(bytes)) => (pass, Fact::Hashed(Sha256::digest(bytes).into())),
            Fact::Hashed(digest) => (pass, Fact::Hashed(digest)),
        };
        Facts(self.0.into_iter().map(own).collect())
    }

    fn of(&self, pass: Pass) -> impl Iterator<Item = &Fact<'a>> {
        self.0.iter().filter(move |(of, _)| *of == pass).map(|(_, fact)| fact)
    }
}

impl Fact<'_> {
    /// Length and bytes, so that two facts are never read as one.
    fn write(&self, text: &mut Vec<u8>) {
        let bytes = match self {
            Self::Bytes(bytes) => bytes,
            Self::Hashed(digest) => &digest[..],
        };
        let len = crate::fields::len64(bytes);
        match u8::try_from(len) {
            Ok(short) if len < LONG_FACT => text.push(short),
            _ => {
                text.push(u8::MAX);
                text.extend(len.to_le_bytes());
            }
        }
        text.extend_from_slice(bytes);
    }
}

/// What normalising drops of a member.
#[derive(Default)]
pub(crate) struct Seals(Box<[Seal]>);

/// The facts of one pass: as they are, or hashed.
#[derive(PartialEq, Eq)]
struct Seal {
    pass: Pass,
    /// How many bytes there are; none, if they are hashed.
    len: Option<u8>,
    value: [u8; SEAL_BYTES],
}

impl Seals {
    /// Whether both members have the same facts for `pass`.
    pub(crate) fn agree(&self, other: &Self, pass: Pass) -> bool {
        let of = |seals: &'_ Self| seals.0.iter().position(|seal| seal.pass == pass);
        match (of(self), of(other)) {
            (Some(one), Some(two)) => self.0.get(one) == other.0.get(two),
            (one, two) => one.is_none() && two.is_none(),
        }
    }
}

impl Seal {
    fn of(pass: Pass, text: &[u8]) -> Self {
        let mut value = [0; SEAL_BYTES];
        match value.get_mut(..text.len()) {
            Some(short) => short.copy_from_slice(text),
            None => value = Sha256::digest(text).into(),
        }
        let len = u8::try_from(text.len()).ok().filter(|_| text.len() <= SEAL_BYTES);
        Self { pass, len, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(facts: &[&'static [u8]]) -> Seals {
        let mut all = Facts::default();
        for fact in facts {
            all.add(Pass::TarTimes, *fact);
        }
        all.seal()
    }

    #[test]
    fn facts_of_other_bytes_or_another_division_do_not_agree() {
        let long: &[u8] = &[1; 300];
        for (one, other) in [
            (&[&b"ab"[..], b"c"][..], &[&b"a"[..], b"bc"][..]),
            (&[b"a"], &[b"a", b""]),
            (&[b"a\0"], &[b"a"]),
            (&[long], &[&[1; 299]]),
            (&[&[2; 31]], &[&[2; 32]]),
            (&[], &[b""]),
        ] {
            assert!(!sealed(one).agree(&sealed(other), Pass::TarTimes), "{one:?}");
            assert!(sealed(one).agree(&sealed(one), Pass::TarTimes), "{one:?}");
        }
        assert!(sealed(&[b"a"]).agree(&sealed(&[b"b"]), Pass::TarOwner));
    }
}
