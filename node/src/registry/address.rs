//! Which index is asked when nothing names one: pip's own answer on this machine.
//!
//! Order: the configuration, the package URL's `repository_url`, `PIP_INDEX_URL`, and the default that
//! pip's own help states, which pip's configuration files change. No registry's address stands in this program.

use std::path::Path;
use std::process::Stdio;

use quorate_proto::Purl;
use tokio::process::Command;
use url::Url;

/// No index is known.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// A text that is no address.
    #[error("index address `{text}` (from {origin}) is not an http or https URL")]
    Malformed {
        /// The text.
        text: String,
        /// Who said it.
        origin: &'static str,
    },
    /// Nothing names one and pip could not be asked.
    #[error("no index address: none is configured and `{python} -m pip` names none")]
    Unknown {
        /// The interpreter that was asked.
        python: String,
    },
}

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
        None => Err(AddressError::Unknown { python: python.display().to_string() }),
    }
}

/// The index that a package URL names.
pub fn named_by(package: &Purl) -> Option<Result<Url, AddressError>> {
    package.qualifier("repository_url").map(|text| parse(text, "the package URL"))
}

fn parse(text: &str, origin: &'static str) -> Result<Url, AddressError> {
    let url = text.trim().parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| AddressError::Malformed { text: text.chars().take(200).collect(), origin })
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
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn pip_help_names_its_default_index() {
        let help = "Package Index Options:\n  -i, --index-url <url>       Base URL of the Index (default\n                              https://registry.example/simple). This should point\n";
        assert_eq!(default_in_help(help).as_deref(), Some("https://registry.example/simple"));
        assert_eq!(default_in_help("no such option"), None);
    }

    #[test]
    fn a_package_url_can_name_its_index() {
        let package: Purl = "pkg:pypi/a@1?repository_url=http://registry.example/simple".parse().unwrap();
        assert_eq!(named_by(&package).unwrap().unwrap().as_str(), "http://registry.example/simple");
        let package: Purl = "pkg:pypi/a@1?repository_url=file:///etc".parse().unwrap();
        assert!(named_by(&package).unwrap().is_err());
    }
}
