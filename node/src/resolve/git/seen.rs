//! What a forge was last seen to list of a repository: its branches and tags, and where it is now.
//!
//! Kept by the address, for this user alone. For what it may stand is [`Currency`]'s business: what a forge listed a
//! day after a release has the release's tag.

use std::time::SystemTime;

use quorate_proto::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::super::ResolveError;
use super::miss::{self, Miss};
use crate::cache::{Cache, Currency};
use crate::source::git::GitError;
use crate::source::git::remote;

/// What a forge listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Seen {
    /// The address that was asked for: a copy can be renamed by others who may write to the cache.
    of: String,
    /// Where the repository is.
    pub(super) url: String,
    /// The address that it has now, if it was moved.
    pub(super) moved: Option<String>,
    /// Everything that the forge lists, as text.
    pub(super) state: String,
    at: Timestamp,
}

impl Seen {
    /// What is remembered of the repository at `url`.
    pub(super) fn kept(url: &str, cache: &Cache) -> Option<Self> {
        let seen: Self = serde_json::from_slice(&cache.own_derived_bytes(&place(url))?).ok()?;
        (seen.of == url).then_some(seen)
    }

    /// Asks the forge: one redirection on the same host is followed, every other one is said.
    pub(super) async fn ask(address: &str, url: &str) -> Result<Self, ResolveError> {
        let at = Timestamp::from(SystemTime::now());
        let seen = |url_now: String, moved, state| Self { of: url.to_owned(), url: url_now, moved, state, at };
        let error = match remote::advertised(url).await {
            Ok(advertised) => return Ok(seen(url.to_owned(), None, advertised.state)),
            Err(error) => error,
        };
        let is_sent_away = matches!(&error, GitError::Failed { message, .. } if message.contains("returned error: 30"));
        let target = if is_sent_away { remote::redirection(url).await } else { None };
        let Some(to) = target else { return Err(miss::of(address, error)) };
        if host(&to).is_none() || host(&to) != host(url) {
            return Err(Miss::Moved { address: address.to_owned(), to }.into());
        }
        let advertised = remote::advertised(&to).await.map_err(|error| miss::of(address, error))?;
        Ok(seen(to.clone(), Some(to), advertised.state))
    }

    /// Remembers it.
    pub(super) fn keep(&self, cache: &Cache) -> std::io::Result<()> {
        cache.put_own_derived(&place(&self.of), &[&serde_json::to_vec(self)?])
    }

    /// Whether it tells what there was of a release of this time.
    pub(super) fn serves(&self, published_at: Option<Timestamp>) -> bool {
        Currency::before(published_at).allows(self.at, Timestamp::from(SystemTime::now()))
    }
}

fn place(url: &str) -> String {
    format!("forge-{}-{}", rustix::process::geteuid().as_raw(), Digest::of(url.as_bytes()).to_hex())
}

/// The host of an address, with its port.
fn host(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{port}", url.host_str()?))
}
