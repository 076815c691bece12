//! Which of several: one digest that is published under more than one name.

use maud::{Markup, html};
use quorate_proto::ArtifactId;
use quorate_tally::State;

use super::layout::{artifact_path, state_badge};
use super::words;
use crate::store::{Store, StoreError};

/// Places shown.
const PLACES_SHOWN: usize = 50;

/// What the page shows: every place with the state of its verdict.
pub(super) struct Chooser {
    places: Vec<(ArtifactId, Option<State>)>,
    more: bool,
}

impl Chooser {
    pub(super) fn load(store: &Store, mut artifacts: Vec<ArtifactId>) -> Result<Self, StoreError> {
        let more = artifacts.len() > PLACES_SHOWN;
        artifacts.truncate(PLACES_SHOWN);
        let place = |artifact: ArtifactId| Ok((store.verdict(&artifact)?.map(|view| view.verdict.state), artifact));
        let places: Result<Vec<_>, StoreError> =
            artifacts.into_iter().map(|artifact| place(artifact).map(|(state, at)| (at, state))).collect();
        Ok(Self { places: places?, more })
    }

    pub(super) fn render(&self) -> Markup {
        html! {
            section class="lead" {
                h1 { "The same bytes in several places" }
                p class="sub" { "Operators have rebuilt this file under more than one name. Each has a verdict of its own." }
            }
            table class="list" {
                thead { tr { th scope="col" { "Verdict" } th scope="col" { "Package" } } }
                tbody { @for (artifact, state) in &self.places {
                    @let (name, version) = words::package(&artifact.slot.package);
                    tr {
                        td data-label="Verdict" { (state_badge(state.unwrap_or(State::Pending))) }
                        td data-label="Package" class="pkg" {
                            a href=(artifact_path(artifact)) { strong { (name) } " " span class="ver" { (version) } }
                            span class="file" { (words::plain(artifact.slot.file.as_str(), 120)) }
                            @if let Some(origin) = words::origin(&artifact.slot.package) { span class="file" { "from " (origin) } }
                        }
                    }
                } }
            }
            @if self.more { p class="quiet" { "There are more; the first " (PLACES_SHOWN) " are shown." } }
        }
    }
}
