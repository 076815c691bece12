//! JSON shapes of the API. They exist at this edge only.

use axum::http::StatusCode;
use bytes::Bytes;
use quorate_proto::bundle::{BUNDLE_BYTES_MAX, BUNDLE_FORMAT, Bundle, BundledItem};
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, FileName, NodeId, OperatorId, Purl, Timestamp};
use quorate_tally::{Policy, Severity, Verdict};
use serde::{Deserialize, Serialize};

use super::ApiError;
use crate::store::rows::SlotKey;
use crate::store::{Affected, SlotResults, Store, StoreError, VerdictView};

/// One artifact in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArtifactRow {
    #[serde(flatten)]
    pub artifact: ArtifactId,
    #[serde(flatten)]
    pub verdict: Option<RowVerdict>,
}

/// The verdict in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowVerdict {
    pub state: &'static str,
    pub flags: Vec<&'static str>,
    pub reason: String,
    /// How grave the difference is, for a suspect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The severity as the package's history raises it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Severity>,
    pub agree: usize,
    pub differ: usize,
    pub failed: usize,
    pub threshold: usize,
    pub enrolled: usize,
    pub log_index: u64,
    pub time_verified: Timestamp,
}

#[derive(Serialize)]
pub(super) struct Artifacts {
    pub artifacts: Vec<ArtifactRow>,
}

#[derive(Serialize)]
pub(super) struct Package {
    pub purl: Purl,
    pub truncated: bool,
    pub artifacts: Vec<ArtifactRow>,
}

#[derive(Serialize)]
pub(super) struct VerdictList {
    pub verdicts: Vec<ArtifactRow>,
    pub truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneVerdict<'a> {
    pub artifact: &'a ArtifactId,
    pub state: &'static str,
    pub flags: Vec<&'static str>,
    pub reason: String,
    pub log_index: u64,
    pub log_size: u64,
    pub time_verified: Timestamp,
    pub verdict: &'a Verdict,
    pub envelope: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlotAnswer {
    pub artifact: ArtifactId,
    pub log_size: u64,
    pub results: Vec<BundledItem>,
    pub commitments: Vec<BundledItem>,
    pub checks: Vec<BundledItem>,
    pub declarations: Vec<String>,
    pub equivocations: Vec<[BundledItem; 2]>,
}

#[derive(Serialize)]
pub(super) struct AffectedAnswer {
    pub truncated: bool,
    pub affected: Vec<AffectedRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AffectedRow {
    artifact: ArtifactId,
    class: &'static str,
    result: Digest,
    provenance: Option<Digest>,
    provenance_held: bool,
    log_index: u64,
    operator: OperatorId,
    operator_name: String,
    node: NodeId,
    finished_at: Timestamp,
}

/// Says which slot is meant where one digest is published in several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotQuery {
    pub package: Option<String>,
    pub file: Option<String>,
}

impl SlotQuery {
    /// The slot, if one is named.
    pub(crate) fn slot(&self) -> Result<Option<ArtifactSlot>, ApiError> {
        match (&self.package, &self.file) {
            (None, None) => Ok(None),
            (Some(package), Some(file)) => {
                let package: Purl = package.parse().map_err(|error| ApiError::query(format!("package: {error}")))?;
                let file: FileName = file.parse().map_err(|error| ApiError::query(format!("file: {error}")))?;
                Ok(Some(ArtifactSlot { package, file }))
            }
            _ => Err(ApiError::query("give package and file, or neither")),
        }
    }
}

/// Reads a digest in a path.
pub(crate) fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse()
        .map_err(|error: quorate_proto::digest::DigestError| ApiError::new(StatusCode::BAD_REQUEST, "malformed-digest", error.to_string()))
}

