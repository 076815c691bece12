#![expect(clippy::unwrap_used, reason = "tests")]
use axum::body::to_bytes;
use quorate_tlog::{Checkpoint, MemoryTiles, Signer, Tree, TreeView, leaf_hash};

use super::*;

fn log() -> Signer {
    Signer::from_seed("log.example".parse().unwrap(), &[1; 32])
}

fn config() -> WitnessConfig {
    WitnessConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        name: "witness.example".to_owned(),
        key: None,
        logs: vec![log().verifier().to_string()],
    }
}

fn open(folder: &Path) -> Result<Service, StartError> {
    Service::open(&config(), folder, None)
}

fn request(history: &str, old: u64, new: u64) -> AddCheckpoint {
    let leaves: Vec<_> = (0..new).map(|n| leaf_hash(format!("{history}{n}").as_bytes())).collect();
    let appended = Tree::new().append(&leaves).unwrap();
    let mut tiles = MemoryTiles::default();
    tiles.0.extend(appended.tiles.into_iter().map(|tile| (tile.path, tile.bytes)));
    let head = appended.tree.head();
    let (_, proof) = TreeView::new(head, &tiles).unwrap().consistency(old).unwrap();
    let checkpoint = Checkpoint::new("log.example".parse().unwrap(), head).unwrap();
    AddCheckpoint::new(old, proof, checkpoint.sign(&log()).unwrap())
}

async fn read(response: Response) -> (u16, String, String) {
    let kind = response.headers().get(header::CONTENT_TYPE).map_or(String::new(), |kind| kind.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    (status, kind, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn answers_over_http_are_those_of_the_spec() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(&config(), dir.path(), None, None).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let url = |path: &str| format!("{}/{path}", serving.listening.url);
    let ask = async |body: String| {
        let answer = client.post(url("add-checkpoint")).body(body).send().await.unwrap();
        let kind = answer.headers().get("content-type").map_or(String::new(), |kind| kind.to_str().unwrap().to_owned());
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    };
    let hash = origin_hash(&"log.example".parse().unwrap());
    let get = async |path: String| client.get(url(&path)).send().await.unwrap();
    assert_eq!(get(format!("{hash}/checkpoint")).await.status(), 404);

    let first = request("a", 0, 5);
    let (status, _, line) = ask(first.to_string()).await;
    assert_eq!(status, 200);
    let key = serving.listening.vkey.parse().unwrap();
    let lines = quorate_tlog::NoteSignature::parse_lines(&line).unwrap();
    let cosigned = lines.into_iter().fold(first.note().clone(), |note, line| note.with_signature(line).unwrap());
    assert_eq!(cosigned.cosignatures(&[key]).unwrap().len(), 1);
    assert_eq!(get(format!("{hash}/checkpoint")).await.text().await.unwrap(), cosigned.to_string());

    assert_eq!(ask(request("a", 0, 9).to_string()).await, (409, "text/x.tlog.size".to_owned(), "5\n".to_owned()));
    assert_eq!(ask(request("b", 5, 9).to_string()).await.0, 422);
    assert_eq!(ask("old 05\n".to_owned()).await.0, 400);
    assert_eq!(ask("x".repeat(REQUEST_BYTES_MAX + 1)).await.0, 400);
    assert_eq!(ask(request("a", 0, 5).to_string().replace("log.example", "other.example")).await.0, 404);
    assert_eq!(ask(request("a", 5, 9).to_string().replace("\n9\n", "\n8\n")).await.0, 403);
    assert_eq!(get("add-checkpoint".to_owned()).await.status(), 405);
    assert_eq!(get(format!("{}/checkpoint", "0".repeat(64))).await.status(), 404);
    serving.stop();
}

#[tokio::test]
async fn a_witness_killed_between_writing_and_answering_goes_on_from_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).unwrap();
    assert_eq!(service.answer(&request("a", 0, 5), 1).status(), 200);
    // The state is written, the answer never leaves: the process ends here.
    let killed = service.lock().add_checkpoint(&request("a", 5, 9), 2, |record| {
        service.keep(record).unwrap();
        Err(io::Error::other("killed"))
    });
    assert!(killed.is_err());
    drop(service);

    let service = open(dir.path()).unwrap();
    assert_eq!(read(service.answer(&request("a", 5, 9), 3)).await, (409, "text/x.tlog.size".to_owned(), "9\n".to_owned()));
    assert_eq!(service.answer(&request("b", 5, 9), 3).status(), 409);
    assert_eq!(service.answer(&request("a", 9, 9), 3).status(), 200);
    assert_eq!(service.answer(&request("a", 9, 12), 3).status(), 200);
}

