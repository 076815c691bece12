//! Declarations: handed in by whoever has signed one, listed for everybody.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use quorate_gossip::Accepted;
use quorate_proto::declaration::{Declaration, VerifiedDeclaration};
use quorate_proto::{Digest, Timestamp};
use quorate_tally::{Declarations, Policy};
use serde::{Deserialize, Serialize};

use super::json::envelope_text;
use super::lists::limited;
use super::{ApiError, App};
use crate::door::{Refused, UNHEARD, declaration};
use crate::store::Store;

/// Declarations on a page.
const LISTED_DEFAULT: usize = 50;
const LISTED_MAX: usize = 500;

/// Declarations of one signer that are logged: about 2 KiB of memory each, and nobody fills the log with a key that was
/// stolen. Whoever needs more gets a new key into the policy.
const OF_A_SIGNER_MAX: usize = 16_384;

/// Name of the refusal of one more than that.
const TOO_MANY: &str = "too-many";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
    before: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct List {
    declarations: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    log_index: u64,
    digest: Digest,
    /// The signer, as the policy names it.
    name: String,
    /// Whether the policy listens to it.
    heard: bool,
    /// Where it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    retracted: Option<u64>,
    declaration: Declaration,
    envelope: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Logged {
    outcome: &'static str,
    digest: Digest,
    log_index: u64,
}

/// One envelope as the body. Answers once it is in the published log.
pub(super) async fn declare(State(app): State<App>, body: Bytes) -> Result<Json<Logged>, ApiError> {
    let _permit = app.limits.calls.acquire().await.map_err(|_| ApiError::unavailable())?;
    let now = Timestamp::from(SystemTime::now());
    let declared = declaration(&body, &app.policy, now).map_err(|refused| refuse(&app, &refused))?;
    let known = app.store().declarations();
    if known.leaf_of(&declared.digest()).is_none() && known.count_of(&declared.signer()) >= OF_A_SIGNER_MAX {
        let detail = format!("{OF_A_SIGNER_MAX} declarations of this key are in the log");
        return Err(refuse(&app, &Refused { name: TOO_MANY, detail }));
    }
    let logged = app.ingest.log_declaration(declared.bytes().to_vec()).await;
    let (log_index, accepted) = logged.map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()))?;
    let outcome = if accepted == Accepted::New { "accepted" } else { "duplicate" };
    Ok(Json(Logged { outcome, digest: declared.digest(), log_index }))
}

fn refuse(app: &App, refused: &Refused) -> ApiError {
    app.ingest.metrics().reject(refused.name);
    let status = match refused.name {
        UNHEARD => StatusCode::FORBIDDEN,
        TOO_MANY => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, refused.name, refused.detail.clone())
}

/// A page of them, the newest first.
pub(super) async fn list(State(app): State<App>, query: Result<Query<ListQuery>, QueryRejection>) -> Result<Json<List>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::query(error.body_text()))?;
    let limit = limited(query.limit, LISTED_DEFAULT, LISTED_MAX)?;
    let before = query.before.unwrap_or(u64::MAX);
    let policy = Arc::clone(&app.policy);
    let read = move |store: &Store| Ok(List::of(&store.declarations(), &policy, before.min(store.log().published().head.size), limit));
    app.read(read).await.map(Json)
}

impl List {
    /// Those at leaves before `end`.
    fn of(known: &Declarations, policy: &Policy, end: u64, limit: usize) -> Self {
        let mut listed = known.all().rev().skip_while(|(leaf, _)| *leaf >= end);
        let declarations: Vec<_> = listed.by_ref().take(limit).map(|(leaf, declared)| Row::of(known, policy, leaf, declared)).collect();
        let next = listed.next().and(declarations.last()).map(|row| row.log_index);
        Self { declarations, next }
    }
}

impl Row {
    fn of(known: &Declarations, policy: &Policy, log_index: u64, declared: &VerifiedDeclaration) -> Self {
        Self {
            log_index,
            digest: declared.digest(),
            name: policy.name_of_signer(&declared.signer()),
            heard: policy.hears(declared.declaration()),
            retracted: known.retracted_at(declared),
            declaration: declared.declaration().clone(),
            envelope: envelope_text(declared.bytes()),
        }
    }
}
