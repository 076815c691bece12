//! A command's answer, and how it leaves the process: data to stdout, talk to stderr.

use std::io::{self, Write as _};

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

/// A line to stderr, if anybody is there.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
