//! Declarations as a log shows them: which stand before a size of it, and which of these are about a slot.
//!
//! No policy has a part here: whoever reads a log, under whatever policy, looks at the same. What a signer has taken back
//! is left out together with the retraction, as no policy could see either. `docs/spec/declarations.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorate_proto::declaration::{Declaration, Revocation, VerifiedDeclaration};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{ArtifactSlot, Digest, NodeId, OperatorId, Purl, SignerId};

/// Advisories and vouches of one signer that are looked at in one slot, the first in the log of those in force. One
/// advisory says all; whoever has said that much takes something back before it can say more.
pub const DECLARATIONS_OF_A_SIGNER_MAX: usize = 32;

/// All declarations of a log, up to some size.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    logged: BTreeMap<u64, Arc<VerifiedDeclaration>>,
    leaves: BTreeMap<Digest, u64>,
    /// Leaves of advisories and vouches by the file that they name.
    of_files: BTreeMap<Digest, Vec<u64>>,
    /// Leaves of advisories that name packages.
    of_packages: Vec<u64>,
    revocations: BTreeMap<SignerId, Vec<u64>>,
    /// What was taken back, by whom, and the first leaf that says so.
    retractions: BTreeMap<(Digest, SignerId), u64>,
    counts: BTreeMap<SignerId, usize>,
}

impl Declarations {
    /// Takes up what stands at `leaf`. Leaves come in the order of the log; of the same declaration the first counts.
    pub fn take(&mut self, leaf: u64, declared: Arc<VerifiedDeclaration>) {
        if *self.leaves.entry(declared.digest()).or_insert(leaf) != leaf {
            return;
        }
        *self.counts.entry(declared.signer()).or_default() += 1;
        match declared.declaration() {
            Declaration::Advisory(advisory) => match advisory.digest {
                Some(digest) => self.of_files.entry(digest).or_default().push(leaf),
                None => self.of_packages.push(leaf),
            },
            Declaration::Vouch(vouch) => self.of_files.entry(vouch.digest).or_default().push(leaf),
            Declaration::Revocation(revocation) => self.revocations.entry(revocation.signer).or_default().push(leaf),
            Declaration::Retraction(back) => {
                self.retractions.entry((back.statement, back.signer)).or_insert(leaf);
            }
        }
        self.logged.insert(leaf, declared);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.logged.is_empty()
    }

    /// All of them with their leaves, in the order of the log.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = (u64, &Arc<VerifiedDeclaration>)> {
        self.logged.iter().map(|(leaf, declared)| (*leaf, declared))
    }

    /// The declaration at a leaf.
    pub fn at(&self, leaf: u64) -> Option<&Arc<VerifiedDeclaration>> {
        self.logged.get(&leaf)
    }

    /// Where a declaration stands.
    pub fn leaf_of(&self, declaration: &Digest) -> Option<u64> {
        self.leaves.get(declaration).copied()
    }

    /// How many a signer has made.
    pub fn count_of(&self, signer: &SignerId) -> usize {
        self.counts.get(signer).copied().unwrap_or_default()
    }

    /// Where an advisory or a vouch was taken back.
    pub fn retracted_at(&self, declared: &VerifiedDeclaration) -> Option<u64> {
        let can_be = matches!(declared.declaration(), Declaration::Advisory(_) | Declaration::Vouch(_));
        self.retractions.get(&(declared.digest(), declared.signer())).copied().filter(|_| can_be)
    }

    /// What was declared before a size of the log and has to do with a slot: advisories and vouches in force about its
    /// files, the first [`DECLARATIONS_OF_A_SIGNER_MAX`] of each signer; for each of its results the first retraction;
    /// and for each node that speaks in it the revocation that goes furthest. `results` are those of the slot;
    /// `others` are the nodes with other entries about it, or proofs of equivocation.
    pub fn about<'s>(
        &self,
        slot: &ArtifactSlot,
        size: u64,
        results: impl Iterator<Item = &'s VerifiedStatement>,
        others: impl Iterator<Item = (OperatorId, NodeId)>,
    ) -> Vec<Arc<VerifiedDeclaration>> {
        if self.is_empty() {
            return Vec::new();
        }
        let (mut files, mut leaves, mut nodes) = (BTreeSet::new(), BTreeSet::new(), others.collect::<BTreeSet<_>>());
        for result in results {
            files.insert(result.artifact().digest);
            nodes.insert((result.operator(), result.node()));
            leaves.extend(self.retractions.get(&(result.digest(), result.operator().into())).copied());
        }
        leaves.retain(|leaf| *leaf < size);
        leaves.extend(nodes.iter().filter_map(|(operator, node)| self.revoked(*operator, *node, size)));
        leaves.extend(self.in_force(&files, &slot.package, size));
        leaves.iter().filter_map(|leaf| self.at(*leaf).cloned()).collect()
    }

    /// The revocation of a node that goes furthest: of the whole operator, else since the smallest number, else the first.
    fn revoked(&self, operator: OperatorId, node: NodeId, size: u64) -> Option<u64> {
        let leaves = self.revocations.get(&operator.into())?.iter().copied().take_while(|leaf| *leaf < size);
        let concerning = leaves.filter_map(|leaf| match self.at(leaf)?.declaration() {
            Declaration::Revocation(Revocation { node: revoked, since, .. }) if revoked.is_none_or(|revoked| revoked == node) => {
                Some((revoked.is_some(), *since, leaf))
            }
            _ => None,
        });
        concerning.min().map(|(.., leaf)| leaf)
    }

    fn in_force(&self, files: &BTreeSet<Digest>, package: &Purl, size: u64) -> Vec<u64> {
        let of_files = files.iter().filter_map(|file| self.of_files.get(file)).flatten().copied();
        let names = |leaf: &u64| match self.at(*leaf).map(|declared| declared.declaration()) {
            Some(Declaration::Advisory(advisory)) => advisory.package.as_ref().is_some_and(|pattern| pattern.matches(package)),
            _ => false,
        };
        let mut leaves: Vec<_> = of_files.chain(self.of_packages.iter().copied().filter(names)).collect();
        leaves.sort_unstable();
        let mut counts: BTreeMap<SignerId, usize> = BTreeMap::new();
        leaves.retain(|leaf| {
            let stands = self.at(*leaf).filter(|one| *leaf < size && self.retracted_at(one).is_none_or(|back| back >= size));
            stands.is_some_and(|one| {
                let count = counts.entry(one.signer()).or_default();
                *count += 1;
                *count <= DECLARATIONS_OF_A_SIGNER_MAX
            })
        });
        leaves
    }
}
