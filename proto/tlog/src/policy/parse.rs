//! Reading a policy file: octets, lines, definitions before uses.

use std::collections::BTreeSet;

use super::{Group, Log, Name, Quorum, TlogPolicy, Witness};
use crate::decimal;
use crate::note::KeyError;

/// The longest policy that is parsed.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// The most logs, witnesses and groups, of each. The specification asks for at least 32.
const DEFINITIONS_MAX: usize = 256;

/// The predefined quorum.
pub(super) const NONE: &[u8] = b"none";

/// Why bytes are no policy. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`POLICY_BYTES_MAX`].
    #[error("policy has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A control character other than tab and newline, or 0x7F.
    #[error("policy has octet {octet:#04x} at byte {offset}")]
    Octet {
        /// Which.
        octet: u8,
        /// Where.
        offset: usize,
    },
    /// The last line does not end in a newline.
    #[error("policy does not end in a newline")]
    End,
    /// A line that is none of the four kinds, or has too few or too many items.
    #[error("line {line} is no log, witness, group or quorum line")]
    Line {
        /// Which.
        line: usize,
    },
    /// A key that cannot be used here.
    #[error("line {line}: key")]
    Key {
        /// Which.
        line: usize,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A name that is empty, or has white space or a control character.
    #[error("not a name")]
    Name,
    /// A name that is defined already, or that is always defined.
    #[error("line {line}: `{name}` is defined already")]
    NameTaken {
        /// Which.
        line: usize,
        /// The name.
        name: Name,
    },
    /// A name that no line before has defined.
    #[error("line {line}: `{name}` is not defined before")]
    Undefined {
        /// Which.
        line: usize,
        /// The name.
        name: Name,
    },
    /// A public key that stands on another line as well, whatever it is called there.
    #[error("line {line}: the same public key stands twice")]
    KeyTwice {
        /// Which.
        line: usize,
    },
    /// A member that is in a group already.
    #[error("line {line}: `{name}` is in a group already")]
    MemberTwice {
        /// Which.
        line: usize,
        /// The name.
        name: Name,
    },
    /// A threshold that is no decimal from 1 to the number of members.
    #[error("line {line}: the threshold is not `all`, `any` or a number from 1 to {members}")]
    Threshold {
        /// Which.
        line: usize,
        /// How many members there are.
        members: usize,
    },
    /// No quorum line, or a second one.
    #[error("policy has {got} quorum lines, not 1")]
    Quorums {
        /// How many.
        got: usize,
    },
    /// More of one kind than are dealt with.
    #[error("policy has more than {limit} logs, witnesses or groups")]
    TooMany {
        /// Allowed of each.
        limit: usize,
    },
}

/// A policy in the making.
#[derive(Default)]
struct Reader {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorums: Vec<Quorum>,
    defined: BTreeSet<Name>,
    members: BTreeSet<Name>,
}

impl TlogPolicy {
    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        check_octets(bytes)?;
        // SPEC tlog-policy: each line is terminated by an ASCII newline.
        let lines = match bytes {
            [] => return Err(ParseError::Quorums { got: 0 }),
            [lines @ .., b'\n'] => lines,
            _ => return Err(ParseError::End),
        };
        let mut reader = Reader::default();
        for (line, text) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
            reader.line(line, text)?;
        }
        reader.finish()
    }
}

/// Checks a name.
pub(super) fn name(octets: &[u8]) -> Result<Name, ParseError> {
    let bad = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    if octets.is_empty() || octets.iter().any(bad) { Err(ParseError::Name) } else { Ok(Name(octets.to_vec())) }
}

// SPEC tlog-policy: the allowed octet values are 0x09, 0x0A, 0x20-0x7E, and 0x80-0xFF.
fn check_octets(bytes: &[u8]) -> Result<(), ParseError> {
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(ParseError::TooLong { got: bytes.len(), limit: POLICY_BYTES_MAX });
    }
    let bad = |byte: &u8| (*byte < b' ' && !matches!(byte, b'\t' | b'\n')) || *byte == 0x7f;
    match bytes.iter().position(bad) {
        Some(offset) => Err(ParseError::Octet { octet: bytes[offset], offset }),
        None => Ok(()),
    }
}

