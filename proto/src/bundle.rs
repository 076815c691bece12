//! The offline bundle: a verdict, its proof of inclusion and the results it rests on.
//!
//! One JSON file that needs no server. The envelopes stand in it as their exact bytes (they are
//! JSON text themselves), the proof as a C2SP `.tlog-proof`. The reader brings the policy and the
//! log's key, recomputes the verdict, and believes nothing else in here.

use serde::{Deserialize, Serialize};

use crate::verified::FeedItem;
use crate::{ArtifactId, Digest};

/// `format` of this version.
pub const BUNDLE_FORMAT: &str = "quorate-bundle/v1";

/// Largest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_FORMAT`].
    pub format: String,
    /// What it is about.
    pub artifact: ArtifactId,
    /// The verdict's envelope.
    pub verdict: String,
    /// The verdict's `.tlog-proof`.
    pub proof: String,
    /// Every result of the artifact's slot that the verdict considered.
    pub results: Vec<BundledItem>,
    /// Every commitment to the slot's task that the verdict considered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<BundledItem>,
    /// Every check that bears out a result of the slot and that the verdict considered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<BundledItem>,
    /// Envelopes of what was declared about the slot and that the verdict considered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declarations: Vec<String>,
    /// Pairs of items that prove an equivocation, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equivocations: Vec<[BundledItem; 2]>,
}

/// A feed item as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledItem {
    /// The certificate's envelope.
    pub certificate: String,
    /// The entry's envelope.
    pub envelope: String,
}

/// A file that is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Too large.
    #[error("bundle of {got} bytes, limit {limit}")]
    TooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not the JSON of a bundle.
    #[error("malformed bundle")]
    Malformed(#[source] serde_json::Error),
    /// Another version.
    #[error("bundle has format `{0}`, expected `{BUNDLE_FORMAT}`")]
    Format(String),
    /// An envelope that is no text, so not canonical.
    #[error("envelope {0} is not UTF-8")]
    NotText(Digest),
}

impl Bundle {
    /// Reads a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge { got: bytes.len(), limit: BUNDLE_BYTES_MAX });
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(BundleError::Malformed)?;
        if bundle.format != BUNDLE_FORMAT {
            return Err(BundleError::Format(bundle.format.chars().take(100).collect()));
        }
        Ok(bundle)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a bundle holds nothing that JSON cannot say")
    }
}

impl TryFrom<&FeedItem> for BundledItem {
    type Error = BundleError;

    fn try_from(item: &FeedItem) -> Result<Self, BundleError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| BundleError::NotText(Digest::of(bytes)));
        Ok(Self { certificate: text(&item.certificate)?, envelope: text(&item.envelope)? })
    }
}

impl From<&BundledItem> for FeedItem {
    fn from(item: &BundledItem) -> Self {
        Self { certificate: item.certificate.clone().into_bytes(), envelope: item.envelope.clone().into_bytes() }
    }
}
