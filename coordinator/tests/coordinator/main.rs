//! The real binary, over its real interfaces.

mod commitments;
mod fixture;
mod harness;
mod http;
mod inputs;
mod kill;
mod limits;
mod mesh;
mod second_view;
mod witnesses;
