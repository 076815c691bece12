//! One published file of a release: which one is meant, and what it says about how it was made.
//!
//! Decides which file of a release stands for it when none is named, and whether this node rebuilds that
//! kind at all: one file an ecosystem. What the published bytes say bounds the toolchain; nothing here is
//! trusted to be true, because the rebuild is compared in the end.

pub mod cargo;
pub mod deb;
pub mod npm;
pub mod pypi;
pub mod repository;

use std::path::PathBuf;

use quorate_proto::result::RegistryView;
use quorate_proto::{Digest, FileName, Purl};

use crate::definition::Settings;

/// A release whose published file lies on this machine.
#[derive(Clone, Debug)]
pub struct Release<F> {
    /// The release.
    pub package: Purl,
    /// The published file's name.
    pub file: FileName,
    /// SHA-256 of the published bytes.
    pub digest: Digest,
    /// Where the published bytes lie.
    pub path: PathBuf,
    /// What the node saw on the registry.
    pub registry: RegistryView,
    /// What a reviewed definition sets; empty without one.
    pub settings: Settings,
    /// What the published bytes and the registry's page say.
    pub facts: F,
}

/// No such file.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The package URL names no project that an index could have.
    #[error("{0} names no project of an index")]
    NoProject(Box<Purl>),
    /// The package URL names no version that could be one.
    #[error("{0} names no version that can be compared")]
    NoVersion(Box<Purl>),
    /// The index lists no file of this version.
    #[error("{package} has no files on {index}")]
    UnknownVersion {
        /// The release.
        package: Box<Purl>,
        /// Where it was looked for.
        index: String,
    },
    /// The index lists this version but not this file.
    #[error("{package} has no file {file}; it has: {known}")]
    UnknownFile {
        /// The release.
        package: Box<Purl>,
        /// The file that was asked for.
        file: FileName,
        /// The files that there are.
        known: String,
    },
}
