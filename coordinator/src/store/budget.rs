//! How much one question may cost: anybody may ask, and results have to be taken in meanwhile.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Results and artifacts that are looked at for one answer.
const LOOKS_MAX: usize = 50_000;

/// How long looking may take. Tests share their machine with compilers, and count looks.
const TIME_MAX: Duration = Duration::from_secs(if cfg!(test) { 120 } else { 2 });

/// What is left of it.
#[derive(Debug)]
pub struct Budget {
    looks: Cell<usize>,
    until: Instant,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(LOOKS_MAX)
    }
}

impl Budget {
    /// At most so many looks.
    pub fn of(looks: usize) -> Self {
        Self { looks: Cell::new(looks), until: Instant::now() + TIME_MAX }
    }

    /// Takes one look; false when there is none left.
    pub fn spend(&self) -> bool {
        let left = self.looks.get().checked_sub(1).filter(|_| Instant::now() < self.until);
        self.looks.set(left.unwrap_or(0));
        left.is_some()
    }
}
