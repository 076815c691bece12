//! One key, two trees: two coordinators race for the cosignatures of one set of witnesses, some of which cosign
//! anything. The number of nodes is the most witnesses that there are.

use std::rc::Rc;
use std::time::Duration;

use quorate_tlog::{AddCheckpoint, LogEquivocation};

use super::Report;
use crate::agenda::Agenda;
use crate::cosigning::{Cosigning, Signed, Step};
use crate::figures::{Figures, Unit};
use crate::invariants::Judgement;
use crate::ledger::{Ledger, signer};
use crate::network::{Conditions, Network};
use crate::promises;
use crate::random::Random;
use crate::witness::{Answer, WitnessDesk};

const END: Duration = Duration::from_mins(3);
const GROWTHS: u64 = 12;

/// Any time after which simulated clocks run, in seconds since the Epoch.
const EPOCH: u64 = 1_768_435_200;

/// A witness.
#[derive(Debug)]
enum Sworn {
    /// Cosigns what extends what it cosigned, and keeps it first.
    Truly(Box<WitnessDesk>),
    /// Has a memory for each view.
    Falsely(Box<[WitnessDesk; 2]>),
}

#[derive(Clone, Debug)]
enum Happening {
    Grow { view: usize },
    Asked { view: usize, round: u64, witness: usize, request: Rc<AddCheckpoint> },
    Answered { view: usize, round: u64, witness: usize, answer: Answer },
    Wake { view: usize, round: u64 },
    Restart { witness: usize },
}

struct Play {
    now: Duration,
    agenda: Agenda<Happening>,
    network: Network,
    random: Random,
    witnesses: Vec<Sworn>,
    ledgers: [Ledger; 2],
    asking: [Cosigning; 2],
    /// How many entries both trees have.
    common: u64,
    lost_witnesses: u64,
}

pub(super) fn play(seed: u64, most: usize) -> Report {
    let mut play = Play::new(seed, most.max(4));
    play.run();
    let broken = promises![
        two_views_never_both_reach_a_witness_quorum(&play),
        a_client_with_either_bundle_is_told(&play),
        every_witness_goes_on_after_a_restart(&play),
    ];
    let mut figures = Figures::default();
    let published = play.asking.iter().filter(|asking| play.beyond(asking).is_some()).count();
    figures.number("views with a quorum", Unit::Count, published as u64);
    let truly = play.witnesses.iter().filter_map(Sworn::truly);
    figures.number("honest witnesses that can convict the log", Unit::Count, truly.filter(|w| w.evidence().is_some()).count() as u64);
    Report { broken, figures }
}

impl Play {
    fn new(seed: u64, most: usize) -> Self {
        let mut random = Random::new(seed);
        let count = 4 + random.index(most - 3);
        let lying = random.index(count.div_ceil(2));
        let key = signer().verifier().clone();
        let sworn = |number: usize| {
            let desk = || WitnessDesk::new(number, &key);
            if number < lying { Sworn::Falsely(Box::new([desk(), desk()])) } else { Sworn::Truly(Box::new(desk())) }
        };
        let witnesses: Vec<Sworn> = (0..count).map(sworn).collect();
        let keys: Vec<_> = (0..count).map(|number| WitnessDesk::new(number, &key).key().clone()).collect();
        let threshold = usize::midpoint(count, lying) + 1;
        let conditions = if random.chance(500) { Conditions::ordinary() } else { Conditions::bad() };
        let network = Network::new(conditions, count + 2, random.split());
        let asking = [0, 1].map(|_| Cosigning::new(keys.clone(), threshold));
        let (now, ledgers) = (Duration::ZERO, [Ledger::default(), Ledger::default()]);
        Self { now, agenda: Agenda::default(), network, random, witnesses, ledgers, asking, common: 0, lost_witnesses: 0 }
    }

