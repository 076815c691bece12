//! How to check a verdict without this page.

use maud::{Markup, html};

use super::artifact::ArtifactPage;
use super::layout::slot_query;
use super::words;
use crate::serve::Site;
use crate::store::VerdictView;

pub(super) fn render(page: &ArtifactPage, view: &VerdictView, site: &Site) -> Markup {
    let digest = page.artifact.digest;
    let slot = slot_query(&page.artifact);
    html! {
        section aria-labelledby="proof" class="proof" {
            h2 id="proof" { "Proof" }
            dl {
                dt { "Log entry" } dd { (words::number(view.log_index)) " of " (words::number(page.found.log_size)) }
                dt { "Results considered" } dd { (view.verdict.rests_on().len()) ", those before entry " (words::number(view.log_size)) }
                dt { "Policy" } dd { a href="/api/v1/policy" { code class="break" { (view.verdict.policy) } } }
                dt { "Rules" } dd { (words::plain(&view.verdict.engine, 60)) }
                dt { "Log key" } dd { code class="break" { (site.vkey) } }
            }
            p { "Check it yourself, under your own policy:" }
            pre tabindex="0" { code { "quorate verify " (digest) " --policy policy.toml --server " (SERVER) "\n"
                "quorate bundle " (digest) " --server " (SERVER) " -o verdict.bundle\n"
                "quorate verify " (digest) " --policy policy.toml --bundle verdict.bundle   # needs no server" } }
            p class="links" {
                a href={ "/api/v1/artifacts/" (digest) "/bundle?" (slot) } { "Bundle" }
                a href={ "/api/v1/artifacts/" (digest) "/results?" (slot) } { "Signed results" }
                a href={ "/api/v1/artifacts/" (digest) "/verdict?" (slot) } { "Verdict" }
                a href="/checkpoint" { "Checkpoint" }
            }
            details { summary { "Latest checkpoint" } pre tabindex="0" { (words::plain(&page.checkpoint, 4_000)) } }
        }
    }
}

/// The reader knows the address of this page better than we do.
const SERVER: &str = "$QUORATE_SERVER";
