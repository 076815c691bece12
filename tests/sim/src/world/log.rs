//! The coordinator at its desk, and the witnesses that it asks. Questions to witnesses are HTTP: they do not go over
//! the mesh's connections.

use std::rc::Rc;

use quorate_proto::feed::EquivocationProof;
use quorate_tlog::AddCheckpoint;

use super::{Happening, Message, World};
use crate::cosigning::Step;
use crate::desk::Task;
use crate::frames::FrameId;
use crate::witness::Answer;

impl World {
    /// The coordinator is the last of the nodes.
    fn seat(&self) -> usize {
        self.nodes.len() - 1
    }

    pub(super) fn desk_arrival(&mut self, to: usize, frame: FrameId) {
        if to != self.seat() {
            return;
        }
        let Some(desk) = &mut self.desk else { return };
        let Ok(verified) = self.frames.admission(frame) else { return };
        let next = desk.take_in(Rc::clone(verified), self.frames.item(frame).envelope.clone());
        self.plan(next);
    }

    fn plan(&mut self, tasks: impl IntoIterator<Item = (std::time::Duration, Task)>) {
        for (after, task) in tasks {
            self.at(self.now + after, Happening::Desk(task));
        }
    }

    pub(super) fn desk_task(&mut self, task: Task) {
        let (now, seat) = (self.now, self.seat());
        let Some(desk) = &mut self.desk else { return };
        match task {
            Task::Close => {
                let next = desk.close();
                self.plan([next]);
            }
            Task::Written => {
                let (signed, next) = desk.written(now);
                let steps = desk.cosigning.on_checkpoint(signed, now);
                self.plan(next);
                self.steps(steps);
            }
            Task::Tally(since) => {
                let node = &self.nodes[seat];
                let proofs: Vec<EquivocationProof> =
                    node.store.convicted().filter_map(|id| node.store.proof(id)).map(|proof| proof.as_ref().clone()).collect();
                let next = desk.tally(since, now, node.clock(now), &proofs);
                self.plan(next);
            }
            Task::Round(round) => {
                let steps = desk.cosigning.wake(round, now);
                self.steps(steps);
            }
        }
    }

    fn steps(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Ask { witness, round, old } => self.ask_witness(witness, round, old),
                Step::WakeAt(at, round) => self.at(at, Happening::Desk(Task::Round(round))),
                Step::Published(head) => {
                    let now = self.now;
                    if let Some(desk) = &mut self.desk {
                        desk.on_published(head, now);
                    }
                }
            }
        }
    }

    fn ask_witness(&mut self, witness: usize, round: u64, old: u64) {
        let Some(desk) = &self.desk else { return };
        let Some((head, note)) = desk.cosigning.asked_for(round) else { return };
        let Some(request) = desk.ledger.request(head, note, old) else { return };
        let bytes = request.to_string().len();
        self.send(self.seat(), witness, bytes, &Message::Cosign(round, Rc::new(request)));
    }

    /// A witness keeps, and then answers: the answer leaves after its disk.
    pub(super) fn cosign(&mut self, from: usize, to: usize, round: u64, request: &AddCheckpoint) {
        let now = u64::try_from(self.nodes[to].clock(self.now).unix_seconds()).unwrap_or(1);
        let Some(witness) = &mut self.nodes[to].witness else { return };
        let answer = witness.answer(request, now);
        self.send(to, from, 200, &Message::Cosigned(round, answer));
    }

    pub(super) fn cosigned(&mut self, witness: usize, round: u64, answer: &Answer) {
        let now = self.now;
        let Some(desk) = &mut self.desk else { return };
        let steps = desk.cosigning.on_answer(round, witness, answer, now);
        self.steps(steps);
    }
}