impl Reader {
    fn line(&mut self, line: usize, text: &[u8]) -> Result<(), ParseError> {
        // SPEC tlog-policy: whitespace means ASCII space and tab only; leading and trailing is allowed.
        let items: Vec<&[u8]> = text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(line, key, None),
            [b"log", key, url] => self.log(line, key, Some(url)),
            [b"witness", name, key] => self.witness(line, name, key, None),
            [b"witness", name, key, url] => self.witness(line, name, key, Some(url)),
            [b"group", name, threshold, members @ ..] => self.group(line, name, threshold, members),
            [b"quorum", name] => self.quorum(line, name),
            _ => Err(ParseError::Line { line }),
        }
    }

    fn log(&mut self, line: usize, key: &[u8], url: Option<&[u8]>) -> Result<(), ParseError> {
        let log = Log { key: read_key(line, key)?, url: url.map(<[u8]>::to_vec) };
        // SPEC tlog-policy: vkeys are duplicate if they wrap the same public key, whatever their name.
        if self.logs.iter().any(|held| held.key.public() == log.key.public()) {
            return Err(ParseError::KeyTwice { line });
        }
        push(&mut self.logs, log)
    }

    fn witness(&mut self, line: usize, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), ParseError> {
        let name = self.define(line, name)?;
        let witness = Witness { name, key: read_key(line, key)?, url: url.map(<[u8]>::to_vec) };
        if self.witnesses.iter().any(|held| held.key.public() == witness.key.public()) {
            return Err(ParseError::KeyTwice { line });
        }
        push(&mut self.witnesses, witness)
    }

    fn group(&mut self, line: usize, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), ParseError> {
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            number => {
                let number = str::from_utf8(number).ok().and_then(decimal::parse);
                number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
            }
        };
        // SPEC tlog-policy: it is required that 1 <= k <= n.
        if !(1..=members.len()).contains(&threshold) {
            return Err(ParseError::Threshold { line, members: members.len() });
        }
        let members = members.iter().map(|member| self.member(line, member)).collect::<Result<Vec<_>, _>>()?;
        let name = self.define(line, name)?;
        push(&mut self.groups, Group { name, threshold, members })
    }

    // SPEC tlog-policy: each defined name can be listed as a group member at most once.
    fn member(&mut self, line: usize, member: &[u8]) -> Result<Name, ParseError> {
        let name = self.known(line, member)?;
        if self.members.insert(name.clone()) { Ok(name) } else { Err(ParseError::MemberTwice { line, name }) }
    }

    fn quorum(&mut self, line: usize, name: &[u8]) -> Result<(), ParseError> {
        let quorum = if name == NONE { Quorum::None } else { Quorum::Of(self.known(line, name)?) };
        self.quorums.push(quorum);
        Ok(())
    }

    // SPEC tlog-policy: witnesses and groups share a single namespace; `none` is predefined.
    fn define(&mut self, line: usize, octets: &[u8]) -> Result<Name, ParseError> {
        let name = name(octets)?;
        if octets == NONE || !self.defined.insert(name.clone()) {
            return Err(ParseError::NameTaken { line, name });
        }
        Ok(name)
    }

    fn known(&self, line: usize, octets: &[u8]) -> Result<Name, ParseError> {
        let name = name(octets)?;
        if self.defined.contains(&name) { Ok(name) } else { Err(ParseError::Undefined { line, name }) }
    }

    // SPEC tlog-policy: a policy file must include exactly one quorum line.
    fn finish(mut self) -> Result<TlogPolicy, ParseError> {
        let got = self.quorums.len();
        match self.quorums.pop() {
            Some(quorum) if got == 1 => Ok(TlogPolicy { logs: self.logs, witnesses: self.witnesses, groups: self.groups, quorum }),
            _ => Err(ParseError::Quorums { got }),
        }
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), ParseError> {
    if list.len() == DEFINITIONS_MAX {
        return Err(ParseError::TooMany { limit: DEFINITIONS_MAX });
    }
    list.push(item);
    Ok(())
}

fn read_key<K: std::str::FromStr<Err = KeyError>>(line: usize, octets: &[u8]) -> Result<K, ParseError> {
    let text = str::from_utf8(octets).map_err(|_| ParseError::Key { line, source: KeyError::Parts })?;
    text.parse().map_err(|source| ParseError::Key { line, source })
}
