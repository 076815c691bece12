//! The whole path: submissions become verdicts, proofs, pages and answers to incident queries.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use futures::StreamExt as _;
use quorate_proto::bundle::Bundle;
use quorate_proto::dsse::Envelope;
use quorate_proto::feed::EquivocationProof;
use quorate_proto::result::Outcome;
use quorate_proto::statement::Statement;
use quorate_proto::verified::{FeedItem, VerifiedStatement};
use quorate_proto::{ArtifactId, Digest, Timestamp, api};
use quorate_tally::{Policy, VerdictSummary, tally};
use quorate_tlog::TlogProof;
use serde_json::Value;

use crate::fixture::{Network, artifact, backdoored, differences, equivalent, identical, inventory};
use crate::harness::{Place, client};

fn report() -> Vec<u8> {
    let side = serde_json::json!({"digest": Digest::of(b"x"), "sizeBytes": 5});
    let diff = "@@ -1 +1 @@\n-import os # <script>alert(1)</script>\n+import sys\n";
    serde_json::json!({
        "level": "different", "published": side, "rebuilt": side, "anomalies": [], "passes": [],
        "differences": [{"difference": differences()[1], "detail": {"diff": diff}}],
    })
    .to_string()
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_become_a_verdict_that_a_stranger_recomputes_from_the_bundle() {
    let mut network = Network::new(5);
    let place = Place::new(&network.policy(3));
    let mut running = place.start().await;
    let mut watched = running.client.watch_verdicts(api::WatchVerdictsRequest {}).await.unwrap().into_inner();
    let click = artifact("click", "8.1.8", "");
    for node in 0..4 {
        let outcome = if node == 3 { equivalent(&click) } else { identical(&click) };
        let item = network.nodes[node].sign(&click, outcome);
        running.submit(&[item]).await.unwrap();
    }
    let verdict = running.await_state(&click.digest, "reproduced").await;
    running.quiet().await;
    let event = watched.next().await.unwrap().unwrap();
    assert_eq!((event.artifact, event.file.as_str()), (click.digest.to_string(), "click-8.1.8-py3-none-any.whl"));
    assert_eq!(verdict["artifact"]["package"], "pkg:pypi/click@8.1.8");

    let (status, bytes) = running.get(&format!("/api/v1/artifacts/{}/bundle", click.digest)).await;
    assert_eq!(status, 200);
    let bundle = Bundle::parse(&bytes).unwrap();
    TlogProof::parse(bundle.proof.as_bytes()).unwrap().verify(bundle.verdict.as_bytes(), &running.vkey).unwrap();
    let envelope = Envelope::parse(bundle.verdict.as_bytes(), 1 << 20).unwrap();
    let summary = Statement::<VerdictSummary>::parse(envelope.payload()).unwrap().predicate;
    let (_, policy) = running.get("/api/v1/policy").await;
    let policy = Policy::parse(std::str::from_utf8(&policy).unwrap()).unwrap();
    let verify = |item| VerifiedStatement::verify_item(&FeedItem::from(item), policy.enrolled()).unwrap();
    let statements: Vec<_> = bundle.results.iter().map(verify).collect();
    assert_eq!(tally(&policy, &click, &statements, &[]), summary.verdict);

    let grpc = running.client.get_bundle(api::GetBundleRequest { artifact: click.digest.to_string(), ..Default::default() }).await.unwrap();
    assert_eq!(Bundle::parse(&grpc.into_inner().bundle).unwrap().results.len(), 4);
    running.stop();
    place.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_serves_the_same_verdicts_and_makes_none_twice() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let items: Vec<_> = network.nodes.iter_mut().map(|node| node.sign(&click, identical(&click))).collect();
    running.submit(&items).await.unwrap();
    running.await_state(&click.digest, "reproduced").await;
    let head = running.quiet().await;
    running.stop();
    let mut running = place.start().await;
    assert_eq!(running.quiet().await, head);
    running.await_state(&click.digest, "reproduced").await;
    running.stop();

    // Another policy is logged, and tallied over everything.
    std::fs::write(place.folder.path().join("policy.toml"), network.policy(3).replace("alpha", "omega")).unwrap();
    let mut running = place.start().await;
    let grown = running.quiet().await;
    assert_eq!(grown.size, head.size + 2, "one policy, one verdict");
    let verdict = running.await_state(&click.digest, "reproduced").await;
    assert_eq!(verdict["verdict"]["threshold"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backdoored_artifact_is_suspect_on_every_page_and_its_texts_stay_harmless() {
    let mut network = Network::new(5);
    let place = Place::new(&network.policy(3));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "backdoored");
    let report = report();
    for node in 0..5 {
        let outcome = if node == 4 { identical(&click) } else { backdoored(&click, Some(Digest::of(&report))) };
        let item = network.nodes[node].sign_with(&click, outcome, |result| {
            if let Some(source) = &mut result.source {
                source.uri = "javascript:alert(1)//<img src=x onerror=alert(1)>".into();
            }
        });
        running.submit(&[item]).await.unwrap();
    }
    running.await_state(&click.digest, "suspect").await;
    let blobs = vec![report.into()];
    let taken = running.client.submit_blobs(api::SubmitBlobsRequest { blobs }).await.unwrap().into_inner().taken;
    assert_eq!(taken.len(), 1);

    let (_, list) = running.json("/api/v1/verdicts?attention=true").await;
    assert_eq!(list["verdicts"][0]["state"], "suspect");
    assert_eq!(list["verdicts"][0]["digest"], click.digest.to_string());
    let (_, none) = running.json("/api/v1/verdicts?state=reproduced").await;
    assert_eq!(none["verdicts"], serde_json::json!([]));

    let page = client().get(format!("{}/artifact/{}", running.http, click.digest)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let html = page.text().await.unwrap();
    for text in
        ["suspect", "click/_winconsole_shim.py", "4 of 5 operators agree on another result", "Differs", "alpha", "echo", "import sys"]
    {
        assert!(html.contains(text), "the page lacks {text:?}");
    }
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("href=\"javascript"), "{html}");
    let (_, home) = running.get("/").await;
    let home = String::from_utf8(home).unwrap();
    assert!(home.find("Needs attention").unwrap() < home.find("Newest verdicts").unwrap());
    let (status, operators) = running.get("/operators").await;
    assert!(status == 200 && String::from_utf8(operators).unwrap().contains("charlie"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gravest_of_what_is_suspect_stands_first_and_lists_say_how_grave_it_is() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let (grave, newer) = (artifact("click", "8.1.8", "backdoored"), artifact("flask", "3.0.0", "another"));
    for (about, left_out) in [(&grave, 0), (&newer, 1)] {
        let mut outcome = backdoored(about, None);
        if let Outcome::Different { differences, .. } = &mut outcome {
            // The first is what only the published file has.
            differences.members.drain(..left_out);
            differences.count = differences.members.len().try_into().unwrap();
        }
        let items: Vec<_> = network.nodes.iter_mut().map(|node| node.sign(about, outcome.clone())).collect();
        running.submit(&items).await.unwrap();
        running.await_state(&about.digest, "suspect").await;
    }
    running.quiet().await;
    let (_, list) = running.json("/api/v1/verdicts?attention=true").await;
    let said = |at: usize| ["digest", "severity", "alarm"].map(|field| list["verdicts"][at][field].clone());
    assert_eq!(said(0), [newer.digest.to_string(), "high".into(), "high".into()], "the newest first");
    assert_eq!(said(1), [grave.digest.to_string(), "critical".into(), "critical".into()]);
    let (_, home) = running.get("/").await;
    let home = String::from_utf8(home).unwrap();
    let (grave, newer) = (home.find("click").unwrap(), home.find("flask").unwrap());
    assert!(grave < newer && home[..newer].contains(">critical<"), "{home}");
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_digests_in_one_slot_are_a_registry_split_on_both() {
    let mut network = Network::new(3);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let (one, two) = (artifact("click", "8.1.8", "one"), artifact("click", "8.1.8", "two"));
    let first = network.nodes[0].sign(&one, identical(&one));
    let second = network.nodes[1].sign(&two, identical(&two));
    running.submit(&[first, second]).await.unwrap();
    for digest in [one.digest, two.digest] {
        let verdict = running.await_state(&digest, "pending").await;
        assert_eq!(verdict["flags"], serde_json::json!(["registry-split"]));
    }
    let (_, package) = running.json("/api/v1/packages?purl=pkg:pypi/click").await;
    assert_eq!(package["artifacts"].as_array().unwrap().len(), 2);
    let (_, other) = running.json("/api/v1/packages?purl=pkg:pypi/click@8.1.7").await;
    assert_eq!(other["artifacts"], serde_json::json!([]));
    let (_, flagged) = running.json("/api/v1/verdicts?flag=registry-split").await;
    assert_eq!(flagged["verdicts"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_under_a_second_name_take_no_page_away() {
    let mut network = Network::new(2);
    let place = Place::new(&network.policy(1));
    let mut running = place.start().await;
    let one = artifact("click", "8.1.8", "");
    let mut two = ArtifactId { digest: one.digest, ..artifact("evil", "1", "") };
    two.slot.package = two.slot.package.in_repository("https://mirror.example/simple");
    let first = network.nodes[0].sign(&one, identical(&one));
    let second = network.nodes[1].sign(&two, identical(&two));
    running.submit(&[first, second]).await.unwrap();
    running.quiet().await;

    let text = async |path: &str| {
        let (status, body) = running.get(path).await;
        (status, String::from_utf8(body).unwrap())
    };
    let (status, chooser) = text(&format!("/artifact/{}", one.digest)).await;
    assert_eq!(status, 200, "{chooser}");
    let link = format!("/artifact/{}?package=pkg%3Apypi%2Fclick%408.1.8&amp;file=click-8.1.8-py3-none-any.whl", one.digest);
    assert!(chooser.contains(&link) && chooser.contains("from mirror.example/simple"), "{chooser}");
    let (_, home) = text("/").await;
    assert!(home.contains(&link) && home.contains("from mirror.example/simple"), "{home}");
    let (status, page) = text(&link.replace("&amp;", "&")).await;
    assert!(status == 200 && page.contains("Votes") && page.contains("-o verdict.bundle"), "{page}");
    let bundle = format!("/api/v1/artifacts/{}/bundle?package=pkg%3Apypi%2Fclick%408.1.8&amp;file=", one.digest);
    assert!(page.contains(&bundle), "{page}");
    assert_eq!(text(&format!("/api/v1/artifacts/{}/verdict", one.digest)).await.0, 409);

    // A package is found from whatever registry it came, and by gRPC too.
    for path in ["packages", "affected"] {
        let (_, found) = running.json(&format!("/api/v1/{path}?purl=pkg:pypi/evil@1")).await;
        let found = if path == "packages" { &found["artifacts"] } else { &found["affected"] };
        assert_eq!(found.as_array().unwrap().len(), 1, "{path}");
    }
    let mut request = api::GetVerdictRequest { artifact: one.digest.to_string(), ..Default::default() };
    let refused = running.client.get_verdict(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    request.package = one.slot.package.to_string();
    request.file = one.slot.file.to_string();
    assert_eq!(running.client.get_verdict(request).await.unwrap().into_inner().package, "pkg:pypi/click@8.1.8");
}

#[tokio::test(flavor = "multi_thread")]
async fn incident_queries_find_what_went_into_a_build() {
    let mut network = Network::new(2);
    let place = Place::new(&network.policy(2));
    let mut running = place.start().await;
    let (click, flask) = (artifact("click", "8.1.8", ""), artifact("flask", "3.0.0", ""));
    let items = [network.nodes[0].sign(&click, identical(&click)), network.nodes[1].sign(&flask, identical(&flask))];
    running.submit(&items).await.unwrap();
    running.quiet().await;
    let blobs = vec![network.nodes[0].provenance(&click).into(), inventory().into()];
    assert_eq!(running.client.submit_blobs(api::SubmitBlobsRequest { blobs }).await.unwrap().into_inner().taken.len(), 2);

    let commit = Digest::of(b"pkg:pypi/click@8.1.8").to_hex()[..40].to_owned();
    let (node, operator) = (network.nodes[1].key.node_id(), network.nodes[0].root.operator_id());
    let after = Timestamp::from_unix_seconds(network.now.unix_seconds() + 1);
    let packaging = Digest::of(b"packaging");
    let queries: [(String, &[&str]); 15] = [
        (format!("digest={packaging}"), &["click"]),
        (format!("digest={}", flask.digest), &["flask"]),
        ("purl=pkg:pypi/packaging".into(), &["click"]),
        ("purl=pkg:pypi/packaging@24.2".into(), &["click"]),
        ("purl=pkg:pypi/packaging@24.1".into(), &[]),
        ("purl=pkg:pypi/flask".into(), &["flask"]),
        (format!("commit={commit}"), &["click"]),
        (format!("commit={}", "c".repeat(40)), &["click"]),
        ("tool=Flit_Core@3.10.1".into(), &["click", "flask"]),
        ("tool=xz-utils@5.4.1".into(), &["click", "flask"]),
        (format!("tool=xz-utils&node={node}"), &["flask"]),
        (format!("operator={operator}"), &["click"]),
        ("operator=bravo".into(), &["flask"]),
        (format!("since={}", network.now), &["click", "flask"]),
        (format!("since={after}"), &[]),
    ];
    for (query, expected) in queries {
        let (status, body) = running.json(&format!("/api/v1/affected?{query}")).await;
        assert_eq!(status, 200, "{query}: {body}");
        let name = |row: &Value| row["artifact"]["package"].as_str().unwrap()["pkg:pypi/".len()..].split('@').next().unwrap().to_owned();
        let found: BTreeSet<String> = body["affected"].as_array().unwrap().iter().map(name).collect();
        assert_eq!(found, expected.iter().map(|name| (*name).to_owned()).collect(), "{query}");
    }
    let (_, body) = running.json(&format!("/api/v1/affected?digest={packaging}")).await;
    let provenance = body["affected"][0]["provenance"].as_str().unwrap();
    assert_eq!(running.get(&format!("/api/v1/blobs/{provenance}")).await.1, network.nodes[0].provenance(&click));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_json_with_a_name_and_a_hint() {
    let network = Network::new(1);
    let place = Place::new(&network.policy(1));
    let running = place.start().await;
    let unknown = Digest::of(b"unknown");
    let long = format!("/api/v1/packages?purl={}", "a".repeat(5_000));
    let table = [
        (format!("/api/v1/artifacts/{unknown}"), 404, "not-found"),
        (format!("/api/v1/artifacts/{unknown}/verdict"), 404, "not-found"),
        (format!("/api/v1/artifacts/{unknown}/bundle"), 404, "not-found"),
        ("/api/v1/artifacts/sha256:00".into(), 400, "malformed-digest"),
        (format!("/api/v1/artifacts/{unknown}/verdict?packge=x"), 400, "malformed-query"),
        ("/api/v1/affected".into(), 400, "malformed-query"),
        ("/api/v1/affected?commit=12".into(), 400, "malformed-query"),
        ("/api/v1/verdicts?state=fine".into(), 400, "malformed-query"),
        ("/api/v1/verdicts?limit=0".into(), 400, "malformed-query"),
        ("/tile/0/x000/000".into(), 400, "malformed-path"),
        ("/tile/0/123".into(), 404, "not-found"),
        ("/nothing".into(), 404, "not-found"),
        (long, 414, "oversized"),
    ];
    for (path, status, name) in table {
        let (got, body) = running.json(&path).await;
        assert_eq!((got, body["error"].as_str().unwrap()), (status, name), "{path}");
        assert!(!body["hint"].as_str().unwrap().is_empty(), "{path}");
    }
    let posted = client().post(format!("{}/api/v1/verdicts", running.http)).send().await.unwrap();
    assert_eq!((posted.status().as_u16(), posted.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"));
    assert!(posted.text().await.unwrap().contains("\"method-not-allowed\""));
    assert_eq!(running.get("/healthz").await, (200, b"ok".to_vec()));
    let head = client().get(format!("{}/checkpoint", running.http)).send().await.unwrap();
    assert_eq!(head.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_tiles_of_older_sizes_are_served_still() {
    let mut network = Network::new(1);
    let place = Place::new(&network.policy(1));
    let mut running = place.start().await;
    let click = artifact("click", "8.1.8", "");
    let mut widths = Vec::new();
    for _ in 0..4 {
        let item = network.nodes[0].sign(&click, identical(&click));
        running.submit(&[item]).await.unwrap();
        let size = running.quiet().await.size;
        let (status, tile) = running.get(&format!("/tile/0/000.p/{size}")).await;
        assert_eq!((status, tile.len()), (200, usize::try_from(size).unwrap() * 32));
        widths.push((size, tile));
    }
    for (size, tile) in widths {
        assert_eq!(running.get(&format!("/tile/0/000.p/{size}")).await.1, tile);
        assert_eq!(running.get(&format!("/tile/entries/000.p/{size}")).await.0, 200);
    }
}

#[test]
fn equivocation_proofs_are_what_the_api_says_they_are() {
    // The pairs under `equivocations` verify as they stand; `inputs.rs` checks that they are served.
    let mut node = crate::fixture::Node::new(0, 0, crate::fixture::now());
    let click = artifact("click", "8.1.8", "");
    let one = node.signed(&click, identical(&click), |_| {});
    let two = node.sign(&click, equivalent(&click));
    let enrolled = BTreeSet::from([node.root.operator_id()]);
    assert_eq!(EquivocationProof::verify(one, two, &enrolled).unwrap().sequence(), 0);
}
