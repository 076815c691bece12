//! What incident queries ask for: terms, and which results each leads to.
//!
//! A term is a kind and a text: `commit:<hex>`, `tool:<name>`, `tool:<name>@<version>`,
//! `digest:sha256:<hex>`, `purl:<purl>`, `environment:sha256:<hex>`. Package URLs stand without
//! qualifiers, and names of tools in their canonical form. Facts of the result itself are indexed with it; those of its provenance and of its environment's inventory once these are held.
//! An index only points: whoever asks checks the result and the provenance.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use quorate_proto::provenance::{Provenance, ResourceDescriptor};
use quorate_proto::result::{Outcome, RebuildResult, Tool, canonical_tool_name};
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, Purl};
use serde_json::Value;

use super::index::{IndexDraft, IndexError};
use super::rows::{self, Role};

/// Terms of one file that are indexed; the largest Debian inventories have a few thousand.
const TERMS_MAX: usize = 16_384;

/// Longest text of a term that is indexed, in bytes.
const TERM_BYTES_MAX: usize = 1_024;

/// Toolchains that results of one batch name, by their environment: most name the same.
#[derive(Default)]
pub(crate) struct Toolchains(HashMap<Digest, Toolchain>);

struct Toolchain {
    tools: Vec<Tool>,
    terms: BTreeSet<String>,
    /// The keys of the terms' posting lists.
    prefixes: Vec<Vec<u8>>,
}

/// Files that are the same for all who name them: one naming is enough.
fn name_once(rows: &mut IndexDraft<'_>, blob: Digest, role: Role) -> Result<(), IndexError> {
    let key = rows::role_naming(blob, role);
    if !rows.contains(&key)? {
        rows.put(key, rows::naming_value(role, None, false));
        rows.put(rows::wanted(blob), Vec::new());
    }
    Ok(())
}

impl Toolchains {
    /// The terms of a result's toolchain. When it is met first, its environment is named too.
    fn of(&mut self, rows: &mut IndexDraft<'_>, result: &RebuildResult) -> Result<&Toolchain, IndexError> {
        let environment = result.environment.digest;
        let known = match self.0.entry(environment) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                name_once(rows, environment, Role::Environment)?;
                place.insert(Toolchain::of(environment, &result.toolchain))
            }
        };
        if known.tools != result.toolchain {
            *known = Toolchain::of(environment, &result.toolchain);
        }
        Ok(known)
    }
}

impl Toolchain {
    fn of(environment: Digest, tools: &[Tool]) -> Self {
        let mut terms = BTreeSet::from([format!("environment:{environment}")]);
        for tool in tools {
            tool_terms(&mut terms, &tool.name, &tool.version);
            terms.extend(tool.digest.map(|digest| format!("digest:{digest}")));
        }
        let prefixes = indexed(&terms).map(|term| rows::term_prefix(term)).collect();
        Self { tools: tools.to_vec(), terms, prefixes }
    }
}

/// Indexes what a result says by itself, and the files that it names.
pub(crate) fn index_result(
    rows: &mut IndexDraft<'_>,
    toolchains: &mut Toolchains,
    leaf: u64,
    statement: &VerifiedStatement,
) -> Result<(), IndexError> {
    let result = statement.result();
    let toolchain = toolchains.of(rows, result)?;
    for prefix in &toolchain.prefixes {
        rows.append(prefix, &leaf.to_be_bytes())?;
    }
    let mut terms = BTreeSet::new();
    if let Some(commit) = result.source.as_ref().and_then(|source| source.commit.as_ref()) {
        terms.insert(format!("commit:{}", commit.to_lowercase()));
    }
    if let Some(rebuilt) = result.outcome.rebuilt().filter(|rebuilt| rebuilt.digest != statement.artifact().digest) {
        terms.insert(format!("digest:{}", rebuilt.digest));
    }
    terms.retain(|term| !toolchain.terms.contains(term));
    index_terms(rows, leaf, &terms)?;
    rows.append(&rows::hour_prefix(hour_of(statement)), &leaf.to_be_bytes())?;
    name_evidence(rows, leaf, statement)
}

/// The hour in which a result was finished, counted from 1970.
pub(crate) fn hour_of(statement: &VerifiedStatement) -> u32 {
    u32::try_from(statement.result().finished_at.unix_seconds() / 3600).unwrap_or(0)
}

fn name_evidence(rows: &mut IndexDraft<'_>, leaf: u64, statement: &VerifiedStatement) -> Result<(), IndexError> {
    let result = statement.result();
    let report = match &result.outcome {
        Outcome::Different { differences, .. } => differences.report,
        _ => None,
    };
    if let Some(report) = report {
        name_once(rows, report, Role::Report)?;
    }
    if let Some(provenance) = result.provenance {
        rows.put(rows::naming(provenance, leaf), rows::naming_value(Role::Provenance, Some(statement.node()), false));
        rows.put(rows::wanted(provenance), Vec::new());
    }
    Ok(())
}

/// Indexes a provenance for the result that names it.
pub(crate) fn index_provenance(rows: &mut IndexDraft<'_>, leaf: u64, provenance: &Provenance) -> Result<(), IndexError> {
    let mut terms = BTreeSet::new();
    for dependency in &provenance.build_definition.resolved_dependencies {
        if terms.len() > TERMS_MAX {
            break;
        }
        dependency_terms(&mut terms, dependency);
    }
    index_terms(rows, leaf, &terms)
}

