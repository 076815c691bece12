//! Gathering: asks a server for everything about an artifact. The answers are not judged here.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget};
use quorate_proto::bundle::{BUNDLE_BYTES_MAX, Bundle};
use quorate_proto::verified::FeedItem;
use quorate_proto::{ArtifactId, Digest, Purl, Timestamp};
use quorate_tally::Policy;

use crate::assess::{Assessment, Gathered, Subject, assess};
use crate::claim::Claim;
use crate::exit::Exit;
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
    /// One for each artifact; at least one unless a package was asked for. Of the same bytes the gravest first.
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
        let mut wanted: Vec<_> = list.artifacts.into_iter().filter(|artifact| is_of(&artifact.slot.package, purl)).collect();
        let cut = list.truncated || wanted.len() > ARTIFACTS_MAX;
        wanted.truncate(ARTIFACTS_MAX);
        let bar = progress(wanted.len());
        let mut found = Found { assessments: Vec::new(), notes: Vec::new() };
        for artifact in wanted {
            found.assessments.push(self.assess(artifact).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if found.assessments.is_empty() {
            found.notes.push(format!("no artifact of {purl} is known"));
        }
        if cut {
            found.is_cut(&format!("there are more artifacts of {purl} than are looked at"));
        }
        Ok(found)
    }

    /// One digest may be published in several slots. All that are wanted are looked at, those with the
    /// file's name first, and the gravest decides; the others are mentioned.
    async fn find_bytes(&self, digest: Digest, name: Option<&str>, package: Option<&Purl>) -> anyhow::Result<Found> {
        let list = self.server.artifacts(&digest).await?.unwrap_or_default();
        let order = Order::of(list.artifacts.into_iter().filter(|artifact| artifact.digest == digest), name, package);
        let mut known = Vec::new();
        for artifact in order.wanted {
            known.push(self.assess(artifact).await?);
        }
        let mut found = Found { notes: Vec::new(), assessments: weigh(known, name) };
        if found.assessments.is_empty() {
            // Nobody has rebuilt them. That they are compromised may have been said all the same.
            let gathered = Gathered { declarations: self.server.declarations().await?, ..Gathered::default() };
            found.assessments.push(assess(self.trust, Subject::Bytes(digest), &gathered, self.now));
        }
        if list.truncated || order.cut > 0 {
            found.is_cut(
                "there are more packages and file names with these bytes than are looked at: --package PURL names the one that is meant",
            );
        }
        found.note_several(name);
        for artifact in order.others {
            // They only make a note: a failure here is none of the answer.
            let slot = artifact.slot.clone();
            if self.assess(artifact).await.is_ok_and(|other| other.voters() > 0) {
                found.notes.push(format!("the same bytes are also known as {} of {}", slot.file, slot.package));
            }
        }
        Ok(found)
    }

    /// Asks for everything about one artifact and assesses it.
    pub(crate) async fn assess(&self, artifact: ArtifactId) -> anyhow::Result<Assessment> {
        let gathered = self.gather(&artifact).await?;
        Ok(assess(self.trust, Subject::Artifact(artifact), &gathered, self.now))
    }

    /// The verdict comes first, so that the results asked for after it are at least as new.
    pub(crate) async fn gather(&self, artifact: &ArtifactId) -> anyhow::Result<Gathered> {
        let mut gathered = self.claim(artifact).await?;
        if let Some(answer) = self.server.results(artifact).await? {
            gathered.keep_named_declarations(artifact);
            gathered.declarations.extend(answer.declarations.into_iter().map(String::into_bytes));
            let all = [answer.results, answer.commitments, answer.checks].into_iter().flatten();
            gathered.items.extend(all.map(FeedItem::from));
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

/// In which order the slots of a digest are looked at.
#[derive(Debug)]
struct Order {
    /// Slots that may be meant, at most [`SLOTS_MAX`].
    wanted: Vec<ArtifactId>,
    /// How many of those are not looked at.
    cut: usize,
    /// Slots of other packages, as many as there is room for.
    others: Vec<ArtifactId>,
}

impl Order {
    /// A server's order counts for nothing: slots that it made up must not keep the real one out.
    fn of(slots: impl Iterator<Item = ArtifactId>, name: Option<&str>, package: Option<&Purl>) -> Self {
        let meant = |artifact: &ArtifactId| package.is_none_or(|package| is_of(&artifact.slot.package, package));
        let slots: BTreeSet<_> = slots.map(|artifact| (Some(artifact.slot.file.as_str()) != name, artifact)).collect();
        let (mut wanted, mut others): (Vec<_>, Vec<_>) = slots.into_iter().map(|(_, artifact)| artifact).partition(meant);
        let cut = wanted.len().saturating_sub(SLOTS_MAX);
        wanted.truncate(SLOTS_MAX);
        others.truncate(SLOTS_MAX - wanted.len());
        Self { wanted, cut, others }
    }
}

/// Those with any weight, the gravest first; else the first that there is.
fn weigh(mut known: Vec<Assessment>, name: Option<&str>) -> Vec<Assessment> {
    let named = |a: &Assessment| a.file().is_some_and(|file| Some(file) == name);
    known.sort_by_key(|a| std::cmp::Reverse((a.has_weight(), a.exit, named(a), a.voters())));
    let weighty = known.iter().filter(|a| a.has_weight()).count();
    known.truncate(weighty.max(1));
    known
}

impl Found {
    /// Not everything was looked at, so nobody can say that the policy is met.
    fn is_cut(&mut self, note: &str) {
        self.notes.push(note.to_owned());
        for assessment in &mut self.assessments {
            assessment.exit = assessment.exit.max(Exit::NotEnoughEvidence);
        }
    }

    /// What to say about names: several for the same bytes, or another one than the file's.
    fn note_several(&mut self, name: Option<&str>) {
        if self.assessments.len() > 1 {
            self.notes.push(
                "the same bytes are known under several names, and the gravest answer counts: --package PURL names the one that is meant"
                    .to_owned(),
            );
        }
        let published: Vec<_> = self.assessments.iter().filter_map(Assessment::file).collect();
        if let (Some(name), Some(first)) = (name, published.first())
            && !published.contains(&name)
        {
            self.notes.push(format!("the file is named `{name}` here, but was published as `{first}`"));
        }
    }
}
