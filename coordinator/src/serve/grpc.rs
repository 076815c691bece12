//! The gRPC service, on the same port and over the same door as everything else.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::middleware::{Next, from_fn_with_state};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use quorate_gossip::Accepted;
use quorate_listen::Share;
use quorate_proto::api;
use quorate_proto::api::submit_outcome::Status as Outcome;
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, ArtifactSlot, NodeId};
use tokio::time::timeout;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use super::json::{self, SlotQuery, pick};
use super::{App, Site, evidence};
use crate::rpc::coordinator_server::{Coordinator, CoordinatorServer};
use crate::store::VerdictView;
use crate::store::rows::SlotKey;
use crate::views::VerdictEvent;

/// Items in one submission.
const SUBMIT_ITEMS_MAX: usize = 1_000;

/// Bytes of one submission.
const SUBMIT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Files in one request. Their sum is bounded by the request.
const BLOBS_MAX: usize = 8;

/// What stands before a gRPC message: a flag and a length.
const FRAME_BYTES: usize = 5;

/// What a call that arrives takes up before anything of it has come.
const CALL_BYTES: usize = 256 * 1024;

/// Bytes of one request: the largest file and its framing, or a submission.
const REQUEST_BYTES_MAX: usize = 2 * BLOB_BYTES_MAX + 64 * 1024;

/// The gRPC routes.
pub(super) fn routes(app: &App) -> axum::Router {
    let service = CoordinatorServer::new(Service { app: Arc::clone(app) })
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(quorate_proto::bundle::BUNDLE_BYTES_MAX + 1024);
    let path = format!("/{}/{{*method}}", crate::rpc::coordinator_server::SERVICE_NAME);
    let guarded = from_fn_with_state(Arc::clone(app), guard);
    axum::Router::new().route_service(&path, service).layer(guarded)
}

/// Bounds what a call costs before anything of it is decoded: how many at once, how long, how many bytes,
/// how many items. A stream of verdicts is beyond this once it has begun.
async fn guard(
    State(app): State<App>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
    next: Next,
) -> axum::response::Response {
    let call = async {
        let (parts, body) = request.into_parts();
        let (share, lost) = app.limits.arriving.take(from.ip(), CALL_BYTES);
        // Its turn comes when it is whole: slow senders are nobody else's wait.
        let coming = async {
            let body = whole(body, &share).await?;
            let turn = app.limits.calls.acquire().await.map_err(|_| Status::unavailable("stopping"))?;
            Ok::<_, Status>((body, turn))
        };
        let (body, _turn) = tokio::select! {
            arrived = coming => arrived?,
            () = lost.told() => {
                app.ingest.metrics().reject("crowded-out");
                return Err(Status::unavailable("more calls arrive than there is room for; hand it in once more"));
            }
        };
        drop(share);
        if !has_few_fields(body.get(FRAME_BYTES..).unwrap_or_default()) {
            app.ingest.metrics().reject("oversized-submission");
            return Err(Status::invalid_argument("a request has at most 1,000 items"));
        }
        Ok(next.run(axum::extract::Request::from_parts(parts, body.into())).await)
    };
    match timeout(app.request_timeout, call).await {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => status.into_http(),
        Err(_) => Status::deadline_exceeded("the call took too long; hand it in once more").into_http(),
    }
}

/// A request's body once all of it has come.
async fn whole(body: Body, share: &Share) -> Result<Bytes, Status> {
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok().filter(|chunk| whole.len() + chunk.len() <= REQUEST_BYTES_MAX + FRAME_BYTES);
        let chunk = chunk.ok_or_else(|| Status::resource_exhausted("the request is too large, or broke off"))?;
        share.grow(chunk.len());
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Whether a message has at most [`SUBMIT_ITEMS_MAX`] fields at its top. An empty item is two bytes on the
/// wire and dozens once decoded. What is malformed is left to the decoder.
fn has_few_fields(mut message: &[u8]) -> bool {
    for _ in 0..SUBMIT_ITEMS_MAX {
        if message.is_empty() {
            return true;
        }
        let Ok((tag, wire_type)) = decode_key(&mut message) else { return true };
        if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
            return true;
        }
    }
    message.is_empty()
}

struct Service {
    app: App,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    /// The checkpoint that is handed out.
    fn checkpoint(&self) -> Result<Bytes, Status> {
        let note = self.app.store().log().shown().note;
        if note.is_empty() { Err(Status::unavailable("the witnesses have not cosigned a checkpoint yet")) } else { Ok(note) }
    }
}

