//! Brings in what a build needs through the recording proxy, and records what came: one file an ecosystem.

pub mod cargo;
pub mod deb;
pub mod npm;
pub mod pypi;

use std::collections::BTreeMap;

use crate::ecosystem::Surroundings;
use crate::proxy::FetchedFile;

/// Everything that a build has besides its source.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The files that were fetched, by the proxy's name for them.
    pub files: BTreeMap<String, FetchedFile>,
    /// Projects that could not be filtered by time.
    pub unfiltered: Vec<String>,
    /// What the fetch phase tried and may not.
    pub violations: Vec<String>,
    /// Where it is built, if not among the machine's own tools.
    pub surroundings: Option<Surroundings>,
}
