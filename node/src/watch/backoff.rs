//! How long a watch rests: its interval, spread a little, and longer after every failure. Pure.

use std::time::Duration;

/// Longest rest after failures, unless the registry itself asks for a longer one.
pub const REST_MAX: Duration = Duration::from_hours(1);

/// Numbers that look random and are the same for the same seed: nodes that start together do not all ask
/// at once, and a test can be repeated.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A span between nine and eleven tenths of `span`.
    pub fn spread(&mut self, span: Duration) -> Duration {
        let thousandths = 900 + self.below(201);
        span.saturating_mul(u32::try_from(thousandths).unwrap_or(1000)) / 1000
    }

    /// A number below `limit`, by splitmix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// The rest before the next try after `failures` in a row, before it is spread.
pub fn rest(every: Duration, failures: u32) -> Duration {
    if failures == 0 {
        return every;
    }
    every.saturating_mul(2_u32.saturating_pow((failures - 1).min(16))).min(REST_MAX.max(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_an_hour_and_are_never_shorter_than_the_interval() {
        let minutes = |failures| rest(Duration::from_mins(5), failures).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 4, 5, 99].map(minutes), [5, 5, 10, 20, 40, 60, 60]);
        assert_eq!(rest(Duration::from_hours(6), 3), Duration::from_hours(6));
    }

    #[test]
    fn a_seed_spreads_rests_by_a_tenth_and_always_in_the_same_way() {
        let spans = |seed| (0..100).scan(Jitter::new(seed), |jitter, _| Some(jitter.spread(Duration::from_secs(1000)))).collect::<Vec<_>>();
        assert_eq!(spans(7), spans(7));
        assert_ne!(spans(7), spans(8));
        assert!(spans(7).iter().all(|span| (900..=1100).contains(&span.as_secs())));
    }
}