#[test]
fn a_witness_that_cannot_write_cosigns_nothing_and_stays_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).unwrap();
    assert_eq!(service.answer(&request("a", 0, 5), 1).status(), 200);
    let log = log_folder(dir.path(), &"log.example".parse().unwrap());
    fs::rename(&log, dir.path().join("away")).unwrap();
    assert_eq!(service.answer(&request("a", 5, 9), 2).status(), 500);
    fs::rename(dir.path().join("away"), &log).unwrap();
    assert_eq!(service.answer(&request("a", 5, 8), 2).status(), 200);
}

#[test]
fn damaged_or_foreign_state_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).unwrap();
    assert_eq!(service.answer(&request("a", 0, 5), 1).status(), 200);
    let path = log_folder(dir.path(), &"log.example".parse().unwrap()).join("checkpoint");
    let kept = fs::read(&path).unwrap();
    fs::write(&path, &kept[..kept.len() / 2]).unwrap();
    assert!(matches!(open(dir.path()), Err(StartError::Kept { .. })));
    fs::write(&path, b"").unwrap();
    assert!(matches!(open(dir.path()), Err(StartError::Kept { .. })));
    fs::write(&path, &kept).unwrap();
    fs::remove_file(dir.path().join("key")).unwrap();
    assert!(matches!(open(dir.path()), Err(StartError::Kept { source: ResumeError::NotCosigned, .. })));
}

#[test]
fn a_log_with_two_roots_for_one_size_is_convicted_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).unwrap();
    assert_eq!(service.answer(&request("a", 0, 5), 1).status(), 200);
    for old in [0, 5, 5] {
        assert_ne!(service.answer(&request("b", old, 5), 1).status(), 200);
    }
    let log_dir = log_folder(dir.path(), &"log.example".parse().unwrap());
    let evidence: Vec<_> =
        fs::read_dir(log_dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.to_string_lossy().contains("evidence-")).collect();
    assert_eq!(evidence.len(), 1);
    let proof = LogEquivocation::parse(&fs::read(&evidence[0]).unwrap()).unwrap();
    assert_eq!(proof.verify(log().verifier()).unwrap().size, 5);
}

#[test]
fn a_witness_without_a_log_or_with_a_bad_name_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let none = WitnessConfig { logs: Vec::new(), ..config() };
    assert!(matches!(Service::open(&none, dir.path(), None), Err(StartError::NoLog)));
    assert!(Service::open(&none, dir.path(), Some(&log().verifier().to_string())).is_ok());
    let named = WitnessConfig { name: "a b".to_owned(), ..config() };
    assert!(matches!(Service::open(&named, dir.path(), None), Err(StartError::Name { .. })));
    let keyed = WitnessConfig { logs: vec!["log".to_owned()], ..config() };
    assert!(matches!(Service::open(&keyed, dir.path(), None), Err(StartError::Log { .. })));
}

#[tokio::test]
async fn whoever_sends_slowly_keeps_nobody_else_from_being_answered() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(&config(), dir.path(), None, None).await.unwrap();
    let address: SocketAddr = serving.listening.url.trim_start_matches("http://").parse().unwrap();
    // As many as are looked at together, from two other addresses of this machine. Each sends one byte of a thousand.
    let mut slow = Vec::new();
    for at in 0..REQUESTS_MAX {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let own = if at % 2 == 0 { [127, 0, 0, 2] } else { [127, 0, 0, 3] };
        socket.bind((own, 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head = b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 1000\r\n\r\no";
        tokio::io::AsyncWriteExt::write_all(&mut stream, head).await.unwrap();
        slow.push(stream);
    }
    tokio::task::yield_now().await;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let asked = client.post(format!("{}/add-checkpoint", serving.listening.url)).body(request("a", 0, 5).to_string()).send();
    let answered = tokio::time::timeout(BODY_TIMEOUT / 2, asked).await.expect("before any slow one is given up").unwrap();
    assert_eq!(answered.status(), 200);
}
