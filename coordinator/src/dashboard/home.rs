//! The first page: what needs attention, then the newest verdicts.

use std::cmp::Reverse;

use maud::{Markup, html};
use quorate_tally::State;
use serde::Deserialize;

use super::layout::{artifact_path, flag_badge, state_badge, votes};
use super::words;
use crate::serve::ApiError;
use crate::store::rows::state_named;
use crate::store::{Census, Store, StoreError, VerdictFilter, VerdictPage, VerdictView};

const ATTENTION_SHOWN: usize = 12;

/// Of so many the gravest are shown first.
const ATTENTION_LOOKED_AT: usize = 60;

const RECENT_SHOWN: usize = 30;

/// The order in which states are counted out.
const ORDER: [State; 11] = [
    State::Compromised,
    State::Suspect,
    State::Contested,
    State::Unreproducible,
    State::EnvironmentDependent,
    State::Unbuildable,
    State::Inconclusive,
    State::Pending,
    State::Explained,
    State::Equivalent,
    State::Reproduced,
];

/// Those that are shown only where there are any.
const RARE: [State; 4] = [State::Compromised, State::EnvironmentDependent, State::Inconclusive, State::Explained];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeQuery {
    state: Option<String>,
    #[serde(default)]
    attention: bool,
    before: Option<u64>,
}

/// What the page is asked to list.
pub(super) struct Asked {
    state: Option<State>,
    attention: bool,
    before: Option<u64>,
}

/// What the page shows.
pub(super) struct Home {
    census: Census,
    attention: VerdictPage,
    /// Whether there is more that needs attention.
    more: bool,
    listed: VerdictPage,
    asked: Asked,
}

impl HomeQuery {
    pub(super) fn check(&self) -> Result<Asked, ApiError> {
        let unknown = |name: &str| ApiError::not_found(format!("there is no state `{name}`"));
        let state = self.state.as_deref().map(|name| state_named(name).ok_or_else(|| unknown(name))).transpose()?;
        Ok(Asked { state, attention: self.attention, before: self.before })
    }
}

impl Asked {
    fn is_plain(&self) -> bool {
        self.state.is_none() && !self.attention && self.before.is_none()
    }

    fn older(&self, before: u64) -> String {
        let state = self.state.map(|state| format!("state={state}&")).unwrap_or_default();
        let attention = if self.attention { "attention=true&" } else { "" };
        format!("/?{state}{attention}before={before}")
    }
}

impl Home {
    pub(super) fn load(store: &Store, asked: &Asked) -> Result<Self, StoreError> {
        let first = VerdictFilter { attention: true, limit: ATTENTION_LOOKED_AT, ..VerdictFilter::default() };
        let mut attention = if asked.is_plain() { store.verdicts(&first)? } else { VerdictPage::default() };
        attention.verdicts.sort_by_key(|view| {
            let is_grave = matches!(view.verdict.state, State::Suspect | State::Contested | State::Compromised);
            Reverse((is_grave, view.verdict.state == State::Compromised, view.verdict.alarm()))
        });
        let more = attention.verdicts.len() > ATTENTION_SHOWN || attention.next.is_some();
        attention.verdicts.truncate(ATTENTION_SHOWN);
        let filter =
            VerdictFilter { state: asked.state, attention: asked.attention, before: asked.before, limit: RECENT_SHOWN, flag: None };
        let listed = store.verdicts(&filter)?;
        let asked = Asked { state: asked.state, attention: asked.attention, before: asked.before };
        Ok(Self { census: store.census(), attention, more, listed, asked })
    }

    pub(super) fn render(&self, threshold: usize, operators: usize) -> Markup {
        let artifacts: u64 = self.census.states.values().sum();
        html! {
            section class="lead" {
                h1 { "Is the published file what its source says?" }
                p class="sub" {
                    strong { (words::number(artifacts)) } " artifacts rebuilt by up to " strong { (operators) }
                    " independent operators. A verdict needs " strong { (threshold) } " that agree."
                }
                (self.counts())
            }
            @if self.asked.is_plain() { (self.needs_attention()) }
            section aria-labelledby="listed" {
                h2 id="listed" { (self.heading()) }
                @if self.listed.verdicts.is_empty() {
                    p class="quiet" { "Nothing here yet. Verdicts appear as soon as nodes hand in results." }
                } @else {
                    (table(&self.listed.verdicts))
                }
                nav class="pages" aria-label="Older and newer" {
                    @if !self.asked.is_plain() { a href="/" { "← Newest" } }
                    @if let Some(next) = self.listed.next { a href=(self.asked.older(next)) { "Older →" } }
                }
            }
        }
    }

