//! Which node and npm may have packed a tarball: by what the registry says, by the bytes themselves, by the day.
//! Pure.
//!
//! The compressed bytes follow node's zlib, of which there were three lines on this kind of machine. npm writes
//! the strongest compression since version 7, and said nothing of the system since version 6 or so. The order of
//! members and the choice of files changed with npm's major versions.

use semver::Version;

use crate::release::npm::GzipHeader;

/// A node and an npm that work together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The runtime.
    pub node: Version,
    /// The package manager.
    pub npm: Version,
}

/// A line of zlib in node: which versions of node give the same compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zlib {
    /// Before node 12.
    First,
    /// Node 12 to 17; newer ones on some other machines.
    Second,
    /// From node 18 on.
    Third,
}

impl Zlib {
    /// The line of a node version.
    pub fn of(node: &Version) -> Self {
        match node.major {
            0..12 => Self::First,
            12..18 => Self::Second,
            _ => Self::Third,
        }
    }
}

struct Era {
    /// From when on most publishers had it, in Unix seconds.
    since: i64,
    node: [u64; 3],
    npm: [u64; 3],
}

/// Long-lived pairs in the order of their time, each with the last patches, which change no packing.
const ERAS: [Era; 8] = [
    Era { since: 0, node: [8, 17, 0], npm: [5, 6, 0] },
    Era { since: 1_525_132_800, node: [10, 24, 1], npm: [6, 4, 1] }, // 2018-05
    Era { since: 1_559_347_200, node: [12, 22, 12], npm: [6, 14, 18] }, // 2019-06
    Era { since: 1_617_235_200, node: [16, 20, 2], npm: [8, 19, 4] }, // 2021-04
    Era { since: 1_675_209_600, node: [18, 20, 4], npm: [9, 8, 1] }, // 2023-02
    Era { since: 1_698_796_800, node: [20, 14, 0], npm: [10, 7, 0] }, // 2023-11
    Era { since: 1_732_000_000, node: [22, 12, 0], npm: [10, 9, 0] }, // 2024-11
    Era { since: 1_748_736_000, node: [24, 11, 0], npm: [11, 6, 1] }, // 2025-06
];

/// The first npm that installs workspaces.
const WORKSPACES_SINCE: u64 = 7;

/// What bounds the pair.
#[derive(Clone, Debug, Default)]
pub struct Basis {
    /// The npm that the registry names.
    pub npm: Option<Version>,
    /// The node that the registry names.
    pub node: Option<Version>,
    /// The line of zlib that gives the published bytes, where one was found.
    pub zlib: Option<Zlib>,
    /// The published header.
    pub gzip: GzipHeader,
    /// When it was packed, in Unix seconds, as far as anybody knows.
    pub date: Option<i64>,
}

/// Every known pair, the likeliest first.
pub fn pairs(basis: &Basis) -> Vec<Pair> {
    let now_at = ERAS.iter().rposition(|era| basis.date.is_none_or(|date| era.since <= date)).unwrap_or_default();
    let mut ranked: Vec<_> = (0..ERAS.len()).map(|at| (unlikeness(&pair(at), basis), at.abs_diff(now_at), at)).collect();
    ranked.sort_unstable();
    let mut pairs: Vec<_> = named(basis, &pair(ranked[0].2)).into_iter().collect();
    for (_, _, at) in ranked {
        if !pairs.contains(&pair(at)) {
            pairs.push(pair(at));
        }
    }
    pairs
}

/// Nodes whose zlib is tried on the published bytes, one a line, the likeliest first.
pub fn representatives(basis: &Basis) -> Vec<Version> {
    let mut found: Vec<Version> = Vec::new();
    for pair in pairs(&Basis { zlib: None, ..basis.clone() }) {
        let is_old_line = Zlib::of(&pair.node) == Zlib::First && basis.gzip.is_strongest();
        // The strongest compression is the same in the first two lines.
        if !is_old_line && found.iter().all(|node| Zlib::of(node) != Zlib::of(&pair.node)) {
            found.push(pair.node);
        }
    }
    found
}

/// The pair to build with, where the one to pack with is older than what the day's sources run on, or its npm knows no
/// workspaces and the source is one.
pub fn builder(pack: &Pair, date: Option<i64>, is_workspace: bool) -> Pair {
    let at = ERAS.iter().rposition(|era| date.is_none_or(|date| era.since <= date)).unwrap_or_default();
    let of_day = pair(at);
    let build = if of_day.node.major > pack.node.major && pack.node.major < 18 { of_day } else { pack.clone() };
    let knows = |pair: &Pair| !is_workspace || pair.npm.major >= WORKSPACES_SINCE;
    let first = || (0..ERAS.len()).map(pair).find(|pair| knows(pair));
    if knows(&build) { build } else { first().unwrap_or(build) }
}

fn pair(at: usize) -> Pair {
    let version = |[major, minor, patch]: [u64; 3]| Version::new(major, minor, patch);
    Pair { node: version(ERAS[at].node), npm: version(ERAS[at].npm) }
}

