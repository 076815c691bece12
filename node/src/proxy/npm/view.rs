//! A package's document as it was before a moment. Pure.

use quorate_proto::Timestamp;
use semver::Version;
use serde_json::{Map, Value, json};

use super::{PORT, Scope, TimeMachine};
use crate::registry::npm::packument::{is_address, version, word};
use crate::registry::npm::{PackageName, Packument};

/// The versions that can be seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Visible<'a> {
    pub(super) versions: Vec<&'a str>,
    /// Set when there is no moment, or the registry states no times at all, so that nothing was left out for
    /// its time.
    pub(super) is_unfiltered: bool,
}

/// The versions of a package that were published before the moment, or that are pinned, and are not withheld.
/// Those without a checksum are never seen: their bytes could not be checked.
pub(super) fn visible<'a>(name: &PackageName, packument: &'a Packument, machine: &TimeMachine) -> Visible<'a> {
    let cutoff = machine.cutoff;
    let pinned = machine.pins.get(name);
    let is_pinned_alone = pinned.is_some() && machine.scope == Scope::Pinned;
    let is_unfiltered = !is_pinned_alone && (cutoff.is_none() || packument.times.is_empty());
    let is_visible = |text: &str| {
        let Some(parsed) = version(text) else { return false };
        let is_pinned = pinned.is_some_and(|versions| versions.contains_key(text));
        let is_before = cutoff.zip(packument.times.get(text)).is_some_and(|(cutoff, time): (Timestamp, &Timestamp)| *time < cutoff);
        !machine.withheld.hides(name, &parsed) && (is_pinned || (!is_pinned_alone && (is_unfiltered || is_before)))
    };
    let checkable = packument.versions.iter().filter(|(_, entry)| !entry.integrity().is_empty());
    let versions: Vec<_> = checkable.map(|(text, _)| text.as_str()).filter(|text| is_visible(text)).collect();
    Visible { is_unfiltered: is_unfiltered && !versions.is_empty(), versions }
}

/// The document that an installer gets.
pub(super) fn render(name: &PackageName, packument: &Packument, visible: &Visible<'_>) -> String {
    let mut versions = Map::new();
    for text in &visible.versions {
        let mut entry = packument.versions[*text].clone();
        entry.name = json!(name);
        entry.version = json!(text);
        // An installer would look for them where there is no way to.
        for required in [&mut entry.dependencies, &mut entry.optional_dependencies] {
            if let Some(required) = required.as_object_mut() {
                required.retain(|_, range| !word(range).is_some_and(is_address));
            }
        }
        entry.dist.tarball = json!(format!("http://127.0.0.1:{PORT}/{name}/-/{}-{text}.tgz", name.bare()));
        versions.insert((*text).to_owned(), serde_json::to_value(entry).unwrap_or_default());
    }
    let tags: Map<String, Value> = latest(&visible.versions).map(|latest| ("latest".to_owned(), json!(latest))).into_iter().collect();
    let times = visible.versions.iter().filter_map(|text| Some(((*text).to_owned(), json!(packument.times.get(*text)?))));
    json!({ "name": name, "dist-tags": tags, "versions": versions, "time": times.collect::<Map<_, _>>() }).to_string()
}

