//! What of a flood counts: as a plain reading of the rule says, the same at every size of the log, and of nobody's else
//! concern.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_proto::result::RESULT_ENVELOPE_BYTES_MAX;
use quorate_tally::share::{
    CHECKERS_OF_AN_OPERATOR_MAX, CHECKS_OF_A_NODE_MAX, COMMITMENTS_OF_A_NODE_MAX, Entered, Kind, NODES_OF_AN_OPERATOR_MAX,
    RESULT_BYTES_OF_A_NODE_MAX, RESULTS_OF_A_NODE_MAX,
};

/// Who enters what, in the order of the log.
type Log = Vec<(u8, Entered<u8>)>;

fn entered(kind: Kind, node: u8, bytes: usize) -> Entered<u8> {
    Entered { kind, node, bytes }
}

/// Places of those that count, one after the other as a coordinator takes them in.
fn counted(log: &[(u8, Entered<u8>)]) -> Vec<usize> {
    let mut shares: BTreeMap<u8, Vec<Entered<u8>>> = BTreeMap::new();
    let mut counted = Vec::new();
    for (at, (operator, entered)) in log.iter().enumerate() {
        let share = shares.entry(*operator).or_default();
        if entered.counts(share.iter().copied()) {
            share.push(*entered);
            counted.push(at);
        }
    }
    counted
}

/// The rule as it is written down, for all entries at once.
fn model(log: &[(u8, Entered<u8>)]) -> Vec<usize> {
    let mut counted = BTreeSet::new();
    let operators: BTreeSet<_> = log.iter().map(|(operator, _)| *operator).collect();
    for operator in operators {
        let own = |kinds: &[Kind]| -> Vec<(usize, Entered<u8>)> {
            let all = log.iter().enumerate().map(|(at, (by, entered))| (at, *by, *entered));
            all.filter(|(_, by, entered)| *by == operator && kinds.contains(&entered.kind)).map(|(at, _, entered)| (at, entered)).collect()
        };
        let groups: [(&[Kind], usize); 2] =
            [(&[Kind::Result, Kind::Commitment], NODES_OF_AN_OPERATOR_MAX), (&[Kind::Check], CHECKERS_OF_AN_OPERATOR_MAX)];
        for (kinds, nodes_max) in groups {
            let mut nodes = Vec::new();
            for (_, entered) in own(kinds) {
                if !nodes.contains(&entered.node) {
                    nodes.push(entered.node);
                }
            }
            for node in nodes.into_iter().take(nodes_max) {
                let (mut results, mut bytes, mut commitments, mut checks) = (0, 0, 0, 0);
                for (at, entered) in own(kinds).into_iter().filter(|(_, entered)| entered.node == node) {
                    let (kept, most) = match entered.kind {
                        Kind::Result if bytes + entered.bytes > RESULT_BYTES_OF_A_NODE_MAX => continue,
                        Kind::Commitment if results == RESULTS_OF_A_NODE_MAX => continue,
                        Kind::Commitment if bytes + RESULT_ENVELOPE_BYTES_MAX > RESULT_BYTES_OF_A_NODE_MAX => continue,
                        Kind::Result => (&mut results, RESULTS_OF_A_NODE_MAX),
                        Kind::Commitment => (&mut commitments, COMMITMENTS_OF_A_NODE_MAX),
                        Kind::Check => (&mut checks, CHECKS_OF_A_NODE_MAX),
                    };
                    if *kept < most {
                        *kept += 1;
                        bytes += if entered.kind == Kind::Result { entered.bytes } else { 0 };
                        counted.insert(at);
                    }
                }
            }
        }
    }
    counted.into_iter().collect()
}

