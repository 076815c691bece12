//! Many nodes in one run, a fifth of them dishonest.

use std::time::Duration;

use super::{Report, speed};
use crate::cast::Mix;
use crate::figures::{Figures, Unit};
use crate::invariants::{
    every_acknowledged_result_reaches_every_honest_node, no_honest_node_is_banned_or_marked, nothing_is_held_out_of_its_place,
};
use crate::network::Conditions;
use crate::promises;
use crate::world::{Files, Happening, Stage, Word, World};

/// Every so many-th node says something.
const SPEAKERS: usize = 5;

pub(super) fn play(seed: u64, nodes: usize) -> Report {
    let few = nodes / 20;
    let mix = Mix { late: 1, eclipsed: 1, liars: few, withholders: few, eclipsers: few, ..Mix::default() };
    let (conditions, files) = (Conditions::ordinary(), Files::None);
    let mut world = World::new(Stage { seed, nodes, mix, conditions, degree: 8, skew_seconds: 240, files, witnesses: 0, terms: None });
    for node in (0..nodes).step_by(SPEAKERS) {
        let at = world.random().between(Duration::from_secs(2), Duration::from_secs(40));
        world.at(at, Happening::Say(node, Word::Identical(u32::try_from(node % 50).unwrap_or_default())));
        if world.random().chance(100) {
            let pause = Duration::from_secs(5);
            world.at(at + Duration::from_millis(50), Happening::Stop(node, pause));
        }
    }
    for late in world.those(crate::cast::Role::Late) {
        world.at(Duration::from_secs(50), Happening::Start(late));
    }
    world.run_until(Duration::from_mins(4));
    let mut figures = Figures::default();
    figures.number("events", Unit::Count, world.events());
    speed::measure_arrivals(&world, &mut figures);
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        nothing_is_held_out_of_its_place(&world),
    ];
    Report { broken, figures }
}
