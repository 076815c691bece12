//! Errors as the API says them: a status, a name from a closed list, a hint for people.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::StoreError;

/// An error on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    name: &'static str,
    hint: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    hint: &'a str,
}

impl ApiError {
    /// An error with its name and hint.
    pub fn new(status: StatusCode, name: &'static str, hint: impl Into<String>) -> Self {
        Self { status, name, hint: hint.into() }
    }

    /// Nothing known under this name.
    pub fn not_found(hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", hint)
    }

    /// A query that cannot be read.
    pub fn query(hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-query", hint)
    }

    /// Too much is asked at once.
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too many questions at once; ask again in a moment")
    }

    /// What was asked for is more than anybody would read.
    pub fn too_large() -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "too-large", "what was entered about this file is more than readers take")
    }

    /// Our own state is in doubt.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the coordinator could not read its own store; its log says why")
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The hint.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "reading for an answer failed");
        Self::internal()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(Body { error: self.name, hint: &self.hint })).into_response()
    }
}

impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        match error.status {
            StatusCode::NOT_FOUND => Self::not_found(error.hint),
            StatusCode::BAD_REQUEST => Self::invalid_argument(error.hint),
            StatusCode::CONFLICT => Self::failed_precondition(error.hint),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(error.hint),
            _ => Self::internal(error.hint),
        }
    }
}
