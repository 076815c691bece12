//! `quorate-node operator`: root keys, kept offline, and the certificates that they sign.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use quorate_node::key;
use quorate_proto::certificate::NodeCertificate;
use quorate_proto::{NodeId, Timestamp};
use serde_json::json;

use super::Format;

/// Certificates begin a little in the past: a peer's clock may be behind.
const BACKDATED: Duration = Duration::from_mins(5);

const DAY: Duration = Duration::from_hours(24);

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make an operator's root key, and print the lines that enrol it in a policy.
    Init(Init),
    /// Certify a node for some days.
    Certify(Certify),
}

#[derive(clap::Args)]
pub(crate) struct Init {
    /// The folder that the key goes into, as `operator.key`; made where it is missing.
    #[arg(long)]
    dir: PathBuf,
    /// The operator's name in policies.
    #[arg(long)]
    name: String,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("whom").required(true).args(["node", "node_key"])))]
pub(crate) struct Certify {
    /// The operator's root key file.
    #[arg(long)]
    root: PathBuf,
    /// The node, `ed25519:` and 64 hex digits.
    #[arg(long)]
    node: Option<NodeId>,
    /// The node's key file, in place of its id.
    #[arg(long)]
    node_key: Option<PathBuf>,
    /// How many days it is valid.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=30))]
    days: u32,
    /// Where the certificate goes; replaced if it is there.
    #[arg(long)]
    out: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init(&args),
        Command::Certify(args) => certify(&args),
    }
}

fn init(args: &Init) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(is_plain(&args.name), "name `{}`: expected letters, digits, `-`, `_` and `.`", args.name);
    std::fs::create_dir_all(&args.dir).with_context(|| format!("making `{}`", args.dir.display()))?;
    let path = args.dir.join("operator.key");
    let operator = key::generate(&path).context("making the root key")?.operator_id();
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Human => {
            eprintln!("root key of {operator} written to `{}`: keep it offline. In a policy:", path.display());
            writeln!(out, "[[operator]]\nname = \"{}\"\nkey = \"{operator}\"", args.name)?;
        }
        Format::Json => {
            let view = json!({ "schema": "quorate-operator/v1", "operator": operator, "name": args.name, "key": path });
            writeln!(out, "{view}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn certify(args: &Certify) -> anyhow::Result<ExitCode> {
    let root = key::load(&args.root).context("loading the root key")?;
    let node = match (args.node, &args.node_key) {
        (Some(node), _) => node,
        (None, Some(path)) => key::load(path).context("loading the node's key")?.node_id(),
        (None, None) => anyhow::bail!("neither --node nor --node-key"),
    };
    let not_before = Timestamp::from(SystemTime::now().checked_sub(BACKDATED).context("the clock is before 1970")?).whole_seconds();
    let not_after = not_before.plus(DAY * args.days);
    let operator = root.operator_id();
    let certificate = NodeCertificate { operator, node, not_before, not_after }.sign(&root);
    write(&args.out, certificate.bytes()).with_context(|| format!("writing `{}`", args.out.display()))?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Human => writeln!(out, "{node} certified by {operator} until {not_after}")?,
        Format::Json => {
            let view = json!({ "schema": "quorate-certificate/v1", "operator": operator, "node": node, "notAfter": not_after, "certificate": args.out });
            writeln!(out, "{view}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Beside and then over: a running node that reads the file meanwhile sees the old or the new one.
fn write(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    std::fs::write(&aside, bytes)?;
    std::fs::rename(aside, path)
}
