//! A Bloom filter: says of most keys that are not in a segment that they are not.

/// Bits for each key, and bits that a key sets: one wrong "maybe" in a hundred.
const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 7;

/// The bits, as they stand in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter(Vec<u8>);

impl Filter {
    /// Of keys with these hashes.
    pub(super) fn of(hashes: &[u64]) -> Self {
        let mut bits = vec![0; (hashes.len() * BITS_PER_KEY).div_ceil(8).max(1)];
        for hash in hashes {
            for bit in probes(*hash, bits.len()) {
                bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self(bits)
    }

    /// From a file.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// False: no key has this hash.
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        probes(hash, self.0.len()).all(|bit| self.0[bit / 8] & 1 << (bit % 8) != 0)
    }
}

/// The bits of a hash. Nothing, if there are no bits: then every key may be there.
fn probes(hash: u64, bytes: usize) -> impl Iterator<Item = usize> {
    let bits = bytes as u64 * 8;
    let step = hash.rotate_left(32) | 1;
    let place = move |probe: u64| usize::try_from(hash.wrapping_add(probe.wrapping_mul(step)) % bits).ok();
    (0..if bits == 0 { 0 } else { PROBES }).filter_map(place)
}

/// A key's hash. It stands in files: a change is another format. Whoever makes keys that collide makes some
/// look-ups read a block in vain.
pub(super) fn hash_of(key: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (words, rest) = key.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let seed = key.len() as u64;
    let hash = words.iter().fold(seed, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let hash = mix(hash, u64::from_le_bytes(last));
    (hash ^ hash >> 32).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_denied_and_few_strangers_are_let_in() {
        let key = |number: u32| [b"s/".as_slice(), &number.to_be_bytes()].concat();
        let hashes: Vec<u64> = (0..10_000).map(|number| hash_of(&key(number))).collect();
        let filter = Filter::of(&hashes);
        assert!(hashes.iter().all(|hash| filter.may_hold(*hash)));
        let let_in = (10_000..30_000).filter(|number| filter.may_hold(hash_of(&key(*number)))).count();
        assert!(let_in < 500, "{let_in} of 20,000");
    }
}
