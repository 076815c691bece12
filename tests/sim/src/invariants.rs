//! What must hold at the end of every run, as sentences.
//!
//! An invariant looks at the world from above and says how it is broken, if it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_proto::entry::VerifiedEntry;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, NodeId, TaskId};
use quorate_tally::verdict::State;

use crate::cast::Role;
use crate::world::{Files, World};

/// A sentence that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The sentence.
    pub promise: &'static str,
    /// How.
    pub how: String,
}

/// How a sentence is broken, or nothing.
pub type Judgement = Result<(), String>;

/// Looks whether every one of the named invariants holds.
#[macro_export]
macro_rules! promises {
    ($($promise:ident($($argument:expr),*)),* $(,)?) => {{
        let mut broken: Vec<$crate::invariants::Broken> = Vec::new();
        $(if let Err(how) = $promise($($argument),*) {
            broken.push($crate::invariants::Broken { promise: stringify!($promise), how });
        })*
        broken
    }};
}

fn all(broken: impl Iterator<Item = String>) -> Judgement {
    let mut first: Vec<String> = broken.take(4).collect();
    match first.len() {
        0 => Ok(()),
        4 => {
            "…".clone_into(&mut first[3]);
            Err(first.join("; "))
        }
        _ => Err(first.join("; ")),
    }
}

/// Whatever gossip lost: what an honest node has made durable is held by every honest node in the end.
pub fn every_acknowledged_result_reaches_every_honest_node(world: &World) -> Judgement {
    let honest: Vec<usize> = world.honest().collect();
    let missing = world.observed.said.iter().flat_map(|said| {
        let lacks = |node: &&usize| !world.nodes[**node].store.holds(said.frame, &world.frames);
        honest.iter().filter(lacks).map(move |node| format!("node {node} lacks what {} said at {:?}", said.by, said.at)).collect::<Vec<_>>()
    });
    all(missing)
}

/// Every file that a held result of an honest node names is held.
pub fn every_named_file_reaches_every_honest_node(world: &World) -> Judgement {
    if world.stage().files == Files::None {
        return Ok(());
    }
    let honest: Vec<usize> = world.honest().collect();
    let named = world.observed.said.iter().flat_map(|said| {
        let files = world.frames.admission(said.frame).as_ref().map(|verified| verified.evidence()).unwrap_or_default();
        let pairs = honest.iter().flat_map(|node| files.iter().map(move |file| (*node, *file)));
        let lacking = pairs.filter(|(node, file)| world.nodes[*node].store.file(*file).is_none());
        lacking.map(|(node, _)| format!("node {node} lacks a file that {} named at {:?}", said.by, said.at)).collect::<Vec<_>>()
    });
    all(named)
}

/// No honest node is blamed, convicted, or made to stop by what another honest node saw of it.
pub fn no_honest_node_is_banned_or_marked(world: &World) -> Judgement {
    let is_honest = |node: &usize| world.nodes[*node].is_honest();
    let blamed = world.observed.blames.iter().filter(|blame| is_honest(&blame.of));
    let blamed = blamed.map(|blame| format!("node {} blames honest node {} for {}", blame.by, blame.of, blame.reason));
    let convicted = world.honest().flat_map(|by| {
        let innocent = world.nodes[by].store.convicted().filter(|id| world.honest().any(|node| world.nodes[node].id() == *id));
        innocent.map(move |id| format!("node {by} has a proof against honest node {id}")).collect::<Vec<_>>()
    });
    let halted = world.honest().filter(|node| world.nodes[*node].store.is_halted());
    let halted = halted.map(|node| format!("honest node {node} was made to stop"));
    all(blamed.chain(convicted).chain(halted))
}

/// A feed is a gap-free chain at every honest node, of one node's entries in their places.
pub fn nothing_is_held_out_of_its_place(world: &World) -> Judgement {
    let broken = world.honest().flat_map(|number| {
        let store = &world.nodes[number].store;
        let feeds = store.held().filter(|id| {
            let mut previous = None;
            let in_place = |(sequence, frame): (u64, _)| {
                world.frames.admission(frame).as_ref().is_ok_and(|verified| {
                    let position = verified.position();
                    let fits = position.node == *id && position.sequence == sequence && position.previous == previous;
                    previous = Some(verified.digest());
                    fits
                })
            };
            !(0..).zip(store.feed(*id)).all(in_place)
        });
        feeds.map(|id| format!("node {number} holds a broken feed of {id}")).collect::<Vec<_>>()
    });
    all(broken)
}

