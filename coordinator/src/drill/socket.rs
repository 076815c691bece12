//! The way from the command to a running coordinator: a Unix socket in the folder of drills, which nobody but its owner
//! may enter. One line of JSON there, one back.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Asked, Desk, DrillView};
use crate::store::files::Paths;

/// The socket's name.
const NAME: &str = "socket";

/// Longest question, in bytes.
const ASKED_BYTES_MAX: u64 = 64 * 1024;

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long a question may take to arrive. One asks after the other.
const ASKING_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// What goes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Drills(Vec<DrillView>),
    Refused(String),
}

/// No answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no coordinator runs on `{}`", dir.display())]
    Silent {
        /// The data directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection failed.
    #[error("asking the coordinator")]
    Io(#[from] io::Error),
    /// It said something else.
    #[error("reading the coordinator's answer")]
    Answer(#[from] serde_json::Error),
    /// It refuses.
    #[error("{0}")]
    Refused(String),
}

/// Answers on the socket until the task is ended. The data directory must be this process's own.
pub fn serve(desk: Desk, paths: &Paths) -> io::Result<JoinHandle<()>> {
    crate::store::prepare_drills(paths)?;
    // Of a process that was killed: its lock is ours now.
    let _ = std::fs::remove_file(paths.drills().join(NAME));
    let listener = through(&paths.drills(), |short| UnixListener::bind(short))?;
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = answer(&desk, stream).await {
                        tracing::debug!(%error, "a question about drills was not answered");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no question about drills can be taken");
                    tokio::time::sleep(ASKING_MAX).await;
                }
            }
        }
    }))
}

async fn answer(desk: &Desk, mut stream: tokio::net::UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    let mut read = tokio::io::BufReader::new(read.take(ASKED_BYTES_MAX));
    timeout(ASKING_MAX, read.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice::<Asked>(&line) {
        Ok(asked) => match desk.answer(asked).await {
            Ok(drills) => Answer::Drills(drills),
            Err(refusal) => Answer::Refused(format!("{:#}", anyhow::Error::from(refusal))),
        },
        Err(error) => Answer::Refused(format!("malformed question: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(ASKING_MAX, write.write_all(&text)).await?
}

/// Asks the coordinator that runs on a data directory. Blocks.
pub fn ask(paths: &Paths, asked: &Asked) -> Result<Vec<DrillView>, AskError> {
    let silent = |source| AskError::Silent { dir: paths.root().to_path_buf(), source };
    let mut stream = through(&paths.drills(), |short| UnixStream::connect(short)).map_err(silent)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut line = serde_json::to_vec(asked)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut answer)?;
    match serde_json::from_slice(&answer)? {
        Answer::Drills(drills) => Ok(drills),
        Answer::Refused(said) => Err(AskError::Refused(said)),
    }
}

/// Uses the socket by a name that is short however long its folder's is: addresses of sockets hold 108 bytes.
fn through<T>(folder: &Path, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = std::fs::File::open(folder)?;
    with(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(NAME))
}
