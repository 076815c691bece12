//! Gathering: asks a server for everything about an artifact. The answers are not judged here.

use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget};
use quorate_proto::bundle::{BUNDLE_BYTES_MAX, Bundle};
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest, Purl, Timestamp};
use quorate_tally::Policy;

use crate::assess::{Assessment, Gathered, Subject, assess};
use crate::claim::Claim;
use crate::server::Server;
use crate::target::{Target, digest_of_file};
use crate::trust::Trust;

/// The most artifacts that one command looks at.
const ARTIFACTS_MAX: usize = 500;

/// The most slots of one digest that are looked at.
const SLOTS_MAX: usize = 16;

/// Who asks whom, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    /// Under which policy.
    pub(crate) trust: &'a Trust,
    /// Whom.
    pub(crate) server: &'a Server,
    /// This machine's time.
    pub(crate) now: Timestamp,
}

/// The assessments of a target.
#[derive(Debug)]
pub(crate) struct Found {
    /// One for each artifact; at least one unless a package was asked for.
    pub(crate) assessments: Vec<Assessment>,
    /// What the user should hear besides.
    pub(crate) notes: Vec<String>,
}

/// Reads a bundle from a file, at most one byte more than a bundle may have.
pub(crate) fn read_bundle(path: &Path) -> anyhow::Result<Bundle> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("opening bundle `{}`", path.display()))?;
    file.take(BUNDLE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("reading bundle `{}`", path.display()))?;
    Bundle::parse(&bytes).with_context(|| format!("reading bundle `{}`", path.display()))
}

impl From<&Bundle> for Gathered {
    fn from(bundle: &Bundle) -> Self {
        let pair = |[a, b]: &[_; 2]| [FeedItem::from(a), FeedItem::from(b)];
        Self {
            items: bundle.results.iter().map(FeedItem::from).collect(),
            pairs: bundle.equivocations.iter().map(pair).collect(),
            claim: Some(Claim::of_bundle(bundle)),
            their_policy: None,
        }
    }
}

