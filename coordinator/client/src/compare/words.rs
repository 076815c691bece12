//! What a comparison is called, in the terminal and on the page alike.

use quorate_normalize::Unshown;
use quorate_proto::comparison::{Level, PassUse, Risk};

use super::survey::{Entry, Item, Survey};
use crate::render::{count, word};

/// What a level means.
pub(super) const fn meaning(level: Level) -> &'static str {
    match level {
        Level::Byte => "the same bytes",
        Level::Stream => "the same bytes once decompressed",
        Level::Normal => "the same members, types, links, executable bits and contents",
        Level::Manifest => "the same, but for the order of generated metadata",
        Level::Different => "not the same",
    }
}

/// What could hide behind a pass of this grade.
pub(super) const fn risk_meaning(risk: Risk) -> &'static str {
    match risk {
        Risk::None => "nothing that an installer or a program reads",
        Risk::Low => "metadata that a tool may read, but no code",
        Risk::Medium => "content of generated files, compared by meaning",
    }
}

/// The numbers behind the level.
pub(super) fn numbers(level: Level, survey: &Survey<'_>) -> String {
    if level != Level::Different {
        return meaning(level).to_owned();
    }
    let files = |entries: &[Entry<'_>]| entries.iter().map(|entry| entry.files().count().max(1)).sum::<usize>();
    let faults = survey.one_sided_faults();
    let parts = [
        (faults, format!("{} on one side only", anomalies(faults))),
        (survey.only_a.len(), format!("{} only in A", files(&survey.only_a))),
        (survey.only_b.len(), format!("{} only in B", files(&survey.only_b))),
        (survey.changed.len(), format!("{} changed", survey.changed.len())),
        (usize::from(survey.opaque.is_some()), "the bytes differ".to_owned()),
        (survey.same.unwrap_or(0), format!("{} the same", survey.same.unwrap_or(0))),
    ];
    let said: Vec<String> = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
    said.join(", ")
}

/// A number of anomalies.
pub(super) fn anomalies(number: usize) -> String {
    if number == 1 { "1 anomaly".to_owned() } else { format!("{number} anomalies") }
}

/// A size for people, in decimal units.
pub(super) fn size(bytes: u64) -> String {
    for (unit, scale) in [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)] {
        if bytes >= scale {
            let tenths = bytes / (scale / 10);
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// The size or sizes of a member, or where a link leads; not yet escaped.
pub(super) fn extent(item: &Item<'_>) -> String {
    match (&item.links, item.sizes) {
        ([Some(target), None] | [None, Some(target)], _) => format!("to {target}"),
        ([Some(a), Some(b)], _) if a == b => format!("to {a}"),
        ([Some(a), Some(b)], _) => format!("to {a} in A, to {b} in B"),
        (_, [Some(a), Some(b)]) if a != b => format!("{} in A, {} in B", size(a), size(b)),
        (_, [Some(bytes), _] | [None, Some(bytes)]) => size(bytes),
        _ => String::new(),
    }
}

/// What a folder holds.
pub(super) fn holding(entry: &Entry<'_>) -> String {
    let files = entry.files().count();
    if files == 0 {
        return "empty".to_owned();
    }
    let mut said = vec![count(files, "file")];
    let code = entry.code_count();
    if code > 0 {
        said.push(format!("{code} code"));
    }
    said.push(size(entry.size_bytes()));
    said.join(", ")
}

/// How a member that both have differs.
pub(super) fn classes(item: &Item<'_>) -> String {
    let mut classes: Vec<String> = item.differences.iter().map(|difference| word(&difference.difference.class)).collect();
    classes.dedup();
    classes.join(", ")
}

/// Why a member that has contents has no lines to show.
pub(super) fn no_lines(item: &Item<'_>) -> Option<&'static str> {
    item.unshown().filter(|_| item.diff().is_none()).map(Unshown::reason)
}

/// A pass with its version and how often it was needed.
pub(super) fn pass(pass: &PassUse) -> String {
    format!("{}/{} ({})", pass.name, pass.version, pass.members)
}

/// The lines of a unified diff without its two headers. A carriage return at the end of a line stays.
pub(super) fn diff_lines(diff: &str) -> impl Iterator<Item = &str> {
    let body = diff.strip_suffix('\n').unwrap_or(diff);
    let headers = if body.starts_with("--- ") { 2 } else { 0 };
    body.split('\n').skip(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down_to_a_tenth() {
        assert_eq!([size(999), size(1000), size(4_074_452), size(u64::MAX)], ["999 B", "1.0 kB", "4.0 MB", "18446744073.7 GB"]);
    }

    #[test]
    fn a_change_of_line_ends_stays_visible() {
        assert_eq!(diff_lines("--- a\n+++ b\n@@ -1 +1 @@\n-x\r\n+x\n").collect::<Vec<_>>(), ["@@ -1 +1 @@", "-x\r", "+x"]);
    }
}
