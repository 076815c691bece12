//! Secret keys as files, as `quorate-node` keeps those of operators: `ed25519-seed:` and 64 hex digits, for nobody else to
//! read.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use quorate_proto::{Digest, SecretKey};

const PREFIX: &str = "ed25519-seed:";

/// Reads a key. One that others can read is refused.
pub(super) fn load(path: &Path) -> anyhow::Result<SecretKey> {
    let reading = || format!("reading the key `{}`", path.display());
    refuse_exposed(path).with_context(reading)?;
    let text = fs::read_to_string(path).with_context(reading)?;
    // Both are 32 bytes in 64 hex digits.
    let seed = text.trim_end().strip_prefix(PREFIX).and_then(|hex| Digest::from_hex(hex).ok());
    let seed = seed.with_context(|| format!("`{}` is no key: expected `{PREFIX}` and 64 lower-case hex digits", path.display()))?;
    Ok(SecretKey::from_seed(seed.as_bytes()))
}

/// Makes a key. Never over an existing file.
pub(super) fn generate(path: &Path) -> anyhow::Result<SecretKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("drawing a key")?;
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        writeln!(file, "{PREFIX}{}", Digest::from_bytes(seed).to_hex())?;
        file.sync_all()
    });
    written.with_context(|| format!("writing the key `{}`", path.display()))?;
    Ok(SecretKey::from_seed(&seed))
}

#[cfg(unix)]
fn refuse_exposed(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("it has mode {mode:03o}: others than its owner may read it; expected 600");
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path) -> anyhow::Result<()> {
    Ok(())
}
