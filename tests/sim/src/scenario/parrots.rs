//! Two hundred tasks. Most nodes build; one says what it reads, one always agrees, one agrees and keeps silent when it
//! was wrong, one commits to something else than it reveals. Each of these is named, and nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::entry::{VerifiedCheck, VerifiedCommitment, VerifiedEntry};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactSlot, OperatorId};
use quorate_tally::{Confirmation, Grade, Policy};

use super::Report;
use crate::audit::{Audit, Evidence};
use crate::cast::Mix;
use crate::figures::{Figures, Unit};
use crate::invariants::{
    Judgement, every_acknowledged_result_reaches_every_honest_node, no_honest_node_is_banned_or_marked,
    who_has_built_checks_once_what_it_did_not_see_bound,
};
use crate::network::Conditions;
use crate::promises;
use crate::work::{Job, Kind, Leaves, Trade, terms};
use crate::world::{Files, Happening, Stage, Word, World};

const TASKS: u32 = 200;
const EVERY: Duration = Duration::from_secs(40);
/// After the last task: longer than any promise.
const REST: Duration = Duration::from_mins(25);
const THRESHOLD: usize = 3;

/// Tasks in a thousand that are drills, and that do not come out as they were published.
const DRILLS: u64 = 50;
const DIFFERENT: u64 = 100;
/// Tasks in a thousand of which two honest builds have no intermediate in common.
const UNSTABLE: u64 = 300;
/// Builders in a thousand that restart during a task.
const RESTARTS: u64 = 10;

pub(super) fn play(seed: u64, nodes: usize) -> Report {
    let (conditions, files) = (Conditions::ordinary(), Files::None);
    let terms = Some(terms(THRESHOLD));
    let mut world =
        World::new(Stage { seed, nodes, mix: Mix::default(), conditions, degree: 6, skew_seconds: 120, files, witnesses: 0, terms });
    let dishonest = [Trade::Parrot, Trade::Agreeable, Trade::Gambler, Trade::Falsifier];
    for (node, trade) in dishonest.into_iter().enumerate() {
        world.nodes[node].trade = trade;
    }
    let jobs = plot(&mut world);
    world.run_until(EVERY * TASKS + REST);
    let audit = audited(&world, &jobs);
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        who_has_built_checks_once_what_it_did_not_see_bound(&world),
        no_honest_operator_is_named(&world, &audit),
        a_parrot_is_named_within_200_tasks(&world, &audit),
        an_always_agree_node_is_named_within_200_tasks(&world, &audit),
        a_gambler_is_named_within_200_tasks(&world, &audit),
        a_false_reveal_is_named_within_200_tasks(&world, &audit),
        votes_are_blind_in_most_tasks(&audit),
    ];
    Report { broken, figures: measured(&world, &audit) }
}

fn plot(world: &mut World) -> Vec<Job> {
    let mut jobs = Vec::new();
    for number in 0..TASKS {
        let at = EVERY * number + Duration::from_secs(2);
        let kind = if world.random().chance(DRILLS) { Kind::Drill } else { Kind::Release };
        let differs = kind == Kind::Drill || world.random().chance(DIFFERENT);
        let truth = if differs { Word::Other(number, 1) } else { Word::Identical(number) };
        let leaves = if world.random().chance(UNSTABLE) { Leaves::Unlike } else { Leaves::Alike };
        let job = Job { number, truth, kind, leaves };
        world.at(at, Happening::Announce(job));
        jobs.push(job);
        for node in 0..world.stage_nodes() {
            if world.random().chance(RESTARTS) {
                let when = at + world.random().between(Duration::ZERO, EVERY * 2);
                let pause = world.random().between(Duration::from_millis(100), Duration::from_secs(30));
                world.at(when, Happening::Stop(node, pause));
            }
        }
    }
    jobs
}

