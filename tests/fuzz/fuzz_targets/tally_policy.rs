//! Policies: any text is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_tally::Policy;

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::parse(text) {
        assert!((1..=policy.size()).contains(&policy.threshold()) && policy.size() <= policy.enrolled().len());
    }
});
