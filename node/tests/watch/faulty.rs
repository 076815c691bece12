//! Three feeds of one world, served with everything that goes wrong with feeds: refusals, rests that are
//! asked for, answers cut in half, answers of something else. No small server speaks these feeds, so the
//! protocol is spoken here; packages are of the same shapes that the real servers give.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quorate_proto::Timestamp;
use serde_json::{Value, json};

use crate::node::{Builds, Node};

/// Every so many requests something goes wrong.
const FAULT_EVERY: u64 = 3;

#[derive(Default)]
struct World {
    /// Versions of the one package, each published at its place in the log.
    releases: Vec<(u64, String, Timestamp)>,
    requests: u64,
    faults: BTreeMap<&'static str, u32>,
    /// A page fails once.
    failed_page: bool,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn publish(&mut self, version: &str) {
        let serial = self.releases.last().map_or(10, |(serial, ..)| serial + 1);
        self.releases.push((serial, version.to_owned(), Timestamp::from(std::time::SystemTime::now())));
    }

    fn head(&self) -> u64 {
        self.releases.last().map_or(9, |(serial, ..)| *serial)
    }

    fn behind(&self, since: u64) -> Vec<(u64, String, Timestamp)> {
        self.releases.iter().filter(|(serial, ..)| *serial > since).cloned().collect()
    }
}

/// An answer, or what goes wrong instead.
fn answered(world: &Shared, kind: &'static str, body: String) -> Response {
    let mut world = world.lock().unwrap();
    world.requests += 1;
    if !world.requests.is_multiple_of(FAULT_EVERY) {
        return ([(header::CONTENT_TYPE, kind)], body).into_response();
    }
    let fault = ["refused", "overloaded", "halved", "something else"][usize::try_from(world.requests / FAULT_EVERY % 4).unwrap()];
    *world.faults.entry(fault).or_default() += 1;
    match fault {
        "refused" => StatusCode::BAD_GATEWAY.into_response(),
        "overloaded" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        "halved" => ([(header::CONTENT_TYPE, kind)], body[..body.len() / 2].to_owned()).into_response(),
        _ => ([(header::CONTENT_TYPE, "text/html")], "<html><body>Service notice</body></html>").into_response(),
    }
}

async fn npm_database(State(world): State<Shared>) -> Response {
    let head = world.lock().unwrap().head();
    answered(&world, "application/json", json!({ "db_name": "registry", "update_seq": head }).to_string())
}

async fn npm_changes(State(world): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let behind = {
        let world = world.lock().unwrap();
        // As CouchDB has it: where the feed ends, whatever number that is.
        let since = query.get("since").map_or(0, |since| if since == "now" { world.head() } else { since.parse().unwrap() });
        world.behind(since)
    };
    // A page holds what the server likes, not what was asked for.
    let rows: Vec<_> =
        behind.iter().take(2).map(|(serial, ..)| json!({ "seq": serial, "id": "watched-demo", "changes": [{ "rev": "1" }] })).collect();
    let last = behind.iter().take(2).next_back().map_or_else(|| world.lock().unwrap().head(), |(serial, ..)| *serial);
    answered(&world, "application/json", json!({ "results": rows, "last_seq": last }).to_string())
}

