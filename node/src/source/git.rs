//! The git command line, hardened: no prompts, no hooks, no configuration of the system or the user, no
//! replaced objects, and the protocols that are listed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::unpack::{ENTRIES_MAX, UNPACKED_BYTES_MAX};

/// Longest that one git command may run.
const GIT_MAX: Duration = Duration::from_mins(10);

/// Most bytes of a command's answer, and of its complaint.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const COMPLAINT_BYTES_MAX: u64 = 64 << 10;

/// Variables of the caller that git keeps: how to reach the network, and nothing else.
const KEPT: &[&str] = &[
    "PATH",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

const FIXED: &[(&str, &str)] = &[
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_ALLOW_PROTOCOL", "https:http:file"),
    ("GIT_ASKPASS", "/bin/false"),
    ("GIT_SSH_COMMAND", "/bin/false"),
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
];

const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.symlinks=true",
    "core.protectHFS=true",
    "core.protectNTFS=false",
    "safe.directory=*",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.file.allow=always",
    "credential.helper=",
    "gc.auto=0",
    // A forge that sends elsewhere could send to this machine's own network.
    "http.followRedirects=false",
    "advice.detachedHead=false",
];

/// A git command that failed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It could not be started or did not end.
    #[error("git {command} could not be run")]
    Run {
        /// The subcommand.
        command: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It said no.
    #[error("git {command} failed: {message}")]
    Failed {
        /// The subcommand.
        command: String,
        /// What it said.
        message: String,
    },
    /// More than is taken.
    #[error("git {command}: more than {limit} {what}")]
    TooLarge {
        /// The subcommand.
        command: String,
        /// Of what.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
}

/// What git says when the network, the forge or the disk failed, rather than when there is no such thing.
const PASSING_WORDS: &[&str] = &[
    "Could not resolve",
    "Failed to connect",
    "Couldn't connect",
    "Connection ",
    "timed out",
    "early EOF",
    "unexpected disconnect",
    "RPC failed",
    "returned error: 429",
    "returned error: 5",
    "No space left",
    "Disk quota",
    "Input/output error",
    "out of memory",
];

impl GitError {
    /// Whether the same may work later although nothing was published in between.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Run { .. } => true,
            Self::Failed { message, .. } => PASSING_WORDS.iter().any(|words| message.contains(words)),
            Self::TooLarge { .. } => false,
        }
    }
}

/// A repository on this machine, by its git directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    git_dir: PathBuf,
}

/// A tag and the commit that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Its name, without `refs/tags/`.
    pub name: String,
    /// The object it leads to; a commit unless the repository is odd.
    pub commit: String,
}

/// What a commit says besides its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// The name of its tree.
    pub tree: String,
    /// When it was committed, in Unix seconds.
    pub committed_at: i64,
}

impl Repository {
    /// The repository at `path`: a bare one, or a work tree with its `.git` folder.
    pub fn open(path: &Path) -> Option<Self> {
        let inner = path.join(".git");
        let git_dir = if inner.is_dir() { inner } else { path.to_owned() };
        (git_dir.join("HEAD").is_file() && git_dir.join("objects").is_dir()).then_some(Self { git_dir })
    }

    /// Every tag.
    pub async fn tags(&self) -> Result<Vec<Tag>, GitError> {
        let format = "--format=%(refname) %(objectname) %(*objectname)";
        let text = self.git(&["for-each-ref", format, "refs/tags"]).await?;
        Ok(text.lines().filter_map(tag_of_line).collect())
    }

    /// What a commit says; tags are followed.
    pub async fn commit(&self, revision: &str) -> Result<Commit, GitError> {
        let revision = format!("{revision}^{{commit}}");
        let text = self.git(&["show", "-s", "--no-show-signature", "--format=%H %T %ct", "--end-of-options", &revision]).await?;
        let mut words = text.split_whitespace();
        let parsed = (|| Some((words.next()?, words.next()?, words.next()?.parse().ok()?)))();
        let (id, tree, committed_at) =
            parsed.ok_or_else(|| GitError::Failed { command: "show".to_owned(), message: format!("unexpected answer {text:?}") })?;
        Ok(Commit { id: id.to_owned(), tree: tree.to_owned(), committed_at })
    }