/// `docs/spec/build-witness.md`: whoever has built a task checks each other operator's result of it once, but for those
/// that open a commitment which its own result names.
pub fn who_has_built_checks_once_what_it_did_not_see_bound(world: &World) -> Judgement {
    all(world.honest().flat_map(|number| Checks::of(world, number).broken(world, number)))
}

/// What one node has built and checked.
#[derive(Default)]
struct Checks {
    /// By the task, the commitments that the own result names.
    built: BTreeMap<TaskId, BTreeSet<Digest>>,
    /// How often each result was checked.
    counts: BTreeMap<Digest, usize>,
}

impl Checks {
    fn of(world: &World, number: usize) -> Self {
        let mut checks = Self::default();
        for entry in entries(world, number, world.nodes[number].id()) {
            match entry {
                VerifiedEntry::Result(result) if result.result().build_witness.is_some() => {
                    let seen = result.result().reveals.iter().flat_map(|reveals| reveals.seen.iter().copied()).collect();
                    checks.built.insert(TaskId::of(&result.artifact().slot), seen);
                }
                VerifiedEntry::Check(check) => *checks.counts.entry(check.check().checked.statement).or_default() += 1,
                VerifiedEntry::Result(_) | VerifiedEntry::Commitment(_) => {}
            }
        }
        checks
    }

    fn broken(&self, world: &World, number: usize) -> Vec<String> {
        let node = &world.nodes[number];
        let mut broken = Vec::new();
        for id in node.store.held().filter(|id| *id != node.id()) {
            let mut commitments = BTreeMap::new();
            for entry in entries(world, number, id) {
                match entry {
                    VerifiedEntry::Commitment(entry) => drop(commitments.insert(entry.position().sequence, entry.digest())),
                    VerifiedEntry::Result(result) if result.operator() != node.member.operator() => {
                        let opens = result.result().reveals.as_ref().and_then(|reveals| commitments.get(&reveals.sequence));
                        broken.extend(self.miscounted(result, opens).map(|how| format!("node {number} {how} a result of {id}")));
                    }
                    VerifiedEntry::Result(_) | VerifiedEntry::Check(_) => {}
                }
            }
        }
        broken
    }

    /// How a result was checked wrongly, if it was.
    fn miscounted(&self, result: &VerifiedStatement, opens: Option<&Digest>) -> Option<&'static str> {
        let seen = self.built.get(&TaskId::of(&result.artifact().slot)).filter(|_| result.result().build_witness.is_some());
        let due = seen.is_some_and(|seen| !opens.is_some_and(|commitment| seen.contains(commitment)));
        match (due, self.counts.get(&result.digest()).copied().unwrap_or_default()) {
            (true, 1) | (false, 0) => None,
            (true, 0) => Some("has not checked"),
            (true, _) => Some("has checked more than once"),
            (false, _) => Some("has checked for nothing"),
        }
    }
}

fn entries(world: &World, number: usize, feed: NodeId) -> impl Iterator<Item = &VerifiedEntry> {
    world.nodes[number].store.feed(feed).filter_map(|frame| world.frames.admission(frame).as_deref().ok())
}

/// Pauses double: a few questions a minute to who lies, not thousands.
pub fn a_liar_is_asked_ever_less(world: &World) -> Judgement {
    let most = 40 + world.now.as_secs() / 5;
    let asked = world
        .observed
        .asked
        .iter()
        .filter(|((by, of), count)| world.nodes[*by].is_honest() && world.nodes[*of].role == Role::Liar && **count > most);
    all(asked.map(|((by, of), count)| format!("node {by} asked liar {of} {count} times, limit {most}")))
}

