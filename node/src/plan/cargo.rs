//! How a crate is packed again: with which cargo, as of when, and with which lock file. Pure.
//!
//! The published archive bounds cargo before anything is built; what is left is ordered by the day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use quorate_proto::Timestamp;
use quorate_proto::comparison::Level;
use quorate_proto::result::{Assist, Outcome, Phase};
use semver::Version;

use super::{NEAREST_TOOLCHAIN, assist};
use crate::ecosystem::{ToolchainUse, Tried};
use crate::registry::cargo::Line;
use crate::release::cargo::Facts;
use crate::release::cargo::fingerprint::Fingerprint;
use crate::source::git::Repository;
use crate::toolchain::cargo::{Cargo, nearest};

/// Most versions of cargo that are tried with one candidate: those at hand, and those that would have to
/// be brought in where none is.
const HELD_MAX: usize = 2;
const BROUGHT_MAX: usize = 2;
/// The first cargo that reads sparse indexes, and the first that can leave out the lock file.
const SPARSE_SINCE: u64 = 68;
const EXCLUDES_LOCK_SINCE: u64 = 90;
/// What cargo itself writes into an archive: only there does its version show.
const GENERATED: [&str; 3] = ["Cargo.toml", "Cargo.lock", ".cargo_vcs_info.json"];

/// One way of trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// With which cargo.
    pub cargo: Choice,
    /// With which lock file.
    pub lock: Lock,
}

/// Which cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This minor version, or none.
    Version(Version),
    /// The nearest that this machine has.
    Nearest,
}

/// Which lock file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The repository's own, else the one that cargo makes as of the upload.
    Own,
    /// The published one as an input, which cargo checks.
    Published,
}

/// How a candidate is packed.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    /// The cargo.
    pub cargo: Cargo,
    /// The folder of the package in the tree, and that of its workspace.
    pub folder: PathBuf,
    /// The workspace's folder.
    pub workspace: PathBuf,
    /// The repository and the commit that the tree is of, where it is of one.
    pub head: Option<(Repository, String)>,
    /// A lock file that the tree does not have.
    pub lock: Option<Vec<u8>>,
    /// Registries are seen as they were before this.
    pub cutoff: Option<Timestamp>,
    /// How the index is shown to cargo.
    pub index: IndexKind,
    /// Arguments besides the fixed ones.
    pub arguments: Vec<String>,
    /// What the build is told that the source does not say.
    pub assists: Vec<Assist>,
}

/// How an index is shown to cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Over HTTP, a file a crate.
    Sparse,
    /// As a git repository that holds these crates and what they depend on: for cargo before 1.68.
    Git(BTreeSet<crate::registry::cargo::CrateName>),
}

/// What a plan is made from.
#[derive(Debug)]
pub struct Basis<'a> {
    /// What the published file says.
    pub facts: &'a Facts,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// The folder of the package in the tree.
    pub folder: PathBuf,
    /// What the tree says.
    pub manifest: &'a crate::resolve::cargo::Manifest,
    /// The repository and the commit.
    pub head: Option<(Repository, String)>,
    /// The cargo that was had.
    pub cargo: Cargo,
}

/// A way of trying that makes no sense with this source.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The published lock file cannot stand in for one that the repository has.
    #[error("the repository has a lock file of its own")]
    OwnLock,
}

/// The versions of cargo that may have made a crate, likeliest first, by the index's lines of the crate
/// `cargo`: its 0.(N+1) is cargo 1.N. Those at hand come first: bytes that come out equal need no dearer
/// proof.
pub fn cargos(lines: &[Line], published_at: Option<Timestamp>, print: &Fingerprint, held: &BTreeSet<u64>) -> Vec<Version> {
    let mut releases: BTreeMap<u64, Option<Timestamp>> = BTreeMap::new();
    let mut compressors: BTreeMap<u64, String> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.version.major == 0 && line.version.pre.is_empty()) {
        let Some(minor) = line.version.minor.checked_sub(1) else { continue };
        let first = releases.entry(minor).or_insert(line.published_at);
        *first = (*first).min(line.published_at).or(*first);
        compressors.insert(minor, compressor(line));
    }
    let is_out = |time: &Option<Timestamp>| published_at.is_none() || time.is_some_and(|time| Some(time) <= published_at);
    let Some(stable) = releases.iter().filter(|(_, time)| is_out(time)).map(|(minor, _)| *minor).max() else { return Vec::new() };
    let bounds = print.bounds();
    let mut fitting: Vec<u64> = releases.into_keys().filter(|minor| bounds.contains(minor)).collect();
    // The stable one of the day, the one before, the next, and so on outwards.
    fitting.sort_by_key(|minor| if *minor > stable { (minor - stable) * 2 } else { (stable - minor) * 2 - u64::from(*minor < stable) });
    let likeliest = fitting.first().copied();
    // Another compressor writes the same archive in other bytes.
    let is_alike = |minor: &u64| compressors.get(minor) == likeliest.and_then(|minor| compressors.get(&minor));
    let (at_hand, mut others): (Vec<_>, Vec<_>) = fitting.into_iter().partition(|minor| held.contains(minor) && is_alike(minor));
    // To bring one in takes minutes: beside one at hand that fits too, only the likeliest is worth them.
    others.retain(|minor| at_hand.is_empty() || Some(*minor) == likeliest);
    at_hand.into_iter().take(HELD_MAX).chain(others.into_iter().take(BROUGHT_MAX)).map(|minor| Version::new(1, minor, 0)).collect()
}

