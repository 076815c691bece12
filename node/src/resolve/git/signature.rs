//! Signatures of tags and commits: who signed, as the signature itself says, and whether a key that this
//! node was given bears it out.
//!
//! A signature by a key that nobody vouches for is recorded with its key and proves nothing; whoever reads
//! the result may know the key.

mod packet;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use data_encoding::BASE64;
use quorate_proto::result::{SignatureFormat, SignatureState, SignedObject, SourceSignature};
use tokio::process::Command;

use crate::source::git::{GitError, Repository};

/// Keys that bear out signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceKeys {
    /// An allowed-signers file of ssh-keygen.
    pub allowed_signers: Option<PathBuf>,
    /// A keyring of gpgv.
    pub keyring: Option<PathBuf>,
}

const OBJECT_BYTES_MAX: u64 = 1 << 20;
const PGP: &str = "-----BEGIN PGP SIGNATURE-----";
const SSH: &str = "-----BEGIN SSH SIGNATURE-----";

/// A signature and what it signs.
struct Signed {
    format: SignatureFormat,
    armor: String,
    payload: Vec<u8>,
}

/// The signature of a tag object or of a commit, if it has one.
pub(super) async fn of(
    repository: &Repository,
    id: &str,
    object: SignedObject,
    keys: &SourceKeys,
) -> Result<Option<SourceSignature>, GitError> {
    let Some(bytes) = repository.object(id, OBJECT_BYTES_MAX).await? else { return Ok(None) };
    let Some(signed) = signed_in(&bytes, object) else { return Ok(None) };
    let Some(key) = key(&signed) else { return Ok(None) };
    let state = match signed.format {
        SignatureFormat::Ssh => ssh_state(&signed, keys.allowed_signers.as_deref()).await,
        SignatureFormat::OpenPgp => openpgp_state(&signed, keys.keyring.as_deref()).await,
    };
    Ok(Some(SourceSignature { object, format: signed.format, key, state }))
}

/// How a tag object or a commit is signed, and the key that the signature names.
pub fn named_key(bytes: &[u8], object: SignedObject) -> Option<(SignatureFormat, String)> {
    let signed = signed_in(bytes, object)?;
    Some((signed.format, key(&signed)?))
}

fn signed_in(bytes: &[u8], object: SignedObject) -> Option<Signed> {
    match object {
        SignedObject::Tag => in_tag(bytes),
        SignedObject::Commit => in_commit(bytes),
    }
}

/// A tag's signature follows its message.
fn in_tag(bytes: &[u8]) -> Option<Signed> {
    let text = std::str::from_utf8(bytes).ok()?;
    let at = [PGP, SSH].iter().filter_map(|begin| text.rfind(&format!("\n{begin}"))).max()? + 1;
    signed(text[at..].to_owned(), bytes[..at].to_vec())
}

/// A commit's signature is a header, its further lines indented; what is signed is all else.
fn in_commit(bytes: &[u8]) -> Option<Signed> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")? + 1;
    let header = std::str::from_utf8(&bytes[..end]).ok()?;
    let (mut armor, mut rest, mut inside) = (String::new(), String::new(), false);
    for line in header.split_inclusive('\n') {
        if let Some(first) = line.strip_prefix("gpgsig ") {
            inside = true;
            armor.push_str(first);
        } else if let Some(more) = line.strip_prefix(' ').filter(|_| inside) {
            armor.push_str(more);
        } else {
            inside = false;
            rest.push_str(line);
        }
    }
    signed(armor, [rest.as_bytes(), &bytes[end..]].concat())
}

fn signed(armor: String, payload: Vec<u8>) -> Option<Signed> {
    let format = match armor.lines().next()?.trim() {
        PGP => SignatureFormat::OpenPgp,
        SSH => SignatureFormat::Ssh,
        _ => return None,
    };
    Some(Signed { format, armor, payload })
}

/// The key that a signature says it was made with.
fn key(signed: &Signed) -> Option<String> {
    let bytes = unarmored(&signed.armor)?;
    match signed.format {
        SignatureFormat::OpenPgp => packet::issuer(&bytes),
        SignatureFormat::Ssh => packet::ssh_fingerprint(&bytes),
    }
}

/// The bytes between the armor's lines: without its headers and OpenPGP's checksum.
fn unarmored(armor: &str) -> Option<Vec<u8>> {
    let lines = armor.lines().skip(1).take_while(|line| !line.starts_with("-----END"));
    let body: String = lines.map(str::trim).filter(|line| !line.contains(':') && !line.starts_with('=')).collect();
    BASE64.decode(body.as_bytes()).ok()
}

async fn ssh_state(signed: &Signed, allowed: Option<&Path>) -> SignatureState {
    let Some(allowed) = allowed else { return SignatureState::UnknownKey };
    let Ok(signature) = file_of(signed.armor.as_bytes()) else { return SignatureState::UnknownKey };
    let find = ["-Y".as_ref(), "find-principals".as_ref(), "-s".as_ref(), signature.path().as_os_str(), "-f".as_ref(), allowed.as_os_str()];
    let Some((true, said)) = run("ssh-keygen", &find, &[]).await else { return SignatureState::UnknownKey };
    let Some(principal) = said.lines().next() else { return SignatureState::UnknownKey };
    let verify = ["-Y".as_ref(), "verify".as_ref(), "-n".as_ref(), "git".as_ref(), "-I".as_ref(), principal.as_ref()];
    let files = ["-s".as_ref(), signature.path().as_os_str(), "-f".as_ref(), allowed.as_os_str()];
    match run("ssh-keygen", &[&verify[..], &files[..]].concat(), &signed.payload).await {
        Some((true, _)) => SignatureState::Verified,
        Some((false, _)) => SignatureState::Bad,
        None => SignatureState::UnknownKey,
    }
}

async fn openpgp_state(signed: &Signed, keyring: Option<&Path>) -> SignatureState {
    let Some(keyring) = keyring else { return SignatureState::UnknownKey };
    let (Ok(signature), Ok(payload)) = (file_of(signed.armor.as_bytes()), file_of(&signed.payload)) else {
        return SignatureState::UnknownKey;
    };
    let args = ["--status-fd".as_ref(), "1".as_ref(), "--keyring".as_ref(), keyring.as_os_str()];
    let files = [signature.path().as_os_str(), payload.path().as_os_str()];
    let Some((_, said)) = run("gpgv", &[&args[..], &files[..]].concat(), &[]).await else { return SignatureState::UnknownKey };
    let has =
        |word: &str| said.lines().any(|line| line.strip_prefix("[GNUPG:] ").is_some_and(|status| status.split(' ').next() == Some(word)));
    // gpgv says `VALIDSIG` for signatures by expired and by revoked keys too.
    match (has("VALIDSIG") && has("GOODSIG"), has("BADSIG") || has("REVKEYSIG")) {
        (true, false) => SignatureState::Verified,
        (_, true) => SignatureState::Bad,
        (false, false) => SignatureState::UnknownKey,
    }
}

fn file_of(bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    file.flush()?;
    Ok(file)
}

/// Whether a program said yes, and what it said; `None` where it could not be run.
async fn run(program: &str, args: &[&std::ffi::OsStr], input: &[u8]) -> Option<(bool, String)> {
    let input_file = file_of(input).ok()?;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH")?).env("HOME", "/nonexistent").env("LC_ALL", "C").args(args);
    command.stdin(Stdio::from(std::fs::File::open(input_file.path()).ok()?)).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), command.output()).await.ok()?.ok()?;
    Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}
