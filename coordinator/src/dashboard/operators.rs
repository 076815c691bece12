//! Who may vote, with their nodes.

use maud::{Markup, html};
use quorate_proto::OperatorId;
use quorate_tally::Policy;

use super::words;
use crate::store::{NodeSummary, Store, StoreError};

/// Nodes shown of one operator.
const NODES_SHOWN: usize = 50;

/// What the page shows.
pub(super) struct Operators {
    threshold: usize,
    rows: Vec<(String, OperatorId, Vec<NodeSummary>)>,
}

impl Operators {
    pub(super) fn load(store: &Store, policy: &Policy) -> Result<Self, StoreError> {
        let enrolled = policy.enrolled().iter();
        let rows = enrolled.map(|operator| Ok((policy.name_of(operator), *operator, store.nodes_of(*operator)?)));
        let mut rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { threshold: policy.threshold(), rows })
    }

    pub(super) fn render(&self) -> Markup {
        html! {
            section class="lead" {
                h1 { "Operators" }
                p class="sub" {
                    strong { (self.rows.len()) } " organisations may vote under this coordinator's policy; "
                    strong { (self.threshold) } " must agree. One operator has one vote, however many nodes it runs."
                }
            }
            @for (name, operator, nodes) in &self.rows {
                section class="operator" {
                    h2 { (words::plain(name, 64)) }
                    p class="digest" { code class="break" { (operator) } }
                    @if nodes.is_empty() {
                        p class="quiet" { "No node of this operator has answered yet." }
                    } @else {
                        (nodes_table(nodes))
                    }
                }
            }
        }
    }
}

fn nodes_table(nodes: &[NodeSummary]) -> Markup {
    html! {
        table class="list" {
            thead { tr {
                th scope="col" { "Node" }
                th scope="col" class="num" { "Results" }
                th scope="col" { "Last (UTC)" }
                th scope="col" { "Certified until" }
                th scope="col" { "Feed" }
            } }
            tbody { @for node in nodes.iter().take(NODES_SHOWN) {
                tr {
                    td data-label="Node" { code class="break" title=(node.node) { (words::short(&node.node.to_string())) "…" } }
                    td data-label="Results" class="num" { (words::number(node.results)) }
                    td data-label="Last (UTC)" class="time" { @if let Some(last) = node.last { (words::time(last)) } @else { "–" } }
                    td data-label="Certified until" class="time" { (words::time(node.certified_until)) }
                    td data-label="Feed" {
                        @if node.equivocated { span class="badge flag" { "two histories" } } @else { span class="says v-agree" { span class="mark" aria-hidden="true" { "✓" } "one history" } }
                    }
                }
            } }
        }
    }
}
