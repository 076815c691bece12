//! Debian's binary packages: those for all machines, and those for machines of this kind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use quorate_proto::result::{Outcome, Phase, RegistryView};
use quorate_proto::{Digest, FileName, Purl, Timestamp};
use serde_json::{Value, json};

use super::{Described, Ecosystem, Facilities, Given, ListError, Listed, Tried};
use crate::cache::Currency;
use crate::definition::Settings;
use crate::fetch::{Inputs, deb as fetch};
use crate::pipeline::ARTIFACT_BYTES_MAX;
use crate::plan::deb::{self as plan, Attempt, BuildPlan, Parts, Versions};
use crate::proxy::deb::OpenSuites;
use crate::rebuild::{Built, deb as rebuild};
use crate::registry::address::AddressError;
use crate::registry::deb::address::{self, Family};
use crate::registry::deb::index::{self, Binary, SourcePackage};
use crate::registry::deb::{OF_THE_HOUR, Suite};
use crate::registry::{Download, RegistryError};
use crate::release::deb::{self as release, Facts, OpenSuite};
use crate::release::{ChoiceError, Release};
use crate::resolve::{Candidate, LaidOut, ResolveError, Rung, deb as resolve};
use crate::source::tree;
use crate::workshop::{BuildError, Failure, Workshop};

/// Indexes that are kept in memory; one has about 30 MiB.
const INDEXES_MAX: usize = 3;
/// Largest `.dsc`.
const DSC_BYTES_MAX: u64 = 1 << 20;

/// Debian's binary packages.
#[derive(Debug)]
pub struct Deb {
    facilities: Facilities,
    indexes: Mutex<BTreeMap<Digest, Arc<Vec<Binary>>>>,
}

/// What is remembered of the indexes.
#[derive(Clone, Debug)]
pub struct Listing {
    suite: Suite,
    facts: Facts,
}

impl Deb {
    /// Nothing is asked yet.
    pub fn new(facilities: Facilities) -> Self {
        Self { facilities, indexes: Mutex::default() }
    }

    fn families(&self, package: &Purl) -> Result<Vec<Family>, ListError> {
        let configured = self.facilities.registries.get("deb").map(String::as_str);
        let is_debian = package.namespace() == "debian" || configured.is_some() || package.qualifier("repository_url").is_some();
        if !is_debian || !index::is_name(package.name()) {
            return Err(ChoiceError::NoProject(Box::new(package.clone())).into());
        }
        Ok(address::families(package, configured, &self.facilities.deb)?)
    }

