//! A comparison as one self-contained page: no script, nothing loaded, everything foreign escaped.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use quorate_normalize::SideForm;
use quorate_proto::comparison::{Level, Risk};

use super::Report;
use super::survey::{Entry, Fault, Item, Owner, Survey};
use super::words;
use crate::render::word;
use crate::text::{plain, source_line};

const STYLE: &str = include_str!("page.css");

/// The page may show itself and load nothing, whatever stands in it.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The ladder of levels, best first.
const LEVELS: [Level; 5] = [Level::Byte, Level::Stream, Level::Normal, Level::Manifest, Level::Different];

/// Members of one group that stand on the page, those in folders included.
const MEMBERS_MAX: usize = 3000;

/// Anomalies that stand on the page.
const FAULTS_MAX: usize = 500;

/// Lines of one member's diff.
const LINES_MAX: usize = 600;

/// Characters of one line of a diff.
const LINE_CHARS_MAX: usize = 1000;

/// Whether the lines of a member are open from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Open,
    Folded,
}

/// The page.
pub(super) fn html(report: &Report<'_>) -> String {
    let Report { comparison, survey, names, .. } = report;
    let [a, b] = names.map(plain);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(CONTENT_POLICY);
                title { (word(&comparison.level)) ": " (a) " and " (b) " · Quorate" }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    p.brand { span aria-hidden="true" { "◉" } "Quorate" span.sub { "comparison" } }
                    (verdict(report))
                    (sides(report))
                    (faults(&survey.faults))
                    (changed(survey))
                    (group("Only in A", &a, &survey.only_a, survey.changed.is_empty()))
                    (group("Only in B", &b, &survey.only_b, survey.changed.is_empty()))
                    (passes(report))
                    footer { p { "The same comparison in a terminal: " code { "quorate compare A B" } } }
                }
            }
        }
    };
    page.into_string() + "\n"
}

fn verdict(report: &Report<'_>) -> Markup {
    let level = report.comparison.level;
    let is_different = level == Level::Different;
    html! {
        section.verdict.bad[is_different].good[!is_different] {
            h1 { (word(&level)) }
            p.numbers { (words::numbers(level, &report.survey)) }
            ol.ladder aria-label="Levels, best first" {
                @for step in LEVELS {
                    li.here[step == level].past[step < level] aria-current=[(step == level).then_some("step")] title=(words::meaning(step)) {
                        (word(&step))
                    }
                }
            }
        }
    }
}

fn sides(report: &Report<'_>) -> Markup {
    let [a, b] = report.names;
    html! {
        section.sides {
            (side("A", a, &report.comparison.published))
            (side("B", b, &report.comparison.rebuilt))
        }
        @if let Some(top) = &report.survey.top {
            p.remark { "Everything lies in " code { (plain(top)) "/" } "; names are without it." }
        }
        @if let Some([a, b]) = &report.survey.tops {
            p.remark.warn {
                "A lies in " code { (plain(a)) "/" } ", B in " code { (plain(b)) "/" } ". Members are compared by their whole names."
            }
        }
    }
}

fn side(letter: &str, name: &str, form: &SideForm) -> Markup {
    html! {
        article {
            h2 { span.letter { (letter) } span.break { (plain(name)) } }
            dl {
                dt { "Size" }
                dd { (words::size(form.size_bytes)) " " span.soft { "(" (form.size_bytes) " bytes)" } }
                dt { "Digest" }
                dd { code.break { (form.digest.to_string()) } }
                dt { "Normal form" }
                dd {
                    @if let Some(normal) = form.normal { code.break { (normal.to_string()) } }
                    @else { span.soft { "none" } }
                }
            }
        }
    }
}

