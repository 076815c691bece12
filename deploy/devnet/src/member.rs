//! An operator and its one node: the commands of the README that come before a node starts.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::process;

/// What the commands said.
#[derive(Clone, Debug)]
pub struct Member {
    /// The lines that enrol the operator in a policy.
    pub enrolment: String,
    /// The node's public key.
    pub node: String,
}

/// Makes the operator's key in `dir/operator`, the node's in `dir/data`, and certifies the one with the other.
pub async fn make(dir: &Path, name: &str) -> anyhow::Result<Member> {
    let (root, data) = (dir.join("operator"), dir.join("data"));
    let enrolment = process::run("quorate-node", &["operator", "init", "--dir", text(&root)?, "--name", name]).await?;
    let said = process::run("quorate-node", &["key", "init", "--dir", text(&data)?, "--format", "json"]).await?;
    let said: Value = serde_json::from_str(&said).context("reading what `key init` prints")?;
    let node = said["node"].as_str().context("`key init` does not name the node")?.to_owned();
    let (root_key, node_key, certificate) = (root.join("operator.key"), data.join("node.key"), data.join("certificate.json"));
    let certify = ["operator", "certify", "--root", text(&root_key)?, "--node-key", text(&node_key)?, "--out", text(&certificate)?];
    process::run("quorate-node", &certify).await?;
    Ok(Member { enrolment, node })
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("the name of `{}` is no text", path.display()))
}
