//! The build witness: a proof of work done that only a builder can make, that any builder can check, and that is
//! worth nothing to whoever copies it.
//!
//! A build leaves files that are never published: its *intermediates*. A node says of its own only digests that
//! are salted with its key and the task, in sixteen buckets. Who built the same knows the same intermediates, salts
//! them with the other's key, and sees whether they come to the same. Who did not build has nothing to salt.
//!
//! In scope: how a witness is computed from intermediates, and how two builders' work is compared. Out of scope:
//! what counts as an intermediate (the sandbox's business), what a check is worth (the tally's). A witness never
//! changes a digest. Not to be confused with the witnesses of a log. Implements `docs/spec/build-witness.md`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Digest, NodeId, TaskId};

/// How many buckets a witness has.
pub const BUCKETS: usize = 16;

/// Most intermediates of one build: of more than these no witness is made. 2 MiB of digests.
pub const INTERMEDIATES_MAX: usize = 65_536;

/// What is hashed before the path and the content of an intermediate.
const INTERMEDIATE_DOMAIN: &[u8] = b"quorate-intermediate/v1\0";
/// What is hashed before the node and the task of a salt.
const SALT_DOMAIN: &[u8] = b"quorate-build-witness-salt/v1\0";
/// What is hashed before the salt and the members of a bucket.
const BUCKET_DOMAIN: &[u8] = b"quorate-build-witness-bucket/v1\0";

/// A file that a build left and that is not published: the digest of its path and its content. A secret of those
/// who built, as long as nobody tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Intermediate(Digest);

/// All that one build left, sorted, each once. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intermediates(Vec<Intermediate>);

/// Why there are no intermediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntermediatesError {
    /// The build left nothing that is not published.
    #[error("no intermediates")]
    None,
    /// More than are kept.
    #[error("{got} intermediates, limit {INTERMEDIATES_MAX}")]
    TooMany {
        /// How many there are.
        got: usize,
    },
}

/// What makes a witness one node's own, for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt([u8; 32]);

/// What a node says of its intermediates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildWitness {
    /// The buckets in their order, `null` where one is empty.
    pub buckets: [Option<Bucket>; BUCKETS],
}

/// Some of the intermediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// How many there are: at least one.
    pub members: u32,
    /// The salted digest over them.
    pub digest: Digest,
}

/// How far the work of two builders agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Buckets that come to the same.
    pub matched: u8,
    /// Buckets in which at least one of the two has something.
    pub compared: u8,
}

impl Intermediate {
    /// The file at `path`, relative to the build's workspace, with this content.
    pub fn of(path: &[u8], content: &Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update(INTERMEDIATE_DOMAIN);
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update(content.as_bytes());
        Self(Digest::from_bytes(hash.finalize().into()))
    }

    /// One that was computed before, by its digest.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// Its digest, unsalted: whoever tells it gives the work away.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }

    /// The bucket that it falls into: its first four bits, the same for every builder.
    pub const fn bucket(&self) -> usize {
        (self.0.as_bytes()[0] >> 4) as usize
    }
}

impl Intermediates {
    /// Those of a build, in any order.
    pub fn new(found: impl IntoIterator<Item = Intermediate>) -> Result<Self, IntermediatesError> {
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_unstable();
        found.dedup();
        match found.len() {
            0 => Err(IntermediatesError::None),
            got if got > INTERMEDIATES_MAX => Err(IntermediatesError::TooMany { got }),
            _ => Ok(Self(found)),
        }
    }

    /// All of them, in their order.
    pub fn as_slice(&self) -> &[Intermediate] {
        &self.0
    }

    /// What whoever salts them so says of them.
    pub fn witness(&self, salt: &Salt) -> BuildWitness {
        let mut buckets = [None; BUCKETS];
        for members in self.0.chunk_by(|one, other| one.bucket() == other.bucket()) {
            buckets[members[0].bucket()] = Some(salt.bucket(members));
        }
        BuildWitness { buckets }
    }

    /// Holds another node's witness for the same task against these. `salt` is that node's.
    pub fn check(&self, theirs: &BuildWitness, salt: &Salt) -> Agreement {
        let expected = self.witness(salt).buckets;
        let compared = expected.iter().zip(&theirs.buckets).filter(|(ours, theirs)| ours.is_some() || theirs.is_some());
        let count = |count: usize| u8::try_from(count).expect("there are sixteen buckets");
        let matched = compared.clone().filter(|(ours, theirs)| ours == theirs).count();
        Agreement { matched: count(matched), compared: count(compared.count()) }
    }
}