fn faults(faults: &[Fault<'_>]) -> Markup {
    html! {
        @if !faults.is_empty() {
            section.faults {
                h2 { "Anomalies" (number(faults.len())) }
                p.lead { "Structural faults. No normalisation removes them; one that only one side has makes the files different." }
                ul.card {
                    @for fault in faults.iter().take(FAULTS_MAX) {
                        li.grave[fault.owner != Owner::Both] {
                            p {
                                span.letter { (fault.owner.word()) }
                                strong { (word(&fault.anomaly.kind)) }
                                @if let Some(member) = &fault.anomaly.member { code.break { (plain(member)) } }
                            }
                            p.detail { (plain(&fault.anomaly.detail)) }
                        }
                    }
                    (rest(faults.len(), FAULTS_MAX))
                }
            }
        }
    }
}

fn changed(survey: &Survey<'_>) -> Markup {
    html! {
        @if let Some(opaque) = survey.opaque {
            section {
                h2 { "Changed" }
                ul.card { li.grave {
                    p { code.break { (plain(&opaque.difference.member)) } }
                    p.detail { "The bytes differ, and nothing says in what: the files are not of a kind that is looked into, or no pass names it." }
                } }
            }
        }
        @if !survey.changed.is_empty() {
            section {
                h2 { "Changed" (number(survey.changed.len())) span.key { del { "− in A" } " " ins { "+ in B" } } }
                ul.card {
                    @for found in survey.changed.iter().take(MEMBERS_MAX) { (item(found, &found.name, Lines::Open)) }
                    (rest(survey.changed.len(), MEMBERS_MAX))
                }
            }
        }
    }
}

fn group(title: &str, file: &str, entries: &[Entry<'_>], may_open: bool) -> Markup {
    let files = entries.iter().map(|entry| entry.files().count().max(1)).sum();
    let mut left = MEMBERS_MAX;
    html! {
        @if !entries.is_empty() {
            section {
                h2 { (title) (number(files)) span.of { (file) } }
                ul.card {
                    @for entry in entries {
                        @match entry.items.as_slice() {
                            [one] if !entry.is_folder() => {
                                @let lines = if may_open && one.is_grave() { Lines::Open } else { Lines::Folded };
                                (item(one, &one.name, lines))
                            }
                            _ => (folder(entry, &mut left)),
                        }
                    }
                }
            }
        }
    }
}

/// A whole folder, with its files inside.
fn folder(entry: &Entry<'_>, left: &mut usize) -> Markup {
    let all = entry.files().count();
    let shown = all.min(*left);
    *left -= shown;
    html! {
        li.folder.grave[entry.code_count() > 0] {
            details {
                summary {
                    code.break { (plain(&entry.name)) }
                    @if entry.code_count() > 0 { span.kind.code { "code" } }
                    span.extent { (words::holding(entry)) }
                }
                ul {
                    @for found in entry.files().take(shown) {
                        (item(found, found.name.strip_prefix(&entry.name).unwrap_or(&found.name), Lines::Folded))
                    }
                    (rest(all, shown))
                }
            }
        }
    }
}

fn item(item: &Item<'_>, name: &str, lines: Lines) -> Markup {
    let head = html! {
        code.break { (plain(name)) }
        span.kind.(item.kind.word()) { (item.kind.word()) }
        @if !item.remarks().is_empty() { span.extent { (words::classes(item)) } }
        span.extent { (plain(&words::extent(item))) }
    };
    html! {
        li.grave[item.is_grave()] {
            @match item.diff() {
                Some(diff) => details open[lines == Lines::Open] { summary { (head) } (diff_block(diff)) },
                None => p.plain { (head) },
            }
            @for remark in item.remarks() { p.detail { (plain(&remark)) } }
            @if let Some(reason) = words::no_lines(item).filter(|_| lines == Lines::Open) { p.detail { (reason) } }
        }
    }
}

fn diff_block(diff: &str) -> Markup {
    let count = words::diff_lines(diff).count();
    html! {
        pre.diff tabindex="0" {
            @for line in words::diff_lines(diff).take(LINES_MAX) {
                @let text = source_line(line, LINE_CHARS_MAX);
                @match line.as_bytes().first() {
                    Some(b'+') => ins { (text) "\n" },
                    Some(b'-') => del { (text) "\n" },
                    Some(b'@' | b'\\' | b'[') => span.at { (text) "\n" },
                    _ => span { (text) "\n" },
                }
            }
        }
        @if count > LINES_MAX { p.detail { (count - LINES_MAX) " more lines" } }
    }
}

fn passes(report: &Report<'_>) -> Markup {
    let mut passes: Vec<_> = report.comparison.passes.iter().collect();
    passes.sort_by_key(|pass| std::cmp::Reverse(pass.risk));
    let risks: Vec<Risk> =
        [Risk::Medium, Risk::Low, Risk::None].into_iter().filter(|risk| passes.iter().any(|p| p.risk == *risk)).collect();
    html! {
        @if !passes.is_empty() {
            section {
                h2 { "Normalised away" (number(passes.len())) }
                p.lead { "In what the two differ without being different, each by a pass with a name, a version and a grade of risk." }
                table.card {
                    thead { tr { th { "Pass" } th { "Version" } th.num { "Members" } th { "Risk" } } }
                    tbody {
                        @for pass in passes {
                            tr {
                                td { code { (plain(&pass.name)) } }
                                td { (pass.version) }
                                td.num { (pass.members) }
                                td { span.kind.risk.(word(&pass.risk)) { (word(&pass.risk)) } }
                            }
                        }
                    }
                }
                p.remark {
                    @for (at, risk) in risks.iter().enumerate() {
                        @if at > 0 { " · " }
                        strong { (word(risk)) } ": " (words::risk_meaning(*risk))
                    }
                }
            }
        }
    }
}

fn number(count: usize) -> Markup {
    html! { span.number { (count) } }
}

fn rest(all: usize, shown: usize) -> Markup {
    html! { @if all > shown { li { p.detail { "and " (all - shown) " more: " code { "--format json" } " has them all" } } } }
}
