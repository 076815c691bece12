//! Marks as the index keeps them: what the last tally of each slot showed, and which commitments wait.
//!
//! These rows follow from the log and a time. An index that was rebuilt has none, and no tally either: both are made
//! anew.

use std::collections::{BTreeMap, BTreeSet};

use quorate_proto::{ArtifactSlot, OperatorId, Timestamp};
use quorate_tally::Mark;
use quorate_tally::record::{Ownership, Record, TASKS_MIN};
use serde::{Deserialize, Serialize};

use super::batch::MarkChanges;
use super::index::{IndexError, Order};
use super::rows::{self, SlotKey};
use super::{Store, StoreError};

/// Marks of one operator that are looked through for a list.
const MARKS_LISTED_MAX: usize = 1_000;

/// A mark, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredMark {
    /// The task.
    #[serde(flatten)]
    pub slot: ArtifactSlot,
    /// The mark.
    #[serde(flatten)]
    pub mark: Mark,
}

impl Store {
    /// Marks of an operator, at most [`MARKS_LISTED_MAX`].
    pub fn marks_of(&self, operator: OperatorId) -> Result<Vec<StoredMark>, StoreError> {
        let rows = self.index.scan(&rows::marks_prefix(operator), Order::Ascending).take(MARKS_LISTED_MAX);
        let read = |value: &[u8]| serde_json::from_slice(value).map_err(|_| StoreError::from(IndexError::Row("mark")));
        rows.map(|row| read(&row?.1)).collect()
    }

    /// What is known of an operator's votes. Tasks are counted to [`TASKS_MIN`].
    pub fn record_of(&self, operator: OperatorId) -> Result<Record, StoreError> {
        let mut tasks = BTreeSet::new();
        for row in self.index.scan(&rows::operator_slots_prefix(operator), Order::Ascending) {
            tasks.extend(rows::slots_in(&row?.1)?);
            if tasks.len() >= TASKS_MIN {
                break;
            }
        }
        let owns = if self.index.contains(&rows::owner(operator))? { Ownership::Once } else { Ownership::Never };
        Ok(Record { tasks: tasks.len(), owns })
    }

    /// What has to change for the index to hold just these marks of a slot, of the operators that are named.
    pub(crate) fn mark_changes(
        &self,
        slot: &ArtifactSlot,
        operators: &BTreeSet<OperatorId>,
        marks: &[Mark],
    ) -> Result<MarkChanges, StoreError> {
        let key = SlotKey::of(slot);
        let value = |mark: &Mark| serde_json::to_vec(&StoredMark { slot: slot.clone(), mark: mark.clone() });
        let mut new: BTreeMap<_, _> =
            marks.iter().map(|mark| (rows::mark(mark, key), value(mark).expect("a mark holds nothing that JSON cannot say"))).collect();
        let mut gone = Vec::new();
        for operator in operators {
            for row in self.index.scan(&rows::slot_marks_prefix(*operator, key), Order::Ascending) {
                let held = row?.0;
                if new.remove(&held).is_none() {
                    gone.push(held);
                }
            }
        }
        Ok(MarkChanges { new: new.into_iter().collect(), gone })
    }

    /// Slots with a commitment that no result has revealed, and until when each is to be.
    pub(crate) fn open_commitments(&self) -> Result<Vec<(SlotKey, Timestamp)>, StoreError> {
        self.index.scan(rows::OPEN_PREFIX, Order::Ascending).map(|row| Ok(rows::read_open(&row?.1)?)).collect()
    }
}
