//! The frame around every page, and the pieces that several pages share.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use quorate_proto::ArtifactId;
use quorate_tally::{Flag, State, Verdict};

use super::words;

/// What stands around a page.
pub(super) struct Frame<'a> {
    pub title: &'a str,
    pub style: &'static str,
    pub log_size: u64,
    pub vkey: &'a str,
}

impl Frame<'_> {
    pub(super) fn render(&self, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (words::plain(self.title, 160)) " · Quorate" }
                    link rel="icon" href="data:,";
                    style { (PreEscaped(self.style)) }
                }
                body {
                    a class="skip" href="#content" { "Skip to the content" }
                    header class="top" {
                        div class="wide" {
                            a class="brand" href="/" { span class="seal" aria-hidden="true" { "◉" } "Quorate" }
                            nav aria-label="Pages" {
                                a href="/" { "Verdicts" }
                                a href="/operators" { "Operators" }
                            }
                            a class="logsize" href="/checkpoint" title="The signed checkpoint" {
                                "Log " strong { (words::number(self.log_size)) } " entries"
                            }
                        }
                    }
                    main id="content" class="wide" { (body) }
                    footer class="wide" {
                        p { "Nobody has to trust this page: " code { "quorate verify" } " recomputes every verdict from signed results." }
                        p { "Log key " code class="break" { (self.vkey) } }
                    }
                }
            }
        }
    }
}

/// A page that says one thing.
pub(super) fn message(title: &str, text: &str) -> Markup {
    html! {
        section class="message" {
            h1 { (title) }
            p { (words::plain(text, 400)) }
            p { a href="/" { "Back to all verdicts" } }
        }
    }
}

/// A state with its mark and word.
pub(super) fn state_badge(state: State) -> Markup {
    html! { span class={ "badge s-" (state.name()) } { span class="mark" aria-hidden="true" { (words::mark(state)) } (state.name()) } }
}

/// A flag.
pub(super) fn flag_badge(flag: Flag) -> Markup {
    html! { span class="badge flag" title=(words::alarm(flag)) { span class="mark" aria-hidden="true" { "⚑" } (flag.name()) } }
}

/// One dot an enrolled operator, in words for those who do not see it.
pub(super) fn votes(verdict: &Verdict) -> Markup {
    let counted =
        format!("{} agree, {} differ, {} could not build, of {}", verdict.agree, verdict.differ, verdict.failed, verdict.enrolled);
    html! {
        span class="votes" role="img" aria-label=(counted) title=(counted) {
            @for vote in verdict.votes.iter().take(40) {
                span class={ "dot v-" (words::ballot(&vote.ballot).0) } {}
            }
        }
        span class="tally" { (verdict.agree) "/" (verdict.enrolled) " agree" @if verdict.differ > 0 { ", " (verdict.differ) " differ" } }
    }
}

/// The page of an artifact. Names its slot, so that nobody takes the page away by publishing the same bytes
/// elsewhere.
pub(super) fn artifact_path(artifact: &ArtifactId) -> String {
    format!("/artifact/{}?{}", artifact.digest, slot_query(artifact))
}

/// The query that says which slot is meant.
pub(super) fn slot_query(artifact: &ArtifactId) -> String {
    format!("package={}&file={}", encoded(&artifact.slot.package.to_string()), encoded(artifact.slot.file.as_str()))
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
