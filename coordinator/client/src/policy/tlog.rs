//! `quorate policy tlog`: the log and the witnesses of a policy as a C2SP tlog-policy.
//!
//! Other people's tools read that and check a bundle's proof by it. It says nothing about operators and votes.

use anyhow::Context as _;
use quorate_tlog::TlogPolicy;
use quorate_tlog::policy::Log;
use serde::Serialize;

use crate::answer::{Answer, write_file};
use crate::cli::{Format, TlogExport};
use crate::exit::Exit;
use crate::text::json_line;
use crate::trust::Trust;
use crate::view::SCHEMA_VERSION;

/// The JSON answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TlogView {
    schema_version: u32,
    command: &'static str,
    exit: u8,
    origin: String,
    witnesses: usize,
    tlog_policy: String,
}

/// Writes or prints it.
pub(crate) fn run(trust: &Trust, args: &TlogExport, format: Format) -> anyhow::Result<Answer> {
    let log = trust.log.as_ref().context("the policy names no log: `[log]` says whose checkpoints are believed")?;
    let policy = match log.witnesses() {
        Some(witnesses) => witnesses.clone().of_log(log.key().clone()),
        None => TlogPolicy::k_of_n(vec![Log { key: log.key().clone(), url: None }], Vec::new(), 0),
    };
    let policy = policy.context("the policy's log cannot stand beside its witnesses")?;
    let bytes = policy.to_bytes();
    if let Some(path) = &args.output {
        write_file(path, &bytes)?;
    }
    let text = String::from_utf8(bytes).context("`log.witnesses` has names that are not UTF-8")?;
    let stdout = match format {
        Format::Json => json_line(&TlogView {
            schema_version: SCHEMA_VERSION,
            command: "policy tlog",
            exit: Exit::Met.code(),
            origin: log.key().name().to_string(),
            witnesses: policy.witnesses().len(),
            tlog_policy: text,
        }),
        Format::Human if args.output.is_some() => String::new(),
        Format::Human => text,
    };
    Ok(Answer { stdout, notes: Vec::new(), exit: Exit::Met })
}
