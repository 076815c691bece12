//! The judges' bench: who sits on it, and how they are asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A judge, by the program that speaks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judge {
    /// `PyPI`: reads tiles and proofs, verifies checkpoints, cosignatures.
    AicsTlog,
    /// `PyPI`: a witness over HTTP.
    AicsWitness,
    /// `PyPI`: reads tiles, checkpoints and cosignatures.
    TlogScales,
    /// Go's checksum database.
    Sumdb,
    /// Go: checkpoints, tlog-policy, tlog-proof.
    Formats,
    /// `PyPI`: DSSE envelopes.
    Securesystemslib,
    /// `PyPI`: statements and predicates.
    InTotoAttestation,
    /// `PyPI`: layouts and links.
    InToto,
}

/// What a judge says.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) accepts: bool,
    pub(crate) words: String,
}

impl Judge {
    /// The judge, if it is here or can be had; else it is said that it is not.
    pub(crate) fn summon(self) -> Option<Self> {
        let missing = missing();
        let lacks = missing.lines().find(|line| line.split(':').next().unwrap_or_default().split(", ").any(|name| name == self.name()));
        match lacks {
            Some(line) => {
                eprintln!("SKIPPED: {}: {line}", self.name());
                None
            }
            None => Some(self),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AicsTlog => "aics-tlog",
            Self::AicsWitness => "aics-witness",
            Self::TlogScales => "tlog-scales",
            Self::Sumdb => "sumdb",
            Self::Formats => "formats",
            Self::Securesystemslib => "securesystemslib",
            Self::InTotoAttestation => "in-toto-attestation",
            Self::InToto => "in-toto",
        }
    }

    /// Its program, ready for arguments.
    pub(crate) fn command(self) -> Command {
        let (python, script) = (folder().join("python/bin"), |name: &str| assets().join(name));
        let mut command = match self {
            Self::AicsTlog => Command::new(python.join("aics-tlog")),
            Self::AicsWitness => Command::new(python.join("aics-witness")),
            Self::InToto => Command::new(python.join("in-toto-verify")),
            Self::TlogScales | Self::Securesystemslib | Self::InTotoAttestation => Command::new(python.join("python")),
            Self::Sumdb | Self::Formats => Command::new(folder().join("go/bin").join(self.name())),
        };
        match self {
            Self::TlogScales => command.arg(script("scales.py")),
            Self::Securesystemslib | Self::InTotoAttestation => command.arg(script("envelopes.py")),
            _ => &mut command,
        };
        command.env_remove("http_proxy").env_remove("HTTP_PROXY").env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Asks it. A judge that could not judge is a failure of the test, not a refusal.
    pub(crate) fn asked(self, arguments: &[&str]) -> Said {
        ask(self.command().args(arguments))
    }

    /// It accepts this.
    pub(crate) fn accepts(self, arguments: &[&str]) {
        let said = self.asked(arguments);
        assert!(said.accepts, "{self:?} refuses {arguments:?}: {}", said.words);
    }

    /// It refuses this; answers with its words.
    pub(crate) fn refuses(self, arguments: &[&str]) -> String {
        let said = self.asked(arguments);
        assert!(!said.accepts, "{self:?} accepts {arguments:?}: {}", said.words);
        eprintln!("{} refuses: {}", self.name(), said.words.trim());
        said.words
    }
}

/// Runs a judge's program: 0 accepts, 1 refuses.
pub(crate) fn ask(command: &mut Command) -> Said {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{command:?} ends with {code:?}: {words}");
    assert!(!words.contains("Traceback"), "{command:?} breaks: {words}");
    Said { accepts: code == Some(0), words }
}

/// A Python of the judges', for a script of ours that uses their libraries.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(folder().join("python/bin/python"));
    command.arg(assets().join(script));
    command
}

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("judges")
}

/// Where the judges are: beside the programs that cargo builds, so that they are installed once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let target = crate::programs::built().parent().unwrap().to_owned();
        target.join("judges")
    })
}

/// Installs what is not there yet. A line for each judge that cannot be had.
fn missing() -> &'static str {
    static MISSING: OnceLock<String> = OnceLock::new();
    MISSING.get_or_init(|| {
        let ran = Command::new("bash").arg(assets().join("setup")).arg(folder()).output();
        assert!(ran.as_ref().is_ok_and(|output| output.status.success()), "tests/judges/setup: {ran:?}");
        fs::read_to_string(folder().join("missing")).unwrap()
    })
}
