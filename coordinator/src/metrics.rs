//! What is counted, in one registry that `/metrics` prints.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A named reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// One of a closed list.
    pub reason: &'static str,
}

/// A named outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// One of a closed list.
    pub outcome: &'static str,
}

/// The counters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Items that were refused, by name of the error.
    pub rejected: Family<Reason, Counter>,
    /// Items that were dealt with.
    pub items: Family<Outcome, Counter>,
    /// Seconds a batch took from its first leaf to durable.
    pub commit_seconds: Histogram,
    /// Items in a batch.
    pub batch_items: Histogram,
    /// Verdicts signed.
    pub verdicts: Counter,
    /// Verdicts that no log entry could hold.
    pub oversized_verdicts: Counter,
    /// Files taken in.
    pub blobs: Counter,
    /// Size of the published log.
    pub log_size: Gauge,
    /// Size of the log that is handed out: behind the other one while witnesses are waited for.
    pub witnessed_size: Gauge,
    /// Cosignatures, and why there was none.
    pub witnesses: Family<Outcome, Counter>,
    /// Slots that wait for a tally.
    pub untallied: Gauge,
    /// Times that the store was taken up again after a failed write.
    pub recoveries: Counter,
}

impl Metrics {
    /// Counters that stand in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            rejected: Family::default(),
            items: Family::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            batch_items: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            verdicts: Counter::default(),
            oversized_verdicts: Counter::default(),
            blobs: Counter::default(),
            log_size: Gauge::default(),
            witnessed_size: Gauge::default(),
            witnesses: Family::default(),
            untallied: Gauge::default(),
            recoveries: Counter::default(),
        };
        registry.register("quorate_rejected", "Items refused, by the name of the error", metrics.rejected.clone());
        registry.register("quorate_items", "Items dealt with", metrics.items.clone());
        registry.register("quorate_commit_seconds", "Time from staging a batch to durable", metrics.commit_seconds.clone());
        registry.register("quorate_batch_items", "Requests in a batch", metrics.batch_items.clone());
        registry.register("quorate_verdicts", "Verdicts signed", metrics.verdicts.clone());
        registry.register(
            "quorate_oversized_verdicts",
            "Verdicts too large to be logged: their artifacts keep the verdict before",
            metrics.oversized_verdicts.clone(),
        );
        registry.register("quorate_blobs", "Evidence files taken in", metrics.blobs.clone());
        registry.register("quorate_log_size", "Leaves in the published log", metrics.log_size.clone());
        registry.register("quorate_witnessed_log_size", "Leaves in the log that enough witnesses cosigned", metrics.witnessed_size.clone());
        registry.register("quorate_witness_answers", "Answers of witnesses", metrics.witnesses.clone());
        registry.register("quorate_untallied_slots", "Slots that wait for a tally", metrics.untallied.clone());
        registry.register("quorate_store_recoveries", "Times the store was taken up again", metrics.recoveries.clone());
        metrics
    }

    /// Counts a refusal.
    pub fn reject(&self, reason: &'static str) {
        self.rejected.get_or_create(&Reason { reason }).inc();
    }

    /// How often something was refused for this reason.
    pub fn rejected_for(&self, reason: &'static str) -> u64 {
        self.rejected.get_or_create(&Reason { reason }).get()
    }

    /// Counts an item that was dealt with.
    pub fn item(&self, outcome: &'static str) {
        self.items_of(outcome, 1);
    }

    /// Counts items that were dealt with.
    pub fn items_of(&self, outcome: &'static str, count: u64) {
        self.items.get_or_create(&Outcome { outcome }).inc_by(count);
    }
}
