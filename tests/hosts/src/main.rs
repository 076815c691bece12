//! Several hosts on one machine: the real programs, each in a network namespace with an address of its own, and
//! what happens to networks: a partition, a lost node, a lost coordinator, volunteers behind NAT, a slow link,
//! clocks that are wrong.
//!
//! Namespaces need root. They are made and removed by this program; the machine's own network is not touched.
//! Reading order: [`network`] (hosts, switches, cables), [`town`] (who lives there), [`scenarios`].
//!
//! `tests/hosts/run [SCENARIO…]`. 0: every scenario held, or namespaces cannot be had here, which is said.

mod network;
mod scenarios;
mod town;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::network::NoTranslation;
use crate::scenarios::SCENARIOS;

/// Put real nodes and a coordinator on hosts of their own, and take the network apart.
#[derive(Parser)]
#[command(name = "tests/hosts/run", version)]
struct Args {
    /// Only these scenarios, by a part of their names.
    names: Vec<String>,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for (name, _) in SCENARIOS {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    if let Err(error) = network::can_be_had() {
        eprintln!("hosts: SKIPPED, no network namespaces here: {error:#}");
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|part| name.contains(part.as_str()));
    let mut failed = 0;
    for (name, scenario) in SCENARIOS.iter().filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        match scenario().await {
            Ok(()) => println!("ok      {name}  ({:.1} s)", began.elapsed().as_secs_f64()),
            Err(error) if error.is::<NoTranslation>() => println!("SKIPPED {name}: {error:#}"),
            Err(error) => {
                println!("FAILED  {name}: {error:#}");
                failed += 1;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
