//! Python indexes: the changelog by serial, the list of projects where there is none, and project pages.

pub mod changelog;
pub mod xmlrpc;

use quorate_proto::Purl;
use serde::Deserialize;
use url::Url;

use super::listing::{Artifact, Change, Currency, Listing, Page, Position, Rest};
use super::problem::{Kind, Problem};
use super::wire::{Answer, Ask, Wire};
use crate::registry::address::AddressError;
use crate::registry::pypi::file_name::{Distribution, ProjectName};
use crate::registry::pypi::{INDEX_BYTES_MAX, PublishedFile, simple};

const ACCEPT: &str = "application/vnd.pypi.simple.v1+json";
/// Largest changelog page: about 50,000 entries of 300 bytes have 15 MiB.
const CHANGELOG_BYTES_MAX: u64 = 128 << 20;
/// Largest list of projects; the largest known has about 40 MiB.
const PROJECTS_BYTES_MAX: u64 = 256 << 20;
/// Most projects of an index.
const PROJECTS_MAX: usize = 5_000_000;

/// An index.
#[derive(Clone, Debug)]
pub struct Pypi {
    /// The base address of its simple API, ending in a slash.
    pub index: Url,
    /// Where its XML-RPC is.
    pub changelog: Url,
    /// Set when package URLs name this index.
    pub repository: Option<String>,
}

impl Pypi {
    /// The changelog beside a simple index: `…/simple/` → `…/pypi`.
    pub fn changelog_beside(index: &Url) -> Result<Url, AddressError> {
        index.join("../pypi").map_err(|_| AddressError::Malformed { text: index.to_string(), origin: "the index" })
    }

    /// What has changed behind `since`.
    pub async fn poll(&self, wire: &Wire, since: Option<&Position>) -> Result<Page, Problem> {
        match self.by_changelog(wire, since).await {
            // The index has no XML-RPC, or something else answers in its place.
            Err(problem) if matches!(problem.kind, Kind::Absent | Kind::Malformed) => match self.by_projects(wire, since, &problem).await {
                Err(other) if other.kind == Kind::Absent => Err(problem),
                answer => answer,
            },
            answer => answer,
        }
    }

    async fn by_changelog(&self, wire: &Wire, since: Option<&Position>) -> Result<Page, Problem> {
        let last = self.call(wire, &xmlrpc::call("changelog_last_serial", None)).await?;
        let last = changelog::last_serial(&last).map_err(|reason| self.wrong(&reason))?;
        let Some(since) = since.filter(|since| since.number < last) else {
            return Ok(page(last, Vec::new(), Position::at(last), Rest::Nothing));
        };
        let entries = self.call(wire, &xmlrpc::call("changelog_since_serial", Some(since.number))).await?;
        let entries = changelog::entries(&entries).map_err(|reason| self.wrong(&reason))?;
        let next = entries.iter().map(|entry| entry.serial).max().unwrap_or(last).max(since.number);
        let rest = if next < last { Rest::More } else { Rest::Nothing };
        Ok(page(last, changelog::changes(&entries), Position::at(next), rest))
    }

    async fn call(&self, wire: &Wire, call: &str) -> Result<Vec<u8>, Problem> {
        let mut ask = Ask::get(self.changelog.clone(), "text/xml", CHANGELOG_BYTES_MAX);
        ask.post = Some(call.to_owned());
        Ok(wire.body(&ask).await?.bytes)
    }

    async fn by_projects(&self, wire: &Wire, since: Option<&Position>, before: &Problem) -> Result<Page, Problem> {
        let body = wire.body(&Ask::get(self.index.clone(), ACCEPT, PROJECTS_BYTES_MAX)).await?;
        let projects =
            projects(&body.bytes).map_err(|reason| Problem::malformed(format!("{}: {reason}; and {}", body.url, before.words)))?;
        let changes = match since {
            Some(since) => {
                projects.changed.into_iter().filter(|change| change.serial.is_some_and(|serial| serial > since.number)).collect()
            }
            None => Vec::new(),
        };
        Ok(page(projects.last, changes, Position::at(projects.last), Rest::Nothing))
    }

    /// The files of a project.
    pub async fn look(&self, wire: &Wire, package: &Purl, validator: Option<String>) -> Result<Option<(Listing, Option<String>)>, Problem> {
        let name: ProjectName = package.name().parse().map_err(|_| Problem::malformed(format!("{package} is no project's name")))?;
        let url = self.index.join(&format!("{name}/")).map_err(|error| Problem::malformed(error.to_string()))?;
        let ask = Ask { validator, ..Ask::get(url, ACCEPT, INDEX_BYTES_MAX) };
        let Answer::Body(body) = wire.ask(&ask).await? else { return Ok(None) };
        let mut listing = listing(&body.bytes, &body.url, &name, self.repository.as_deref())
            .map_err(|reason| Problem::malformed(format!("{}: {reason}", body.url)))?;
        listing.serial = listing.serial.or(body.serial);
        Ok(Some((listing, body.validator)))
    }

    fn wrong(&self, reason: &changelog::ChangelogError) -> Problem {
        let words = format!("{}: {reason}", self.changelog);
        match reason {
            // The server is there and refuses, such as for too many questions.
            changelog::ChangelogError::Call(xmlrpc::CallError::Fault(_)) => Problem::new(Kind::Passing, words),
            _ => Problem::malformed(words),
        }
    }
}

