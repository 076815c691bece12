//! The ordinary network, and nobody dishonest: how long an entry takes to everybody, and how long it takes from the
//! result that makes a quorum to the verdict that a quorum of witnesses has cosigned.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::cast::{Mix, Role};
use crate::figures::Figures;
use crate::invariants::{
    Judgement, every_acknowledged_result_reaches_every_honest_node, every_witness_goes_on_after_a_restart,
    no_honest_node_is_banned_or_marked, verdicts_say_what_the_results_carry,
};
use crate::network::Conditions;
use crate::promises;
use crate::world::{Files, Happening, Stage, Word, World};

/// Name of the figure: from the signature to the last honest node.
pub(super) const TO_EVERYBODY: &str = "entry to every node";
/// Name of the figure: from the signature of the k-th result to the published verdict.
const TO_VERDICT: &str = "k-th result to cosigned verdict";

const ARTIFACTS: u32 = 60;
const WITNESSES: usize = 15;

pub(super) fn play(seed: u64, nodes: usize) -> Report {
    let witnesses = WITNESSES.min(nodes);
    let (conditions, files) = (Conditions::ordinary(), Files::None);
    let mut world =
        World::new(Stage { seed, nodes, mix: Mix::default(), conditions, degree: 8, skew_seconds: 60, files, witnesses, terms: None });
    let end = plot(&mut world);
    world.run_until(end);
    let mut figures = Figures::default();
    measure_arrivals(&world, &mut figures);
    measure_verdicts(&world, &mut figures);
    let broken = promises![
        every_acknowledged_result_reaches_every_honest_node(&world),
        no_honest_node_is_banned_or_marked(&world),
        verdicts_say_what_the_results_carry(&world),
        every_witness_goes_on_after_a_restart(&world),
        an_entry_reaches_every_node_within_a_second(&figures),
        a_verdict_is_cosigned_within_two_seconds(&figures),
    ];
    Report { broken, figures }
}

/// Each artifact is rebuilt by five nodes of five operators, within three seconds.
fn plot(world: &mut World) -> Duration {
    let nodes = world.stage_nodes();
    let mut at = Duration::from_secs(3);
    for artifact in 0..ARTIFACTS {
        at += world.random().between(Duration::from_millis(200), Duration::from_secs(2));
        let first = world.random().index(nodes);
        for n in 0..5.min(nodes) {
            let when = at + world.random().between(Duration::ZERO, Duration::from_secs(3));
            world.at(when, Happening::Say((first + n) % nodes, Word::Identical(artifact)));
        }
    }
    at + Duration::from_mins(1)
}

pub(super) fn measure_arrivals(world: &World, figures: &mut Figures) {
    let honest: Vec<usize> = world.honest().filter(|node| world.nodes[*node].role != Role::Late).collect();
    for said in &world.observed.said {
        let last = honest.iter().filter_map(|node| said.held_at[*node]).max();
        if let Some(last) = last {
            figures.time(TO_EVERYBODY, last.saturating_sub(said.at));
        }
    }
}

fn measure_verdicts(world: &World, figures: &mut Figures) {
    let Some(desk) = &world.desk else { return };
    let mut said: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    for result in &world.observed.said {
        said.entry(result.artifact.clone()).or_default().push(result.at);
    }
    for (artifact, mut times) in said {
        times.sort_unstable();
        let Some(kth) = times.get(desk.policy().threshold() - 1) else { continue };
        let reproduced = quorate_tally::verdict::State::Reproduced;
        let verdict = desk.published().iter().find(|verdict| verdict.artifact == artifact && verdict.state == reproduced);
        if let Some(verdict) = verdict {
            figures.time(TO_VERDICT, verdict.at.saturating_sub(*kth));
        }
    }
}

fn below(figures: &Figures, name: &str, limit_ms: u64) -> Judgement {
    match figures.quantile(name, 990) {
        Some(p99) if p99 < limit_ms => Ok(()),
        Some(p99) => Err(format!("{name}: p99 {p99} ms, limit {limit_ms} ms")),
        None => Err(format!("{name}: nothing was measured")),
    }
}

fn an_entry_reaches_every_node_within_a_second(figures: &Figures) -> Judgement {
    below(figures, TO_EVERYBODY, 1000)
}

fn a_verdict_is_cosigned_within_two_seconds(figures: &Figures) -> Judgement {
    below(figures, TO_VERDICT, 2000)
}
