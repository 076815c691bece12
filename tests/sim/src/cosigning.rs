//! How a coordinator asks its witnesses: all at once for the newest checkpoint, published once a quorum has
//! cosigned. A machine after `coordinator/src/witnesses.rs`, whose shell does the same over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_tlog::policy::{self, Quorum};
use quorate_tlog::{CosignerKey, SignedNote, TlogPolicy, TreeHead};

use crate::timing::{WITNESS_QUESTIONS_MAX, WITNESS_RETRY_FIRST, WITNESS_RETRY_LAST, WITNESS_TIMEOUT};
use crate::witness::Answer;

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Ask a witness, from the size that it is thought to stand at.
    Ask {
        /// Which one.
        witness: usize,
        /// Names the round, for the answer.
        round: u64,
        /// The size to begin from.
        old: u64,
    },
    /// Call [`Cosigning::wake`] then.
    WakeAt(Duration, u64),
    /// A checkpoint has its quorum for the first time.
    Published(TreeHead),
}

/// A checkpoint as it was signed.
pub type Signed = (TreeHead, SignedNote);

/// The machine.
#[derive(Debug)]
pub struct Cosigning {
    policy: TlogPolicy,
    keys: Vec<CosignerKey>,
    sizes: Vec<u64>,
    newest: Option<Signed>,
    round: Option<Round>,
    rounds: u64,
    retry: Duration,
    published: Vec<Signed>,
}

#[derive(Debug)]
struct Round {
    number: u64,
    head: TreeHead,
    note: SignedNote,
    /// Questions to each witness that has not answered.
    open: BTreeMap<usize, u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Too few have cosigned.
    Open,
    /// Enough have.
    Met,
    /// Too few have, all have answered or the time is over: a pause.
    Resting,
}

/// Of `keys`, so many have to cosign.
pub fn quorum(keys: &[CosignerKey], threshold: usize) -> TlogPolicy {
    let log = policy::Log { key: crate::ledger::signer().verifier().clone(), url: None };
    let witness = |(number, key): (usize, &CosignerKey)| policy::Witness {
        name: format!("w{number}").parse().expect("a name"),
        key: key.clone(),
        url: None,
    };
    let witnesses = keys.iter().enumerate().map(witness).collect();
    TlogPolicy::k_of_n(vec![log], witnesses, threshold).expect("a threshold that can be met")
}

impl Cosigning {
    /// Of these witnesses so many have to cosign.
    pub fn new(keys: Vec<CosignerKey>, threshold: usize) -> Self {
        let (policy, sizes) = (quorum(&keys, threshold), vec![0; keys.len()]);
        Self { policy, keys, sizes, newest: None, round: None, rounds: 0, retry: WITNESS_RETRY_FIRST, published: Vec::new() }
    }

    /// The policy.
    pub fn policy(&self) -> &TlogPolicy {
        &self.policy
    }

    /// Every checkpoint that was published, with the cosignatures that it had last.
    pub fn published(&self) -> &[Signed] {
        &self.published
    }

    /// The checkpoint of a round, for the question.
    pub fn asked_for(&self, round: u64) -> Option<(TreeHead, &SignedNote)> {
        self.round.as_ref().filter(|open| open.number == round).map(|round| (round.head, &round.note))
    }

    /// The newest checkpoint, with what cosignatures it has: what a coordinator that does not wait for a quorum shows.
    pub fn shown(&self) -> Option<Signed> {
        let round = self.round.as_ref().map(|round| (round.head, round.note.clone()));
        round.or_else(|| self.newest.clone())
    }

    /// The log has a new durable checkpoint.
    pub fn on_checkpoint(&mut self, signed: Signed, now: Duration) -> Vec<Step> {
        self.newest = Some(signed);
        match &self.round {
            Some(round) if round.state != State::Met => Vec::new(),
            _ => self.begin(now),
        }
    }

