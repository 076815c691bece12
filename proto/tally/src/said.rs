//! What people say about an artifact: entries of the policy, and declarations of those to whom the policy listens.
//!
//! Both have the same effect. Declarations that the policy does not listen to, and advisories and vouches that their own
//! signers have taken back, are left out here and seen nowhere else. `docs/spec/tally.md`, section "Declarations".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::declaration::{Advisory, Declaration, Revocation, VerifiedDeclaration, Vouch};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactId, Digest, NodeId, OperatorId, SignerId, Timestamp};

use crate::policy::Policy;

/// Of declarations that say one thing a verdict names so many, those with the smallest digests: one would be enough
/// for what follows, and nobody makes a verdict long by declaring without end.
pub(crate) const NAMED_MAX: usize = 4;

/// What is said, and counts.
pub(crate) struct Said<'c> {
    pub(crate) policy: &'c Policy,
    artifact: &'c ArtifactId,
    declarations: BTreeMap<Digest, &'c VerifiedDeclaration>,
    /// By digest: the smallest first.
    advisories: Vec<(Digest, &'c Advisory)>,
    vouches: Vec<(Digest, &'c Vouch)>,
    revocations: BTreeMap<SignerId, Vec<(Digest, &'c Revocation)>>,
    /// What was taken back, by whom, and the first declaration that says so.
    retractions: BTreeMap<(Digest, SignerId), Digest>,
}

impl<'c> Said<'c> {
    /// The order of `declarations` and repetitions in it change nothing.
    pub(crate) fn of(policy: &'c Policy, artifact: &'c ArtifactId, declarations: &'c [Arc<VerifiedDeclaration>]) -> Self {
        let heard = declarations.iter().map(Arc::as_ref).filter(|one| policy.hears(one.declaration()));
        let declarations = heard.map(|one| (one.digest(), one)).collect();
        let none = (Vec::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (advisories, vouches, revocations, retractions) = none;
        let mut said = Self { policy, artifact, declarations, advisories, vouches, revocations, retractions };
        said.sort_out();
        said
    }

    fn sort_out(&mut self) {
        for (digest, one) in &self.declarations {
            match one.declaration() {
                Declaration::Retraction(back) => {
                    self.retractions.entry((back.statement, back.signer)).or_insert(*digest);
                }
                Declaration::Revocation(revocation) => {
                    self.revocations.entry(revocation.signer).or_default().push((*digest, revocation));
                }
                Declaration::Advisory(_) | Declaration::Vouch(_) => {}
            }
        }
        for (digest, one) in &self.declarations {
            match one.declaration() {
                _ if self.retractions.contains_key(&(*digest, one.signer())) => {}
                Declaration::Advisory(advisory) if advisory.names(self.artifact) => self.advisories.push((*digest, advisory)),
                Declaration::Vouch(vouch) if vouch.digest == self.artifact.digest => self.vouches.push((*digest, vouch)),
                _ => {}
            }
        }
        self.advisories.truncate(NAMED_MAX);
    }

    /// Ids of what says that the artifact is compromised, and the declarations among it.
    pub(crate) fn advisories(&self) -> Told {
        let of_policy = self.policy.advisories(self.artifact).map(|(id, _)| id);
        Told::of(of_policy, self.advisories.iter().map(|(digest, advisory)| (*digest, advisory.id.as_str())))
    }

    /// Ids of the vouches, in force as of a time, for this difference. None is in force at no time.
    pub(crate) fn vouches(&self, rebuilt: &str, as_of: Option<Timestamp>) -> Told {
        let in_force = |vouch: &Vouch| vouch.rebuilt == rebuilt && as_of.is_some_and(|now| now <= vouch.until);
        let declared = self.vouches.iter().filter(|(_, vouch)| in_force(vouch)).take(NAMED_MAX);
        Told::of(self.policy.vouches(self.artifact, rebuilt, as_of), declared.map(|(digest, vouch)| (*digest, vouch.id.as_str())))
    }

    /// Whether the verdict depends on when it is asked for.
    pub(crate) fn depends_on_time(&self) -> bool {
        self.policy.depends_on_time(self.artifact) || !self.vouches.is_empty()
    }

    /// The result was taken back.
    pub(crate) fn is_retracted(&self, result: &VerifiedStatement) -> bool {
        self.policy.is_retracted(result.digest()) || self.retractions.contains_key(&(result.digest(), result.operator().into()))
    }

    /// The place in a feed is of no trusted key: whatever stands there was never seen.
    pub(crate) fn is_revoked(&self, operator: OperatorId, node: NodeId, sequence: u64) -> bool {
        self.policy.is_revoked(operator, node, sequence) || self.revocations(operator, node, sequence).next().is_some()
    }

    /// Whether a result is as if it had never been.
    pub(crate) fn is_silenced(&self, result: &VerifiedStatement) -> bool {
        self.is_retracted(result) || self.is_revoked(result.operator(), result.node(), result.position().sequence)
    }

    /// The declaration that silences a result, if the policy itself does not: of several that with the smallest digest.
    pub(crate) fn silencer(&self, result: &VerifiedStatement) -> Option<Digest> {
        let (operator, node, sequence) = (result.operator(), result.node(), result.position().sequence);
        if self.policy.is_retracted(result.digest()) || self.policy.is_revoked(operator, node, sequence) {
            return None;
        }
        let retraction = self.retractions.get(&(result.digest(), operator.into())).copied();
        self.revocations(operator, node, sequence).chain(retraction).min()
    }

    /// A declaration that counts.
    pub(crate) fn declaration(&self, digest: &Digest) -> Option<&'c VerifiedDeclaration> {
        self.declarations.get(digest).copied()
    }

    fn revocations(&self, operator: OperatorId, node: NodeId, sequence: u64) -> impl Iterator<Item = Digest> {
        let of_operator = self.revocations.get(&SignerId::from(operator)).into_iter().flatten();
        of_operator.filter(move |(_, revocation)| revocation.covers(operator, node, sequence)).map(|(digest, _)| *digest)
    }
}

/// Entries and declarations that say one thing: their ids, and the declarations' envelopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) ids: BTreeSet<String>,
    pub(crate) by: BTreeSet<Digest>,
}

impl Told {
    fn of<'t>(entries: impl Iterator<Item = &'t str>, declared: impl Iterator<Item = (Digest, &'t str)> + Clone) -> Self {
        let ids = entries.chain(declared.clone().map(|(_, id)| id)).map(str::to_owned).collect();
        Self { ids, by: declared.map(|(digest, _)| digest).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The ids, as people read them.
    pub(crate) fn listed(&self) -> String {
        self.ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}
