//! The HTTP client: asks a coordinator that is believed in nothing.
//!
//! Every answer has a size limit and a time-out, redirects are not followed, and the only thing
//! that is read from an answer without being checked elsewhere is where to look next. The routes
//! are those of `docs/spec/http-api.md`.

use std::time::Duration;

use quorate_proto::bundle::BUNDLE_BYTES_MAX;
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest, Purl};
use quorate_tally::policy::POLICY_BYTES_MAX;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use crate::text::visible;

/// Largest answer that is a list of artifacts or rows, in bytes.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Verdicts that are asked for at once: a page of them stays far below the largest answer.
const VERDICTS_A_PAGE: usize = 200;

/// Largest answer with one verdict, in bytes: the envelope, and the same verdict once more.
const VERDICT_BYTES_MAX: usize = 512 * 1024;

/// Largest answer to what is handed in, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// For a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// For a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    base: Url,
    http: reqwest::Client,
}

/// An answer that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// Nobody said which coordinator.
    #[error("no coordinator is named")]
    NotNamed,
    /// Not the address of one.
    #[error("`{0}` is no http or https address")]
    Address(String),
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
    /// No answer, or it broke off.
    #[error("no answer from {url}")]
    Unreachable {
        /// What was asked for.
        url: Url,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is none.
    #[error("{url} answers with status {status}")]
    Status {
        /// What was asked for.
        url: Url,
        /// The status code.
        status: u16,
    },
    /// What was handed in is not taken.
    #[error("the coordinator refuses it as `{error}`: {detail}")]
    Refused {
        /// The name of the refusal.
        error: String,
        /// A sentence for people.
        detail: String,
    },
    /// More than anybody needs.
    #[error("{url} answers with more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: Url,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not the JSON that was expected.
    #[error("the answer of {url} cannot be read")]
    Malformed {
        /// What was asked for.
        url: Url,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

/// `artifacts/{digest}` and `packages`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ArtifactList {
    /// One a slot. Other fields are the coordinator's opinion, which is not asked here.
    pub(crate) artifacts: Vec<ArtifactId>,
    /// Whether there are more.
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// `verdicts`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct VerdictList {
    /// One an artifact, newest first. What the verdicts say is the coordinator's opinion.
    pub(crate) verdicts: Vec<ArtifactId>,
    /// Where the next page begins.
    pub(crate) next: Option<u64>,
}

/// `artifacts/{digest}/verdict`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerdictAnswer {
    /// The exact bytes.
    pub(crate) envelope: String,
    /// Where it is said to stand in the log.
    pub(crate) log_index: Option<u64>,
}

/// `artifacts/{digest}/results`.
#[derive(Debug, Deserialize)]
pub(crate) struct ResultsAnswer {
    /// Items about the slot.
    pub(crate) results: Vec<ItemAnswer>,
    /// Commitments to the slot's task.
    #[serde(default)]
    pub(crate) commitments: Vec<ItemAnswer>,
    /// Checks that bear out results of the slot.
    #[serde(default)]
    pub(crate) checks: Vec<ItemAnswer>,
    /// Envelopes of what people have declared about the slot.
    #[serde(default)]
    pub(crate) declarations: Vec<String>,
    /// Pairs that contradict each other.
    #[serde(default)]
    pub(crate) equivocations: Vec<[ItemAnswer; 2]>,
}

/// A feed item as text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ItemAnswer {
    certificate: String,
    envelope: String,
}

/// `declarations`.
#[derive(Debug, Default, Deserialize)]
struct DeclarationList {
    declarations: Vec<DeclarationRow>,
}

#[derive(Debug, Deserialize)]
struct DeclarationRow {
    envelope: String,
}

/// `declarations`, to one that was handed in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeclaredAnswer {
    /// Where it is said to stand in the log.
    pub(crate) log_index: u64,
}

/// Why something is not taken.
#[derive(Debug, Deserialize)]
struct RefusalAnswer {
    error: String,
    hint: String,
}

