//! The rebuild result, `urn:quorate:rebuild-result/v1`: what one node saw for one artifact.
//!
//! The subject is the *published* file. Classes are closed; "could not rebuild" is never
//! "differs", and failures are signed like successes. Big evidence (provenance, the whole list of
//! differences, the environment's inventory) is named by digest and fetched when asked for.

use serde::{Deserialize, Serialize};

use crate::build_witness::BuildWitness;
use crate::commitment::Reveals;
use crate::comparison::{Anomaly, Difference, Level, PassUse};
use crate::feed::FeedPosition;
use crate::statement::{Predicate, Statement, Subject};
use crate::{ArtifactId, ArtifactSlot, Digest, NormalDigest, OperatorId, Purl, Timestamp};

/// Largest envelope of a result, in bytes: it must fit a log entry and a gossip frame.
pub const RESULT_ENVELOPE_BYTES_MAX: usize = 48 * 1024;

/// How many differing members a result lists; the evidence has them all.
pub const DIFFERENCES_LISTED_MAX: usize = 24;

/// How many anomalies a result lists; the evidence has them all.
pub const ANOMALIES_LISTED_MAX: usize = 16;

/// Most characters of the evidence for a source.
pub const SOURCE_EVIDENCE_CHARS_MAX: usize = 1_000;

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildResult {
    /// The release.
    #[serde(deserialize_with = "crate::purl::deserialize_canonical")]
    pub package: Purl,
    /// Who answers for the node. Without it, another operator could certify the node's key and cast
    /// this result as its own vote.
    pub operator: OperatorId,
    /// What the node saw on the registry.
    pub registry: RegistryView,
    /// What it was rebuilt from; absent when none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What came out.
    pub outcome: Outcome,
    /// Structural faults, at most [`ANOMALIES_LISTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anomalies: Vec<Anomaly>,
    /// What the rebuild was told that the source does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assists: Vec<Assist>,
    /// Escape attempts that the sandbox saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<String>,
    /// Build tools, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub toolchain: Vec<Tool>,
    /// Where it was built.
    pub environment: Environment,
    /// Proof that it was built, where the build left something that proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_witness: Option<BuildWitness>,
    /// The program that built and compared.
    pub builder: Builder,
    /// When the node began.
    pub started_at: Timestamp,
    /// When it signed. Certificates are checked against this time.
    pub finished_at: Timestamp,
    /// SHA-256 of the provenance's envelope, if anything was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Digest>,
    /// The commitment that this opens, if the node committed to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reveals: Option<Reveals>,
    /// Where this stands in the node's feed.
    pub feed: FeedPosition,
}

/// What a node saw on the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryView {
    /// Where the file was served.
    pub url: String,
    /// Its size.
    pub size_bytes: u64,
    /// The checksum in the registry's index, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_checksum: Option<Digest>,
    /// When the registry says that it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// When the node looked.
    pub observed_at: Timestamp,
}

/// What an artifact was rebuilt from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// What kind of source it is.
    pub kind: SourceKind,
    /// Where it is, such as the repository's address.
    pub uri: String,
    /// The git commit, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The git tree, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// The tag or branch.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The folder in the source tree that holds the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// SHA-256 of a source that is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How it was found. A commit that the publisher named proves more than one chosen because it matches.
    pub found_by: FoundBy,
    /// What speaks for it, in a line: how many published members stand in it, what was amiss with others.
    /// At most [`SOURCE_EVIDENCE_CHARS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// The signature of the tag, else of the commit, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SourceSignature>,
}

/// A signature that a source carries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceSignature {
    /// What is signed.
    pub object: SignedObject,
    /// Its format.
    pub format: SignatureFormat,
    /// The key as the signature itself names it: `SHA256:` and base64 for SSH; the fingerprint, or the key
    /// id where no fingerprint stands in it, in lower-case hex for OpenPGP.
    pub key: String,
    /// Whether it holds.
    pub state: SignatureState,
}

/// What a source's signature is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedObject {
    /// The tag.
    Tag,
    /// The commit.
    Commit,
}

/// Formats of signatures in git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureFormat {
    /// OpenPGP.
    OpenPgp,
    /// SSH.
    Ssh,
}

/// What a node can say of a source's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureState {
    /// It holds, by a key that the node was given.
    Verified,
    /// The node was given no key that could bear it out: it proves nothing by itself.
    UnknownKey,
    /// It does not hold.
    Bad,
}

/// Kinds of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A commit of a git repository.
    Git,
    /// An archive with a digest, such as a signed Debian `orig.tar`.
    SourceArchive,
    /// The published source distribution: the publisher's own word for the source.
    SourceDistribution,
}

