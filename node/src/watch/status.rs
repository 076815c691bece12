//! What watches say of themselves: where they are, when they last polled, what is wrong. Read from their
//! files, whether or not the node runs.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::store::{self, StateFile};
use crate::doctor::{Finding, Weight};

/// The version of the JSON.
const SCHEMA: &str = "quorate-watch-status/v1";

/// All watches of a data folder.
#[derive(Debug)]
pub struct Status {
    watches: Vec<Result<StateFile, PathBuf>>,
}

impl Status {
    /// Reads them.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        Ok(Self { watches: store::read_all(data_dir)? })
    }

    /// Whether every watch's last poll went well.
    pub fn is_well(&self) -> bool {
        self.watches.iter().all(|watch| watch.as_ref().is_ok_and(|file| file.state.problem.is_none()))
    }

    /// Lines for people.
    pub fn render_human(&self) -> String {
        let mut text = String::new();
        if self.watches.is_empty() {
            text.push_str("nothing is watched yet\n");
        }
        for watch in &self.watches {
            // Writing to a string cannot fail.
            let _ = match watch {
                Ok(file) => describe(&mut text, file),
                Err(path) => writeln!(text, "damaged  {}: remove it to begin this watch anew, from now on", path.display()),
            };
        }
        text
    }

    /// The same as JSON.
    pub fn render_json(&self) -> String {
        let view = |watch: &Result<StateFile, PathBuf>| match watch {
            Ok(StateFile { watched, state, .. }) => json!({
                "kind": watched.kind, "address": watched.address, "suite": watched.suite,
                "ok": state.problem.is_none(), "cursor": state.position, "began": state.began,
                "polledAt": state.polled_at, "succeededAt": state.succeeded_at, "failures": state.failures,
                "problem": state.problem, "queued": state.queued, "owed": state.owed.len(), "remarks": state.remarks,
            }),
            Err(path) => json!({ "ok": false, "damaged": path }),
        };
        json!({ "schema": SCHEMA, "ok": self.is_well(), "watches": self.watches.iter().map(view).collect::<Vec<_>>() }).to_string()
    }

    /// One line a watch for the doctor.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |watch: &Result<StateFile, PathBuf>| {
            let found = match watch {
                Ok(file) => match &file.state.problem {
                    None => Ok(headline(file)),
                    Some(problem) => Err(format!("{}: {}", headline(file), problem.words)),
                },
                Err(path) => Err(format!("{} is damaged", path.display())),
            };
            let install = watch.as_ref().err().map(|path| format!("rm {}", path.display()));
            Finding { need: "watch", weight: Weight::Optional, found, install, why: "notices releases without being told" }
        };
        self.watches.iter().map(finding).collect()
    }
}

fn headline(file: &StateFile) -> String {
    let suite = file.watched.suite.as_ref().map_or_else(String::new, |suite| format!(" {suite}"));
    format!("{} {}{suite}", file.watched.kind, file.watched.address)
}

fn describe(text: &mut String, file: &StateFile) -> std::fmt::Result {
    let state = &file.state;
    let time = |at: &Option<quorate_proto::Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let word = if state.problem.is_none() { "ok     " } else { "failing" };
    writeln!(text, "{word}  {}", headline(file))?;
    let cursor = state.position.as_ref().map_or_else(|| "none (watch list only)".to_owned(), |position| format!("{:.40}", position.token));
    writeln!(text, "         cursor {cursor}, since {}; {} files queued, {} packages owed", state.began, state.queued, state.owed.len())?;
    writeln!(text, "         last poll {}, last without a problem {}", time(&state.polled_at), time(&state.succeeded_at))?;
    if let Some(problem) = &state.problem {
        let hold = problem.not_before.map_or_else(String::new, |at| format!("; not before {at}"));
        writeln!(text, "         {} failures: {}{hold}", state.failures, problem.words)?;
    }
    for remark in &state.remarks {
        writeln!(text, "         {}: {}", remark.at, remark.words)?;
    }
    Ok(())
}