    fn heading(&self) -> String {
        match self.asked.state {
            Some(state) => format!("Artifacts that are {state}"),
            None if self.asked.attention => "Everything that needs attention".to_owned(),
            None => "Newest verdicts".to_owned(),
        }
    }

    fn counts(&self) -> Markup {
        html! {
            ul class="counts" aria-label="Artifacts by state" {
                @let count_of = |state: &State| self.census.states.get(state).copied().unwrap_or(0);
                @for state in ORDER.into_iter().filter(|state| count_of(state) > 0 || !RARE.contains(state)) {
                    @let count = count_of(&state);
                    li class={ "s-" (state.name()) @if count == 0 { " none" } } {
                        a href={ "/?state=" (state.name()) } title=(words::meaning(state)) {
                            span class="n" { (words::number(count)) }
                            span class="what" { span class="mark" aria-hidden="true" { (words::mark(state)) } (state.name()) }
                        }
                    }
                }
            }
        }
    }

    fn needs_attention(&self) -> Markup {
        let flags = [("registry-split", self.census.registry_split), ("equivocation", self.census.equivocation)];
        html! {
            section class={ "attention" @if self.attention.verdicts.is_empty() { " clear" } } aria-labelledby="attention" {
                h2 id="attention" {
                    "Needs attention"
                    @for (flag, count) in flags {
                        @if count > 0 { span class="badge flag" { (words::number(count)) " " (flag) } }
                    }
                }
                @if self.attention.verdicts.is_empty() {
                    p class="quiet" { "No artifact but those of drills is suspect or contested, and no alarm is raised." }
                } @else {
                    (table(&self.attention.verdicts))
                    @if self.more { p class="pages" { a href="/?attention=true" { "All that needs attention →" } } }
                }
            }
        }
    }
}

fn table(verdicts: &[VerdictView]) -> Markup {
    html! {
        table class="list" {
            thead { tr {
                th scope="col" { "Verdict" }
                th scope="col" { "Package" }
                th scope="col" { "Votes" }
                th scope="col" { "Since (UTC)" }
                th scope="col" class="num" { "Log" }
            } }
            tbody { @for view in verdicts { (row(view)) } }
        }
    }
}

fn row(view: &VerdictView) -> Markup {
    let artifact = &view.verdict.artifact;
    let (name, version) = words::package(&artifact.slot.package);
    html! {
        tr {
            td data-label="Verdict" {
                (state_badge(view.verdict.state))
                @if let Some(alarm) = view.verdict.alarm() {
                    " " span class="alarm" title=[words::severity(&view.verdict)] { (alarm) }
                }
                @for flag in &view.verdict.flags { " " (flag_badge(*flag)) }
            }
            td data-label="Package" class="pkg" {
                a href=(artifact_path(artifact)) { strong { (name) } " " span class="ver" { (version) } }
                span class="file" { span class="eco" { (words::plain(artifact.slot.package.package_type(), 20)) } " " (words::plain(artifact.slot.file.as_str(), 120))
                    @if let Some(origin) = words::origin(&artifact.slot.package) { " from " (origin) }
                    // Two files of one name: only the digest tells them apart.
                    @if !view.verdict.other_digests.is_empty() { " " code { (words::short(&artifact.digest.to_string())) "…" } }
                }
            }
            td data-label="Votes" class="cast" { (votes(&view.verdict)) }
            td data-label="Since (UTC)" class="time" { time datetime=(view.time) { (words::time(view.time)) } }
            td data-label="Log" class="num" { (words::number(view.log_index)) }
        }
    }
}
