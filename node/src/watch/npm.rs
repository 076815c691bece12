//! npm registries: the feed of changes, and packuments.

use std::collections::BTreeMap;

use quorate_proto::Purl;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::listing::{Artifact, Change, Currency, Listing, Page, Position, Rest};
use super::problem::{Kind, Problem};
use super::wire::{Answer, Ask, Body, Wire};
use crate::registry::npm::packument::{self, Entry, word};
use crate::registry::npm::{PackageName, Packument};

const ACCEPT_BRIEF: &str = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8";
const ACCEPT_FULL: &str = "application/json";
/// Rows asked for at a time.
pub const ROWS: usize = 1000;
/// Largest page of the feed: rows are about 150 bytes.
const CHANGES_BYTES_MAX: u64 = 16 << 20;
/// Largest packument; the largest known has about 100 MiB.
const PACKUMENT_BYTES_MAX: u64 = 256 << 20;
/// Longest token of a place in the feed.
const SEQUENCE_BYTES_MAX: usize = 4096;

/// A registry.
#[derive(Clone, Debug)]
pub struct Npm {
    /// Its base address, ending in a slash.
    pub registry: Url,
    /// The database with its feed, ending in a slash.
    pub changes: Url,
    /// Set when package URLs name this registry.
    pub repository: Option<String>,
}

impl Npm {
    /// What has changed behind `since`.
    pub async fn poll(&self, wire: &Wire, since: Option<&Position>) -> Result<Page, Problem> {
        let Some(since) = since else {
            let head = self.end(wire).await?;
            return Ok(Page {
                head: Some(head.clone()),
                oldest: None,
                changes: Vec::new(),
                found: Vec::new(),
                next: head,
                rest: Rest::Nothing,
            });
        };
        let mut url = self.join("_changes")?;
        url.query_pairs_mut().append_pair("since", &since.token).append_pair("limit", &ROWS.to_string());
        let body = wire.body(&Ask::get(url, ACCEPT_FULL, CHANGES_BYTES_MAX)).await?;
        let changes = changes(&body.bytes).map_err(|reason| wrong(&body, &reason))?;
        let is_full = changes.rows >= ROWS;
        // A full page ends at its last row, whatever the database holds by now.
        let next = if is_full { changes.last_row.unwrap_or(changes.last) } else { changes.last };
        // An empty page looks the same at the end of the feed and far behind it.
        let head = if changes.rows == 0 { self.head(wire).await.ok() } else { None };
        Ok(Page {
            head,
            oldest: None,
            changes: changes.changes,
            found: Vec::new(),
            next,
            rest: if is_full { Rest::More } else { Rest::Nothing },
        })
    }

    /// Where the feed ends: what the database says of itself, or what a feed says that is asked for nothing.
    async fn end(&self, wire: &Wire) -> Result<Position, Problem> {
        match self.head(wire).await {
            Err(problem) if matches!(problem.kind, Kind::Absent | Kind::Malformed) => {}
            head => return head,
        }
        let mut url = self.join("_changes")?;
        url.query_pairs_mut().append_pair("since", "now").append_pair("limit", "1");
        let body = wire.body(&Ask::get(url, ACCEPT_FULL, CHANGES_BYTES_MAX)).await?;
        changes(&body.bytes).map(|changes| changes.last).map_err(|reason| wrong(&body, &reason))
    }

    async fn head(&self, wire: &Wire) -> Result<Position, Problem> {
        let body = wire.body(&Ask::get(self.changes.clone(), ACCEPT_FULL, CHANGES_BYTES_MAX)).await?;
        database(&body.bytes).map_err(|reason| wrong(&body, &reason))
    }

    /// The files of a package. With the times of publication only where they are needed: they are large.
    pub async fn look(
        &self,
        wire: &Wire,
        package: &Purl,
        validator: Option<String>,
        full: Times,
    ) -> Result<Option<(Listing, Option<String>)>, Problem> {
        let name = PackageName::of(package).map_err(|error| Problem::malformed(error.to_string()))?;
        let url = self.registry.join(&name.encoded()).map_err(|error| Problem::malformed(error.to_string()))?;
        let accept = if full == Times::Needed { ACCEPT_FULL } else { ACCEPT_BRIEF };
        let Answer::Body(body) = wire.ask(&Ask { validator, ..Ask::get(url, accept, PACKUMENT_BYTES_MAX) }).await? else { return Ok(None) };
        let listing = packument::parse(&body.bytes, &body.url).and_then(|document| listing(&document, &name, self.repository.as_deref()));
        Ok(Some((listing.map_err(|reason| wrong(&body, &reason))?, body.validator)))
    }

    fn join(&self, part: &str) -> Result<Url, Problem> {
        self.changes.join(part).map_err(|error| Problem::malformed(error.to_string()))
    }
}

/// Whether times of publication are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// They are.
    Needed,
    /// They are not.
    Unneeded,
}

/// A page of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Packages that changed.
    pub changes: Vec<Change>,
    /// All rows, also of what is no package.
    pub rows: usize,
    /// The place of the last row.
    pub last_row: Option<Position>,
    /// The place that the server gives to go on from.
    pub last: Position,
}

/// Reads a page of `_changes`. Design documents, deletions and names that are no package's are passed over.
pub fn changes(bytes: &[u8]) -> Result<Changes, String> {
    #[derive(Deserialize)]
    struct Feed {
        results: Vec<Row>,
        last_seq: Value,
    }
    #[derive(Deserialize)]
    struct Row {
        seq: Value,
        id: String,
        #[serde(default)]
        deleted: bool,
    }
    let feed: Feed = serde_json::from_slice(bytes).map_err(|error| format!("not the JSON of a changes feed: {error}"))?;
    let mut changes: BTreeMap<Purl, Change> = BTreeMap::new();
    let mut last_row = None;
    for row in &feed.results {
        last_row = Some(position(&row.seq)?);
        let package = row.id.parse::<PackageName>().ok().and_then(|name| name.package());
        if let Some(package) = package.filter(|_| !row.deleted) {
            changes.insert(package.clone(), Change { package, versions: [].into(), serial: None });
        }
    }
    let last = position(&feed.last_seq)?;
    Ok(Changes { changes: changes.into_values().collect(), rows: feed.results.len(), last_row, last })
}

