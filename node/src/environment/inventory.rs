//! What an environment has: every installed package with its version and architecture, and the tools that
//! no package brought. Its canonical JSON is what an environment's digest is taken of.
//!
//! Left out is what takes no part in builds (kernel, host name, hardware, the mirror, the hour), so that two
//! machines with the same packages have the same digest.

use std::collections::BTreeMap;
use std::path::Path;

use quorate_proto::Digest;
use quorate_proto::provenance::BLOB_BYTES_MAX;
use quorate_proto::result::{Environment, EnvironmentClass};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{EnvironmentError, output};

/// The version of the JSON that is written. Version 1 had a map from package names to versions.
const SCHEMA_VERSION: u32 = 2;

/// The content of an environment. Fields stand in the order of their names: that order is canonical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inventory {
    /// Which kind of environment.
    pub class: EnvironmentClass,
    /// Every installed package, sorted.
    pub packages: Vec<Package>,
    schema_version: u32,
    /// What the system says it is: `architecture`, `id`, `version_id`.
    pub system: BTreeMap<String, String>,
    /// Programs that take part in builds and that no package accounts for, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<InventoryTool>,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// Its name, without an architecture.
    pub name: String,
    /// What it was built for, such as `amd64` or `all`.
    pub architecture: String,
    /// Its version.
    pub version: String,
}

/// A program that no package accounts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InventoryTool {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the program file, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Bytes that are no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// Too long.
    #[error("inventory of {got} bytes, limit {BLOB_BYTES_MAX}")]
    TooLarge {
        /// Bytes given.
        got: usize,
    },
    /// Of another time.
    #[error("inventory of schema version {got}, known is {SCHEMA_VERSION}")]
    Schema {
        /// The version given.
        got: u32,
    },
    /// Not the JSON of an inventory.
    #[error("no inventory")]
    Json(#[from] serde_json::Error),
}

impl Inventory {
    /// Puts one together; lists are sorted here.
    pub fn new(
        class: EnvironmentClass,
        system: BTreeMap<String, String>,
        mut packages: Vec<Package>,
        mut tools: Vec<InventoryTool>,
    ) -> Self {
        packages.sort();
        packages.dedup();
        tools.sort();
        Self { class, packages, schema_version: SCHEMA_VERSION, system, tools }
    }

    /// Reads one that may come from anywhere.
    pub fn parse(bytes: &[u8]) -> Result<Self, InventoryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Versioned {
            schema_version: u32,
        }
        if bytes.len() > BLOB_BYTES_MAX {
            return Err(InventoryError::TooLarge { got: bytes.len() });
        }
        match serde_json::from_slice::<Versioned>(bytes)?.schema_version {
            SCHEMA_VERSION => Ok(serde_json::from_slice(bytes)?),
            got => Err(InventoryError::Schema { got }),
        }
    }

    /// The canonical JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("lists and maps of text always serialise")
    }

    /// What a result says of the environment.
    pub fn environment(&self) -> Environment {
        Environment { class: self.class, digest: Digest::of(&self.to_bytes()) }
    }
}

/// What the system whose root is `root` says of itself.
pub(super) fn system(root: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let known = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| ["ID", "VERSION_ID"].contains(key));
    let mut system: BTreeMap<_, _> = known.map(|(key, value)| (key.to_lowercase(), value.trim_matches('"').to_owned())).collect();
    system.insert("architecture".to_owned(), std::env::consts::ARCH.to_owned());
    system
}

/// Every package installed below `root`.
pub(super) async fn packages(root: &Path) -> Result<Vec<Package>, EnvironmentError> {
    let mut command = Command::new("dpkg-query");
    command.arg(format!("--admindir={}", root.join("var/lib/dpkg").display()));
    command.args(["--show", "--showformat", "${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n"]);
    Ok(installed(&output(&mut command, Path::new("dpkg-query")).await?))
}

/// The installed packages in an answer of `dpkg-query`.
pub fn installed(text: &str) -> Vec<Package> {
    let package = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [status, name, architecture, version] = fields[..] else { return None };
        // The second letter is the state: installed, or half-way there for want of a trigger's run.
        let is_there = status.as_bytes().get(1).is_some_and(|state| b"itW".contains(state));
        is_there.then(|| Package { name: name.to_owned(), architecture: architecture.to_owned(), version: version.to_owned() })
    };
    text.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.to_owned(), architecture: "amd64".to_owned(), version: version.to_owned() }
    }

    #[test]
    fn an_inventory_round_trips_and_its_order_does_not_matter() {
        let of = |packages| Inventory::new(EnvironmentClass::Rootfs, [("id".to_owned(), "debian".to_owned())].into(), packages, Vec::new());
        let one = of(vec![package("xz-utils", "5.6.0-0.1"), package("bash", "5.2")]);
        let other = of(vec![package("bash", "5.2"), package("xz-utils", "5.6.0-0.1")]);
        assert_eq!(one.environment(), other.environment());
        assert_eq!(Inventory::parse(&one.to_bytes()).unwrap(), one);
        let expected = r#"{"class":"rootfs","packages":[{"name":"bash","architecture":"amd64","version":"5.2"},{"name":"xz-utils","architecture":"amd64","version":"5.6.0-0.1"}],"schemaVersion":2,"system":{"id":"debian"}}"#;
        assert_eq!(String::from_utf8(one.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_inventory_of_this_version_is_refused() {
        assert!(matches!(Inventory::parse(b"[]"), Err(InventoryError::Json(_))));
        assert!(matches!(Inventory::parse(br#"{"schemaVersion":1,"packages":{}}"#), Err(InventoryError::Schema { got: 1 })));
        assert!(matches!(Inventory::parse(&vec![b' '; BLOB_BYTES_MAX + 1]), Err(InventoryError::TooLarge { .. })));
    }

    #[test]
    fn packages_that_were_removed_are_not_installed() {
        let text = "ii \tbash\tamd64\t5.2\nrc \told\tamd64\t1\nhi \theld\tall\t2\nun \tnever\t\t\niW \twaits\tamd64\t3\nbroken line\n";
        let names: Vec<String> = installed(text).into_iter().map(|package| package.name).collect();
        assert_eq!(names, ["bash", "held", "waits"]);
    }
}