/// `affected`.
#[derive(Debug, Deserialize)]
pub(crate) struct AffectedAnswer {
    /// Pointers to evidence.
    pub(crate) affected: Vec<AffectedRow>,
    /// Whether there are more.
    #[serde(default)]
    pub(crate) truncated: bool,
}

/// A pointer to a result that is said to be affected.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AffectedRow {
    /// What it is about.
    pub(crate) artifact: ArtifactId,
    /// The result's envelope.
    pub(crate) result: Digest,
}

impl From<ItemAnswer> for FeedItem {
    fn from(item: ItemAnswer) -> Self {
        Self { certificate: item.certificate.into_bytes(), envelope: item.envelope.into_bytes() }
    }
}

impl Server {
    /// The coordinator at `address`.
    pub(crate) fn at(address: Option<&str>) -> Result<Self, ServerError> {
        let text = address.ok_or(ServerError::NotNamed)?;
        let base = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| ServerError::Address(text.to_owned()))?;
        let client = match client(&base).build() {
            // A fresh machine has no CA certificates, and plain HTTP needs none.
            Err(_) if base.scheme() == "http" => client(&base).tls_certs_only([]).build(),
            client => client,
        };
        Ok(Self { http: client.map_err(ServerError::Setup)?, base })
    }

    /// Which artifacts have these bytes.
    pub(crate) async fn artifacts(&self, digest: &Digest) -> Result<Option<ArtifactList>, ServerError> {
        self.json(self.url(&["api", "v1", "artifacts", &digest.to_string()]), LIST_BYTES_MAX).await
    }

    /// Which artifacts a package has.
    pub(crate) async fn package(&self, purl: &Purl) -> Result<Option<ArtifactList>, ServerError> {
        let mut url = self.url(&["api", "v1", "packages"]);
        url.query_pairs_mut().append_pair("purl", &purl.to_string());
        self.json(url, LIST_BYTES_MAX).await
    }

    /// A page of all artifacts that the coordinator has a verdict on.
    pub(crate) async fn verdicts(&self, before: Option<u64>) -> Result<VerdictList, ServerError> {
        let mut url = self.url(&["api", "v1", "verdicts"]);
        url.query_pairs_mut().append_pair("limit", &VERDICTS_A_PAGE.to_string());
        if let Some(before) = before {
            url.query_pairs_mut().append_pair("before", &before.to_string());
        }
        Ok(self.json(url, LIST_BYTES_MAX).await?.unwrap_or_default())
    }

    /// The coordinator's verdict.
    pub(crate) async fn verdict(&self, artifact: &ArtifactId) -> Result<Option<VerdictAnswer>, ServerError> {
        self.json(self.artifact_url(artifact, "verdict"), VERDICT_BYTES_MAX).await
    }

    /// The results of the artifact's slot.
    pub(crate) async fn results(&self, artifact: &ArtifactId) -> Result<Option<ResultsAnswer>, ServerError> {
        self.json(self.artifact_url(artifact, "results"), BUNDLE_BYTES_MAX).await
    }

    /// The bundle's bytes.
    pub(crate) async fn bundle(&self, artifact: &ArtifactId) -> Result<Option<Vec<u8>>, ServerError> {
        self.bytes(self.artifact_url(artifact, "bundle"), BUNDLE_BYTES_MAX).await
    }

    /// The rows that match every pair of parameter and value.
    pub(crate) async fn affected(&self, query: &[(&str, String)]) -> Result<AffectedAnswer, ServerError> {
        let mut url = self.url(&["api", "v1", "affected"]);
        url.query_pairs_mut().extend_pairs(query);
        let answer = self.json(url, LIST_BYTES_MAX).await?;
        Ok(answer.unwrap_or(AffectedAnswer { affected: Vec::new(), truncated: false }))
    }

    /// The coordinator's policy.
    pub(crate) async fn policy(&self) -> Result<Option<Vec<u8>>, ServerError> {
        self.bytes(self.url(&["api", "v1", "policy"]), POLICY_BYTES_MAX).await
    }

    /// A content-addressed file. Whatever has another digest is as good as absent.
    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ServerError> {
        let bytes = self.bytes(self.url(&["api", "v1", "blobs", &digest.to_string()]), BLOB_BYTES_MAX).await?;
        Ok(bytes.filter(|bytes| Digest::of(bytes) == *digest))
    }

    /// A file of the log by its path, or of a witness.
    pub(crate) async fn log_file(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, ServerError> {
        self.bytes(self.url(&path.split('/').collect::<Vec<_>>()), limit).await
    }

    /// Envelopes of the newest declarations.
    pub(crate) async fn declarations(&self) -> Result<Vec<Vec<u8>>, ServerError> {
        let list: Option<DeclarationList> = self.json(self.url(&["api", "v1", "declarations"]), BUNDLE_BYTES_MAX).await?;
        Ok(list.unwrap_or_default().declarations.into_iter().map(|row| row.envelope.into_bytes()).collect())
    }

    /// Hands in a declaration.
    pub(crate) async fn declare(&self, envelope: &[u8]) -> Result<DeclaredAnswer, ServerError> {
        let url = self.url(&["api", "v1", "declarations"]);
        let unreachable = |source: reqwest::Error| ServerError::Unreachable { url: url.clone(), source: source.without_url() };
        let response = self.http.post(url.clone()).body(envelope.to_vec()).send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = self.body(&url, response, REFUSAL_BYTES_MAX).await?;
        let read = |source| ServerError::Malformed { url: url.clone(), source };
        if status == 200 {
            return serde_json::from_slice(&body).map_err(read);
        }
        match serde_json::from_slice::<RefusalAnswer>(&body) {
            Ok(RefusalAnswer { error, hint }) => Err(ServerError::Refused { error: visible(&error), detail: visible(&hint) }),
            Err(_) => Err(ServerError::Status { url, status }),
        }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn artifact_url(&self, artifact: &ArtifactId, part: &str) -> Url {
        let mut url = self.url(&["api", "v1", "artifacts", &artifact.digest.to_string(), part]);
        let slot = &artifact.slot;
        url.query_pairs_mut().append_pair("package", &slot.package.to_string()).append_pair("file", slot.file.as_str());
        url
    }

    async fn json<T: DeserializeOwned>(&self, url: Url, limit: usize) -> Result<Option<T>, ServerError> {
        let bytes = self.bytes(url.clone(), limit).await?;
        bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(|source| ServerError::Malformed { url, source })
    }

    /// The body of an answer with status 200; nothing for status 404.
    async fn bytes(&self, url: Url, limit: usize) -> Result<Option<Vec<u8>>, ServerError> {
        let unreachable = |source: reqwest::Error| ServerError::Unreachable { url: url.clone(), source: source.without_url() };
        let response = self.http.get(url.clone()).send().await.map_err(unreachable)?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(ServerError::Status { url, status }),
        }
        self.body(&url, response, limit).await.map(Some)
    }

    async fn body(&self, url: &Url, mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, ServerError> {
        let unreachable = |source: reqwest::Error| ServerError::Unreachable { url: url.clone(), source: source.without_url() };
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > limit {
                return Err(ServerError::TooLarge { url: url.clone(), limit });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

impl ServerError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotNamed => {
                Some("name a coordinator with --server URL or QUORATE_SERVER, or check a bundle: `quorate verify --bundle FILE`")
            }
            Self::Address(_) => Some("an address looks like https://quorate.example or http://127.0.0.1:8080"),
            Self::Unreachable { .. } => Some("is the coordinator running, and is the address right? A bundle can be checked without it"),
            Self::Setup(_) => Some("https needs the system's CA certificates; Debian's package is `ca-certificates`"),
            Self::Refused { error, .. } if error == "unknown-signer" => {
                Some("the coordinator's policy has to list the key under [[person]], or enrol the operator")
            }
            Self::Refused { .. } | Self::Status { .. } | Self::TooLarge { .. } | Self::Malformed { .. } => None,
        }
    }
}

/// Limits, and no proxy where a proxy of the environment could not reach: this machine's loopback.
fn client(base: &Url) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(ANSWER_TIMEOUT);
    if is_loopback(base) { builder.no_proxy() } else { builder }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
