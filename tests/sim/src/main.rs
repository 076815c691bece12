//! `quorate-sim`: plays scenarios over many seeds, prints what was measured, and how to repeat what failed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use quorate_sim::figures::Figures;
use quorate_sim::regression::Run;
use quorate_sim::scenario::Scenario;

/// The real cores of Quorate under a seeded network and clock.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What to play: storm, speed, crowd, halves, flood, joiner, views, parrots. Everything where nothing is named.
    scenarios: Vec<Scenario>,
    /// How many seeds.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How large; each scenario has its own size where this is not said.
    #[arg(long)]
    nodes: Option<usize>,
    /// A file to which runs that fail are added, such as `tests/sim/seeds/failed.txt`.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// Exit code where an invariant was broken.
const BROKEN: u8 = 1;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::parse();
    if arguments.scenarios.is_empty() {
        arguments.scenarios = Scenario::ALL.to_vec();
    }
    let mut failed = 0;
    for scenario in &arguments.scenarios {
        failed += play(*scenario, &arguments)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

/// How many runs failed.
fn play(scenario: Scenario, arguments: &Arguments) -> anyhow::Result<u64> {
    let (nodes, began) = (arguments.nodes.unwrap_or(scenario.nodes()), Instant::now());
    let (mut figures, mut failed) = (Figures::default(), 0);
    for seed in arguments.first..arguments.first.saturating_add(arguments.seeds) {
        let run = Run { scenario, seed, nodes };
        let report = run.play();
        figures.absorb(report.figures);
        if report.broken.is_empty() {
            continue;
        }
        failed += 1;
        for broken in &report.broken {
            println!("{scenario}, seed {seed}: {} is broken: {}", broken.promise, broken.how);
        }
        println!("  repeat: {}", run.command());
        if let Some(path) = &arguments.record {
            let mut file =
                OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening `{}`", path.display()))?;
            writeln!(file, "{run} # {}", report.broken[0].promise)?;
        }
    }
    let held = arguments.seeds - failed;
    println!("{scenario}: {held} of {} seeds held, {nodes} nodes, {:.1} s", arguments.seeds, began.elapsed().as_secs_f64());
    print!("{figures}");
    Ok(failed)
}
