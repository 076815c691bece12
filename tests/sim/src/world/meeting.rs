//! Since when a node could know: when it was first connected, over whatever honest nodes, with some that had heard
//! one thing and some that had heard the other. A node whose lines all lead into the other half meets late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::World;
use crate::cast::Role;
use crate::frames::FrameId;

/// When each node met both of two histories, and both of two views.
#[derive(Debug, Default)]
pub struct Meetings {
    /// Of a feed.
    pub histories: BTreeMap<usize, Duration>,
    /// Of the log.
    pub views: BTreeMap<usize, Duration>,
}

impl World {
    /// Who is connected with whom has changed.
    pub(super) fn look_who_meets(&mut self) {
        if self.twins.is_none() || !self.was_split {
            return;
        }
        for company in self.companies() {
            let views: BTreeSet<usize> = company.iter().filter_map(|node| self.nodes[*node].mirrors).collect();
            let histories: BTreeSet<FrameId> = company.iter().flat_map(|node| self.first_words_of_the_guilty(*node)).collect();
            for node in company {
                if views.len() > 1 {
                    self.observed.meetings.views.entry(node).or_insert(self.now);
                }
                if histories.len() > self.those(Role::Equivocator).len() {
                    self.observed.meetings.histories.entry(node).or_insert(self.now);
                }
            }
        }
    }

    /// What a node holds as the first entry of each that has two histories.
    fn first_words_of_the_guilty(&self, node: usize) -> impl Iterator<Item = FrameId> {
        let store = &self.nodes[node].store;
        self.those(Role::Equivocator).into_iter().filter_map(|guilty| store.feed(self.nodes[guilty].id()).next())
    }

    /// The honest nodes, together where something passes between them.
    fn companies(&self) -> Vec<BTreeSet<usize>> {
        let mut companies: Vec<BTreeSet<usize>> = Vec::new();
        for node in self.honest() {
            if companies.iter().any(|company| company.contains(&node)) {
                continue;
            }
            let (mut company, mut open) = (BTreeSet::from([node]), vec![node]);
            while let Some(node) = open.pop() {
                let linked = self.nodes[node].links.iter().copied();
                let heard = linked.filter(|peer| self.nodes[*peer].is_honest() && self.network.joins(node, *peer));
                open.extend(heard.filter(|peer| company.insert(*peer)).collect::<Vec<_>>());
            }
            companies.push(company);
        }
        companies
    }
}
