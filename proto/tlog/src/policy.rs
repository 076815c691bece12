//! C2SP tlog-policy: which logs, which witnesses, and which sets of witnesses are enough.
//!
//! A function of a policy and a note. Knows no file, no clock and no network; what a URL means is the
//! caller's. Names are octets: two names are one only if their bytes are.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use parse::{POLICY_BYTES_MAX, ParseError};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature::{Cosignature, CosignerKey};
use crate::note::{NoteError, SignedNote, VerifierKey};

/// A policy. Every name in it is defined, no key stands twice, and the quorum can be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogPolicy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// The name of a witness or group: octets without white space and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

/// A log whose checkpoints count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key, whose name is its origin.
    pub key: VerifierKey,
    /// Where it is, if that is said.
    pub url: Option<Vec<u8>>,
}

/// A witness whose cosignatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What the policy calls it.
    pub name: Name,
    /// Its key.
    pub key: CosignerKey,
    /// Where it is, if that is said: its submission prefix.
    pub url: Option<Vec<u8>>,
}

/// Members of which so many have to have witnessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    name: Name,
    threshold: usize,
    members: Vec<Name>,
}

/// What is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// The log's own signature.
    None,
    /// That this witness or group has witnessed.
    Of(Name),
}

/// A checkpoint that a policy accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The cosignatures of the policy's witnesses that are on it, also those that were not needed.
    pub cosignatures: Vec<Cosignature>,
}

/// Whose cosignatures a checkpoint has, and whose it could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Witnesses that have cosigned.
    pub have: Vec<Name>,
    /// Witnesses that count for the quorum and have not.
    pub lacking: Vec<Name>,
}