/// Reads what a database says of itself: the end of its feed.
pub fn database(bytes: &[u8]) -> Result<Position, String> {
    #[derive(Deserialize)]
    struct Database {
        update_seq: Value,
    }
    let database: Database = serde_json::from_slice(bytes).map_err(|error| format!("not what a database says of itself: {error}"))?;
    position(&database.update_seq)
}

/// A place: a number, or a number with something behind a hyphen that only the server understands.
fn position(value: &Value) -> Result<Position, String> {
    match value {
        Value::Number(number) => number.as_u64().map(Position::at).ok_or_else(|| format!("{number} is no place in a feed")),
        Value::String(text) if text.len() <= SEQUENCE_BYTES_MAX => {
            let digits = text.split('-').next().unwrap_or_default();
            let number = digits.parse().map_err(|_| "a place in the feed that begins with no number".to_owned())?;
            Ok(Position { number, token: text.clone() })
        }
        _ => Err("a place in the feed that is neither a number nor a short text".to_owned()),
    }
}

/// The files that a package's document lists.
pub fn listing(document: &Packument, name: &PackageName, repository: Option<&str>) -> Result<Listing, String> {
    if document.name.as_deref() != Some(name.as_str()) {
        return Err(format!("a packument of {:.200}, asked for {name}", document.name.as_deref().unwrap_or("nothing")));
    }
    let latest = document.tags.get("latest");
    let artifact = |(version, entry): (&String, &Entry)| {
        let package = name.purl(version)?;
        let checksum = word(&entry.dist.integrity).map(str::to_owned).or_else(|| Some(format!("sha1:{}", word(&entry.dist.shasum)?)));
        Some(Artifact {
            package: repository.map_or(package.clone(), |url| package.in_repository(url)),
            // `https://…/@scope/name/-/name-1.0.0.tgz`
            file: document.tarball(entry)?.path_segments()?.next_back()?.parse().ok()?,
            checksum: checksum.unwrap_or_default(),
            published_at: document.times.get(version).copied(),
            currency: if Some(version) == latest { Currency::Current } else { Currency::Past },
        })
    };
    Ok(Listing { artifacts: document.versions.iter().filter_map(artifact).collect(), serial: None })
}

fn wrong(body: &Body, reason: &str) -> Problem {
    Problem::malformed(format!("{}: {reason}", body.url))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_page_of_changes_names_packages_and_the_place_behind_it() {
        let page = br#"{"results":[{"seq":3,"id":"left-pad","changes":[{"rev":"1-x"}]},{"seq":"4-abc","id":"@scope/name","changes":[]},
            {"seq":5,"id":"_design/app","changes":[]},{"seq":6,"id":"gone","changes":[],"deleted":true},{"seq":7,"id":"../../etc","changes":[]},
            {"seq":8,"id":"JSONStream","changes":[]}],"last_seq":8}"#;
        let changes = changes(page).unwrap();
        let names: Vec<_> = changes.changes.iter().map(|change| change.package.to_string()).collect();
        assert_eq!(names, ["pkg:npm/JSONStream", "pkg:npm/left-pad", "pkg:npm/%40scope/name"]);
        assert_eq!((changes.rows, changes.last.number), (6, 8));
        for page in
            [&br#"{"results":[],"last_seq":-1}"#[..], br#"{"results":[]}"#, br#"{"results":[{"seq":1,"id":"a"}],"last_seq":1"#, b"<html>"]
        {
            assert!(super::changes(page).is_err());
        }
        assert_eq!(
            database(br#"{"db_name":"registry","update_seq":"12-xyz"}"#).unwrap(),
            Position { number: 12, token: "12-xyz".to_owned() }
        );
    }

    #[test]
    fn a_packument_lists_one_file_a_version() {
        let text = br#"{"name":"@scope/name","dist-tags":{"latest":"1.0.1"},"versions":{
            "1.0.0":{"dist":{"tarball":"https://registry.example/@scope/name/-/name-1.0.0.tgz","shasum":"00"}},
            "1.0.1":{"dist":{"tarball":"https://registry.example/@scope/name/-/name-1.0.1.tgz","integrity":"sha512-xx"}},
            "1.0.2+b":{}},"time":{"created":"2020-01-01T00:00:00.000Z","1.0.1":"2020-01-02T00:00:00.000Z"}}"#;
        let document = packument::parse(text, &"https://registry.example/".parse().unwrap()).unwrap();
        let listing = listing(&document, &"@scope/name".parse().unwrap(), None).unwrap();
        let all: Vec<_> =
            listing.artifacts.iter().map(|a| (a.package.to_string(), a.file.as_str(), a.checksum.as_str(), a.currency)).collect();
        assert_eq!(
            all,
            [
                ("pkg:npm/%40scope/name@1.0.0".to_owned(), "name-1.0.0.tgz", "sha1:00", Currency::Past),
                ("pkg:npm/%40scope/name@1.0.1".to_owned(), "name-1.0.1.tgz", "sha512-xx", Currency::Current)
            ]
        );
        assert_eq!(listing.artifacts[1].published_at.unwrap().unix_seconds(), 1_577_923_200);
        assert!(super::listing(&document, &"other".parse().unwrap(), None).unwrap_err().contains("asked for other"));
    }
}
