//! Every scenario over a few seeds: what the binary does over a thousand.

use quorate_sim::regression::{self, Run};
use quorate_sim::scenario::Scenario;

fn holds(scenario: Scenario, seeds: std::ops::Range<u64>, nodes: usize) {
    let only = std::env::var("QUORATE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(seeds, |seed: u64| seed..seed + 1) {
        breaks_nothing(&Run { scenario, seed, nodes });
    }
}

fn breaks_nothing(run: &Run) {
    let broken = run.play().broken;
    assert!(broken.is_empty(), "{run}: {broken:?}\n  repeat: {}", run.command());
}

#[test]
fn whatever_the_network_does_results_arrive_and_no_honest_node_is_marked() {
    holds(Scenario::Storm, 1..7, 16);
}

#[test]
fn entries_take_less_than_a_second_and_cosigned_verdicts_less_than_two() {
    holds(Scenario::Speed, 1..2, 60);
}

#[test]
fn a_crowd_is_no_other_thing_than_a_few() {
    holds(Scenario::Crowd, 1..2, 120);
}

#[test]
fn two_histories_and_two_views_told_to_two_halves_mix_at_nobody_and_are_proven() {
    holds(Scenario::Halves, 1..4, 24);
}

#[test]
fn junk_costs_its_senders_rate_and_honest_entries_pass() {
    holds(Scenario::Flood, 1..2, 18);
}

#[test]
fn a_late_joiner_fetches_hardly_more_than_there_is() {
    holds(Scenario::Joiner, 1..2, 6);
}

#[test]
fn one_key_with_two_trees_gets_one_quorum() {
    holds(Scenario::Views, 1..7, 7);
}

#[test]
fn seeds_that_once_failed_hold() {
    let list = include_str!("../seeds/failed.txt");
    for run in regression::parse(list).expect("the list of failed seeds is well formed") {
        breaks_nothing(&run);
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let figures = |seed| Scenario::Halves.play(seed, 12).figures.to_string();
    assert_eq!(figures(3), figures(3));
    assert_ne!(figures(3), figures(4));
}

#[test]
fn who_builds_nothing_is_named_and_nobody_else_is() {
    holds(Scenario::Parrots, 1..2, 12);
}
