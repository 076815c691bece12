//! C2SP tlog-checkpoint: the signed note in which a log states its size and root.
//!
//! Knows how a checkpoint is written and who may sign it. Does not know which checkpoints a log
//! has signed before: that no two of them contradict each other is the commit rule's promise
//! (`docs/spec/log.md`).

use std::fmt;
use std::str::FromStr;

use crate::decimal;
use crate::hash::{Hash, HashError, empty_root};
use crate::merkle::{TREE_SIZE_MAX, TreeHead};
use crate::note::{NoteError, SignedNote, Signer, VerifierKey};

/// The longest checkpoint text, without signatures, that is parsed. With signatures of its log's keys it fits into what
/// is told to everybody, and so do two of them in a proof.
pub const CHECKPOINT_TEXT_BYTES_MAX: usize = 8 * 1024;

/// The identity of a log: not empty, one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

/// A log's tree head, as its checkpoint says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: Origin,
    head: TreeHead,
    extensions: Vec<String>,
}

/// Why a text is no checkpoint, or none of this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Longer than [`CHECKPOINT_TEXT_BYTES_MAX`].
    #[error("checkpoint text has {got} bytes, limit {limit}")]
    TooLong {
        /// Bytes seen.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Fewer than three lines, or no newline at the end.
    #[error("checkpoint text is not three lines or more")]
    Lines,
    /// The origin is empty or has a control character.
    #[error("checkpoint origin is not a non-empty line")]
    Origin,
    /// The size is no canonical decimal within [`TREE_SIZE_MAX`].
    #[error("checkpoint size is not a decimal from 0 to {TREE_SIZE_MAX}")]
    Size,
    /// The root is no base64 hash.
    #[error("checkpoint root is not a hash")]
    Root(#[source] HashError),
    /// Size 0 with a root that is not the empty tree's.
    #[error("checkpoint of an empty tree has root {got}")]
    EmptyTreeRoot {
        /// Root seen.
        got: Hash,
    },
    /// An empty extension line.
    #[error("checkpoint has an empty extension line")]
    EmptyExtension,
    /// Not signed as it must be.
    #[error("checkpoint is not a signed note to be trusted")]
    Note(#[from] NoteError),
    /// Signed by a key that is not this origin's.
    #[error("checkpoint has origin {got:?}, not {want:?}")]
    OriginMismatch {
        /// Origin seen.
        got: String,
        /// Origin that the key speaks for.
        want: String,
    },
}

impl Origin {
    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Checkpoint {
    /// The checkpoint of this tree, without extension lines.
    pub fn new(origin: Origin, head: TreeHead) -> Result<Self, CheckpointError> {
        if head.size > TREE_SIZE_MAX {
            return Err(CheckpointError::Size);
        }
        if head.size == 0 && head.root != empty_root() {
            return Err(CheckpointError::EmptyTreeRoot { got: head.root });
        }
        Ok(Self { origin, head, extensions: Vec::new() })
    }

    /// Reads a checkpoint's text, without signatures; believes nothing of it.
    // SPEC tlog-checkpoint: the text is at least three non-empty lines, separated by newlines.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > CHECKPOINT_TEXT_BYTES_MAX {
            return Err(CheckpointError::TooLong { got: text.len(), limit: CHECKPOINT_TEXT_BYTES_MAX });
        }
        let text = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let head = TreeHead {
            // SPEC tlog-checkpoint: the tree size is a decimal with no leading zeroes.
            size: decimal::parse(size).ok_or(CheckpointError::Size)?,
            root: root.parse().map_err(CheckpointError::Root)?,
        };
        let mut checkpoint = Self::new(origin.parse()?, head)?;
        checkpoint.extensions = lines.map(parse_extension).collect::<Result<_, _>>()?;
        Ok(checkpoint)
    }

    /// Reads a signed checkpoint and checks that `log` signed it as its own.
    pub fn open(bytes: &[u8], log: &VerifierKey) -> Result<Self, CheckpointError> {
        Self::from_note(&SignedNote::parse(bytes)?, log)
    }

    /// The same for a note that has been parsed already. The key's name is the origin it speaks
    /// for; signatures of other keys change nothing.
    // SPEC tlog-checkpoint: the log's key name SHOULD match the origin line; ours does, and a key
    // of one log never vouches for another.
    pub fn from_note(note: &SignedNote, log: &VerifierKey) -> Result<Self, CheckpointError> {
        let opened = note.open(std::slice::from_ref(log))?;
        let checkpoint = Self::parse(opened.text())?;
        if checkpoint.origin.as_str() != log.name().as_str() {
            return Err(CheckpointError::OriginMismatch { got: checkpoint.origin.0, want: log.name().to_string() });
        }
        Ok(checkpoint)
    }

    /// Signs it with the log's key, whose name must be the origin.
    ///
    /// The caller answers for the commit rule: never two roots for one size, never a smaller tree.
    pub fn sign(&self, log: &Signer) -> Result<SignedNote, CheckpointError> {
        let name = log.verifier().name();
        if self.origin.as_str() != name.as_str() {
            return Err(CheckpointError::OriginMismatch { got: self.origin.0.clone(), want: name.to_string() });
        }
        Ok(SignedNote::sign(self.to_string(), log)?)
    }

    /// The log.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The number of entries.
    pub const fn size(&self) -> u64 {
        self.head.size
    }

    /// The root over them.
    pub const fn root(&self) -> &Hash {
        &self.head.root
    }

    /// Size and root.
    pub const fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Opaque lines that other logs may add.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl FromStr for Origin {
    type Err = CheckpointError;

    // SPEC tlog-checkpoint: the origin MUST be non-empty; clients MUST NOT assume that it follows
    // the recommended format.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > CHECKPOINT_TEXT_BYTES_MAX {
            return Err(CheckpointError::TooLong { got: text.len(), limit: CHECKPOINT_TEXT_BYTES_MAX });
        }
        if text.is_empty() || text.chars().any(|c| c < ' ') {
            return Err(CheckpointError::Origin);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The checkpoint's text: what is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.head.size, self.head.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

// SPEC tlog-checkpoint: extension lines, if any, MUST be non-empty.
fn parse_extension(line: &str) -> Result<String, CheckpointError> {
    if line.is_empty() {
        return Err(CheckpointError::EmptyExtension);
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer(name: &str) -> Signer {
        Signer::from_seed(name.parse().unwrap(), &[7; 32])
    }

    #[test]
    fn the_example_of_the_spec_round_trips() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!(checkpoint.origin().as_str(), "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size(), 20_852_163);
        assert_eq!(checkpoint.to_string(), EXAMPLE);
    }

    #[test]
    fn text_is_at_least_three_non_empty_lines() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let table = [
            (String::new(), CheckpointError::Lines),
            ("o\n5\n".into(), CheckpointError::Lines),
            (format!("o\n5\n{root}"), CheckpointError::Lines),
            (format!("\n5\n{root}\n"), CheckpointError::Origin),
            (format!("o\r\n5\n{root}\n"), CheckpointError::Origin),
            (format!("o\n5\n{root}\n\n"), CheckpointError::EmptyExtension),
        ];
        for (text, error) in table {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
        assert!(matches!(Checkpoint::parse("o\n5\nshort\n"), Err(CheckpointError::Root(_))));
    }

    #[test]
    fn tree_size_is_a_decimal_with_no_leading_zeroes() {
        for size in ["", "05", "+5", "5 ", "0x5", "9223372036854775808"] {
            let text = EXAMPLE.replace("20852163", size);
            assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::Size), "{size}");
        }
    }

    #[test]
    fn an_empty_tree_has_the_empty_root() {
        let empty = Checkpoint::new("o".parse().unwrap(), TreeHead::empty()).unwrap();
        assert_eq!(Checkpoint::parse(&empty.to_string()).unwrap(), empty);
        assert!(matches!(Checkpoint::parse(&EXAMPLE.replace("20852163", "0")), Err(CheckpointError::EmptyTreeRoot { .. })));
    }

    #[test]
    fn extension_lines_are_kept_and_must_be_non_empty() {
        let text = format!("{EXAMPLE}one\ntwo\n");
        let checkpoint = Checkpoint::parse(&text).unwrap();
        assert_eq!(checkpoint.extensions(), ["one", "two"]);
        assert_eq!(checkpoint.to_string(), text);
        assert_eq!(Checkpoint::parse(&format!("{EXAMPLE}\ntwo\n")), Err(CheckpointError::EmptyExtension));
    }

    #[test]
    fn the_key_of_one_log_never_vouches_for_another() {
        let ours = Checkpoint::new("ours".parse().unwrap(), TreeHead::empty()).unwrap();
        let note = ours.sign(&signer("ours")).unwrap();
        let bytes = note.to_string().into_bytes();
        assert_eq!(Checkpoint::open(&bytes, signer("ours").verifier()).unwrap(), ours);

        assert!(matches!(ours.sign(&signer("theirs")), Err(CheckpointError::OriginMismatch { .. })));
        let stolen = SignedNote::sign(ours.to_string(), &signer("theirs")).unwrap();
        assert_eq!(
            Checkpoint::from_note(&stolen, signer("theirs").verifier()),
            Err(CheckpointError::OriginMismatch { got: "ours".into(), want: "theirs".into() })
        );
        assert_eq!(Checkpoint::from_note(&stolen, signer("ours").verifier()), Err(CheckpointError::Note(NoteError::NoKnownSigner)));
    }

    #[test]
    fn an_oversized_text_is_refused_with_got_and_limit() {
        let text = format!("{EXAMPLE}{}\n", "x".repeat(CHECKPOINT_TEXT_BYTES_MAX));
        assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::TooLong { got: text.len(), limit: CHECKPOINT_TEXT_BYTES_MAX }));
    }
}