    fn run(&mut self) {
        self.common = self.random.below(300);
        for ledger in &mut self.ledgers {
            drop(ledger.append((0..self.common).map(|n| n.to_be_bytes().to_vec()).collect()));
        }
        for view in [0, 1] {
            for _ in 0..GROWTHS {
                let at = self.random.between(Duration::ZERO, END / 2);
                self.agenda.put(at, Happening::Grow { view });
            }
        }
        for witness in 0..self.witnesses.len() {
            let at = self.random.between(Duration::ZERO, END);
            self.agenda.put(at, Happening::Restart { witness });
        }
        while let Some((at, happening)) = self.agenda.take().filter(|(at, _)| *at < END) {
            self.now = at;
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Grow { view } => {
                let entries = (0..=self.random.below(4)).map(|n| format!("{view} {n} {:?}", self.now).into_bytes()).collect();
                let signed = self.ledgers[view].append(entries);
                let steps = self.asking[view].on_checkpoint(signed, self.now);
                self.steps(view, steps);
            }
            Happening::Asked { view, round, witness, request } => {
                let now = EPOCH + self.now.as_secs();
                let answer = match &mut self.witnesses[witness] {
                    Sworn::Truly(desk) => desk.answer(&request, now),
                    Sworn::Falsely(desks) => desks[view].answer(&request, now),
                };
                let place = self.witnesses.len() + view;
                for at in self.network.send(witness, place, 200, self.now) {
                    let answer = answer.clone();
                    self.agenda.put(at, Happening::Answered { view, round, witness, answer });
                }
            }
            Happening::Answered { view, round, witness, answer } => {
                let steps = self.asking[view].on_answer(round, witness, &answer, self.now);
                self.steps(view, steps);
            }
            Happening::Wake { view, round } => {
                let steps = self.asking[view].wake(round, self.now);
                self.steps(view, steps);
            }
            Happening::Restart { witness } => {
                if let Sworn::Truly(desk) = &mut self.witnesses[witness] {
                    self.lost_witnesses += u64::from(!desk.restart());
                }
            }
        }
    }

    fn steps(&mut self, view: usize, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Ask { witness, round, old } => self.ask(view, witness, round, old),
                Step::WakeAt(at, round) => self.agenda.put(at, Happening::Wake { view, round }),
                Step::Published(_) => {}
            }
        }
    }

    fn ask(&mut self, view: usize, witness: usize, round: u64, old: u64) {
        let Some((head, note)) = self.asking[view].asked_for(round) else { return };
        let Some(request) = self.ledgers[view].request(head, note, old).map(Rc::new) else { return };
        let place = self.witnesses.len() + view;
        for at in self.network.send(place, witness, 2000, self.now) {
            let request = Rc::clone(&request);
            self.agenda.put(at, Happening::Asked { view, round, witness, request });
        }
    }

    /// The last published checkpoint that is not of the tree that both have.
    fn beyond<'p>(&self, asking: &'p Cosigning) -> Option<&'p Signed> {
        asking.published().iter().rev().find(|(head, _)| head.size > self.common)
    }
}

impl Sworn {
    fn truly(&self) -> Option<&WitnessDesk> {
        match self {
            Self::Truly(desk) => Some(desk),
            Self::Falsely(_) => None,
        }
    }
}

/// With a threshold above half of all and of those that lie, only one history gets there.
fn two_views_never_both_reach_a_witness_quorum(play: &Play) -> Judgement {
    let [one, other] = [0, 1].map(|view| play.beyond(&play.asking[view]));
    match (one, other) {
        (Some((one, _)), Some((other, _))) => {
            Err(format!("sizes {} and {} are both published, {} are common", one.size, other.size, play.common))
        }
        _ => Ok(()),
    }
}

/// A bundle of the one that has no quorum is refused; and whoever has the accepted one and meets the other holds
/// the proof that convicts the log.
fn a_client_with_either_bundle_is_told(play: &Play) -> Judgement {
    let shown = [0, 1].map(|view| play.beyond(&play.asking[view]).cloned().or_else(|| play.asking[view].shown()));
    let [Some(one), Some(other)] = &shown else { return Ok(()) };
    let mut accepted = 0;
    for (view, (head, note)) in [one, other].into_iter().enumerate() {
        let (entry, proof) = play.ledgers[view].bundle(head.size - 1, *head, note).ok_or("the log has no proof of its own entry")?;
        accepted += usize::from(proof.verify_under(entry, play.asking[view].policy()).is_ok());
    }
    if accepted > 1 {
        return Err("bundles of both views are accepted".to_owned());
    }
    let larger = usize::from(other.0.size > one.0.size);
    let found = LogEquivocation::find(signer().verifier(), &one.1, &other.1, play.ledgers[larger].tiles());
    let proof = found.map_err(|error| error.to_string())?.ok_or("two views, and no proof")?;
    proof.verify(signer().verifier()).map(drop).map_err(|error| error.to_string())
}

fn every_witness_goes_on_after_a_restart(play: &Play) -> Judgement {
    if play.lost_witnesses == 0 { Ok(()) } else { Err(format!("{} did not", play.lost_witnesses)) }
}