    fn begin(&mut self, now: Duration) -> Vec<Step> {
        let Some((head, note)) = self.newest.clone() else { return Vec::new() };
        self.rounds += 1;
        let number = self.rounds;
        let open = (0..self.keys.len()).map(|witness| (witness, 1)).collect();
        self.round = Some(Round { number, head, note, open, state: State::Open });
        let old = |witness: usize| self.sizes[witness].min(head.size);
        let asks = (0..self.keys.len()).map(|witness| Step::Ask { witness, round: number, old: old(witness) });
        asks.chain([Step::WakeAt(now + WITNESS_TIMEOUT, number)]).collect()
    }

    /// A witness has answered.
    pub fn on_answer(&mut self, round: u64, witness: usize, answer: &Answer, now: Duration) -> Vec<Step> {
        let Some(open) = self.round.as_mut().filter(|open| open.number == round) else { return Vec::new() };
        let Some(questions) = open.open.get_mut(&witness) else { return Vec::new() };
        let mut steps = Vec::new();
        match answer {
            Answer::Stands(size) if *size <= open.head.size && *questions < WITNESS_QUESTIONS_MAX => {
                *questions += 1;
                self.sizes[witness] = *size;
                return vec![Step::Ask { witness, round, old: *size }];
            }
            Answer::Cosigned(line) => {
                let cosigned = open.note.clone().with_signature(line.clone());
                let holds = |note: &SignedNote| note.cosignatures(std::slice::from_ref(&self.keys[witness])).is_ok();
                if let Some(note) = cosigned.ok().filter(holds) {
                    open.note = note;
                    self.sizes[witness] = open.head.size;
                }
                steps = self.publish();
            }
            Answer::Stands(_) | Answer::Refused => {}
        }
        steps.extend(self.close(round, witness, now));
        steps
    }

    /// The witness is done with; the round may be.
    fn close(&mut self, round: u64, witness: usize, now: Duration) -> Vec<Step> {
        let Some(open) = self.round.as_mut().filter(|open| open.number == round) else { return Vec::new() };
        open.open.remove(&witness);
        let is_newest = self.newest.as_ref().is_some_and(|(head, _)| *head == open.head);
        match open.state {
            State::Met if !is_newest => self.begin(now),
            State::Open if open.open.is_empty() => self.rest(now),
            _ => Vec::new(),
        }
    }

    fn publish(&mut self) -> Vec<Step> {
        let Some(open) = &mut self.round else { return Vec::new() };
        if !is_met(&self.policy, &self.keys, &open.note) {
            return Vec::new();
        }
        let first = open.state != State::Met;
        open.state = State::Met;
        self.retry = WITNESS_RETRY_FIRST;
        if !first {
            self.published.pop();
        }
        self.published.push((open.head, open.note.clone()));
        if first { vec![Step::Published(open.head)] } else { Vec::new() }
    }

    fn rest(&mut self, now: Duration) -> Vec<Step> {
        let Some(open) = &mut self.round else { return Vec::new() };
        open.state = State::Resting;
        let until = now + self.retry;
        self.retry = (self.retry * 2).min(WITNESS_RETRY_LAST);
        vec![Step::WakeAt(until, open.number)]
    }

    /// The time of [`Step::WakeAt`] has come.
    pub fn wake(&mut self, round: u64, now: Duration) -> Vec<Step> {
        match self.round.as_ref().filter(|open| open.number == round).map(|open| open.state) {
            Some(State::Open) => self.rest(now),
            Some(State::Resting) => self.begin(now),
            Some(State::Met) | None => Vec::new(),
        }
    }
}

fn is_met(policy: &TlogPolicy, keys: &[CosignerKey], note: &SignedNote) -> bool {
    if *policy.quorum() == Quorum::None {
        return true;
    }
    let Ok(cosigned) = note.cosignatures(keys) else { return false };
    let has = |witness: &&policy::Witness| cosigned.iter().any(|cosignature| *cosignature.key() == witness.key);
    policy.is_met_by(&policy.witnesses().iter().filter(has).map(|witness| witness.name.clone()).collect())
}
