//! SLSA provenance v1 of the *rebuilt* files: everything that went into a build.
//!
//! It may be megabytes, so a result names it by the digest of its envelope. Incident queries run
//! on `resolvedDependencies`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::statement::{DigestSet, Predicate, Subject};
use crate::{Digest, Timestamp};

/// Largest provenance envelope, environment inventory or difference report, in bytes.
pub const BLOB_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for and what it resolved to.
    pub build_definition: BuildDefinition,
    /// Who ran it and when.
    pub run_details: RunDetails,
}

/// What was asked for and what it resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// How to read the parameters, such as `urn:quorate:build/pypi/v1`.
    pub build_type: String,
    /// What the rebuild was asked for: package, artifact, source.
    pub external_parameters: Map<String, Value>,
    /// What the builder chose: backend, environment, options.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub internal_parameters: Map<String, Value>,
    /// Source, toolchain, environment and every file that was fetched.
    #[serde(default)]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// Who ran a build and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetails {
    /// The builder.
    pub builder: ProvenanceBuilder,
    /// When.
    pub metadata: BuildMetadata,
}

/// The builder's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenanceBuilder {
    /// `urn:quorate:node:<node id>`.
    pub id: String,
    /// Version of each part of the builder.
    pub version: std::collections::BTreeMap<String, String>,
}

/// When a build ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildMetadata {
    /// Begin.
    pub started_on: Timestamp,
    /// End.
    pub finished_on: Timestamp,
}

/// An in-toto resource descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// What it is in this build, such as `source`, `environment`, `python`, or a file name.
    pub name: String,
    /// Where it came from: a package URL where there is one, else an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its digest, if it is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<DigestSet>,
    /// More facts: `commit`, `version`, `fetchedFrom`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
}

impl ResourceDescriptor {
    /// A file with its digest.
    pub fn file(name: impl Into<String>, uri: impl Into<String>, digest: Digest) -> Self {
        Self { name: name.into(), uri: Some(uri.into()), digest: Some(DigestSet { sha256: digest }), annotations: Map::new() }
    }

    /// The descriptor with one more fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }
}

impl Predicate for Provenance {
    const TYPE: &'static str = "https://slsa.dev/provenance/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        if subject.is_empty() { Err("provenance of nothing".to_owned()) } else { Ok(()) }
    }
}