/// Why a policy does not accept a note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is no checkpoint that any of the logs has signed.
    #[error("checkpoint is not one of the policy's logs")]
    Log(#[source] CheckpointError),
    /// A cosignature by a known witness does not hold.
    #[error("cosignature")]
    Cosignature(#[source] NoteError),
    /// Not enough witnesses.
    #[error("quorum `{quorum}` is not met: {lacking}")]
    Quorum {
        /// What the quorum is called.
        quorum: Name,
        /// Who has and who has not.
        lacking: Lacking,
    },
}

impl TlogPolicy {
    /// That of `witnesses` at least `threshold` have cosigned; threshold 0 asks for none. The same rules
    /// as for a text: no key and no name twice, and a threshold that can be reached.
    pub fn k_of_n(logs: Vec<Log>, witnesses: Vec<Witness>, threshold: usize) -> Result<Self, ParseError> {
        let group = Name(b"witnesses".to_vec());
        let members = witnesses.iter().map(|witness| witness.name.clone()).collect();
        let (groups, quorum) = match threshold {
            0 => (Vec::new(), Quorum::None),
            _ => (vec![Group { name: group.clone(), threshold, members }], Quorum::Of(group)),
        };
        // What a text could not say, a value must not say either.
        Self::parse(&Self { logs, witnesses, groups, quorum }.to_bytes())
    }

    /// The same witnesses and quorum for one log, which says who is asked for what in a file of its own.
    pub fn of_log(self, key: VerifierKey) -> Result<Self, ParseError> {
        // What a text could not say, a value must not say either: a log that is its own witness.
        Self::parse(&Self { logs: vec![Log { key, url: None }], ..self }.to_bytes())
    }

    /// The logs, none where they are known from elsewhere.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// What is enough.
    pub const fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// Opens a checkpoint that one of the policy's logs has signed and a quorum of its witnesses has cosigned.
    pub fn accept(&self, note: &SignedNote) -> Result<Accepted, PolicyError> {
        // SPEC tlog-policy: a checkpoint is valid if it is signed by any one of the listed logs.
        let mut refused = PolicyError::Log(NoteError::NoKnownSigner.into());
        for log in &self.logs {
            match self.accept_of(&log.key, note) {
                Err(PolicyError::Log(CheckpointError::Note(NoteError::NoKnownSigner))) => {}
                Err(error) => refused = error,
                accepted => return accepted,
            }
        }
        Err(refused)
    }

    /// The same for a log that is known from elsewhere, whatever logs the policy lists.
    pub fn accept_of(&self, log: &VerifierKey, note: &SignedNote) -> Result<Accepted, PolicyError> {
        let checkpoint = Checkpoint::from_note(note, log).map_err(PolicyError::Log)?;
        let keys: Vec<_> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let cosignatures = note.cosignatures(&keys).map_err(PolicyError::Cosignature)?;
        let cosigned: BTreeSet<_> =
            self.witnesses.iter().filter(|witness| cosignatures.iter().any(|c| *c.key() == witness.key)).map(|w| w.name.clone()).collect();
        match &self.quorum {
            Quorum::Of(quorum) if !self.is_met_by(&cosigned) => {
                Err(PolicyError::Quorum { quorum: quorum.clone(), lacking: self.lacking(&cosigned) })
            }
            _ => Ok(Accepted { checkpoint, cosignatures }),
        }
    }

    /// Whether these witnesses are enough.
    // SPEC tlog-policy: a group witnesses a checkpoint if and only if at least k of its n members have.
    pub fn is_met_by(&self, cosigned: &BTreeSet<Name>) -> bool {
        let Quorum::Of(quorum) = &self.quorum else { return true };
        // Groups name only what stands before them: one pass in their order decides all.
        let mut witnessed: BTreeSet<&Name> = self.witnesses.iter().map(|w| &w.name).filter(|name| cosigned.contains(*name)).collect();
        for group in &self.groups {
            if group.members.iter().filter(|member| witnessed.contains(member)).count() >= group.threshold {
                witnessed.insert(&group.name);
            }
        }
        witnessed.contains(quorum)
    }

    /// The witnesses that count for the quorum, directly or within a group.
    pub fn counting(&self) -> BTreeSet<Name> {
        let members: BTreeMap<&Name, &[Name]> = self.groups.iter().map(|group| (&group.name, group.members.as_slice())).collect();
        let mut open: Vec<&Name> = match &self.quorum {
            Quorum::None => Vec::new(),
            Quorum::Of(name) => vec![name],
        };
        let mut counting = BTreeSet::new();
        while let Some(name) = open.pop() {
            match members.get(name) {
                Some(members) => open.extend(*members),
                None => drop(counting.insert(name.clone())),
            }
        }
        counting
    }

    fn lacking(&self, cosigned: &BTreeSet<Name>) -> Lacking {
        let lacking = self.counting().into_iter().filter(|name| !cosigned.contains(name)).collect();
        Lacking { have: cosigned.iter().cloned().collect(), lacking }
    }

    /// The policy as a file: what [`Self::parse`] reads as the same policy.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let with_url = |line: String, name: &[u8], key: String, url: Option<&Vec<u8>>| {
            let parts = [line.as_bytes(), name, key.as_bytes()].into_iter().chain(url.map(Vec::as_slice));
            parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ')
        };
        lines.extend(self.logs.iter().map(|log| with_url("log".to_owned(), b"", log.key.to_string(), log.url.as_ref())));
        let witness = |w: &Witness| with_url("witness".to_owned(), &w.name.0, w.key.to_string(), w.url.as_ref());
        lines.extend(self.witnesses.iter().map(witness));
        for group in &self.groups {
            let threshold = group.threshold.to_string();
            let head = [&b"group"[..], &group.name.0, threshold.as_bytes()];
            let members = group.members.iter().map(|member| member.0.as_slice());
            lines.push(head.into_iter().chain(members).collect::<Vec<_>>().join(&b' '));
        }
        let quorum = match &self.quorum {
            Quorum::None => parse::NONE,
            Quorum::Of(name) => &name.0,
        };
        lines.push([&b"quorum "[..], quorum].concat());
        lines.into_iter().flat_map(|line| [line, vec![b'\n']].concat()).collect()
    }
}

impl Name {
    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::name(text.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[Name]| match names {
            [] => "nobody".to_owned(),
            names => names.iter().map(Name::to_string).collect::<Vec<_>>().join(", "),
        };
        write!(f, "cosigned by {}; not by {}", list(&self.have), list(&self.lacking))
    }
}

#[cfg(test)]
mod tests;