impl Salt {
    /// The salt of a node for a task.
    pub fn of(node: &NodeId, task: &TaskId) -> Self {
        Self::hashed(&[node.as_bytes(), task.as_bytes()])
    }

    /// The salt of nobody, for holding two builds of one machine against each other. No node has it.
    pub fn nobody() -> Self {
        Self::hashed(&[])
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(SALT_DOMAIN);
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// `members` are some that share a bucket, sorted.
    fn bucket(&self, members: &[Intermediate]) -> Bucket {
        let count = u32::try_from(members.len()).expect("intermediates are limited");
        let mut hash = Sha256::new();
        hash.update(BUCKET_DOMAIN);
        hash.update(self.0);
        hash.update([u8::try_from(members[0].bucket()).expect("there are sixteen buckets")]);
        hash.update(count.to_be_bytes());
        for member in members {
            hash.update(member.0.as_bytes());
        }
        Bucket { members: count, digest: Digest::from_bytes(hash.finalize().into()) }
    }
}

impl BuildWitness {
    /// How many intermediates it stands for.
    pub fn members(&self) -> u64 {
        self.buckets.iter().flatten().map(|bucket| u64::from(bucket.members)).sum()
    }

    /// What the shape alone does not say: some bucket holds something, and none more than can be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let limit = INTERMEDIATES_MAX as u64;
        if self.buckets.iter().flatten().any(|bucket| bucket.members == 0) {
            return Err("a bucket of a build witness that has no members is not written as empty".to_owned());
        }
        match self.members() {
            0 => Err("a build witness of nothing".to_owned()),
            got if got > limit => Err(format!("a build witness of {got} intermediates, limit {limit}")),
            _ => Ok(()),
        }
    }
}

impl Agreement {
    /// Whether it bears out that the other one built: more than half of what could be compared is the same. A file
    /// that no two builds make alike spoils one bucket; a guess at a few easy files wins few.
    pub fn confirms(&self) -> bool {
        2 * u16::from(self.matched) > u16::from(self.compared)
    }

