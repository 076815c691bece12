//! How a result and a provenance are made to fit what a peer takes.
//!
//! Names, addresses and lists come from publishers, registries and builds, so any of them may be long on
//! purpose. None may keep a result from being said: texts are cut with an ellipsis, lists are cut, and
//! something of each list is left. What decides a vote (digests, class, passes) is never touched.

use quorate_proto::provenance::BuildDefinition;
use quorate_proto::result::{ANOMALIES_LISTED_MAX, DIFFERENCES_LISTED_MAX, Outcome, RebuildResult};
use serde_json::{Value, json};

/// Under this name, internal parameters say what was cut.
const NOTE: &str = "shortened";

/// How much of each text and each list is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    text_chars_max: usize,
    list_items_max: usize,
}

/// Tried in this order until the result fits. The last one always does: some twenty texts of 64
/// characters, six bytes each in the worst case, are 8 KiB.
pub(super) const CUTS: [Cut; 7] = [
    Cut { text_chars_max: 2048, list_items_max: 64 },
    Cut { text_chars_max: 1024, list_items_max: 48 },
    Cut { text_chars_max: 512, list_items_max: 24 },
    Cut { text_chars_max: 256, list_items_max: 24 },
    Cut { text_chars_max: 128, list_items_max: 16 },
    Cut { text_chars_max: 64, list_items_max: 8 },
    Cut { text_chars_max: 64, list_items_max: 1 },
];

/// Cuts the lists that have a limit of their own.
pub(super) fn lists(result: &mut RebuildResult) {
    result.anomalies.truncate(ANOMALIES_LISTED_MAX);
    if let Outcome::Different { differences, .. } = &mut result.outcome {
        let found = u32::try_from(differences.members.len()).unwrap_or(u32::MAX);
        differences.count = differences.count.max(found);
        differences.members.truncate(DIFFERENCES_LISTED_MAX);
    }
}

impl Cut {
    /// Cuts everything in the result that may be long.
    pub(super) fn shorten(self, result: &mut RebuildResult) {
        let items = self.list_items_max;
        result.anomalies.truncate(items);
        result.assists.truncate(items);
        result.violations.truncate(items);
        result.toolchain.truncate(items);
        if let Outcome::Different { differences, .. } = &mut result.outcome {
            differences.members.truncate(items);
        }
        for text in texts(result) {
            self.text(text);
        }
    }

    fn text(self, text: &mut String) {
        // The end of the text, if it has more characters than are kept.
        let mut ends = text.char_indices().map(|(at, _)| at).skip(self.text_chars_max - 1);
        if let (Some(end), Some(_)) = (ends.next(), ends.next()) {
            text.truncate(end);
            text.push('…');
        }
    }
}

/// Every text of a result whose length somebody else decides.
fn texts(result: &mut RebuildResult) -> Vec<&mut String> {
    let mut texts = vec![&mut result.registry.url];
    if let Some(source) = &mut result.source {
        texts.push(&mut source.uri);
        texts.extend([&mut source.reference, &mut source.directory].into_iter().flatten());
    }
    match &mut result.outcome {
        Outcome::Different { differences, .. } => texts.extend(differences.members.iter_mut().map(|difference| &mut difference.member)),
        Outcome::BuildFailed { summary, .. }
        | Outcome::SourceUnavailable { summary }
        | Outcome::ArtifactUnavailable { summary }
        | Outcome::SandboxViolation { summary, .. } => texts.push(summary),
        Outcome::Identical { .. } | Outcome::Equivalent { .. } | Outcome::NotAttempted { .. } => {}
    }
    for anomaly in &mut result.anomalies {
        texts.extend(anomaly.member.as_mut());
        texts.push(&mut anomaly.detail);
    }
    texts.extend(result.assists.iter_mut().flat_map(|assist| [&mut assist.name, &mut assist.value, &mut assist.reason]));
    texts.extend(&mut result.violations);
    texts.extend(result.toolchain.iter_mut().flat_map(|tool| [&mut tool.name, &mut tool.version]));
    texts
}

/// Cuts a provenance that is too large, and notes it: first what the builder chose, when that alone is too
/// much, then half of the dependencies of which `found` were found, the first ones staying. False when there
/// is nothing left to cut.
pub(super) fn provenance(definition: &mut BuildDefinition, found: usize) -> bool {
    // A fourth of the limit: the rest is for what went into the build.
    const PARAMETERS_BYTES_MAX: usize = quorate_proto::provenance::BLOB_BYTES_MAX / 4;
    let too_long = |value: &Value| value.to_string().len() > PARAMETERS_BYTES_MAX;
    let parameters = &mut definition.internal_parameters;
    let before = parameters.len();
    let large = before > 1 && too_long(&Value::Object(parameters.clone()));
    if large || parameters.values().any(too_long) {
        parameters.clear();
    }
    let cleared = parameters.len() < before;
    let dependencies = &mut definition.resolved_dependencies;
    if !cleared {
        if dependencies.is_empty() {
            return false;
        }
        dependencies.truncate(dependencies.len() / 2);
    }
    let omitted = parameters.get(NOTE).and_then(|note| note["parametersOmitted"].as_bool()).unwrap_or(false) || cleared;
    let note = json!({ "dependenciesListed": dependencies.len(), "dependenciesFound": found, "parametersOmitted": omitted });
    parameters.insert(NOTE.to_owned(), note);
    true
}
