//! What a package ecosystem is to the pipeline: one trait, and one file for each that ties its stages.
//!
//! The pipeline decides what is tried next and what a finding says; an ecosystem knows its registry, its
//! archives and its build tools. Neither knows the other's insides, and no ecosystem knows another one.

pub mod cargo;
pub mod deb;
pub mod npm;
pub mod pypi;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_proto::result::{Assist, NotAttemptedReason, Outcome, RegistryView, Tool};
use quorate_proto::{Digest, FileName, Purl};
use serde_json::{Map, Value};

use crate::cache::Cache;
use crate::definition::{Definitions, Settings};
use crate::environment::Host;
use crate::fetch::Inputs;
use crate::rebuild::Built;
use crate::registry::address::AddressError;
use crate::registry::deb::address::ArchiveSettings;
use crate::registry::{Download, Http, RegistryError};
use crate::release::{ChoiceError, Release};
use crate::resolve::{Candidate, Debian, GitAccess, LaidOut, ResolveError, Rung};
use crate::sandbox::{Limits, Sandbox};
use crate::workshop::{BuildError, Workshop};

/// What every ecosystem works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Facilities {
    /// The client.
    pub http: Http,
    /// Where downloads are kept.
    pub cache: Cache,
    /// How repositories are reached.
    pub git: GitAccess,
    /// Debian's archive, if it may be used.
    pub debian: Option<Debian>,
    /// Registries by package URL type, where the machine's own package client is not to be asked.
    pub registries: BTreeMap<String, String>,
    /// What is configured about Debian's archive besides its address.
    pub deb: ArchiveSettings,
    /// Which build tools may be brought in.
    pub toolchains: ToolchainUse,
    /// Longest that a rebuild waits until one is brought in; it then goes on with the nearest. With none it does so at
    /// once and leaves word of what it lacked.
    pub toolchain_wait: Option<Duration>,
    /// The Python that builds run on: a path or a command.
    pub python: PathBuf,
    /// Where builds lie while they run.
    pub work_dir: PathBuf,
    /// Reviewed definitions.
    pub definitions: Definitions,
    /// The sandbox.
    pub sandbox: Sandbox,
    /// What one build command may use up.
    pub limits: Limits,
    /// Paths where decoys stand in for the node's secrets.
    pub decoys: Vec<PathBuf>,
}

/// Which build tools may be brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolchainUse {
    /// The very version that made the artifact, from a registry or the toolchain cache, where it can be had.
    #[default]
    Exact,
    /// Only what this machine has.
    Machine,
}

/// What a registry lists: one published file, and what the ecosystem wants to remember of the page.
#[derive(Clone, Debug)]
pub struct Listed<L> {
    /// The file's name.
    pub file: FileName,
    /// What the node saw.
    pub view: RegistryView,
    /// Why this node does not rebuild it, if it does not.
    pub refusal: Option<NotAttemptedReason>,
    /// The ecosystem's own.
    pub listing: L,
}

/// A registry that did not say which file is meant.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// No such file, or no such version.
    #[error("choosing the published file")]
    Choice(#[from] ChoiceError),
    /// A file that cannot be fetched and that the registry states no SHA-256 of: there is nothing that a
    /// result could be about.
    #[error("{url} has no SHA-256 in the index: {why}")]
    NoDigest {
        /// The file.
        url: String,
        /// Why it cannot be fetched, or is not.
        why: String,
    },
    /// No registry is known.
    #[error("finding the registry")]
    Address(#[from] AddressError),
    /// The registry's fault.
    #[error("asking the registry")]
    Registry(#[from] RegistryError),
}

/// An attempt at a candidate, and what came of it.
#[derive(Clone, Debug)]
pub struct Tried<A> {
    /// What was tried.
    pub attempt: A,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether no build tool was fetched for it.
    pub is_toolless: bool,
}

/// What a provenance says of a plan.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// A few words for people.
    pub words: String,
    /// The plan as parameters.
    pub parameters: Map<String, Value>,
    /// What the build is told that the source does not say.
    pub assists: Vec<Assist>,
    /// What a definition could set instead: times, versions of tools, variables.
    pub settings: Settings,
    /// Tools that no registry served for this build: the machine's own, and cached toolchains.
    pub tools: Vec<Tool>,
}

/// When the workshop holds all that a build is given: what appears in it afterwards, the build has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Once the source is laid out: code of the source runs while its requirements are asked for.
    LaidOut,
    /// Once everything is fetched: the source is unpacked or completed on the way.
    Fetched,
}

