//! Policies: any text is read or refused, and whatever is read can be examined.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_tally::{Policy, examine};

/// Of larger policies the doctor is not asked: it may take as long as its bound allows.
const OPERATORS_MAX: usize = 8;

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::parse(text) {
        assert!((1..=policy.size()).contains(&policy.threshold()) && policy.size() <= policy.enrolled().len());
        if policy.enrolled().len() <= OPERATORS_MAX {
            assert!(examine(&policy).iter().all(|rules| rules.fool.size >= 1 && rules.stall.size >= 1));
        }
    }
});
