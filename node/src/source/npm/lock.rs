//! Lock files of npm, yarn and pnpm, as far as they say which versions a build used. Pure.
//!
//! Only exact versions and checksums are taken out of them. What cannot be read pins nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::registry::npm::PackageName;
use crate::registry::npm::packument::{version, word};

/// Most pinned versions that are taken out of a lock file.
const PINS_MAX: usize = 20_000;
/// How deep the tree of an old lock file is read.
const DEPTH_MAX: usize = 64;
/// Most bytes of a checksum.
const INTEGRITY_BYTES_MAX: usize = 1000;

/// Exact versions by package; each with its checksum, where the lock file has one that registries use.
pub type Pins = BTreeMap<PackageName, BTreeMap<String, Option<String>>>;

/// A lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whose it is.
    pub kind: LockKind,
    /// What it pins.
    pub pins: Pins,
}

/// Whose lock file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// npm's, published with the package.
    Shrinkwrap,
    /// npm's.
    Npm,
    /// yarn's, of either generation.
    Yarn,
    /// pnpm's.
    Pnpm,
}

impl LockKind {
    /// All of them, in the order in which they are looked for.
    pub const ALL: [Self; 4] = [Self::Shrinkwrap, Self::Npm, Self::Yarn, Self::Pnpm];

    /// The file's name.
    pub fn file(self) -> &'static str {
        match self {
            Self::Shrinkwrap => "npm-shrinkwrap.json",
            Self::Npm => "package-lock.json",
            Self::Yarn => "yarn.lock",
            Self::Pnpm => "pnpm-lock.yaml",
        }
    }

    /// Whether `npm ci` understands it.
    pub fn is_npms(self) -> bool {
        matches!(self, Self::Shrinkwrap | Self::Npm)
    }
}

/// Reads a lock file.
pub fn parse(kind: LockKind, bytes: &[u8]) -> Lock {
    let mut pinning = Pinning::default();
    match kind {
        LockKind::Shrinkwrap | LockKind::Npm => pinning.npm(&serde_json::from_slice(bytes).unwrap_or_default()),
        LockKind::Yarn => pinning.yarn(&String::from_utf8_lossy(bytes)),
        LockKind::Pnpm => pinning.pnpm(&String::from_utf8_lossy(bytes)),
    }
    Lock { kind, pins: pinning.pins }
}

#[derive(Default)]
struct Pinning {
    pins: Pins,
    count: usize,
}

impl Pinning {
    fn pin(&mut self, name: &str, text: &str, integrity: Option<&str>) {
        let (Ok(name), Some(version)) = (name.parse::<PackageName>(), version(text)) else { return };
        if self.count >= PINS_MAX {
            return;
        }
        self.count += 1;
        let integrity = integrity.filter(|text| text.len() <= INTEGRITY_BYTES_MAX).map(str::to_owned);
        let pinned = self.pins.entry(name).or_default().entry(version.to_string()).or_default();
        *pinned = pinned.take().or(integrity);
    }

    fn npm(&mut self, lock: &Value) {
        for (path, entry) in lock["packages"].as_object().into_iter().flatten() {
            let Some((_, last)) = path.rsplit_once("node_modules/") else { continue };
            // An alias has its package's own name beside it.
            let name = word(&entry["name"]).unwrap_or(last);
            self.pin(name, word(&entry["version"]).unwrap_or_default(), word(&entry["integrity"]));
        }
        if lock["packages"].is_null() {
            self.nested(&lock["dependencies"], 0);
        }
    }

    fn nested(&mut self, dependencies: &Value, depth: usize) {
        for (name, entry) in dependencies.as_object().into_iter().flatten().filter(|_| depth < DEPTH_MAX) {
            self.pin(name, word(&entry["version"]).unwrap_or_default(), word(&entry["integrity"]));
            self.nested(&entry["dependencies"], depth + 1);
        }
    }

    /// Both generations: a line of `name@range` texts that ends in a colon, then indented fields.
    fn yarn(&mut self, text: &str) {
        let (mut name, mut pinned) = (None, None);
        for line in text.lines() {
            if !line.starts_with([' ', '\t', '#']) {
                pinned = None;
                name = line.trim().strip_suffix(':').and_then(|line| yarn_name(line.split(", ").next()?));
                continue;
            }
            let Some(name) = name else { continue };
            let field = line.trim();
            if let Some(text) = field.strip_prefix("version ").or_else(|| field.strip_prefix("version: ")) {
                let text = text.trim_matches('"');
                pinned = Some(text);
                self.pin(name, text, None);
            } else if let (Some(text), Some(version)) = (field.strip_prefix("integrity "), pinned) {
                self.pin(name, version, Some(text.trim_matches('"')));
            }
        }
    }

