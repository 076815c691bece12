//! What the user trusts: the policy file, and the log key in it.

use std::cell::RefCell;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use quorate_proto::certificate::KnownCertificates;
use quorate_tally::policy::POLICY_BYTES_MAX;
use quorate_tally::{Policy, PolicyError};
use quorate_tlog::note::KeyError;
use quorate_tlog::policy::ParseError;
use quorate_tlog::{TlogPolicy, VerifierKey};

use crate::trusted_log::TrustedLog;

/// Certificates that are remembered: a few nodes of each operator, each with a new one every month.
const CERTIFICATES_MAX: usize = 1_024;

/// A policy and the log that it names.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// The policy.
    pub(crate) policy: Policy,
    /// Whose log a verdict must stand in, if the policy says so.
    pub(crate) log: Option<TrustedLog>,
    /// Certificates that were found good: what many bundles have in common is checked once.
    pub(crate) certificates: RefCell<KnownCertificates>,
}

/// No usable policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// Nobody said which policy, and the usual place has none.
    #[error("there is no policy: {}", usual.as_ref().map_or("no home directory".to_owned(), |p| format!("`{}` does not exist", p.display())))]
    NoPolicy {
        /// The usual place.
        usual: Option<PathBuf>,
    },
    /// The file cannot be read.
    #[error("policy `{}` cannot be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is no policy.
    #[error("policy `{}` cannot be used", path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: PolicyError,
    },
    /// `log.key` is no verifier key.
    #[error("`log.key` of the policy is no verifier key")]
    LogKey(#[source] KeyError),
    /// `log.witnesses` is no `tlog-policy`.
    #[error("`log.witnesses` of the policy is no tlog-policy")]
    Witnesses(#[source] ParseError),
    /// `log.origin` and `log.key` name two logs.
    #[error("`log.origin` of the policy is `{origin}`, but `log.key` speaks for `{name}`")]
    LogOrigin {
        /// The origin.
        origin: String,
        /// The key's name.
        name: String,
    },
}

impl Trust {
    /// Reads the policy at `given`, else the one at `usual`.
    pub(crate) fn load(given: Option<&Path>, usual: Option<&Path>) -> Result<Self, TrustError> {
        let path = match (given, usual) {
            (Some(path), _) => path,
            (None, Some(path)) if path.exists() => path,
            (None, usual) => return Err(TrustError::NoPolicy { usual: usual.map(Path::to_owned) }),
        };
        let text = read(path).map_err(|source| TrustError::Unreadable { path: path.to_owned(), source })?;
        let policy = Policy::parse(&text).map_err(|source| TrustError::Policy { path: path.to_owned(), source })?;
        Self::of(policy)
    }

    /// What `policy` trusts.
    pub(crate) fn of(policy: Policy) -> Result<Self, TrustError> {
        let log = policy.log().map(|log| {
            let key: VerifierKey = log.key.parse().map_err(TrustError::LogKey)?;
            let name = key.name().as_str();
            if name != log.origin {
                return Err(TrustError::LogOrigin { origin: log.origin.clone(), name: name.to_owned() });
            }
            let witnesses = log.witnesses.as_ref().map(|text| TlogPolicy::parse(text.as_bytes()));
            Ok(TrustedLog::new(key, witnesses.transpose().map_err(TrustError::Witnesses)?))
        });
        let log = log.transpose()?;
        Ok(Self { policy, log, certificates: RefCell::new(KnownCertificates::new(CERTIFICATES_MAX)) })
    }
}

impl TrustError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPolicy { .. } => Some(
                "a policy says whose results you count. Name one with --policy FILE or QUORATE_POLICY, or write one:\n\
                 \x20     version = 1\n\
                 \x20     threshold = 2\n\
                 \x20     [[operator]]\n\
                 \x20     name = \"alpha\"\n\
                 \x20     key = \"ed25519:<64 hex digits>\"   # one such table for each operator you trust",
            ),
            Self::Unreadable { .. } | Self::Policy { .. } | Self::LogKey(_) | Self::Witnesses(_) | Self::LogOrigin { .. } => None,
        }
    }
}

/// Reads at most one byte more than a policy may have; the parser refuses what is too long.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(POLICY_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
