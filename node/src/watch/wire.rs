//! Questions to registries over HTTP: bounded in size and time, never tried twice here. Rests are the
//! machine's business; what a server says about when to come back is passed on.

use std::time::{Duration, SystemTime};

use quorate_proto::{Digest, Timestamp};
use reqwest::{Client, Response, redirect};
use url::Url;

use super::problem::{Kind, Problem};
use crate::registry::date::rfc2822;

const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Longest silence in an answer.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Longest whole answer.
const ANSWER_MAX: Duration = Duration::from_mins(10);
const REDIRECTS_MAX: usize = 5;
/// How long an overloaded server is left alone that does not say for how long.
const OVERLOADED_REST: Duration = Duration::from_mins(1);
/// Longest rest that a server is granted.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// A client. Cheap to clone. Proxies and certificates come from the usual environment variables.
#[derive(Clone, Debug)]
pub struct Wire {
    client: Client,
}

/// A question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where.
    pub url: Url,
    /// Media types that are read.
    pub accept: &'static str,
    /// Most bytes of an answer.
    pub limit: u64,
    /// What the last answer was known by, if an unchanged one need not be sent.
    pub validator: Option<String>,
    /// The body of a POST in XML; a GET without.
    pub post: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A document.
    Body(Body),
    /// The same as last time.
    Unchanged,
}

/// A document.
#[derive(Clone, Debug)]
pub struct Body {
    /// Where it came from in the end: relative addresses in it refer to this.
    pub url: Url,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is known by.
    pub validator: Option<String>,
    /// `X-PyPI-Last-Serial`.
    pub serial: Option<u64>,
}

impl Ask {
    /// A plain GET.
    pub fn get(url: Url, accept: &'static str, limit: u64) -> Self {
        Self { url, accept, limit, validator: None, post: None }
    }
}

impl Wire {
    /// A client for registries.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("quorate-node/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .timeout(ANSWER_MAX)
            .redirect(redirect::Policy::limited(REDIRECTS_MAX))
            .build()?;
        Ok(Self { client })
    }

    /// Asks, and reads the whole answer.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, Problem> {
        let request = match &ask.post {
            Some(body) => self.client.post(ask.url.clone()).header("content-type", "text/xml").body(body.clone()),
            None => self.client.get(ask.url.clone()),
        };
        let request = request.header("accept", ask.accept);
        let request = match &ask.validator {
            Some(validator) => request.header("if-none-match", validator),
            None => request,
        };
        let response = request.send().await.map_err(|error| Problem::new(Kind::Passing, chain(&ask.url, error)))?;
        if response.status().as_u16() == 304 && ask.validator.is_some() {
            return Ok(Answer::Unchanged);
        }
        refuse(&ask.url, &response, Timestamp::from(SystemTime::now()))?;
        body(response, ask).await.map(Answer::Body)
    }

    /// Asks where an unchanged answer is as good as none.
    pub async fn body(&self, ask: &Ask) -> Result<Body, Problem> {
        match self.ask(ask).await? {
            Answer::Body(body) => Ok(body),
            Answer::Unchanged => Err(Problem::malformed(format!("{} says `unchanged` to a question that knew nothing", ask.url))),
        }
    }

    /// Brings a file whose digest and size are known.
    pub async fn file(&self, url: Url, size_bytes: u64, digest: Digest) -> Result<Vec<u8>, Problem> {
        let body = self.body(&Ask::get(url, "*/*", size_bytes)).await?;
        let got = Digest::of(&body.bytes);
        if got == digest {
            Ok(body.bytes)
        } else {
            Err(Problem::new(Kind::Untrusted, format!("{} has digest {got}, its index says {digest}", body.url)))
        }
    }
}

/// What a status other than success means.
fn refuse(url: &Url, response: &Response, now: Timestamp) -> Result<(), Problem> {
    let status = response.status().as_u16();
    if response.status().is_success() {
        return Ok(());
    }
    // Registries made of files answer 405 for what is not there.
    if matches!(status, 404 | 405 | 410 | 451) {
        return Err(Problem::new(Kind::Absent, format!("{url} does not exist (status {status})")));
    }
    let asked = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(|text| retry_after(text, now));
    let not_before = asked.or_else(|| (status == 429).then(|| now.plus(OVERLOADED_REST)));
    Err(Problem { not_before, ..Problem::new(Kind::Passing, format!("{url} answered with status {status}")) })
}

/// `Retry-After`: seconds, or a date. At most a day from now; `None` for anything else.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    let at = match text.parse::<u64>() {
        Ok(seconds) => now.plus(Duration::from_secs(seconds.min(RETRY_AFTER_MAX.as_secs()))),
        Err(_) => rfc2822(text)?,
    };
    Some(at.max(now).min(now.plus(RETRY_AFTER_MAX)))
}

async fn body(mut response: Response, ask: &Ask) -> Result<Body, Problem> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (validator, serial) = (header("etag"), header("x-pypi-last-serial").and_then(|text| text.parse().ok()));
    let url = response.url().clone();
    let too_large = || Problem::malformed(format!("{url} has more than {} bytes", ask.limit));
    if response.content_length().is_some_and(|length| length > ask.limit) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Problem::new(Kind::Passing, chain(&ask.url, error)))? {
        if (bytes.len() + chunk.len()) as u64 > ask.limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { url, bytes, validator, serial })
}

fn chain(url: &Url, error: reqwest::Error) -> String {
    format!("{url}: {:#}", anyhow::Error::new(error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_in_two_ways_when_to_come_back() {
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let after = |text| retry_after(text, now).map(|at| at.unix_seconds() - 1_700_000_000);
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Tue, 14 Nov 2023 22:23:20 GMT"), Some(600));
        assert_eq!(after("Tue, 14 Nov 2000 22:23:20 GMT"), Some(0), "a time that has passed");
        assert_eq!(after("99999999999"), Some(86_400), "no longer than a day");
        assert_eq!(after("soon"), None);
    }
}
