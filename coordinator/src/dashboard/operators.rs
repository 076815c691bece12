//! Who may vote, with their nodes.

use maud::{Markup, html};
use quorate_proto::OperatorId;
use quorate_tally::{Policy, Record};

use super::words;
use crate::store::{NodeSummary, Store, StoreError, StoredMark};

/// Nodes shown of one operator.
const NODES_SHOWN: usize = 50;

/// Marks shown of one operator.
const MARKS_SHOWN: usize = 20;

/// What the page shows.
pub(super) struct Operators {
    threshold: usize,
    rows: Vec<Row>,
}

/// An operator.
struct Row {
    name: String,
    operator: OperatorId,
    nodes: Vec<NodeSummary>,
    marks: Vec<StoredMark>,
    record: Record,
}

impl Operators {
    pub(super) fn load(store: &Store, policy: &Policy) -> Result<Self, StoreError> {
        let enrolled = policy.enrolled().iter();
        let row = |operator: &OperatorId| {
            let (nodes, marks, record) = (store.nodes_of(*operator)?, store.marks_of(*operator)?, store.record_of(*operator)?);
            Ok(Row { name: policy.name_of(operator), operator: *operator, nodes, marks, record })
        };
        let mut rows = enrolled.map(row).collect::<Result<Vec<_>, StoreError>>()?;
        rows.sort_by(|a, b| a.name.cmp(&b.name));
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
            @for Row { name, operator, nodes, marks, record } in &self.rows {
                section class="operator" {
                    h2 { (words::plain(name, 64)) }
                    p class="digest" { code class="break" { (operator) } }
                    @if nodes.is_empty() {
                        p class="quiet" { "No node of this operator has answered yet." }
                    } @else {
                        (nodes_table(nodes))
                    }
                    @if record.is_follower() {
                        p class="alarm" { span class="badge flag" { "follower" } " may have copied everything: it has many results, and no vote of it was ever blind or witnessed" }
                    }
                    @if !marks.is_empty() { (marks_list(marks)) }
                }
            }
        }
    }
}

/// What the operator's nodes promised and did not keep, and which drills they agreed with.
fn marks_list(marks: &[StoredMark]) -> Markup {
    html! {
        p class="alarm" { strong { (marks.len()) } " broken promises and agreements with drills, the first of them:" }
        ul class="marks" { @for stored in marks.iter().take(MARKS_SHOWN) {
            li {
                span class="badge flag" { (stored.mark.kind) } " " (words::broken(stored.mark.kind)) ": "
                (words::plain(&stored.slot.package.to_string(), 120)) " " (words::plain(stored.slot.file.as_str(), 120))
                " " code title=(stored.mark.node) { (words::short(&stored.mark.node.to_string())) "…" }
            }
        } }
    }
}

fn nodes_table(nodes: &[NodeSummary]) -> Markup {
    html! {
        table class="list" {
            thead { tr {
                th scope="col" { "Node" }
                th scope="col" class="num" { "Entries" }
                th scope="col" { "Last (UTC)" }
                th scope="col" { "Certified until" }
                th scope="col" { "Feed" }
            } }
            tbody { @for node in nodes.iter().take(NODES_SHOWN) {
                tr {
                    td data-label="Node" { code class="break" title=(node.node) { (words::short(&node.node.to_string())) "…" } }
                    td data-label="Entries" class="num" { (words::number(node.entries)) }
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