/// One kind of package.
pub trait Ecosystem: Sync {
    /// What is remembered of the registry's page.
    type Listing: Send + Sync;
    /// What the published bytes and the page say about the making.
    type Facts: Send + Sync;
    /// What a source tree says about the package in it.
    type Manifest: Send + Sync;
    /// One way of building a candidate.
    type Attempt: Clone + Debug + Send + Sync;
    /// One way of building, in all its details.
    type Plan: Send + Sync;

    /// How to read the parameters of a provenance.
    const BUILD_TYPE: &'static str;
    /// Where sources are looked for, strongest first.
    const LADDER: &'static [Rung];
    /// From when on files in the workshop are the build's own.
    const GIVEN: Given;

    /// Which file is meant, by the registry's own page. The file itself is not fetched.
    fn list(&self, package: &Purl, file: Option<&FileName>) -> impl Future<Output = Result<Listed<Self::Listing>, ListError>> + Send;

    /// Brings the published bytes, checked against every checksum that the page states. Bytes of those checksums
    /// that are held already are not fetched again: the page says which bytes are published now.
    fn download(&self, listed: &Listed<Self::Listing>, limit: u64) -> impl Future<Output = Result<Download, RegistryError>> + Send;

    /// Reads the published bytes. Those that cannot be read say nothing about their making: the file is then
    /// built from defaults, and the comparison says what is wrong with it.
    fn facts(&self, listed: Listed<Self::Listing>, download: &Download) -> impl Future<Output = Self::Facts> + Send;

    /// The candidates of one rung, best first.
    fn candidates(&self, rung: Rung, release: &Release<Self::Facts>) -> impl Future<Output = Result<Vec<Candidate>, ResolveError>> + Send;

    /// Finds the package in a candidate's tree and refuses a tree of another package or version. Reads a few
    /// small files.
    fn find(&self, release: &Release<Self::Facts>, candidate: &Candidate, tree: &Path) -> Result<(PathBuf, Self::Manifest), ResolveError>;

    /// What is tried next with a candidate; `None` ends it.
    fn next_attempt(&self, tried: &[Tried<Self::Attempt>], release: &Release<Self::Facts>, candidate: &Candidate) -> Option<Self::Attempt>;

    /// Works out one attempt, bringing in toolchains where it needs them.
    fn plan(
        &self,
        release: &Release<Self::Facts>,
        candidate: &Candidate,
        laid_out: &LaidOut<Self::Manifest>,
        attempt: &Self::Attempt,
    ) -> impl Future<Output = Result<Self::Plan, BuildError>> + Send;

    /// What a provenance says of a plan.
    fn describe(&self, plan: &Self::Plan) -> Described;

    /// Brings in what the build needs, through the recording proxy alone.
    fn fetch(
        &self,
        release: &Release<Self::Facts>,
        workshop: &Workshop,
        plan: &Self::Plan,
    ) -> impl Future<Output = Result<Inputs, BuildError>> + Send;

    /// Builds without any network, and takes in the one file that was made.
    fn rebuild(
        &self,
        release: &Release<Self::Facts>,
        workshop: &Workshop,
        plan: &Self::Plan,
    ) -> impl Future<Output = Result<Built, BuildError>> + Send;
}

/// An environment other than the machine's own, such as a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// What a result says of it.
    pub environment: quorate_proto::result::Environment,
    /// The inventory whose digest that is.
    pub inventory: Vec<u8>,
}

impl From<&Host> for Surroundings {
    fn from(host: &Host) -> Self {
        Self { environment: host.environment.clone(), inventory: host.inventory.clone() }
    }
}

/// A digest-bearing tool from a registry.
pub fn tool(name: &str, version: &str, digest: Option<Digest>) -> Tool {
    Tool { name: name.to_owned(), version: version.to_owned(), digest }
}
