//! How a Debian source package is built: which of its packages, in a root with which versions. Pure.

use std::sync::{Arc, OnceLock};

use quorate_proto::result::Assist;

use super::assist;
use crate::environment::Rootfs;
use crate::registry::deb::index::SourcePackage;
use crate::release::deb::{BuildInfo, Facts};

/// Where Debian's own builders unpack sources.
pub const PLACE: &str = "/build/reproducible-path";

/// One way of building.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which versions the build environment has.
    pub versions: Versions,
    /// Which packages of the source are made.
    pub parts: Parts,
}

/// Which versions the build environment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Those of the `.buildinfo`.
    AsBuilt,
    /// Those that the suite has now.
    OfSuite,
}

/// Which packages of the source are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Those of the artifact's kind, as Debian's builders do: for all machines, or for one.
    Kind,
    /// All of them, as a maintainer's upload is made.
    All,
}

/// A build in all its details.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    /// The source package.
    pub source: SourcePackage,
    /// Its `.dsc`.
    pub dsc: String,
    /// The folder that it is unpacked into.
    pub folder: String,
    /// What `dpkg-buildpackage --build` is told.
    pub build: &'static str,
    /// The environment that is asked for.
    pub buildinfo: Option<BuildInfo>,
    /// What the source does not say.
    pub assists: Vec<Assist>,
    /// The root that the fetch phase has made.
    pub root: Arc<OnceLock<Rootfs>>,
}

/// Works out one attempt.
pub fn plan(facts: &Facts, source: &SourcePackage, attempt: Attempt) -> BuildPlan {
    let build = match attempt.parts {
        Parts::All => "binary",
        Parts::Kind if facts.binary.architecture == "all" => "all",
        Parts::Kind => "any",
    };
    let buildinfo = facts.buildinfo.clone().filter(|_| attempt.versions == Versions::AsBuilt);
    let mut assists = Vec::new();
    if let Some(buildinfo) = &buildinfo {
        let reason = "the versions of the build environment are those that its builder recorded";
        assists.push(assist("buildinfo", &buildinfo.digest.to_string(), reason));
    } else {
        let suites: Vec<_> = facts.suites.iter().zip(&facts.dates).map(|(suite, date)| format!("{} of {date}", suite.name)).collect();
        let reason = "no .buildinfo was used, so the build environment has the versions that the suite has now";
        assists.push(assist("suite-as-it-is", &suites.join("; "), reason));
    }
    if needs_itself(source, &facts.binary.package) {
        let reason = "its source requires the package itself, which is then installed in the version that is being rebuilt";
        assists.push(assist("built-with-itself", &facts.binary.package, reason));
    }
    BuildPlan {
        source: source.clone(),
        dsc: source.dsc().map(|file| file.name.clone()).unwrap_or_default(),
        folder: source.folder(),
        build,
        buildinfo,
        assists,
        root: Arc::default(),
    }
}

/// Whether a build requires one of its own results, by name.
fn needs_itself(source: &SourcePackage, package: &str) -> bool {
    let required = |(field, text): (&String, &String)| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let names = text.split([',', '|']).map(|one| one.trim_start().split(|c| !is_name(c)).next().unwrap_or_default());
        field.starts_with("Build-Depends") && names.into_iter().any(|name| name == package)
    };
    source.requires.iter().any(required)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_needs_its_own_package_is_known() {
        let source = |field: &str, text: &str| SourcePackage {
            source: "a".to_owned(),
            version: "1".to_owned(),
            directory: String::new(),
            files: Vec::new(),
            architectures: Vec::new(),
            requires: [(field.to_owned(), text.to_owned())].into(),
        };
        for (field, text, expected) in [
            ("Build-Depends", "debhelper (>= 9),\npython3-a:any <!nocheck> | b", true),
            ("Build-Depends-Indep", "x | python3-a", true),
            ("Build-Depends", "python3-a-doc, python3", false),
            ("Build-Conflicts", "python3-a", false),
        ] {
            assert_eq!(needs_itself(&source(field, text), "python3-a"), expected, "{text}");
        }
    }
}
