//! A node comes when all has been said, and fetches it. The number of nodes is that of results, in hundreds.

use std::time::Duration;

use super::Report;
use crate::cast::{Mix, Role};
use crate::figures::{Figures, Unit};
use crate::invariants::{
    a_late_joiner_transfers_at_most_1_1_times, every_acknowledged_result_reaches_every_honest_node, no_honest_node_is_banned_or_marked,
    raw_bytes,
};
use crate::network::Conditions;
use crate::promises;
use crate::world::{Files, Happening, Stage, Word, World};

/// Nodes that hold everything.
const HOLDERS: usize = 24;
/// Nodes that have signed.
const AUTHORS: usize = 20;

pub(super) fn play(seed: u64, hundreds: usize) -> Report {
    let mix = Mix { late: 1, ..Mix::default() };
    let (conditions, files) = (Conditions::ordinary(), Files::None);
    let stage = Stage { seed, nodes: HOLDERS + 1, mix, conditions, degree: 8, skew_seconds: 60, files, witnesses: 0, terms: None };
    let mut world = World::new(stage);
    let holders = world.those(Role::Honest);
    for n in 0..hundreds * 100 {
        world.has_said(holders[n % AUTHORS], Word::Identical(u32::try_from(n / AUTHORS).unwrap_or_default()));
    }
    let began = Duration::from_secs(5);
    for late in world.those(Role::Late) {
        world.at(began, Happening::Start(late));
    }
    world.run_until(Duration::from_mins(3) + Duration::from_millis(hundreds as u64 * 100));
    let mut figures = Figures::default();
    for late in world.those(Role::Late) {
        figures.number("sent to the joiner, of the results' size", Unit::PerMille, world.bytes_to(late) * 1000 / raw_bytes(&world).max(1));
        let last = world.observed.said.iter().filter_map(|said| said.held_at[late]).max();
        figures.time("until the joiner holds all", last.unwrap_or_default().saturating_sub(began));
    }
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        a_late_joiner_transfers_at_most_1_1_times(&world),
    ];
    Report { broken, figures }
}
