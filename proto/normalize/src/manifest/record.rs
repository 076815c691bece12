//! A wheel's `RECORD`: path, hash and size of every file, as comma-separated values.
//!
//! Source: the binary distribution format of the Python packaging specifications.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use data_encoding::BASE64URL_NOPAD;
use quorate_proto::comparison::AnomalyKind;

use crate::reading::{Findings, Kind, Member};

/// A `RECORD` whose syntax is right.
pub(super) struct Record {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    path: String,
    /// Name and value, as in `sha256=...`; the name in lower case.
    hash: Option<(String, String)>,
    size: Option<u64>,
}

impl Record {
    /// Reads rows of three fields.
    pub(super) fn parse(content: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(content).map_err(|_| "not UTF-8")?;
        let rows = parse_csv(text)?.into_iter().map(|fields| Row::parse(&fields)).collect::<Result<_, _>>()?;
        Ok(Self { rows })
    }

    /// Adds every way in which the list disagrees with the members.
    pub(super) fn lint(&self, own_name: &[u8], members: &[Member<'_>], findings: &mut Findings) {
        let mut rows: BTreeMap<&[u8], &Row> = BTreeMap::new();
        for row in &self.rows {
            if rows.insert(row.path.as_bytes(), row).is_some() {
                findings.add(AnomalyKind::ManifestMismatch, Some(row.path.as_bytes()), "listed twice in RECORD");
            }
        }
        for member in members.iter().filter(|member| member.kind != Kind::Directory) {
            let row = rows.remove(&*member.name);
            if let Some(fault) = mismatch(row, member, own_name) {
                findings.add(AnomalyKind::ManifestMismatch, Some(&member.name), fault);
            }
        }
        for path in rows.keys() {
            findings.add(AnomalyKind::ManifestMismatch, Some(path), "listed in RECORD but not in the wheel");
        }
    }

    /// The rows sorted, one spelling each.
    pub(super) fn canonical(&self) -> Vec<u8> {
        canonical_rows(self.rows.clone())
    }

    /// The same with hash and size of each listed manifest in its canonical form.
    pub(super) fn canonical_with(&self, members: &[Member<'_>]) -> Vec<u8> {
        let changed = members.iter().filter(|member| member.manifest() != member.normal());
        let changed: BTreeMap<&[u8], &Member<'_>> = changed.map(|member| (&*member.name, member)).collect();
        let mut rows = self.rows.clone();
        for row in &mut rows {
            if let (Some(member), Some((name, value))) = (changed.get(row.path.as_bytes()), &mut row.hash)
                && name == "sha256"
            {
                *value = BASE64URL_NOPAD.encode(member.manifest().digest.as_bytes());
                row.size = row.size.map(|_| member.manifest().size);
            }
        }
        canonical_rows(rows)
    }
}

/// What is wrong with the row of a member, if anything.
fn mismatch(row: Option<&Row>, member: &Member<'_>, own_name: &[u8]) -> Option<&'static str> {
    let is_own = *member.name == *own_name;
    let is_signature = [&b".jws"[..], b".p7s"].iter().any(|end| member.name.strip_suffix(*end) == Some(own_name));
    match row {
        None if is_own || is_signature => None,
        None => Some("not listed in RECORD"),
        Some(row) if is_own => (row.hash.is_some() || row.size.is_some()).then_some("RECORD lists a hash of itself"),
        Some(row) => {
            let wrong_size = row.size.is_some_and(|size| size != member.content.summary.size);
            match &row.hash {
                None if is_signature => None,
                None => Some("listed in RECORD without a hash"),
                Some((name, _)) if name != "sha256" => Some("listed in RECORD with a hash that is not SHA-256"),
                Some((_, value)) if *value != BASE64URL_NOPAD.encode(member.content.summary.digest.as_bytes()) => {
                    Some("RECORD lists another hash")
                }
                Some(_) => wrong_size.then_some("RECORD lists another size"),
            }
        }
    }
}

impl Row {
    fn parse(fields: &[String]) -> Result<Self, &'static str> {
        let [path, hash, size] = fields else { return Err("a row without three fields") };
        let hash = match hash.split_once('=') {
            None if hash.is_empty() => None,
            None => return Err("a hash without a name"),
            Some((name, value)) => Some((name.to_ascii_lowercase(), value.to_owned())),
        };
        let size = match size.as_str() {
            "" => None,
            size if size.bytes().all(|byte| byte.is_ascii_digit()) => Some(size.parse().map_err(|_| "a size too large")?),
            _ => return Err("a size that is no number"),
        };
        Ok(Self { path: path.clone(), hash, size })
    }
}

/// `"path",name=value,size` lines, sorted; the path always quoted, a quote in it doubled.
fn canonical_rows(mut rows: Vec<Row>) -> Vec<u8> {
    rows.sort();
    let mut text = String::new();
    for Row { path, hash, size } in rows {
        let hash = hash.map(|(name, value)| format!("{name}={value}")).unwrap_or_default();
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\"{}\",\"{}\",{size}", path.replace('"', "\"\""), hash.replace('"', "\"\""));
    }
    text.into_bytes()
}

/// Comma-separated values with double quotes, lines ending in LF or CR LF, no blank lines but the
/// last.
fn parse_csv(text: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let mut rows = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            let (field, after) = parse_field(rest)?;
            row.push(field);
            rest = after;
            let Some(next) = rest.strip_prefix(',') else { break };
            rest = next;
        }
        rest = match rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')) {
            Some(next) => next,
            None if rest.is_empty() => rest,
            None => return Err("text after a field"),
        };
        rows.push(row);
    }
    Ok(rows)
}

fn parse_field(text: &str) -> Result<(String, &str), &'static str> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n', '\r', '"']).unwrap_or(text.len());
        let (field, rest) = text.split_at(end);
        return Ok((field.to_owned(), rest));
    };
    let mut field = String::new();
    loop {
        let (piece, after) = rest.split_once('"').ok_or("a quoted field without an end")?;
        field.push_str(piece);
        let Some(next) = after.strip_prefix('"') else { return Ok((field, after)) };
        field.push('"');
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn order_spelling_and_line_ends_have_one_canonical_form() {
        let one = Record::parse(b"b,sha256=AA,3\na,SHA256=BB,\n").unwrap();
        let other = Record::parse(b"\"a\",sha256=BB,\r\nb,sha256=AA,3\r\n").unwrap();
        assert_eq!(one.canonical(), other.canonical());
        assert_eq!(one.canonical(), b"\"a\",\"sha256=BB\",\n\"b\",\"sha256=AA\",3\n");
    }

    #[test]
    fn quotes_and_commas_in_paths_are_kept() {
        let record = Record::parse(b"\"a,\"\"b\"\"\",,\n").unwrap();
        assert_eq!(record.rows[0].path, "a,\"b\"");
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in ["a,b\n", "a,sha256,1\n", "a,,x\n", "a,,-1\n", "a\"b,,\n", "\"a,,\n", "\"a\"b,,\n", "a,,1\n\nb,,1\n", "a\rb,,\n"] {
            assert!(Record::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
