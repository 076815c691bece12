//! The targets of a crate as cargo finds them: those that its manifest lists, and those that it
//! discovers among the files of the package.
//!
//! Cargo before 1.80 leaves discovery to whoever builds the crate, later ones list every target and
//! turn discovery off. Source: "Cargo targets" in the cargo book.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::files::Files;

/// A kind of target that there can be many of.
#[derive(Clone, Copy)]
struct Many {
    /// The array of tables in the manifest.
    key: &'static str,
    /// The folder where such targets are discovered.
    folder: &'static str,
    /// The switch in `[package]`.
    switch: &'static str,
}

const MANY: [Many; 4] = [
    Many { key: "bin", folder: "src/bin", switch: "autobins" },
    Many { key: "example", folder: "examples", switch: "autoexamples" },
    Many { key: "test", folder: "tests", switch: "autotests" },
    Many { key: "bench", folder: "benches", switch: "autobenches" },
];

/// Lists every target with its name and path, sorted, and drops the switches. `None` if that cannot
/// be said.
pub(super) fn resolve(manifest: &mut Table, files: &Files<'_>) -> Option<()> {
    let package = manifest.get("package")?.as_table()?.clone();
    let name = package.get("name")?.as_str()?;
    resolve_library(manifest, &package, name, files)?;
    for many in MANY {
        resolve_many(many, manifest, &package, name, files)?;
    }
    let build = build_script(&package, files)?;
    let package = manifest.get_mut("package")?.as_table_mut()?;
    package.insert("build".to_owned(), build);
    for switch in ["autolib", "autobins", "autoexamples", "autotests", "autobenches"] {
        package.remove(switch);
    }
    Some(())
}

/// `build.rs` where there is one and nothing else is said. A script that is not in the package is none.
fn build_script(package: &Table, files: &Files<'_>) -> Option<Value> {
    let path = match package.get("build") {
        None | Some(Value::Boolean(true)) => "build.rs".to_owned(),
        Some(Value::Boolean(false)) => return Some(Value::Boolean(false)),
        Some(Value::String(path)) => plain_path(path),
        // Several build scripts are not stable.
        Some(_) => return None,
    };
    Some(if files.lack(&path) { Value::Boolean(false) } else { Value::String(path) })
}

fn resolve_library(manifest: &mut Table, package: &Table, package_name: &str, files: &Files<'_>) -> Option<()> {
    let is_discovered = switch(package, "autolib")?.unwrap_or(true) && files.contains("src/lib.rs");
    let mut library = match manifest.remove("lib") {
        Some(Value::Table(library)) => library,
        Some(_) => return None,
        None if is_discovered => Table::new(),
        None => return Some(()),
    };
    dash_keys(&mut library);
    let path = library.get("path").map_or(Some("src/lib.rs"), Value::as_str).map(plain_path)?;
    if files.lack(&path) {
        return Some(());
    }
    let name = library.get("name").map_or(Some(package_name), Value::as_str)?.replace('-', "_");
    library.insert("name".to_owned(), Value::String(name));
    library.insert("path".to_owned(), Value::String(path));
    manifest.insert("lib".to_owned(), Value::Table(library));
    Some(())
}

fn resolve_many(many: Many, manifest: &mut Table, package: &Table, package_name: &str, files: &Files<'_>) -> Option<()> {
    let listed = match manifest.remove(many.key) {
        None => Vec::new(),
        Some(Value::Array(listed)) => listed,
        Some(_) => return None,
    };
    let discovered = discover(many, package_name, files);
    let is_edition_2015 = package.get("edition").is_none_or(|edition| edition.as_str() == Some("2015"));
    let is_on = switch(package, many.switch)?.unwrap_or(!is_edition_2015 || listed.is_empty());
    let mut targets: BTreeMap<String, Table> = BTreeMap::new();
    for value in listed {
        let Value::Table(mut target) = value else { return None };
        dash_keys(&mut target);
        let name = target.get("name")?.as_str()?.to_owned();
        let path = match target.get("path") {
            Some(path) => plain_path(path.as_str()?),
            // Nobody can build what is not there; newer cargos leave it out.
            None => match discovered.get(&name) {
                Some(path) => path.clone(),
                None => continue,
            },
        };
        target.insert("path".to_owned(), Value::String(path));
        if targets.insert(name, target).is_some() {
            return None;
        }
    }
    if is_on {
        // What is listed under another name is not discovered again.
        let listed: BTreeSet<String> = targets.values().filter_map(|target| Some(target.get("path")?.as_str()?.to_owned())).collect();
        for (name, path) in discovered.into_iter().filter(|(_, path)| !listed.contains(path)) {
            targets.entry(name.clone()).or_insert_with(|| {
                Table::from_iter([("name", name), ("path", path)].map(|(key, value)| (key.to_owned(), Value::String(value))))
            });
        }
    }
    let is_there = |target: &Table| {
        let path = target.get("path").and_then(Value::as_str).unwrap_or_default();
        !files.lack(path)
    };
    let targets: Vec<Value> = targets.into_values().filter(is_there).map(Value::Table).collect();
    if !targets.is_empty() {
        manifest.insert(many.key.to_owned(), Value::Array(targets));
    }
    Some(())
}

