//! A node signs two histories and tells each half of a split network one of them; a log shows each half another tree.
//! When the halves meet, everybody can prove the second history, of whatever length, and the second view within seconds.

use std::time::Duration;

use super::Report;
use crate::cast::{Mix, Role};
use crate::figures::Figures;
use crate::invariants::{
    a_second_history_is_proven_to_everybody_within, a_second_view_is_proven_to_everybody_within,
    every_acknowledged_result_reaches_every_honest_node, no_honest_node_is_banned_or_marked, nothing_is_held_out_of_its_place,
};
use crate::network::Conditions;
use crate::promises;
use crate::world::{Files, Happening, Stage, Word, World};

const SPLIT: Duration = Duration::from_secs(3);
const HEAL: Duration = Duration::from_secs(90);
const END: Duration = Duration::from_mins(5);
const PROVEN_WITHIN: Duration = Duration::from_secs(5);

/// Whether the two histories have as many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    Equal,
    Unequal,
}

pub(super) fn play(seed: u64, nodes: usize) -> Report {
    let mix = Mix { equivocators: 1, ..Mix::default() };
    let (conditions, files) = (Conditions::ordinary(), Files::None);
    let mut world = World::new(Stage { seed, nodes, mix, conditions, degree: 8, skew_seconds: 60, files, witnesses: 0, terms: None });
    plot(&mut world);
    world.run_until(END);
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        nothing_is_held_out_of_its_place(&world),
        a_second_history_is_proven_to_everybody_within(&world, PROVEN_WITHIN),
        a_second_view_is_proven_to_everybody_within(&world, PROVEN_WITHIN),
    ];
    Report { broken, figures: measured(&world) }
}

/// The halves hear of the node only while they are apart, and nothing is said afterwards that would give it away.
fn plot(world: &mut World) {
    let halves = world.any_halves();
    let common = world.random().below(300);
    world.begin_two_views(&halves, common);
    for view in [0, 1] {
        for n in 0..3 {
            let count = 1 + world.random().below(3);
            world.at(SPLIT + Duration::from_secs(3 + 20 * n), Happening::Show(view, count));
        }
    }
    world.at(SPLIT, Happening::Split(Some(halves)));
    world.at(HEAL, Happening::Split(None));
    let count = 1 + world.random().below(4);
    let lengths = lengths(world);
    for guilty in world.those(Role::Equivocator) {
        for n in 0..count {
            let at = SPLIT + Duration::from_secs(2 + 5 * n);
            world.at(at, Happening::Say(guilty, Word::Identical(u32::try_from(n).unwrap_or_default())));
        }
        if lengths == Lengths::Unequal {
            world.at(SPLIT + Duration::from_secs(40), Happening::Lead(guilty, Word::Identical(8)));
        }
    }
    for node in world.those(Role::Honest).into_iter().take(10) {
        let at = world.random().between(SPLIT, HEAL);
        world.at(at, Happening::Say(node, Word::Identical(9)));
    }
}

fn lengths(world: &World) -> Lengths {
    if world.stage().seed.is_multiple_of(2) { Lengths::Unequal } else { Lengths::Equal }
}

fn measured(world: &World) -> Figures {
    let mut figures = Figures::default();
    let (met, seen) = (&world.observed.meetings, &world.observed);
    let name = match lengths(world) {
        Lengths::Equal => "meeting to proof of a second history of one length at a node",
        Lengths::Unequal => "meeting to proof of a longer second history at a node",
    };
    for ((node, _), at) in &seen.proven {
        if let Some(since) = met.histories.get(node) {
            figures.time(name, at.saturating_sub(*since));
        }
    }
    for (node, at) in &seen.log_convicted {
        if let Some(since) = met.views.get(node) {
            figures.time("meeting to proof of the second view at a node", at.saturating_sub(*since));
        }
    }
    figures
}
