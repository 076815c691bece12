//! What an item costs at the door, on one core, and what of that is its signature.

use std::time::Instant;

use quorate_coordinator::door::Door;
use quorate_proto::Timestamp;

use crate::fixture::Network;
use crate::ingest::feed;
use crate::{Scale, ceiling};

const ITEMS: usize = 2_000;

pub(crate) fn run(scale: Scale) {
    let mut network = Network::new(1);
    let items = feed(&mut network, 0, ITEMS);
    let message_bytes = items[0].envelope.len() * 3 / 4;
    let door = Door::new(network.nodes.iter().map(|node| node.root.operator_id()).collect());
    let now = Timestamp::from(std::time::SystemTime::now());
    let before = ceiling::one_core(scale.span / 4, message_bytes);
    let (began, mut checked) = (Instant::now(), 0_u32);
    let mut spent = 0.0;
    while began.elapsed() < scale.span {
        let handed_in = items.clone();
        let began = Instant::now();
        let admitted = door.check_all(handed_in, now);
        assert!(admitted.iter().all(Result::is_ok));
        drop(admitted);
        spent += began.elapsed().as_secs_f64();
        checked += u32::try_from(ITEMS).unwrap();
    }
    let each = 1e6 * spent / f64::from(checked);
    let verification = 1e6 / f64::midpoint(before, ceiling::one_core(scale.span / 4, message_bytes));
    println!(
        "at the door: {each:.1} µs an item of {} bytes, {verification:.1} µs of it its signature = {:.1} %",
        items[0].envelope.len(),
        100.0 * verification / each
    );
}
