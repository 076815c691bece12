//! One artifact: the verdict with the numbers behind it, every operator's vote, what differs, and the
//! proof.

use std::collections::BTreeMap;
use std::sync::Arc;

use maud::{Markup, html};
use quorate_normalize::Comparison;
use quorate_proto::result::{Outcome, RebuildResult, Source};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest};
use quorate_tally::{Verdict, Vote};

use super::layout::{artifact_path, flag_badge, state_badge};
use super::{evidence, proof, words};
use crate::serve::Site;
use crate::store::rows::SlotKey;
use crate::store::{SlotResults, Store, StoreError, VerdictView};

/// Votes on a page; a policy has far fewer operators.
const VOTES_SHOWN: usize = 200;

/// Tools shown of one toolchain.
const TOOLS_SHOWN: usize = 8;

/// Everything that the page shows.
pub(super) struct ArtifactPage {
    pub(super) artifact: ArtifactId,
    pub(super) view: Option<VerdictView>,
    pub(super) found: SlotResults,
    /// Reports of differences that are held, by digest.
    pub(super) reports: BTreeMap<Digest, Comparison>,
    pub(super) checkpoint: String,
}

impl ArtifactPage {
    pub(super) fn load(store: &Store, artifact: ArtifactId) -> Result<Self, StoreError> {
        let published = store.log().published();
        let view = store.verdict(&artifact)?;
        let found = store.results(SlotKey::of(&artifact.slot), published.head.size)?;
        let mut reports = BTreeMap::new();
        for (_, _, statement) in &found.results {
            let Outcome::Different { differences, .. } = &statement.result().outcome else { continue };
            let Some(digest) = differences.report else { continue };
            // A report that is not held, or not one, is simply not shown.
            if let Ok(Some(bytes)) = store.blob(&digest)
                && let Ok(report) = serde_json::from_slice(&bytes)
            {
                reports.insert(digest, report);
            }
        }
        let checkpoint = String::from_utf8_lossy(&store.log().shown().note).into_owned();
        Ok(Self { artifact, view, found, reports, checkpoint })
    }

    pub(super) fn title(&self) -> String {
        let (name, version) = words::package(&self.artifact.slot.package);
        format!("{name} {version}")
    }

    pub(super) fn render(&self, site: &Site) -> Markup {
        let (name, version) = words::package(&self.artifact.slot.package);
        html! {
            nav class="crumbs" aria-label="Where you are" { a href="/" { "Verdicts" } " / " (name) }
            section class="lead" {
                h1 { (name) " " span class="ver" { (version) } }
                p class="file" { (words::plain(self.artifact.slot.file.as_str(), 255)) }
                @if let Some(origin) = words::origin(&self.artifact.slot.package) { p class="from" { "from " (origin) } }
                p class="digest" { code class="break" { (self.artifact.digest) } }
            }
            @match &self.view {
                Some(view) => {
                    (banner(view))
                    (self.declared(&view.verdict, site))
                    (self.vote_table(&view.verdict))
                    (evidence::differences(self))
                    (evidence::anomalies(self))
                    (evidence::passes(self))
                    (proof::render(self, view, site))
                }
                None => section class="banner s-pending" { p { "Results were seen. The first verdict is being made: reload in a moment." } }
            }
        }
    }

    /// The result that a vote rests on: the newest of its operator's nodes.
    fn result_of(&self, vote: &Vote) -> Option<(u64, &Arc<VerifiedStatement>)> {
        let own = self.found.results.iter().filter(|(_, _, statement)| vote.results.contains(&statement.digest()));
        own.max_by_key(|(leaf, ..)| *leaf).map(|(leaf, _, statement)| (*leaf, statement))
    }

    /// Who has declared what the verdict rests on, and why.
    fn declared(&self, verdict: &Verdict, site: &Site) -> Markup {
        let named = self.found.declarations.iter().filter(|one| verdict.declarations.contains(&one.digest()));
        html! {
            @for one in named {
                @let (said, signer) = (one.declaration(), site.policy.name_of_signer(&one.signer()));
                p { strong { (said.kind()) } " by " (words::plain(&signer, 64)) ", " (said.signed_at()) ": " (words::plain(said.reason(), 500)) }
            }
        }
    }

