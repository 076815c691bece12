//! The real binary, over its real interfaces.

mod commitments;
mod fixture;
mod harness;
mod http;
mod inputs;
mod kill;
mod kill_points;
mod limits;
mod mesh;
mod witnesses;