    /// Writes a commit's files into the empty folder `into`. Submodules stay empty; no attribute of the
    /// kind that archives apply (`export-ignore`, `export-subst`) has an effect.
    pub async fn export(&self, commit: &str, into: &Path) -> Result<(), GitError> {
        fits(&self.git(&["ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit]).await?)?;
        let scratch = tempfile::tempdir().map_err(|source| GitError::Run { command: "read-tree".to_owned(), source })?;
        let index = scratch.path().join("index");
        run(&[OsStr::new("--git-dir"), self.git_dir.as_os_str(), "read-tree".as_ref(), commit.as_ref()], Some(&index)).await?;
        let work_tree = [OsStr::new("--git-dir"), self.git_dir.as_os_str(), "--work-tree".as_ref(), into.as_os_str()];
        let checkout = ["checkout-index".as_ref(), "--all".as_ref(), "--quiet".as_ref()];
        run(&[&work_tree[..], &checkout[..]].concat(), Some(&index)).await?;
        Ok(())
    }

    async fn git(&self, args: &[&str]) -> Result<String, GitError> {
        let mut all = vec![OsStr::new("--git-dir"), self.git_dir.as_os_str()];
        all.extend(args.iter().map(OsStr::new));
        run(&all, None).await
    }
}

/// The tags of a repository on a forge.
pub async fn remote_tags(url: &str) -> Result<Vec<Tag>, GitError> {
    let text = run(&["ls-remote".as_ref(), "--tags".as_ref(), "--".as_ref(), OsStr::new(url)], None).await?;
    let mut tags = std::collections::BTreeMap::new();
    for line in text.lines() {
        let Some((commit, name)) = line.split_once("\trefs/tags/") else { continue };
        // An annotated tag is listed twice, the second time with the commit that it stands for.
        tags.insert(name.trim_end_matches("^{}").to_owned(), commit.to_owned());
    }
    Ok(tags.into_iter().map(|(name, commit)| Tag { name, commit }).collect())
}

/// Fetches one tag of a repository on a forge into a bare repository below `folder`, without history.
pub async fn fetch_tag(url: &str, tag: &str, folder: &Path) -> Result<Repository, GitError> {
    let git_dir = folder.as_os_str();
    run(&["init".as_ref(), "--quiet".as_ref(), "--bare".as_ref(), "--template=".as_ref(), git_dir], None).await?;
    let refspec = format!("+refs/tags/{tag}:refs/tags/{tag}");
    let fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", url, &refspec];
    let mut args = vec![OsStr::new("--git-dir"), git_dir];
    args.extend(fetch.iter().map(OsStr::new));
    run(&args, None).await?;
    Ok(Repository { git_dir: folder.to_owned() })
}

/// Refuses a tree that would be larger than an archive may be, before any of it is written.
fn fits(listing: &str) -> Result<(), GitError> {
    let too_large = |what, limit| GitError::TooLarge { command: "ls-tree".to_owned(), what, limit };
    let mut bytes = 0_u64;
    for (count, entry) in listing.split_terminator('\0').enumerate() {
        if count >= ENTRIES_MAX {
            return Err(too_large("entries", ENTRIES_MAX as u64));
        }
        // `mode type object size<TAB>path`; a submodule's size is a hyphen.
        let size = entry.split('\t').next().and_then(|fields| fields.split_whitespace().nth(3));
        bytes = bytes.saturating_add(size.and_then(|size| size.parse().ok()).unwrap_or(0));
    }
    if bytes > UNPACKED_BYTES_MAX { Err(too_large("bytes", UNPACKED_BYTES_MAX)) } else { Ok(()) }
}

fn tag_of_line(line: &str) -> Option<Tag> {
    let mut words = line.split(' ');
    let name = words.next()?.strip_prefix("refs/tags/")?.to_owned();
    let (object, peeled) = (words.next()?, words.next().unwrap_or_default());
    Some(Tag { name, commit: if peeled.is_empty() { object } else { peeled }.to_owned() })
}

async fn run(args: &[&OsStr], index: Option<&Path>) -> Result<String, GitError> {
    let name =
        args.iter().filter_map(|arg| arg.to_str()).find(|arg| !arg.starts_with('-') && !arg.contains('/')).unwrap_or_default().to_owned();
    let failed = |source| GitError::Run { command: name.clone(), source };
    let mut command = Command::new("git");
    command.env_clear().envs(std::env::vars_os().filter(|(key, _)| KEPT.iter().any(|kept| key == kept))).envs(FIXED.iter().copied());
    command.envs(index.map(|index| ("GIT_INDEX_FILE", index)));
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let (status, answer, complaint) =
        timeout(GIT_MAX, ended(command)).await.map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return Err(GitError::TooLarge { command: name, what: "bytes of answer", limit: ANSWER_BYTES_MAX });
    }
    if status.success() {
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    let message: String = String::from_utf8_lossy(&complaint).trim().chars().take(500).collect();
    Err(GitError::Failed { command: name, message })
}

/// Runs a command, holding at most one byte more of its answer than is taken: it then dies of a closed pipe.
async fn ended(mut command: Command) -> std::io::Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = command.spawn()?;
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::Error::other("no pipes"));
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let answering = async {
        let mut stdout = stdout.take(ANSWER_BYTES_MAX + 1);
        stdout.read_to_end(&mut answer).await.map(drop)
    };
    let complaining = async {
        (&mut stderr).take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint).await?;
        tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.map(drop)
    };
    tokio::try_join!(answering, complaining)?;
    Ok((child.wait().await?, answer, complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_a_bomb_is_refused_by_its_listing() {
        let blob = |size: &str, name: &str| format!("100644 blob 0000000000000000000000000000000000000000 {size:>7}\t{name}\0");
        assert!(fits(&(blob("12", "a") + &blob("-", "b"))).is_ok());
        let half = (UNPACKED_BYTES_MAX / 2 + 1).to_string();
        assert!(matches!(fits(&(blob(&half, "a") + &blob(&half, "a b\tc"))), Err(GitError::TooLarge { what: "bytes", .. })));
        assert!(matches!(fits(&blob("1", "a").repeat(ENTRIES_MAX + 1)), Err(GitError::TooLarge { what: "entries", .. })));
    }

    #[test]
    fn an_unreachable_forge_is_not_a_missing_repository() {
        let said = |message: &str| GitError::Failed { command: "ls-remote".to_owned(), message: message.to_owned() }.is_passing();
        assert!(said("fatal: unable to access 'https://forge.example/': Could not resolve host: forge.example"));
        assert!(said("error: unable to write file: No space left on device"));
        assert!(!said("fatal: repository 'https://forge.example/o/n/' not found"));
        assert!(!said("fatal: could not read Username for 'https://forge.example': terminal prompts disabled"));
    }
}
