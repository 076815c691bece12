//! A command's answer, and how it leaves the process: data to stdout, talk to stderr.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;

use crate::exit::Exit;
use crate::text::visible;

/// What a command has to say.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Data.
    pub(crate) stdout: String,
    /// Talk, a line each, not yet escaped.
    pub(crate) notes: Vec<String>,
    /// What follows for a script.
    pub(crate) exit: Exit,
}

impl Answer {
    /// Prints it. A reader who has gone away is no failure, and does not change what was found.
    pub(crate) fn print(&self) -> Exit {
        for note in &self.notes {
            say(&format!("note: {}", visible(note)));
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(self.stdout.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                say(&format!("error: writing the answer: {error}"));
                Exit::Failed
            }
            _ => self.exit,
        }
    }
}

/// Prints the chain of causes once, then what the user can do.
pub(crate) fn report(error: &anyhow::Error, hint: Option<&str>) {
    let causes: Vec<_> = error.chain().map(|cause| visible(&cause.to_string())).collect();
    say(&format!("error: {}", causes.join(": ")));
    if let Some(hint) = hint {
        say(&format!("hint: {hint}"));
    }
}

/// Writes a file that has the old content or the new one, never a part. What is no plain file, such as a
/// pipe, is written to and not replaced.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let is_other = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
    let written = if is_other { std::fs::write(path, bytes) } else { replace(path, bytes) };
    written.with_context(|| format!("writing `{}`", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".quorate-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the user's umask
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A line to stderr, if anybody is there.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
