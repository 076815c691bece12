//! What came of a list, by level and ecosystem, with failures by cause. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// Columns of the table, best first: levels, then what was not rebuilt.
const COLUMNS: [&str; 8] = ["byte", "stream", "normal", "manifest", "different", "build-failed", "no-source", "other"];
/// Most characters of a cause, and most members that are named in one.
const CAUSE_CHARS_MAX: usize = 140;
const MEMBERS_NAMED_MAX: usize = 3;

/// One row in one line.
pub(super) fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let seconds = row["wallSeconds"].as_f64().unwrap_or_default();
    let expected = row["expected"].as_str().map(|expected| format!("  (expected {expected})")).unwrap_or_default();
    clean(&format!("{:<12} {seconds:>6.1} s  {}{expected}", column(row), text("artifact")))
}

/// The whole table for people.
pub(super) fn table(rows: &[Value]) -> String {
    let mut text = format!("{:<10}", "");
    for column in COLUMNS {
        let _ = write!(text, " {column:>12}");
    }
    let _ = writeln!(text, " {:>6} {:>12}", "all", "as expected");
    let counted = by_ecosystem(rows);
    for (ecosystem, rows) in &counted {
        let _ = write!(text, "{ecosystem:<10}");
        for column in COLUMNS {
            let _ = write!(text, " {:>12}", rows.iter().filter(|row| self::column(row) == column).count());
        }
        let judged: Vec<_> = rows.iter().filter_map(|row| as_expected(row)).collect();
        let kept = judged.iter().filter(|kept| **kept).count();
        let judged = if judged.is_empty() { "-".to_owned() } else { format!("{kept} of {}", judged.len()) };
        let _ = writeln!(text, " {:>6} {judged:>12}", rows.len());
    }
    for row in rows.iter().filter(|row| as_expected(row) == Some(false)) {
        let _ = writeln!(text, "not as expected: {}", line(row));
    }
    for (cause, rows) in causes(rows) {
        let example = rows[0]["artifact"].as_str().unwrap_or_default();
        let _ = writeln!(text, "{:>4} × {cause}\n       such as {example}", rows.len());
    }
    clean(&text)
}

/// The table for programs.
pub(super) fn counts(rows: &[Value]) -> Value {
    let ecosystems: BTreeMap<_, _> = by_ecosystem(rows)
        .into_iter()
        .map(|(ecosystem, rows)| {
            let levels: BTreeMap<_, _> =
                COLUMNS.iter().map(|column| (*column, rows.iter().filter(|row| self::column(row) == *column).count())).collect();
            let judged: Vec<_> = rows.iter().filter_map(|row| as_expected(row)).collect();
            let kept = judged.iter().filter(|kept| **kept).count();
            (ecosystem, json!({ "counts": levels, "all": rows.len(), "judged": judged.len(), "asExpected": kept }))
        })
        .collect();
    let causes: Vec<_> =
        causes(rows).iter().map(|(cause, rows)| json!({ "cause": cause, "count": rows.len(), "example": rows[0]["artifact"] })).collect();
    json!({ "schemaVersion": 1, "ecosystems": ecosystems, "causes": causes })
}

/// 0 when all rows could be compared and none is worse or better than expected; 1 when one differs or is not
/// as expected; 3 when one could not be compared.
pub(super) fn exit_code(rows: &[Value]) -> u8 {
    if rows.iter().any(|row| as_expected(row).map_or(column(row) == "different", |kept| !kept)) {
        1
    } else if rows.iter().any(|row| as_expected(row).is_none() && row["level"].is_null()) {
        3
    } else {
        0
    }
}

fn by_ecosystem(rows: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut map: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        map.entry(row["ecosystem"].as_str().unwrap_or_default()).or_default().push(row);
    }
    map
}

fn column(row: &Value) -> &'static str {
    let word = row["level"].as_str().or(row["result"].as_str()).unwrap_or_default();
    match word {
        "source-unavailable" => "no-source",
        word => COLUMNS.iter().find(|column| **column == word).copied().unwrap_or("other"),
    }
}

/// Whether a row is at the expected level or better; what is expected to differ must differ. Lists that were
/// made by hand say more than a level: `normalised+manifest`, `byte-with-published-lock`.
fn as_expected(row: &Value) -> Option<bool> {
    let expected = match row["expected"].as_str()? {
        text if text.starts_with("byte") => "byte",
        "stream" | "normalised-tar-identical" => "stream",
        "normal" | "normalised" => "normal",
        text if text == "manifest" || text.starts_with("normalised+") => "manifest",
        "different" => "different",
        _ => return None,
    };
    let rank = |column: &str| COLUMNS.iter().position(|known| *known == column);
    let reached = column(row);
    Some(if expected == "different" { reached == "different" } else { rank(reached) <= rank(expected) })
}

