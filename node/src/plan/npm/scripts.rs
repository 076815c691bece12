//! Which scripts of a manifest make files, and in which order packing runs them. Pure.

use quorate_proto::result::Assist;
use serde_json::Value;

use crate::plan::assist;
use crate::registry::npm::PackageName;
use crate::registry::npm::packument::{is_address, version, word};

/// Longest name of a script that is run.
const NAME_BYTES_MAX: usize = 100;
/// Programs that set up a developer's checkout and make nothing that is packed.
const CHECKOUT_TOOLS: [&str; 8] = ["husky", "is-ci", "pinst", "simple-git-hooks", "lefthook", "git", "patch-package", "not-in-publish"];
/// What publishing runs besides and that makes nothing.
const IDLE: [&str; 12] =
    ["test", "lint", "audit", "typecheck", "check", "coverage", "format", "release", "version", "publish", "clean", "size"];

/// A script that is run before packing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the manifest.
    pub script: String,
    /// Whose manifest that is.
    pub of: Owner,
}

/// Whose script it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The package's.
    Package,
    /// That of the workspace around it.
    Workspace,
}

/// Whether publishing such a package runs a script that may make files.
pub fn is_built(manifest: &Value) -> bool {
    ["prepack", "prepare", "prepublish", "prepublishOnly", "build"].iter().any(|name| script(manifest, name).is_some_and(makes))
}

/// The scripts to run, in order: what only publishing runs and yet builds, then what packing runs.
/// `missing` are published files that the source does not hold.
pub fn steps(manifest: &Value, missing: &[&str], assists: &mut Vec<Assist>) -> Vec<Step> {
    let packing: Vec<_> = ["prepublish", "prepack", "prepare"].into_iter().filter(|name| script(manifest, name).is_some()).collect();
    let making: Vec<_> = packing.iter().copied().filter(|name| script(manifest, name).is_some_and(makes)).collect();
    for idle in packing.iter().filter(|name| !making.contains(name)) {
        assists.push(assist("skipped-script", idle, "it sets up a developer's checkout and makes nothing that is packed"));
    }
    // Older clients ran `prepublish` when packing, newer ones do not.
    let mut steps: Vec<&str> = making.into_iter().filter(|name| *name != "prepublish" || !missing.is_empty()).collect();
    if steps.is_empty() && !missing.is_empty() {
        let publishing = ["prepublishOnly", "preversion", "version", "release"].into_iter().filter_map(|name| script(manifest, name));
        let named: Vec<&str> = publishing.flat_map(|text| called(manifest, text)).collect();
        let build = script(manifest, "build").map(|_| "build");
        let mut chosen: Vec<&str> = Vec::new();
        for name in named.into_iter().filter(|name| !is_idle(name)) {
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        if chosen.is_empty() {
            chosen.extend(build);
            if build.is_some() {
                assists.push(assist("build-script", "build", "files were published that no script of packing makes"));
            }
        }
        steps = chosen;
    }
    steps.into_iter().filter(|name| name.len() <= NAME_BYTES_MAX).map(|name| Step { script: name.to_owned(), of: Owner::Package }).collect()
}

/// The scripts of a workspace that make the files of a package which has no script for it.
pub fn steps_of_workspace(workspace: &Value, missing: &[&str], assists: &mut Vec<Assist>) -> Vec<Step> {
    // What sets up the workspace is none of the package's own: it is not told.
    let steps = steps(workspace, missing, &mut Vec::new());
    for step in &steps {
        assists.push(assist(
            "workspace-script",
            &step.script,
            "no script of the package makes its files, and this one of its workspace may",
        ));
    }
    steps.into_iter().map(|step| Step { of: Owner::Workspace, ..step }).collect()
}

/// The requirements of a manifest that come from an address, which no registry answers for: a repository or a file.
pub fn addressed(manifest: &Value) -> impl Iterator<Item = &str> {
    let required = ["dependencies", "devDependencies", "optionalDependencies"];
    let required = required.into_iter().flat_map(|kind| manifest[kind].as_object().into_iter().flatten());
    required.filter(|(_, range)| word(range).is_some_and(is_address)).map(|(name, _)| name.as_str())
}

fn script<'a>(manifest: &'a Value, name: &str) -> Option<&'a str> {
    word(&manifest["scripts"][name])
}

/// The requirements whose programs the steps call, as `name@version`: the lowest version of the range, which is the
/// surest to be older than the artifact and not to need it.
pub fn called_packages(manifest: &Value, steps: &[Step]) -> Vec<String> {
    let mut texts: Vec<&str> = steps.iter().filter_map(|step| script(manifest, &step.script)).collect();
    let mut at = 0;
    while let Some(text) = texts.get(at).copied() {
        for inner in called(manifest, text).into_iter().filter_map(|name| script(manifest, name)) {
            if !texts.contains(&inner) {
                texts.push(inner);
            }
        }
        at += 1;
    }
    let words: Vec<&str> = texts.iter().flat_map(|text| text.split(|c: char| c.is_whitespace() || "&|;()\"'".contains(c))).collect();
    let required = ["dependencies", "devDependencies"].into_iter().flat_map(|kind| manifest[kind].as_object().into_iter().flatten());
    let named = required.filter_map(|(name, range)| Some((name.parse::<PackageName>().ok()?, word(range)?)));
    // A range that is an address or a path is none of the registry's.
    // A name that begins with a hyphen would be an option of npm.
    let plain = named.filter(|(name, range)| !range.contains([':', '/']) && !name.as_str().starts_with('-'));
    plain
        .filter(|(name, _)| words.contains(&name.as_str()) || words.contains(&name.bare()))
        .map(|(name, range)| format!("{name}@{}", lowest(range)))
        .collect()
}

