//! What the command prints: written to a file up to the limit, its tail kept, the rest drained and dropped.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// How much of the end is kept.
const TAIL_BYTES: usize = 64 << 10;

/// Copies until every writer of the pipe is gone, and returns the tail. Fires `exceeded` once, past `max`.
pub(super) async fn collect(
    mut from: pipe::Receiver,
    file: Option<PathBuf>,
    max: u64,
    exceeded: oneshot::Sender<()>,
) -> io::Result<String> {
    let mut file = match file {
        Some(path) => Some(BufWriter::new(tokio::fs::File::create(path).await?)),
        None => None,
    };
    let mut exceeded = Some(exceeded);
    let mut tail = VecDeque::with_capacity(TAIL_BYTES);
    let mut left = max;
    let mut buffer = vec![0; 32 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        let kept = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= kept as u64;
        if let Some(file) = &mut file {
            file.write_all(&buffer[..kept]).await?;
        }
        tail.extend(&buffer[..kept]);
        tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
        if kept < count
            && let Some(exceeded) = exceeded.take()
        {
            let _ = exceeded.send(());
        }
    }
    if let Some(file) = &mut file {
        file.flush().await?;
    }
    Ok(String::from_utf8_lossy(tail.make_contiguous()).into_owned())
}