/// `<folder>/<name>.rs` and `<folder>/<name>/main.rs`, and `src/main.rs` as the package itself.
fn discover(many: Many, package_name: &str, files: &Files<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in files.iter() {
        let Some(below) = path.strip_prefix(many.folder).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let name = below.strip_suffix("/main.rs").or_else(|| below.strip_suffix(".rs"));
        if let Some(name) = name.filter(|name| !name.contains('/') && !name.starts_with('.') && !name.is_empty()) {
            found.entry(name.to_owned()).or_insert_with(|| path.to_owned());
        }
    }
    if many.key == "bin" && files.contains("src/main.rs") {
        found.insert(package_name.to_owned(), "src/main.rs".to_owned());
    }
    found
}

/// A switch that is on, off, or not set; the outer `None` for anything else.
#[expect(clippy::option_option, reason = "not set and not a switch are two things")]
fn switch(package: &Table, key: &str) -> Option<Option<bool>> {
    match package.get(key) {
        None => Some(None),
        Some(value) => value.as_bool().map(Some),
    }
}

/// Old spellings of keys, as cargo rewrites them.
pub(super) fn dash_keys(table: &mut Table) {
    for (old, new) in [("crate_type", "crate-type"), ("proc_macro", "proc-macro"), ("default_features", "default-features")] {
        if !table.contains_key(new)
            && let Some(value) = table.remove(old)
        {
            table.insert(new.to_owned(), value);
        }
    }
}

fn plain_path(path: &str) -> String {
    path.strip_prefix("./").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn resolved(manifest: &str, files: &[&str]) -> Option<Table> {
        let mut table: Table = manifest.parse().unwrap();
        resolve(&mut table, &files.iter().copied().collect())?;
        Some(table)
    }

    #[test]
    fn discovered_and_listed_targets_are_the_same() {
        let files = ["src/lib.rs", "src/main.rs", "src/bin/x.rs", "tests/t/main.rs", "tests/u.rs", "build.rs"];
        let old = resolved("[package]\nname = 'a-b'\nedition = '2021'", &files);
        let new = "[package]\nname = 'a-b'\nedition = '2021'\nbuild = 'build.rs'\nautolib = false\nautobins = false\nautotests = false\n\
            [lib]\nname = 'a_b'\npath = 'src/lib.rs'\n[[bin]]\nname = 'x'\npath = 'src/bin/x.rs'\n[[bin]]\nname = 'a-b'\npath = 'src/main.rs'\n\
            [[test]]\nname = 'u'\npath = 'tests/u.rs'\n[[test]]\nname = 't'\npath = 'tests/t/main.rs'\n";
        assert_eq!(old, resolved(new, &files));
        assert!(old.is_some());
    }

    #[test]
    fn a_file_that_is_listed_under_another_name_is_not_discovered_again() {
        let files = ["src/lib.rs", "examples/x.rs", "examples/y.rs"];
        let old = "[package]\nname = 'a'\nedition = '2021'\n[[example]]\nname = 'busybox'\npath = 'examples/x.rs'\n";
        let new = format!("{old}[[example]]\nname = 'y'\npath = 'examples/y.rs'\n").replace("edition", "autoexamples = false\nedition");
        let more = format!("{new}[[example]]\nname = 'x'\npath = 'examples/x.rs'\n");
        assert_eq!(resolved(old, &files), resolved(&new, &files));
        assert_ne!(resolved(old, &files), resolved(&more, &files));
    }

    #[test]
    fn targets_outside_of_the_package_and_other_paths_stay_visible() {
        let base = resolved("[package]\nname = 'a'\n", &["src/lib.rs"]);
        let same = "[package]\nname = 'a'\n[[test]]\nname = 't'\npath = 'tests/t.rs'\n";
        assert_eq!(resolved(same, &["src/lib.rs"]), base);
        for changed in [
            "[package]\nname = 'a'\nbuild = '../x/build.rs'\n",
            "[package]\nname = 'a'\n[[bin]]\nname = 't'\npath = '../evil/t.rs'\n",
            "[package]\nname = 'a'\n[lib]\nproc-macro = true\n",
            "[package]\nname = 'a'\nautolib = false\n",
        ] {
            assert_ne!(resolved(changed, &["src/lib.rs"]), base, "{changed}");
        }
    }

    #[test]
    fn an_old_edition_discovers_nothing_beside_what_is_listed() {
        let manifest = "[package]\nname = 'a'\n[[bin]]\nname = 'x'\npath = 'src/bin/x.rs'\n";
        let table = resolved(manifest, &["src/bin/x.rs", "src/bin/y.rs"]).unwrap();
        assert_eq!(table["bin"].as_array().unwrap().len(), 1);
    }
}
