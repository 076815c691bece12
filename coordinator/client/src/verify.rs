//! `quorate verify`: is this artifact quorate under the user's own policy?

use std::path::Path;

use anyhow::Context as _;
use quorate_proto::bundle::Bundle;
use quorate_proto::{Digest, Purl, Timestamp};

use crate::answer::Answer;
use crate::assess::{Assessment, Gathered, Subject, assess};
use crate::cli::Format;
use crate::exit::Exit;
use crate::gather::{Found, is_of};
use crate::render;
use crate::target::{Target, digest_of_file};
use crate::text::{Paint, json_line};
use crate::trust::Trust;
use crate::view::{ArtifactView, ReportView, SCHEMA_VERSION};

/// Takes the evidence from a bundle. No server, no network.
pub(crate) fn offline(
    trust: &Trust,
    bundle: &Bundle,
    target: Option<&Target>,
    package: Option<&Purl>,
    now: Timestamp,
) -> anyhow::Result<Found> {
    let digest = target_digest(target)?;
    let package = package.or(match target {
        Some(Target::Package(purl)) => Some(purl),
        _ => None,
    });
    let artifact = &bundle.artifact;
    let meant = digest.is_none_or(|digest| digest == artifact.digest) && package.is_none_or(|purl| is_of(&artifact.slot.package, purl));
    if meant {
        let assessment = assess(trust, Subject::Artifact(artifact.clone()), &Gathered::from(bundle), now);
        return Ok(Found { assessments: vec![assessment], notes: Vec::new() });
    }
    let note = format!("the bundle is about something else: {} of {}, {}", artifact.slot.file, artifact.slot.package, artifact.digest);
    let subject = Subject::Bytes(digest.unwrap_or(artifact.digest));
    let mut nothing = assess(trust, subject, &Gathered::default(), now);
    nothing.exit = Exit::Violated;
    Ok(Found { assessments: vec![nothing], notes: vec![note] })
}

fn target_digest(target: Option<&Target>) -> anyhow::Result<Option<Digest>> {
    Ok(match target {
        None | Some(Target::Package(_)) => None,
        Some(Target::Digest(digest)) => Some(*digest),
        Some(Target::File(path)) => Some(read_digest(path)?),
        Some(Target::Malformed(reason)) => anyhow::bail!("{reason}"),
    })
}

fn read_digest(path: &Path) -> anyhow::Result<Digest> {
    digest_of_file(path).with_context(|| format!("reading `{}`", path.display()))
}

/// The gravest outcome; nothing found is not enough evidence.
pub(crate) fn exit_of(assessments: &[Assessment]) -> Exit {
    assessments.iter().map(|assessment| assessment.exit).max().unwrap_or(Exit::NotEnoughEvidence)
}

/// The answer as text or JSON.
pub(crate) fn answer(trust: &Trust, found: Found, format: Format, paint: Paint) -> Answer {
    let exit = exit_of(&found.assessments);
    let stdout = match format {
        Format::Human => found.assessments.iter().map(|assessment| render::verdict(assessment, paint)).collect(),
        Format::Json => json_line(&ReportView {
            schema_version: SCHEMA_VERSION,
            command: "verify",
            exit: exit.code(),
            policy: trust.policy.digest(),
            artifacts: found.assessments.iter().map(ArtifactView::from).collect(),
            notes: &found.notes,
        }),
    };
    Answer { stdout, notes: found.notes, exit }
}
