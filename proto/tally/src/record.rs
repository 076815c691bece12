//! Records: what an operator's votes say of it over many tasks.
//!
//! One vote that could have been copied says nothing: slow builders cast such votes too. Twenty of which none was ever
//! its own say that it may have copied everything. It takes no vote away. `docs/spec/tally.md`, section "Records".

use quorate_proto::OperatorId;

use crate::grade::Grade;
use crate::verdict::Verdict;

/// So many tasks are looked at before anybody is said to have no vote of its own.
pub const TASKS_MIN: usize = 20;

/// What is known of an operator's votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Tasks that it has results of.
    pub tasks: usize,
    /// Whether a verdict has ever called a vote of it its own.
    pub owns: Ownership,
}

/// Whether a vote was ever its operator's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// None was: all of them may have been copied.
    #[default]
    Never,
    /// One was blind or witnessed.
    Once,
}

impl Record {
    /// Whether the operator may have copied everything.
    pub fn is_follower(&self) -> bool {
        self.tasks >= TASKS_MIN && self.owns == Ownership::Never
    }
}

/// The operators whose votes a verdict calls their own.
pub fn owners(verdict: &Verdict) -> impl Iterator<Item = OperatorId> {
    verdict.votes.iter().filter(|vote| vote.grade.is_some_and(|grade| grade > Grade::Follower)).map(|vote| vote.operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_a_follower_before_twenty_tasks_nor_after_one_vote_of_its_own() {
        let of = |tasks, owns| Record { tasks, owns }.is_follower();
        assert_eq!([of(19, Ownership::Never), of(20, Ownership::Never), of(1_000, Ownership::Once)], [false, true, false]);
    }
}