/// How much speaks against a pair.
fn unlikeness(pair: &Pair, basis: &Basis) -> u8 {
    let by_zlib = basis.zlib.is_some_and(|zlib| zlib != Zlib::of(&pair.node));
    let by_level = basis.gzip.is_strongest() != (pair.npm.major >= 7);
    let by_name = basis.npm.as_ref().is_some_and(|npm| npm.major != pair.npm.major);
    4 * u8::from(by_level) + 2 * u8::from(by_zlib) + u8::from(by_name)
}

/// The pair that the registry names, unless the bytes speak against its zlib: then the same npm where it can run
/// on a node of the line.
fn named(basis: &Basis, likeliest: &Pair) -> Option<Pair> {
    let npm = basis.npm.clone()?;
    let node = basis.node.clone().unwrap_or_else(|| likeliest.node.clone());
    let fits = basis.zlib.is_none_or(|zlib| zlib == Zlib::of(&node));
    let node = if fits { node } else { likeliest.node.clone() };
    runs_on(&npm, &node).then_some(Pair { node, npm })
}

/// Whether an npm runs on a node, by npm's own `engines`.
fn runs_on(npm: &Version, node: &Version) -> bool {
    let least = match npm.major {
        0..=6 => 4,
        7 => 10,
        8 => 12,
        9 => 14,
        10 => 18,
        11 => 20,
        _ => 22,
    };
    node.major >= least && (npm.major >= 6 || node.major <= 12)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const STRONGEST: GzipHeader = GzipHeader { extra_flags: 2, system: 255 };
    const DEFAULT: GzipHeader = GzipHeader { extra_flags: 0, system: 19 };

    fn first(basis: &Basis) -> String {
        let pair = &pairs(basis)[0];
        format!("{} {}", pair.node, pair.npm)
    }

    fn day(text: &str) -> i64 {
        format!("{text}T00:00:00Z").parse::<quorate_proto::Timestamp>().unwrap().unix_seconds()
    }

    #[test]
    fn the_bytes_decide_before_the_day() {
        let at = |zlib, gzip, date| first(&Basis { zlib, gzip, date, ..Basis::default() });
        assert_eq!(at(Some(Zlib::Third), STRONGEST, Some(day("2024-03-25"))), "20.14.0 10.7.0");
        assert_eq!(at(Some(Zlib::Second), STRONGEST, Some(day("2024-03-25"))), "16.20.2 8.19.4");
        assert_eq!(at(None, DEFAULT, Some(day("2018-07-04"))), "10.24.1 6.4.1");
        assert_eq!(at(None, DEFAULT, Some(day("2020-12-08"))), "12.22.12 6.14.18");
        assert_eq!(at(None, STRONGEST, None), "24.11.0 11.6.1");
    }

    #[test]
    fn what_the_registry_names_comes_first_unless_the_bytes_speak_against_it() {
        let named = |zlib, npm: &str, node: &str| {
            first(&Basis { zlib, gzip: STRONGEST, npm: npm.parse().ok(), node: node.parse().ok(), date: Some(day("2024-03-25")) })
        };
        assert_eq!(named(Some(Zlib::Third), "10.5.0", "21.7.1"), "21.7.1 10.5.0");
        assert_eq!(named(None, "10.5.0", "21.7.1"), "21.7.1 10.5.0");
        // Published on a machine whose node has another zlib line than ours.
        assert_eq!(named(Some(Zlib::Second), "9.6.0", "20.0.0"), "16.20.2 9.6.0");
        assert_eq!(named(Some(Zlib::Second), "10.5.0", "21.7.1"), "16.20.2 8.19.4");
    }

    #[test]
    fn one_node_stands_for_each_line_of_zlib() {
        let nodes = |gzip, date| {
            let nodes = representatives(&Basis { gzip, date, ..Basis::default() });
            nodes.iter().map(|node| node.major).collect::<Vec<_>>()
        };
        assert_eq!(nodes(STRONGEST, Some(day("2024-03-25"))), [20, 16]);
        assert_eq!(nodes(STRONGEST, Some(day("2022-03-25"))), [16, 18]);
        assert_eq!(nodes(GzipHeader { extra_flags: 0, system: 255 }, Some(day("2020-12-08"))), [12, 10, 18]);
    }

    #[test]
    fn every_pair_works_together_and_all_are_tried_in_the_end() {
        let all = pairs(&Basis::default());
        assert_eq!(all.len(), ERAS.len());
        assert!(all.iter().all(|pair| runs_on(&pair.npm, &pair.node)));
    }

    #[test]
    fn a_build_of_today_is_not_asked_to_run_on_an_old_node() {
        let pack = Pair { node: Version::new(16, 20, 2), npm: Version::new(8, 19, 4) };
        assert_eq!(builder(&pack, Some(day("2024-03-25")), false).node.major, 20);
        assert_eq!(builder(&pack, Some(day("2022-03-25")), false).node.major, 16);
    }

    #[test]
    fn a_workspace_is_built_with_an_npm_that_knows_workspaces() {
        let pack = Pair { node: Version::new(12, 22, 12), npm: Version::new(6, 14, 18) };
        let with = |is_workspace| builder(&pack, Some(day("2020-03-25")), is_workspace).npm.major;
        assert_eq!((with(false), with(true)), (6, 8));
    }
}