/// Which compressor a version of cargo is built with, by what it asks of `flate2`.
fn compressor(line: &Line) -> String {
    let line: serde_json::Value = serde_json::from_str(&line.text).unwrap_or_default();
    let dependency = line["deps"].as_array().into_iter().flatten().find(|dependency| dependency["name"] == "flate2");
    dependency.map(|dependency| dependency["features"].to_string()).unwrap_or_default()
}

/// What is tried next.
pub fn next_attempt(tried: &[Tried<Attempt>], facts: &Facts, toolchains: ToolchainUse) -> Option<Attempt> {
    let own = |cargo| Attempt { cargo, lock: Lock::Own };
    let Some(Tried { attempt: last, outcome, .. }) = tried.last() else {
        let exact = facts.cargos.first().filter(|version| toolchains == ToolchainUse::Exact && !is_dear(version, facts));
        return Some(own(exact.cloned().map_or(Choice::Nearest, Choice::Version)));
    };
    if last.lock == Lock::Own && facts.published.lock.is_some() && may_be_the_lock(outcome) {
        return Some(Attempt { cargo: last.cargo.clone(), lock: Lock::Published });
    }
    if toolchains == ToolchainUse::Machine {
        return None;
    }
    let worth = another_cargo(tried, facts);
    let is_new = |version: &&Version| tried.iter().all(|tried| tried.attempt.cargo != Choice::Version((*version).clone()));
    let is_worth = |version: &&Version| worth == Worth::Minutes || worth == Worth::Seconds && facts.held.contains(&version.minor);
    let mut others = facts.cargos.iter().filter(is_new).filter(is_worth).cloned().map(Choice::Version);
    let nearest = (worth != Worth::Nothing && is_nearest_new(tried, facts)).then_some(Choice::Nearest);
    others.next().or(nearest).map(own)
}

/// Whether a cargo is not worth the minutes that it takes to bring it in, before the nearest one was tried:
/// no cargo makes the bytes of an archive whose files have the times that they had on their publisher's disk.
fn is_dear(version: &Version, facts: &Facts) -> bool {
    facts.published.fingerprint.has_own_times() && !facts.held.contains(&version.minor)
}

/// Whether nothing was built, and the nearest cargo at hand is none that was tried.
fn is_nearest_new(tried: &[Tried<Attempt>], facts: &Facts) -> bool {
    let wanted = facts.cargos.first().map(|version| version.minor);
    let nearest = nearest(&facts.held, wanted);
    tried.iter().all(|tried| {
        let is_another = match &tried.attempt.cargo {
            Choice::Version(version) => Some(version.minor) != nearest,
            Choice::Nearest => false,
        };
        tried.outcome.rebuilt().is_none() && is_another
    })
}

/// What another cargo is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It cannot do better.
    Nothing,
    /// One that is at hand may do better.
    Seconds,
    /// One may do better, even if it has to be brought in.
    Minutes,
}

/// Whether another cargo may do better than the last one.
fn another_cargo(tried: &[Tried<Attempt>], facts: &Facts) -> Worth {
    let Some(Tried { outcome, .. }) = tried.last() else { return Worth::Minutes };
    let is_missing = |tried: &Tried<Attempt>| {
        tried.attempt.lock == Lock::Own && matches!(tried.outcome, Outcome::BuildFailed { phase: Phase::Plan, .. })
    };
    // What keeps one from being brought in keeps its neighbours from it too.
    let dear = if tried.iter().any(is_missing) { Worth::Seconds } else { Worth::Minutes };
    match outcome {
        // What one cannot do, another can hardly.
        Outcome::BuildFailed { .. } => Worth::Seconds,
        Outcome::Different { .. } if differs_only_in(outcome, &GENERATED) => dear,
        Outcome::Equivalent { .. } => match outcome.level() {
            Some(Level::Normal) if facts.published.fingerprint.has_own_times() => Worth::Nothing,
            // The archive is the same, and its compression says nothing about the contents.
            Some(Level::Stream) => Worth::Seconds,
            _ => dear,
        },
        _ => Worth::Nothing,
    }
}

