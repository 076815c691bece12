//! Golden vectors for signed addresses and the peer book: bytes that a stranger's implementation must read.
//!
//! `QUORATE_UPDATE_VECTORS=1` makes the record anew, with the time of then in it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use data_encoding::{BASE64, HEXLOWER};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use quorate_gossip::book::Book;
use quorate_gossip::record::Record;
use serde_json::{Value, json};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/mesh-peers.json")
}

fn made() -> Value {
    let key = Keypair::ed25519_from_bytes([1; 32]).unwrap();
    let addresses: [Multiaddr; 2] = ["/ip4/192.0.2.1/udp/4001/quic-v1", "/ip6/2001:db8::1/tcp/4001"].map(|text| text.parse().unwrap());
    let record = Record::sign(&key, addresses).unwrap();
    let told_by = Keypair::ed25519_from_bytes([2; 32]).unwrap().public().to_peer_id();
    let book =
        format!("quorate-peers/v1\npeer {told_by} 1790000000 0 - {}\npenalty {told_by} 210000 1790000000\n", BASE64.encode(record.bytes()));
    json!({
        "description": "a signed envelope of a peer record in hex, with what it says; a peer book that has it",
        "seed": HEXLOWER.encode(&[1; 32]),
        "record": HEXLOWER.encode(record.bytes()),
        "peer": record.peer().to_string(),
        "sequence": record.sequence(),
        "addresses": record.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "book": book,
        "bannedAt": [1_790_000_000_u64, 1_790_000_600],
        "notBannedAt": [1_790_000_700_u64],
    })
}

#[test]
fn records_and_books_are_read_as_they_were_written() {
    if std::env::var_os("QUORATE_UPDATE_VECTORS").is_some() {
        std::fs::write(path(), format!("{}\n", serde_json::to_string_pretty(&made()).unwrap())).unwrap();
    }
    let vector: Value = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let record = Record::verify(&HEXLOWER.decode(vector["record"].as_str().unwrap().as_bytes()).unwrap()).unwrap();
    assert_eq!(record.peer().to_string(), vector["peer"].as_str().unwrap());
    assert_eq!(record.sequence(), vector["sequence"].as_u64().unwrap());
    let said: Vec<String> = record.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(json!(said), vector["addresses"]);
    let (text, own) = (vector["book"].as_str().unwrap(), PeerId::random());
    let book = Book::decode(own, text.as_bytes());
    assert_eq!(book.encode(), text.as_bytes());
    assert_eq!(book.get(&record.peer()).unwrap().record, record);
    let banned = |at: &Value| book.banned(at.as_u64().unwrap()).len() == 1;
    assert!(vector["bannedAt"].as_array().unwrap().iter().all(banned));
    assert!(!vector["notBannedAt"].as_array().unwrap().iter().any(banned));
}
