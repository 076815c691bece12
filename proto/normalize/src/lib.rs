//! Compares a published archive with a rebuilt one, byte slices in and a [`Comparison`] out.
//!
//! In scope: reading zip, tar and gzip from their raw structure, the lint that runs before
//! anything is normalised, the normal form and its digest, the passes that lead to it, and the
//! differences with a readable diff. All of it is pure and bounded: contents are hashed while
//! they stream, and only small manifests and differing texts are held.
//!
//! Out of scope: files, time, downloads, and what a difference means for a verdict.
//!
//! The specification is `docs/spec/normal-form.md`. Reading order: [`limits`], `reading`
//! (what a reader finds), `zip`, `tar`, `gzip`, `names` (the lint of names and links), `manifest`
//! (generated files), [`pass`], [`form`], [`mod@compare`].

mod ar;
mod archive;
pub mod compare;
mod deb;
mod diff;
mod executable;
mod fields;
pub mod form;
pub mod limits;
mod manifest;
mod names;
mod packed;
pub mod pass;
mod reading;
mod tape;
mod tar;
mod unpack;
mod zip;

pub use compare::{
    CompareError, Comparison, Detail, HeaderReplay, Input, MemberDifference, ReplayOutcome, SideForm, Unshown, compare, lint,
};
pub use form::{FormError, NormalForm, content_digests, normal_form};
pub use limits::{LimitError, Limits, Quantity};
pub use pass::Pass;
pub use reading::{Codec, Container};
