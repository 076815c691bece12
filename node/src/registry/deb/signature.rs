//! The signature of a suite: `gpgv` and a keyring say what was signed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// A text that nobody who is trusted has signed.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// By none of the keys.
    #[error("it is not signed by a key of {keyring}: {said}")]
    Unsigned {
        /// The keys.
        keyring: PathBuf,
        /// What gpgv said.
        said: String,
    },
    /// By one of them, but no text.
    #[error("it is not UTF-8")]
    NotText,
    /// gpgv could not be asked.
    #[error("asking gpgv")]
    Host(#[source] io::Error),
}

/// The text in a file that the signature covers, and nothing around it.
pub async fn signed_text(path: &Path, keyring: &Path) -> Result<String, SignatureError> {
    let mut command = Command::new("gpgv");
    command.arg("--keyring").arg(keyring).args(["--output", "-"]).arg(path);
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(SignatureError::Host)?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|_| SignatureError::NotText);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().chars().take(300).collect();
    Err(SignatureError::Unsigned { keyring: keyring.to_owned(), said })
}
