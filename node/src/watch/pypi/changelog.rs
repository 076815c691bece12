//! The changelog of a Python index: name, version, time, action, serial. Pure.

use std::collections::BTreeMap;

use quorate_proto::{FileName, Purl};

use super::xmlrpc::{self, CallError, Value};
use crate::registry::pypi::file_name::{Distribution, ProjectName};
use crate::watch::listing::Change;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The project, as the index spells it.
    pub name: String,
    /// What happened to it.
    pub action: String,
    /// The number of the entry.
    pub serial: u64,
}

/// An answer that is no changelog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangelogError {
    /// No answer to a call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An answer of another shape.
    #[error("not a changelog: {0}")]
    Shape(&'static str),
}

/// Reads the answer to `changelog_last_serial`.
pub fn last_serial(bytes: &[u8]) -> Result<u64, ChangelogError> {
    match xmlrpc::answer(bytes)? {
        Value::Int(serial) => u64::try_from(serial).map_err(|_| ChangelogError::Shape("a negative serial")),
        _ => Err(ChangelogError::Shape("the last serial is no number")),
    }
}

/// Reads the answer to `changelog_since_serial`.
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry>, ChangelogError> {
    let Value::List(rows) = xmlrpc::answer(bytes)? else { return Err(ChangelogError::Shape("not a list")) };
    rows.into_iter().map(entry).collect()
}

fn entry(row: Value) -> Result<Entry, ChangelogError> {
    let Value::List(fields) = row else { return Err(ChangelogError::Shape("an entry that is no list")) };
    let fields: [Value; 5] = fields.try_into().map_err(|_| ChangelogError::Shape("an entry without five fields"))?;
    let [Value::Text(name), Value::Text(_) | Value::Nil, Value::Int(_), Value::Text(action), Value::Int(serial)] = fields else {
        return Err(ChangelogError::Shape("an entry with fields of other kinds"));
    };
    let serial = u64::try_from(serial).map_err(|_| ChangelogError::Shape("a negative serial"))?;
    Ok(Entry { name, action, serial })
}

/// The projects that got something new, with the versions of the files that were added.
///
/// Files alone count: what else happens to a project publishes nothing. Names that no index gives are
/// passed over.
pub fn changes(entries: &[Entry]) -> Vec<Change> {
    let mut changes: BTreeMap<Purl, Change> = BTreeMap::new();
    for entry in entries {
        let Some((package, file)) = added(entry) else { continue };
        let change = changes.entry(package.clone()).or_insert(Change { package, versions: [].into(), serial: None });
        change.serial = change.serial.max(Some(entry.serial));
        change.versions.extend(Distribution::parse(&file).map(|distribution| distribution.version.to_string()));
    }
    changes.into_values().collect()
}

/// `add py3 file demo-1.0-py3-none-any.whl`.
fn added(entry: &Entry) -> Option<(Purl, FileName)> {
    let (_, file) = entry.action.strip_prefix("add ")?.split_once("file ")?;
    let name: ProjectName = entry.name.parse().ok()?;
    Some((format!("pkg:pypi/{name}").parse().ok()?, file.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn added_files_name_their_project_and_version() {
        let row = |name: &str, action: &str, serial: u64| {
            format!(
                "<value><array><data><value><string>{name}</string></value><value><nil/></value><value><int>1</int></value><value><string>{action}</string></value><value><int>{serial}</int></value></data></array></value>"
            )
        };
        let rows = row("Demo", "create", 4)
            + &row("Demo", "new release", 5)
            + &row("Demo", "add source file demo-1.0.tar.gz", 6)
            + &row("Demo", "add py3 file demo-1.0-py3-none-any.whl", 7)
            + &row("demo", "add py2.7 file demo-0.9-py2.7.egg", 8)
            + &row("gone", "remove release", 9);
        let text =
            format!("<methodResponse><params><param><value><array><data>{rows}</data></array></value></param></params></methodResponse>");
        let entries = entries(text.as_bytes()).unwrap();
        assert_eq!(entries.len(), 6);
        let changes = changes(&entries);
        assert_eq!(changes, [Change { package: "pkg:pypi/demo".parse().unwrap(), versions: ["1.0".to_owned()].into(), serial: Some(8) }]);
        assert!(matches!(super::entries(text.replace("<int>6</int>", "<int>-6</int>").as_bytes()), Err(ChangelogError::Shape(_))));
    }
}