/// Logs in which every bound is met: some of few nodes, and some of many.
fn logs() -> impl Strategy<Value = Log> {
    (1..14_u8).prop_flat_map(|nodes| {
        let kind = prop::sample::select(vec![Kind::Result, Kind::Result, Kind::Commitment, Kind::Check]);
        let entry = (0..2_u8, kind, 0..nodes, 1..=RESULT_ENVELOPE_BYTES_MAX / 6);
        prop::collection::vec(entry.prop_map(|(by, kind, node, bytes)| (by, entered(kind, node, bytes))), 0..400)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_counts_is_what_a_plain_reading_of_the_rule_says(log in logs()) {
        prop_assert_eq!(counted(&log), model(&log));
    }

    #[test]
    fn what_counts_at_one_size_of_the_log_counts_at_every_larger_one(log in logs(), size in 0..400_usize) {
        let size = size.min(log.len());
        let before: Vec<_> = counted(&log).into_iter().filter(|at| *at < size).collect();
        prop_assert_eq!(counted(&log[..size]), before);
    }

    #[test]
    fn what_one_operator_enters_changes_nothing_for_another(log in logs()) {
        let alone: Log = log.iter().filter(|(operator, _)| *operator == 0).copied().collect();
        let among = counted(&log).into_iter().filter(|at| log[*at].0 == 0).count();
        prop_assert_eq!(counted(&alone).len(), among);
    }
}

#[test]
fn a_flood_from_one_stolen_key_leaves_the_operators_other_nodes_their_shares() {
    let flood = (0..5_000).map(|_| (0, entered(Kind::Result, 1, 4_000)));
    let honest = (2..5).flat_map(|node| (0..RESULTS_OF_A_NODE_MAX).map(move |_| (0, entered(Kind::Result, node, 4_000))));
    let log: Log = flood.chain(honest).collect();
    let counted = counted(&log);
    assert_eq!(counted.iter().filter(|at| **at < 5_000).count(), RESULTS_OF_A_NODE_MAX);
    assert_eq!(counted.iter().filter(|at| **at >= 5_000).count(), 3 * RESULTS_OF_A_NODE_MAX);
}

#[test]
fn whoever_commits_in_time_can_reveal_however_many_nodes_its_operator_has() {
    let commitments = (0..40).map(|node| (0, entered(Kind::Commitment, node, 1_000)));
    // The others are quicker to reveal.
    let results = (0..40).rev().map(|node| (0, entered(Kind::Result, node, 4_000)));
    let log: Log = commitments.chain(results).collect();
    let nodes = |kind: Kind| -> BTreeSet<u8> {
        counted(&log).into_iter().map(|at| log[at].1).filter(|entered| entered.kind == kind).map(|entered| entered.node).collect()
    };
    assert_eq!(nodes(Kind::Commitment), (0..8).collect());
    assert_eq!(nodes(Kind::Result), nodes(Kind::Commitment));
}

#[test]
fn the_largest_result_counts_and_many_large_ones_do_not_all() {
    let log: Log = (0..9).map(|_| (0, entered(Kind::Result, 1, RESULT_ENVELOPE_BYTES_MAX))).collect();
    assert_eq!(counted(&log), [0, 1]);
}

#[test]
fn whose_commitment_counts_has_room_to_reveal_it_however_large_the_result_is() {
    for bytes in [1_000, 6_000, 20_000, RESULT_ENVELOPE_BYTES_MAX] {
        for committing_since in 0..20 {
            let said = (0..committing_since).map(|_| (0, entered(Kind::Result, 1, bytes)));
            let promised = (0..20).flat_map(|_| [(Kind::Commitment, 1_000), (Kind::Result, RESULT_ENVELOPE_BYTES_MAX)]);
            let log: Log = said.chain(promised.map(|(kind, bytes)| (0, entered(kind, 1, bytes)))).collect();
            let counted = counted(&log);
            let commitments = counted.iter().filter(|at| log[**at].1.kind == Kind::Commitment);
            assert!(commitments.into_iter().all(|at| counted.contains(&(at + 1))), "{bytes} {committing_since}");
        }
    }
}
