//! What registries say, in one form for all of them: published files, changed packages, places in a feed.

use std::collections::BTreeSet;

use quorate_proto::{Digest, FileName, Purl, Timestamp};
use serde::{Deserialize, Serialize};

/// One published file, as its registry lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The release, with its version.
    pub package: Purl,
    /// The file of it.
    pub file: FileName,
    /// What the registry says of its bytes, such as `sha256:…` or `sha512-…`; empty where it says nothing.
    pub checksum: String,
    /// When it was published, where the registry says so.
    pub published_at: Option<Timestamp>,
    /// Whether it belongs to the newest release.
    pub currency: Currency,
}

/// Whether a file belongs to its package's newest release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Currency {
    /// It does.
    Current,
    /// It belongs to an older one, or to one that its registry does not recommend.
    Past,
}

/// All files that a registry lists for one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files.
    pub artifacts: Vec<Artifact>,
    /// The number of the last change that the page knows of, where it says so: an older page is stale.
    pub serial: Option<u64>,
}

/// A package that a feed says has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The package, without a version.
    pub package: Purl,
    /// The versions that the feed names; none where it names packages only.
    pub versions: BTreeSet<String>,
    /// The number of the change.
    pub serial: Option<u64>,
}

/// A place in a feed: everything up to it was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Position {
    /// Its number: a later place has a higher one.
    pub number: u64,
    /// What the registry is told, in its own words.
    pub token: String,
}

/// What a poll of a feed brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where the feed ends now, where the registry says so.
    pub head: Option<Position>,
    /// The oldest place that the page reaches back to, where a feed is a window that moves on.
    pub oldest: Option<u64>,
    /// The packages that changed behind the place asked for.
    pub changes: Vec<Change>,
    /// Whole listings by watched package, where the feed is an index that holds everything.
    pub found: Vec<(Purl, Listing)>,
    /// The place behind this page.
    pub next: Position,
    /// Whether there is more behind it.
    pub rest: Rest,
}

/// Whether a feed goes on behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There is more now.
    More,
    /// This was all.
    Nothing,
}

/// Names what a watch has dealt with: a SHA-256, never shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; KEY_BYTES]);

/// Bytes of a [`Key`].
pub const KEY_BYTES: usize = 32;

impl Artifact {
    /// Names this file with these bytes.
    pub fn key(&self) -> Key {
        Key::of(&format!("artifact\n{}\n{}\n{}", self.package, self.file, self.checksum))
    }

    /// The digest of its bytes, where the registry states a SHA-256.
    pub fn digest(&self) -> Option<Digest> {
        self.checksum.strip_prefix("sha256:").and_then(|hex| Digest::from_hex(hex).ok())
    }
}

impl Position {
    /// A place in a feed whose places are plain numbers.
    pub fn at(number: u64) -> Self {
        Self { number, token: number.to_string() }
    }
}

impl Key {
    /// Says that the watch of a package has begun: what it listed by then is no news.
    pub fn begun(package: &Purl) -> Self {
        Self::of(&format!("begun\n{package}"))
    }

    /// From its bytes on disk.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn of(text: &str) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(text.as_bytes()).into())
    }
}
