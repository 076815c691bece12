//! Which tool packed a tarball, by what it leaves in the manifest and the headers. Pure.
//!
//! npm packs the manifest as it stands in the source. pnpm writes it anew, without the scripts that only publishing
//! runs, with what `publishConfig` sets, and without a newline at its end; it compresses by zlib's default, which npm
//! has not done since version 7. lerna packs with npm after it wrote the commit into the manifest.

use semver::Version;
use serde_json::Value;

use crate::registry::npm::packument::word;
use crate::release::npm::{Archive, GzipHeader};
use crate::source::npm::Project;

/// What packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Packer {
    /// npm, which also builds.
    #[default]
    Npm,
    /// pnpm of this version, or of the nearest one.
    Pnpm(Version),
}

/// Since when most publishers had a major version of pnpm, in Unix seconds.
const MAJORS: [(i64, u64); 5] = [
    (0, 6),
    (1_651_363_200, 7),  // 2022-05
    (1_679_875_200, 8),  // 2023-03-27
    (1_713_225_600, 9),  // 2024-04-16
    (1_736_294_400, 10), // 2025-01-08
];
/// Later than any minor version: the newest one is taken.
const NEWEST_MINOR: u64 = 999;

/// What packed a published tarball that was made from a project.
pub fn packer(archive: &Archive, project: &Project, date: Option<i64>) -> Packer {
    let is_anew = archive.manifest_text != project.manifest_text && !archive.manifest_text.ends_with(b"\n");
    if archive.has_npm_times && !archive.gzip.is_strongest() && is_anew { Packer::Pnpm(pnpm(project, date)) } else { Packer::Npm }
}

/// The header that the pair of node and npm is chosen by: that of another packer says nothing of npm.
pub fn gzip_of_npm(archive: &Archive, packer: &Packer) -> GzipHeader {
    match packer {
        Packer::Npm => archive.gzip,
        Packer::Pnpm(_) => GzipHeader { extra_flags: 2, ..archive.gzip },
    }
}

/// The version that the project asks for, else the one of the day.
fn pnpm(project: &Project, date: Option<i64>) -> Version {
    let asked = [Some(&project.manifest), project.workspace.as_ref()].into_iter().flatten().find_map(asked_for);
    asked.unwrap_or_else(|| {
        let of_day = MAJORS.iter().rev().find(|(since, _)| date.is_none_or(|date| *since <= date));
        Version::new(of_day.map_or(MAJORS[0].1, |(_, major)| *major), NEWEST_MINOR, 0)
    })
}

/// `"packageManager": "pnpm@8.14.0+sha256.…"`
fn asked_for(manifest: &Value) -> Option<Version> {
    let text = word(&manifest["packageManager"])?.strip_prefix("pnpm@")?;
    Version::parse(text.split('+').next()?).ok()
}

/// The commit that is to be written into the manifest, where that of the published file names one and the source's does
/// not: it is the commit that is built, whatever the published one says.
pub fn stamp(archive: &Archive, project: &Project, commit: Option<&str>) -> Option<String> {
    let is_stamped = word(&archive.manifest["gitHead"]).is_some() && project.manifest["gitHead"].is_null();
    commit.filter(|_| is_stamped).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn project(text: &str) -> Project {
        Project { manifest: serde_json::from_str(text).unwrap_or_default(), manifest_text: text.as_bytes().to_vec(), ..Project::default() }
    }

    fn archive(text: &str, extra_flags: u8) -> Archive {
        let manifest = serde_json::from_str(text).unwrap_or_default();
        let gzip = GzipHeader { extra_flags, system: 19 };
        Archive { gzip, has_npm_times: true, manifest, manifest_text: text.as_bytes().to_vec(), ..Archive::default() }
    }

    #[test]
    fn pnpm_is_told_by_a_manifest_that_was_written_anew() {
        let source = project("{\n  \"name\": \"demo\"\n}\n");
        let anew = "{\n  \"name\": \"demo\"\n}";
        assert_eq!(packer(&archive(anew, 0), &source, Some(1_700_000_000)), Packer::Pnpm(Version::new(8, NEWEST_MINOR, 0)));
        assert_eq!(packer(&archive(anew, 0), &source, Some(1_000_000_000)), Packer::Pnpm(Version::new(6, NEWEST_MINOR, 0)));
        // The newer clients of npm compress otherwise, and the older ones take the manifest as it is.
        assert_eq!(packer(&archive(anew, 2), &source, None), Packer::Npm);
        assert_eq!(packer(&archive(anew, 0), &project(anew), None), Packer::Npm);
        assert_eq!(packer(&Archive { has_npm_times: false, ..archive(anew, 0) }, &source, None), Packer::Npm);
    }

    #[test]
    fn the_version_that_the_project_asks_for_comes_first() {
        let own = |text: &str| pnpm(&project(text), Some(1_700_000_000)).to_string();
        assert_eq!(own(r#"{"packageManager":"pnpm@8.14.0+sha256.abc"}"#), "8.14.0");
        assert_eq!(own(r#"{"packageManager":"yarn@1.22.0"}"#), "8.999.0");
        let workspace = Project { workspace: Some(json!({ "packageManager": "pnpm@9.1.0" })), ..project("{}") };
        assert_eq!(pnpm(&workspace, None).to_string(), "9.1.0");
    }

    #[test]
    fn the_commit_that_is_built_is_stamped_where_a_commit_was() {
        let published = archive(r#"{"gitHead":"aaaa"}"#, 0);
        assert_eq!(stamp(&published, &project("{}"), Some("bbbb")).as_deref(), Some("bbbb"));
        assert_eq!(stamp(&published, &project(r#"{"gitHead":"cccc"}"#), Some("bbbb")), None);
        assert_eq!(stamp(&archive("{}", 0), &project("{}"), Some("bbbb")), None);
        assert_eq!(stamp(&published, &project("{}"), None), None);
    }
}
