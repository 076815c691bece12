//! Everything at once: every kind of node, loss, repetition, reordering, a split, restarts, wrong clocks, one that
//! comes late and one that is surrounded.

use std::time::Duration;

use super::Report;
use crate::cast::{Mix, Role};
use crate::figures::Figures;
use crate::invariants::{
    a_liar_is_asked_ever_less, a_spammer_costs_no_more_than_its_rate, every_acknowledged_result_reaches_every_honest_node,
    every_named_file_reaches_every_honest_node, no_honest_node_is_banned_or_marked, nothing_is_held_out_of_its_place,
    who_has_built_checks_once_what_it_did_not_see_bound,
};
use crate::network::Conditions;
use crate::promises;
use crate::random::Random;
use crate::work::{Job, Kind, Leaves};
use crate::world::{Files, Happening, Stage, Word, World};

const TALK: Duration = Duration::from_mins(1);
const SPLIT: Duration = Duration::from_secs(10);
const HEAL: Duration = Duration::from_secs(75);
const END: Duration = Duration::from_mins(15);

/// Results of each honest node.
const EACH: u32 = 3;

pub(super) fn play(seed: u64, nodes: usize) -> Report {
    let mut world = World::new(stage(seed, nodes));
    plot(&mut world);
    world.run_until(END);
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        nothing_is_held_out_of_its_place(&world),
        a_liar_is_asked_ever_less(&world),
        a_spammer_costs_no_more_than_its_rate(&world),
        who_has_built_checks_once_what_it_did_not_see_bound(&world),
    ];
    // Measured only: files are asked for last, and of who has them not in ever longer pauses.
    let mut figures = Figures::default();
    let complete = every_named_file_reaches_every_honest_node(&world).is_ok();
    figures.run("runs in which every named file is everywhere after a quarter of an hour", complete);
    Report { broken, figures }
}

/// About a third of the nodes are dishonest, in another mix each time.
fn stage(seed: u64, nodes: usize) -> Stage {
    let mut random = Random::new(seed ^ 0x57);
    let mut some = |most: usize| random.index(most.max(1) + 1);
    let share = nodes / 12;
    let mix = Mix {
        eclipsed: some(1),
        late: some(2),
        liars: some(share),
        equivocators: some(1),
        withholders: some(share),
        eclipsers: some(share),
        spammers: some(1),
    };
    let ordinary = Conditions::ordinary();
    let bad = Conditions { lost_per_mille: random.below(100), ..Conditions::bad() };
    let conditions = if random.chance(500) { bad } else { ordinary };
    Stage { seed, nodes, mix, conditions, degree: 6, skew_seconds: 240, files: Files::Named, witnesses: 0, terms: None }
}

/// Builds of the first artifact, by a fifth of the nodes, leave something to check.
fn plot(world: &mut World) {
    let nodes = world.stage_nodes();
    world.begin_task(Job { number: 0, truth: Word::Identical(0), kind: Kind::Release, leaves: Leaves::Alike });
    let halves = world.any_halves();
    world.at(SPLIT, Happening::Split(Some(halves)));
    world.at(HEAL, Happening::Split(None));
    for node in 0..nodes {
        let number = u32::try_from(node).unwrap_or_default();
        for n in 0..EACH {
            let at = world.random().between(Duration::from_secs(1), TALK);
            world.at(at, Happening::Say(node, Word::Identical(number % 5 + n)));
        }
        if world.random().chance(250) && world.nodes[node].role != Role::Late {
            let at = world.random().between(Duration::from_secs(2), HEAL);
            let pause = world.random().between(Duration::from_millis(200), Duration::from_secs(20));
            world.at(at, Happening::Stop(node, pause));
        }
    }
    for late in world.those(Role::Late) {
        world.at(TALK + HEAL / 2, Happening::Start(late));
    }
    for spammer in world.those(Role::Spammer) {
        world.at(Duration::from_secs(5), Happening::Spam(spammer, 1000));
    }
}