impl Session<'_> {
    /// Assesses everything that `target` means. `package` narrows bytes down to one package.
    pub(crate) async fn find(&self, target: &Target, package: Option<&Purl>) -> anyhow::Result<Found> {
        match target {
            Target::Malformed(reason) => anyhow::bail!("{reason}"),
            Target::Package(purl) => self.find_package(purl).await,
            Target::Digest(digest) => self.find_bytes(*digest, None, package).await,
            Target::File(path) => {
                let digest = digest_of_file(path).with_context(|| format!("reading `{}`", path.display()))?;
                self.find_bytes(digest, path.file_name().and_then(|name| name.to_str()), package).await
            }
        }
    }

    async fn find_package(&self, purl: &Purl) -> anyhow::Result<Found> {
        let Some(list) = self.server.package(purl).await? else {
            return Ok(Found { assessments: Vec::new(), notes: vec![format!("no artifact of {purl} is known")] });
        };
        let mut notes = Vec::new();
        if list.truncated || list.artifacts.len() > ARTIFACTS_MAX {
            notes.push(format!("there are more artifacts of {purl}: only the first {ARTIFACTS_MAX} are looked at"));
        }
        let wanted: Vec<_> =
            list.artifacts.into_iter().filter(|artifact| is_of(&artifact.slot.package, purl)).take(ARTIFACTS_MAX).collect();
        let bar = progress(wanted.len());
        let mut assessments = Vec::new();
        for artifact in wanted {
            assessments.push(self.assess(artifact).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if assessments.is_empty() {
            notes.push(format!("no artifact of {purl} is known"));
        }
        Ok(Found { assessments, notes })
    }

    /// One digest may be published in several slots. The slot that has the file's name comes first,
    /// then the one that most operators speak of; the others are mentioned.
    async fn find_bytes(&self, digest: Digest, name: Option<&str>, package: Option<&Purl>) -> anyhow::Result<Found> {
        let slots = self.server.artifacts(&digest).await?.map(|list| list.artifacts).unwrap_or_default();
        let mut known = Vec::new();
        for artifact in slots.into_iter().filter(|artifact| artifact.digest == digest).take(SLOTS_MAX) {
            known.push(self.assess(artifact).await?);
        }
        let mut found = choose(known, name, package).unwrap_or_else(|notes| {
            let nothing = assess(self.trust, Subject::Bytes(digest), &Gathered::default(), self.now);
            Found { assessments: vec![nothing], notes }
        });
        let published = found.assessments.first().and_then(|assessment| assessment.subject.artifact()).map(|artifact| &artifact.slot.file);
        if let (Some(name), Some(published)) = (name, published)
            && name != published.as_str()
        {
            let note = format!("the file is named `{name}` here, but was published as `{published}`");
            found.notes.push(note);
        }
        Ok(found)
    }

    /// Asks for everything about one artifact and assesses it.
    pub(crate) async fn assess(&self, artifact: ArtifactId) -> anyhow::Result<Assessment> {
        let gathered = self.gather(&artifact).await?;
        Ok(assess(self.trust, Subject::Artifact(artifact), &gathered, self.now))
    }

    /// The verdict comes first, so that the results asked for after it are at least as new.
    async fn gather(&self, artifact: &ArtifactId) -> anyhow::Result<Gathered> {
        let mut gathered = self.claim(artifact).await?;
        if let Some(answer) = self.server.results(artifact).await? {
            gathered.items.extend(answer.results.into_iter().map(FeedItem::from));
            gathered.pairs.extend(answer.equivocations.into_iter().map(|pair| pair.map(FeedItem::from)));
        }
        let named = gathered.claim.as_ref().and_then(|claim| claim.verdict(artifact).ok()).map(|verdict| verdict.policy);
        if let Some(policy) = named.filter(|policy| *policy != self.trust.policy.digest()) {
            gathered.their_policy = self.their_policy(policy).await;
        }
        Ok(gathered)
    }

    /// With a log in the policy the proof is needed, and the bundle has it.
    async fn claim(&self, artifact: &ArtifactId) -> anyhow::Result<Gathered> {
        if self.trust.log.is_some() {
            let Some(bytes) = self.server.bundle(artifact).await? else { return Ok(Gathered::default()) };
            let bundle = Bundle::parse(&bytes).context("reading the coordinator's bundle")?;
            return Ok(Gathered::from(&bundle));
        }
        let answer = self.server.verdict(artifact).await?;
        let claim = answer.map(|answer| Claim { envelope: answer.envelope.into_bytes(), proof: None, index: answer.log_index });
        Ok(Gathered { claim, ..Gathered::default() })
    }

    /// The coordinator's policy, if it serves the one that its verdict names. Nothing is decided by it.
    async fn their_policy(&self, digest: Digest) -> Option<Policy> {
        let bytes = self.server.policy().await.ok().flatten()?;
        let policy = Policy::parse(&String::from_utf8(bytes).ok()?).ok()?;
        (policy.digest() == digest).then_some(policy)
    }
}

/// A bar on stderr, if that is a terminal and there is much to do.
pub(crate) fn progress(steps: usize) -> ProgressBar {
    if steps > 1 { ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr()) } else { ProgressBar::hidden() }
}

/// Whether `package` is the release, or a release of the package, that `wanted` names. A package of
/// another repository is another package.
pub(crate) fn is_of(package: &Purl, wanted: &Purl) -> bool {
    package == wanted || (wanted.version().is_none() && package.without_version() == *wanted)
}

/// The artifact that is meant; else what to say about why there is none.
fn choose(mut known: Vec<Assessment>, name: Option<&str>, package: Option<&Purl>) -> Result<Found, Vec<String>> {
    let slot = |known: &Assessment| known.subject.artifact().map(|artifact| artifact.slot.clone());
    let named = |known: &Assessment| slot(known).is_some_and(|slot| Some(slot.file.as_str()) == name);
    known.sort_by_key(|a| (std::cmp::Reverse((named(a) && a.voters() > 0, a.voters())), slot(a)));
    let wanted = |a: &Assessment| package.is_none_or(|package| slot(a).is_some_and(|slot| is_of(&slot.package, package)));
    let (mut wanted, mut others): (Vec<_>, Vec<_>) = known.into_iter().partition(wanted);
    others.splice(0..0, wanted.split_off(wanted.len().min(1)));
    let mention = |a: &Assessment| slot(a).map(|slot| format!("the same bytes are also known as {} of {}", slot.file, slot.package));
    let notes = others.iter().filter(|a| a.voters() > 0).filter_map(mention).collect();
    if wanted.is_empty() { Err(notes) } else { Ok(Found { assessments: wanted, notes }) }
}
