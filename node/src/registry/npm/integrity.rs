//! What an npm registry promises of a tarball's bytes: subresource integrity and the older `shasum`.

use std::io::{self, Read};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::digest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Most bytes of an integrity text that are looked at.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Promised digests. Every one of them must fit; none at all promises nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Integrity {
    sha512: Option<Vec<u8>>,
    sha384: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
    sha1: Option<Vec<u8>>,
}

impl Integrity {
    /// The promises of an `integrity` text and a `shasum`. What cannot be read promises nothing.
    pub fn parse(integrity: &str, shasum: Option<&str>) -> Self {
        let mut promised = Self::default();
        for word in integrity.get(..integrity.len().min(TEXT_BYTES_MAX)).unwrap_or_default().split_whitespace() {
            let Some((algorithm, text)) = word.split_once('-') else { continue };
            let text = text.split_once('?').map_or(text, |(text, _)| text);
            let Ok(bytes) = BASE64.decode(text.as_bytes()) else { continue };
            let (slot, length) = match algorithm {
                "sha512" => (&mut promised.sha512, 64),
                "sha384" => (&mut promised.sha384, 48),
                "sha256" => (&mut promised.sha256, 32),
                "sha1" => (&mut promised.sha1, 20),
                _ => continue,
            };
            if slot.is_none() && bytes.len() == length {
                *slot = Some(bytes);
            }
        }
        let shasum = shasum.and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()).filter(|bytes| bytes.len() == 20);
        promised.sha1 = promised.sha1.or(shasum);
        promised
    }

    /// Whether nothing is promised.
    pub fn is_empty(&self) -> bool {
        self.strongest().is_none()
    }

    /// The strongest promise as one word that can stand in a file's name.
    pub fn key(&self) -> Option<String> {
        self.strongest().map(|(algorithm, bytes)| format!("{algorithm}-{}", HEXLOWER.encode(bytes)))
    }

    /// The first broken promise among all, strongest first.
    pub fn verify(&self, mut reader: impl Read) -> io::Result<Option<&'static str>> {
        let (mut sha512, mut sha384, mut sha256) = (Sha512::new(), Sha384::new(), Sha256::new());
        let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        let mut chunk = vec![0; 128 << 10];
        loop {
            let count = reader.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            let bytes = &chunk[..count];
            self.sha512.is_some().then(|| sha512.update(bytes));
            self.sha384.is_some().then(|| sha384.update(bytes));
            self.sha256.is_some().then(|| sha256.update(bytes));
            self.sha1.is_some().then(|| sha1.update(bytes));
        }
        let differs = |promised: &Option<Vec<u8>>, got: &[u8]| promised.as_ref().is_some_and(|promised| promised != got);
        let broken = [
            ("sha512", differs(&self.sha512, &sha512.finalize())),
            ("sha384", differs(&self.sha384, &sha384.finalize())),
            ("sha256", differs(&self.sha256, &sha256.finalize())),
            ("sha1", differs(&self.sha1, sha1.finish().as_ref())),
        ];
        Ok(broken.into_iter().find(|(_, broken)| *broken).map(|(algorithm, _)| algorithm))
    }

    fn strongest(&self) -> Option<(&'static str, &[u8])> {
        let all = [("sha512", &self.sha512), ("sha384", &self.sha384), ("sha256", &self.sha256), ("sha1", &self.sha1)];
        all.into_iter().find_map(|(algorithm, bytes)| Some((algorithm, bytes.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SHA512: &str = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
    const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    #[test]
    fn every_promise_must_be_kept() {
        let broken = |integrity: &str, shasum: Option<&str>, bytes: &[u8]| Integrity::parse(integrity, shasum).verify(bytes).unwrap();
        assert_eq!(broken(SHA512, Some(SHA1), b"abc"), None);
        assert_eq!(broken(SHA512, Some(SHA1), b"abd"), Some("sha512"));
        assert_eq!(broken("", Some(SHA1), b"abd"), Some("sha1"));
        let other = SHA1.replace('a', "b");
        assert_eq!(broken(SHA512, Some(&other), b"abc"), Some("sha1"));
    }

    #[test]
    fn what_cannot_be_read_promises_nothing() {
        for text in ["", "sha512-", "sha512-AAAA", "md5-kAFQmDzST7DWlj99KOF/cg==", "nonsense", &"x".repeat(10_000)] {
            assert!(Integrity::parse(text, Some("xyz")).is_empty(), "{text:?}");
        }
        assert!(Integrity::parse(SHA512, None).key().unwrap().starts_with("sha512-ddaf35a1"));
        assert_eq!(Integrity::parse(&format!("{SHA512}?opt sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0="), None).verify(&b"abc"[..]).unwrap(), None);
    }
}