    /// More cannot match than was compared, and something was.
    pub(crate) fn check(self) -> Result<(), String> {
        let possible = 1..=BUCKETS;
        if possible.contains(&usize::from(self.compared)) && self.matched <= self.compared {
            Ok(())
        } else {
            Err(format!("{} buckets matched of {} compared", self.matched, self.compared))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{ArtifactSlot, SecretKey};
    use proptest::prelude::*;

    fn node(seed: u8) -> NodeId {
        SecretKey::from_seed(&[seed; 32]).node_id()
    }

    fn task(version: &str) -> TaskId {
        let package = format!("pkg:pypi/demo@{version}").parse().unwrap();
        TaskId::of(&ArtifactSlot { package, file: "demo.whl".parse().unwrap() })
    }

    fn salt(seed: u8) -> Salt {
        Salt::of(&node(seed), &task("1"))
    }

    fn made(files: &[(Vec<u8>, Vec<u8>)]) -> Vec<Intermediate> {
        files.iter().map(|(path, content)| Intermediate::of(path, &Digest::of(content))).collect()
    }

    fn files() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), prop::collection::vec(any::<u8>(), 0..6)), 1..60)
    }

    proptest! {
        #[test]
        fn a_copied_witness_never_verifies_under_the_copiers_own_name(files in files(), honest in 1_u8..9, thief in 10_u8..19) {
            let all = Intermediates::new(made(&files)).unwrap();
            let copied = all.witness(&salt(honest));
            let full = Agreement { matched: all.check(&copied, &salt(honest)).compared, ..all.check(&copied, &salt(honest)) };
            prop_assert_eq!(all.check(&copied, &salt(honest)), full);
            let stolen = all.check(&copied, &salt(thief));
            prop_assert_eq!(stolen.matched, 0);
            prop_assert_eq!(stolen.compared, full.compared);
            prop_assert!(full.confirms() && !stolen.confirms());
        }

        #[test]
        fn a_witness_of_one_task_is_none_of_another(files in files()) {
            let all = Intermediates::new(made(&files)).unwrap();
            let other = Salt::of(&node(1), &task("2"));
            prop_assert_eq!(all.check(&all.witness(&other), &salt(1)).matched, 0);
        }

        #[test]
        fn the_order_in_which_files_are_found_changes_nothing(files in files().prop_shuffle(), twice: bool) {
            let mut found = made(&files);
            let one = Intermediates::new(found.clone()).unwrap();
            found.reverse();
            if twice {
                found.extend(made(&files));
            }
            prop_assert_eq!(Intermediates::new(found).unwrap().witness(&salt(1)), one.witness(&salt(1)));
        }

        #[test]
        fn a_changed_intermediate_changes_the_buckets_that_it_leaves_and_enters_and_no_other(files in files(), at: prop::sample::Index, to: [u8; 31]) {
            let found = Intermediates::new(made(&files)).unwrap();
            let at = at.index(found.as_slice().len());
            let old = found.as_slice()[at];
            // One of the same bucket: exactly one bucket changes.
            let mut bytes = [old.digest().as_bytes()[0]; 32];
            bytes[1..].copy_from_slice(&to);
            let new = Intermediate::from_digest(Digest::from_bytes(bytes));
            prop_assume!(!found.as_slice().contains(&new));
            let mut changed = found.as_slice().to_vec();
            changed[at] = new;
            let (one, other) = (found.witness(&salt(1)), Intermediates::new(changed).unwrap().witness(&salt(1)));
            let differ: Vec<usize> = (0..BUCKETS).filter(|&bucket| one.buckets[bucket] != other.buckets[bucket]).collect();
            prop_assert_eq!(differ, [old.bucket()]);
        }

        #[test]
        fn a_path_and_its_content_cannot_be_told_in_another_way(path: Vec<u8>, content: [u8; 32], more: Vec<u8>) {
            prop_assume!(!more.is_empty());
            let content = Digest::from_bytes(content);
            let longer = [path.as_slice(), &more].concat();
            prop_assert_ne!(Intermediate::of(&path, &content), Intermediate::of(&longer, &content));
        }
    }

    #[test]
    fn an_empty_bucket_is_said_as_empty_and_a_guess_at_one_file_confirms_nothing() {
        let files: Vec<_> = (0..40_u8).map(|n| (vec![n], vec![n])).collect();
        let all = Intermediates::new(made(&files)).unwrap();
        let one = Intermediates::new(made(&files[..1])).unwrap();
        let guess = one.witness(&salt(2));
        assert_eq!(guess.buckets.iter().flatten().count(), 1);
        let checked = all.check(&guess, &salt(2));
        assert!(checked.compared > 8 && !checked.confirms(), "{checked:?}");
        // And the other way round: empty buckets of the checker do not hide what the other one claims.
        assert!(!one.check(&all.witness(&salt(2)), &salt(2)).confirms());
    }

    #[test]
    fn one_file_that_no_two_builds_make_alike_does_not_hide_the_work() {
        let files: Vec<_> = (0..80_u8).map(|n| (vec![n], vec![n])).collect();
        let mut other = files.clone();
        other[7].1 = b"another time".to_vec();
        let (one, other) = (Intermediates::new(made(&files)).unwrap(), Intermediates::new(made(&other)).unwrap());
        let agreement = one.check(&other.witness(&salt(2)), &salt(2));
        assert!(agreement.compared - agreement.matched <= 2 && agreement.confirms(), "{agreement:?}");
    }

    #[test]
    fn nothing_and_too_much_are_no_intermediates() {
        assert_eq!(Intermediates::new([]), Err(IntermediatesError::None));
        let endless = (0..=INTERMEDIATES_MAX as u64).map(|n| Intermediate::of(&n.to_be_bytes(), &Digest::of(b"")));
        assert_eq!(Intermediates::new(endless), Err(IntermediatesError::TooMany { got: INTERMEDIATES_MAX + 1 }));
    }

    #[test]
    fn a_witness_in_another_shape_is_refused() {
        let witness = Intermediates::new([Intermediate::of(b"a", &Digest::of(b"b"))]).unwrap().witness(&salt(1));
        let text = serde_json::to_string(&witness).unwrap();
        assert_eq!(serde_json::from_str::<BuildWitness>(&text).unwrap(), witness);
        let refused = [
            text.replacen("null,", "", 1),
            text.replacen("null", "null,null", 1),
            text.replacen("\"members\"", "\"more\":1,\"members\"", 1),
            text.replacen("\"buckets\"", "\"more\":1,\"buckets\"", 1),
            text.replacen("\"members\":1", "\"members\":-1", 1),
        ];
        for text in refused {
            assert!(serde_json::from_str::<BuildWitness>(&text).is_err(), "{text}");
        }
        let changed = |change: fn(&mut Bucket)| {
            let mut witness = witness.clone();
            witness.buckets.iter_mut().flatten().for_each(change);
            witness.check()
        };
        assert_eq!(witness.check(), Ok(()));
        assert!(changed(|bucket| bucket.members = 0).is_err());
        assert!(changed(|bucket| bucket.members = u32::MAX).is_err());
        assert!(BuildWitness { buckets: [None; BUCKETS] }.check().is_err());
    }
}
