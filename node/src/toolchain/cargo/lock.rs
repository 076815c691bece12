//! The lock file of a cargo that is built here: what its makers' own build had otherwise, and what does not
//! build any more. Pure.
//!
//! The crate's lock file was made on the day of the release. The makers' own build had what was locked when
//! the version left the main line, ten weeks before; that shows where a dependency's constants are in what
//! cargo writes. Everything else is taken as locked, for as long as this machine's rustc takes it.

use std::time::Duration;

use quorate_proto::Timestamp;
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::registry::cargo::{CrateName, Line, is_same};

/// The crate that writes archives: its constants stand in their headers.
pub(super) const WRITER: &str = "tar";
/// From when a version of cargo leaves the main line until it is out: six weeks of beta, and about four
/// between two updates of the main line's lock file.
const LOCKED_BEFORE: Duration = Duration::from_hours(70 * 24);
/// Words before the name of a crate whose build failed, and before that of one which lacks something.
const FAILED: [&str; 2] = ["could not compile `", "failed to run custom build command for `"];
const LACKS: [&str; 3] = ["unresolved import `", "` in `", " in crate `"];
/// The crate that is built.
const ITSELF: &str = "cargo";

/// A locked package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: Version,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LockFile {
    package: Vec<PackageOnDisk>,
}

#[derive(Deserialize)]
struct PackageOnDisk {
    name: String,
    version: String,
}

/// What an index says a version depends on.
#[derive(Deserialize)]
struct Requirements {
    deps: Vec<Requirement>,
}

#[derive(Deserialize)]
struct Requirement {
    name: String,
    req: String,
}

/// What is replaced in a lock file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// The writer of archives, to the version of the makers' build.
    Lowered(CrateName),
    /// A dependency that does not build here, with what it needs itself.
    Renewed(CrateName),
    /// A dependency that lacks what cargo takes from it.
    Raised(CrateName),
    /// Everything but the writer of archives: cargo itself does not build, and nobody else is named.
    All,
}

impl Change {
    /// Arguments of cargo that make the change, some to a version of their own.
    pub(super) fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Renewed(name) => vec!["update", "--recursive", "--package", name.as_str()],
            Self::Lowered(name) | Self::Raised(name) => vec!["update", "--package", name.as_str()],
            Self::All => vec!["update"],
        }
    }
}

/// The version after the locked one. Crates that are released together need each other's version, and not the
/// newest.
pub(super) fn version_after(lines: &[Line], name: &CrateName, locked: &[Package]) -> Option<Version> {
    let own = version_of(name, locked)?;
    let after = lines.iter().map(|line| &line.version).filter(|version| version.pre.is_empty() && *version > own);
    after.min().cloned()
}

/// The locked version of a crate, the newest if there are several.
pub(super) fn version_of<'l>(name: &CrateName, locked: &'l [Package]) -> Option<&'l Version> {
    locked.iter().filter(|package| package.name == name.as_str()).map(|package| &package.version).max()
}

/// The changes in words, by the lock file that came of them.
pub(super) fn words(changes: &[Change], locked: &[Package]) -> Vec<String> {
    let one = |name: &CrateName| version_of(name, locked).map_or_else(|| format!("{name}, gone"), |version| format!("{name} {version}"));
    let each = changes.iter().map(|change| match change {
        Change::Lowered(name) | Change::Raised(name) => one(name),
        Change::Renewed(name) => format!("{}, and what it needs", one(name)),
        Change::All => format!("all but {WRITER} to the newest"),
    });
    each.collect()
}

/// The packages of a lock file; none where it is not understood.
pub(super) fn packages(text: &str) -> Vec<Package> {
    let file = toml::from_str::<LockFile>(text).unwrap_or_default();
    let package = |PackageOnDisk { name, version }| Some(Package { name, version: Version::parse(&version).ok()? });
    file.package.into_iter().filter_map(package).collect()
}

/// The version of the archive writer that this cargo's makers had: the newest one of its day that cargo asks
/// for, where the lock file has a newer one.
pub(super) fn writer_then(cargo: &Line, writers: &[Line], locked: &[Package]) -> Option<Version> {
    let locked_at = cargo.published_at?.unix_seconds() - i64::try_from(LOCKED_BEFORE.as_secs()).ok()?;
    let is_of_then = |time: &Timestamp| time.unix_seconds() < locked_at;
    let requirements = serde_json::from_str::<Requirements>(&cargo.text).ok()?;
    let is_asked_for = |version: &Version| {
        let mut all = requirements.deps.iter().filter(|requirement| requirement.name == WRITER);
        version.pre.is_empty() && all.all(|requirement| VersionReq::parse(&requirement.req).is_ok_and(|req| req.matches(version)))
    };
    let of_then = writers.iter().filter(|line| line.published_at.as_ref().is_some_and(is_of_then) && is_asked_for(&line.version));
    let newest = of_then.map(|line| &line.version).max()?;
    let own = locked.iter().find(|package| package.name == WRITER)?;
    (*newest < own.version).then(|| newest.clone())
}