    /// Keys such as `/name@1.0.0(peer@1):`, `name@1.0.0:` or `/name/1.0.0:` under `packages:`.
    fn pnpm(&mut self, text: &str) {
        let (mut is_packages, mut key) = (false, None);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if !line.starts_with(' ') {
                is_packages = line.trim_end() == "packages:";
                continue;
            }
            if is_packages && line.starts_with("  ") && !line.starts_with("   ") {
                key = line.trim().strip_suffix(':').and_then(pnpm_key);
                if let Some((name, version)) = key {
                    self.pin(name, version, None);
                }
            } else if let (Some((name, version)), Some((_, text))) = (key.filter(|_| is_packages), line.split_once("integrity: ")) {
                self.pin(name, version, Some(text.split(['}', ',']).next().unwrap_or_default().trim()));
            }
        }
    }
}

/// `"@scope/name@npm:^1.0.0"` → `@scope/name`; an alias names another package behind `npm:`.
fn yarn_name(text: &str) -> Option<&str> {
    let text = text.trim_matches('"');
    let at = text.get(1..)?.find('@')? + 1;
    let (name, range) = (&text[..at], &text[at + 1..]);
    let behind = range.strip_prefix("npm:").and_then(|rest| Some((rest, rest.get(1..)?.find('@')? + 1)));
    Some(behind.map_or(name, |(rest, at)| &rest[..at]))
}

fn pnpm_key(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_matches(['\'', '"']);
    let text = text.strip_prefix('/').unwrap_or(text);
    let text = text.split('(').next()?;
    let by_at = text.get(1..)?.find('@').map(|at| (&text[..=at], &text[at + 2..]));
    let by_slash = || text.split('_').next()?.rsplit_once('/');
    by_at.filter(|(_, text)| version(text).is_some()).filter(|(name, _)| name.parse::<PackageName>().is_ok()).or_else(by_slash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(kind: LockKind, text: &str) -> Vec<String> {
        let pins = parse(kind, text.as_bytes()).pins;
        let line =
            |name: &PackageName, version: &String, sum: &Option<String>| format!("{name}@{version} {}", sum.as_deref().unwrap_or("-"));
        pins.iter().flat_map(|(name, versions)| versions.iter().map(move |(version, sum)| line(name, version, sum))).collect()
    }

    #[test]
    fn every_generation_of_npms_lock_pins() {
        let new = r#"{"lockfileVersion":3,"packages":{"":{"version":"9.9.9"},"node_modules/a":{"version":"1.0.0","integrity":"sha512-x"},
            "node_modules/a/node_modules/@s/b":{"version":"2.0.0"},"node_modules/alias":{"name":"real","version":"3.0.0"},
            "node_modules/link":{"link":true},"packages/own":{"version":"1.0.0"}}}"#;
        assert_eq!(pinned(LockKind::Npm, new), ["@s/b@2.0.0 -", "a@1.0.0 sha512-x", "real@3.0.0 -"]);
        let old = r#"{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0","integrity":"sha1-x"}}},
            "git":{"version":"git+ssh://x"}}}"#;
        assert_eq!(pinned(LockKind::Shrinkwrap, old), ["a@1.0.0 -", "b@2.0.0 sha1-x"]);
    }

    #[test]
    fn both_generations_of_yarns_lock_pin() {
        let classic = "# yarn lockfile v1\n\n\n\"@s/a@^1.0.0\", \"@s/a@^1.1.0\":\n  version \"1.1.0\"\n  resolved \"https://x/y#z\"\n  integrity sha512-x\n  dependencies:\n    b \"^2\"\n\nb@^2:\n  version \"2.0.0\"\n";
        assert_eq!(pinned(LockKind::Yarn, classic), ["@s/a@1.1.0 sha512-x", "b@2.0.0 -"]);
        let berry = "__metadata:\n  version: 6\n\n\"@s/a@npm:^1.0.0, @s/a@npm:1\":\n  version: 1.1.0\n  checksum: abc\n\n\"alias@npm:real@^3\":\n  version: 3.0.0\n";
        assert_eq!(pinned(LockKind::Yarn, berry), ["@s/a@1.1.0 -", "real@3.0.0 -"]);
    }

    #[test]
    fn every_generation_of_pnpms_lock_pins() {
        let text = "lockfileVersion: '6.0'\n\nimporters:\n\n  .:\n    x: 1\n\npackages:\n\n  /@s/a@1.1.0(peer@2.0.0):\n    resolution: {integrity: sha512-x}\n    dev: true\n\n  b@2.0.0:\n    resolution: {integrity: sha512-y, tarball: z}\n\n  /c/3.0.0_peer@1:\n    dev: true\n\nsnapshots:\n\n  d@4.0.0: {}\n";
        assert_eq!(pinned(LockKind::Pnpm, text), ["@s/a@1.1.0 sha512-x", "b@2.0.0 sha512-y", "c@3.0.0 -"]);
    }

    #[test]
    fn what_is_no_lock_pins_nothing() {
        for kind in LockKind::ALL {
            for text in ["", "{", "[]", ":", "\"\":", "@:\n  version x", "packages:\n  /:\n  @:\n  a@:\n", "é@é:\n version 1"] {
                assert_eq!(pinned(kind, text), [""; 0], "{kind:?} {text:?}");
            }
        }
        let deep = "{\"dependencies\":{\"a\":".repeat(100) + "{\"version\":\"1.0.0\"}" + &"}}".repeat(100);
        assert_eq!(pinned(LockKind::Npm, &deep), [""; 0]);
    }
}