/// The highest version that is no pre-release, else the highest.
fn latest<'a>(versions: &[&'a str]) -> Option<&'a str> {
    let parsed = |text: &&'a str| version(text).map(|version| (version, *text));
    let all: Vec<(Version, &str)> = versions.iter().filter_map(parsed).collect();
    let stable = all.iter().filter(|(version, _)| version.pre.is_empty()).max();
    stable.or_else(|| all.iter().max()).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cache::Cache;
    use crate::proxy::npm::Withheld;
    use crate::registry::Http;
    use crate::registry::npm::{Registry, packument};
    use quorate_proto::Digest;

    fn packument(versions: &[(&str, Option<&str>)]) -> Packument {
        let dist = json!({ "tarball": "https://registry.example/x.tgz", "shasum": "a9993e364706816aba3e25717850c26c9cd0d89d" });
        let entries: Map<_, _> = versions.iter().map(|(text, _)| ((*text).to_owned(), json!({ "dist": dist, "gitHead": "x" }))).collect();
        let times: Map<_, _> = versions.iter().filter_map(|(text, time)| Some(((*text).to_owned(), json!(time.as_ref()?)))).collect();
        let text = json!({ "versions": entries, "time": times }).to_string();
        packument::parse(text.as_bytes(), &"https://registry.example/a".parse().unwrap()).unwrap()
    }

    fn machine(cutoff: Option<&str>, pins: &[(&str, &str)], scope: Scope) -> (tempfile::TempDir, TimeMachine) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let pin = |(name, text): &(&str, &str)| (name.parse().unwrap(), [((*text).to_owned(), None)].into());
        let machine = TimeMachine {
            registry: Registry::new(Http::new().unwrap(), "https://registry.example/".parse().unwrap()),
            cutoff: cutoff.map(|text| text.parse().unwrap()),
            pins: pins.iter().map(pin).collect(),
            scope,
            withheld: Withheld { name: "demo".parse().unwrap(), version: Version::new(2, 0, 0), digest: Digest::of(b"") },
            cache: Cache::open(folder.path()).unwrap(),
        };
        (folder, machine)
    }

    const TIMES: [(&str, Option<&str>); 4] = [
        ("1.0.0", Some("2024-01-01T00:00:00Z")),
        ("1.1.0", Some("2024-06-01T00:00:00Z")),
        ("1.2.0-rc.1", Some("2024-02-01T00:00:00Z")),
        ("1.2.0", None),
    ];

    fn seen(name: &str, machine: &TimeMachine, versions: &[(&str, Option<&str>)]) -> (Vec<String>, bool) {
        let packument = packument(versions);
        let visible = visible(&name.parse().unwrap(), &packument, machine);
        (visible.versions.iter().map(ToString::to_string).collect(), visible.is_unfiltered)
    }

    #[test]
    fn what_was_published_at_or_after_the_moment_does_not_exist() {
        let (_folder, machine) = machine(Some("2024-06-01T00:00:00Z"), &[], Scope::All);
        assert_eq!(seen("a", &machine, &TIMES), (vec!["1.0.0".to_owned(), "1.2.0-rc.1".to_owned()], false));
        let untimed = [("1.0.0", None), ("1.1.0", None)];
        assert_eq!(seen("a", &machine, &untimed), (vec!["1.0.0".to_owned(), "1.1.0".to_owned()], true));
    }

    #[test]
    fn what_the_lock_pins_exists_whatever_the_registry_says_of_its_time() {
        let (_folder, all) = machine(Some("2024-01-15T00:00:00Z"), &[("a", "1.1.0")], Scope::All);
        assert_eq!(seen("a", &all, &TIMES).0, ["1.0.0", "1.1.0"]);
        let (_folder, alone) = machine(None, &[("a", "1.1.0")], Scope::Pinned);
        assert_eq!(seen("a", &alone, &TIMES), (vec!["1.1.0".to_owned()], false));
        assert_eq!(seen("b", &alone, &TIMES).0.len(), 4);
    }

    #[test]
    fn nothing_of_the_release_itself_exists_even_when_it_is_pinned() {
        let (_folder, machine) = machine(None, &[("demo", "2.0.0")], Scope::All);
        let own = [("1.9.0", Some("2024-01-01T00:00:00Z")), ("2.0.0", Some("2024-01-01T00:00:00Z")), ("2.0.1-rc.1", None), ("3.0.0", None)];
        assert_eq!(seen("demo", &machine, &own).0, ["1.9.0"]);
    }

    #[test]
    fn requirements_from_addresses_are_not_offered() {
        let (_folder, machine) = machine(None, &[], Scope::All);
        let name = "a".parse().unwrap();
        let mut packument = packument(&[("1.0.0", None)]);
        packument.versions.get_mut("1.0.0").unwrap().dependencies =
            json!({ "b": "^1.0.0", "c": "git+https://forge.example/c.git", "d": "o/d" });
        let page: Value = serde_json::from_str(&render(&name, &packument, &visible(&name, &packument, &machine))).unwrap();
        assert_eq!(page["versions"]["1.0.0"]["dependencies"], json!({ "b": "^1.0.0" }));
    }

    #[test]
    fn tags_are_what_they_must_have_been_and_tarballs_come_from_the_proxy() {
        let (_folder, machine) = machine(Some("2024-06-01T00:00:00Z"), &[], Scope::All);
        let (name, packument) = ("@s/a".parse().unwrap(), packument(&TIMES));
        let page: Value = serde_json::from_str(&render(&name, &packument, &visible(&name, &packument, &machine))).unwrap();
        assert_eq!(page["dist-tags"], json!({ "latest": "1.0.0" }));
        assert_eq!(page["versions"]["1.0.0"]["dist"]["tarball"], "http://127.0.0.1:4873/@s/a/-/a-1.0.0.tgz");
        assert_eq!(page["versions"]["1.0.0"].get("gitHead"), None);
        assert_eq!(latest(&["1.0.0-rc.1", "1.0.0-rc.2"]), Some("1.0.0-rc.2"));
    }
}
