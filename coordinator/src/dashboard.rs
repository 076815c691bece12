//! The dashboard: pages that need no script and load nothing.
//!
//! Everything from a result is hostile: maud escapes it, [`words`] cuts it and takes control and bidi
//! characters out, and nothing from a result ever becomes a link. The one stylesheet is inlined, and the
//! Content-Security-Policy names its hash.

mod artifact;
mod chooser;
mod evidence;
mod home;
mod layout;
mod operators;
mod proof;
mod words;

use std::sync::LazyLock;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64;
use maud::Markup;
use quorate_proto::Digest;

use crate::serve::{ApiError, App, SlotQuery, pick};
use layout::{Frame, message};

static STYLE: &str = include_str!("dashboard/style.css");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64.encode(Digest::of(STYLE.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 fits a header")
});

/// `/`: what to look at first, then the newest verdicts.
pub(crate) async fn home(State(app): State<App>, query: Result<Query<home::HomeQuery>, QueryRejection>) -> Response {
    let query = match query.map_err(|error| ApiError::query(error.body_text())).and_then(|Query(query)| query.check()) {
        Ok(query) => query,
        Err(error) => return failure(&app, &error),
    };
    let operators = app.policy.enrolled().len();
    match app.read(move |store| home::Home::load(store, &query)).await {
        Ok(home) => page(&app, StatusCode::OK, "Verdicts", &home.render(app.policy.threshold(), operators)),
        Err(error) => failure(&app, &error),
    }
}

/// `/artifact/{digest}`: one verdict with everything behind it.
pub(crate) async fn artifact(
    State(app): State<App>,
    Path(text): Path<String>,
    query: Result<Query<SlotQuery>, QueryRejection>,
) -> Response {
    match load_artifact(&app, &text, query).await {
        Ok(Found::One(found)) => page(&app, StatusCode::OK, &found.title(), &found.render(&app)),
        Ok(Found::Several(chooser)) => page(&app, StatusCode::OK, "Several places", &chooser.render()),
        Err(error) => failure(&app, &error),
    }
}

/// What stands under a digest.
enum Found {
    One(Box<artifact::ArtifactPage>),
    Several(chooser::Chooser),
}

async fn load_artifact(app: &App, text: &str, query: Result<Query<SlotQuery>, QueryRejection>) -> Result<Found, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::query(error.body_text()))?;
    let slot = query.slot()?;
    let digest: Digest = text.parse().map_err(|_| ApiError::not_found("an artifact's address ends in sha256: and 64 hex digits"))?;
    let artifacts = app.read(move |store| store.artifacts(digest, slot.as_ref())).await?;
    if artifacts.len() > 1 {
        return app.read(move |store| chooser::Chooser::load(store, artifacts)).await.map(Found::Several);
    }
    let artifact = pick(artifacts)?;
    app.read(move |store| artifact::ArtifactPage::load(store, artifact)).await.map(|page| Found::One(Box::new(page)))
}

/// `/operators`: who may vote.
pub(crate) async fn operators(State(app): State<App>) -> Response {
    let policy = std::sync::Arc::clone(&app.policy);
    match app.read(move |store| operators::Operators::load(store, &policy)).await {
        Ok(found) => page(&app, StatusCode::OK, "Operators", &found.render()),
        Err(error) => failure(&app, &error),
    }
}

fn failure(app: &App, error: &ApiError) -> Response {
    let title = if error.status() == StatusCode::NOT_FOUND { "Not found" } else { "This cannot be shown" };
    page(app, error.status(), title, &message(title, error.hint()))
}

fn page(app: &App, status: StatusCode, title: &str, body: &Markup) -> Response {
    let frame = Frame { title, style: STYLE, log_size: app.store().log().published().head.size, vkey: &app.vkey };
    let html = frame.render(body).into_string();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (status, headers, html).into_response()
}
