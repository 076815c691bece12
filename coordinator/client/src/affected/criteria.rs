//! What is asked, and whether a result and its evidence really answer it. Pure.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::str::FromStr;

use quorate_proto::provenance::{Provenance, ResourceDescriptor};
use quorate_proto::result::canonical_tool_name;
use quorate_proto::verified::VerifiedStatement;
use quorate_proto::{Digest, NodeId, OperatorId, Purl, Timestamp};
use serde::Serialize;
use serde_json::Value;

/// How deep an inventory may nest.
const INVENTORY_DEPTH_MAX: usize = 8;

/// A full git commit id, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit(String);

/// Not a full commit id.
#[derive(Debug, thiserror::Error)]
#[error("a commit is asked for by all of its 40 or 64 hex digits")]
pub(crate) struct CommitError;

/// A tool, in any version or in one. The name is canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolQuery {
    name: String,
    version: Option<String>,
}

/// What is asked. All that is set must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Criteria {
    pub(crate) digest: Option<Digest>,
    pub(crate) purl: Option<Purl>,
    pub(crate) commit: Option<Commit>,
    pub(crate) tool: Option<ToolQuery>,
    pub(crate) operator: Option<OperatorId>,
    pub(crate) node: Option<NodeId>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// Where and how a criterion holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Match {
    /// The criterion's name, as on the command line.
    pub(crate) criterion: &'static str,
    /// Where in the evidence.
    pub(crate) place: &'static str,
    /// What was found there.
    pub(crate) found: String,
}

/// A signed result with what is at hand of its evidence, all of it verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// The result.
    pub(crate) statement: &'a VerifiedStatement,
    /// Its provenance.
    pub(crate) provenance: Option<&'a Provenance>,
    /// The inventory of its environment.
    pub(crate) inventory: Option<&'a Value>,
}

/// Matches of one criterion.
type Matches = BTreeSet<Match>;

impl FromStr for Commit {
    type Err = CommitError;

    fn from_str(text: &str) -> Result<Self, CommitError> {
        let full = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if full { Ok(Self(text.to_ascii_lowercase())) } else { Err(CommitError) }
    }
}

impl FromStr for ToolQuery {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // A scoped npm name begins with `@`.
        let split = text.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(at, _)| text.split_at(at));
        let (name, version) = split.map_or((text, None), |(name, version)| (name, Some(version[1..].to_owned())));
        Ok(Self { name: canonical_tool_name(name), version })
    }
}

impl ToolQuery {
    fn matches(&self, name: &str, version: &str) -> bool {
        self.name == canonical_tool_name(name) && self.version.as_ref().is_none_or(|wanted| wanted == version)
    }
}

