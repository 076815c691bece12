//! To whose declarations a policy listens: people for what they may say, operators for what is theirs.

use std::collections::BTreeSet;

use quorate_proto::declaration::Declaration;
use quorate_proto::{OperatorId, SignerId};

use super::file::{May, PolicyFile};
use super::voters::check_name;
use super::{Policy, PolicyError};

impl Policy {
    /// Whether a declaration counts: it is by a person who may say such things, or an operator speaks of what is its own.
    /// Whoever may say anything may take it back.
    pub fn hears(&self, declaration: &Declaration) -> bool {
        let signer = declaration.signer();
        let may = |what| self.file.person.iter().any(|person| person.key == signer && person.may.contains(&what));
        match declaration {
            Declaration::Advisory(_) => may(May::Advise),
            Declaration::Vouch(_) => may(May::Vouch),
            Declaration::Revocation(_) => self.is_operator(signer),
            Declaration::Retraction(_) => may(May::Advise) || may(May::Vouch) || self.is_operator(signer),
        }
    }

    /// People who may declare something, by name.
    pub(crate) fn people_who_may(&self, what: May) -> impl Iterator<Item = &str> {
        self.file.person.iter().filter(move |person| person.may.contains(&what)).map(|person| person.name.as_str())
    }

    /// The name that this policy gives to a signer of declarations, else its key.
    pub fn name_of_signer(&self, signer: &SignerId) -> String {
        let person = self.file.person.iter().find(|person| person.key == *signer).map(|person| person.name.clone());
        let operator = || self.voters.iter().find(|voter| SignerId::from(voter.operator) == *signer).map(|voter| voter.name.clone());
        person.or_else(operator).unwrap_or_else(|| signer.to_string())
    }

    fn is_operator(&self, signer: SignerId) -> bool {
        OperatorId::from_bytes(*signer.as_bytes()).is_ok_and(|operator| self.enrolled.contains(&operator))
    }
}

/// Names and keys are each one person's, and everybody may do something. An operator may be a person too.
pub(super) fn check(file: &PolicyFile) -> Result<(), PolicyError> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for person in &file.person {
        check_name(&person.name)?;
        if !names.insert(&person.name) || !keys.insert(person.key) || person.may.is_empty() {
            return Err(PolicyError::Person(person.name.clone()));
        }
    }
    Ok(())
}
