//! A witness and its disk: the real machine of `quorate-tlog`, which keeps before it cosigns.

use std::convert::Infallible;

use quorate_tlog::note::NoteSignature;
use quorate_tlog::witness::WitnessError;
use quorate_tlog::{AddCheckpoint, Cosigner, CosignerKey, LogEquivocation, Origin, VerifierKey, Witness};

/// What a witness says to one question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Its cosignature.
    Cosigned(NoteSignature),
    /// It stands at another size.
    Stands(u64),
    /// Anything else.
    Refused,
}

/// A witness of one log.
#[derive(Debug)]
pub struct WitnessDesk {
    name: String,
    seed: [u8; 32],
    log: VerifierKey,
    machine: Witness,
    /// What is on the disk: the last checkpoint that was cosigned.
    kept: Option<Vec<u8>>,
    /// What convicts the log.
    evidence: Option<LogEquivocation>,
}

impl WitnessDesk {
    /// Witness number `number` of a log.
    pub fn new(number: usize, log: &VerifierKey) -> Self {
        let mut seed = [0x77; 32];
        seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let name = format!("witness-{number}.example/w");
        let machine = machine(&name, &seed, log);
        Self { name, seed, log: log.clone(), machine, kept: None, evidence: None }
    }

    /// Its public key.
    pub fn key(&self) -> &CosignerKey {
        self.machine.cosigner().verifier()
    }

    /// What convicts the log, if it has been asked for a contradiction.
    pub fn evidence(&self) -> Option<&LogEquivocation> {
        self.evidence.as_ref()
    }

    /// Starts again from what is on the disk. False: it could not, which must not happen.
    pub fn restart(&mut self) -> bool {
        self.machine = machine(&self.name, &self.seed, &self.log);
        let Some(kept) = &self.kept else { return true };
        self.log.name().as_str().parse().is_ok_and(|origin: Origin| self.machine.resume(&origin, kept).is_ok())
    }

    /// Answers a question at `now`, in seconds since the Epoch.
    pub fn answer(&mut self, request: &AddCheckpoint, now: u64) -> Answer {
        let kept = &mut self.kept;
        let keep = |record: &quorate_tlog::witness::Record| -> Result<(), Infallible> {
            *kept = Some(record.to_bytes());
            Ok(())
        };
        match self.machine.add_checkpoint(request, now, keep) {
            Ok(line) => Answer::Cosigned(line),
            Err(refused) => {
                self.evidence = self.evidence.take().or_else(|| self.machine.contradiction(request));
                match refused {
                    WitnessError::Conflict { size } => Answer::Stands(size),
                    _ => Answer::Refused,
                }
            }
        }
    }
}

fn machine(name: &str, seed: &[u8; 32], log: &VerifierKey) -> Witness {
    let cosigner = Cosigner::from_seed(name.parse().expect("a key name"), seed);
    Witness::new(cosigner, std::slice::from_ref(log)).expect("the log's name is an origin")
}
