//! cargo registries: the RSS feed of updates, and the files of a sparse index.

use std::collections::BTreeMap;

use quorate_proto::{Purl, Timestamp};
use url::Url;

use super::listing::{Artifact, Change, Currency, Listing, Page, Position, Rest};
use super::problem::{Kind, Problem};
use super::wire::{Answer, Ask, Wire};
use super::xml::{Piece, Reader};
use crate::registry::cargo::{CrateName, INDEX_BYTES_MAX, Line, parse_whole};
use crate::registry::date::rfc2822;

/// Largest feed.
const FEED_BYTES_MAX: u64 = 16 << 20;
const ITEMS_MAX: usize = 10_000;
/// How far before the cursor items are looked at again: a feed is written a little after what it tells of.
const OVERLAP_SECONDS: u64 = 600;

/// A registry.
#[derive(Clone, Debug)]
pub struct Cargo {
    /// The base address of its sparse index, ending in a slash.
    pub index: Url,
    /// Its feed of updates.
    pub updates: Option<Url>,
    /// Set when package URLs name this registry.
    pub repository: Option<String>,
}

impl Cargo {
    /// What the feed shows. It is a window: it shows the latest, whatever is asked for.
    pub async fn poll(&self, wire: &Wire, since: Option<&Position>) -> Result<Page, Problem> {
        let url =
            self.updates.clone().ok_or_else(|| Problem::new(Kind::Absent, "no feed of updates is configured (watch.cargo.updates_url)"))?;
        let body = wire.body(&Ask::get(url, "application/rss+xml, text/xml; q=0.9", FEED_BYTES_MAX)).await?;
        let updates = updates(&body.bytes).map_err(|reason| Problem::malformed(format!("{}: {reason}", body.url)))?;
        Ok(page(&updates, since))
    }

    /// The releases of a crate.
    pub async fn look(&self, wire: &Wire, package: &Purl, validator: Option<String>) -> Result<Option<(Listing, Option<String>)>, Problem> {
        let name: CrateName = package.name().parse().map_err(|_| Problem::malformed(format!("{package} is no crate's name")))?;
        let url = self.index.join(&name.index_path()).map_err(|error| Problem::malformed(error.to_string()))?;
        let Answer::Body(body) = wire.ask(&Ask { validator, ..Ask::get(url, "*/*", INDEX_BYTES_MAX) }).await? else { return Ok(None) };
        let lines = parse_whole(&body.bytes, &name).map_err(|reason| Problem::malformed(format!("{}: {reason}", body.url)))?;
        Ok(Some((listing(&lines, self.repository.as_deref()), body.validator)))
    }
}

/// One release that a feed tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The crate.
    pub package: Purl,
    /// Its version.
    pub version: String,
    /// When.
    pub at: Timestamp,
}

/// The page that a window of updates makes for one who has read up to `since`.
fn page(updates: &[Update], since: Option<&Position>) -> Page {
    let number = |update: &Update| u64::try_from(update.at.unix_seconds()).unwrap_or(0);
    let newest = updates.iter().map(number).max();
    let end = Position::at(newest.or_else(|| Some(since?.number)).unwrap_or(0));
    let mut changes: BTreeMap<&Purl, Change> = BTreeMap::new();
    let from = since.map(|since| since.number.saturating_sub(OVERLAP_SECONDS));
    for update in updates.iter().filter(|update| from.is_some_and(|from| number(update) >= from)) {
        let package = &update.package;
        let change = changes.entry(package).or_insert_with(|| Change { package: package.clone(), versions: [].into(), serial: None });
        change.versions.insert(update.version.clone());
    }
    Page {
        head: Some(end.clone()),
        oldest: updates.iter().map(number).min(),
        changes: changes.into_values().collect(),
        found: Vec::new(),
        next: end,
        rest: Rest::Nothing,
    }
}

/// Reads a feed of updates (RSS 2.0). A crate and its version stand in `crates:name` and `crates:version`,
/// or at the end of the link. An item that names none, or no time, is refused: a feed that is not understood
/// would be a feed that nothing happens in.
pub fn updates(bytes: &[u8]) -> Result<Vec<Update>, String> {
    let mut reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    let mut updates = Vec::new();
    let mut item: Option<BTreeMap<&str, String>> = None;
    let mut is_rss = false;
    while let Some(piece) = reader.piece().map_err(|error| error.to_string())? {
        match piece {
            Piece::Open("rss") => is_rss = true,
            Piece::Open("item") if reader.path().len() == 3 => item = Some(BTreeMap::new()),
            Piece::Close("item") => {
                if let Some(fields) = item.take() {
                    updates.push(update(&fields)?);
                }
            }
            Piece::Text(text) if reader.path().len() == 4 => {
                if let (Some(fields), Some(name)) = (&mut item, reader.path().last()) {
                    fields.entry(*name).or_default().push_str(&text);
                }
            }
            _ => {}
        }
        if updates.len() > ITEMS_MAX {
            return Err(format!("more than {ITEMS_MAX} items"));
        }
    }
    if is_rss { Ok(updates) } else { Err("not an RSS feed".to_owned()) }
}