/// The lowest version of a simple range; other ranges stay as they are.
fn lowest(range: &str) -> &str {
    let bare = range.trim_start_matches(['^', '~', '>', '=', ' ']);
    if version(bare).is_some() { bare } else { range }
}

/// The commands of a script.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.split(['&', '|', ';']).map(str::trim).filter(|command| !command.is_empty())
}

fn makes(text: &str) -> bool {
    commands(text).any(|command| {
        let program = command.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
        let is_checkout =
            CHECKOUT_TOOLS.contains(&program) || matches!(program, "" | "true" | "exit" | "echo" | "safe-publish-latest" | "in-publish");
        !is_checkout && runs(command).is_none_or(|name| !is_idle(name))
    })
}

fn is_idle(name: &str) -> bool {
    let first = name.split([':', '-', '.']).next().unwrap_or_default();
    IDLE.contains(&first) || name == "prepublishOnly"
}

/// The scripts of the manifest that a script runs by name.
fn called<'a>(manifest: &Value, text: &'a str) -> Vec<&'a str> {
    commands(text).filter_map(runs).filter(|name| script(manifest, name).is_some()).collect()
}

/// The script that a command runs: `npm run x`, `yarn x`, `pnpm run x`, `run-s x`.
fn runs(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace().filter(|word| !word.starts_with('-'));
    let program = words.next()?;
    let first = words.next()?;
    match (program, first) {
        ("npm" | "pnpm" | "yarn" | "bun", "run" | "run-script") => words.next(),
        ("npm", "test" | "t") => Some("test"),
        ("yarn" | "pnpm" | "bun" | "run-s" | "run-p" | "npm-run-all", name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(scripts: &Value, missing: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut assists = Vec::new();
        let steps = steps(&json!({ "scripts": scripts }), missing, &mut assists);
        (steps.into_iter().map(|step| step.script).collect(), assists.into_iter().map(|assist| assist.name).collect())
    }

    #[test]
    fn what_packing_runs_is_run_in_its_order() {
        assert_eq!(run(&json!({ "prepare": "tshy", "prepack": "rollup -c", "test": "x" }), &[]).0, ["prepack", "prepare"]);
        assert_eq!(run(&json!({ "test": "x", "prepublishOnly": "git push origin --follow-tags" }), &[]).0, [""; 0]);
        assert_eq!(
            run(&json!({ "prepack": "npmignore --auto --commentLines=auto", "prepublishOnly": "safe-publish-latest" }), &[]).0,
            ["prepack"]
        );
    }

    #[test]
    fn what_sets_up_a_checkout_is_left_out_and_said() {
        for text in
            ["husky install", "husky", "husky || true", "is-ci || husky install", "git config core.hooksPath .hooks", "npm run lint"]
        {
            assert_eq!(run(&json!({ "prepare": text }), &[]), (vec![], vec!["skipped-script".to_owned()]), "{text}");
        }
        assert_eq!(run(&json!({ "prepare": "husky install && npm run build", "build": "tsc" }), &[]).0, ["prepare"]);
    }

    #[test]
    fn what_only_publishing_builds_is_built_when_files_are_missing() {
        let scripts = || json!({ "build": "tsc", "clean": "rm -rf dist", "test": "x", "prepublishOnly": "npm run clean && npm test && npm run build" });
        assert_eq!(run(&scripts(), &["dist/a.js"]).0, ["build"]);
        assert_eq!(run(&scripts(), &[]).0, [""; 0]);
        assert_eq!(run(&json!({ "compile": "tsc", "prepublishOnly": "yarn compile" }), &["a.js"]).0, ["compile"]);
        assert_eq!(run(&json!({ "build": "tsc" }), &["a.js"]), (vec!["build".to_owned()], vec!["build-script".to_owned()]));
        assert_eq!(run(&json!({ "start": "x" }), &["a.js"]).0, [""; 0]);
    }

    #[test]
    fn what_a_workspace_builds_for_its_packages_is_its_own_script() {
        let workspace = json!({ "scripts": { "postinstall": "x dev", "build": "x build", "release": "yarn build && changeset publish", "prepare": "husky" } });
        let mut assists = Vec::new();
        let steps = steps_of_workspace(&workspace, &["dist/a.js"], &mut assists);
        assert_eq!(steps, [Step { script: "build".to_owned(), of: Owner::Workspace }]);
        assert_eq!(assists.iter().map(|assist| assist.name.as_str()).collect::<Vec<_>>(), ["workspace-script"]);
    }

    #[test]
    fn requirements_from_addresses_are_told_from_ranges_aliases_and_paths() {
        let manifest = json!({ "devDependencies": {
            "a": "git+https://github.com/o/a.git#1", "b": "o/b", "c": "github:o/c#semver:^1", "d": "https://forge.example/d.tgz", "e": "git@forge.example:o/e",
            "f": "^1.0.0 || 2", "g": "npm:g@1", "h": "workspace:*", "i": "file:../i", "j": "../j", "k": "", "l": 7, "m": "latest",
        } });
        assert_eq!(addressed(&manifest).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn the_packages_that_scripts_call_are_known_by_their_programs() {
        let manifest = json!({
            "scripts": { "prepack": "npm run clean && npmignore --auto", "clean": "rimraf dist", "test": "tape" },
            "devDependencies": { "npmignore": "^0.3.0", "rimraf": "3", "tape": "5", "@scope/npmignore": "git+https://x/y" },
        });
        let steps = [Step { script: "prepack".to_owned(), of: Owner::Package }];
        assert_eq!(called_packages(&manifest, &steps), ["npmignore@0.3.0", "rimraf@3"]);
    }
}
