//! Routes about those who vote: operators with their nodes and marks, and the drills that some marks come from.

use axum::Json;
use axum::extract::State;
use quorate_proto::{ArtifactSlot, Digest, NodeId, OperatorId, Timestamp};
use quorate_tally::{MarkKind, Policy};
use serde::Serialize;

use super::{ApiError, App};
use crate::drill::{DrillView, in_log};
use crate::store::{NodeSummary, Store, StoreError, StoredMark};

/// Drills that are listed, the newest.
const DRILLS_MAX: usize = 500;

#[derive(Serialize)]
pub(super) struct Operators {
    threshold: usize,
    operators: Vec<OperatorRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperatorRow {
    name: String,
    operator: OperatorId,
    /// Whether it may have copied everything.
    follower: bool,
    nodes: Vec<NodeRow>,
    marks: Vec<MarkRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeRow {
    node: NodeId,
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_signed: Option<Timestamp>,
    certified_until: Timestamp,
    equivocated: bool,
}

/// A mark: what for, where, and the envelopes that show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MarkRow {
    kind: MarkKind,
    #[serde(flatten)]
    slot: ArtifactSlot,
    node: NodeId,
    shown_by: Vec<Digest>,
}

#[derive(Serialize)]
pub(super) struct DrillList {
    drills: Vec<DrillView>,
    truncated: bool,
}

pub(super) async fn operators(State(app): State<App>) -> Result<Json<Operators>, ApiError> {
    let policy = std::sync::Arc::clone(&app.policy);
    app.read(move |store| Operators::of(store, &policy)).await.map(Json)
}

pub(super) async fn drills(State(app): State<App>) -> Result<Json<DrillList>, ApiError> {
    let policy = std::sync::Arc::clone(&app.policy);
    app.read(move |store| DrillList::of(store, &policy)).await.map(Json)
}

impl Operators {
    fn of(store: &Store, policy: &Policy) -> Result<Self, StoreError> {
        let rows = policy.enrolled().iter().map(|operator| OperatorRow::of(store, policy, *operator));
        let mut operators = rows.collect::<Result<Vec<_>, _>>()?;
        operators.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { threshold: policy.threshold(), operators })
    }
}

impl OperatorRow {
    fn of(store: &Store, policy: &Policy, operator: OperatorId) -> Result<Self, StoreError> {
        let nodes = store.nodes_of(operator)?.into_iter().map(NodeRow::from).collect();
        let marks = store.marks_of(operator)?.into_iter().map(MarkRow::from).collect();
        let follower = store.record_of(operator)?.is_follower();
        Ok(Self { name: policy.name_of(&operator), operator, follower, nodes, marks })
    }
}

impl DrillList {
    fn of(store: &Store, policy: &Policy) -> Result<Self, StoreError> {
        let mut drills = in_log(store, policy)?;
        let truncated = drills.len() > DRILLS_MAX;
        drills.reverse();
        drills.truncate(DRILLS_MAX);
        Ok(Self { drills, truncated })
    }
}

impl From<NodeSummary> for NodeRow {
    fn from(summary: NodeSummary) -> Self {
        let NodeSummary { node, entries, last, equivocated, certified_until } = summary;
        Self { node, entries, last_signed: last, certified_until, equivocated }
    }
}

impl From<StoredMark> for MarkRow {
    fn from(StoredMark { slot, mark }: StoredMark) -> Self {
        Self { kind: mark.kind, slot, node: mark.node, shown_by: mark.shown_by }
    }
}
