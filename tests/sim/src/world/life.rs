//! Starting and stopping, connecting and coming apart. What is on a node's disk outlives it; its machine, what it
//! has seen of gossip and all that was under way do not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_gossip::sync::Event;
use quorate_tlog::Views;

use super::{Happening, Stage, World};
use crate::cast::Role;
use crate::network::Half;
use crate::node::{Memory, Node, Power};
use crate::random::Random;
use crate::store::Store;
use crate::timing::DEAD_AFTER;
use crate::witness::WitnessDesk;
use crate::work::Trade;

/// Pauses between two dials (`node/gossip/src/dial.rs`).
const DIAL_MIN: Duration = Duration::from_millis(500);
const DIAL_MAX: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn connect_everybody(&mut self) {
        for node in 0..self.nodes.len() {
            self.dial_from(node, Duration::ZERO);
        }
    }

    /// Every line of a node is dialled once, and from then on by [`World::connect`].
    fn dial_from(&mut self, node: usize, after: Duration) {
        let peers: Vec<usize> = self.lines[node].iter().copied().filter(|peer| after > Duration::ZERO || *peer > node).collect();
        for peer in peers {
            let at = self.now + after + self.random.between(Duration::ZERO, DIAL_MIN);
            self.at(at, Happening::Connect(node, peer));
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        if self.nodes[a].links.contains(&b) {
            return;
        }
        if [a, b].iter().any(|node| self.nodes[*node].power == Power::Off) {
            return;
        }
        if !self.network.joins(a, b) {
            let at = self.now + self.random.between(DIAL_MIN, DIAL_MAX);
            return self.at(at, Happening::Connect(a, b));
        }
        for (node, peer) in [(a, b), (b, a)] {
            self.nodes[node].links.insert(peer);
            let peer = self.nodes[peer].peer;
            self.machine(node, Event::Connected(peer));
        }
        self.look_who_meets();
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        for (node, peer) in [(a, b), (b, a)] {
            self.nodes[node].links.remove(&peer);
            if self.nodes[node].power == Power::On {
                let peer = self.nodes[peer].peer;
                self.machine(node, Event::Disconnected(peer));
            }
        }
    }

    pub(super) fn stop(&mut self, node: usize, pause: Duration) {
        if self.nodes[node].power == Power::Off {
            return;
        }
        self.nodes[node].power = Power::Off;
        for peer in self.nodes[node].links.clone() {
            self.disconnect(node, peer);
        }
        self.at(self.now + pause, Happening::Start(node));
    }

    pub(super) fn start(&mut self, number: usize) {
        let seed = self.random.draw();
        let node = &mut self.nodes[number];
        (node.power, node.memory) = (Power::On, Memory::new(seed, &node.member));
        node.life += 1;
        if node.witness.as_mut().is_some_and(|witness| !witness.restart()) {
            self.observed.lost_witnesses += 1;
        }
        if !self.jobs.is_empty() {
            self.recall(number);
        }
        self.look(number);
        self.dial_from(number, Duration::from_millis(1));
    }

    pub(super) fn split(&mut self, halves: Option<Vec<Half>>) {
        if let Some(sides) = &halves {
            (self.sides, self.was_split) = (sides.clone(), true);
            self.at(self.now + DEAD_AFTER, Happening::Cut);
        }
        self.network.split(halves);
        self.look_who_meets();
    }

    /// Connections over which nothing passes are seen to be dead, and dialled again and again.
    pub(super) fn cut(&mut self) {
        for node in 0..self.nodes.len() {
            let dead: Vec<usize> = self.nodes[node].links.iter().copied().filter(|peer| !self.network.joins(node, *peer)).collect();
            for peer in dead {
                self.disconnect(node, peer);
                let at = self.now + self.random.between(DIAL_MIN, DIAL_MAX);
                self.at(at, Happening::Connect(node, peer));
            }
        }
    }

    /// Which peers are told the second history: while there are halves, those of the right one.
    pub(super) fn is_shown_the_second(&self, peer: usize) -> bool {
        self.sides.get(peer).map_or(peer % 2 == 1, |side| *side == Half::Right)
    }

    /// Any halves; who has two histories is in both, and has a neighbour in each.
    pub fn any_halves(&mut self) -> Vec<Half> {
        let half = |random: &mut crate::random::Random| if random.chance(500) { Half::Left } else { Half::Right };
        let mut halves: Vec<Half> = (0..self.nodes.len())
            .map(|node| if self.nodes[node].role == Role::Equivocator { Half::Both } else { half(&mut self.random) })
            .collect();
        for guilty in self.those(Role::Equivocator) {
            let told = self.lines[guilty].iter().filter(|peer| self.nodes[**peer].is_honest());
            told.zip([Half::Left, Half::Right]).for_each(|(peer, half)| halves[*peer] = half);
        }
        halves
    }
}

/// A node before its first start, with nothing on its disk but the environment that it builds in.
pub(super) fn node(number: usize, role: Role, member: quorate_tests::Member, stage: &Stage, witnessed: bool, random: &mut Random) -> Node {
    let id = member.node();
    let skew = i64::try_from(random.below(2 * stage.skew_seconds + 1)).unwrap_or_default();
    let witness = (witnessed && number < stage.witnesses).then(|| WitnessDesk::new(number, crate::ledger::signer().verifier()));
    let mut store = Store::new(Some(id));
    store.put(b"environment".to_vec());
    let memory = Memory::new(random.draw(), &member);
    Node {
        role,
        trade: Trade::Builder,
        peer: quorate_gossip::peer_id_of(&id).expect("a node key is a peer key"),
        member,
        skew_seconds: skew - i64::try_from(stage.skew_seconds).unwrap_or_default(),
        twin: (role == Role::Equivocator).then(|| store.clone()),
        store,
        witness,
        power: if role == Role::Late { Power::Off } else { Power::On },
        life: 0,
        links: BTreeSet::new(),
        holds: BTreeMap::new(),
        views: Views::new(std::slice::from_ref(crate::ledger::signer().verifier())),
        mirrors: None,
        copied: BTreeMap::new(),
        memory,
    }
}