/// What may help a build that failed, by cargo's and rustc's words.
pub(super) fn changes(log: &str, locked: &[Package]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for name in named(log, &FAILED) {
        if name.as_str() == ITSELF {
            let lacking = named(log, &LACKS).into_iter().filter_map(|name| locked_as(&name, locked));
            changes.extend(lacking.map(Change::Raised));
        } else {
            changes.push(Change::Renewed(name));
        }
    }
    if changes.is_empty() && named(log, &FAILED).iter().any(|name| name.as_str() == ITSELF) {
        changes.push(Change::All);
    }
    changes.sort();
    changes.dedup();
    changes
}

/// The names of crates behind any of `words`.
fn named(log: &str, words: &[&str]) -> Vec<CrateName> {
    let behind = |word: &&str| log.split(*word).skip(1).filter_map(name_at).collect::<Vec<_>>();
    words.iter().flat_map(behind).collect()
}

fn name_at(text: &str) -> Option<CrateName> {
    text.split(['`', ' ', ':']).next()?.parse().ok()
}

/// A dependency by the name that rustc knows it by.
fn locked_as(name: &CrateName, locked: &[Package]) -> Option<CrateName> {
    let found = locked.iter().find(|package| is_same(&package.name, name.as_str()) && package.name != ITSELF)?;
    found.name.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::registry::cargo::parse;

    fn line(name: &str, version: &str, day: &str, deps: &str) -> Line {
        let hex = "0".repeat(64);
        let text = format!(r#"{{"name":"{name}","vers":"{version}","deps":[{deps}],"cksum":"{hex}","pubtime":"{day}T12:00:00Z"}}"#);
        parse(text.as_bytes(), &name.parse().unwrap()).unwrap().remove(0)
    }

    fn locked(packages: &[(&str, &str)]) -> Vec<Package> {
        let package = |(name, version): &(&str, &str)| Package { name: (*name).to_owned(), version: version.parse().unwrap() };
        packages.iter().map(package).collect()
    }

    fn writers() -> Vec<Line> {
        let days = [("0.4.36", "2021-08-10"), ("0.4.37", "2021-08-12"), ("0.4.38", "2021-12-14")];
        days.iter().map(|(version, day)| line("tar", version, day, "")).collect()
    }

    #[test]
    fn archives_are_written_by_what_was_locked_ten_weeks_before_the_release() {
        let asks = |req: &str| line("cargo", "0.59.0", "2022-01-13", &format!(r#"{{"name":"tar","req":"{req}"}}"#));
        let then = |req: &str, own: &str| writer_then(&asks(req), &writers(), &locked(&[("tar", own)])).map(|version| version.to_string());
        assert_eq!(then("^0.4.35", "0.4.38").as_deref(), Some("0.4.37"));
        assert_eq!(then("=0.4.36", "0.4.38").as_deref(), Some("0.4.36"));
        assert_eq!(then("^0.4.38", "0.4.38"), None);
        assert_eq!(then("^0.4.35", "0.4.37"), None);
        assert_eq!(then("^0.4.35", "0.4.36"), None);
    }

    #[test]
    fn a_lock_file_says_what_is_locked() {
        let text = "version = 4\n[[package]]\nname = \"tar\"\nversion = \"0.4.38\"\ndependencies = [\"libc\"]\n[metadata]\n\"x\" = \"y\"\n";
        assert_eq!(packages(text), locked(&[("tar", "0.4.38")]));
        assert!(packages("=").is_empty() && packages("").is_empty());
    }

    #[test]
    fn every_dependency_that_cargo_names_is_renewed() {
        let log = "error: could not compile `time` (lib) due to 1 previous error\nwarning: x\n\
            error: failed to run custom build command for `openssl-sys v0.9.50`\nerror: could not compile `time` (lib) due to 2 errors\n";
        let names: Vec<_> = changes(log, &[]).into_iter().map(|change| change.arguments()[3].to_owned()).collect();
        assert_eq!(names, ["openssl-sys", "time"]);
        let built = locked(&[("openssl-sys", "0.9.118"), ("tar", "0.4.37")]);
        assert_eq!(words(&changes(log, &[]), &built), ["openssl-sys 0.9.118, and what it needs", "time, gone, and what it needs"]);
        assert_eq!(words(&[Change::Lowered("tar".parse().unwrap()), Change::All], &built), ["tar 0.4.37", "all but tar to the newest"]);
        assert!(changes("error: could not compile `../x`", &[]).is_empty());
        assert!(changes("error: no such thing", &[]).is_empty());
    }

    #[test]
    fn what_lacks_something_that_cargo_takes_from_it_is_raised() {
        let log = "error[E0432]: unresolved import `cargo_util::registry`\n --> src/cargo/x.rs:1:1\nerror[E0425]: cannot find function `f` in crate `cargo`\nerror: could not compile `cargo` (lib)";
        let locked = locked(&[("cargo", "0.55.0"), ("cargo-util", "0.1.0")]);
        assert_eq!(changes(log, &locked), [Change::Raised("cargo-util".parse().unwrap())]);
        let lines: Vec<_> = ["0.1.2", "0.1.0", "0.1.1"].iter().map(|version| line("cargo-util", version, "2021-07-29", "")).collect();
        let after = version_after(&lines, &"cargo-util".parse().unwrap(), &locked);
        assert_eq!(after.map(|version| version.to_string()).as_deref(), Some("0.1.1"));
        assert_eq!(changes("error[E0597]: x\nerror: could not compile `cargo` (lib)", &locked), [Change::All]);
    }
}
