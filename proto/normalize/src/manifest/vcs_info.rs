//! `.cargo_vcs_info.json`: the commit that a crate was packaged from.
//!
//! Cargo writes the folder in the repository since 1.57, and a note about changes that are not
//! committed since 1.80. Where one side says either and the other one does not, it does not count.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VcsInfo {
    git: Git,
    path_in_vcs: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Git {
    sha1: String,
    dirty: Option<bool>,
}

/// What both sides say, if they contradict each other in nothing.
pub(super) fn common(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let parse = |content| serde_json::from_slice::<VcsInfo>(content).ok();
    let (one, other) = (parse(one)?, parse(other)?);
    let is_same = one.git.sha1 == other.git.sha1
        && agree(one.path_in_vcs.as_ref(), other.path_in_vcs.as_ref())
        && agree(one.git.dirty.as_ref(), other.git.dirty.as_ref());
    let path = one.path_in_vcs.as_ref().filter(|_| other.path_in_vcs.is_some());
    let dirty = one.git.dirty.filter(|_| other.git.dirty.is_some());
    let both = serde_json::json!({ "sha1": one.git.sha1, "dirty": dirty, "path_in_vcs": path });
    is_same.then(|| both.to_string().into_bytes())
}

fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_counts_and_what_one_side_leaves_out_does_not() {
        let base = br#"{"git":{"sha1":"aa"},"path_in_vcs":"sub"}"#;
        for same in [&br#"{ "git": { "sha1": "aa" } }"#[..], br#"{"git":{"sha1":"aa","dirty":true},"path_in_vcs":"sub"}"#] {
            assert!(common(base, same).is_some());
        }
        for other in
            [&br#"{"git":{"sha1":"ab"}}"#[..], br#"{"git":{"sha1":"aa"},"path_in_vcs":"x"}"#, br#"{"git":{"sha1":"aa"},"x":1}"#, b"{}"]
        {
            assert!(common(base, other).is_none());
        }
    }
}