fn update(fields: &BTreeMap<&str, String>) -> Result<Update, String> {
    let field = |name: &str| fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let mut link = field("link").unwrap_or_default().trim_end_matches('/').rsplit('/');
    let (version_in_link, name_in_link) = (link.next(), link.next());
    let name = field("crates:name").or(name_in_link).filter(|name| name.parse::<CrateName>().is_ok()).ok_or("an item without a crate")?;
    let version = field("crates:version").or(version_in_link).filter(|version| is_version(version)).ok_or("an item without a version")?;
    let at = field("pubDate").and_then(rfc2822).ok_or("an item without a time")?;
    let package = format!("pkg:cargo/{name}").parse().map_err(|_| "an item without a crate")?;
    Ok(Update { package, version: version.to_owned(), at })
}

/// The files that a crate's index lists: one a release.
pub fn listing(lines: &[Line], repository: Option<&str>) -> Listing {
    let newest = lines.iter().filter(|line| !line.is_yanked && line.version.pre.is_empty()).map(|line| &line.version).max();
    let newest = newest.or_else(|| Some(&lines.last()?.version));
    let artifact = |line: &Line| {
        let package: Purl = format!("pkg:cargo/{}@{}", line.name, line.version.to_string().replace('+', "%2B")).parse().ok()?;
        Some(Artifact {
            package: repository.map_or(package.clone(), |url| package.in_repository(url)),
            file: line.file_name()?,
            checksum: format!("sha256:{}", line.checksum.to_hex()),
            published_at: line.published_at,
            currency: if Some(&line.version) == newest { Currency::Current } else { Currency::Past },
        })
    };
    Listing { artifacts: lines.iter().filter_map(artifact).collect(), serial: None }
}

fn is_version(version: &str) -> bool {
    (1..=100).contains(&version.len())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
        && version.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_feed_of_updates_names_crates_versions_and_times() {
        let item = |inside: &str| {
            format!(
                "<rss version=\"2.0\" xmlns:crates=\"x\"><channel><title>t</title><item>{inside}<pubDate>Tue, 14 Nov 2023 22:13:20 +0000</pubDate></item></channel></rss>"
            )
        };
        let expected = Update {
            package: "pkg:cargo/itoa".parse().unwrap(),
            version: "1.0.15".to_owned(),
            at: Timestamp::from_unix_seconds(1_700_000_000),
        };
        for inside in [
            "<title>New crate version published: itoa v1.0.15</title><link>https://registry.example/crates/itoa/1.0.15</link>",
            "<link>x</link><crates:name>itoa</crates:name><crates:version>1.0.15</crates:version>",
        ] {
            assert_eq!(updates(item(inside).as_bytes()).unwrap(), std::slice::from_ref(&expected));
        }
        assert_eq!(updates(b"<rss><channel/></rss>").unwrap(), []);
        for text in
            [item("<link>x</link>"), "<html/>".to_owned(), "<rss><channel><item><link>a/b/1.0.0</link></item></channel></rss>".to_owned()]
        {
            assert!(updates(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_says_how_far_it_reaches_back_and_repeats_a_little() {
        let at = |seconds: i64| Update {
            package: format!("pkg:cargo/c{seconds}").parse().unwrap(),
            version: "1.0.0".into(),
            at: Timestamp::from_unix_seconds(seconds),
        };
        let window = [at(3000), at(2500), at(1000)];
        assert_eq!(page(&window, None).changes, [], "what was there when the watch began");
        let page = page(&window, Some(&Position::at(3000)));
        assert_eq!(page.changes.iter().map(|change| change.package.name()).collect::<Vec<_>>(), ["c2500", "c3000"]);
        assert_eq!((page.oldest, page.next.number), (Some(1000), 3000));
        assert_eq!(super::page(&[], Some(&Position::at(5))).next.number, 5);
    }

    #[test]
    fn an_index_file_lists_one_file_a_release() {
        let sum = "0".repeat(64);
        let line =
            |version: &str, more: &str| format!("{{\"name\":\"Demo\",\"vers\":\"{version}\",\"cksum\":\"{sum}\",\"deps\":[]{more}}}\n");
        let text = line("2.0.0", "")
            + &line("1.0.10", "")
            + &line("2.1.0", ",\"yanked\":true")
            + &line("3.0.0-rc.1+x", ",\"pubtime\":\"2025-01-01T00:00:00Z\"");
        let read = |text: &str| parse_whole(text.as_bytes(), &"demo".parse().unwrap());
        let listing = listing(&read(&text).unwrap(), None);
        let current: Vec<_> = listing.artifacts.iter().filter(|a| a.currency == Currency::Current).map(|a| a.file.to_string()).collect();
        assert_eq!(current, ["Demo-2.0.0.crate"]);
        assert_eq!(listing.artifacts[3].package.to_string(), "pkg:cargo/Demo@3.0.0-rc.1%2Bx");
        for text in [line("1.0.0", "").replace("Demo", "other"), line("1.0.0", "").replace("00", "x"), "{".to_owned(), line("../1", "")] {
            assert!(read(&text).is_err(), "{text}");
        }
    }
}
