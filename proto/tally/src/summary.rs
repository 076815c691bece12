//! A verdict as a SLSA Verification Summary Attestation v1.
//!
//! Other people's tools read the summary; ours read the whole verdict, which stands in it under
//! [`VERDICT_FIELD`]. `SLSA_BUILD_REPRODUCED` is claimed only where at least two operators got the
//! published bytes.

use std::collections::BTreeMap;

use quorate_proto::statement::{DigestSet, Predicate, Statement, Subject};
use quorate_proto::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ENGINE;
use crate::verdict::{State, Verdict};

/// The field that carries the whole verdict: a URI, as in-toto asks of extensions.
pub const VERDICT_FIELD: &str = "urn:quorate:verdict/v1";

/// Largest verdict envelope, in bytes.
pub const VERDICT_ENVELOPE_BYTES_MAX: usize = 60 * 1024;

/// Who says a verdict, and on what.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The one who signs, as a URI.
    pub id: String,
    /// When.
    pub time: Timestamp,
    /// Results in the log up to this size were considered.
    pub log_size: u64,
}

/// The predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictSummary {
    /// Who verified.
    pub verifier: VerifierId,
    /// When.
    pub time_verified: Timestamp,
    /// The release.
    pub resource_uri: String,
    /// The policy.
    pub policy: Descriptor,
    /// Every result that was considered.
    pub input_attestations: Vec<Descriptor>,
    /// `PASSED` or `FAILED`.
    pub verification_result: String,
    /// `SLSA_BUILD_REPRODUCED` where it is earned.
    pub verified_levels: Vec<String>,
    /// The version of SLSA.
    pub slsa_version: String,
    /// The whole verdict.
    #[serde(rename = "urn:quorate:verdict/v1")]
    pub verdict: Verdict,
    /// Results in the log up to this size were considered.
    #[serde(rename = "urn:quorate:log-size/v1")]
    pub log_size: u64,
}

/// Who verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierId {
    /// As a URI.
    pub id: String,
    /// Version of each part.
    pub version: BTreeMap<String, String>,
}

/// A file by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its digest.
    pub digest: DigestSet,
}

impl From<Digest> for Descriptor {
    fn from(sha256: Digest) -> Self {
        Self { digest: DigestSet { sha256 } }
    }
}

impl Verdict {
    /// The statement to be signed.
    pub fn to_statement(&self, verifier: &Verifier) -> Statement<VerdictSummary> {
        let subject = Subject::new(self.artifact.slot.file.as_str(), self.artifact.digest);
        let predicate = VerdictSummary {
            verifier: VerifierId { id: verifier.id.clone(), version: BTreeMap::from([("tally".to_owned(), self.engine.clone())]) },
            time_verified: verifier.time,
            resource_uri: self.artifact.slot.package.to_string(),
            policy: self.policy.into(),
            input_attestations: self.inputs(),
            verification_result: self.result().to_owned(),
            verified_levels: self.levels().iter().map(|level| (*level).to_owned()).collect(),
            slsa_version: "1.1".to_owned(),
            verdict: self.clone(),
            log_size: verifier.log_size,
        };
        Statement::new(vec![subject], predicate)
    }

    fn inputs(&self) -> Vec<Descriptor> {
        self.rests_on().into_iter().map(Descriptor::from).collect()
    }

    fn result(&self) -> &'static str {
        if matches!(self.state, State::Reproduced | State::Equivalent | State::Explained) { "PASSED" } else { "FAILED" }
    }

    fn levels(&self) -> &'static [&'static str] {
        if self.state == State::Reproduced && self.identical() >= 2 { &["SLSA_BUILD_REPRODUCED"] } else { &[] }
    }
}

impl Predicate for VerdictSummary {
    const TYPE: &'static str = "https://slsa.dev/verification_summary/v1";

    fn check(&self, subject: &[Subject]) -> Result<(), String> {
        let artifact = &self.verdict.artifact;
        if subject != [Subject::new(artifact.slot.file.as_str(), artifact.digest)] {
            return Err("the subject is not the verdict's artifact".to_owned());
        }
        if self.policy.digest.sha256 != self.verdict.policy {
            return Err("the summary and the verdict name two policies".to_owned());
        }
        if self.verdict.engine == ENGINE && !self.follows() {
            return Err("the summary says something else than the verdict in it".to_owned());
        }
        Ok(())
    }
}

impl VerdictSummary {
    /// Whether what other people's tools read is what the verdict says. What other engines claim is not known here.
    fn follows(&self) -> bool {
        let Self { verdict, .. } = self;
        self.verifier.version.get("tally") == Some(&verdict.engine)
            && self.resource_uri == verdict.artifact.slot.package.to_string()
            && self.input_attestations == verdict.inputs()
            && self.verification_result == verdict.result()
            && self.verified_levels == verdict.levels()
    }
}