fn page(head: u64, changes: Vec<Change>, next: Position, rest: Rest) -> Page {
    Page { head: Some(Position::at(head)), oldest: None, changes, found: Vec::new(), next, rest }
}

/// An index's list of projects, each with the serial of its last change (PEP 691).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projects {
    /// The last change of all.
    pub last: u64,
    /// The last change of each.
    pub changed: Vec<Change>,
}

/// Reads a list of projects. One without serials says nothing of changes and is refused.
pub fn projects(bytes: &[u8]) -> Result<Projects, String> {
    #[derive(Deserialize)]
    struct List {
        meta: Meta,
        projects: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        name: String,
        #[serde(rename = "_last-serial")]
        serial: Option<u64>,
    }
    let page: List = serde_json::from_slice(bytes).map_err(|error| format!("not the JSON of a list of projects: {error}"))?;
    let last = page.meta.serial.ok_or("the list of projects has no serial: this index has no feed")?;
    if page.projects.len() > PROJECTS_MAX {
        return Err(format!("{} projects, limit {PROJECTS_MAX}", page.projects.len()));
    }
    let change = |row: Row| {
        let name: ProjectName = row.name.parse().ok()?;
        let package = format!("pkg:pypi/{name}").parse().ok()?;
        Some(Change { package, versions: [].into(), serial: Some(row.serial?) })
    };
    Ok(Projects { last, changed: page.projects.into_iter().filter_map(change).collect() })
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "_last-serial")]
    serial: Option<u64>,
}

/// Reads a project's page: its distributions. What is no distribution of this project is passed over.
pub fn listing(bytes: &[u8], base: &Url, name: &ProjectName, repository: Option<&str>) -> Result<Listing, String> {
    #[derive(Deserialize)]
    struct Serial {
        meta: Meta,
    }
    let project = simple::parse(bytes, base)?;
    let serial = serde_json::from_slice::<Serial>(bytes).ok().and_then(|page| page.meta.serial);
    let of_name =
        |file: PublishedFile| Some((Distribution::parse(&file.name).filter(|distribution| distribution.project == name.as_str())?, file));
    let files: Vec<_> = project.files.into_iter().filter_map(of_name).collect();
    let versions = || files.iter().map(|(distribution, _)| &distribution.version);
    let newest = versions().filter(|version| !version.any_prerelease()).max().or_else(|| versions().max()).cloned();
    let artifact = |(distribution, file): (Distribution, PublishedFile)| {
        let package = Purl::pypi(name.as_str(), &distribution.version.to_string()).ok()?;
        Some(Artifact {
            package: repository.map_or(package.clone(), |url| package.in_repository(url)),
            file: file.name,
            checksum: file.sha256.map(|digest| format!("sha256:{}", digest.to_hex())).unwrap_or_default(),
            published_at: file.uploaded_at,
            currency: if Some(&distribution.version) == newest.as_ref() { Currency::Current } else { Currency::Past },
        })
    };
    Ok(Listing { artifacts: files.into_iter().filter_map(artifact).collect(), serial })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_changelog_lies_beside_the_index() {
        let index = "https://registry.example/simple/".parse().unwrap();
        assert_eq!(Pypi::changelog_beside(&index).unwrap().as_str(), "https://registry.example/pypi");
    }

    #[test]
    fn a_project_page_lists_its_distributions_and_says_how_old_it_is() {
        let page = br#"{"meta":{"api-version":"1.1","_last-serial":77},"files":[
            {"filename":"demo-1.0.tar.gz","url":"a","hashes":{},"upload-time":"2024-12-21T18:38:41Z"},
            {"filename":"demo-1.1-py3-none-any.whl","url":"b"},{"filename":"demo-2.0rc1.tar.gz","url":"c"},
            {"filename":"demo-1.0-py2.7.egg","url":"d"},{"filename":"other-1.0.tar.gz","url":"e"}]}"#;
        let listing = listing(page, &"https://registry.example/simple/demo/".parse().unwrap(), &"Demo".parse().unwrap(), None).unwrap();
        let all: Vec<_> = listing.artifacts.iter().map(|a| (a.package.to_string(), a.currency)).collect();
        assert_eq!(
            all,
            [
                ("pkg:pypi/demo@1.0".to_owned(), Currency::Past),
                ("pkg:pypi/demo@1.1".to_owned(), Currency::Current),
                ("pkg:pypi/demo@2.0rc1".to_owned(), Currency::Past)
            ]
        );
        assert_eq!(listing.serial, Some(77));
    }

    #[test]
    fn a_list_of_projects_without_serials_is_no_feed() {
        let with = br#"{"meta":{"api-version":"1.0","_last-serial":9},"projects":[{"name":"A.b","_last-serial":8},{"name":"../x","_last-serial":9}]}"#;
        let projects = projects(with).unwrap();
        assert_eq!((projects.last, projects.changed.len()), (9, 1));
        assert_eq!(projects.changed[0].package.to_string(), "pkg:pypi/a-b");
        assert!(super::projects(br#"{"meta":{"api-version":"1.0"},"projects":[]}"#).is_err());
    }
}
