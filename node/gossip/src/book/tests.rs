//! Promises of the book.
#![expect(clippy::unwrap_used, reason = "tests")]

use libp2p::identity::Keypair;

use super::*;

const NOW: u64 = 1_790_000_000;

fn key(number: u16) -> Keypair {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    Keypair::ed25519_from_bytes(seed).unwrap()
}

fn id(number: u16) -> PeerId {
    key(number).public().to_peer_id()
}

fn record(number: u16, address: &str) -> Record {
    Record::sign(&key(number), [address.parse().unwrap()]).unwrap()
}

fn at(number: u16) -> Record {
    record(number, &format!("/ip4/10.{}.{}.1/tcp/4001", number >> 8, number & 255))
}

fn book() -> Book {
    Book::new(id(0))
}

fn by_id(peer: &PeerId) -> u64 {
    u64::from_be_bytes(peer.to_bytes()[6..14].try_into().unwrap())
}

#[test]
fn one_liar_cannot_fill_the_book_nor_can_all_of_them() {
    let mut book = book();
    let liar = id(60_000);
    let learned = (1..200).filter(|n| book.learn(at(*n), liar, NOW) == Learned::New).count();
    assert_eq!(learned, UNTRIED_PER_TELLER_MAX);
    assert_eq!(book.learn(at(300), id(300), NOW), Learned::New, "the peer itself is always heard");
    for n in 1000..2500 {
        book.learn(at(n), id(n), NOW);
    }
    assert_eq!(book.len(), PEERS_MAX);
}

#[test]
fn what_fails_makes_room_and_what_was_reached_does_not() {
    let mut book = book();
    for n in 1..=1024 {
        book.learn(at(n), id(n), NOW);
        book.reached(id(n), NOW);
    }
    assert_eq!(book.learn(at(2000), id(2000), NOW), Learned::Nothing);
    let late = NOW + 8 * FRESH_S;
    book.failed(id(5));
    assert_eq!(book.learn(at(2000), id(2000), late), Learned::New);
    assert!(book.get(&id(5)).is_none());
}

#[test]
fn a_newer_record_takes_the_place_of_the_older_and_never_the_other_way_round() {
    let mut book = book();
    let (older, newer) = (record(1, "/ip4/10.0.0.1/tcp/1"), record(1, "/ip4/10.0.0.2/tcp/1"));
    assert_eq!(book.learn(older.clone(), id(2), NOW), Learned::New);
    assert_eq!(book.learn(older, id(3), NOW), Learned::Nothing);
    assert_eq!(book.learn(newer.clone(), id(3), NOW), Learned::Newer);
    assert_eq!(book.get(&id(1)).unwrap().record, newer);
    assert_eq!(book.learn(at(0), id(3), NOW), Learned::Nothing, "our own address is no news");
}

#[test]
fn dials_pause_longer_with_each_failure_and_a_peer_that_never_answers_is_forgotten() {
    let mut book = book();
    book.learn(at(1), id(2), NOW);
    let due = |book: &Book, now| !book.to_dial(&BTreeSet::new(), 1, now, by_id).is_empty();
    let (mut now, mut pauses) = (NOW, Vec::new());
    for _ in 0..FAILURES_MAX - 1 {
        assert!(due(&book, now));
        book.tried(id(1), now);
        book.failed(id(1));
        let began = now;
        while !due(&book, now) {
            now += 1;
        }
        pauses.push(now - began);
    }
    assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600]);
    book.failed(id(1));
    assert!(book.is_empty());
}

#[test]
fn connections_spread_over_networks_before_any_network_gets_a_second() {
    let mut book = book();
    for n in 1..=20 {
        book.learn(record(n, &format!("/ip4/10.1.0.{n}/tcp/1")), id(n), NOW);
    }
    book.learn(record(30, "/ip4/10.2.0.1/tcp/1"), id(30), NOW);
    book.learn(record(31, "/ip6/2001:db8::1/tcp/1"), id(31), NOW);
    let chosen =
        |connected: &BTreeSet<PeerId>| book.to_dial(connected, 3, NOW, by_id).into_iter().map(|(peer, _)| peer).collect::<BTreeSet<_>>();
    assert!(chosen(&BTreeSet::new()).is_superset(&[id(30), id(31)].into()));
    let next = chosen(&[id(30), id(1)].into());
    assert!(next.contains(&id(31)) && !next.contains(&id(30)) && !next.contains(&id(1)));
}

#[test]
fn only_peers_that_were_reached_lately_and_are_not_banned_are_told() {
    let mut book = book();
    for n in 1..=4 {
        book.learn(at(n), id(n), NOW);
    }
    book.reached(id(1), NOW);
    book.reached(id(2), NOW);
    book.reached(id(3), NOW - FRESH_S);
    for _ in 0..5 {
        book.punish(id(2), Offence::Rejected, NOW);
    }
    assert_eq!(book.to_tell(&id(9), 32, NOW, by_id), [at_bytes(&book, 1)]);
    assert!(book.to_tell(&id(1), 32, NOW, by_id).is_empty(), "nobody is told of itself");
    assert_eq!(book.banned(NOW), [id(2)].into());
    assert!(book.to_dial(&BTreeSet::new(), 9, NOW, by_id).iter().all(|(peer, _)| *peer != id(2)));
}

fn at_bytes(book: &Book, number: u16) -> Vec<u8> {
    book.get(&id(number)).unwrap().record.bytes().to_vec()
}

#[test]
fn penalties_are_bounded_and_the_worst_are_remembered() {
    let mut book = book();
    for _ in 0..5 {
        book.punish(id(1), Offence::Rejected, NOW);
    }
    for n in 2..3000 {
        book.punish(id(n), Offence::Malformed, NOW);
    }
    assert!(book.penalties.len() <= PENALTIES_MAX);
    assert!(book.is_banned(&id(1), NOW));
}

#[test]
fn the_book_survives_its_file_and_a_damaged_line_costs_one_line() {
    let mut book = book();
    for n in 1..=10 {
        book.learn(at(n), if n % 2 == 0 { id(n) } else { id(77) }, NOW);
    }
    book.reached(id(1), NOW);
    book.tried(id(2), NOW);
    book.failed(id(2));
    book.punish(id(3), Offence::Rejected, NOW);
    let bytes = book.encode();
    assert_eq!(Book::decode(id(0), &bytes), book);
    for index in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[index] = damaged[index].wrapping_add(1) & 0x7f;
        let read = Book::decode(id(0), &damaged);
        assert!(index < HEADER_BYTES || read.len() >= 8 || damaged[index] == b'\n', "byte {index}: {}", read.len());
    }
    for cut in (0..bytes.len()).step_by(31) {
        let read = Book::decode(id(0), &bytes[..cut]);
        assert!(read.peers().all(|known| book.get(&known.record.peer()).is_some()));
    }
    assert!(Book::decode(id(0), b"\xff\xfe").is_empty());
}

const HEADER_BYTES: usize = "quorate-peers/v1\n".len();