/// Ways of finding a source, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// The published file or its registry entry names the commit.
    PublisherCommit,
    /// A tag of this version.
    Tag,
    /// A signed archive that carries the commit it was made from.
    ArchiveCommit,
    /// A signed archive of this version with no commit in it.
    Archive,
    /// The commit that set this version in the manifest.
    ManifestHistory,
    /// A commit that holds the published contents.
    Content,
    /// A reviewed definition.
    Definition,
    /// The registry's index lists it beside the artifact.
    Index,
}

/// What came out of a rebuild.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// The same bytes.
    Identical {
        /// What was rebuilt.
        rebuilt: RebuiltFile,
    },
    /// Equal normal forms.
    Equivalent {
        /// What was rebuilt.
        rebuilt: RebuiltFile,
        /// The published file's normal form: equal to the rebuilt one's.
        published_normal: NormalDigest,
        /// How close: never [`Level::Byte`] or [`Level::Different`].
        level: Level,
        /// The passes that changed something.
        passes: Vec<PassUse>,
    },
    /// Something differs.
    Different {
        /// What was rebuilt.
        rebuilt: RebuiltFile,
        /// The published file's normal form, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        published_normal: Option<NormalDigest>,
        /// What differs.
        differences: DifferenceList,
    },
    /// The build did not come to an end.
    BuildFailed {
        /// Where it stopped.
        phase: Phase,
        /// Why, in a few lines.
        summary: String,
    },
    /// No source could be had.
    SourceUnavailable {
        /// Why, in a few lines.
        summary: String,
    },
    /// The registry did not serve the artifact, or not the bytes of its own checksum.
    ArtifactUnavailable {
        /// Why, in a few lines.
        summary: String,
    },
    /// The build failed after it tried to leave the sandbox.
    SandboxViolation {
        /// Where it stopped.
        phase: Phase,
        /// What it tried.
        summary: String,
    },
    /// The node did not try.
    NotAttempted {
        /// Why not.
        reason: NotAttemptedReason,
    },
}

/// A rebuilt file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuiltFile {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Its normal form, if it is an archive of a known kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normal: Option<NormalDigest>,
}

/// The differences that a result lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DifferenceList {
    /// How many there are.
    pub count: u32,
    /// The first of them, at most [`DIFFERENCES_LISTED_MAX`], code before data.
    pub members: Vec<Difference>,
    /// SHA-256 of the whole report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Digest>,
}

/// The phases of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Planning from the published file and the source.
    Plan,
    /// Fetching build requirements.
    Fetch,
    /// The build itself.
    Build,
}

/// Why a node did not try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotAttemptedReason {
    /// A kind of file that this builder does not rebuild.
    UnsupportedKind,
    /// Made for another kind of machine.
    ForeignPlatform,
    /// Larger than the node's limits.
    TooLarge,
}

/// Something that a rebuild was told and that the source does not say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assist {
    /// Which, such as `source-date-epoch`.
    pub name: String,
    /// What it was told.
    pub value: String,
    /// Why it was needed.
    pub reason: String,
}

/// A tool that took part in the build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the file that brought it, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Where something was built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Which kind.
    pub class: EnvironmentClass,
    /// SHA-256 of its inventory.
    pub digest: Digest,
}

/// Kinds of environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvironmentClass {
    /// The machine's own tools.
    Host,
    /// A root file system made from a signed archive.
    Rootfs,
}

/// The program that built and compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Builder {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Outcome {
    /// The class's name, as in the JSON.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Identical { .. } => "identical",
            Self::Equivalent { .. } => "equivalent",
            Self::Different { .. } => "different",
            Self::BuildFailed { .. } => "build-failed",
            Self::SourceUnavailable { .. } => "source-unavailable",
            Self::ArtifactUnavailable { .. } => "artifact-unavailable",
            Self::SandboxViolation { .. } => "sandbox-violation",
            Self::NotAttempted { .. } => "not-attempted",
        }
    }

    /// What was rebuilt, if anything was.
    pub fn rebuilt(&self) -> Option<&RebuiltFile> {
        match self {
            Self::Identical { rebuilt } | Self::Equivalent { rebuilt, .. } | Self::Different { rebuilt, .. } => Some(rebuilt),
            _ => None,
        }
    }

    /// How close the rebuilt file came, if there is one.
    pub fn level(&self) -> Option<Level> {
        match self {
            Self::Identical { .. } => Some(Level::Byte),
            Self::Equivalent { level, .. } => Some(*level),
            Self::Different { .. } => Some(Level::Different),
            _ => None,
        }
    }
}

/// The name under which a tool is looked for: lower case, runs of `-`, `_` and `.` as one `-`, as PyPI
/// compares names (PEP 503).
pub fn canonical_tool_name(name: &str) -> String {
    crate::purl::python_name(name)
}