/// The artifact that is meant, of those that may be.
pub(crate) fn pick(mut meant: Vec<ArtifactId>) -> Result<ArtifactId, ApiError> {
    match (meant.pop(), meant.len()) {
        (Some(artifact), 0) => Ok(artifact),
        (Some(_), _) => {
            Err(ApiError::new(StatusCode::CONFLICT, "ambiguous", "this digest is published in several places: give package and file"))
        }
        (None, _) => Err(ApiError::not_found("no result about this artifact was seen")),
    }
}

impl From<&VerdictView> for RowVerdict {
    fn from(view: &VerdictView) -> Self {
        let verdict = &view.verdict;
        Self {
            state: verdict.state.name(),
            flags: verdict.flags.iter().map(|flag| flag.name()).collect(),
            reason: verdict.reason(),
            severity: verdict.severity,
            alarm: verdict.alarm(),
            agree: verdict.agree,
            differ: verdict.differ,
            failed: verdict.failed,
            threshold: verdict.threshold,
            enrolled: verdict.enrolled,
            log_index: view.log_index,
            time_verified: view.time,
        }
    }
}

impl From<&VerdictView> for ArtifactRow {
    fn from(view: &VerdictView) -> Self {
        Self { artifact: view.verdict.artifact.clone(), verdict: Some(view.into()) }
    }
}

/// An artifact with the verdict in force.
pub(crate) fn artifact_row(store: &Store, artifact: ArtifactId) -> Result<ArtifactRow, StoreError> {
    let verdict = store.verdict(&artifact)?.as_ref().map(RowVerdict::from);
    Ok(ArtifactRow { artifact, verdict })
}

/// The body of `…/verdict`.
pub(super) fn render_verdict(view: &VerdictView) -> Vec<u8> {
    let verdict = &view.verdict;
    let body = OneVerdict {
        artifact: &verdict.artifact,
        state: verdict.state.name(),
        flags: verdict.flags.iter().map(|flag| flag.name()).collect(),
        reason: verdict.reason(),
        log_index: view.log_index,
        log_size: view.log_size,
        time_verified: view.time,
        verdict,
        envelope: std::str::from_utf8(&view.envelope).expect("a canonical envelope is JSON text"),
    };
    serde_json::to_vec(&body).expect("verdicts hold nothing that JSON cannot say")
}

/// A verified item's bytes are canonical envelopes, so they are text.
pub(super) fn as_text(item: &FeedItem) -> BundledItem {
    BundledItem::try_from(item).expect("a canonical envelope is JSON text")
}

/// A verified envelope's exact bytes.
pub(super) fn envelope_text(envelope: &[u8]) -> String {
    String::from_utf8(envelope.to_vec()).expect("a canonical envelope is JSON text")
}

impl SlotAnswer {
    pub(super) fn of(artifact: ArtifactId, found: &SlotResults) -> Self {
        Self {
            artifact,
            log_size: found.log_size,
            results: found.results.iter().map(|(_, item, _)| as_text(item)).collect(),
            commitments: found.commitments.iter().map(as_text).collect(),
            checks: found.checks.iter().map(as_text).collect(),
            declarations: found.declarations.iter().map(|declared| envelope_text(declared.bytes())).collect(),
            equivocations: found.equivocations.iter().map(|proof| proof.items().each_ref().map(as_text)).collect(),
        }
    }
}

/// The bytes of [`SlotAnswer`] about an artifact.
pub(super) fn results(store: &Store, artifact: &ArtifactId) -> Result<Vec<u8>, StoreError> {
    let found = store.results(SlotKey::of(&artifact.slot), store.log().published().head.size)?;
    let named = || Ok(store.verdict(artifact)?.map(|view| view.verdict.rests_on()).unwrap_or_default());
    fitted(SlotAnswer::of(artifact.clone(), &found), |all| [&mut all.commitments, &mut all.checks], named, BUNDLE_BYTES_MAX)
}

