//! The gRPC service, on the same port and over the same door as everything else.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use quorate_gossip::Accepted;
use quorate_proto::api;
use quorate_proto::api::submit_outcome::Status as Outcome;
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use super::json::{self, pick};
use super::{App, Site, evidence};
use crate::rpc::coordinator_server::{Coordinator, CoordinatorServer};
use crate::store::VerdictView;
use crate::store::rows::SlotKey;

/// Items in one submission.
const SUBMIT_ITEMS_MAX: usize = 1_000;

/// Bytes of one submission.
const SUBMIT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of one request: the largest file and its framing, or a submission.
const REQUEST_BYTES_MAX: usize = 2 * BLOB_BYTES_MAX + 64 * 1024;

/// The gRPC routes.
pub(super) fn routes(app: App) -> axum::Router {
    let service = CoordinatorServer::new(Service { app })
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(quorate_proto::bundle::BUNDLE_BYTES_MAX + 1024);
    let path = format!("/{}/{{*method}}", crate::rpc::coordinator_server::SERVICE_NAME);
    axum::Router::new().route_service(&path, service)
}

struct Service {
    app: App,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Coordinator for Service {
    async fn submit(&self, request: Request<api::SubmitRequest>) -> Answer<api::SubmitResponse> {
        let request = request.into_inner();
        if request.items.len() > SUBMIT_ITEMS_MAX || request.encoded_len() > SUBMIT_BYTES_MAX {
            self.app.ingest.metrics().reject("oversized-submission");
            return Err(Status::invalid_argument("a submission has at most 1,000 items and 4 MiB"));
        }
        let items = request.items.iter().map(FeedItem::from_message).collect();
        let accepted = self.app.ingest.accept(items).await;
        if accepted.contains(&Accepted::Unavailable) {
            return Err(Status::unavailable("the store is being taken up again; hand everything in once more"));
        }
        Ok(Response::new(api::SubmitResponse { outcomes: accepted.into_iter().map(outcome).collect() }))
    }

    async fn submit_blobs(&self, request: Request<api::SubmitBlobsRequest>) -> Answer<api::SubmitBlobsResponse> {
        let blobs = request.into_inner().blobs.into_iter().map(Vec::from).collect();
        let taken = self.app.ingest.keep_blobs(blobs).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let taken = taken.into_iter().flatten().map(|digest| digest.as_bytes().to_vec().into()).collect();
        Ok(Response::new(api::SubmitBlobsResponse { taken }))
    }

    async fn get_verdict(&self, request: Request<api::GetVerdictRequest>) -> Answer<api::VerdictView> {
        let artifact = find(&self.app, &request.get_ref().artifact).await?;
        let view = self.app.read(move |store| store.verdict(&artifact)).await?;
        let view = view.ok_or_else(|| Status::not_found("the first verdict is being made: ask again"))?;
        Ok(Response::new(verdict(&view)))
    }

    async fn list_results(&self, request: Request<api::ListResultsRequest>) -> Answer<api::ListResultsResponse> {
        let artifact = find(&self.app, &request.get_ref().artifact).await?;
        let found = self.app.read(move |store| {
            let size = store.log().published().head.size;
            store.results(SlotKey::of(&artifact.slot), size)
        });
        let items = found.await?.results.iter().map(|(_, item, _)| item.to_message()).collect();
        Ok(Response::new(api::ListResultsResponse { items }))
    }

    async fn get_checkpoint(&self, _: Request<api::GetCheckpointRequest>) -> Answer<api::CheckpointView> {
        let note = self.app.store().log().published().note.clone();
        Ok(Response::new(api::CheckpointView { note }))
    }

    async fn get_tile(&self, request: Request<api::GetTileRequest>) -> Answer<api::TileView> {
        let path = request.into_inner().path;
        let content = self.app.read(move |store| Ok(evidence::log_file(store.log(), &path))).await??;
        Ok(Response::new(api::TileView { content: content.into() }))
    }

    async fn get_bundle(&self, request: Request<api::GetBundleRequest>) -> Answer<api::BundleView> {
        let artifact = find(&self.app, &request.get_ref().artifact).await?;
        let bundle = self.app.read(move |store| json::bundle(store, &artifact)).await?;
        let bundle = bundle.ok_or_else(|| Status::not_found("the first verdict is being made: ask again"))?;
        Ok(Response::new(api::BundleView { bundle: bundle.to_bytes().into() }))
    }

    type WatchVerdictsStream = Pin<Box<dyn Stream<Item = Result<api::VerdictView, Status>> + Send>>;

    async fn watch_verdicts(&self, _: Request<api::WatchVerdictsRequest>) -> Answer<Self::WatchVerdictsStream> {
        let events = BroadcastStream::new(self.app.views.watch()).map(|event| match event {
            Ok(event) => Ok(verdict(&event.view)),
            // The list of verdicts has what was missed.
            Err(lagged) => Err(Status::data_loss(lagged.to_string())),
        });
        Ok(Response::new(Box::pin(events)))
    }
}

async fn find(app: &Arc<Site>, text: &str) -> Result<quorate_proto::ArtifactId, Status> {
    let digest = json::digest(text)?;
    Ok(pick(app.read(move |store| store.artifacts(digest)).await?, None)?)
}

fn verdict(view: &VerdictView) -> api::VerdictView {
    let artifact = &view.verdict.artifact;
    api::VerdictView {
        artifact: artifact.digest.to_string(),
        package: artifact.slot.package.to_string(),
        file: artifact.slot.file.to_string(),
        state: view.verdict.state.name().to_owned(),
        envelope: view.envelope.clone().into(),
        log_index: view.log_index,
    }
}

fn outcome(accepted: Accepted) -> api::SubmitOutcome {
    let (status, reason, expected_sequence) = match accepted {
        Accepted::New => (Outcome::Accepted, "", 0),
        Accepted::Duplicate => (Outcome::Duplicate, "", 0),
        Accepted::Gap { expected } => (Outcome::Gap, "", expected),
        Accepted::Equivocation => (Outcome::Rejected, "equivocation", 0),
        Accepted::Rejected(reason) => (Outcome::Rejected, reason, 0),
        Accepted::Unavailable => (Outcome::Unspecified, "unavailable", 0),
    };
    api::SubmitOutcome { status: status.into(), reason: reason.to_owned(), expected_sequence }
}
