//! A release that is published on a real registry server is handed over to the queue of a running node
//! with no further command, once, whatever is killed.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "watch/cache.rs"]
mod cache;
#[path = "watch/cargo.rs"]
mod cargo;
#[path = "watch/debian.rs"]
mod debian;
#[path = "watch/faulty.rs"]
mod faulty;
#[path = "watch/node.rs"]
mod node;
#[path = "watch/npm.rs"]
mod npm;
#[path = "watch/origin.rs"]
mod origin;
#[path = "watch/pypi.rs"]
mod pypi;
#[path = "watch/registry.rs"]
mod registry;
#[path = "debian/roots.rs"]
mod roots;
#[path = "watch/server.rs"]
mod server;
#[path = "watch/whole.rs"]
mod whole;

use std::time::Duration;

use cargo::Cargo;
use debian::Debian;
use node::{Builds, Node};
use npm::Npm;
use pypi::Pypi;
use registry::Registry;

/// Publishes before, while and after a node runs, and kills it again and again.
fn every_release_lands_in_the_queue_once(registry: &impl Registry) {
    let mut node = Node::new(&registry.watch(Builds::Wait), Builds::Wait);
    node.start();
    node.until_begun();
    assert_eq!(node.handed_over(), [""; 0], "nothing was published since the watch began");
    let mut expected = registry.publish("1.0.0");
    let listed = |expected: &[String]| expected.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let wait = |node: &Node, expected: &[String]| node.wait_for(&listed(expected).lines().collect::<Vec<_>>());
    wait(&node, &expected);
    // While it is down.
    node.kill();
    expected.extend(registry.publish("1.0.1"));
    node.start();
    wait(&node, &expected);
    // While it is killed at moments that fall anywhere.
    for round in 0..6_u64 {
        expected.extend(registry.publish(&format!("1.1.{round}")));
        std::thread::sleep(Duration::from_millis(round * 173 % 700));
        node.kill();
        node.start();
    }
    wait(&node, &expected);
    // And nothing comes twice when it polls on.
    node.wait_for_poll();
    wait(&node, &expected);
    let status = node.status();
    assert_eq!(status["ok"], true, "{status}");
    // A death between a job and its key hands one batch over again.
    let handed = node.handed().values().sum::<u32>() as usize;
    assert!((expected.len()..=expected.len() * 2).contains(&handed), "{handed} for {}", expected.len());
}

#[test]
fn npm_publish_lands_in_the_queue_once() {
    if let Some(registry) = Npm::start() {
        every_release_lands_in_the_queue_once(&registry);
    }
}

#[test]
fn twine_upload_lands_in_the_queue_once_with_every_file() {
    if let Some(registry) = Pypi::start() {
        every_release_lands_in_the_queue_once(&registry);
    }
}

#[test]
fn cargo_publish_lands_in_the_queue_once() {
    if let Some(registry) = Cargo::start() {
        every_release_lands_in_the_queue_once(&registry);
    }
}

#[test]
fn a_package_in_a_signed_archive_lands_in_the_queue_once_and_one_that_is_not_signed_never() {
    let Some(registry) = Debian::start() else { return };
    every_release_lands_in_the_queue_once(&registry);
    let mut node = Node::new(&registry.watch(Builds::Wait), Builds::Wait);
    node.start();
    node.until_begun();
    registry.forge("6.6.6");
    node.until("the forgery to be noticed", || node.status()["watches"][0]["problem"]["kind"] == "untrusted");
    assert_eq!(node.handed_over(), [""; 0]);
    // Dates in an archive are in whole seconds, and an index must be no older than the last.
    registry.sign("archive@registry.example");
    node.until("the package, when its archive vouches for it", || node.handed_over().len() == 1);
}
