//! `quorate-node definition`: reviewed definitions against what inference finds today.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use quorate_node::definition::{self, Definition, Settings};
use quorate_node::pipeline::{Engine, Job};
use serde_json::{Value, json};

use super::Format;
use super::engine::EngineArgs;

/// Exit code when a reviewed difference is no longer the difference.
const DRIFTED: u8 = 1;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run inference for each definition, build nothing, and say what it changes and what has drifted.
    Check(Args),
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The definitions.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Check(args) = command;
    let definitions = args.files.iter().map(|file| definition::read(file)).collect::<Result<Vec<_>, _>>()?;
    let scratch = tempfile::Builder::new().prefix("quorate-definition-").tempdir().context("making a scratch folder")?;
    let engine = Engine::new(args.engine.config(scratch.path()))?;
    let mut views = Vec::new();
    for (file, definition) in args.files.iter().zip(&definitions) {
        let job = Job { package: definition.package.clone(), file: definition.artifact.clone(), artifact_path: None };
        let inferred = engine.infer(&job).await.with_context(|| format!("inferring for {}", file.display()))?;
        views.push(view(definition, &inferred));
    }
    match args.format {
        Format::Json => println!("{}", json!({ "schemaVersion": 1, "definitions": views })),
        Format::Human => views.iter().for_each(print),
    }
    let is_drifted = views.iter().any(|view| view["drifted"] == true);
    Ok(if is_drifted { ExitCode::from(DRIFTED) } else { ExitCode::SUCCESS })
}

fn view(definition: &Definition, inferred: &Settings) -> Value {
    let rows: Vec<_> = definition
        .overrides
        .iter()
        .map(|change| {
            let found = inferred.get(&change.field);
            json!({
                "field": change.field.to_string(), "to": change.to, "insteadOf": change.instead_of, "inferred": found,
                "drifted": found != change.instead_of.as_ref(),
            })
        })
        .collect();
    json!({
        "package": definition.package, "artifact": definition.artifact, "reason": definition.reason, "digest": definition.digest,
        "overrides": rows, "drifted": !definition.drift(inferred).is_empty(),
    })
}

fn print(view: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    println!("{}  {}", text(&view["package"]), text(&view["reason"]));
    for row in view["overrides"].as_array().into_iter().flatten() {
        let drifted =
            if row["drifted"] == true { format!("  DRIFTED: reviewed against {}", text(&row["insteadOf"])) } else { String::new() };
        println!("  {}: {} -> {}{drifted}", text(&row["field"]), text(&row["inferred"]), text(&row["to"]));
    }
}