/// What was not rebuilt or came out different, by why, the most frequent first.
fn causes(rows: &[Value]) -> Vec<(String, Vec<&Value>)> {
    let mut map: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row["level"].is_null() || column(row) == "different") {
        map.entry(cause(row)).or_default().push(row);
    }
    let mut causes: Vec<_> = map.into_iter().collect();
    causes.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    causes
}

/// The members that differ, without the folder at the top: few of them by their names.
fn differing(row: &Value) -> String {
    let members = row["differences"]["members"].as_array().map_or(&[][..], Vec::as_slice);
    let word = |member: &Value| {
        let path = member["member"].as_str().unwrap_or_default();
        let path = path.split_once('/').map_or(path, |(_, inside)| inside);
        format!("{path} ({})", member["class"].as_str().unwrap_or_default())
    };
    let named: Vec<_> = members.iter().take(MEMBERS_NAMED_MAX).map(word).collect();
    let count = row["differences"]["count"].as_u64().unwrap_or_default();
    let more = count.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("different: {}{more}", named.join(", ")).chars().take(CAUSE_CHARS_MAX).collect()
}

/// Whether a line says something: npm's last ones only say where its log is.
fn tells(line: &str) -> bool {
    !matches!(line, "" | "npm error" | "npm ERR!") && !line.contains("A complete log of this run")
}

/// The class, the phase and the last words, without what is of this one package.
fn cause(row: &Value) -> String {
    if column(row) == "different" {
        return differing(row);
    }
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let mut words = text("summary").lines().rev().map(str::trim).find(|line| tells(line)).unwrap_or(text("reason")).to_owned();
    for key in ["artifact", "name", "version"] {
        let own = text(key);
        if own.len() > 2 {
            words = words.replace(own, "…");
        }
    }
    let words: String = words.chars().take(CAUSE_CHARS_MAX).collect();
    let phase = row["phase"].as_str().map(|phase| format!(" in {phase}")).unwrap_or_default();
    format!("{}{phase}: {words}", text("result"))
}

/// Strangers wrote some of this: it must not paint a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(level: Option<&str>, result: &str, expected: &str) -> Value {
        json!({ "ecosystem": "npm", "artifact": "demo-1.0.0.tgz", "name": "demo", "version": "1.0.0", "level": level, "result": result,
            "expected": expected, "summary": "ended with code 1\nno matching version of left-pad for demo", "phase": "fetch" })
    }

    #[test]
    fn better_than_expected_is_as_expected_but_never_for_what_differs() {
        for (level, expected, kept) in [
            ("byte", "normalised-tar-identical", true),
            ("normal", "byte-with-published-lock", false),
            ("manifest", "normalised+record", true),
            ("different", "different", true),
            ("byte", "different", false),
        ] {
            assert_eq!(as_expected(&row(Some(level), "identical", expected)), Some(kept), "{level} {expected}");
        }
        assert_eq!(as_expected(&row(None, "build-failed", "different")), Some(false));
        assert_eq!(as_expected(&row(None, "build-failed", "unbuildable-offline")), None);
    }

    #[test]
    fn what_differs_is_named_by_its_members() {
        let mut row = row(Some("different"), "different", "different");
        let member = |path: &str, class: &str| json!({ "member": path, "class": class });
        let members = [
            member("package/package.json", "content"),
            member("package/a.map", "only-rebuilt"),
            member("b", "content"),
            member("c", "content"),
        ];
        row["differences"] = json!({ "count": 9, "members": members });
        assert_eq!(causes(&[row])[0].0, "different: package.json (content), a.map (only-rebuilt), b (content), and 6 more");
    }

    #[test]
    fn failures_of_one_cause_are_counted_together() {
        let mut other = row(None, "build-failed", "byte");
        other["name"] = json!("else");
        other["summary"] = json!("no matching version of left-pad for else");
        let rows = [row(None, "build-failed", "byte"), other, row(Some("byte"), "identical", "byte")];
        let causes = causes(&rows);
        assert_eq!((causes.len(), causes[0].1.len()), (1, 2));
        assert_eq!(causes[0].0, "build-failed in fetch: no matching version of left-pad for …");
        let mut logged = row(None, "build-failed", "byte");
        logged["summary"] = json!("npm ERR! notarget\nnpm ERR!\nnpm ERR! A complete log of this run can be found in: /tmp/x");
        assert_eq!(cause(&logged), "build-failed in fetch: npm ERR! notarget");
        assert_eq!(exit_code(&rows), 1);
    }
}
