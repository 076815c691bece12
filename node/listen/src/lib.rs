//! Strangers at an HTTP port: how many at once, how long, and who makes room when there are too many.
//!
//! In scope: connections ([`serve`]), and [`Shares`] of whatever is scarce, such as memory for requests that arrive. Out of scope: what is
//! asked, and what it costs to answer: that is the routes' to bound.
//!
//! Nobody is turned away for being one too many, since the ones that were there first may be there to be in the way. Whoever has most
//! gives up what it has had longest.

pub mod connections;
pub mod shares;

pub use connections::{Limits, serve};
pub use shares::{Lost, Share, Shares};