#[tonic::async_trait]
impl Coordinator for Service {
    async fn submit(&self, request: Request<api::SubmitRequest>) -> Answer<api::SubmitResponse> {
        let request = request.into_inner();
        if request.encoded_len() > SUBMIT_BYTES_MAX {
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
        let blobs = request.into_inner().blobs;
        if blobs.len() > BLOBS_MAX {
            self.app.ingest.metrics().reject("oversized-submission");
            return Err(Status::invalid_argument("at most 8 files, of 8 MiB in sum, are handed in at once"));
        }
        let blobs = blobs.into_iter().map(Vec::from).collect();
        let taken = self.app.ingest.keep_blobs(blobs).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let taken = taken.into_iter().flatten().map(|digest| digest.as_bytes().to_vec().into()).collect();
        Ok(Response::new(api::SubmitBlobsResponse { taken }))
    }

    async fn get_verdict(&self, request: Request<api::GetVerdictRequest>) -> Answer<api::VerdictView> {
        let api::GetVerdictRequest { artifact, package, file } = request.into_inner();
        let artifact = find(&self.app, &artifact, slot(package, file)?).await?;
        let view = self.app.read(move |store| store.verdict(&artifact)).await?;
        let view = view.ok_or_else(|| Status::not_found("the first verdict is being made: ask again"))?;
        Ok(Response::new(verdict(&view)))
    }

    async fn list_results(&self, request: Request<api::ListResultsRequest>) -> Answer<api::ListResultsResponse> {
        let api::ListResultsRequest { artifact, package, file } = request.into_inner();
        let artifact = find(&self.app, &artifact, slot(package, file)?).await?;
        let found = self.app.read(move |store| {
            let size = store.log().published().head.size;
            store.results(SlotKey::of(&artifact.slot), size)
        });
        let found = found.await?;
        let items = found
            .results
            .iter()
            .map(|(_, item, _)| item)
            .chain(&found.commitments)
            .chain(&found.checks)
            .map(FeedItem::to_message)
            .collect();
        let declarations = found.declarations.iter().map(|declared| declared.bytes().to_vec().into()).collect();
        Ok(Response::new(api::ListResultsResponse { items, declarations }))
    }

    async fn get_checkpoint(&self, _: Request<api::GetCheckpointRequest>) -> Answer<api::CheckpointView> {
        Ok(Response::new(api::CheckpointView { note: self.checkpoint()? }))
    }

    async fn get_tile(&self, request: Request<api::GetTileRequest>) -> Answer<api::TileView> {
        let path = request.into_inner().path;
        let content = self.app.read(move |store| Ok(evidence::log_file(store.log(), &path))).await??;
        Ok(Response::new(api::TileView { content: content.into() }))
    }

    async fn prove_entry(&self, request: Request<api::ProveEntryRequest>) -> Answer<api::EntryProofView> {
        let api::ProveEntryRequest { node, sequence } = request.into_inner();
        let node = <[u8; 32]>::try_from(node.as_ref()).ok().and_then(|node| NodeId::from_bytes(node).ok());
        let node = node.ok_or_else(|| Status::invalid_argument("a node is the 32 bytes of its key"))?;
        let checkpoint = self.checkpoint()?;
        let proof = self.app.read(move |store| store.entry_proof(node, sequence)).await?;
        let proof = proof.map_or_else(Default::default, |proof| proof.to_string().into());
        Ok(Response::new(api::EntryProofView { note: checkpoint, proof }))
    }

    async fn get_bundle(&self, request: Request<api::GetBundleRequest>) -> Answer<api::BundleView> {
        let api::GetBundleRequest { artifact, package, file } = request.into_inner();
        let artifact = find(&self.app, &artifact, slot(package, file)?).await?;
        let bundle = self.app.read(move |store| json::bundle(store, &artifact)).await?;
        let bundle = bundle.ok_or_else(|| Status::not_found("the first verdict is being made: ask again"))?;
        Ok(Response::new(api::BundleView { bundle: json::readable(bundle)? }))
    }

    type WatchVerdictsStream = Pin<Box<dyn Stream<Item = Result<api::VerdictView, Status>> + Send>>;

    async fn watch_verdicts(&self, _: Request<api::WatchVerdictsRequest>) -> Answer<Self::WatchVerdictsStream> {
        let events = BroadcastStream::new(self.app.views.watch()).map(|event| match event {
            Ok(VerdictEvent::Published(view)) => Ok(verdict(&view)),
            // An error ends the stream. The list of verdicts has what was missed.
            Ok(VerdictEvent::Gap) => Err(Status::data_loss("the store was taken up again")),
            Err(lagged) => Err(Status::data_loss(lagged.to_string())),
        });
        Ok(Response::new(Box::pin(events)))
    }
}

/// Empty fields name no slot.
fn slot(package: String, file: String) -> Result<Option<ArtifactSlot>, Status> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(SlotQuery { package: given(package), file: given(file) }.slot()?)
}

async fn find(app: &Arc<Site>, text: &str, slot: Option<ArtifactSlot>) -> Result<ArtifactId, Status> {
    let digest = json::digest(text)?;
    Ok(pick(app.read(move |store| store.artifacts(digest, slot.as_ref())).await?)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ever_so_many_empty_items_are_refused_before_they_are_decoded() {
        let message = |items: usize| api::SubmitRequest { items: vec![api::FeedItem::default(); items] }.encode_to_vec();
        assert!(has_few_fields(&message(0)) && has_few_fields(&message(1_000)));
        assert!(!has_few_fields(&message(1_001)) && !has_few_fields(&message(1 << 20)));
        assert!(has_few_fields(&[0xff; 40]), "malformed: the decoder says so");
    }
}
