//! What is known of one peer, and the question that it is asked next.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_proto::feed::FeedHead;
use quorate_proto::wire::{BeginningWanted, SyncRequest};
use quorate_proto::{Digest, NodeId};

use super::held::Held;
use super::wanted::Wanted;
use super::{AskId, CLAIMS_MAX, HEADS_EVERY, HEADS_SOON, NOTICES_SOON, PEERS_EVERY, PEERS_SOON, REST, RETRY_AFTER, lacking_key};

/// How many files are remembered that a peer does not have.
const LACKS_MAX: usize = 4096;

/// How many feeds are remembered of which a peer showed an entry behind a gap or a fork.
const HINTS_MAX: usize = 1024;

/// How many feeds are remembered that a peer is not asked for.
const RESTING_MAX: usize = 16_384;

/// A thing that one peer at a time is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    Feed(NodeId),
    Blob(Digest),
    Beginning(BeginningWanted),
}

/// What is open at us: what a peer could be asked for.
pub(super) struct Open<'a> {
    pub(super) held: &'a Held,
    pub(super) wanted: &'a Wanted,
    /// The digest of the notices that we know, once that is known itself.
    pub(super) notices: Option<Digest>,
    pub(super) beginnings: &'a [BeginningWanted],
}

/// A file that a peer did not have.
#[derive(Clone, Copy, Debug)]
struct Lack {
    /// When to ask again.
    until: Duration,
    /// The pause that led there.
    pause: Duration,
}

#[derive(Debug)]
pub(super) struct Peer {
    asked: Option<(AskId, SyncRequest)>,
    /// Not asked for anything until then.
    quiet_until: Duration,
    /// When to ask for the heads again.
    pub(super) heads_due: Duration,
    /// The longest pause after that.
    heads_pause: Duration,
    /// When to ask for its peers.
    pub(super) peers_due: Duration,
    /// The pause after that.
    peers_pause: Duration,
    /// When to ask for its notices.
    pub(super) notices_due: Duration,
    /// The pause after that.
    notices_pause: Duration,
    /// The end of the peer's copy of each feed that has what ours has not, by its own word.
    claims: BTreeMap<NodeId, FeedHead>,
    /// The same of verified items that it gossiped: its next heads may be older than these.
    gaps: BTreeMap<NodeId, u64>,
    /// Feeds to be asked for from an earlier place than the one we are at, for a proof.
    probes: BTreeMap<NodeId, u64>,
    /// Feeds that this peer is not asked for, until when.
    resting: BTreeMap<NodeId, Duration>,
    /// Files that it did not have.
    lacking: BTreeMap<Digest, Lack>,
    /// Questions in a row without an answer.
    failures: Pauses,
    /// Claims in a row that brought nothing.
    stalls: Pauses,
    /// Answers that no honest peer gives.
    lies: Pauses,
}

/// Pauses that double up to [`HEADS_EVERY`].
#[derive(Debug, Default)]
struct Pauses(u32);

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = RETRY_AFTER * 2_u32.saturating_pow(self.0.min(16));
        self.0 += 1;
        pause.min(HEADS_EVERY)
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}

