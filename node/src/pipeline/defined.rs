//! A rebuild by a reviewed definition: inference runs first, so that the result can say what the definition
//! changed, and whether that still is what its reviewer saw.

use quorate_proto::result::Assist;

use super::record::Record;
use super::{Engine, Job, Progress, RebuildError, Seen, now};
use crate::attest::Finding;
use crate::definition::{Definition, Drift, Field, Override, Settings};
use crate::ecosystem::Ecosystem;
use crate::release::Release;

/// The assist that names an override.
const DEFINITION: &str = "definition";
/// The assist that names an override whose reviewed difference is no longer the difference.
const DRIFT: &str = "definition-drift";

impl Engine {
    pub(super) async fn infer_as<E: Ecosystem>(&self, ecosystem: &E, job: &Job) -> Result<Settings, RebuildError> {
        let record = Record::begin(now(), E::BUILD_TYPE, self.host().await?);
        match self.look(ecosystem, job, &record).await? {
            Seen::Release(release) => self.inferred(ecosystem, &release).await,
            Seen::Ended(_) => Ok(Settings::new()),
        }
    }

    pub(super) async fn climb_by<E: Ecosystem>(
        &self,
        definition: &Definition,
        ecosystem: &E,
        release: Release<E::Facts>,
        record: &mut Record,
        progress: &dyn Progress,
    ) -> Result<Finding, RebuildError> {
        let inferred = self.inferred(ecosystem, &release).await?;
        record.lap("infer");
        let release = Release { settings: definition.settings(), ..release };
        let mut finding = self.climb(ecosystem, &release, record, progress).await?;
        let said = definition.overrides.iter().map(|change| told(change, definition));
        let drifted = definition.drift(&inferred).into_iter().map(drift);
        finding.assists.splice(0..0, said.chain(drifted));
        Ok(finding)
    }

    /// The first plan that inference comes to, in the words of a definition.
    async fn inferred<E: Ecosystem>(&self, ecosystem: &E, release: &Release<E::Facts>) -> Result<Settings, RebuildError> {
        let mut settings = Settings::new();
        for rung in E::LADDER {
            let candidates = ecosystem.candidates(*rung, release).await.unwrap_or_default();
            let Some(candidate) = candidates.first() else { continue };
            let source = &candidate.source;
            let known = [(Field::Repository, Some(source.uri.clone())), (Field::Commit, source.commit.clone())];
            settings.extend(known.into_iter().filter_map(|(field, value)| Some((field, value?))));
            let workshop = self.workshop()?;
            let Ok(laid_out) = super::ladder::lay_out(candidate, ecosystem, release, &workshop).await else { break };
            settings.insert(Field::Directory, laid_out.folder.to_string_lossy().into_owned());
            let Some(attempt) = ecosystem.next_attempt(&[], release, candidate) else { break };
            if let Ok(plan) = ecosystem.plan(release, candidate, &laid_out, &attempt).await {
                settings.extend(ecosystem.describe(&plan).settings);
            }
            break;
        }
        Ok(settings)
    }
}

fn told(change: &Override, definition: &Definition) -> Assist {
    let before = change.instead_of.as_deref().unwrap_or("nothing");
    Assist {
        name: DEFINITION.to_owned(),
        value: format!("{} = {} instead of {before}", change.field, change.to),
        reason: format!("{} ({})", definition.reason, definition.digest),
    }
}

fn drift(drift: Drift) -> Assist {
    let word = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
    Assist {
        name: DRIFT.to_owned(),
        value: format!("{}: {}", drift.field, word(drift.found)),
        reason: format!("inference found {} when the definition was reviewed", word(drift.reviewed)),
    }
}
