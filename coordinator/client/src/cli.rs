//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorate_proto::{Digest, NodeId, Purl, PurlPattern, Timestamp};

use crate::affected::criteria::{Commit, ToolQuery};
use crate::monitor::own::Own;
use crate::target::Target;

/// Asks whether published artifacts are quorate: rebuilt from source, with the same outcome, by
/// enough independent operators. Every verdict is derived again from signed evidence under your own
/// policy; the coordinator is believed in nothing.
///
/// Exit codes: 0 policy met · 1 policy violated, a divergence or an affected artifact found ·
/// 2 misuse or the tool failed · 3 not enough evidence.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How to print
    #[arg(long, global = true, value_enum, default_value = "human")]
    pub(crate) format: ReportFormat,
    /// Your policy: whose results count and how many are enough [default: ~/.config/quorate/policy.toml]
    #[arg(long, global = true, value_name = "FILE", env = "QUORATE_POLICY")]
    pub(crate) policy: Option<PathBuf>,
    /// A coordinator to ask for evidence
    #[arg(long, visible_alias = "coordinator", global = true, value_name = "URL", env = "QUORATE_SERVER")]
    pub(crate) server: Option<String>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Human,
    /// For programs; `docs/spec/cli.md` has the shapes
    Json,
    /// A page for people, of `compare` only
    Html,
}

/// How every command can print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

