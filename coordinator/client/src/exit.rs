//! Exit codes: what a script learns without reading anything.

use std::process::ExitCode;

use quorate_tally::Disposition;

/// How a command ended. The order is that of gravity: of several artifacts the gravest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// The policy is met; nothing differs; nothing is affected.
    Met,
    /// There is too little evidence to say.
    NotEnoughEvidence,
    /// The policy is violated, a divergence or an affected artifact was found.
    Violated,
    /// Misuse, or the tool itself failed.
    Failed,
}

impl Exit {
    /// The process's exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Met => 0,
            Self::Violated => 1,
            Self::Failed => 2,
            Self::NotEnoughEvidence => 3,
        }
    }
}

impl From<Disposition> for Exit {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Met => Self::Met,
            Disposition::Violated => Self::Violated,
            Disposition::NotEnoughEvidence => Self::NotEnoughEvidence,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