impl RebuildResult {
    /// Every content-addressed file that this result names.
    pub fn evidence(&self) -> Vec<Digest> {
        let report = match &self.outcome {
            Outcome::Different { differences, .. } => differences.report,
            _ => None,
        };
        [self.provenance, report, Some(self.environment.digest)].into_iter().flatten().collect()
    }
}

impl Statement<RebuildResult> {
    /// The artifact that the result is about.
    pub fn artifact(&self) -> ArtifactId {
        let subject = &self.subject[0];
        let file = subject.name.parse().expect("checked when the statement was parsed or made");
        ArtifactId { slot: ArtifactSlot { package: self.predicate.package.clone(), file }, digest: subject.digest.sha256 }
    }
}

impl Predicate for RebuildResult {
    const TYPE: &'static str = "urn:quorate:rebuild-result/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        let [subject] = subject else {
            return Err(format!("a rebuild result has one subject, not {}", subject.len()));
        };
        subject.name.parse::<crate::FileName>().map_err(|e| e.to_string())?;
        if self.package.version().is_none() {
            return Err(format!("package {} names no version", self.package));
        }
        if self.outcome.rebuilt().is_some() && self.source.is_none() {
            return Err("something was rebuilt from no source".to_owned());
        }
        if self.anomalies.len() > ANOMALIES_LISTED_MAX {
            return Err(format!("lists {} anomalies, limit {ANOMALIES_LISTED_MAX}", self.anomalies.len()));
        }
        if self.finished_at < self.started_at {
            return Err("finished before it started".to_owned());
        }
        if !self.started_at.is_whole_seconds() || !self.finished_at.is_whole_seconds() {
            return Err("a time with a fraction of a second".to_owned());
        }
        if let Some(source) = &self.source {
            source.check()?;
        }
        if let Some(witness) = &self.build_witness {
            self.outcome.rebuilt().ok_or("a build witness of what was not rebuilt")?;
            witness.check()?;
        }
        if let Some(reveals) = &self.reveals {
            reveals.check(&self.feed)?;
        }
        self.outcome.check(subject.digest.sha256)
    }
}

impl Source {
    fn check(&self) -> Result<(), String> {
        let is_object_id = |id: &String| matches!(id.len(), 40 | 64) && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if let Some(id) = [&self.commit, &self.tree].into_iter().flatten().find(|id| !is_object_id(id)) {
            return Err(format!("`{}` is no git object id", id.chars().take(100).collect::<String>()));
        }
        if let Some(count) = self.evidence.as_ref().map(|text| text.chars().count()).filter(|count| *count > SOURCE_EVIDENCE_CHARS_MAX) {
            return Err(format!("evidence of {count} characters, limit {SOURCE_EVIDENCE_CHARS_MAX}"));
        }
        match &self.signature {
            Some(signature) => signature.check(),
            None => Ok(()),
        }
    }
}

impl SourceSignature {
    fn check(&self) -> Result<(), String> {
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_base64 = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
        let is_key = match self.format {
            SignatureFormat::OpenPgp => matches!(self.key.len(), 16 | 40 | 64) && is_hex(&self.key),
            SignatureFormat::Ssh => self.key.strip_prefix("SHA256:").is_some_and(|hash| hash.len() == 43 && is_base64(hash)),
        };
        if is_key { Ok(()) } else { Err(format!("`{}` names no key", self.key.chars().take(100).collect::<String>())) }
    }
}

impl Outcome {
    /// A class must agree with the digests that stand beside it.
    fn check(&self, published: Digest) -> Result<(), String> {
        let same_bytes = self.rebuilt().is_some_and(|rebuilt| rebuilt.digest == published);
        match self {
            Self::Identical { .. } if !same_bytes => Err("`identical` with another digest".to_owned()),
            Self::Equivalent { .. } | Self::Different { .. } if same_bytes => Err(format!("`{}` with the same digest", self.class())),
            Self::Equivalent { rebuilt, published_normal, .. } if rebuilt.normal != Some(*published_normal) => {
                Err("`equivalent` with another normal form".to_owned())
            }
            Self::Equivalent { level: Level::Byte | Level::Different, .. } => Err("`equivalent` at a level that it is not".to_owned()),
            Self::Different { differences, .. } if (differences.count as usize) < differences.members.len() => {
                Err("counts fewer differences than it lists".to_owned())
            }
            Self::Different { differences, .. } if differences.members.len() > DIFFERENCES_LISTED_MAX => {
                Err(format!("lists {} differences, limit {DIFFERENCES_LISTED_MAX}", differences.members.len()))
            }
            _ => Ok(()),
        }
    }
}
