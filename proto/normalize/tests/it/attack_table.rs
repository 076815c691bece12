//! The table of attacks: each tampered archive is different from the honest one, whichever side of the
//! comparison it stands on, or it is at fault by itself. Time and memory: `examples/attacks.rs`.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::attack::{Attack, Expected, assert_attack_is_named, assert_difference_is_seen, every_attack};

/// Fewer rows than this would mean that a list was lost.
const ROWS_MIN: usize = 450;

fn assert_row(attack: &Attack) {
    let (tampered, clean) = ((attack.archive)(), (attack.clean)());
    match attack.expected {
        Expected::Anomaly(kind) => assert_attack_is_named(&tampered, &clean, attack.file_name, kind),
        Expected::Difference(class) => assert_difference_is_seen(&tampered, &clean, attack.file_name, class),
    }
}

#[test]
fn no_tampered_archive_is_equal_to_the_honest_one() {
    let attacks = every_attack();
    let names: BTreeSet<&str> = attacks.iter().map(|attack| attack.name).collect();
    assert_eq!(names.len(), attacks.len(), "each attack has a name of its own");
    assert!(attacks.len() >= ROWS_MIN, "{} attacks", attacks.len());
    let slipped = attacks.iter().filter(|attack| catch_unwind(AssertUnwindSafe(|| assert_row(attack))).is_err());
    let slipped: Vec<&str> = slipped.map(|attack| attack.name).collect();
    assert!(slipped.is_empty(), "slipped through: {slipped:#?}");
}