/// What one honest node makes of what it holds.
fn audited(world: &World, jobs: &[Job]) -> Audit {
    let members: Vec<_> = world.nodes.iter().map(|node| &node.member).collect();
    let policy = Policy::parse(&quorate_tests::policy(THRESHOLD, members)).expect("a policy of the harness");
    let observer = world.nodes.last().expect("somebody looks");
    let mut statements: BTreeMap<ArtifactSlot, Vec<&VerifiedStatement>> = BTreeMap::new();
    let mut commitments: BTreeMap<ArtifactSlot, Vec<Arc<VerifiedCommitment>>> = BTreeMap::new();
    let mut checks: BTreeMap<ArtifactSlot, Vec<&VerifiedCheck>> = BTreeMap::new();
    for frame in observer.store.held().flat_map(|id| observer.store.feed(id)) {
        match world.frames.admission(frame).as_ref().map(AsRef::as_ref) {
            Ok(VerifiedEntry::Result(result)) => statements.entry(result.artifact().slot.clone()).or_default().push(result),
            Ok(VerifiedEntry::Commitment(entry)) => {
                let known = commitments.entry(entry.commitment().slot()).or_default();
                known.push(Arc::clone(entry));
            }
            Ok(VerifiedEntry::Check(check)) => checks.entry(check.check().slot()).or_default().push(check),
            Err(_) => {}
        }
    }
    let mut audit = Audit::default();
    for job in jobs {
        let slot = job.truth.artifact().slot;
        let statements = statements.remove(&slot).unwrap_or_default();
        let checks = checks.remove(&slot).unwrap_or_default();
        let confirmations = Confirmation::among(checks.iter().copied(), statements.iter().copied());
        audit.checks += checks.len();
        let evidence = Evidence { job: *job, statements, commitments: commitments.remove(&slot).unwrap_or_default(), confirmations };
        audit.look(&policy, &evidence, observer.clock(world.now));
    }
    audit
}

fn operator_of(world: &World, trade: Trade) -> OperatorId {
    world.nodes.iter().find(|node| node.trade == trade).expect("one of each trade plays").member.operator()
}

fn is_named(world: &World, audit: &Audit, trade: Trade) -> Judgement {
    match audit.named(operator_of(world, trade)) {
        Some((after, _)) if after <= TASKS as usize => Ok(()),
        _ => Err(format!("{trade:?} is not named after {TASKS} tasks")),
    }
}

fn a_parrot_is_named_within_200_tasks(world: &World, audit: &Audit) -> Judgement {
    is_named(world, audit, Trade::Parrot)
}

fn an_always_agree_node_is_named_within_200_tasks(world: &World, audit: &Audit) -> Judgement {
    is_named(world, audit, Trade::Agreeable)
}

fn a_gambler_is_named_within_200_tasks(world: &World, audit: &Audit) -> Judgement {
    is_named(world, audit, Trade::Gambler)
}

fn a_false_reveal_is_named_within_200_tasks(world: &World, audit: &Audit) -> Judgement {
    is_named(world, audit, Trade::Falsifier)
}

/// Not by marks, nor by drills, nor by never having been first.
fn no_honest_operator_is_named(world: &World, audit: &Audit) -> Judgement {
    let named = world.nodes.iter().filter(|node| node.trade.is_honest()).find_map(|node| audit.named(node.member.operator()));
    named.map_or(Ok(()), |(after, reason)| Err(format!("an honest operator was named after {after} tasks: {reason:?}")))
}

/// Fewer than a quorum of each task: who commits at once and has built nothing lets the first builder reveal before
/// the second has committed.
fn votes_are_blind_in_most_tasks(audit: &Audit) -> Judgement {
    let blind = audit.votes.get(&Grade::Blind).copied().unwrap_or_default();
    let least = u64::from(TASKS);
    if blind >= least { Ok(()) } else { Err(format!("{blind} votes are blind in {TASKS} tasks")) }
}

fn measured(world: &World, audit: &Audit) -> Figures {
    let mut figures = Figures::default();
    let names = [
        ("tasks until the parrot is named", Trade::Parrot),
        ("tasks until the always-agree node is named", Trade::Agreeable),
        ("tasks until the gambler is named", Trade::Gambler),
        ("tasks until the falsifier is named", Trade::Falsifier),
    ];
    for (name, trade) in names {
        if let Some((after, _)) = audit.named(operator_of(world, trade)) {
            figures.number(name, Unit::Count, after as u64);
        }
    }
    let all: u64 = audit.votes.values().sum();
    let blind = audit.votes.get(&Grade::Blind).copied().unwrap_or_default();
    figures.number("votes that are blind", Unit::PerMille, blind * 1000 / all.max(1));
    let witnessed = audit.votes.get(&Grade::Witnessed).copied().unwrap_or_default();
    figures.number("votes that are witnessed", Unit::PerMille, witnessed * 1000 / all.max(1));
    figures.number("checks a task", Unit::Count, audit.checks as u64 / u64::from(TASKS));
    figures
}
