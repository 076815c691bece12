//! `quorate bundle`: keeps verdict, proof and results in one file, once they have been verified.

use anyhow::{Context as _, bail};
use quorate_proto::bundle::Bundle;
use quorate_proto::{ArtifactId, Digest};
use serde::Serialize;

use crate::answer::{Answer, write_file};
use crate::assess::{Assessment, Gathered, Subject, assess};
use crate::claim::{LogCheck, Opinion, Standing};
use crate::cli::{Format, Keep};
use crate::exit::Exit;
use crate::gather::{Found, Session};
use crate::render;
use crate::text::{Paint, json_line};
use crate::verify::exit_of;
use crate::view::{ArtifactView, SCHEMA_VERSION};

/// The JSON answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleView<'a> {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    policy: Digest,
    written: Option<String>,
    size_bytes: usize,
    refused: Option<&'a str>,
    artifact: ArtifactView<'a>,
}

/// Fetches, verifies, writes.
pub(crate) async fn run(session: &Session<'_>, args: &Keep, format: Format, paint: Paint) -> anyhow::Result<Answer> {
    let found = session.find(&args.target, args.package.as_ref()).await?;
    let Some(artifact) = the_one(&found)? else {
        return Ok(Answer { stdout: String::new(), notes: vec!["nothing is known about this".to_owned()], exit: Exit::NotEnoughEvidence });
    };
    let Some(bytes) = session.server.bundle(&artifact).await? else {
        return Ok(Answer { stdout: String::new(), notes: vec!["there is no verdict yet".to_owned()], exit: Exit::NotEnoughEvidence });
    };
    let bundle = Bundle::parse(&bytes).context("reading the coordinator's bundle")?;
    let assessment = assess(session.trust, Subject::Artifact(artifact.clone()), &Gathered::from(&bundle), session.now);
    let fault = fault(&bundle, &artifact, &assessment);
    let exit = fault.map_or(assessment.exit.max(exit_of(&found.assessments)), |_| Exit::Violated);
    let bytes = bundle.to_bytes();
    if fault.is_none() {
        write_file(&args.output, &bytes)?;
    }
    let stdout = match format {
        Format::Human => human(args, &assessment, fault, bytes.len(), paint),
        Format::Json => json_line(&BundleView {
            schema_version: SCHEMA_VERSION,
            command: "bundle",
            exit: exit.code(),
            policy: session.trust.policy.digest(),
            written: fault.is_none().then(|| args.output.display().to_string()),
            size_bytes: bytes.len(),
            refused: fault,
            artifact: ArtifactView::from(&assessment),
        }),
    };
    Ok(Answer { stdout, notes: found.notes, exit })
}

/// A bundle is about one artifact. Of the same bytes under several names it is the gravest.
fn the_one(found: &Found) -> anyhow::Result<Option<ArtifactId>> {
    let known: Vec<_> = found.assessments.iter().filter_map(|assessment| assessment.subject.artifact()).collect();
    match known.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        [first, rest @ ..] if rest.iter().all(|other| other.digest == first.digest) => Ok(Some((*first).clone())),
        several => {
            let names: Vec<_> = several.iter().map(|artifact| format!("{} ({})", artifact.slot.file, artifact.digest)).collect();
            bail!("the package has several artifacts; name one by its digest: {}", names.join(", "))
        }
    }
}

/// Why a bundle is not worth keeping. Whether the policy is met is another question: evidence
/// against an artifact is kept like evidence for it.
fn fault(bundle: &Bundle, artifact: &ArtifactId, assessment: &Assessment) -> Option<&'static str> {
    if bundle.artifact != *artifact {
        return Some("it is about another artifact");
    }
    if matches!(assessment.log, LogCheck::Invalid { .. }) {
        return Some("its proof of logging does not hold");
    }
    match &assessment.opinion {
        Opinion::Silent | Opinion::Unusable { .. } => Some("its verdict cannot be used"),
        Opinion::Says { standing: Standing::Contradicts { .. }, .. } => Some("its verdict does not follow from its results"),
        Opinion::Says { standing: Standing::Withheld { .. }, .. } => Some("it lacks results that its verdict rests on"),
        Opinion::Says { .. } => None,
    }
}

fn human(args: &Keep, assessment: &Assessment, fault: Option<&str>, size: usize, paint: Paint) -> String {
    let mut text = render::verdict(assessment, paint);
    match fault {
        Some(fault) => render::line(&mut text, "not written", fault),
        None => render::line(&mut text, "written", &format!("{} ({size} bytes)", args.output.display())),
    }
    text
}
