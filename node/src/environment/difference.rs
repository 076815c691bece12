//! What differs between two environments. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use quorate_proto::result::Environment;
use serde::Serialize;

use super::inventory::Inventory;

/// Two environments, and all that differs. Lists are sorted by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The one.
    pub a: Environment,
    /// The other.
    pub b: Environment,
    /// What only the one has.
    pub only_a: Vec<Item>,
    /// What only the other has.
    pub only_b: Vec<Item>,
    /// What both have, in different versions.
    pub changed: Vec<Change>,
}

/// A part of an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Its name.
    pub name: String,
    /// What a package was built for; empty for others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub architecture: String,
}

/// Kinds of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// What the system says it is.
    System,
    /// A program that no package accounts for.
    Tool,
    /// An installed package.
    Package,
}

/// A part that one environment has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Which.
    #[serde(flatten)]
    pub part: Part,
    /// Its version.
    pub version: String,
}

/// A part that both have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    #[serde(flatten)]
    pub part: Part,
    /// Its version in the one.
    pub a: String,
    /// Its version in the other.
    pub b: String,
}

impl Difference {
    /// Holds two inventories against each other.
    pub fn between(a: &Inventory, b: &Inventory) -> Self {
        let (parts_a, parts_b) = (parts(a), parts(b));
        let only = |from: &BTreeMap<Part, String>, other: &BTreeMap<Part, String>| {
            let own = from.iter().filter(|(part, _)| !other.contains_key(*part));
            own.map(|(part, version)| Item { part: part.clone(), version: version.clone() }).collect()
        };
        let both: BTreeSet<&Part> = parts_a.keys().filter(|part| parts_b.contains_key(*part)).collect();
        let changed = both.into_iter().filter(|part| parts_a[*part] != parts_b[*part]);
        let changed = changed.map(|part| Change { part: part.clone(), a: parts_a[part].clone(), b: parts_b[part].clone() }).collect();
        Self { a: a.environment(), b: b.environment(), only_a: only(&parts_a, &parts_b), only_b: only(&parts_b, &parts_a), changed }
    }

    /// True when nothing that takes part in builds differs; two classes may have the same content.
    pub fn is_empty(&self) -> bool {
        self.only_a.is_empty() && self.only_b.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.architecture.as_str()) {
            (PartKind::System, _) => write!(f, "system {}", self.name),
            (PartKind::Tool, _) => write!(f, "tool {}", self.name),
            (PartKind::Package, architecture) => write!(f, "{}:{architecture}", self.name),
        }
    }
}

fn parts(inventory: &Inventory) -> BTreeMap<Part, String> {
    let part = |kind, name: &str, architecture: &str| Part { kind, name: name.to_owned(), architecture: architecture.to_owned() };
    let system = inventory.system.iter().map(|(name, value)| (part(PartKind::System, name, ""), value.clone()));
    let tools = inventory.tools.iter().map(|tool| {
        let digest = tool.digest.map(|digest| format!(" ({digest})")).unwrap_or_default();
        (part(PartKind::Tool, &tool.name, ""), format!("{}{digest}", tool.version))
    });
    let packages = inventory.packages.iter().map(|p| (part(PartKind::Package, &p.name, &p.architecture), p.version.clone()));
    system.chain(tools).chain(packages).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::inventory::{InventoryTool, Package};
    use quorate_proto::result::EnvironmentClass;

    fn inventory(packages: &[(&str, &str, &str)], pip: &str) -> Inventory {
        let package = |(name, architecture, version): &(&str, &str, &str)| Package {
            name: (*name).to_owned(),
            architecture: (*architecture).to_owned(),
            version: (*version).to_owned(),
        };
        let tools = vec![InventoryTool { name: "pip".to_owned(), version: pip.to_owned(), digest: None }];
        Inventory::new(EnvironmentClass::Host, BTreeMap::new(), packages.iter().map(package).collect(), tools)
    }

    #[test]
    fn what_is_missing_and_what_has_another_version_is_named() {
        let a = inventory(
            &[("xz-utils", "amd64", "5.6.0-0.1"), ("libc6", "amd64", "2.36"), ("libc6", "i386", "2.36"), ("gone", "all", "1")],
            "23",
        );
        let b = inventory(&[("xz-utils", "amd64", "5.4.1-1"), ("libc6", "amd64", "2.36"), ("new", "all", "2")], "24");
        let difference = Difference::between(&a, &b);
        let names = |items: &[Item]| items.iter().map(|item| format!("{} {}", item.part, item.version)).collect::<Vec<_>>();
        assert_eq!(names(&difference.only_a), ["gone:all 1", "libc6:i386 2.36"]);
        assert_eq!(names(&difference.only_b), ["new:all 2"]);
        let changed: Vec<String> = difference.changed.iter().map(|c| format!("{} {} {}", c.part, c.a, c.b)).collect();
        assert_eq!(changed, ["tool pip 23 24", "xz-utils:amd64 5.6.0-0.1 5.4.1-1"]);
        assert!(Difference::between(&a, &a).is_empty() && !difference.is_empty());
    }
}
