//! The book's bytes: UTF-8 lines, of which each stands for itself.
//!
//! A line that is damaged is left out when it is read, and the others hold: records are signed, and the rest are
//! hints. `docs/spec/mesh.md`, section 5.

use std::fmt::Write as _;

use data_encoding::BASE64;
use libp2p::PeerId;

use super::{Book, Known, PEERS_MAX, PENALTIES_MAX};
use crate::penalty::Penalty;
use crate::record::Record;

const HEADER: &str = "quorate-peers/v1";

/// The longest file that is read: every line as long as it can be.
pub(crate) const BOOK_BYTES_MAX: usize = 4 << 20;

impl Book {
    /// The bytes to keep.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{HEADER}\n");
        for known in self.peers.values() {
            let number = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
            let told_by = known.told_by.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
            let (reached, tried) = (number(known.reached_at), number(known.tried_at));
            let record = BASE64.encode(known.record.bytes());
            let _ = writeln!(text, "peer {told_by} {reached} {} {tried} {record}", known.failures);
        }
        for (peer, penalty) in &self.penalties {
            let (thousandths, at) = penalty.parts();
            let _ = writeln!(text, "penalty {peer} {thousandths} {at}");
        }
        text.into_bytes()
    }

    /// What was kept, as far as it can be read.
    pub fn decode(own: PeerId, bytes: &[u8]) -> Self {
        let mut book = Self::new(own);
        let Some(lines) = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BOOK_BYTES_MAX).map(str::lines) else { return book };
        let mut lines = lines.skip_while(|line| *line != HEADER);
        lines.next();
        for line in lines {
            match line.split_once(' ') {
                Some(("peer", rest)) => {
                    if let Some(known) = parse_known(rest).filter(|known| known.record.peer() != own && book.peers.len() < PEERS_MAX) {
                        book.peers.insert(known.record.peer(), known);
                    }
                }
                Some(("penalty", rest)) => {
                    if let Some((peer, penalty)) = parse_penalty(rest).filter(|_| book.penalties.len() < PENALTIES_MAX) {
                        book.penalties.insert(peer, penalty);
                    }
                }
                _ => {}
            }
        }
        book
    }
}

fn parse_known(line: &str) -> Option<Known> {
    let [told_by, reached, failures, tried, record] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let record = Record::verify(&BASE64.decode(record.as_bytes()).ok()?).ok()?;
    Some(Known {
        record,
        told_by: optional(told_by)?.0,
        reached_at: optional(reached)?.0,
        failures: failures.parse().ok()?,
        tried_at: optional(tried)?.0,
    })
}

fn parse_penalty(line: &str) -> Option<(PeerId, Penalty)> {
    let [peer, thousandths, at] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    Some((peer.parse().ok()?, Penalty::from_parts(thousandths.parse().ok()?, at.parse().ok()?)))
}

/// Reads what may be absent: `-`. Nothing at all comes of a damaged text.
fn optional<T: std::str::FromStr>(text: &str) -> Option<Maybe<T>> {
    if text == "-" { Some(Maybe(None)) } else { text.parse().ok().map(|value| Maybe(Some(value))) }
}

/// A value that may be absent.
struct Maybe<T>(Option<T>);
