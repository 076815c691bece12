//! The row of the verdict in force, and states and flags as rows have them.

use quorate_proto::Digest;
use quorate_tally::{Flag, State};

use super::{IndexError, array};

/// The verdict in force on an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictRow {
    /// Of the verdict.
    pub leaf: u64,
    /// The state.
    pub state: State,
    /// The flags, by [`flag_bit`].
    pub flags: u8,
    /// SHA-256 of the verdict without time and log size: equal means nothing changed.
    pub content: Digest,
}

/// A row's byte is the place in this list: new states stand at its end.
const STATES: [State; 11] = [
    State::Contested,
    State::Reproduced,
    State::Equivalent,
    State::Suspect,
    State::Unreproducible,
    State::Unbuildable,
    State::Pending,
    State::Compromised,
    State::Explained,
    State::EnvironmentDependent,
    State::Inconclusive,
];

const FLAGS: [Flag; 6] = [Flag::Equivocation, Flag::RegistrySplit, Flag::Mutated, Flag::SourceSplit, Flag::Withheld, Flag::Drill];

impl VerdictRow {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut value = self.content.as_bytes().to_vec();
        value.extend_from_slice(&self.leaf.to_be_bytes());
        value.extend([state_byte(self.state), self.flags]);
        value
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, IndexError> {
        let malformed = || IndexError::Row("verdict");
        let (content, rest) = value.split_first_chunk::<32>().ok_or_else(malformed)?;
        let (leaf, &[state, flags]) = rest.split_last_chunk::<2>().ok_or_else(malformed)?;
        let [leaf] = array(leaf, "verdict")?;
        Ok(Self { leaf, state: state_of(state)?, flags, content: Digest::from_bytes(*content) })
    }

    /// Whether it belongs to what people look at first.
    pub fn needs_attention(&self) -> bool {
        needs_attention(self.state, self.flags)
    }
}

/// Whether a verdict belongs to what people look at first. A drill is no incident.
pub fn needs_attention(state: State, flags: u8) -> bool {
    let is_drill = flags & flag_bit(Flag::Drill) != 0;
    !is_drill && (flags != 0 || matches!(state, State::Suspect | State::Contested | State::Compromised))
}

/// The bit of a flag in a row.
pub fn flag_bit(flag: Flag) -> u8 {
    match flag {
        Flag::Equivocation => 1,
        Flag::RegistrySplit => 2,
        Flag::Mutated => 4,
        Flag::SourceSplit => 8,
        Flag::Withheld => 16,
        Flag::Drill => 32,
    }
}

pub(super) fn state_byte(state: State) -> u8 {
    STATES.iter().position(|s| *s == state).and_then(|at| u8::try_from(at).ok()).expect("every state is in the list")
}

pub(super) fn state_of(byte: u8) -> Result<State, IndexError> {
    STATES.get(usize::from(byte)).copied().ok_or(IndexError::Row("state"))
}

/// A state by its name.
pub fn state_named(name: &str) -> Option<State> {
    STATES.into_iter().find(|state| state.name() == name)
}

/// A flag by its name.
pub fn flag_named(name: &str) -> Option<Flag> {
    FLAGS.into_iter().find(|flag| flag.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_flag_has_a_number_of_its_own() {
        for state in State::ORDER {
            assert_eq!(state_of(state_byte(state)).ok(), Some(state));
            assert_eq!(state_named(state.name()), Some(state));
        }
        assert_eq!(FLAGS.into_iter().map(flag_bit).sum::<u8>(), 0b11_1111);
    }
}
