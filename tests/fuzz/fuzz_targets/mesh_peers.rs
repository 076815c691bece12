//! Address records and peer books: any bytes are read or refused, and what is read survives a round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_gossip::book::Book;
use quorate_gossip::record::Record;
use quorate_gossip::{PeerId, peer_id_of};
use quorate_proto::SecretKey;

fn own() -> PeerId {
    peer_id_of(&SecretKey::from_seed(&[7; 32]).node_id()).expect("a node id is a key")
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::verify(bytes) {
        assert_eq!(Record::verify(record.bytes()).expect("the same bytes"), record);
        assert!(!record.addresses().is_empty());
    }
    let book = Book::decode(own(), bytes);
    assert_eq!(Book::decode(own(), &book.encode()), book);
});
