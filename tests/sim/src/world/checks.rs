//! Checks of build witnesses. Which results of others a node checks is decided by the real machine of
//! `quorate_proto::claims`, told every entry in the order in which the node takes it in; how far they agree, by
//! `quorate_proto::build_witness`. The rounds follow `node/src/daemon/work/checks.rs`.

use quorate_proto::TaskId;
use quorate_proto::build_witness::{BuildWitness, Intermediates, Salt};
use quorate_proto::dsse::Envelope;
use quorate_proto::verified::FeedItem;
use quorate_proto::witness_check::Claim;

use super::{Inner, World};
use crate::node::Look;
use crate::timing::{CHECKS_A_ROUND, QUEUE_EVERY};
use crate::work::{Job, Trade};

impl World {
    /// Builds of a task leave something from here on, and are checked.
    pub fn begin_task(&mut self, job: Job) {
        self.jobs.insert(job.truth.task(), job);
    }

    /// What a node says of its work.
    pub(super) fn witness(&self, number: usize, task: TaskId) -> Option<BuildWitness> {
        let node = &self.nodes[number];
        if node.trade == Trade::Parrot {
            return node.copied.get(&task).cloned().flatten();
        }
        let left = self.jobs.get(&task)?.left(number, node.trade)?;
        Some(left.witness(&Salt::of(&node.id(), &task)))
    }

    /// There is something to check: it is, in the next round.
    pub(super) fn plan_checks(&mut self, number: usize) {
        let memory = &mut self.nodes[number].memory;
        if memory.checking == Look::Idle && !memory.claims.ready(1).is_empty() {
            memory.checking = Look::UnderWay;
            self.later(number, QUEUE_EVERY, Inner::Check);
        }
    }

    /// A round of checks.
    pub(super) fn check(&mut self, number: usize) {
        for claim in self.nodes[number].memory.claims.ready(CHECKS_A_ROUND) {
            match self.kept(number, &claim.task()) {
                Some(own) => self.sign_check(number, claim, &own),
                None => self.nodes[number].memory.claims.forget(&claim),
            }
        }
        self.nodes[number].memory.checking = Look::Idle;
        self.plan_checks(number);
    }

    /// What the own build left; who has two histories, or builds nothing, keeps nothing.
    fn kept(&self, number: usize, task: &TaskId) -> Option<Intermediates> {
        let node = &self.nodes[number];
        let builds = matches!(node.trade, Trade::Builder | Trade::Falsifier) && node.twin.is_none();
        self.jobs.get(task).filter(|_| builds)?.left(number, node.trade)
    }

    fn sign_check(&mut self, number: usize, claim: Claim, own: &Intermediates) {
        let Some(word) = self.jobs.get(&claim.task()).map(|job| job.truth) else { return };
        let (node, now, agreement) = (&self.nodes[number], self.clock(number), claim.agreement(own));
        let statement = claim.into_statement(agreement, node.member.operator(), node.store.position(node.id()), now);
        let envelope = Envelope::sign(statement.to_payload(), node.member.key()).bytes().to_vec();
        let frame = self.frames.intern(&FeedItem { certificate: node.member.certificate().to_vec(), envelope });
        self.publish(number, word, frame);
    }
}