/// What a spammer sends beyond its rate is not looked at.
pub fn a_spammer_costs_no_more_than_its_rate(world: &World) -> Judgement {
    let most = 512 + 128 * (world.now.as_secs() + 1);
    let costly = world.observed.looked_at.iter().filter(|((_, from), count)| world.nodes[*from].role == Role::Spammer && **count > most);
    all(costly.map(|((by, from), count)| format!("node {by} looked at {count} frames of spammer {from}, limit {most}")))
}

/// A witness that has cosigned goes on from what it kept.
pub fn every_witness_goes_on_after_a_restart(world: &World) -> Judgement {
    match world.observed.lost_witnesses {
        0 => Ok(()),
        count => Err(format!("{count} restarts of witnesses failed")),
    }
}

/// `reproduced` is published only where enough operators said so, and what enough honest operators said is published.
pub fn verdicts_say_what_the_results_carry(world: &World) -> Judgement {
    let Some(desk) = &world.desk else { return Ok(()) };
    let threshold = desk.policy().threshold();
    let said_by = |artifact| {
        let about = world.observed.said.iter().filter(move |said| said.artifact == artifact);
        about.map(|said| world.nodes[said.by].member.operator()).collect::<BTreeSet<_>>().len()
    };
    let early =
        desk.published().iter().filter(|verdict| verdict.state == State::Reproduced && said_by(verdict.artifact.clone()) < threshold);
    let early = early.map(|verdict| format!("`reproduced` for {} without a quorum", verdict.artifact.slot.file));
    let artifacts: BTreeSet<_> = world.observed.said.iter().map(|said| said.artifact.clone()).collect();
    let has_verdict = |artifact| desk.published().iter().any(|verdict| verdict.artifact == artifact && verdict.state == State::Reproduced);
    let late = artifacts.into_iter().filter(|artifact| said_by(artifact.clone()) >= threshold && !has_verdict(artifact.clone()));
    let late: Vec<_> = late.map(|artifact| format!("no verdict for {}", artifact.slot.file)).collect();
    all(early.chain(late))
}

/// All that was put on the way to the late joiner, questions' answers and gossip, lost and doubled ones too.
pub fn a_late_joiner_transfers_at_most_1_1_times(world: &World) -> Judgement {
    let ratio = |node: usize| world.bytes_to(node) * 1000 / raw_bytes(world).max(1);
    let over = world.those(Role::Late).into_iter().map(|node| (node, ratio(node))).filter(|(_, ratio)| *ratio > 1100);
    all(over.map(|(node, ratio)| format!("node {node} was sent {ratio} ‰ of the size of the results")))
}

/// The encoded size of every acknowledged result.
pub fn raw_bytes(world: &World) -> u64 {
    world.observed.said.iter().map(|said| world.frames.bytes(said.frame) as u64).sum()
}

/// Every honest node can convict the log so long after it met both views.
pub fn a_second_view_is_proven_to_everybody_within(world: &World, span: Duration) -> Judgement {
    all(world.honest().filter_map(|node| {
        let proven = world.observed.log_convicted.get(&node);
        let late = lateness(world.observed.meetings.views.get(&node), proven, span)?;
        Some(format!("node {node} cannot convict the log: {late}"))
    }))
}

/// Every honest node has the proof against everybody with two histories so long after it met both.
pub fn a_second_history_is_proven_to_everybody_within(world: &World, span: Duration) -> Judgement {
    let pairs = world.those(Role::Equivocator).into_iter().flat_map(|guilty| world.honest().map(move |node| (node, guilty)));
    all(pairs.filter_map(|(node, guilty)| {
        let proven = world.observed.proven.get(&(node, world.nodes[guilty].id()));
        let late = lateness(world.observed.meetings.histories.get(&node), proven, span)?;
        Some(format!("node {node} has no proof against {guilty}: {late}"))
    }))
}

/// What is wrong with a proof's time, if something is.
fn lateness(met: Option<&Duration>, proven: Option<&Duration>, span: Duration) -> Option<String> {
    match (met, proven) {
        (None, _) => Some("it never met both".to_owned()),
        (Some(_), None) => Some("never".to_owned()),
        (Some(met), Some(proven)) if *proven > *met + span => Some(format!("only after {:?}", proven.saturating_sub(*met))),
        _ => None,
    }
}
