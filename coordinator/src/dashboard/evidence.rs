//! What the results of one artifact say beside their votes: differences, faults, passes.

use std::collections::BTreeMap;

use maud::{Markup, html};
use quorate_normalize::compare::Detail;
use quorate_proto::comparison::{Anomaly, Difference, PassUse};
use quorate_proto::result::{DifferenceList, Outcome, RebuiltFile};
use quorate_proto::verified::VerifiedStatement;

use super::artifact::ArtifactPage;
use super::words;

/// Lines of one diff, and characters of one line.
const DIFF_LINES_SHOWN: usize = 120;
const DIFF_LINE_CHARS: usize = 200;

/// Different results shown with their differences.
const GROUPS_SHOWN: usize = 5;

/// Longest name of a member.
const MEMBER_CHARS: usize = 300;

/// Operators that got the same other file.
struct Group<'a> {
    operators: Vec<String>,
    rebuilt: &'a RebuiltFile,
    list: &'a DifferenceList,
}

/// Results about this very artifact.
fn own(page: &ArtifactPage) -> impl Iterator<Item = &VerifiedStatement> {
    page.found.results.iter().map(|(_, _, statement)| &**statement).filter(|statement| *statement.artifact() == page.artifact)
}

fn name_of(page: &ArtifactPage, statement: &VerifiedStatement) -> String {
    let votes = page.view.iter().flat_map(|view| &view.verdict.votes);
    let named = votes.filter(|vote| vote.operator == statement.operator()).map(|vote| vote.name.clone()).next();
    words::plain(&named.unwrap_or_else(|| statement.operator().to_string()), 64)
}

/// What differs, one group a rebuilt file.
pub(super) fn differences(page: &ArtifactPage) -> Markup {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for statement in own(page) {
        let Outcome::Different { rebuilt, differences, .. } = &statement.result().outcome else { continue };
        let key = rebuilt.normal.map_or_else(|| rebuilt.digest.to_string(), |normal| normal.to_string());
        let group = groups.entry(key).or_insert_with(|| Group { operators: Vec::new(), rebuilt, list: differences });
        let name = name_of(page, statement);
        if !group.operators.contains(&name) {
            group.operators.push(name);
        }
        // Prefer the one whose report is held.
        if differences.report.is_some_and(|report| page.reports.contains_key(&report)) {
            group.list = differences;
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.operators.len()));
    html! {
        @if !groups.is_empty() {
            section aria-labelledby="differences" {
                h2 id="differences" { "Differences" }
                @for group in groups.iter().take(GROUPS_SHOWN) { (render_group(page, group)) }
            }
        }
    }
}

fn render_group(page: &ArtifactPage, group: &Group<'_>) -> Markup {
    let shown = group.list.members.len();
    html! {
        article class="group" {
            h3 {
                (group.list.count) @if group.list.count == 1 { " member differs" } @else { " members differ" }
                span class="by" { " according to " (group.operators.join(", ")) }
            }
            p class="detail" { "They rebuilt " (words::bytes(group.rebuilt.size_bytes)) ", " code class="break" { (group.rebuilt.digest) } }
            ul class="members" { @for difference in &group.list.members { (member(page, group, difference)) } }
            @if usize::try_from(group.list.count).unwrap_or(usize::MAX) > shown {
                p class="detail" { (shown) " of " (group.list.count) " are listed in the signed result; the report has them all." }
            }
        }
    }
}

fn member(page: &ArtifactPage, group: &Group<'_>, difference: &Difference) -> Markup {
    let detail = group
        .list
        .report
        .and_then(|report| page.reports.get(&report))
        .and_then(|report| report.differences.iter().find(|found| found.difference == *difference))
        .and_then(|found| found.detail.as_ref());
    let kind = words::executable(difference.executable);
    html! {
        li class={ "member " (kind) } {
            p {
                span class={ "kind " (kind) } { (kind) }
                code class="break" { (words::plain(&difference.member, MEMBER_CHARS)) }
                span class="class" { (words::difference(difference.class)) }
            }
            @match detail {
                Some(Detail::Diff(text)) => (diff(text)),
                Some(Detail::Metadata(lines)) => ul class="detail" { @for line in lines.iter().take(8) { li { (words::plain(line, DIFF_LINE_CHARS)) } } },
                Some(Detail::Anomaly(text)) => p class="detail" { (words::plain(text, DIFF_LINE_CHARS)) },
                Some(Detail::Unshown(reason)) => p class="detail" { (reason.reason()) },
                None => {}
            }
        }
    }
}

fn diff(text: &str) -> Markup {
    let lines: Vec<&str> = text.lines().take(DIFF_LINES_SHOWN).collect();
    let cut = text.lines().nth(DIFF_LINES_SHOWN).is_some();
    html! {
        details open {
            summary { "Difference from published (−) to rebuilt (+)" }
            pre class="diff" tabindex="0" {
                @for line in lines {
                    @let style = match line.as_bytes().first() { Some(b'+') => "add", Some(b'-') => "del", Some(b'@') => "at", _ => "ctx" };
                    span class=(style) { (words::plain(line, DIFF_LINE_CHARS)) "\n" }
                }
                @if cut { span class="at" { "… the report has more\n" } }
            }
        }
    }
}

/// Structural faults, each once, with those who saw it.
pub(super) fn anomalies(page: &ArtifactPage) -> Markup {
    let mut seen: BTreeMap<&Anomaly, Vec<String>> = BTreeMap::new();
    for statement in own(page) {
        for anomaly in &statement.result().anomalies {
            seen.entry(anomaly).or_default().push(name_of(page, statement));
        }
    }
    html! {
        @if !seen.is_empty() {
            section aria-labelledby="anomalies" {
                h2 id="anomalies" { "Structural faults" }
                ul class="members" {
                    @for (anomaly, names) in seen.iter().take(30) {
                        li class="member" {
                            p {
                                span class="kind code" { (words::anomaly(anomaly.kind)) }
                                @if let Some(member) = &anomaly.member { code class="break" { (words::plain(member, MEMBER_CHARS)) } }
                                span class="class" { "in the " (words::side(anomaly.side)) " file" }
                            }
                            p class="detail" { (words::plain(&anomaly.detail, 300)) " Seen by " (names.join(", ")) "." }
                        }
                    }
                }
            }
        }
    }
}

/// What was normalised away to call files equivalent.
pub(super) fn passes(page: &ArtifactPage) -> Markup {
    let mut used: BTreeMap<&PassUse, usize> = BTreeMap::new();
    for statement in own(page) {
        if let Outcome::Equivalent { passes, .. } = &statement.result().outcome {
            for pass in passes {
                *used.entry(pass).or_default() += 1;
            }
        }
    }
    html! {
        @if !used.is_empty() {
            section aria-labelledby="passes" {
                h2 id="passes" { "Normalised away" }
                table class="list" {
                    thead { tr { th scope="col" { "Pass" } th scope="col" { "What could hide" } th scope="col" class="num" { "Members" } th scope="col" class="num" { "Results" } } }
                    tbody { @for (pass, results) in used.iter().take(40) {
                        tr {
                            td data-label="Pass" { code { (words::plain(&pass.name, 60)) } " v" (pass.version) }
                            td data-label="What could hide" { (words::risk(pass.risk)) }
                            td data-label="Members" class="num" { (pass.members) }
                            td data-label="Results" class="num" { (results) }
                        }
                    } }
                }
            }
        }
    }
}
