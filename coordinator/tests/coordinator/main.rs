//! The real binary, over its real interfaces.

mod checks;
mod commitments;
mod declarations;
mod drills;
mod fixture;
mod floods;
mod harness;
mod history;
mod http;
mod inputs;
mod kill;
mod kill_points;
mod limits;
mod logged;
mod mesh;
mod operators;
mod second_view;
mod slow;
mod witnesses;
