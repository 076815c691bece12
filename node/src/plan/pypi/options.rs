//! What a setuptools build was told on the command line, by what the published file shows of it. Pure.

use std::collections::BTreeMap;

use quorate_proto::result::Assist;

use super::Basis;
use crate::plan::assist;
use crate::source::manifest::BuildSystem;

/// The `config_settings` of the hooks.
pub(super) fn settings(basis: &Basis<'_>, build: &BuildSystem, assists: &mut Vec<Assist>) -> BTreeMap<String, Vec<String>> {
    let mut settings = BTreeMap::new();
    if !build.backend.starts_with("setuptools.") {
        return settings;
    }
    let text = &basis.laid_out.manifest.text;
    // A wheel for Python 2 and 3 whose source does not ask for one was asked for on a command line.
    let is_universal = basis.file.ends_with("-py2.py3-none-any.whl");
    if is_universal && !text.lines().any(|line| line.trim_start().starts_with("universal") && line.contains('=')) {
        assists.push(assist("build-option", "--universal", "the published file's name has a tag that the source does not ask for"));
        settings.insert("--build-option".to_owned(), vec!["--universal".to_owned()]);
    }
    if asks_for_tag(text, basis.version) {
        let reason = "the source adds a tag for development to the version, which the published one does not have";
        assists.push(assist("build-option", "egg_info -Db \"\"", reason));
        settings.insert("--global-option".to_owned(), ["egg_info", "-Db", ""].map(str::to_owned).to_vec());
    }
    settings
}

/// Whether `[egg_info]` of `setup.cfg` adds to the version what `version` does not have.
fn asks_for_tag(text: &str, version: &str) -> bool {
    let value = |name: &str| {
        let values = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim() == name);
        values.map(|(_, value)| value.trim().trim_matches(['"', '\''])).next_back().unwrap_or_default()
    };
    let tag = value("tag_build").trim_matches(['.', '-', '_', '+']);
    if tag.is_empty() { matches!(value("tag_date"), "1" | "true" | "True" | "yes") } else { !version.contains(tag) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_for_development_is_told_from_a_part_of_the_version() {
        let asks = |text: &str, version: &str| asks_for_tag(text, version);
        assert!(asks("[egg_info]\ntag_build = .post\ntag_date = 1\n", "70.0.0"));
        assert!(asks("[egg_info]\ntag_date = true\n", "1.0"));
        assert!(!asks("[egg_info]\ntag_build = .post\n", "70.0.0.post20240101"));
        assert!(!asks("[egg_info]\ntag_build =\ntag_date = 0\n", "1.0"));
        assert!(!asks("", "1.0") && asks("tag_build = dev\n", "1.0"));
    }
}