    /// A suite with its packages. `None` when the archive has no such suite.
    async fn open(&self, suite: &Suite, index: &str, currency: Currency) -> Result<Option<OpenSuite>, RegistryError> {
        let Facilities { http, cache, .. } = &self.facilities;
        let signed = match suite.signed(http, currency).await {
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let Some(digest) = signed.release.digest(index) else { return Ok(None) };
        let held = || self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held().get(&digest).cloned();
        let packages = if let Some(packages) = known {
            packages
        } else {
            let (_, path) = suite.index(&signed, index, http, cache).await?;
            let read = tokio::task::spawn_blocking(move || index::binaries(&path)).await;
            let url = || Box::new(signed.url.clone());
            let read = read.map_err(|error| RegistryError::Disk { url: url(), source: std::io::Error::other(error) })?;
            Arc::new(read.map_err(|error| RegistryError::Malformed { url: url(), reason: format!("{index}: {error}") })?)
        };
        let mut kept = held();
        while kept.len() >= INDEXES_MAX && !kept.contains_key(&digest) {
            kept.pop_first();
        }
        kept.insert(digest, Arc::clone(&packages));
        drop(kept);
        Ok(Some(OpenSuite { suite: suite.clone(), signed, index: index.to_owned(), digest, packages }))
    }

    /// The entry in one release of Debian, if that has it.
    async fn look(
        &self,
        family: &Family,
        package: &Purl,
        wanted: Option<&FileName>,
        currency: Currency,
    ) -> Result<Option<Listing>, ListError> {
        let index = release::index_name(package.qualifier("arch"));
        let mut base = match address::base(&self.facilities.deb)? {
            Some(suite) => self.open(&suite, &index, OF_THE_HOUR).await?,
            None => None,
        };
        for suite in family {
            let Some(opened) = self.open(suite, &index, currency).await? else { continue };
            if let Some(binary) = release::choose(&opened.packages, package, wanted)? {
                let suites: Vec<_> = base.iter().chain([&opened]).collect();
                let folder = self.facilities.deb.buildinfo_dir.as_deref();
                let facts = Facts {
                    binary: binary.clone(),
                    suites: suites.iter().map(|opened| opened.suite.clone()).collect(),
                    dates: suites.iter().map(|opened| opened.signed.release.date).collect(),
                    is_mixed: release::is_mixed(&opened.packages, binary),
                    buildinfo: folder.and_then(|folder| release::buildinfo(folder, binary)),
                };
                return Ok(Some(Listing { suite: opened.suite, facts }));
            }
            base.get_or_insert(opened);
        }
        Ok(None)
    }

    /// The entry in the first release of Debian that has it. One that fails is told of only where no other has it.
    async fn find_in(
        &self,
        families: &[Family],
        package: &Purl,
        wanted: Option<&FileName>,
        currency: Currency,
    ) -> Result<Option<Listing>, ListError> {
        let mut failed = None;
        for family in families {
            match self.look(family, package, wanted, currency).await {
                Ok(None) => {}
                Err(ListError::Registry(error)) => failed = Some(error),
                other => return other,
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    async fn open_all(&self, release: &Release<Facts>) -> Result<OpenSuites, BuildError> {
        let mut all = Vec::new();
        for suite in &release.facts.suites {
            let opened = self.open(suite, &release::index_name(None), OF_THE_HOUR).await;
            all.extend(opened.map_err(|error| BuildError::Registry(crate::proxy::describe(&error)))?);
        }
        let Facilities { http, cache, .. } = self.facilities.clone();
        Ok(OpenSuites { all, http, cache })
    }
}

impl Ecosystem for Deb {
    type Listing = Listing;
    type Facts = Facts;
    type Manifest = SourcePackage;
    type Attempt = Attempt;
    type Plan = BuildPlan;

    const BUILD_TYPE: &'static str = "urn:quorate:build/deb/v1";
    const LADDER: &'static [Rung] = &[Rung::Index];
    const GIVEN: Given = Given::Fetched;

    async fn list(&self, package: &Purl, wanted: Option<&FileName>) -> Result<Listed<Listing>, ListError> {
        let observed_at = Timestamp::from(SystemTime::now());
        let families = self.families(package)?;
        // What was published a moment ago stands in no index of the last hour, and files may have gone from it.
        let found = match self.find_in(&families, package, wanted, OF_THE_HOUR).await {
            Ok(None) | Err(ListError::Registry(RegistryError::Checksum { .. })) => {
                self.find_in(&families, package, wanted, Currency::Now).await?
            }
            found => found?,
        };
        match (found, families.first().and_then(|family| family.first())) {
            (Some(listing), _) => listed(listing, observed_at),
            (None, None) => Err(AddressError::Unknown { client: "apt".to_owned() }.into()),
            (None, Some(suite)) => {
                Err(ChoiceError::UnknownVersion { package: Box::new(package.clone()), index: suite.archive.to_string() }.into())
            }
        }
    }

    async fn download(&self, listed: &Listed<Listing>, limit: u64) -> Result<Download, RegistryError> {
        let Listing { suite, facts } = &listed.listing;
        let url = suite.address(&facts.binary.path)?;
        self.facilities.http.download(&url, Some(facts.binary.digest), limit, &self.facilities.cache).await
    }

    async fn facts(&self, listed: Listed<Listing>, _download: &Download) -> Facts {
        listed.listing.facts
    }

    async fn candidates(&self, _rung: Rung, release: &Release<Facts>) -> Result<Vec<Candidate>, ResolveError> {
        resolve::candidates(release, &self.facilities.http, &self.facilities.cache).await
    }

    fn find(&self, release: &Release<Facts>, candidate: &Candidate, tree: &Path) -> Result<(PathBuf, SourcePackage), ResolveError> {
        let none = |what: &str| ResolveError::None(format!("{}: {what}", candidate.source.uri));
        let names = std::fs::read_dir(tree)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let name = names
            .into_iter()
            .find(|name| Path::new(name).extension().is_some_and(|extension| extension == "dsc"))
            .ok_or_else(|| none("it has no .dsc"))?;
        let bytes = tree::read(tree, &name, DSC_BYTES_MAX)?.ok_or_else(|| none("its .dsc is no file"))?;
        let mut source = index::dsc(&bytes).ok_or_else(|| none("its .dsc cannot be read"))?;
        let wanted = &release.facts.binary;
        if (&source.source, &source.version) != (&wanted.source, &wanted.source_version) {
            return Err(none(&format!("its .dsc is of {} {}", source.source, source.version)));
        }
        // A .dsc does not list itself.
        let digest = Digest::of(&bytes);
        source.files.push(index::SourceFile { name, size_bytes: bytes.len() as u64, digest });
        Ok((PathBuf::new(), source))
    }

    fn next_attempt(&self, tried: &[Tried<Attempt>], release: &Release<Facts>, _candidate: &Candidate) -> Option<Attempt> {
        next_attempt(tried, &release.facts)
    }

    async fn plan(
        &self,
        release: &Release<Facts>,
        _candidate: &Candidate,
        laid_out: &LaidOut<SourcePackage>,
        attempt: &Attempt,
    ) -> Result<BuildPlan, BuildError> {
        if let Some(field) = release.settings.keys().next() {
            return Err(Failure::found(Phase::Plan, format!("the definition sets {field}, which no Debian build reads")).into());
        }
        if release.file.as_str() != release::file_name(&release.facts.binary) {
            let reason = format!("{} is not the file that the index names", release.file);
            return Err(Failure::found(Phase::Plan, reason).into());
        }
        Ok(plan::plan(&release.facts, &laid_out.manifest, *attempt))
    }

    fn describe(&self, plan: &BuildPlan) -> Described {
        let parameters = json!({
            "source": plan.source.source,
            "sourceVersion": plan.source.version,
            "build": plan.build,
            "path": format!("{}/{}", plan::PLACE, plan.folder),
            "requires": plan.source.requires,
            "sourceDateEpoch": "debian/changelog",
            "buildinfo": plan.buildinfo.as_ref().map(|buildinfo| buildinfo.digest),
        });
        let Value::Object(parameters) = parameters else { unreachable!("an object literal") };
        let words = plan.source.requires.values().map(|text| text.replace('\n', " ")).collect::<Vec<_>>().join(", ");
        Described {
            words: words.chars().take(200).collect(),
            parameters,
            assists: plan.assists.clone(),
            settings: Settings::new(),
            tools: Vec::new(),
        }
    }

    async fn fetch(&self, release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Inputs, BuildError> {
        fetch::fetch(workshop, plan, self.open_all(release).await?).await
    }

    async fn rebuild(&self, release: &Release<Facts>, workshop: &Workshop, plan: &BuildPlan) -> Result<Built, BuildError> {
        rebuild::rebuild(workshop, plan, &release.file, &self.facilities.cache).await
    }
}

fn listed(listing: Listing, observed_at: Timestamp) -> Result<Listed<Listing>, ListError> {
    let binary = &listing.facts.binary;
    let url = listing.suite.address(&binary.path)?;
    let malformed = || RegistryError::Malformed { url: Box::new(url.clone()), reason: "it has no file name".to_owned() };
    let file = release::file_name(binary).parse().map_err(|_| malformed())?;
    let view = RegistryView {
        url: url.to_string(),
        size_bytes: binary.size_bytes,
        index_checksum: Some(binary.digest),
        published_at: None,
        observed_at,
    };
    let is_large = binary.size_bytes > ARTIFACT_BYTES_MAX;
    let refusal = release::refusal(binary).or(is_large.then_some(quorate_proto::result::NotAttemptedReason::TooLarge));
    Ok(Listed { file, view, refusal, listing })
}

/// What is tried next, after what came of the attempts before. Pure.
fn next_attempt(tried: &[Tried<Attempt>], facts: &Facts) -> Option<Attempt> {
    let Some(Tried { attempt: last, outcome, .. }) = tried.last() else {
        let versions = if facts.buildinfo.is_some() { Versions::AsBuilt } else { Versions::OfSuite };
        return Some(Attempt { versions, parts: Parts::Kind });
    };
    match (last, outcome) {
        // The versions cannot be had any more.
        (Attempt { versions: Versions::AsBuilt, .. }, Outcome::BuildFailed { phase: Phase::Fetch, .. }) => {
            Some(Attempt { versions: Versions::OfSuite, ..*last })
        }
        (Attempt { parts: Parts::Kind, .. }, Outcome::Different { .. } | Outcome::BuildFailed { phase: Phase::Build, .. })
            if facts.is_mixed =>
        {
            Some(Attempt { parts: Parts::All, ..*last })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::deb::BuildInfo;

    fn facts(is_mixed: bool, has_buildinfo: bool) -> Facts {
        let binary = Binary {
            package: String::new(),
            version: String::new(),
            architecture: "all".to_owned(),
            source: String::new(),
            source_version: String::new(),
            path: String::new(),
            size_bytes: 0,
            digest: Digest::of(b""),
        };
        let buildinfo = has_buildinfo.then(|| BuildInfo { packages: BTreeMap::new(), digest: Digest::of(b"") });
        Facts { binary, suites: Vec::new(), dates: Vec::new(), is_mixed, buildinfo }
    }

    fn failed(phase: Phase) -> Outcome {
        Outcome::BuildFailed { phase, summary: "ended with code 2".to_owned() }
    }

    #[test]
    fn versions_are_loosened_only_when_they_cannot_be_had() {
        let first = next_attempt(&[], &facts(false, true));
        assert_eq!(first, Some(Attempt { versions: Versions::AsBuilt, parts: Parts::Kind }));
        let after = |outcome, versions, is_mixed| {
            let tried = [Tried { attempt: Attempt { versions, parts: Parts::Kind }, outcome, is_toolless: false }];
            next_attempt(&tried, &facts(is_mixed, true)).map(|attempt| (attempt.versions, attempt.parts))
        };
        assert_eq!(after(failed(Phase::Fetch), Versions::AsBuilt, false), Some((Versions::OfSuite, Parts::Kind)));
        assert_eq!(after(failed(Phase::Fetch), Versions::OfSuite, true), None);
        assert_eq!(after(failed(Phase::Build), Versions::OfSuite, false), None);
        assert_eq!(after(failed(Phase::Build), Versions::OfSuite, true), Some((Versions::OfSuite, Parts::All)));
    }
}
