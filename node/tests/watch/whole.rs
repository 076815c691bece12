//! The whole way: what is published on a real registry server is rebuilt from its source and signed by a running
//! node, with no further command; and what was tampered with comes out different, with the file that nobody can
//! account for.

use quorate_node::sandbox::{Config, Sandbox};
use quorate_proto::comparison::DifferenceClass;
use quorate_proto::result::{FoundBy, Outcome, RebuildResult, SourceKind};

use crate::cache::skip;
use crate::cargo::Cargo;
use crate::debian::Debian;
use crate::node::{Builds, Node};
use crate::npm::Npm;
use crate::origin::{ADDRESS, Content};
use crate::pypi::Pypi;
use crate::registry::Registry;

fn can_build() -> bool {
    let config = Config { init_binary: Some(env!("CARGO_BIN_EXE_quorate-node").into()), ..Config::default() };
    let sandbox = Sandbox::detect(&config).map_err(|error| skip(&format!("builds cannot run here: {error}")));
    sandbox.is_ok()
}

/// What a node came to, or why the world, which a registry's builds depend on, did not let it.
fn signed<R: Registry>(node: &Node, expected: &[String]) -> Option<Vec<RebuildResult>> {
    let is_over = || node.results().len() >= expected.len() || !node.unfinished().is_empty();
    node.until(&format!("results for {expected:?}"), is_over);
    let unfinished = node.unfinished();
    if R::REACHES_OUT && !unfinished.is_empty() {
        skip(&unfinished);
        return None;
    }
    assert_eq!(unfinished, "", "{}", node.log());
    node.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    Some(node.results())
}

/// The file came out of the source again: the same bytes, or the same but for what named passes leave out.
fn is_faithful(result: &RebuildResult) {
    match &result.outcome {
        Outcome::Identical { .. } => eprintln!("{}: identical", result.registry.url),
        Outcome::Equivalent { level, passes, .. } => {
            assert!(!passes.is_empty() && passes.iter().all(|pass| !pass.name.is_empty()), "{passes:?}");
            let names: Vec<_> = passes.iter().map(|pass| pass.name.as_str()).collect();
            eprintln!("{}: equivalent ({level:?}: {})", result.registry.url, names.join(", "));
        }
        other => panic!("{}: {other:?}", result.registry.url),
    }
    assert_eq!(result.violations, [""; 0]);
    assert!(result.anomalies.is_empty(), "{:?}", result.anomalies);
    assert!(result.provenance.is_some());
}

/// The file that was slipped in is named, as one that only the published archive has.
fn is_found_out<R: Registry>(result: &RebuildResult) {
    let Outcome::Different { differences, .. } = &result.outcome else { panic!("{}: {:?}", result.registry.url, result.outcome) };
    let slipped_in = differences.members.iter().find(|difference| difference.member.ends_with(R::ONE_FILE_MORE));
    let slipped_in = slipped_in.unwrap_or_else(|| panic!("{differences:?}"));
    assert_eq!((slipped_in.class, slipped_in.rebuilt), (DifferenceClass::OnlyPublished, None));
    eprintln!("{}: different, in {}", result.registry.url, slipped_in.member);
}

fn is_from_the_tag(result: &RebuildResult, version: &str) {
    let source = result.source.as_ref().unwrap();
    assert_eq!((source.kind, source.uri.as_str()), (SourceKind::Git, ADDRESS));
    assert!(matches!(source.found_by, FoundBy::Tag | FoundBy::PublisherCommit), "{source:?}");
    assert_eq!(source.reference, Some(format!("refs/tags/v{version}")));
}

/// An honest release, and then one that is not.
fn releases_are_rebuilt_and_signed<R: Registry>(registry: &R, is_from_its_source: impl Fn(&RebuildResult, &str)) {
    let mut node = Node::new(&registry.watch(Builds::Run), Builds::Run);
    node.start();
    node.until_begun();
    let honest = registry.release("1.0.0", Content::AsTagged);
    let Some(results) = signed::<R>(&node, &honest) else { return };
    for result in &results {
        is_faithful(result);
        is_from_its_source(result, "1.0.0");
    }
    let tampered = registry.release("1.1.0", Content::OneFileMore);
    let Some(results) = signed::<R>(&node, &[honest.clone(), tampered].concat()) else { return };
    for result in &results[honest.len()..] {
        is_found_out::<R>(result);
        is_from_its_source(result, "1.1.0");
    }
}

#[test]
fn what_npm_publishes_is_rebuilt_from_its_tag_and_signed() {
    if let Some(registry) = can_build().then(Npm::start).flatten() {
        releases_are_rebuilt_and_signed(&registry, is_from_the_tag);
    }
}

#[test]
fn what_twine_uploads_is_rebuilt_from_its_tag_and_signed() {
    if let Some(registry) = can_build().then(Pypi::start).flatten() {
        releases_are_rebuilt_and_signed(&registry, is_from_the_tag);
    }
}

#[test]
fn what_cargo_publishes_is_rebuilt_from_its_commit_and_signed() {
    if let Some(registry) = can_build().then(Cargo::start).flatten() {
        releases_are_rebuilt_and_signed(&registry, is_from_the_tag);
    }
}

#[test]
fn what_a_signed_archive_takes_in_is_rebuilt_from_its_source_package_and_signed() {
    if let Some(registry) = can_build().then(Debian::start_with_sources).flatten() {
        releases_are_rebuilt_and_signed(&registry, |result, _| {
            let source = result.source.as_ref().unwrap();
            assert_eq!((source.kind, source.found_by), (SourceKind::SourceArchive, FoundBy::Archive));
        });
    }
}
