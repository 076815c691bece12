//! How git is run: hardened, bounded in time and in what is kept of its answer, and never asking anybody.
//!
//! No prompts, no hooks, no configuration of the system or the user, no replaced objects, and the protocols
//! that are listed. Whether a failure says something about the repository or only about the network is
//! decided here, from git's own words.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// Longest that one git command may run, unless it is told otherwise.
pub(super) const GIT_MAX: Duration = Duration::from_mins(10);

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
    ("GIT_NO_LAZY_FETCH", "1"),
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
    "log.showSignature=false",
    "core.quotePath=false",
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
    /// It did not end in time.
    #[error("git {command} took longer than {} seconds", limit.as_secs())]
    TooLong {
        /// The subcommand.
        command: String,
        /// How long it was given.
        limit: Duration,
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
            Self::Run { .. } | Self::TooLong { .. } => true,
            Self::Failed { message, .. } => PASSING_WORDS.iter().any(|words| message.contains(words)),
            Self::TooLarge { .. } => false,
        }
    }
}

/// One git command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// The git directory, where there is one.
    git_dir: Option<&'a Path>,
    args: &'a [&'a OsStr],
    input: &'a [u8],
    envs: &'a [(&'a str, &'a OsStr)],
    limit: Duration,
    reach: Reach,
}

/// How far a command may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This machine's objects: a partial clone fetches nothing behind our back.
    Here,
    /// Other repositories.
    Out,
}

impl<'a> Call<'a> {
    pub(super) fn new(args: &'a [&'a OsStr]) -> Self {
        Self { git_dir: None, args, input: &[], envs: &[], limit: GIT_MAX, reach: Reach::Here }
    }

    pub(super) fn within(self, git_dir: &'a Path) -> Self {
        Self { git_dir: Some(git_dir), ..self }
    }

    pub(super) fn input(self, input: &'a [u8]) -> Self {
        Self { input, ..self }
    }

    pub(super) fn envs(self, envs: &'a [(&'a str, &'a OsStr)]) -> Self {
        Self { envs, ..self }
    }

    pub(super) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    pub(super) fn reaching_out(self) -> Self {
        Self { reach: Reach::Out, ..self }
    }

    /// The name of what is run, for messages.
    fn name(&self) -> String {
        let mut words = self.args.iter().filter_map(|arg| arg.to_str());
        words.find(|arg| !arg.starts_with('-') && !arg.contains(['/', '='])).unwrap_or_default().to_owned()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(std::env::vars_os().filter(|(key, _)| KEPT.iter().any(|kept| key == kept))).envs(FIXED.iter().copied());
        command.env("GIT_ALLOW_PROTOCOL", if self.reach == Reach::Out { "https:http:file" } else { "none" });
        command.envs(self.envs.iter().copied());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if let Some(git_dir) = self.git_dir {
            command.arg("--git-dir").arg(git_dir);
        }
        command.args(self.args).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The command's answer.
    pub(super) async fn bytes(self) -> Result<Vec<u8>, GitError> {
        let name = self.name();
        let (success, answer, complaint) = self.ended().await?;
        if success {
            return Ok(answer);
        }
        let message = String::from_utf8_lossy(&complaint).trim().chars().take(500).collect();
        Err(GitError::Failed { command: name, message })
    }

    /// The command's answer as text.
    pub(super) async fn text(self) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }

    /// Whether it succeeded, its answer, and what it said besides.
    pub(super) async fn ended(self) -> Result<(bool, Vec<u8>, Vec<u8>), GitError> {
        let name = self.name();
        let failed = |source| GitError::Run { command: name.clone(), source };
        let run = timeout(self.limit, ended(self.command(), self.input)).await;
        let (status, answer, complaint) =
            run.map_err(|_| GitError::TooLong { command: name.clone(), limit: self.limit })?.map_err(failed)?;
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(GitError::TooLarge { command: name, what: "bytes of answer", limit: ANSWER_BYTES_MAX });
        }
        Ok((status.success(), answer, complaint))
    }
}

/// Runs a command, holding at most one byte more of its answer than is taken: it then dies of a closed pipe.
async fn ended(mut command: Command, input: &[u8]) -> std::io::Result<(std::process::ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = command.spawn()?;
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::Error::other("no pipes"));
    };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    let asking = async move {
        // A command that has heard enough closes its end.
        let _ = stdin.write_all(input).await;
        Ok(())
    };
    let answering = async {
        let mut stdout = stdout.take(ANSWER_BYTES_MAX + 1);
        stdout.read_to_end(&mut answer).await.map(drop)
    };
    let complaining = async {
        (&mut stderr).take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint).await?;
        tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.map(drop)
    };
    tokio::try_join!(asking, answering, complaining)?;
    Ok((child.wait().await?, answer, complaint))
}

/// The arguments of a command, from texts.
pub(super) fn words<'a>(texts: &[&'a str]) -> Vec<&'a OsStr> {
    texts.iter().map(|text| OsStr::new(*text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreachable_forge_is_not_a_missing_repository() {
        let said = |message: &str| GitError::Failed { command: "ls-remote".to_owned(), message: message.to_owned() }.is_passing();
        assert!(said("fatal: unable to access 'https://forge.example/': Could not resolve host: forge.example"));
        assert!(said("error: unable to write file: No space left on device"));
        assert!(!said("fatal: repository 'https://forge.example/o/n/' not found"));
        assert!(!said("fatal: could not read Username for 'https://forge.example': terminal prompts disabled"));
    }
}
