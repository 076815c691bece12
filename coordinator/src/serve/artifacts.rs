//! Routes about one artifact or one package.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use quorate_proto::{ArtifactId, ArtifactSlot, Digest, Purl};
use serde::Deserialize;

use super::json::{self, Artifacts, Package, SlotQuery, artifact_row, pick, readable};
use super::{ApiError, App, Site};
use crate::store::{Budget, StoreError};
use crate::views::Rendered;

/// Artifacts of one package in one answer.
const PACKAGE_ARTIFACTS_MAX: usize = 500;

type Slot = Result<Query<SlotQuery>, QueryRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackageQuery {
    purl: String,
}

pub(super) async fn artifacts(State(app): State<App>, Path(text): Path<String>) -> Result<Json<Artifacts>, ApiError> {
    let digest = json::digest(&text)?;
    let rows = app.read(move |store| store.artifacts(digest, None)?.into_iter().map(|artifact| artifact_row(store, artifact)).collect());
    let artifacts: Vec<_> = rows.await?;
    if artifacts.is_empty() {
        return Err(ApiError::not_found("no result about this artifact was seen"));
    }
    Ok(Json(Artifacts { artifacts }))
}

pub(super) async fn verdict(State(app): State<App>, Path(text): Path<String>, slot: Slot) -> Result<Response, ApiError> {
    let (digest, slot) = (json::digest(&text)?, named(slot)?);
    if let Some(kept) = app.views.verdict(&digest).filter(|kept| slot.as_ref().is_none_or(|slot| *slot == kept.artifact.slot)) {
        return Ok(json_body(kept.body));
    }
    rendered_verdict(&app, digest, slot).await.map(json_body)
}

async fn rendered_verdict(app: &Site, digest: Digest, slot: Option<ArtifactSlot>) -> Result<Bytes, ApiError> {
    let epoch = app.views.epoch();
    let (artifact, sole) = app.read(move |store| Ok((pick(store.artifacts(digest, slot.as_ref())?), store.is_sole(digest)))).await?;
    let artifact = artifact?;
    let asked = artifact.clone();
    let view = app.read(move |store| store.verdict(&asked)).await?.ok_or_else(no_verdict_yet)?;
    let body = Bytes::from(json::render_verdict(&view));
    if sole {
        app.views.keep_verdict(epoch, Rendered { artifact: Arc::new(artifact), body: body.clone() });
    }
    Ok(body)
}

pub(super) async fn results(State(app): State<App>, Path(text): Path<String>, slot: Slot) -> Result<Response, ApiError> {
    let artifact = find(&app, &text, slot).await?;
    app.read(move |store| json::results(store, &artifact)).await.and_then(readable).map(json_body)
}

pub(super) async fn bundle(State(app): State<App>, Path(text): Path<String>, slot: Slot) -> Result<Response, ApiError> {
    let artifact = find(&app, &text, slot).await?;
    app.read(move |store| json::bundle(store, &artifact)).await?.ok_or_else(no_verdict_yet).and_then(readable).map(json_body)
}

pub(super) async fn packages(
    State(app): State<App>,
    query: Result<Query<PackageQuery>, QueryRejection>,
) -> Result<Json<Package>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::query(error.body_text()))?;
    let purl: Purl = query.purl.parse().map_err(|error: quorate_proto::purl::PurlError| ApiError::query(error.to_string()))?;
    let asked = purl.clone();
    let rows = app.read(move |store| {
        let (artifacts, truncated) = store.artifacts_of(&asked, PACKAGE_ARTIFACTS_MAX, &Budget::default())?;
        let rows: Result<Vec<_>, StoreError> = artifacts.into_iter().map(|artifact| artifact_row(store, artifact)).collect();
        Ok((rows?, truncated))
    });
    let (artifacts, truncated) = rows.await?;
    Ok(Json(Package { purl, truncated, artifacts }))
}

async fn find(app: &Site, text: &str, slot: Slot) -> Result<ArtifactId, ApiError> {
    let (digest, slot) = (json::digest(text)?, named(slot)?);
    pick(app.read(move |store| store.artifacts(digest, slot.as_ref())).await?)
}

fn named(slot: Slot) -> Result<Option<ArtifactSlot>, ApiError> {
    slot.map_err(|error| ApiError::query(error.body_text()))?.0.slot()
}

fn no_verdict_yet() -> ApiError {
    ApiError::not_found("results were seen, the first verdict is being made: ask again")
}

fn json_body(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
