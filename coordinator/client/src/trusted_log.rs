//! The log that a policy names: its key, whose cosignatures are enough, and which of its checkpoints were found good.
//!
//! Many bundles end in one checkpoint, whose signatures are checked once. What is remembered belongs to one key and
//! one set of witnesses, is known again only as a whole, and is bounded; what was refused is not remembered.

use std::cell::RefCell;
use std::collections::VecDeque;

use quorate_tlog::policy::{Name, PolicyError};
use quorate_tlog::proof::ProofError;
use quorate_tlog::{Checkpoint, SignedNote, TlogPolicy, VerifierKey};

/// Checkpoints that are remembered, each within `NOTE_BYTES_MAX`. Of more the oldest is forgotten and costs its signatures again.
const CHECKPOINTS_MAX: usize = 32;

/// A log, and who has to have seen what it says.
#[derive(Clone, Debug)]
pub(crate) struct TrustedLog {
    key: VerifierKey,
    witnesses: Option<TlogPolicy>,
    good: RefCell<VecDeque<(SignedNote, Opened)>>,
}

/// A checkpoint that the log has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// What it says.
    pub(crate) checkpoint: Checkpoint,
    /// Whether enough witnesses have seen it.
    pub(crate) witnessed: Witnessed,
}

/// Whether the witnesses that the policy asks for have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Witnessed {
    /// The policy asks for none.
    NotAsked,
    /// Enough of them have.
    By(Vec<String>),
    /// Too few.
    TooFew {
        /// Those that have.
        have: Vec<String>,
        /// Those that count and have not.
        lacking: Vec<String>,
    },
}

impl TrustedLog {
    /// A log of which nothing was seen yet.
    pub(crate) fn new(key: VerifierKey, witnesses: Option<TlogPolicy>) -> Self {
        Self { key, witnesses, good: RefCell::default() }
    }

    /// Its key.
    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Whose cosignatures are enough, if any are asked for.
    pub(crate) fn witnesses(&self) -> Option<&TlogPolicy> {
        self.witnesses.as_ref()
    }

    /// Checks the signatures of a checkpoint, unless this very note was found good before.
    pub(crate) fn open(&self, note: &SignedNote) -> Result<Opened, ProofError> {
        let mut good = self.good.borrow_mut();
        if let Some((_, opened)) = good.iter().rev().find(|(known, _)| known == note) {
            return Ok(opened.clone());
        }
        let checkpoint = Checkpoint::from_note(note, &self.key).map_err(ProofError::Checkpoint)?;
        let opened = Opened { checkpoint, witnessed: self.witnessed(note).map_err(ProofError::Policy)? };
        if good.len() >= CHECKPOINTS_MAX {
            good.pop_front();
        }
        good.push_back((note.clone(), opened.clone()));
        Ok(opened)
    }

    /// A cosignature that does not hold makes the proof one that does not; too few are too little evidence.
    fn witnessed(&self, note: &SignedNote) -> Result<Witnessed, PolicyError> {
        let Some(witnesses) = &self.witnesses else { return Ok(Witnessed::NotAsked) };
        let names = |names: &[Name]| names.iter().map(Name::to_string).collect();
        match witnesses.accept_of(&self.key, note) {
            Ok(accepted) => {
                let cosigned = |key| accepted.cosignatures.iter().any(|cosignature| cosignature.key() == key);
                let by = witnesses.witnesses().iter().filter(|witness| cosigned(&witness.key));
                Ok(Witnessed::By(by.map(|witness| witness.name.to_string()).collect()))
            }
            Err(PolicyError::Quorum { lacking, .. }) => {
                Ok(Witnessed::TooFew { have: names(&lacking.have), lacking: names(&lacking.lacking) })
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use quorate_tlog::{Cosigner, Signer, TreeHead, leaf_hash};

    fn signer(seed: u8) -> Signer {
        Signer::from_seed("quorate.example/log".parse().unwrap(), &[seed; 32])
    }

    fn cosigner() -> Cosigner {
        Cosigner::from_seed("witness.example/w1".parse().unwrap(), &[61; 32])
    }

    /// A log of which one witness has to have seen what it says.
    fn log() -> TrustedLog {
        let witnesses = format!("witness w1 {}\nquorum w1\n", cosigner().verifier());
        TrustedLog::new(signer(7).verifier().clone(), Some(TlogPolicy::parse(witnesses.as_bytes()).unwrap()))
    }

    fn note(size: u64, signer: &Signer) -> SignedNote {
        let head = TreeHead { size, root: leaf_hash(&size.to_be_bytes()) };
        Checkpoint::new("quorate.example/log".parse().unwrap(), head).unwrap().sign(signer).unwrap()
    }

    fn cosigned(size: u64) -> SignedNote {
        let note = note(size, &signer(7));
        let cosignature = cosigner().cosign(note.unverified_text(), 1).unwrap();
        note.with_signature(cosignature).unwrap()
    }

    #[test]
    fn a_known_checkpoint_vouches_for_no_other_note() {
        let log = log();
        let by = Witnessed::By(vec!["w1".to_owned()]);
        for _ in 0..2 {
            assert_eq!(log.open(&cosigned(5)).unwrap().witnessed, by);
            let cut = log.open(&note(5, &signer(7))).unwrap();
            assert!(matches!(cut.witnessed, Witnessed::TooFew { .. }));
            assert!(log.open(&note(5, &signer(8))).is_err());
            // The signatures of one size under the text of another.
            let lines = cosigned(5).to_string().split_once("\n\n").unwrap().1.to_owned();
            let moved = format!("{}\n{lines}", note(6, &signer(7)).unverified_text());
            assert!(log.open(&SignedNote::parse(moved.as_bytes()).unwrap()).is_err());
        }
        assert_eq!(log.good.borrow().len(), 2);
    }

    #[test]
    fn no_more_checkpoints_are_remembered_than_is_said() {
        let log = log();
        for size in 1..=2 * CHECKPOINTS_MAX as u64 {
            log.open(&note(size, &signer(7))).unwrap();
            assert!(log.good.borrow().len() <= CHECKPOINTS_MAX);
        }
    }
}