fn dependency_terms(terms: &mut BTreeSet<String>, dependency: &ResourceDescriptor) {
    terms.extend(dependency.digest.as_ref().map(|digest| format!("digest:{}", digest.sha256)));
    if let Some(uri) = &dependency.uri {
        match uri.parse::<Purl>() {
            Ok(purl) => purl_terms(terms, &purl),
            Err(_) => terms.extend(commit_in(uri).map(|commit| format!("commit:{commit}"))),
        }
    }
    if let Some(commit) = dependency.annotations.get("commit").and_then(Value::as_str) {
        terms.insert(format!("commit:{}", commit.to_lowercase()));
    }
    if let Some(version) = dependency.annotations.get("version").and_then(Value::as_str) {
        tool_terms(terms, &dependency.name, version);
    }
}

fn purl_terms(terms: &mut BTreeSet<String>, purl: &Purl) {
    terms.insert(purl_term(purl));
    terms.insert(purl_term(&purl.without_version()));
    if let Some(version) = purl.version() {
        tool_terms(terms, purl.name(), version);
    }
}

/// What a package is found by.
pub(crate) fn purl_term(purl: &Purl) -> String {
    format!("purl:{}", rows::unqualified(purl))
}

fn tool_terms(terms: &mut BTreeSet<String>, name: &str, version: &str) {
    let name = canonical_tool_name(name);
    terms.insert(format!("tool:{name}@{version}"));
    terms.insert(format!("tool:{name}"));
}

/// What a tool is found by that is asked for as `name` or `name@version`.
pub(crate) fn tool_term(asked: &str) -> String {
    // A scoped npm name begins with `@`.
    let version_at = asked.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(asked.len(), |(at, _)| at);
    let (name, version) = asked.split_at(version_at);
    format!("tool:{}{version}", canonical_tool_name(name))
}

/// The commit in an address such as `git+https://host/repository@<commit>`.
fn commit_in(uri: &str) -> Option<String> {
    let (_, commit) = uri.rsplit_once('@')?;
    let hex = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| commit.to_lowercase())
}

fn index_terms(rows: &mut IndexDraft<'_>, leaf: u64, terms: &BTreeSet<String>) -> Result<(), IndexError> {
    indexed(terms).try_for_each(|term| rows.append(&rows::term_prefix(term), &leaf.to_be_bytes()))
}

/// Those of one file's terms that are indexed.
fn indexed(terms: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    terms.iter().filter(|term| term.len() <= TERM_BYTES_MAX).take(TERMS_MAX)
}

/// Indexes an environment's inventory: every object in its JSON that has a name and a version, and
/// every map `packages` from names to versions.
pub(crate) fn index_inventory(rows: &mut IndexDraft<'_>, environment: Digest, bytes: &[u8]) {
    let mut terms = BTreeSet::new();
    if let Ok(json) = serde_json::from_slice::<Value>(bytes) {
        named_versions(&json, &mut terms);
    }
    for term in indexed(&terms) {
        rows.put(rows::inventory(term, environment), Vec::new());
    }
}

fn named_versions(json: &Value, terms: &mut BTreeSet<String>) {
    if terms.len() > TERMS_MAX {
        return;
    }
    match json {
        Value::Array(values) => values.iter().for_each(|value| named_versions(value, terms)),
        Value::Object(fields) => {
            let text = |field| fields.get(field).and_then(Value::as_str);
            if let (Some(name), Some(version)) = (text("name"), text("version")) {
                tool_terms(terms, name, version);
            }
            if let Some(Value::Object(packages)) = fields.get("packages") {
                let versions = packages.iter().filter_map(|(name, version)| Some((name, version.as_str()?)));
                versions.for_each(|(name, version)| tool_terms(terms, name, version));
            }
            fields.values().for_each(|value| named_versions(value, terms));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_at_the_end_of_an_address_is_found_and_nothing_else_is() {
        let commit = "a".repeat(40);
        assert_eq!(commit_in(&format!("git+https://github.com/p/c@{commit}")), Some(commit));
        assert_eq!(commit_in("git+https://user@github.com/p/c"), None);
    }

    #[test]
    fn a_tool_is_found_however_its_name_is_spelt() {
        let mut terms = BTreeSet::new();
        tool_terms(&mut terms, "Flit_Core", "3.10.1");
        for asked in ["flit-core", "flit_core@3.10.1", "FLIT.core@3.10.1"] {
            assert!(terms.contains(&tool_term(asked)), "{asked}");
        }
        assert_eq!(tool_term("@scope/tool@1"), "tool:@scope/tool@1");
    }

    #[test]
    fn a_package_is_found_from_whatever_registry_it_came() {
        let mut terms = BTreeSet::new();
        purl_terms(&mut terms, &"pkg:pypi/x@1?repository_url=http://registry.example".parse().expect("a package URL"));
        for asked in ["pkg:pypi/x", "pkg:pypi/x@1", "pkg:pypi/x@1?repository_url=http://mirror.example"] {
            assert!(terms.contains(&purl_term(&asked.parse().expect("a package URL"))), "{asked}");
        }
    }

    #[test]
    fn an_inventory_yields_its_tools_whatever_its_shape() {
        let json =
            serde_json::json!({"tools": [{"name": "gcc", "version": "12.2"}], "packages": [{"name": "xz-utils", "version": "5.6.0"}]});
        let mut terms = BTreeSet::new();
        named_versions(&json, &mut terms);
        named_versions(&serde_json::json!({"packages": {"make": "4.3"}}), &mut terms);
        assert!(["tool:xz-utils@5.6.0", "tool:gcc", "tool:make@4.3"].iter().all(|term| terms.contains(*term)));
    }
}
