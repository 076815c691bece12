//! Incident queries: which results does a digest, package, commit, tool, operator, node or time touch.
//!
//! The answer points to evidence; nothing here has to be believed.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, NodeId, OperatorId, Purl, Timestamp};
use quorate_tally::share::Kind;

use super::budget::Budget;
use super::index::{IndexError, Order};
use super::read::SLOTS_OF_A_DIGEST_MAX;
use super::rows;
use super::terms::{purl_term, tool_term};
use super::{Store, StoreError};

/// Leaves that one part of a query may lead to before the answer is cut.
const CANDIDATES_MAX: usize = 100_000;

/// What is asked. All parts that are given must hold.
#[derive(Clone, Debug, Default)]
pub struct AffectedQuery {
    /// A file: published, rebuilt or used.
    pub digest: Option<Digest>,
    /// A package: published or used.
    pub purl: Option<Purl>,
    /// A source commit, lower-case hex.
    pub commit: Option<String>,
    /// A build tool: `name` or `name@version`.
    pub tool: Option<String>,
    /// Who answers.
    pub operator: Option<OperatorId>,
    /// Who signed.
    pub node: Option<NodeId>,
    /// Finished at or after.
    pub since: Option<Timestamp>,
    /// Finished at or before.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
}

/// Results that are affected.
#[derive(Clone, Debug, Default)]
pub struct Affected {
    /// Leaf and meaning, newest first.
    pub results: Vec<(u64, Arc<VerifiedStatement>)>,
    /// Whether there is more.
    pub truncated: bool,
}

/// A query that asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query names nothing: give at least one of digest, purl, commit, tool, operator, node, since, until")]
pub struct EmptyQuery;

/// Leaves that one part of a query leads to.
#[derive(Default)]
struct Candidates {
    leaves: BTreeSet<u64>,
    truncated: bool,
}

impl Candidates {
    fn extend(&mut self, leaves: impl IntoIterator<Item = u64>) -> bool {
        self.leaves.extend(leaves);
        self.truncated |= self.leaves.len() > CANDIDATES_MAX;
        !self.truncated
    }
}

impl AffectedQuery {
    /// Refuses a query that would list everything.
    pub fn check(&self) -> Result<(), EmptyQuery> {
        let named = self.digest.is_some() || self.purl.is_some() || self.commit.is_some() || self.tool.is_some();
        let asked = named || self.operator.is_some() || self.node.is_some() || self.since.is_some() || self.until.is_some();
        if asked { Ok(()) } else { Err(EmptyQuery) }
    }

    fn covers(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}

impl Store {
    /// Answers an incident query. Complexity: O(matches of each part), cut at 100,000 and by the budget.
    pub fn affected(&self, query: &AffectedQuery) -> Result<Affected, StoreError> {
        self.affected_within(query, &Budget::default())
    }

    pub(super) fn affected_within(&self, query: &AffectedQuery, budget: &Budget) -> Result<Affected, StoreError> {
        let mut parts = Vec::new();
        if let Some(digest) = query.digest {
            parts.push(self.by_digest(digest, budget)?);
        }
        if let Some(purl) = &query.purl {
            parts.push(self.by_purl(purl, budget)?);
        }
        if let Some(commit) = &query.commit {
            parts.push(self.by_terms([format!("commit:{commit}")])?);
        }
        if let Some(tool) = &query.tool {
            parts.push(self.by_tool(tool)?);
        }
        if let Some(node) = query.node {
            parts.push(self.by_nodes([node])?);
        }
        if let Some(operator) = query.operator
            && query.node.is_none()
        {
            let nodes: Vec<_> = self.operator_nodes(operator)?;
            parts.push(self.by_nodes(nodes)?);
        }
        if parts.is_empty() {
            parts.push(self.by_time(query)?);
        }
        self.select(query, &parts, budget)
    }

    fn select(&self, query: &AffectedQuery, parts: &[Candidates], budget: &Budget) -> Result<Affected, StoreError> {
        let size = self.log().published().head.size;
        let mut affected = Affected { truncated: parts.iter().any(|part| part.truncated), ..Affected::default() };
        let Some((first, rest)) = parts.split_first() else { return Ok(affected) };
        for leaf in first.leaves.iter().rev().filter(|leaf| **leaf < size) {
            if !rest.iter().all(|part| part.leaves.contains(leaf)) {
                continue;
            }
            if !budget.spend() {
                affected.truncated = true;
                break;
            }
            let Some(statement) = self.statement_at(*leaf)? else { continue };
            let by_operator = query.operator.is_none_or(|operator| statement.operator() == operator);
            if !by_operator || !query.covers(statement.result().finished_at) {
                continue;
            }
            if affected.results.len() == query.limit {
                affected.truncated = true;
                break;
            }
            affected.results.push((*leaf, statement));
        }
        Ok(affected)
    }