/// Whether another lock file may do better: only it differs, or none could be made.
fn may_be_the_lock(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Different { .. } => differs_only_in(outcome, &["Cargo.lock"]),
        Outcome::BuildFailed { phase: Phase::Fetch, .. } => true,
        _ => false,
    }
}

fn differs_only_in(outcome: &Outcome, names: &[&str]) -> bool {
    let Outcome::Different { differences, .. } = outcome else { return false };
    let is_whole = usize::try_from(differences.count).is_ok_and(|count| count == differences.members.len() && count > 0);
    let is_one = |member: &str| member.split_once('/').is_some_and(|(_, name)| names.contains(&name)) || names.contains(&member);
    is_whole && differences.members.iter().all(|difference| is_one(&difference.member))
}

/// Plans one attempt.
pub fn plan(basis: Basis<'_>, attempt: &Attempt) -> Result<BuildPlan, PlanError> {
    let mut assists = Vec::new();
    let Basis { facts, published_at, folder, manifest, head, cargo } = basis;
    if let (Choice::Nearest, Some(wanted)) = (&attempt.cargo, facts.cargos.first())
        && cargo.version.minor != wanted.minor
    {
        let reason = format!("cargo {wanted} could not be had or is not to be brought in; {} was used", cargo.version);
        assists.push(assist(NEAREST_TOOLCHAIN, &format!("cargo {}", cargo.version), &reason));
    }
    let published_lock = facts.published.lock.clone();
    let mut arguments = Vec::new();
    if published_lock.is_none()
        && !facts.published.fingerprint.bounds().contains(&cargo.version.minor)
        && cargo.version.minor >= EXCLUDES_LOCK_SINCE
    {
        arguments.push("--exclude-lockfile".to_owned());
        assists.push(assist("exclude-lockfile", "yes", "the published file has no lock file, which this cargo would always add"));
    }
    let needs_index = manifest.has_lock || published_lock.is_some();
    let index = match cargo.version.minor {
        SPARSE_SINCE.. => IndexKind::Sparse,
        _ if needs_index => IndexKind::Git(manifest.dependencies.clone()),
        _ => IndexKind::Git(BTreeSet::new()),
    };
    let lock = match attempt.lock {
        Lock::Own => None,
        Lock::Published if manifest.has_lock => return Err(PlanError::OwnLock),
        Lock::Published => {
            assists.push(assist("published-lock", "Cargo.lock", "the repository has none, and the one made as of the upload is another"));
            published_lock
        }
    };
    Ok(BuildPlan { cargo, folder, workspace: manifest.workspace.clone(), head, lock, cutoff: published_at, index, arguments, assists })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::registry::cargo::parse;
    use crate::release::cargo::Published;
    use crate::release::cargo::fingerprint::Stamp;
    use quorate_proto::comparison::{Difference, DifferenceClass, Executable};
    use quorate_proto::result::{DifferenceList, RebuiltFile};
    use quorate_proto::{Digest, NormalDigest};

    const DAYS: [(u64, &str); 6] =
        [(77, "2024-02-09"), (78, "2024-03-21"), (79, "2024-05-02"), (80, "2024-06-17"), (81, "2024-07-25"), (82, "2024-09-05")];

    fn lines() -> Vec<Line> {
        let line = |(minor, day): &(u64, &str)| {
            let feature = if *minor >= 82 { "zlib-rs" } else { "zlib" };
            let deps = format!(r#"[{{"name":"flate2","features":["{feature}"]}}]"#);
            format!(r#"{{"name":"cargo","vers":"0.{minor}.0","deps":{deps},"cksum":"{}","pubtime":"{day}T12:00:00Z"}}"#, "0".repeat(64))
        };
        parse(DAYS.iter().map(line).collect::<Vec<_>>().join("\n").as_bytes(), &"cargo".parse().unwrap()).unwrap()
    }

    fn print(has_autobins: bool) -> Fingerprint {
        let mut print = Fingerprint::default();
        (print.has_autobins, print.has_autolib, print.has_lib) = (Some(has_autobins), Some(false), true);
        print.see("Cargo.toml", Stamp { time: 1, is_gnu: true });
        print.see("", Stamp { time: 1_153_704_088, is_gnu: true });
        print
    }

    fn minors(print: &Fingerprint, published: &str, held: &[u64]) -> Vec<u64> {
        let published = Some(published.parse().unwrap());
        cargos(&lines(), published, print, &held.iter().copied().collect()).iter().map(|version| version.minor).collect()
    }

    #[test]
    fn the_stable_cargo_of_the_day_comes_first_then_the_one_before_then_the_next() {
        assert_eq!(minors(&print(false), "2024-05-20T00:00:00Z", &[]), [78, 77]);
        assert_eq!(minors(&print(false), "2024-04-01T00:00:00Z", &[]), [77, 76]);
    }

    #[test]
    fn what_the_archive_rules_out_is_not_tried() {
        assert_eq!(minors(&print(true), "2024-05-20T00:00:00Z", &[]), [80, 81]);
    }

    #[test]
    fn a_fitting_cargo_at_hand_is_tried_before_one_is_brought_in() {
        assert_eq!(minors(&print(false), "2024-05-20T00:00:00Z", &[77, 95]), [77, 78]);
        assert_eq!(minors(&print(false), "2024-05-20T00:00:00Z", &[76, 77, 78]), [78, 77]);
    }

    #[test]
    fn a_cargo_at_hand_that_compresses_otherwise_does_not_come_first() {
        assert_eq!(minors(&print(true), "2024-09-04T00:00:00Z", &[81]), [80, 81]);
        assert_eq!(minors(&print(true), "2024-09-06T00:00:00Z", &[80]), [81, 80]);
    }

    fn facts(cargos: &[u64], lock: Option<&str>) -> Facts {
        Facts {
            name: "demo".to_owned(),
            version: Version::new(1, 0, 0),
            published: Published { lock: lock.map(|text| text.as_bytes().to_vec()), ..Published::default() },
            cargos: cargos.iter().map(|minor| Version::new(1, *minor, 0)).collect(),
            held: BTreeSet::new(),
            newest: None,
        }
    }

    fn differs_in(members: &[&str]) -> Outcome {
        let difference = |member: &&str| Difference {
            member: (*member).to_owned(),
            class: DifferenceClass::Content,
            executable: Executable::Data,
            published: None,
            rebuilt: None,
        };
        Outcome::Different {
            rebuilt: RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None },
            published_normal: None,
            differences: DifferenceList {
                count: u32::try_from(members.len()).unwrap(),
                members: members.iter().map(difference).collect(),
                report: None,
            },
        }
    }

    fn equivalent(level: Level) -> Outcome {
        let rebuilt = RebuiltFile { digest: Digest::of(b""), size_bytes: 0, normal: None };
        Outcome::Equivalent { level, rebuilt, published_normal: NormalDigest::from_bytes([0; 32]), passes: Vec::new() }
    }

    fn next(facts: &Facts, tried: &[(Choice, Lock, Outcome)]) -> Option<(Choice, Lock)> {
        let tried: Vec<_> = tried
            .iter()
            .map(|(cargo, lock, outcome)| Tried {
                attempt: Attempt { cargo: cargo.clone(), lock: *lock },
                outcome: outcome.clone(),
                is_toolless: false,
            })
            .collect();
        next_attempt(&tried, facts, ToolchainUse::Exact).map(|attempt| (attempt.cargo, attempt.lock))
    }

    fn exact(minor: u64) -> Choice {
        Choice::Version(Version::new(1, minor, 0))
    }

    #[test]
    fn the_published_lock_is_an_input_only_when_nothing_else_differs() {
        let facts = facts(&[78, 77], Some("lock"));
        let lock_differs = || (exact(78), Lock::Own, differs_in(&["demo-1.0.0/Cargo.lock"]));
        assert_eq!(next(&facts, &[lock_differs()]), Some((exact(78), Lock::Published)));
        assert_eq!(
            next(&facts, &[lock_differs(), (exact(78), Lock::Published, differs_in(&["demo-1.0.0/Cargo.toml"]))]),
            Some((exact(77), Lock::Own))
        );
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, differs_in(&["demo-1.0.0/Cargo.lock", "demo-1.0.0/src/lib.rs"]))]), None);
    }

    #[test]
    fn another_cargo_is_tried_only_for_what_cargo_writes() {
        let facts = facts(&[78, 77], None);
        assert_eq!(next(&facts, &[]), Some((exact(78), Lock::Own)));
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, differs_in(&["demo-1.0.0/Cargo.toml"]))]), Some((exact(77), Lock::Own)));
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, differs_in(&["demo-1.0.0/src/Cargo.toml"]))]), None);
        let missing = || Outcome::BuildFailed { phase: Phase::Plan, summary: "no such cargo".to_owned() };
        let differs = || differs_in(&["demo-1.0.0/Cargo.toml"]);
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, differs()), (exact(77), Lock::Own, missing())]), None);
    }

    #[test]
    fn a_cargo_that_cannot_be_had_is_followed_by_those_at_hand() {
        let missing = || Outcome::BuildFailed { phase: Phase::Plan, summary: "no such cargo".to_owned() };
        let facts = facts(&[78, 77, 76], None);
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, missing())]), Some((Choice::Nearest, Lock::Own)));
        let facts = Facts { held: [76, 95].into(), ..facts };
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, missing())]), Some((exact(76), Lock::Own)));
        let tried = [(exact(78), Lock::Own, missing()), (exact(76), Lock::Own, missing())];
        assert_eq!(next(&facts, &tried), Some((Choice::Nearest, Lock::Own)));
        assert_eq!(next(&facts, &[(exact(78), Lock::Own, equivalent(Level::Normal))]), Some((exact(77), Lock::Own)));
    }

    #[test]
    fn what_fails_with_those_at_hand_is_not_waited_for_with_another() {
        let failed = || Outcome::BuildFailed { phase: Phase::Fetch, summary: "no such commit".to_owned() };
        let facts = Facts { held: [76, 77, 95].into(), ..facts(&[77, 76, 78], None) };
        let tried = [(exact(77), Lock::Own, failed()), (exact(76), Lock::Own, failed())];
        assert_eq!(next(&facts, &tried[..1]), Some((exact(76), Lock::Own)));
        assert_eq!(next(&facts, &tried), None);
        let facts = Facts { held: [76, 80].into(), ..facts };
        assert_eq!(next(&facts, &tried[1..]), Some((Choice::Nearest, Lock::Own)));
        let built = |level| [tried[1].clone(), (Choice::Nearest, Lock::Own, equivalent(level))];
        assert_eq!(next(&facts, &built(Level::Manifest)), Some((exact(77), Lock::Own)));
        assert_eq!(next(&facts, &built(Level::Stream)), None);
        assert_eq!(next(&facts, &[tried[1].clone(), (Choice::Nearest, Lock::Own, failed())]), None);
    }

    #[test]
    fn no_cargo_is_brought_in_for_what_it_cannot_better() {
        let near = facts(&[78, 77, 76], None);
        let tried = |level| [(exact(78), Lock::Own, equivalent(level))];
        assert_eq!(next(&near, &tried(Level::Stream)), None);
        assert_eq!(next(&Facts { held: [76].into(), ..near.clone() }, &tried(Level::Stream)), Some((exact(76), Lock::Own)));
        let mut old = near;
        old.published.fingerprint.see("", Stamp { time: 1_571_008_866, is_gnu: false });
        assert_eq!(next(&old, &tried(Level::Normal)), None);
        assert_eq!(next(&old, &tried(Level::Manifest)), Some((exact(77), Lock::Own)));
    }

    #[test]
    fn no_cargo_is_brought_in_before_the_nearest_for_bytes_that_none_can_make() {
        let mut old = facts(&[38, 37], None);
        old.published.fingerprint.see("", Stamp { time: 1_571_008_866, is_gnu: false });
        let nearest = |outcome| [(Choice::Nearest, Lock::Own, outcome)];
        assert_eq!(next(&old, &[]), Some((Choice::Nearest, Lock::Own)));
        assert_eq!(next(&old, &nearest(equivalent(Level::Normal))), None);
        assert_eq!(next(&old, &nearest(equivalent(Level::Manifest))), Some((exact(38), Lock::Own)));
        let then = [(Choice::Nearest, Lock::Own, equivalent(Level::Manifest)), (exact(38), Lock::Own, equivalent(Level::Manifest))];
        assert_eq!(next(&old, &then), Some((exact(37), Lock::Own)));
        assert_eq!(next(&Facts { held: [38].into(), ..old }, &[]), Some((exact(38), Lock::Own)));
    }

    #[test]
    fn a_machine_with_its_own_tools_alone_uses_the_nearest() {
        let attempt = next_attempt(&[], &facts(&[78], None), ToolchainUse::Machine).unwrap();
        assert_eq!(attempt, Attempt { cargo: Choice::Nearest, lock: Lock::Own });
    }
}
