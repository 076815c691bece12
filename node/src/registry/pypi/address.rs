//! Which index is asked when nothing names one: pip's own answer on this machine.
//!
//! Order: the configuration, `PIP_INDEX_URL`, and the default that pip's own help states, which pip's
//! configuration files change.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use url::Url;

use crate::registry::address::{AddressError, parse};

/// The index that build requirements come from, and artifacts whose package URL names no other.
pub async fn default_index(configured: Option<&str>, python: &Path) -> Result<Url, AddressError> {
    if let Some(text) = configured {
        return parse(text, "the configuration");
    }
    if let Ok(text) = std::env::var("PIP_INDEX_URL") {
        return parse(&text, "PIP_INDEX_URL");
    }
    // The default in pip's help is the one that its configuration files set, where they set one.
    let help = pip(python, &["install", "--help"]).await;
    match help.as_deref().and_then(default_in_help) {
        Some(text) => parse(&text, "pip's help"),
        None => Err(AddressError::Unknown { client: format!("{} -m pip", python.display()) }),
    }
}

async fn pip(python: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new(python);
    command.args(["-m", "pip"]).args(args).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().filter(|text| !text.trim().is_empty())
}

/// The address in `--index-url <url> … (default https://…)`; help text wraps its lines anywhere.
fn default_in_help(help: &str) -> Option<String> {
    let (_, option) = help.split_once("--index-url")?;
    let words: Vec<_> = option.split_whitespace().take(40).collect();
    let at = words.iter().position(|word| *word == "(default")?;
    words.get(at + 1).map(|word| word.trim_end_matches(['.', ')']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_help_names_its_default_index() {
        let help = "Package Index Options:\n  -i, --index-url <url>       Base URL of the Index (default\n                              https://registry.example/simple). This should point\n";
        assert_eq!(default_in_help(help).as_deref(), Some("https://registry.example/simple"));
        assert_eq!(default_in_help("no such option"), None);
    }
}