    fn by_digest(&self, digest: Digest, budget: &Budget) -> Result<Candidates, StoreError> {
        let mut found = self.by_terms([format!("digest:{digest}"), format!("environment:{digest}")])?;
        let artifacts = self.artifacts(digest, None)?;
        found.truncated |= artifacts.len() == SLOTS_OF_A_DIGEST_MAX;
        for artifact in artifacts {
            self.add_artifact(&mut found, &artifact, budget)?;
        }
        Ok(found)
    }

    fn by_purl(&self, purl: &Purl, budget: &Budget) -> Result<Candidates, StoreError> {
        let mut found = self.by_terms([purl_term(purl)])?;
        // Qualifiers are left aside: a mirror's copy of a bad release is as bad.
        let package = rows::unqualified(purl).parse().map_err(|_| IndexError::Row("package"))?;
        let (artifacts, truncated) = self.artifacts_of(&package, CANDIDATES_MAX, budget)?;
        found.truncated |= truncated;
        let slots: BTreeSet<_> = artifacts.iter().map(|artifact| rows::SlotKey::of(&artifact.slot)).collect();
        for slot in slots {
            // Every result in a slot is about its package.
            if !found.extend(self.slot_rows(slot, Kind::Result, u64::MAX)?.into_iter().map(|(leaf, _)| leaf)) {
                break;
            }
        }
        Ok(found)
    }

    fn add_artifact(&self, found: &mut Candidates, artifact: &quorate_proto::ArtifactId, budget: &Budget) -> Result<(), StoreError> {
        let rows = self.slot_rows(rows::SlotKey::of(&artifact.slot), Kind::Result, self.log().published().head.size)?;
        for (leaf, certificate) in rows.into_iter().rev() {
            if !budget.spend() {
                found.truncated = true;
                break;
            }
            if self.statement(leaf, certificate)?.artifact() == artifact {
                found.extend([leaf]);
            }
        }
        Ok(())
    }

    fn by_tool(&self, tool: &str) -> Result<Candidates, StoreError> {
        let term = tool_term(tool);
        let mut found = self.by_terms([term.clone()])?;
        for row in self.index.scan(&rows::inventory_prefix(&term), Order::Ascending).take(CANDIDATES_MAX) {
            let environment = rows::digest_at_end(&row?.0)?;
            let more = self.by_terms([format!("environment:{environment}")])?;
            if !found.extend(more.leaves) {
                break;
            }
        }
        Ok(found)
    }

    fn by_terms<const N: usize>(&self, terms: [String; N]) -> Result<Candidates, StoreError> {
        let mut found = Candidates::default();
        for term in terms {
            // Newest first, so that a cut drops the oldest.
            for row in self.index.scan(&rows::term_prefix(&term), Order::Descending) {
                if !found.extend(rows::numbers(&row?.1)) {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn operator_nodes(&self, operator: OperatorId) -> Result<Vec<NodeId>, StoreError> {
        self.index.scan(&rows::operator_prefix(operator), Order::Ascending).map(|row| Ok(rows::node_at_end(&row?.0)?)).collect()
    }

    fn by_nodes(&self, nodes: impl IntoIterator<Item = NodeId>) -> Result<Candidates, StoreError> {
        let mut found = Candidates::default();
        for node in nodes {
            for row in self.index.scan(&rows::feed_prefix(node), Order::Descending) {
                let chunk = row?.1;
                let leaves = (0..rows::FEED_CHUNK).map_while(|sequence| rows::FeedRow::read(&chunk, sequence)).map(|row| row.leaf);
                if !found.extend(leaves) {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn by_time(&self, query: &AffectedQuery) -> Result<Candidates, StoreError> {
        let hour = |time: Option<Timestamp>, open: u32| {
            time.map_or(open, |time| u32::try_from(time.unix_seconds().max(0) / 3600).unwrap_or(u32::MAX))
        };
        let (from, to) = (hour(query.since, 0), hour(query.until, u32::MAX - 1));
        let mut found = Candidates::default();
        if from > to {
            return Ok(found);
        }
        for row in self.index.range(rows::hour_prefix(from), rows::hour_prefix(to + 1), Order::Descending) {
            if !found.extend(rows::numbers(&row?.1)) {
                break;
            }
        }
        Ok(found)
    }
}