impl Criteria {
    /// The query parameters that ask a coordinator for the same.
    pub(crate) fn to_query(&self) -> Vec<(&'static str, String)> {
        let tool = self.tool.as_ref().map(|tool| match &tool.version {
            Some(version) => format!("{}@{version}", tool.name),
            None => tool.name.clone(),
        });
        let parameters = [
            ("digest", self.digest.map(|digest| digest.to_string())),
            ("purl", self.purl.as_ref().map(without_qualifiers)),
            ("commit", self.commit.as_ref().map(|commit| commit.0.clone())),
            ("tool", tool),
            ("operator", self.operator.map(|operator| operator.to_string())),
            ("node", self.node.map(|node| node.to_string())),
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Whether the environment's inventory can say more.
    pub(crate) fn asks_for_inventory(&self) -> bool {
        self.tool.is_some()
    }

    /// Where every criterion holds; else the first that does not.
    pub(crate) fn check(&self, record: Record<'_>) -> Result<Matches, &'static str> {
        let parts = [
            ("operator", self.operator.map(|operator| signed_by(record, operator))),
            ("node", self.node.map(|node| signed_on(record, node))),
            ("time", (self.since.is_some() || self.until.is_some()).then(|| self.signed_at(record))),
            ("digest", self.digest.map(|digest| find_digest(record, digest))),
            ("purl", self.purl.as_ref().map(|purl| find_purl(record, purl))),
            ("commit", self.commit.as_ref().map(|commit| find_commit(record, commit))),
            ("tool", self.tool.as_ref().map(|tool| find_tool(record, tool))),
        ];
        let mut all = Matches::new();
        for (criterion, found) in parts {
            let Some(found) = found else { continue };
            if found.is_empty() {
                return Err(criterion);
            }
            all.extend(found.into_iter().map(|(place, found)| Match { criterion, place, found }));
        }
        Ok(all)
    }

    fn signed_at(&self, record: Record<'_>) -> Found {
        let time = record.statement.result().finished_at;
        let within = self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until);
        within.then(|| ("result", time.to_string())).into_iter().collect()
    }
}

/// Places and what was found there.
type Found = Vec<(&'static str, String)>;

fn dependencies(record: Record<'_>) -> impl Iterator<Item = &ResourceDescriptor> {
    record.provenance.into_iter().flat_map(|provenance| &provenance.build_definition.resolved_dependencies)
}

fn describe(dependency: &ResourceDescriptor) -> String {
    let digest = dependency.digest.as_ref().map(|set| format!(" {}", set.sha256)).unwrap_or_default();
    let what = dependency.uri.as_deref().unwrap_or(&dependency.name);
    format!("{what}{digest}")
}

fn signed_by(record: Record<'_>, operator: OperatorId) -> Found {
    let signer = record.statement.operator();
    (signer == operator).then(|| ("certificate", signer.to_string())).into_iter().collect()
}

fn signed_on(record: Record<'_>, node: NodeId) -> Found {
    let signer = record.statement.node();
    (signer == node).then(|| ("signature", signer.to_string())).into_iter().collect()
}

fn find_digest(record: Record<'_>, digest: Digest) -> Found {
    let result = record.statement.result();
    let source = result.source.as_ref().and_then(|source| Some((source.digest?, source.uri.clone())));
    let named = [
        ("artifact", Some((record.statement.artifact().digest, record.statement.artifact().slot.file.to_string()))),
        ("rebuilt", result.outcome.rebuilt().map(|rebuilt| (rebuilt.digest, "the rebuilt file".to_owned()))),
        ("source", source),
        ("environment", Some((result.environment.digest, "the environment's inventory".to_owned()))),
    ];
    let tools = result.toolchain.iter().filter_map(|tool| Some((tool.digest?, format!("{} {}", tool.name, tool.version))));
    let named =
        named.into_iter().filter_map(|(place, found)| found.map(|found| (place, found))).chain(tools.map(|found| ("toolchain", found)));
    let named = named.filter(|(_, (found, _))| *found == digest).map(|(place, (_, what))| (place, what));
    let resolved = dependencies(record).filter(|dependency| dependency.digest.as_ref().is_some_and(|set| set.sha256 == digest));
    named.chain(resolved.map(|dependency| ("dependency", describe(dependency)))).collect()
}

/// The package URL that is asked for: [`same_package`] reads nothing behind its version.
fn without_qualifiers(purl: &Purl) -> String {
    let text = purl.to_string();
    // In a canonical package URL both characters are percent-encoded everywhere else.
    text.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Qualifiers are left aside: a mirror's copy of a bad release is as bad.
fn same_package(found: &Purl, wanted: &Purl) -> bool {
    found.package_type() == wanted.package_type()
        && found.namespace() == wanted.namespace()
        && found.name() == wanted.name()
        && (wanted.version().is_none() || found.version() == wanted.version())
}

fn find_purl(record: Record<'_>, wanted: &Purl) -> Found {
    let own = &record.statement.artifact().slot.package;
    let own = same_package(own, wanted).then(|| ("artifact", own.to_string()));
    let uses = |dependency: &&ResourceDescriptor| {
        dependency.uri.as_ref().and_then(|uri| uri.parse::<Purl>().ok()).is_some_and(|found| same_package(&found, wanted))
    };
    own.into_iter().chain(dependencies(record).filter(uses).map(|dependency| ("dependency", describe(dependency)))).collect()
}

fn find_commit(record: Record<'_>, wanted: &Commit) -> Found {
    let is = |text: &str| text.eq_ignore_ascii_case(&wanted.0);
    let source = record.statement.result().source.as_ref();
    let source = source.filter(|source| source.commit.as_deref().is_some_and(is)).map(|source| ("source", source.uri.clone()));
    let from = |dependency: &&ResourceDescriptor| {
        let annotated = dependency.annotations.get("commit").and_then(Value::as_str).is_some_and(is);
        let addressed = dependency.uri.as_ref().and_then(|uri| uri.rsplit_once('@')).is_some_and(|(_, commit)| is(commit));
        annotated || addressed
    };
    source.into_iter().chain(dependencies(record).filter(from).map(|dependency| ("dependency", describe(dependency)))).collect()
}

fn find_tool(record: Record<'_>, wanted: &ToolQuery) -> Found {
    let tools = record.statement.result().toolchain.iter().filter(|tool| wanted.matches(&tool.name, &tool.version));
    let tools = tools.map(|tool| ("toolchain", format!("{} {}", tool.name, tool.version)));
    let resolved = dependencies(record).filter(|dependency| is_tool(dependency, wanted));
    let mut found: Found = tools.chain(resolved.map(|dependency| ("dependency", describe(dependency)))).collect();
    if let Some(inventory) = record.inventory {
        find_in_inventory(inventory, wanted, INVENTORY_DEPTH_MAX, &mut found);
    }
    found
}

fn is_tool(dependency: &ResourceDescriptor, wanted: &ToolQuery) -> bool {
    let annotated = dependency.annotations.get("version").and_then(Value::as_str);
    let package = dependency.uri.as_ref().and_then(|uri| uri.parse::<Purl>().ok());
    annotated.is_some_and(|version| wanted.matches(&dependency.name, version))
        || package.is_some_and(|purl| purl.version().is_some_and(|version| wanted.matches(purl.name(), version)))
}

/// Every object with a name and a version, and every map of `packages` to versions, whatever stands
/// around them.
fn find_in_inventory(inventory: &Value, wanted: &ToolQuery, depth_left: usize, found: &mut Found) {
    let Some(depth_left) = depth_left.checked_sub(1) else { return };
    match inventory {
        Value::Array(values) => values.iter().for_each(|value| find_in_inventory(value, wanted, depth_left, found)),
        Value::Object(fields) => {
            let named = fields.get("name").and_then(Value::as_str).zip(fields.get("version").and_then(Value::as_str));
            let mapped = fields.get("packages").and_then(Value::as_object).into_iter().flatten();
            let mapped = mapped.filter_map(|(name, version)| Some((name.as_str(), version.as_str()?)));
            let matching = named.into_iter().chain(mapped).filter(|(name, version)| wanted.matches(name, version));
            found.extend(matching.map(|(name, version)| ("environment", format!("{name} {version}"))));
            fields.values().for_each(|value| find_in_inventory(value, wanted, depth_left, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_may_have_a_scope_and_a_version() {
        let tool = |text: &str| text.parse::<ToolQuery>().expect("never fails");
        assert_eq!(tool("setuptools"), ToolQuery { name: "setuptools".into(), version: None });
        assert_eq!(tool("xz-utils@5.6.0"), ToolQuery { name: "xz-utils".into(), version: Some("5.6.0".into()) });
        assert_eq!(tool("@scope/tool@1"), ToolQuery { name: "@scope/tool".into(), version: Some("1".into()) });
    }

    #[test]
    fn no_spelling_of_a_tool_or_mirror_of_a_package_hides_it() {
        let tool: ToolQuery = "flit_core@3.10.1".parse().expect("never fails");
        assert!(["flit-core", "Flit.Core", "flit__core"].iter().all(|name| tool.matches(name, "3.10.1")));
        assert!(!tool.matches("flitcore", "3.10.1") && !tool.matches("flit-core", "3.10.2"));
        let purl = "pkg:pypi/Flit_core@3.10.1?repository_url=https://mirror.example#a/b".parse().expect("a package URL");
        let criteria = Criteria { tool: Some(tool), purl: Some(purl), ..Criteria::default() };
        assert_eq!(criteria.to_query(), [("purl", "pkg:pypi/flit-core@3.10.1".to_owned()), ("tool", "flit-core@3.10.1".to_owned())]);
    }

    #[test]
    fn a_shortened_commit_is_refused() {
        assert!("934813e".parse::<Commit>().is_err());
        assert!("934813e4d421071a1b3db3973c02fe2721359a6e".parse::<Commit>().is_ok());
    }

    #[test]
    fn an_inventory_of_any_shape_is_searched_by_name_and_version() {
        let listed = serde_json::json!([{"name": "xz-utils", "version": "5.6.0"}, {"name": "gcc", "version": "12"}]);
        let mapped = serde_json::json!({"class": "host", "packages": {"xz-utils": "5.6.0", "gcc": "12"}});
        for inventory in [listed, mapped] {
            let search = |text: &str| {
                let mut found = Found::new();
                find_in_inventory(&inventory, &text.parse().expect("never fails"), INVENTORY_DEPTH_MAX, &mut found);
                found
            };
            assert_eq!(search("xz-utils@5.6.0"), [("environment", "xz-utils 5.6.0".to_owned())]);
            assert_eq!(search("xz-utils@5.6.1"), []);
        }
    }
}
