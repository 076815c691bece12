//! Why a text is no policy.

use super::Attribute;

/// A text that is no usable policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Too large.
    #[error("policy of {got} bytes, limit {limit}")]
    TooLarge {
        /// Bytes given.
        got: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not TOML of the expected shape.
    #[error("malformed policy")]
    Malformed(#[source] Box<toml::de::Error>),
    /// A version that these rules do not know.
    #[error("policy has version {0}, expected 1")]
    Version(u32),
    /// An operator that stands twice, by key or by name.
    #[error("operator `{0}` stands twice in the policy")]
    DuplicateOperator(String),
    /// A group with the name of another group or of an operator.
    #[error("the name of group `{0}` stands twice in the policy")]
    DuplicateGroup(String),
    /// A name that could mislead a reader.
    #[error("name {0:?} must have 1 to 64 letters, digits, spaces or `-_.`")]
    OperatorName(String),
    /// A threshold that nobody or everybody reaches.
    #[error("threshold {threshold} with {operators} operators: expected 1 to {operators}")]
    Threshold {
        /// The threshold given.
        threshold: usize,
        /// How many operators, or groups and operators in none, there are.
        operators: usize,
    },
    /// A group's `k` that nobody or everybody reaches.
    #[error("group `{name}` asks for {k} of its {members} members: expected 1 to {members}")]
    GroupThreshold {
        /// The group.
        name: String,
        /// Its `k`.
        k: usize,
        /// How many members it has.
        members: usize,
    },
    /// A member that nothing in the policy is named like.
    #[error("group `{group}` has the member `{member}`, which is no operator and no group")]
    UnknownMember {
        /// The group.
        group: String,
        /// The name.
        member: String,
    },
    /// A member of two groups, whose vote would count twice.
    #[error("`{0}` is a member more than once")]
    SharedMember(String),
    /// Groups that are members of each other.
    #[error("group `{0}` is a member of itself, by way of others or directly")]
    Cycle(String),
    /// All operators together are not distinct enough.
    #[error("`distinct.{attribute} = {needed}`: the operators have fewer different values")]
    Distinct {
        /// What they should differ in.
        attribute: Attribute,
        /// How many values there should be.
        needed: usize,
    },
    /// No vote could ever count.
    #[error("`grades` is empty: a vote of no grade counts; leave it out to take every grade")]
    Grades,
    /// A person that stands twice, by key or by name, or that may do nothing.
    #[error("person `{0}` needs a name and a key that no other has, and `may` one thing at least")]
    Person(String),
    /// An advisory about nothing, or about two things.
    #[error("advisory `{0}` needs either `digest` or `package`")]
    Advisory(String),
    /// A revocation of nothing, of two things, of a stranger, or of an operator since a position.
    #[error("revocation `{0}` needs either `node`, with `since` if you like, or `operator` by its name and no `since`")]
    Revocation(String),
}
