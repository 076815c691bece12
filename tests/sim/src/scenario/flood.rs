//! A third of the nodes send junk as fast as their lines carry it. Honest traffic passes, and the junk costs no more
//! than its senders' rates.

use std::time::Duration;

use super::{Report, speed};
use crate::cast::{Mix, Role};
use crate::figures::Figures;
use crate::invariants::{
    Judgement, a_spammer_costs_no_more_than_its_rate, every_acknowledged_result_reaches_every_honest_node,
    every_named_file_reaches_every_honest_node, no_honest_node_is_banned_or_marked, nothing_is_held_out_of_its_place,
};
use crate::network::Conditions;
use crate::promises;
use crate::world::{Files, Happening, Stage, Word, World};

/// Junk frames of each spammer: a thousand a second.
const JUNK: u32 = 4000;

pub(super) fn play(seed: u64, nodes: usize) -> Report {
    let mix = Mix { spammers: nodes / 3, ..Mix::default() };
    let (conditions, files) = (Conditions::ordinary(), Files::Named);
    let mut world = World::new(Stage { seed, nodes, mix, conditions, degree: 8, skew_seconds: 60, files, witnesses: 0, terms: None });
    for node in world.those(Role::Honest) {
        for n in 0..3 {
            let at = world.random().between(Duration::from_secs(2), Duration::from_secs(8));
            world.at(at, Happening::Say(node, Word::Identical(n)));
        }
    }
    for spammer in world.those(Role::Spammer) {
        world.at(Duration::from_secs(2), Happening::Spam(spammer, JUNK));
    }
    world.run_until(Duration::from_mins(2));
    let mut figures = Figures::default();
    speed::measure_arrivals(&world, &mut figures);
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        every_named_file_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        nothing_is_held_out_of_its_place(&world),
        a_spammer_costs_no_more_than_its_rate(&world),
        honest_entries_arrive_within_two_seconds(&figures),
    ];
    Report { broken, figures }
}

fn honest_entries_arrive_within_two_seconds(figures: &Figures) -> Judgement {
    match figures.quantile(speed::TO_EVERYBODY, 990) {
        Some(p99) if p99 < 2000 => Ok(()),
        p99 => Err(format!("p99 {p99:?} ms")),
    }
}