impl Peer {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            asked: None,
            quiet_until: now,
            heads_due: now,
            heads_pause: Duration::MAX,
            peers_due: now,
            peers_pause: PEERS_SOON,
            notices_due: now,
            notices_pause: NOTICES_SOON,
            claims: BTreeMap::new(),
            gaps: BTreeMap::new(),
            probes: BTreeMap::new(),
            resting: BTreeMap::new(),
            lacking: BTreeMap::new(),
            failures: Pauses::default(),
            stalls: Pauses::default(),
            lies: Pauses::default(),
        }
    }

    /// The question under way, if it is this one.
    pub(super) fn request(&self, id: AskId) -> Option<SyncRequest> {
        self.asked.as_ref().filter(|(asked, _)| *asked == id).map(|(_, request)| request.clone())
    }

    /// The feeds where the peer is ahead, by its own word.
    pub(super) fn ahead(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.claims.iter().map(|(node, head)| (*node, head.next()))
    }

    pub(super) fn under_way(&self) -> Option<Want> {
        match self.asked.as_ref()?.1 {
            SyncRequest::Heads { .. } | SyncRequest::Peers | SyncRequest::Notices { .. } => None,
            SyncRequest::Entries { node, .. } => Some(Want::Feed(node)),
            SyncRequest::Blob(digest) => Some(Want::Blob(digest)),
            SyncRequest::Beginning(wanted) => Some(Want::Beginning(wanted)),
        }
    }

    /// The question is under way. Notices and peers are asked for now and then, answered or not.
    pub(super) fn ask(&mut self, id: AskId, request: SyncRequest, now: Duration) {
        match request {
            SyncRequest::Entries { node, .. } => drop(self.probes.remove(&node)),
            SyncRequest::Notices { .. } => {
                self.notices_due = now + self.notices_pause;
                self.notices_pause = (self.notices_pause * 2).min(HEADS_EVERY);
            }
            SyncRequest::Peers => {
                self.peers_due = now + self.peers_pause;
                self.peers_pause = (self.peers_pause * 2).min(PEERS_EVERY);
            }
            SyncRequest::Heads { .. } | SyncRequest::Blob(_) | SyncRequest::Beginning(_) => {}
        }
        self.asked = Some((id, request));
    }

    /// The question under way is answered.
    pub(super) fn settle(&mut self) {
        self.asked = None;
        self.failures.reset();
    }

    /// The question under way was not answered: ask for nothing for a while, and then again for what brings a proof.
    pub(super) fn fail(&mut self, now: Duration) {
        if let Some((_, SyncRequest::Entries { node, from })) = self.asked.take()
            && self.rests(&node, now)
        {
            self.probes.entry(node).or_insert(from);
        }
        self.quiet_until = now + self.failures.next();
    }

    /// The answer was a lie: believe nothing of before either.
    pub(super) fn lied(&mut self, now: Duration) {
        self.asked = None;
        self.claims.clear();
        self.gaps.clear();
        self.probes.clear();
        self.quiet_until = now + self.lies.next();
        self.heads_due = self.quiet_until;
    }

    /// The peer's heads: they take the place of all that it told before, so that telling other feeds each
    /// time fills nothing.
    pub(super) fn claim(&mut self, heads: Vec<(NodeId, FeedHead)>, held: &Held, now: Duration) {
        let news = heads.into_iter().filter(|(node, head)| held.lacks(node, head) && !self.rests(node, now));
        self.claims = news.take(CLAIMS_MAX).collect();
        self.gaps.retain(|node, next| *next > held.next(node));
        self.compare(held, now);
    }

    /// Asks for the last entry of every feed that the peer says is as long as ours and ends otherwise: that brings
    /// the proof of two histories. Where lengths differ, what is fetched by whoever is behind does not fit.
    pub(super) fn compare(&mut self, held: &Held, now: Duration) {
        self.claims.retain(|node, head| held.lacks(node, head));
        let others = self.claims.iter().filter(|(node, head)| held.contradicts(node, head));
        let others: Vec<_> = others.map(|(node, head)| (*node, head.next().saturating_sub(1))).collect();
        for (node, last) in others {
            self.probe(node, last, now);
        }
    }

    /// The peer passed on a verified item before which entries are missing.
    pub(super) fn gap(&mut self, node: NodeId, next: u64, now: Duration) {
        if !self.rests(&node, now) && (self.gaps.len() < HINTS_MAX || self.gaps.contains_key(&node)) {
            self.gaps.insert(node, next);
        }
    }

    /// Asks for one feed from `from` on, unless it rests; and then lets it rest, so that a node with
    /// two histories cannot keep us asking.
    pub(super) fn probe(&mut self, node: NodeId, from: u64, now: Duration) {
        if !self.rests(&node, now) && self.probes.len() < HINTS_MAX {
            self.rest(node, now);
            self.probes.insert(node, from);
        }
    }

    pub(super) fn rest(&mut self, node: NodeId, now: Duration) {
        self.claims.remove(&node);
        self.gaps.remove(&node);
        if self.resting.len() >= RESTING_MAX {
            self.resting.retain(|_, until| *until > now);
            self.resting.pop_first();
        }
        self.resting.insert(node, now + REST);
    }

    /// Ends the rest of a feed.
    pub(super) fn wake(&mut self, node: &NodeId) {
        self.resting.remove(node);
    }

    pub(super) fn rests(&self, node: &NodeId, now: Duration) -> bool {
        self.resting.get(node).is_some_and(|until| *until > now)
    }

    pub(super) fn progressed(&mut self) {
        self.stalls.reset();
    }

    /// The peer's claim brought nothing: believe none of them, and look at its heads again later.
    pub(super) fn stall(&mut self, now: Duration) {
        self.claims.clear();
        self.gaps.clear();
        self.ask_heads_later(now);
    }

    /// One of its connections has closed.
    pub(super) fn thinned(&mut self, now: Duration) {
        self.heads_due = self.heads_due.min(now);
        self.heads_pause = HEADS_SOON;
    }

    /// It has told its heads, and is asked for them again after `pause` at the latest.
    pub(super) fn told_heads(&mut self, pause: Duration, now: Duration) {
        self.heads_due = now + pause.min(self.heads_pause);
        self.heads_pause = self.heads_pause.saturating_mul(2);
    }

    fn ask_heads_later(&mut self, now: Duration) {
        let due = now + self.stalls.next();
        self.heads_due = self.heads_due.min(due);
    }

    pub(super) fn lacks(&mut self, digest: Digest, now: Duration) {
        if self.lacking.len() >= LACKS_MAX {
            self.lacking.retain(|_, lack| lack.until > now);
        }
        // Never the smallest digest: that one would be asked for again and again.
        if self.lacking.len() >= LACKS_MAX
            && let Some(soonest) = self.lacking.iter().min_by_key(|(_, lack)| lack.until).map(|(digest, _)| *digest)
        {
            self.lacking.remove(&soonest);
        }
        // The author of a result holds its files before it speaks; others come to hold them soon, or never.
        let pause = self.lacking.get(&digest).map_or(RETRY_AFTER, |lack| (lack.pause * 2).min(REST));
        self.lacking.insert(digest, Lack { until: now + pause, pause });
    }

    /// What to ask next: heads when due, notices, beginnings of trees, other histories, peers, entries, files. What may
    /// bring a proof goes first.
    pub(super) fn next_request(&self, open: &Open<'_>, skip: &dyn Fn(&Want) -> bool, now: Duration) -> Option<SyncRequest> {
        if self.asked.is_some() || self.quiet_until > now {
            return None;
        }
        if self.heads_due <= now {
            return Some(SyncRequest::Heads { known: None });
        }
        if open.notices.is_some() && self.notices_due <= now {
            return Some(SyncRequest::Notices { known: open.notices });
        }
        let has = |digest: &Digest| self.lacking.get(digest).is_none_or(|lack| lack.until <= now);
        let beginning = open.beginnings.iter().find(|wanted| has(&lacking_key(wanted)) && !skip(&Want::Beginning(**wanted)));
        if let Some(wanted) = beginning {
            return Some(SyncRequest::Beginning(*wanted));
        }
        let free = |node: &NodeId| !skip(&Want::Feed(*node));
        if let Some((node, from)) = self.probes.iter().find(|(node, _)| free(node)) {
            return Some(SyncRequest::Entries { node: *node, from: *from });
        }
        if self.peers_due <= now {
            return Some(SyncRequest::Peers);
        }
        let gaps = self.gaps.iter().map(|(node, next)| (*node, *next));
        if let Some((node, _)) = self.ahead().chain(gaps).find(|(node, next)| open.held.next(node) < *next && free(node)) {
            return Some(SyncRequest::Entries { node, from: open.held.next(&node) });
        }
        open.wanted.in_order().filter(has).find(|digest| !skip(&Want::Blob(*digest))).map(SyncRequest::Blob)
    }

    /// When this peer is to be looked at again, if it is idle; `sought` says what is still looked for. What is due
    /// already waits for an event.
    pub(super) fn wake_at(&self, sought: &dyn Fn(&Digest) -> bool, now: Duration) -> Option<Duration> {
        if self.asked.is_some() {
            return None;
        }
        let files = self.lacking.iter().filter(|(digest, _)| sought(digest)).map(|(_, lack)| lack.until);
        let due = [self.heads_due, self.peers_due, self.notices_due];
        files.chain(due).map(|at| at.max(self.quiet_until)).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_proto::SecretKey;

    fn next(peer: &Peer, wanted: &Wanted, at: Duration) -> Option<SyncRequest> {
        let held = Held::default();
        let open = Open { held: &held, wanted, notices: None, beginnings: &[] };
        peer.next_request(&open, &|_| false, at)
    }

    /// A peer that is asked for nothing else but feeds and files for now.
    fn quiet() -> Peer {
        Peer { heads_due: HEADS_EVERY, peers_due: HEADS_EVERY, ..Peer::new(Duration::ZERO) }
    }

    fn ending(next: u64, last: &[u8]) -> FeedHead {
        FeedHead::behind(next, Digest::of(last))
    }

    fn nodes(round: u8, count: u16) -> impl Iterator<Item = NodeId> {
        (0..count).map(move |n| {
            let mut seed = [round; 32];
            seed[..2].copy_from_slice(&n.to_be_bytes());
            SecretKey::from_seed(&seed).node_id()
        })
    }

    #[test]
    fn what_a_dead_connection_swallowed_is_asked_for_over_the_other_one_until_both_ends_know_of_it() {
        let mut peer = quiet();
        let mut at = Duration::from_secs(10);
        peer.thinned(at);
        for pause in [4, 8, 16, 30, 30] {
            assert_eq!(next(&peer, &Wanted::default(), at), Some(SyncRequest::Heads { known: None }));
            peer.told_heads(HEADS_EVERY, at);
            assert_eq!(peer.heads_due, at + Duration::from_secs(pause));
            at = peer.heads_due;
        }
    }

    #[test]
    fn heads_of_ever_other_feeds_take_the_place_of_those_before() {
        let mut peer = Peer::new(Duration::ZERO);
        for round in 0..5 {
            let heads: Vec<_> = nodes(round, 100).map(|node| (node, ending(u64::MAX, b"x"))).collect();
            peer.claim(heads.clone(), &Held::default(), Duration::ZERO);
            assert_eq!(peer.claims, heads.into_iter().collect());
        }
        let node = nodes(9, 1).next().unwrap();
        let head = ending(1, b"x");
        peer.claim((0..100_000).map(|_| (node, head)).collect(), &Held::default(), Duration::ZERO);
        assert_eq!(peer.claims.len(), 1);
        peer.claim(vec![(node, head)], &Held::new(vec![(node, head)]), Duration::ZERO);
        assert!(peer.claims.is_empty(), "a feed that is held already takes no place");
    }

    #[test]
    fn another_history_of_the_same_length_is_asked_for_until_it_is_shown_and_then_rests() {
        let mut peer = quiet();
        let node = nodes(1, 1).next().unwrap();
        let (ours, theirs) = (Held::new(vec![(node, ending(5, b"ours"))]), vec![(node, ending(5, b"theirs"))]);
        let next = |peer: &Peer, at| {
            let open = Open { held: &ours, wanted: &Wanted::default(), notices: None, beginnings: &[] };
            peer.next_request(&open, &|_| false, at)
        };
        peer.claim(theirs.clone(), &ours, Duration::ZERO);
        let last = SyncRequest::Entries { node, from: 4 };
        assert_eq!(next(&peer, Duration::ZERO), Some(last.clone()));
        peer.ask(AskId(1), last.clone(), Duration::ZERO);
        peer.fail(Duration::ZERO);
        assert_eq!(next(&peer, RETRY_AFTER), Some(last.clone()), "it was not answered");
        peer.ask(AskId(2), last, RETRY_AFTER);
        peer.settle();
        peer.claim(theirs, &ours, RETRY_AFTER);
        assert_eq!(next(&peer, RETRY_AFTER), None, "it has shown what it has");
    }

    #[test]
    fn a_feed_that_grows_to_the_length_of_another_history_is_compared_with_it() {
        let mut peer = quiet();
        let node = nodes(1, 1).next().unwrap();
        peer.claim(vec![(node, ending(5, b"theirs"))], &Held::new(vec![(node, ending(4, b"ours"))]), Duration::ZERO);
        assert!(peer.probes.is_empty());
        peer.compare(&Held::new(vec![(node, ending(5, b"ours"))]), Duration::ZERO);
        assert_eq!(peer.probes.get(&node), Some(&4));
    }

    #[test]
    fn an_older_answer_does_not_hide_what_the_peer_gossiped_meanwhile() {
        let mut peer = quiet();
        let node = nodes(1, 1).next().unwrap();
        peer.gap(node, 3, Duration::ZERO);
        peer.claim(Vec::new(), &Held::default(), Duration::ZERO);
        let asked = next(&peer, &Wanted::default(), Duration::ZERO);
        assert_eq!(asked, Some(SyncRequest::Entries { node, from: 0 }));
    }

    #[test]
    fn files_are_asked_for_in_the_stores_order_and_one_that_is_lacked_rests() {
        let mut peer = quiet();
        let (low, high) = (Digest::from_bytes([0; 32]), Digest::from_bytes([255; 32]));
        let wanted = Wanted::new(vec![high, low]);
        let next = |peer: &Peer, at| next(peer, &wanted, at);
        assert_eq!(next(&peer, Duration::ZERO), Some(SyncRequest::Blob(high)));
        peer.lacks(high, Duration::ZERO);
        assert_eq!(next(&peer, Duration::ZERO), Some(SyncRequest::Blob(low)));
        peer.lacks(low, Duration::ZERO);
        // However many others the peer lacks: the lowest digest is not forgotten for them.
        for n in 0..u16::try_from(LACKS_MAX).unwrap() {
            peer.lacks(Digest::of(&n.to_be_bytes()), Duration::from_millis(900));
            peer.lacks(low, Duration::from_millis(900));
        }
        assert!(peer.lacking.len() <= LACKS_MAX);
        assert_eq!(next(&peer, Duration::from_millis(950)), Some(SyncRequest::Blob(high)), "it was forgotten first, being due first");
        peer.lacks(high, Duration::from_millis(950));
        assert_eq!(next(&peer, Duration::from_millis(950)), None);
    }
}