    fn vote_table(&self, verdict: &Verdict) -> Markup {
        html! {
            section aria-labelledby="votes" {
                h2 id="votes" { "Votes" }
                table class="list votes-table" {
                    thead { tr {
                        th scope="col" { "Operator" }
                        th scope="col" { "Says" }
                        th scope="col" { "Rebuilt from" }
                        th scope="col" { "With" }
                        th scope="col" { "When (UTC)" }
                        th scope="col" class="num" { "Log" }
                    } }
                    tbody { @for vote in verdict.votes.iter().take(VOTES_SHOWN) { (self.vote_row(vote)) } }
                }
            }
        }
    }

    fn vote_row(&self, vote: &Vote) -> Markup {
        let (style, mark, says) = words::ballot(&vote.ballot);
        let rests_on = self.result_of(vote);
        html! {
            tr class={ "v-" (style) } {
                td data-label="Operator" class="who" { strong { (words::plain(&vote.name, 64)) } }
                td data-label="Says" {
                    span class={ "says v-" (style) } { span class="mark" aria-hidden="true" { (mark) } (says) }
                    @if let Some(detail) = words::ballot_detail(&vote.ballot) { span class="detail" { (detail) } }
                    @if let Some(grade) = vote.grade { span class="detail" title=(words::grade(grade)) { (grade) } }
                }
                @if let Some((leaf, statement)) = rests_on {
                    @let result = statement.result();
                    td data-label="Rebuilt from" { (source(result.source.as_ref())) }
                    td data-label="With" class="tools" { (toolchain(result)) }
                    td data-label="When (UTC)" class="time" { time datetime=(result.finished_at) { (words::time(result.finished_at)) } }
                    td data-label="Log" class="num" { (words::number(leaf)) }
                } @else {
                    td data-label="Rebuilt from" class="quiet" { "–" }
                    td data-label="With" class="quiet" { "–" }
                    td data-label="When (UTC)" class="quiet" { "–" }
                    td data-label="Log" class="quiet num" { "–" }
                }
            }
        }
    }
}

fn banner(view: &VerdictView) -> Markup {
    let verdict = &view.verdict;
    html! {
        section class={ "banner s-" (verdict.state.name()) } aria-labelledby="verdict" {
            div class="big" id="verdict" { (state_badge(verdict.state)) @for flag in &verdict.flags { (flag_badge(*flag)) } }
            p class="meaning" { (words::meaning(verdict.state)) "." }
            p class="reason" { (words::plain(&verdict.reason(), 400)) "." }
            @if let Some(severity) = words::severity(verdict) { p class="alarm" { (severity) } }
            @for flag in &verdict.flags { p class="alarm" { (words::alarm(*flag)) } }
            @if !verdict.other_digests.is_empty() {
                p class="alarm" { "Also seen under this name: "
                    @for digest in verdict.other_digests.iter().take(5) {
                        @let other = ArtifactId { digest: *digest, ..verdict.artifact.clone() };
                        a class="break" href=(artifact_path(&other)) { (digest) } " " }
                }
            }
            p class="since" { "Since " time datetime=(view.time) { (words::time(view.time)) } " UTC, log entry " (words::number(view.log_index)) "." }
        }
    }
}

fn source(source: Option<&Source>) -> Markup {
    html! {
        @if let Some(source) = source {
            span class="src" { (words::source_kind(source.kind)) }
            @if let Some(reference) = &source.reference { " " code { (words::plain(reference, 60)) } }
            @if let Some(commit) = &source.commit { " " code title=(words::plain(commit, 64)) { (words::short(commit)) } }
            span class="detail break" { (words::plain(&source.uri, 160)) }
            span class="detail" { "found by: " (words::found_by(source.found_by)) }
        } @else {
            span class="quiet" { "no source" }
        }
    }
}

fn toolchain(result: &RebuildResult) -> Markup {
    html! {
        @for tool in result.toolchain.iter().take(TOOLS_SHOWN) {
            span class="tool" { (words::plain(&tool.name, 40)) " " span class="ver" { (words::plain(&tool.version, 40)) } }
        }
        @if result.toolchain.len() > TOOLS_SHOWN { span class="detail" { "and " (result.toolchain.len() - TOOLS_SHOWN) " more" } }
        @for assist in result.assists.iter().take(4) {
            span class="detail" { "told: " (words::plain(&assist.name, 40)) " = " (words::plain(&assist.value, 60)) }
        }
        @for violation in result.violations.iter().take(3) {
            span class="detail warn" { "sandbox: " (words::plain(violation, 120)) }
        }
        span class="detail" { (words::plain(&result.builder.name, 40)) " " (words::plain(&result.builder.version, 20)) }
    }
}
