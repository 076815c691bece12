//! Which registry is asked when nothing names one: npm's own answer on this machine.
//!
//! Order: the configuration, then `npm config get registry`, which reads npm's configuration files and
//! variables.

use std::process::Stdio;

use tokio::process::Command;
use url::Url;

use crate::registry::address::{AddressError, parse};

/// The registry that packages come from whose package URL names no other.
pub async fn default_registry(configured: Option<&str>) -> Result<Url, AddressError> {
    if let Some(text) = configured {
        return parse(text, "the configuration");
    }
    let mut command = Command::new("npm");
    // Not in a folder of ours: a project's `.npmrc` would answer.
    command.args(["config", "get", "registry"]).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).and_then(|text| answer_in(&text));
    match text {
        Some(text) => parse(&text, "npm's configuration"),
        None => Err(AddressError::Unknown { client: "npm config get registry".to_owned() }),
    }
}

/// The address in npm's answer; old versions print warnings before it.
fn answer_in(text: &str) -> Option<String> {
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    (last != "undefined" && last != "null").then(|| last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_answer() {
        assert_eq!(answer_in("\nhttps://registry.example/\n\n").as_deref(), Some("https://registry.example/"));
        assert_eq!(answer_in("undefined\n"), None);
        assert_eq!(answer_in(""), None);
    }
}
