//! The same release again: what is fetched for it, and what is noticed all the same.

use quorate_node::cache::Reuse;
use quorate_node::traffic::Fetched;
use quorate_proto::result::Outcome;

use super::Bench;
use super::counted::{Counted, damage};
use super::index::{Answer, Index, UPLOADED};
use super::release::{COPY, SDIST, WHEEL, sdist_requiring, wheel, wheel_of};

const NEEDED: &str = "needed-1.5-py3-none-any.whl";
const PAGE: &str = "/simple/demo/";

/// What the second and every further rebuild may bring in.
pub(super) const ONE_LOOK: Fetched = Fetched { requests: 1, unchanged: 1, size_bytes: 0, repositories: 0, roots: 0 };

/// A release whose source distribution requires another project's wheel, rebuilt once.
async fn rebuilt_once() -> (Bench, Counted) {
    let published = wheel("print('demo')\n");
    let source = sdist_requiring(&format!("import needed\n{COPY}"), &published, &["needed>=1"]);
    let mut index = Index::new(vec![(WHEEL, Answer::Bytes(published)), (SDIST, Answer::Bytes(source))]);
    index.add(NEEDED, "2024-01-01T00:00:00Z", Answer::Bytes(wheel_of("needed", "1.5", "x = 1\n")));
    let index = index.start().await;
    let bench = Bench::new(Some(&index));
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    let asked = index.counted.asked();
    assert_eq!((finding.fetched.requests, finding.fetched.unchanged), (asked.len() as u64, 0));
    let files = || asked.iter().filter(|(path, _)| path.starts_with("/files/"));
    assert!(files().count() == 3 && finding.fetched.size_bytes > 1000, "{asked:?}");
    (bench, index.counted.clone())
}

#[tokio::test]
async fn a_second_rebuild_fetches_nothing_but_the_word_that_nothing_has_changed() {
    let (bench, counted) = rebuilt_once().await;
    for _ in 0..2 {
        let finding = bench.rebuild().await.unwrap();
        assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
        assert_eq!(counted.asked(), [(PAGE.to_owned(), 304)]);
        assert_eq!(finding.fetched, ONE_LOOK);
    }
}

#[tokio::test]
async fn a_changed_digest_is_noticed_although_everything_is_held() {
    let (bench, counted) = rebuilt_once().await;
    let before = quorate_proto::Digest::of(&wheel("print('demo')\n"));
    let after = quorate_proto::Digest::of(b"other");
    counted.edit(PAGE, &before.to_hex(), &after.to_hex());
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::ArtifactUnavailable { .. }), "{:?}", finding.outcome);
    assert_eq!(finding.published, after);
    assert_eq!(counted.asked(), [(PAGE.to_owned(), 200), (format!("/files/{WHEEL}"), 200)]);
}

#[tokio::test]
async fn a_file_that_was_damaged_on_disk_is_noticed_and_fetched_anew() {
    let (bench, counted) = rebuilt_once().await;
    // The wheel, its source distribution, and what that requires.
    assert_eq!(damage(&bench.config.cache_dir), 3);
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    let mut asked = counted.asked();
    asked.sort();
    let files = [WHEEL, SDIST, NEEDED].map(|name| (format!("/files/{name}"), 200));
    assert_eq!(asked, [&files[..], &[(PAGE.to_owned(), 304)]].concat());
    assert_eq!(bench.rebuild().await.unwrap().fetched, ONE_LOOK);
}

#[tokio::test]
async fn everything_is_fetched_anew_when_that_is_asked_for() {
    let (mut bench, counted) = rebuilt_once().await;
    bench.config.reuse = Reuse::Anew;
    let finding = bench.rebuild().await.unwrap();
    assert!(matches!(finding.outcome, Outcome::Identical { .. }), "{:?}", finding.outcome);
    assert_eq!(finding.registry.published_at.unwrap().to_string(), UPLOADED);
    let asked = counted.asked();
    assert!(asked.len() >= 5 && asked.iter().all(|(_, status)| *status == 200), "{asked:?}");
}
