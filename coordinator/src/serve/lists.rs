//! Routes that list: verdicts, and what an incident affects.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use quorate_proto::{OperatorId, Timestamp};
use quorate_tally::Policy;
use serde::Deserialize;

use super::json::{AffectedAnswer, ArtifactRow, VerdictList};
use super::{ApiError, App};
use crate::store::rows::{flag_named, state_named};
use crate::store::{AffectedQuery, VerdictFilter};

const VERDICTS_DEFAULT: usize = 50;
const VERDICTS_MAX: usize = 500;
const AFFECTED_DEFAULT: usize = 200;
const AFFECTED_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerdictsQuery {
    state: Option<String>,
    flag: Option<String>,
    #[serde(default)]
    attention: bool,
    limit: Option<usize>,
    before: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AffectedParameters {
    digest: Option<String>,
    purl: Option<String>,
    commit: Option<String>,
    tool: Option<String>,
    operator: Option<String>,
    node: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn verdicts(
    State(app): State<App>,
    query: Result<Query<VerdictsQuery>, QueryRejection>,
) -> Result<Json<VerdictList>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::query(error.body_text()))?;
    let filter = query.filter()?;
    let page = app.read(move |store| store.verdicts(&filter)).await?;
    let verdicts = page.verdicts.iter().map(ArtifactRow::from).collect();
    Ok(Json(VerdictList { verdicts, truncated: page.truncated, next: page.next }))
}

impl VerdictsQuery {
    fn filter(&self) -> Result<VerdictFilter, ApiError> {
        let unknown = |what: &str, name: &str| ApiError::query(format!("there is no {what} `{name}`"));
        let state = self.state.as_deref().map(|name| state_named(name).ok_or_else(|| unknown("state", name))).transpose()?;
        let flag = self.flag.as_deref().map(|name| flag_named(name).ok_or_else(|| unknown("flag", name))).transpose()?;
        let limit = limited(self.limit, VERDICTS_DEFAULT, VERDICTS_MAX)?;
        Ok(VerdictFilter { state, flag, attention: self.attention, before: self.before, limit })
    }
}

pub(super) async fn affected(
    State(app): State<App>,
    query: Result<Query<AffectedParameters>, QueryRejection>,
) -> Result<Json<AffectedAnswer>, ApiError> {
    let Query(parameters) = query.map_err(|error| ApiError::query(error.body_text()))?;
    let query = parameters.query(&app.policy)?;
    query.check().map_err(|error| ApiError::query(error.to_string()))?;
    let policy = std::sync::Arc::clone(&app.policy);
    let answer = app.read(move |store| Ok(AffectedAnswer::of(store, &policy, store.affected(&query)?)));
    answer.await.map(Json)
}

impl AffectedParameters {
    fn query(&self, policy: &Policy) -> Result<AffectedQuery, ApiError> {
        Ok(AffectedQuery {
            digest: parsed("digest", self.digest.as_deref())?,
            purl: parsed("purl", self.purl.as_deref())?,
            commit: self.commit.as_deref().map(commit).transpose()?,
            tool: self.tool.clone(),
            operator: self.operator.as_deref().map(|text| operator(text, policy)).transpose()?,
            node: parsed("node", self.node.as_deref())?,
            since: parsed::<Timestamp>("since", self.since.as_deref())?,
            until: parsed::<Timestamp>("until", self.until.as_deref())?,
            limit: limited(self.limit, AFFECTED_DEFAULT, AFFECTED_MAX)?,
        })
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(|text| text.parse().map_err(|error| ApiError::query(format!("{name}: {error}")))).transpose()
}

fn commit(text: &str) -> Result<String, ApiError> {
    let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text.to_lowercase()) } else { Err(ApiError::query("commit: expected 40 or 64 hex digits")) }
}

fn operator(text: &str, policy: &Policy) -> Result<OperatorId, ApiError> {
    let named = policy.enrolled().iter().find(|operator| policy.name_of(operator) == text).copied();
    let unknown = || ApiError::query("operator: expected `ed25519:` and 64 hex digits, or a name from the policy");
    named.map_or_else(|| text.parse().map_err(|_| unknown()), Ok)
}

pub(super) fn limited(given: Option<usize>, default: usize, max: usize) -> Result<usize, ApiError> {
    match given.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        limit => Err(ApiError::query(format!("limit {limit} is not between 1 and {max}"))),
    }
}
