//! Source trees on disk: unpacked archives and exported commits, and reading from them without trust.
//!
//! Everything below a source tree was written by strangers. Archives are unpacked with checked paths, and
//! files are read without following a link out of the tree.

pub mod commit_id;
pub mod git;
pub mod manifest;
pub mod meter;
pub mod npm;
pub mod tree;
pub mod unpack;