async fn npm_packument(State(world): State<Shared>) -> Response {
    let mut world = world.lock().unwrap();
    if !world.failed_page && !world.releases.is_empty() {
        world.failed_page = true;
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let dist = |version: &str| json!({ "dist": { "tarball": format!("http://registry.example/watched-demo/-/watched-demo-{version}.tgz"), "shasum": "00" } });
    let versions: BTreeMap<_, _> = world.releases.iter().map(|(_, version, _)| (version.clone(), dist(version))).collect();
    let times: BTreeMap<_, _> = world.releases.iter().map(|(_, version, at)| (version.clone(), at.to_string())).collect();
    axum::Json(json!({ "name": "watched-demo", "versions": versions, "time": times })).into_response()
}

async fn pypi_changelog(State(world): State<Shared>, body: Bytes) -> Response {
    let call = String::from_utf8(body.to_vec()).unwrap();
    let (head, value) = {
        let world = world.lock().unwrap();
        let since = call.split_once("<int>").and_then(|(_, rest)| rest.split('<').next()?.parse().ok()).unwrap_or(0);
        let row = |(serial, version, _): &(u64, String, Timestamp)| {
            format!(
                "<value><array><data><value><string>Watched_Demo</string></value><value><string>{version}</string></value><value><int>1</int></value><value><string>add source file watched_demo-{version}.tar.gz</string></value><value><int>{serial}</int></value></data></array></value>"
            )
        };
        (world.head(), world.behind(since).iter().map(row).collect::<String>())
    };
    let value =
        if call.contains("changelog_last_serial") { format!("<int>{head}</int>") } else { format!("<array><data>{value}</data></array>") };
    answered(
        &world,
        "text/xml",
        format!("<?xml version='1.0'?><methodResponse><params><param><value>{value}</value></param></params></methodResponse>"),
    )
}

async fn pypi_project(State(world): State<Shared>) -> Response {
    let world = world.lock().unwrap();
    let file = |(_, version, at): &(u64, String, Timestamp)| json!({ "filename": format!("watched_demo-{version}.tar.gz"), "url": "x", "hashes": {}, "upload-time": at.to_string() });
    let page: Value = json!({ "meta": { "api-version": "1.1", "_last-serial": world.head() }, "name": "watched-demo", "files": world.releases.iter().map(file).collect::<Vec<_>>() });
    axum::Json(page).into_response()
}

async fn cargo_updates(State(world): State<Shared>) -> Response {
    let items = {
        let world = world.lock().unwrap();
        let item = |(_, version, at): &(u64, String, Timestamp)| {
            let date = jiff::Timestamp::from_second(at.unix_seconds()).unwrap();
            let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
            format!(
                "<item><title>t</title><link>http://registry.example/crates/watched-demo/{version}</link><pubDate>{date}</pubDate></item>"
            )
        };
        world.releases.iter().rev().map(item).collect::<String>()
    };
    answered(&world, "application/rss+xml", format!("<rss version=\"2.0\"><channel><title>t</title>{items}</channel></rss>"))
}

async fn cargo_index(State(world): State<Shared>, Path(_): Path<String>) -> Response {
    let world = world.lock().unwrap();
    let line = |(_, version, _): &(u64, String, Timestamp)| {
        json!({ "name": "watched-demo", "vers": version, "cksum": "0".repeat(64), "deps": [] }).to_string() + "\n"
    };
    world.releases.iter().map(line).collect::<String>().into_response()
}

async fn serve(world: Shared) -> String {
    let router = Router::new()
        .route("/npm/", get(npm_database))
        .route("/npm/_changes", get(npm_changes))
        .route("/npm/watched-demo", get(npm_packument))
        .route("/pypi", post(pypi_changelog))
        .route("/simple/watched-demo/", get(pypi_project))
        .route("/updates.xml", get(cargo_updates))
        .route("/index/{*path}", get(cargo_index))
        .with_state(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_faulty_feeds_bring_every_release_once_across_kills() {
    let world = Shared::default();
    let base = serve(Arc::clone(&world)).await;
    let watch = format!(
        "[registry]\nnpm = {{ index_url = \"{base}/npm/\" }}\npypi = {{ index_url = \"{base}/simple/\" }}\ncargo = {{ index_url = \"{base}/index/\" }}\n\
         [watch]\nevery_seconds = 1\nfeeds = [\"npm\", \"pypi\", \"cargo\"]\n[watch.cargo]\nupdates_url = \"{base}/updates.xml\"\n"
    );
    let mut node = Node::new(&watch, Builds::Wait);
    node.start();
    let has_begun = |node: &Node| {
        let status = node.status();
        let watches = status["watches"].as_array().unwrap().clone();
        watches.len() == 3 && watches.iter().all(|watch| !watch["cursor"].is_null())
    };
    node.until("cursors in all feeds", || has_begun(&node));
    let mut expected = Vec::new();
    for round in 0..8_u64 {
        let version = format!("1.0.{round}");
        world.lock().unwrap().publish(&version);
        expected.push(format!("pkg:npm/watched-demo@{version} watched-demo-{version}.tgz"));
        expected.push(format!("pkg:pypi/watched-demo@{version} watched_demo-{version}.tar.gz"));
        expected.push(format!("pkg:cargo/watched-demo@{version} watched-demo-{version}.crate"));
        tokio::time::sleep(Duration::from_millis(500 + round * 211 % 900)).await;
        if round % 2 == 1 {
            node.kill();
            node.start();
        }
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    tokio::task::block_in_place(|| {
        node.wait_for(&expected);
        node.wait_for_poll();
        node.wait_for(&expected);
    });
    let world = world.lock().unwrap();
    assert_eq!(world.faults.len(), 4, "every kind of fault was met: {:?}", world.faults);
    assert!(node.log().contains("watch: polls fail") && node.log().contains("watch: polls go well again"));
}