/// The bytes of the bundle of an artifact, if it has a verdict.
pub(super) fn bundle(store: &Store, artifact: &ArtifactId) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(view) = store.verdict(artifact)? else { return Ok(None) };
    let found = store.results(SlotKey::of(&artifact.slot), view.log_size)?;
    let SlotAnswer { artifact, results, commitments, checks, declarations, equivocations, .. } = SlotAnswer::of(artifact.clone(), &found);
    // What no witness has seen yet is not proven to anybody.
    let proof = store.proof(view.log_index)?.map_or_else(String::new, |proof| proof.to_string());
    let verdict = String::from_utf8(view.envelope).expect("a canonical envelope is JSON text");
    let format = BUNDLE_FORMAT.to_owned();
    let bundle = Bundle { format, artifact, verdict, proof, results, commitments, checks, declarations, equivocations };
    fitted(bundle, |all| [&mut all.commitments, &mut all.checks], || Ok(view.verdict.rests_on()), BUNDLE_BYTES_MAX).map(Some)
}

/// The JSON of all that is known of a slot; where that is more than `limit`, without the commitments and checks that
/// the verdict does not name: grades do not rest on them. It may still be more.
fn fitted<A: Serialize>(
    mut all: A,
    graded_by: impl FnOnce(&mut A) -> [&mut Vec<BundledItem>; 2],
    named: impl FnOnce() -> Result<Vec<Digest>, StoreError>,
    limit: usize,
) -> Result<Vec<u8>, StoreError> {
    let bytes = |all: &A| serde_json::to_vec(all).expect("an answer holds nothing that JSON cannot say");
    let whole = bytes(&all);
    if whole.len() <= limit {
        return Ok(whole);
    }
    let named = named()?;
    for items in graded_by(&mut all) {
        items.retain(|item| named.contains(&Digest::of(item.envelope.as_bytes())));
    }
    Ok(bytes(&all))
}

/// All that is known of a slot, if it is no more than readers take.
pub(super) fn readable(json: Vec<u8>) -> Result<Bytes, ApiError> {
    if json.len() <= BUNDLE_BYTES_MAX { Ok(json.into()) } else { Err(ApiError::too_large()) }
}

impl AffectedAnswer {
    pub(super) fn of(store: &Store, policy: &Policy, found: Affected) -> Self {
        let rows = found.results.into_iter().map(|(leaf, statement)| {
            let result = statement.result();
            AffectedRow {
                artifact: statement.artifact().clone(),
                class: result.outcome.class(),
                result: statement.digest(),
                provenance: result.provenance,
                provenance_held: result.provenance.is_some_and(|provenance| store.holds_blob(&provenance)),
                log_index: leaf,
                operator: statement.operator(),
                operator_name: policy.name_of(&statement.operator()),
                node: statement.node(),
                finished_at: result.finished_at,
            }
        });
        Self { affected: rows.collect(), truncated: found.truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_all_is_too_much_what_the_verdict_names_is_left() {
        let item = |n: usize| BundledItem { certificate: "c".to_owned(), envelope: format!("{n}") };
        let answer = || SlotAnswer {
            artifact: quorate_tests::artifact("click", "8.1.8", b"click"),
            log_size: 9,
            results: (0..3).map(item).collect(),
            commitments: (10..20).map(item).collect(),
            checks: (20..40).map(item).collect(),
            declarations: Vec::new(),
            equivocations: Vec::new(),
        };
        let named = [13, 21, 22].map(|n| Digest::of(format!("{n}").as_bytes())).to_vec();
        let within = |limit| {
            let json = fitted(answer(), |all| [&mut all.commitments, &mut all.checks], || Ok(named.clone()), limit).expect("no store");
            let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
            ["results", "commitments", "checks"].map(|kind| json[kind].as_array().map_or(0, Vec::len))
        };
        assert_eq!(within(BUNDLE_BYTES_MAX), [3, 10, 20]);
        assert_eq!(within(1_000), [3, 1, 2]);
        assert!(readable(vec![b' '; BUNDLE_BYTES_MAX]).is_ok());
        assert_eq!(readable(vec![b' '; BUNDLE_BYTES_MAX + 1]).err(), Some(ApiError::too_large()));
    }
}