impl ReportFormat {
    /// The format, for commands that make no pages.
    pub(crate) fn without_pages(self) -> anyhow::Result<Format> {
        match self {
            Self::Human => Ok(Format::Human),
            Self::Json => Ok(Format::Json),
            Self::Html => anyhow::bail!("`--format html` is for `compare` only"),
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Is this artifact quorate under my policy?
    Verify(Verify),
    /// What did every operator see, what differs, and what is missing?
    Explain(Explain),
    /// Keep verdict, proof and results in one file that needs no server
    Bundle(Keep),
    /// Which artifacts were built with this, from this, by them, or then?
    Affected(Affected),
    /// Does the log hold: entries, verdicts, and what others were shown of it?
    Monitor(Monitor),
    /// Keep a copy of the log that anybody can serve and check from its files alone
    Mirror(Mirror),
    /// How close are two files to each other?
    Compare(Compare),
    /// What is my policy worth, and how does it come to a verdict?
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What would change without an operator, or under another policy?
    WhatIf(WhatIf),
    /// Say in your own name that something is compromised, benign, revoked or taken back
    #[command(subcommand)]
    Declare(Declare),
}

/// `declare`. Signs, and hands it in to the coordinator unless a file is named.
#[derive(Debug, Subcommand)]
pub(crate) enum Declare {
    /// A file or packages are compromised
    Advisory(DeclareAdvisory),
    /// One exact difference of a file is benign, for a time
    Vouch(DeclareVouch),
    /// A node of mine is not trusted since a place in its feed, or none of mine ever; signed with the operator's root key
    Revocation(DeclareRevocation),
    /// An advisory or vouch of mine, or a result of my operator, was an error
    Retraction(DeclareRetraction),
    /// Hand in what was signed into a file before
    Submit(DeclareSubmit),
    /// Make a new key, and show its public half for policies
    Key(DeclareKey),
}

/// What all declarations need.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// Why, in one line that everybody can read
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Your secret key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Write the signed declaration here; asks no server
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `declare advisory`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("about").required(true))]
pub(crate) struct DeclareAdvisory {
    /// The published file
    #[arg(long, group = "about", value_name = "sha256:…")]
    pub(crate) digest: Option<Digest>,
    /// The packages: a canonical package URL, `*` for any run; without a version every version
    #[arg(long, group = "about", value_name = "PATTERN")]
    pub(crate) package: Option<PurlPattern>,
    /// Its name, such as that of a public advisory
    #[arg(long)]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `declare vouch`.
#[derive(Debug, Args)]
pub(crate) struct DeclareVouch {
    /// The published file
    #[arg(long, value_name = "sha256:…")]
    pub(crate) digest: Digest,
    /// What rebuilds give, as `explain` shows it
    #[arg(long, value_name = "nf1:…|sha256:…")]
    pub(crate) rebuilt: String,
    /// Until when it holds
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Timestamp,
    /// Its name
    #[arg(long)]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `declare revocation`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true))]
pub(crate) struct DeclareRevocation {
    /// This node
    #[arg(long, group = "whose", value_name = "KEY")]
    pub(crate) node: Option<NodeId>,
    /// The first entry of the node's feed that does not count
    #[arg(long, value_name = "SEQUENCE", default_value = "0", conflicts_with = "all_nodes")]
    pub(crate) since: u64,
    /// All nodes of the operator, for all that they ever said
    #[arg(long, group = "whose")]
    pub(crate) all_nodes: bool,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `declare retraction`.
#[derive(Debug, Args)]
pub(crate) struct DeclareRetraction {
    /// The envelope of the advisory, vouch or result
    #[arg(long, value_name = "sha256:…")]
    pub(crate) statement: Digest,
    #[command(flatten)]
    pub(crate) signing: Signing,
}

/// `declare submit`.
#[derive(Debug, Args)]
pub(crate) struct DeclareSubmit {
    /// The signed declaration
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `declare key`.
#[derive(Debug, Args)]
pub(crate) struct DeclareKey {
    /// Where to write the secret key; must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Who together could fool it, and who could stall it? The smallest sets of operators
    Doctor,
    /// How does it come to its verdict on this artifact, step by step?
    Check(Box<Verify>),
    /// Its log and witnesses as a C2SP tlog-policy, for other people's tools
    Tlog(TlogExport),
}

/// `policy tlog`.
#[derive(Debug, Args)]
pub(crate) struct TlogExport {
    /// Where to write it [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `what-if`. `--policy` names the other policy; with `--without` it is today's as well, unless `--base` names that.
#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    /// Files, package URLs or `sha256:…` [default: everything that the coordinator has a verdict on]
    #[arg(value_name = "FILE|PURL|DIGEST")]
    pub(crate) targets: Vec<Target>,
    /// As if this operator had never said anything: its key, or its name in the policy. May be repeated
    #[arg(long, value_name = "KEY|NAME")]
    pub(crate) without: Vec<String>,
    /// Today's policy [default: the usual one, or with --without that of --policy]
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<PathBuf>,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A file, a package URL or `sha256:…`
    #[arg(value_name = "FILE|PURL|DIGEST", required_unless_present = "bundle")]
    pub(crate) target: Option<Target>,
    /// Take the evidence from this bundle; asks no server
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) bundle: Option<PathBuf>,
    /// The file must be one of this package
    #[arg(long, value_name = "PURL")]
    pub(crate) package: Option<Purl>,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A file, a package URL or `sha256:…`
    #[arg(value_name = "FILE|PURL|DIGEST")]
    pub(crate) target: Target,
}

/// `bundle`.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// A file, a package URL with one artifact, or `sha256:…`
    #[arg(value_name = "FILE|PURL|DIGEST")]
    pub(crate) target: Target,
    /// The file must be one of this package
    #[arg(long, value_name = "PURL")]
    pub(crate) package: Option<Purl>,
    /// Where to write the bundle
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// `affected`. Several criteria must all hold.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("criteria").required(true).multiple(true))]
pub(crate) struct Affected {
    /// Built with, from or into this file
    #[arg(long, group = "criteria", value_name = "sha256:…")]
    pub(crate) digest: Option<Digest>,
    /// Built with this package, or a release of it
    #[arg(long, group = "criteria")]
    pub(crate) purl: Option<Purl>,
    /// Built from this source commit, in full
    #[arg(long, group = "criteria", value_name = "HEX")]
    pub(crate) commit: Option<Commit>,
    /// Built with this tool
    #[arg(long, group = "criteria", value_name = "NAME[@VERSION]")]
    pub(crate) tool: Option<ToolQuery>,
    /// Said by this operator: its key, or its name in your policy
    #[arg(long, group = "criteria", value_name = "KEY|NAME")]
    pub(crate) operator: Option<String>,
    /// Said by this node
    #[arg(long, group = "criteria", value_name = "KEY")]
    pub(crate) node: Option<NodeId>,
    /// Signed at this time or later
    #[arg(long, group = "criteria", value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// Signed at this time or earlier
    #[arg(long, group = "criteria", value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
}

/// `monitor`.
#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// One pass; without it passes follow each other until one finds something
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds between two passes
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub(crate) every: u64,
    /// Remember the last checkpoint here, and compare with it the next time
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Compare with this checkpoint, which somebody else was shown; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) view: Vec<PathBuf>,
    /// Compare with what this witness has cosigned last; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) witness: Vec<String>,
    /// Is all of this in the log, and nothing else? A node's feed file, or a node's key to look for gaps alone; may be
    /// given several times
    #[arg(long, value_name = "FEED|NODE")]
    pub(crate) own: Vec<Own>,
    /// Read this mirror instead of a coordinator; asks no server
    #[arg(long, value_name = "DIR")]
    pub(crate) mirror: Option<PathBuf>,
    /// Where to write the proof if the log has shown two histories
    #[arg(long, value_name = "FILE", default_value_os_t = crate::monitor::default_proof())]
    pub(crate) proof: PathBuf,
}

/// `mirror`.
#[derive(Debug, Args)]
pub(crate) struct Mirror {
    /// The folder; made if it is not there
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Copy nothing: check what is there, from its files alone
    #[arg(long)]
    pub(crate) check: bool,
}

/// `compare`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The published file
    #[arg(value_name = "A")]
    pub(crate) published: PathBuf,
    /// The other file, such as a rebuilt one
    #[arg(value_name = "B")]
    pub(crate) rebuilt: PathBuf,
    /// Write the report as a page as well
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the report as JSON as well
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
